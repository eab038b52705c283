//! DeleteUserPolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUserPolicy.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Deletes a policy of a user's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeleteUserPolicy {
    user_name: FriendlyName,
    policy_name: FriendlyName,
}

impl Operation for DeleteUserPolicy {
    const NAME: &'static str = "DeleteUserPolicy";
    const MEMBERS: &'static [Member] =
        &[required("UserName", &shapes::USER_NAME), required("PolicyName", &shapes::POLICY_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::delete_policy(cx, PrincipalKind::User, &self.user_name, &self.policy_name)
    }
}
