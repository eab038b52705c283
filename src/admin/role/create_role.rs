//! CreateRole: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{DEFAULT_SESSION_SECONDS, Role};
use crate::admin::principal::{self, New};
use crate::admin::rules::{self, Tag};
use crate::admin::{Context, Error, Operation, Plan, shapes};
use crate::kms::shape::{Member, optional, required};
use crate::model::{FriendlyName, IamPath};
use crate::store::{PrincipalKind, RoleDetails};

/// Creates a role that those in its trust policy may assume.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct CreateRole {
    role_name: FriendlyName,
    path: Option<IamPath>,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
    tags: Option<Vec<Tag>>,
    permissions_boundary: Option<String>,
}

/// What was created.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    role: Role,
}

impl Operation for CreateRole {
    const NAME: &'static str = "CreateRole";
    const MEMBERS: &'static [Member] = &[
        required("RoleName", &shapes::ROLE_NAME),
        optional("Path", &shapes::PATH),
        required("AssumeRolePolicyDocument", &shapes::POLICY_DOCUMENT),
        optional("Description", &shapes::ROLE_DESCRIPTION),
        optional("MaxSessionDuration", &shapes::ROLE_MAX_SESSION_DURATION),
        optional("Tags", &shapes::TAG_LIST),
        optional("PermissionsBoundary", &shapes::ARN),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let role = RoleDetails {
            trusted: rules::check_trust(cx, &self.assume_role_policy_document)?,
            trust_policy: self.assume_role_policy_document,
            max_session_seconds: self.max_session_duration.unwrap_or(DEFAULT_SESSION_SECONDS),
            description: self.description.unwrap_or_default(),
        };
        let new = New {
            kind: PrincipalKind::Role,
            name: self.role_name,
            path: self.path,
            tags: self.tags,
            permissions_boundary: self.permissions_boundary,
            role: Some(role),
        };
        let (change, record) = principal::create(cx, new)?;
        let role = Role::of(cx, &record);
        let told = json!({ "role": { "roleName": role.role_name, "roleId": role.role_id, "arn": role.arn } });
        Ok(Plan::change(change, Output { role }, told))
    }
}
