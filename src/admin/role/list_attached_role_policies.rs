//! ListAttachedRolePolicies: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAttachedRolePolicies.html>

use serde::Deserialize;

use crate::admin::principal::AttachedPolicies;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Lists the shared policies of a role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListAttachedRolePolicies {
    role_name: FriendlyName,
}

impl Operation for ListAttachedRolePolicies {
    const NAME: &'static str = "ListAttachedRolePolicies";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME)];
    const READ_ONLY: bool = true;
    type Output = AttachedPolicies;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<AttachedPolicies>, Error> {
        principal::list_attached(cx, PrincipalKind::Role, &self.role_name)
    }
}
