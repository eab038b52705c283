//! DeletePolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html>

use serde::Deserialize;

use super::{find, uses_of};
use crate::admin::{Context, Error, Nothing, Operation, Plan, shapes};
use crate::kms::shape::{Member, required};

/// Deletes a policy that no user and no role has, as its own or as its boundary.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeletePolicy {
    policy_arn: String,
}

impl Operation for DeletePolicy {
    const NAME: &'static str = "DeletePolicy";
    const MEMBERS: &'static [Member] = &[required("PolicyArn", &shapes::ARN)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        let policy = find(cx, &self.policy_arn)?;
        let uses = uses_of(cx, &policy.record.name);
        if uses.attached + uses.as_boundary > 0 {
            return Err(Error::DeleteConflict("Cannot delete a policy attached to entities.".into()));
        }
        // Whoever attaches it meanwhile writes it anew, and one of the two is decided again.
        Ok(Plan::silent(cx.change().delete(&policy)))
    }
}
