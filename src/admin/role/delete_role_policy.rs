//! DeleteRolePolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRolePolicy.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Deletes a policy of a role's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeleteRolePolicy {
    role_name: FriendlyName,
    policy_name: FriendlyName,
}

impl Operation for DeleteRolePolicy {
    const NAME: &'static str = "DeleteRolePolicy";
    const MEMBERS: &'static [Member] =
        &[required("RoleName", &shapes::ROLE_NAME), required("PolicyName", &shapes::POLICY_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::delete_policy(cx, PrincipalKind::Role, &self.role_name, &self.policy_name)
    }
}
