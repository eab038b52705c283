//! The AWS account id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A twelve-digit AWS account id, leading zeros kept.
///
/// Source: <https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-identifiers.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(AccountId(text.to_owned()))
        } else {
            Err(format!("`{text}` is not an account id: twelve digits, for example 111122223333"))
        }
    }
}

impl TryFrom<String> for AccountId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(account: AccountId) -> String {
        account.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
