//! RevokeRoleSessions, ours: for AWS, an operator denies by aws:TokenIssueTime instead.

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Ends all sessions of a role that were issued until now.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct RevokeRoleSessions {
    role_name: FriendlyName,
}

impl Operation for RevokeRoleSessions {
    const NAME: &'static str = "RevokeRoleSessions";
    const MEMBERS: &'static [Member] = &[required("RoleName", &shapes::ROLE_NAME)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::revoke_sessions(cx, PrincipalKind::Role, &self.role_name)
    }
}
