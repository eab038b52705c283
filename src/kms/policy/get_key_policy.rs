//! GetKeyPolicy: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html>

use serde::{Deserialize, Serialize};

use super::{POLICY_NAME, check_name};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, Operation, shapes};

/// Gives the policy of a key, as it was put.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyPolicy {
    key_id: String,
    policy_name: Option<String>,
}

/// The policy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    policy: String,
    policy_name: &'static str,
}

impl Operation for GetKeyPolicy {
    const NAME: &'static str = "GetKeyPolicy";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("PolicyName", &shapes::POLICY_NAME)];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
        check_name(self.policy_name.as_deref())?;
        Ok(Output { policy: key.record.policy.clone(), policy_name: POLICY_NAME })
    }
}
