//! ListPolicies: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListPolicies.html>

use serde::{Deserialize, Serialize};

use super::{Policy, uses};
use crate::admin::{Context, Error, Operation, Plan, shapes};
use crate::kms::shape::{Member, optional};

/// Lists the policies of the account, by name, without their documents.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListPolicies {
    path_prefix: Option<String>,
}

/// All whose path begins so.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    policies: Vec<Policy>,
}

impl Operation for ListPolicies {
    const NAME: &'static str = "ListPolicies";
    const MEMBERS: &'static [Member] = &[optional("PathPrefix", &shapes::PATH)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let (prefix, uses) = (self.path_prefix.unwrap_or_default(), uses(cx));
        let rows = cx.store().policies_of(&cx.account);
        let wanted = rows.iter().map(|row| &row.record).filter(|record| record.path.as_str().starts_with(&prefix));
        let policies = wanted.map(|record| Policy::of(record, uses.get(&record.name).copied().unwrap_or_default()));
        Ok(Plan::read(Output { policies: policies.collect() }))
    }
}
