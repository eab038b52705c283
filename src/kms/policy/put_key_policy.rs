//! PutKeyPolicy: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>

use serde::Deserialize;

use super::{BYPASS, check_name};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, Operation, arn_of, shapes};
use crate::store::Change;

/// Replaces the policy of a key, whatever the key's state.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutKeyPolicy {
    key_id: String,
    policy_name: Option<String>,
    policy: String,
    bypass_policy_lockout_safety_check: Option<bool>,
}

impl Operation for PutKeyPolicy {
    const NAME: &'static str = "PutKeyPolicy";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        optional("PolicyName", &shapes::POLICY_NAME),
        required("Policy", &shapes::POLICY),
        optional("BypassPolicyLockoutSafetyCheck", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        let bypass = self.bypass_policy_lockout_safety_check == Some(true);
        let facts = Facts::default().with(BYPASS, Some(bypass.to_string()));
        cx.change(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?.into_thing();
            check_name(self.policy_name.as_deref())?;
            let mut record = cx.kms.when_available(&key).record.clone();
            record.policy_principals = super::check(cx, &arn_of(&key.record), &self.policy, bypass)?;
            record.policy.clone_from(&self.policy);
            Ok((Change::new(cx.kms.now()).update(&key, record), ()))
        })
        .await
    }
}
