//! ListAttachedUserPolicies: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAttachedUserPolicies.html>

use serde::Deserialize;

use crate::admin::principal::AttachedPolicies;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Lists the shared policies of a user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListAttachedUserPolicies {
    user_name: FriendlyName,
}

impl Operation for ListAttachedUserPolicies {
    const NAME: &'static str = "ListAttachedUserPolicies";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = true;
    type Output = AttachedPolicies;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<AttachedPolicies>, Error> {
        principal::list_attached(cx, PrincipalKind::User, &self.user_name)
    }
}
