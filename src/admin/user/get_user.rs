//! GetUser: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html>

use serde::{Deserialize, Serialize};

use super::User;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// A user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct GetUser {
    user_name: FriendlyName,
}

/// What it is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    user: User,
}

impl Operation for GetUser {
    const NAME: &'static str = "GetUser";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let row = principal::find(cx, PrincipalKind::User, &self.user_name)?;
        Ok(Plan::read(Output { user: User::of(cx, &row.record) }))
    }
}
