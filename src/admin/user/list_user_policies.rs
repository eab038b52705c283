//! ListUserPolicies: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUserPolicies.html>

use serde::Deserialize;

use crate::admin::principal::InlinePolicies;
use crate::admin::{Context, Error, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Lists the names of the policies of a user's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListUserPolicies {
    user_name: FriendlyName,
}

impl Operation for ListUserPolicies {
    const NAME: &'static str = "ListUserPolicies";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = true;
    type Output = InlinePolicies;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<InlinePolicies>, Error> {
        principal::list_policies(cx, PrincipalKind::User, &self.user_name)
    }
}
