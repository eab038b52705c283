//! DetachRolePolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DetachRolePolicy.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Detaches a shared policy from a role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DetachRolePolicy {
    role_name: FriendlyName,
    policy_arn: String,
}

impl Operation for DetachRolePolicy {
    const NAME: &'static str = "DetachRolePolicy";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME), required("PolicyArn", &shapes::ARN)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::detach(cx, PrincipalKind::Role, &self.role_name, &self.policy_arn)
    }
}
