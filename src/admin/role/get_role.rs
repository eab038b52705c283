//! GetRole: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html>

use serde::{Deserialize, Serialize};

use super::Role;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// A role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct GetRole {
    role_name: FriendlyName,
}

/// What it is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    role: Role,
}

impl Operation for GetRole {
    const NAME: &'static str = "GetRole";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let row = principal::find(cx, PrincipalKind::Role, &self.role_name)?;
        Ok(Plan::read(Output { role: Role::of(cx, &row.record) }))
    }
}
