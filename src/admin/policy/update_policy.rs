//! UpdatePolicy, ours: IAM makes a new version (CreatePolicyVersion), and keeps four old ones.

use serde::Deserialize;

use super::find;
use crate::admin::{Context, Error, Nothing, Operation, Plan, rules, shapes};
use crate::kms::shape::{Member, required};

/// Replaces the document of a policy for all who have it, from their next request on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UpdatePolicy {
    policy_arn: String,
    policy_document: String,
}

impl Operation for UpdatePolicy {
    const NAME: &'static str = "UpdatePolicy";
    const MEMBERS: &'static [Member] =
        &[required("PolicyArn", &shapes::ARN), required("PolicyDocument", &shapes::POLICY_DOCUMENT)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        let policy = find(cx, &self.policy_arn)?;
        rules::check_shared(&self.policy_document)?;
        let mut record = policy.record.clone();
        record.document = self.policy_document;
        record.updated = cx.now;
        Ok(Plan::silent(cx.change().update(&policy, record)))
    }
}
