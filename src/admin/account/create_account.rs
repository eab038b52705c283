//! CreateAccount, ours: an account and its root user's first access key.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Account;
use crate::admin::access_key::NewAccessKey;
use crate::admin::{Context, Error, Operation, Plan};
use crate::kms::new_access_key;
use crate::kms::shape::Member;
use crate::model::Arn;
use crate::store::AccountRecord;

/// Creates the account that the request names, with a root user who has one access key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct CreateAccount {}

/// What was created; the one time that the secret is shown.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    account: Account,
    access_key: NewAccessKey,
}

impl Operation for CreateAccount {
    const NAME: &'static str = "CreateAccount";
    const MEMBERS: &'static [Member] = &[];
    const READ_ONLY: bool = false;
    const IN_ACCOUNT: bool = false;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        if cx.store().account(&cx.account).is_some() {
            return Err(Error::EntityAlreadyExists(format!("Account with id {} already exists.", cx.account)));
        }
        let arn = Arn::root_user(&cx.account).to_string();
        let key = new_access_key(&cx.account, arn, cx.account.as_str(), cx.now)?;
        let record = AccountRecord { account: cx.account.clone(), created: cx.now };
        let output = Output { account: Account::from(&record), access_key: NewAccessKey::of(&key, None) };
        let told = json!({ "accountId": cx.account, "accessKey": output.access_key.shown() });
        Ok(Plan::change(cx.change().insert(record).insert(key), output, told))
    }
}
