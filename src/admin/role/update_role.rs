//! UpdateRole: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRole.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, shapes};
use crate::kms::shape::{Member, optional, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Changes the description of a role or how long its sessions last at most; without the latter, an hour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UpdateRole {
    role_name: FriendlyName,
    description: Option<String>,
    max_session_duration: Option<u32>,
}

impl Operation for UpdateRole {
    const NAME: &'static str = "UpdateRole";
    const MEMBERS: &'static [Member] = &[
        required("RoleName", &shapes::ROLE_NAME),
        optional("Description", &shapes::ROLE_DESCRIPTION),
        optional("MaxSessionDuration", &shapes::ROLE_MAX_SESSION_DURATION),
    ];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        principal::update(cx, PrincipalKind::Role, &self.role_name, |record| {
            if let Some(role) = &mut record.role {
                role.max_session_seconds = self.max_session_duration.unwrap_or(super::DEFAULT_SESSION_SECONDS);
                role.description = self.description.unwrap_or_else(|| std::mem::take(&mut role.description));
            }
            Ok(())
        })
    }
}
