//! UntagRole: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UntagRole.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Removes tags from a role; keys that it does not have are passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UntagRole {
    role_name: FriendlyName,
    tag_keys: Vec<String>,
}

impl Operation for UntagRole {
    const NAME: &'static str = "UntagRole";
    const MEMBERS: &'static [Member] =
        &[required("RoleName", &shapes::ROLE_NAME), required("TagKeys", &shapes::TAG_KEY_LIST)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::untag(cx, PrincipalKind::Role, &self.role_name, &self.tag_keys)
    }
}
