//! Operations on accounts, which are ours: IAM has one.

mod create_account;
mod list_accounts;

pub use create_account::CreateAccount;
pub use list_accounts::ListAccounts;

use serde::Serialize;

use crate::model::Arn;
use crate::store::AccountRecord;

/// An account, as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Account {
    account_id: String,
    arn: String,
    create_date: String,
}

impl From<&AccountRecord> for Account {
    fn from(record: &AccountRecord) -> Self {
        Account {
            account_id: record.account.to_string(),
            arn: Arn::root_user(&record.account).to_string(),
            create_date: record.created.to_string(),
        }
    }
}
