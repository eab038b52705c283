//! ListRoles: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html>

use serde::{Deserialize, Serialize};

use super::Role;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, optional};
use crate::store::PrincipalKind;

/// Lists the roles of the account, by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListRoles {
    path_prefix: Option<String>,
}

/// All whose path begins so.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    roles: Vec<Role>,
}

impl Operation for ListRoles {
    const NAME: &'static str = "ListRoles";
    const MEMBERS: &'static [Member] = &[optional("PathPrefix", &shapes::PATH)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let roles = principal::list(cx, PrincipalKind::Role, self.path_prefix.as_deref(), Role::of);
        Ok(Plan::read(Output { roles }))
    }
}
