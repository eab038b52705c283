//! The custom key stores: which cluster, by which password, and whether they are wanted connected.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{PasswordTries, Record};
use crate::model::{AccountId, ClusterId, ConnectionError, CustomKeyStoreId, Region, Timestamp};

/// A custom key store of the model's type `AWS_CLOUDHSM`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomKeyStoreRecord {
    /// Where it was made.
    pub region: Region,
    /// Whose it is.
    pub account: AccountId,
    /// Its id, unique everywhere.
    pub id: CustomKeyStoreId,
    /// Its name, unique in the account and Region.
    pub name: String,
    /// The token.
    pub cluster: ClusterId,
    /// The certificate that it was created with, as it was given.
    pub trust_anchor: String,
    /// Whether it is connected, or should be.
    pub connection: Connection,
    /// When it was created.
    pub created: Timestamp,
    /// What is known of the password.
    pub standing: PasswordStanding,
    /// By which this service logs in to the token.
    pub password: String,
    /// The serial number of the token that it was connected to first: no other one is ever given the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Passwords that were given to a token and not taken, this one or earlier ones, the latest last.
    #[serde(default, skip_serializing_if = "PasswordTries::is_empty")]
    pub tries: PasswordTries,
}

/// What is known of the password of a custom key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordStanding {
    /// It was never tried, or nobody knows what came of it.
    Unproven,
    /// The token took it.
    Proven,
    /// The token refused it: it is not tried again.
    Refused,
}

/// Whether a custom key store is connected, or should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// Nobody wants it connected.
    Disconnected,
    /// Somebody asked for it, and what came of it is not known yet.
    Connecting,
    /// It was connected, and every start of the service connects it again.
    Connected,
    /// It could not be connected, for this reason.
    Failed(ConnectionError),
}

impl CustomKeyStoreRecord {
    /// Puts it on another cluster. What the token there said of the password before holds.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.keep_refusal();
        self.cluster = cluster;
        self.look_up();
    }

    /// Gives it another password. What the token said of that before holds.
    pub fn set_password(&mut self, password: &str) {
        self.keep_refusal();
        self.password.zeroize();
        self.password = password.to_owned();
        self.look_up();
    }

    /// Writes down that the password is about to be given to the token.
    pub fn begin_try(&mut self) {
        self.tries.begin(self.try_of());
    }

    /// Takes that back: the token has taken it.
    pub fn end_try(&mut self) {
        self.tries.end(&self.try_of());
    }

    /// Writes down that the token refused the password, so that it is never tried again, even if it was another one's turn
    /// in between.
    pub fn refuse(&mut self) {
        self.tries.refuse(self.try_of());
        self.standing = PasswordStanding::Refused;
    }

    /// Whether the password was given to the token and nobody knows what came of it.
    pub fn is_unclear(&self) -> bool {
        self.tries.is_unclear(&self.try_of())
    }

    /// A refusal may be on record as no more than the standing.
    fn keep_refusal(&mut self) {
        if self.standing == PasswordStanding::Refused {
            self.refuse();
        }
    }

    fn look_up(&mut self) {
        let refused = self.tries.is_refused(&self.try_of());
        self.standing = if refused { PasswordStanding::Refused } else { PasswordStanding::Unproven };
    }

    fn try_of(&self) -> String {
        PasswordTries::name(self.cluster.as_str(), &self.password)
    }
}

impl Connection {
    /// Whether the service keeps it connected.
    pub fn is_wanted(self) -> bool {
        matches!(self, Connection::Connecting | Connection::Connected)
    }
}

impl Record for CustomKeyStoreRecord {
    const TABLE: &'static str = "custom-key-stores";

    fn primary_key(&self) -> String {
        custom_key_store_row(&self.region, &self.account, &self.id)
    }
}

impl fmt::Debug for CustomKeyStoreRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without `..`, so that a new field has to be considered here.
        let CustomKeyStoreRecord {
            region,
            account,
            id,
            name,
            cluster,
            trust_anchor: _,
            connection,
            created,
            standing,
            password: _,
            serial,
            tries: _,
        } = self;
        f.debug_struct("CustomKeyStoreRecord")
            .field("region", region)
            .field("account", account)
            .field("id", id)
            .field("name", name)
            .field("cluster", cluster)
            .field("connection", connection)
            .field("created", created)
            .field("standing", standing)
            .field("serial", serial)
            .finish_non_exhaustive()
    }
}

impl Drop for CustomKeyStoreRecord {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// The primary key of a [`CustomKeyStoreRecord`].
pub(super) fn custom_key_store_row(region: &Region, account: &AccountId, id: &CustomKeyStoreId) -> String {
    format!("{}{id}", custom_key_stores_of(region, account))
}

/// What the primary keys of all custom key stores of an account in a Region begin with.
pub(super) fn custom_key_stores_of(region: &Region, account: &AccountId) -> String {
    format!("{region}/{account}/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[test]
    fn a_refused_password_stays_so_whatever_comes_in_between() {
        let mut record = samples::custom_key_store(&samples::region());
        record.refuse();
        record.set_password("another one");
        assert_eq!(record.standing, PasswordStanding::Unproven);
        record.set_cluster("cluster-bcdefgh2345".parse().unwrap());
        record.set_password("kmsPswd");
        assert_eq!(record.standing, PasswordStanding::Unproven, "there it was never tried");
        record.set_cluster("cluster-234567abcde".parse().unwrap());
        assert_eq!(record.standing, PasswordStanding::Refused);
        // From before tries were written down, the standing alone says it.
        record.tries = PasswordTries::default();
        record.set_password("another one");
        record.set_password("kmsPswd");
        assert_eq!(record.standing, PasswordStanding::Refused);
    }

    #[test]
    fn a_try_is_unclear_until_its_end() {
        let mut record = samples::custom_key_store(&samples::region());
        record.begin_try();
        assert!(record.is_unclear() && record.standing == PasswordStanding::Proven);
        record.set_password("another one");
        assert!(!record.is_unclear());
        record.set_password("kmsPswd");
        assert!(record.is_unclear());
        record.end_try();
        assert!(!record.is_unclear() && record.tries.is_empty());
    }
}
