//! Who asks.

use crate::model::AccountId;

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
        // Asked several times in every request: compared in place.
        let account = self.arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root"));
        account == Some(self.account.as_str())
    }
}
