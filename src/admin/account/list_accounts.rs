//! ListAccounts, ours.

use serde::{Deserialize, Serialize};

use super::Account;
use crate::admin::{Context, Error, Operation, Plan};
use crate::kms::shape::Member;

/// Lists all accounts, by id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListAccounts {}

/// All accounts.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    accounts: Vec<Account>,
}

impl Operation for ListAccounts {
    const NAME: &'static str = "ListAccounts";
    const MEMBERS: &'static [Member] = &[];
    const READ_ONLY: bool = true;
    const IN_ACCOUNT: bool = false;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let accounts = cx.store().accounts().iter().map(|row| Account::from(&row.record)).collect();
        Ok(Plan::read(Output { accounts }))
    }
}
