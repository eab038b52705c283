//! Operations on users.

mod attach_user_policy;
mod create_user;
mod delete_user;
mod delete_user_permissions_boundary;
mod delete_user_policy;
mod detach_user_policy;
mod get_user;
mod get_user_policy;
mod list_attached_user_policies;
mod list_user_policies;
mod list_users;
mod put_user_permissions_boundary;
mod put_user_policy;
mod revoke_user_sessions;
mod tag_user;
mod untag_user;

pub use attach_user_policy::AttachUserPolicy;
pub use create_user::CreateUser;
pub use delete_user::DeleteUser;
pub use delete_user_permissions_boundary::DeleteUserPermissionsBoundary;
pub use delete_user_policy::DeleteUserPolicy;
pub use detach_user_policy::DetachUserPolicy;
pub use get_user::GetUser;
pub use get_user_policy::GetUserPolicy;
pub use list_attached_user_policies::ListAttachedUserPolicies;
pub use list_user_policies::ListUserPolicies;
pub use list_users::ListUsers;
pub use put_user_permissions_boundary::PutUserPermissionsBoundary;
pub use put_user_policy::PutUserPolicy;
pub use revoke_user_sessions::RevokeUserSessions;
pub use tag_user::TagUser;
pub use untag_user::UntagUser;

use serde::Serialize;

use super::Context;
use super::principal::{self, Boundary};
use super::rules::{self, Tag};
use crate::store::PrincipalRecord;

/// A user, as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct User {
    path: String,
    user_name: String,
    user_id: String,
    arn: String,
    create_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions_boundary: Option<Boundary>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    /// Ours: sessions that were issued before this have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions_revoked_before: Option<String>,
}

impl User {
    fn of(cx: &Context<'_>, record: &PrincipalRecord) -> Self {
        User {
            path: record.path.to_string(),
            user_name: record.name.to_string(),
            user_id: record.unique_id.clone(),
            arn: record.arn().to_string(),
            create_date: record.created.to_string(),
            permissions_boundary: principal::boundary(cx, record),
            tags: rules::listed(&record.tags),
            sessions_revoked_before: record.sessions_revoked_before.map(|time| time.to_string()),
        }
    }
}
