//! TagUser: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagUser.html>

use serde::Deserialize;

use crate::admin::rules::Tag;
use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Adds tags to a user, over those with the same keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct TagUser {
    user_name: FriendlyName,
    tags: Vec<Tag>,
}

impl Operation for TagUser {
    const NAME: &'static str = "TagUser";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME), required("Tags", &shapes::TAG_LIST)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::tag(cx, PrincipalKind::User, &self.user_name, &self.tags)
    }
}
