//! CreateAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>

use serde::Deserialize;

use super::{ALIASES_PER_KEY, alias_name, authorize_alias};
use crate::kms::shape::{Member, required};
use crate::kms::usable::not_pending_deletion;
use crate::kms::{Context, Error, Facts, Operation, shapes};
use crate::model::Arn;
use crate::store::{AliasRecord, Change};

/// Gives a key another name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateAlias {
    alias_name: String,
    target_key_id: String,
}

impl Operation for CreateAlias {
    const NAME: &'static str = "CreateAlias";
    const MEMBERS: &'static [Member] =
        &[required("AliasName", &shapes::ALIAS_NAME), required("TargetKeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        let name = alias_name(&self.alias_name)?;
        cx.change(|store| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.target_key_id)?, &Facts::default())?.into_thing();
            authorize_alias::<Self>(cx, &name)?;
            not_pending_deletion(&key)?;
            let (region, account) = (&key.record.region, &key.record.account);
            if store.alias(region, account, &name).is_some() {
                let arn = Arn::alias(region, account, &name);
                return Err(Error::AlreadyExists(format!("An alias with the name {arn} already exists")));
            }
            if store.aliases_of_key(region, &key.record.key_id).len() >= ALIASES_PER_KEY {
                return Err(Error::LimitExceeded(format!("A key has at most {ALIASES_PER_KEY} aliases.")));
            }
            let now = cx.kms.now();
            let alias = AliasRecord {
                region: region.clone(),
                account: account.clone(),
                name: name.clone(),
                target: key.record.key_id,
                created: now,
                updated: now,
            };
            // The key must still be as it was seen: a key that is being destroyed gets no new alias, and whoever counts its
            // aliases at the same time must count again.
            Ok((Change::new(now).touch(&key).insert(alias), ()))
        })
        .await
    }
}
