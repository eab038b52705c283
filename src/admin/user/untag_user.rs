//! UntagUser: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UntagUser.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Removes tags from a user; keys that it does not have are passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UntagUser {
    user_name: FriendlyName,
    tag_keys: Vec<String>,
}

impl Operation for UntagUser {
    const NAME: &'static str = "UntagUser";
    const MEMBERS: &'static [Member] =
        &[required("UserName", &shapes::USER_NAME), required("TagKeys", &shapes::TAG_KEY_LIST)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::untag(cx, PrincipalKind::User, &self.user_name, &self.tag_keys)
    }
}
