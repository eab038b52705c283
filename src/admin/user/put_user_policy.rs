//! PutUserPolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPolicy.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Puts a policy of its own into a user, in the place of one of the same name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct PutUserPolicy {
    user_name: FriendlyName,
    policy_name: FriendlyName,
    policy_document: String,
}

impl Operation for PutUserPolicy {
    const NAME: &'static str = "PutUserPolicy";
    const MEMBERS: &'static [Member] = &[
        required("UserName", &shapes::USER_NAME),
        required("PolicyName", &shapes::POLICY_NAME),
        required("PolicyDocument", &shapes::POLICY_DOCUMENT),
    ];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::put_policy(cx, PrincipalKind::User, &self.user_name, (self.policy_name, self.policy_document))
    }
}
