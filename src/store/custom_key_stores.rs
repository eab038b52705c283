//! The custom key stores: which cluster, by which password, and whether they are wanted connected.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::Record;
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
