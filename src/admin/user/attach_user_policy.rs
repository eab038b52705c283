//! AttachUserPolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachUserPolicy.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Attaches a shared policy to a user; one that is attached stays so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct AttachUserPolicy {
    user_name: FriendlyName,
    policy_arn: String,
}

impl Operation for AttachUserPolicy {
    const NAME: &'static str = "AttachUserPolicy";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME), required("PolicyArn", &shapes::ARN)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::attach(cx, PrincipalKind::User, &self.user_name, &self.policy_arn)
    }
}
