//! UpdateAssumeRolePolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html>

use serde::Deserialize;

use crate::admin::{Context, Error, Nothing, Operation, Plan, principal, rules, shapes};
use crate::kms::shape::{Member, required};
use crate::model::FriendlyName;
use crate::store::PrincipalKind;

/// Replaces the trust policy of a role: who may assume it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UpdateAssumeRolePolicy {
    role_name: FriendlyName,
    policy_document: String,
}

impl Operation for UpdateAssumeRolePolicy {
    const NAME: &'static str = "UpdateAssumeRolePolicy";
    const MEMBERS: &'static [Member] =
        &[required("RoleName", &shapes::ROLE_NAME), required("PolicyDocument", &shapes::POLICY_DOCUMENT)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        let trusted = rules::check_trust(cx, &self.policy_document)?;
        principal::update(cx, PrincipalKind::Role, &self.role_name, |record| {
            if let Some(role) = &mut record.role {
                role.trust_policy = self.policy_document;
                role.trusted = trusted;
            }
            Ok(())
        })
    }
}
