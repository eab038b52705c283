//! Who asks.

use crate::model::{AccountId, Arn};

/// The principal whose signature a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account that the principal belongs to.
    pub account: AccountId,
    /// The principal's ARN, for example `arn:aws:iam::111122223333:root`.
    pub arn: String,
    /// The principal's unique id; the account id for the root user.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    pub user_id: String,
    /// The access key that signed.
    pub access_key_id: String,
}

impl Caller {
    /// Whether this is the root user of its account.
    pub fn is_root_user(&self) -> bool {
        self.arn == Arn::root_user(&self.account).to_string()
    }
}
