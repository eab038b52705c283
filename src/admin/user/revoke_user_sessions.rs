//! RevokeUserSessions, ours: for AWS, an operator denies by aws:TokenIssueTime instead.

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Ends all sessions of a user that were issued until now.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct RevokeUserSessions {
    user_name: FriendlyName,
}

impl Operation for RevokeUserSessions {
    const NAME: &'static str = "RevokeUserSessions";
    const MEMBERS: &'static [Member] = &[required("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::revoke_sessions(cx, PrincipalKind::User, &self.user_name)
    }
}
