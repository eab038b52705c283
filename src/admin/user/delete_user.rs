//! DeleteUser: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Deletes a user without access keys and policies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeleteUser {
    user_name: FriendlyName,
}

impl Operation for DeleteUser {
    const NAME: &'static str = "DeleteUser";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::delete(cx, PrincipalKind::User, &self.user_name)
    }
}
