//! ListRolePolicies: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRolePolicies.html>

use serde::Deserialize;

use crate::admin::principal::InlinePolicies;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Lists the names of the policies of a role's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListRolePolicies {
    role_name: FriendlyName,
}

impl Operation for ListRolePolicies {
    const NAME: &'static str = "ListRolePolicies";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME)];
    const READ_ONLY: bool = true;
    type Output = InlinePolicies;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<InlinePolicies>, Error> {
        principal::list_policies(cx, PrincipalKind::Role, &self.role_name)
    }
}
