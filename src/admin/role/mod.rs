//! Operations on roles.

mod attach_role_policy;
mod create_role;
mod delete_role;
mod delete_role_permissions_boundary;
mod delete_role_policy;
mod detach_role_policy;
mod get_role;
mod get_role_policy;
mod list_attached_role_policies;
mod list_role_policies;
mod list_roles;
mod put_role_permissions_boundary;
mod put_role_policy;
mod revoke_role_sessions;
mod tag_role;
mod untag_role;
mod update_assume_role_policy;
mod update_role;

pub use attach_role_policy::AttachRolePolicy;
pub use create_role::CreateRole;
pub use delete_role::DeleteRole;
pub use delete_role_permissions_boundary::DeleteRolePermissionsBoundary;
pub use delete_role_policy::DeleteRolePolicy;
pub use detach_role_policy::DetachRolePolicy;
pub use get_role::GetRole;
pub use get_role_policy::GetRolePolicy;
pub use list_attached_role_policies::ListAttachedRolePolicies;
pub use list_role_policies::ListRolePolicies;
pub use list_roles::ListRoles;
pub use put_role_permissions_boundary::PutRolePermissionsBoundary;
pub use put_role_policy::PutRolePolicy;
pub use revoke_role_sessions::RevokeRoleSessions;
pub use tag_role::TagRole;
pub use untag_role::UntagRole;
pub use update_assume_role_policy::UpdateAssumeRolePolicy;
pub use update_role::UpdateRole;

use serde::Serialize;

use super::Context;
use super::principal::{self, Boundary};
use super::rules::{self, Tag, Text};
use crate::store::PrincipalRecord;

/// A role, as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Role {
    path: String,
    role_name: String,
    role_id: String,
    arn: String,
    create_date: String,
    assume_role_policy_document: Text,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    max_session_duration: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions_boundary: Option<Boundary>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    /// Ours: sessions that were issued before this have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions_revoked_before: Option<String>,
}

impl Role {
    fn of(cx: &Context<'_>, record: &PrincipalRecord) -> Self {
        let role = record.role.as_ref();
        Role {
            path: record.path.to_string(),
            role_name: record.name.to_string(),
            role_id: record.unique_id.clone(),
            arn: record.arn().to_string(),
            create_date: record.created.to_string(),
            assume_role_policy_document: Text(role.map(|role| role.trust_policy.clone()).unwrap_or_default()),
            description: role.map(|role| role.description.clone()).unwrap_or_default(),
            max_session_duration: role.map_or(DEFAULT_SESSION_SECONDS, |role| role.max_session_seconds),
            permissions_boundary: principal::boundary(cx, record),
            tags: rules::listed(&record.tags),
            sessions_revoked_before: record.sessions_revoked_before.map(|time| time.to_string()),
        }
    }
}

/// How long a role's sessions last at most, if it does not say.
const DEFAULT_SESSION_SECONDS: u32 = 3_600;
