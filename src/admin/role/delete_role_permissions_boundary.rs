//! DeleteRolePermissionsBoundary: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRolePermissionsBoundary.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Takes the boundary from a role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeleteRolePermissionsBoundary {
    role_name: FriendlyName,
}

impl Operation for DeleteRolePermissionsBoundary {
    const NAME: &'static str = "DeleteRolePermissionsBoundary";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::delete_boundary(cx, PrincipalKind::Role, &self.role_name)
    }
}
