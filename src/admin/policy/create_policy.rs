//! CreatePolicy: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Policy, Uses};
use crate::admin::{Context, Error, Operation, Plan, rules, shapes};
use crate::kms::shape::{Member, optional, required};
use crate::model::{FriendlyName, IamPath};
use crate::store::PolicyRecord;

/// Creates a policy that users and roles of the account can share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct CreatePolicy {
    policy_name: FriendlyName,
    path: Option<IamPath>,
    policy_document: String,
}

/// What was created, without the document.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    policy: Policy,
}

impl Operation for CreatePolicy {
    const NAME: &'static str = "CreatePolicy";
    const MEMBERS: &'static [Member] = &[
        required("PolicyName", &shapes::POLICY_NAME),
        optional("Path", &shapes::PATH),
        required("PolicyDocument", &shapes::POLICY_DOCUMENT),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        if cx.store().policy(&cx.account, &self.policy_name).is_some() {
            let text = format!("A policy called {} already exists. Duplicate names are not allowed.", self.policy_name);
            return Err(Error::EntityAlreadyExists(text));
        }
        rules::check_shared(&self.policy_document)?;
        let record = PolicyRecord {
            account: cx.account.clone(),
            path: self.path.unwrap_or_default(),
            name: self.policy_name,
            document: self.policy_document,
            created: cx.now,
            updated: cx.now,
        };
        let policy = Policy::of(&record, Uses::default());
        let told = json!({ "policy": { "policyName": policy.policy_name, "arn": policy.arn } });
        Ok(Plan::change(cx.change().insert(record), Output { policy }, told))
    }
}
