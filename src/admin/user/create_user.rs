//! CreateUser: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::User;
use crate::admin::principal::{self, New};
use crate::admin::rules::Tag;
use crate::admin::{Context, Error, Operation, Plan, shapes};
use crate::kms::shape::{Member, optional, required};
use crate::model::{FriendlyName, IamPath};
use crate::store::PrincipalKind;

/// Creates a user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct CreateUser {
    user_name: FriendlyName,
    path: Option<IamPath>,
    tags: Option<Vec<Tag>>,
    permissions_boundary: Option<String>,
}

/// What was created.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    user: User,
}

impl Operation for CreateUser {
    const NAME: &'static str = "CreateUser";
    const MEMBERS: &'static [Member] = &[
        required("UserName", &shapes::USER_NAME),
        optional("Path", &shapes::PATH),
        optional("Tags", &shapes::TAG_LIST),
        optional("PermissionsBoundary", &shapes::ARN),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let new = New {
            kind: PrincipalKind::User,
            name: self.user_name,
            path: self.path,
            tags: self.tags,
            permissions_boundary: self.permissions_boundary,
            role: None,
        };
        let (change, record) = principal::create(cx, new)?;
        let user = User::of(cx, &record);
        let told = json!({ "user": { "userName": user.user_name, "userId": user.user_id, "arn": user.arn } });
        Ok(Plan::change(change, Output { user }, told))
    }
}
