//! RevokeGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RevokeGrant.html>

use serde::Deserialize;
use serde_json::json;

use super::{check_grant_id, facts, no_such_grant};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Operation, arn_of, shapes};
use crate::store::Change;

/// Ends a grant, for those who may by the key's policy.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RevokeGrant {
    key_id: String,
    grant_id: String,
    dry_run: Option<bool>,
}

impl Operation for RevokeGrant {
    const NAME: &'static str = "RevokeGrant";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("GrantId", &shapes::GRANT_ID),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = false;
    const CROSS_ACCOUNT: bool = true;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        check_grant_id(&self.grant_id)?;
        cx.change(|store| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts())?.into_thing();
            let grant = store.grant(&key.record.region, &key.record.key_id, &self.grant_id);
            let grant = grant.ok_or_else(|| no_such_grant(&self.grant_id))?;
            if self.dry_run == Some(true) {
                return Err(Error::DryRun);
            }
            cx.note_response(json!({ "grantId": self.grant_id, "keyId": arn_of(&key.record).to_string() }));
            Ok((Change::new(cx.kms.now()).expect(&key).delete(&grant), ()))
        })
        .await
    }
}
