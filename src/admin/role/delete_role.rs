//! DeleteRole: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Deletes a role without policies; its sessions end with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeleteRole {
    role_name: FriendlyName,
}

impl Operation for DeleteRole {
    const NAME: &'static str = "DeleteRole";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::delete(cx, PrincipalKind::Role, &self.role_name)
    }
}
