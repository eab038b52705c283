//! ListUsers: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html>

use serde::{Deserialize, Serialize};

use super::User;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, optional};
use crate::store::PrincipalKind;

/// Lists the users of the account, by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListUsers {
    path_prefix: Option<String>,
}

/// All whose path begins so.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    users: Vec<User>,
}

impl Operation for ListUsers {
    const NAME: &'static str = "ListUsers";
    const MEMBERS: &'static [Member] = &[optional("PathPrefix", &shapes::PATH)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let users = principal::list(cx, PrincipalKind::User, self.path_prefix.as_deref(), User::of);
        Ok(Plan::read(Output { users }))
    }
}
