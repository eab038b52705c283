//! GetRolePolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html>

use serde::Deserialize;

use crate::admin::principal::InlinePolicy;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// A policy of a role's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct GetRolePolicy {
    role_name: FriendlyName,
    policy_name: FriendlyName,
}

impl Operation for GetRolePolicy {
    const NAME: &'static str = "GetRolePolicy";
    const MEMBERS: &'static [Member] =
        &[required("RoleName", &shapes::ROLE_NAME), required("PolicyName", &shapes::POLICY_NAME)];
    const READ_ONLY: bool = true;
    type Output = InlinePolicy;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<InlinePolicy>, Error> {
        principal::get_policy(cx, PrincipalKind::Role, &self.role_name, &self.policy_name)
    }
}
