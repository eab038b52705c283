//! What a custom key store is made of: its cluster and its connection.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::words::words;

/// The id of a CloudHSM cluster: `cluster-` and 11 to 16 of `2-7a-zA-Z`. Here it is a token that the settings name so.
///
/// Source: the service model's `CloudHsmClusterIdType`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(String);

impl ClusterId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let admits = |byte: u8| byte.is_ascii_alphabetic() || (b'2'..=b'7').contains(&byte);
        match text.strip_prefix("cluster-") {
            Some(rest) if (11..=16).contains(&rest.len()) && rest.bytes().all(admits) => Ok(ClusterId(text.to_owned())),
            _ => Err(format!("`{text}` is not a cluster's id: cluster- and 11 to 16 letters and digits from 2 to 7")),
        }
    }
}

impl TryFrom<String> for ClusterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> String {
        id.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

words! {
    /// Whether a custom key store is connected: the model's `ConnectionStateType`.
    pub enum ConnectionState {
        /// Its keys can be used.
        Connected = "CONNECTED",
        /// It is being connected.
        Connecting = "CONNECTING",
        /// It could not be connected.
        Failed = "FAILED",
        /// Nobody wants it connected.
        Disconnected = "DISCONNECTED",
        /// Its sessions are being closed.
        Disconnecting = "DISCONNECTING",
    }
}

words! {
    /// Why a custom key store could not be connected: those of the model's `ConnectionErrorCodeType` that can be here.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CustomKeyStoresListEntry.html>
    pub enum ConnectionError {
        /// The token refuses the password.
        InvalidCredentials = "INVALID_CREDENTIALS",
        /// The settings name no such cluster, or its module has no such token.
        ClusterNotFound = "CLUSTER_NOT_FOUND",
        /// The token cannot be reached now.
        NetworkErrors = "NETWORK_ERRORS",
        /// Anything else; the log says what.
        InternalError = "INTERNAL_ERROR",
        /// The token's PIN is locked, or has one try left.
        UserLockedOut = "USER_LOCKED_OUT",
        /// The token's user was never given a PIN.
        UserNotFound = "USER_NOT_FOUND",
        /// This process is logged in to the token already, so that the password cannot be tried.
        UserLoggedIn = "USER_LOGGED_IN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_are_as_in_the_model() {
        for good in [
            "cluster-1a23b4cdefg".replace('1', "2"),
            "cluster-abcdefghijk".into(),
            format!("cluster-{}", "Z".repeat(16)),
        ] {
            assert_eq!(good.parse::<ClusterId>().unwrap().as_str(), good);
        }
        for bad in ["", "cluster-", "cluster-abcdefghij", "cluster-abcdefghij1", "cluster-abcdefghij8", "abcdefghijk"] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad}");
        }
        assert!(format!("cluster-{}", "a".repeat(17)).parse::<ClusterId>().is_err());
    }
}
