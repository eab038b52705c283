//! UpdateAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html>

use serde::Deserialize;

use super::{ALIASES_PER_KEY, alias_name, authorize_alias, authorize_target};
use crate::kms::shape::{Member, required};
use crate::kms::usable::not_pending_deletion;
use crate::kms::{Context, Error, Facts, Operation, shapes};
use crate::store::{AliasRecord, Change, KeyRecord};

/// Lets an alias stand for another key of the same type and usage.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateAlias {
    alias_name: String,
    target_key_id: String,
}

impl Operation for UpdateAlias {
    const NAME: &'static str = "UpdateAlias";
    const MEMBERS: &'static [Member] =
        &[required("AliasName", &shapes::ALIAS_NAME), required("TargetKeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        let name = alias_name(&self.alias_name)?;
        cx.change(|store| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.target_key_id)?, &Facts::default())?.into_thing();
            authorize_alias::<Self>(cx, &name)?;
            let alias = cx.alias(&key.record.account, &name)?;
            let current = authorize_target::<Self>(cx, &alias)?;
            not_pending_deletion(&key)?;
            check_alike(&current.record, &key.record)?;
            let others = store.aliases_of_key(&key.record.region, &key.record.key_id);
            if others.len() >= ALIASES_PER_KEY && alias.record.target != key.record.key_id {
                return Err(Error::LimitExceeded(format!("A key has at most {ALIASES_PER_KEY} aliases.")));
            }
            let now = cx.kms.now();
            let record = AliasRecord { target: key.record.key_id, updated: now, ..alias.record.clone() };
            let change = Change::new(now).update(&alias, record);
            // Whoever counts the aliases of the key that gets one more must count again.
            let moves = current.record.key_id != key.record.key_id;
            Ok((if moves { change.expect(&current).touch(&key) } else { change.expect(&key) }, ()))
        })
        .await
    }
}

/// Refuses a key of another type or usage than the one that the alias leaves: who uses the alias expects those.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html>
fn check_alike(current: &KeyRecord, new: &KeyRecord) -> Result<(), Error> {
    let kind = |key: &KeyRecord| (key.spec.key_pair().is_some(), key.spec.hmac().is_some(), key.usage);
    if kind(current) == kind(new) {
        return Ok(());
    }
    // AWS's wording is not known.
    Err(Error::Validation(format!(
        "Alias cannot be changed from a key with KeySpec {} and KeyUsage {} to one with KeySpec {} and KeyUsage {}.",
        current.spec, current.usage, new.spec, new.usage
    )))
}
