//! PutRolePermissionsBoundary: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePermissionsBoundary.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Bounds a role by a shared policy, in the place of an earlier boundary.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct PutRolePermissionsBoundary {
    role_name: FriendlyName,
    permissions_boundary: String,
}

impl Operation for PutRolePermissionsBoundary {
    const NAME: &'static str = "PutRolePermissionsBoundary";
    const MEMBERS: &'static [Member] =
        &[required("RoleName", &shapes::ROLE_NAME), required("PermissionsBoundary", &shapes::ARN)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::put_boundary(cx, PrincipalKind::Role, &self.role_name, &self.permissions_boundary)
    }
}
