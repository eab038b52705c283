//! GetPolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicy.html>

use serde::{Deserialize, Serialize};

use super::{Policy, find, uses_of};
use crate::admin::{Context, Error, Operation, Plan, shapes};
use crate::kms::shape::{Member, required};

/// A policy with its document, which IAM has in a version of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct GetPolicy {
    policy_arn: String,
}

/// What it is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    policy: Policy,
}

impl Operation for GetPolicy {
    const NAME: &'static str = "GetPolicy";
    const MEMBERS: &'static [Member] = &[required("PolicyArn", &shapes::ARN)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let record = &find(cx, &self.policy_arn)?.record;
        let policy = Policy::of(record, uses_of(cx, &record.name)).with_document(record);
        Ok(Plan::read(Output { policy }))
    }
}
