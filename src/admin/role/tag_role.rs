//! TagRole: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagRole.html>

use serde::Deserialize;

use crate::admin::rules::Tag;
use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Adds tags to a role, over those with the same keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct TagRole {
    role_name: FriendlyName,
    tags: Vec<Tag>,
}

impl Operation for TagRole {
    const NAME: &'static str = "TagRole";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME), required("Tags", &shapes::TAG_LIST)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::tag(cx, PrincipalKind::Role, &self.role_name, &self.tags)
    }
}
