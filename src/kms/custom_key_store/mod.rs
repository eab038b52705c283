//! Operations on custom key stores: tokens beside the Regions' own, which callers connect by a password.
//!
//! AWS keeps them in CloudHSM clusters. Here a cluster is a token that the settings name by the id of one; the
//! `KeyStorePassword` is its PIN, or the password in it.

mod connect_custom_key_store;
mod connections;
mod create_custom_key_store;
mod delete_custom_key_store;
mod describe_custom_key_stores;
mod disconnect_custom_key_store;
mod trust_anchor;
mod update_custom_key_store;

pub use connect_custom_key_store::ConnectCustomKeyStore;
pub use connections::{Cluster, CustomKeyStores};
pub use create_custom_key_store::CreateCustomKeyStore;
pub use delete_custom_key_store::DeleteCustomKeyStore;
pub use describe_custom_key_stores::DescribeCustomKeyStores;
pub use disconnect_custom_key_store::DisconnectCustomKeyStore;
pub use trust_anchor::TrustAnchor;
pub use update_custom_key_store::UpdateCustomKeyStore;

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroize;

use super::{Context, Error, Facts, Kms, Operation, arn_of};
use crate::model::{AccountId, ClusterId, ConnectionState, CustomKeyStoreId};
use crate::store::{Change, Connection, CustomKeyStoreRecord, KeyRecord, Row, Store};
use crate::token::Token;

/// A custom key store as the store has it, with its revision.
pub type CustomKeyStoreRow = Arc<Row<CustomKeyStoreRecord>>;

/// What the operations answer that have nothing to tell: `{}`.
#[derive(Serialize)]
pub struct Empty {}

/// A `KeyStorePassword`, wiped when dropped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Password(String);

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Refuses the members of a request that are for external key stores alone, of which these are given. AWS's wording is
/// not known.
fn check_not_external(members: [(&str, Option<IgnoredAny>); 6]) -> Result<(), Error> {
    match members.iter().find(|(_, member)| member.is_some()) {
        Some((name, _)) => Err(Error::Validation(format!(
            "{name} is not valid for a custom key store with a CustomKeyStoreType of AWS_CLOUDHSM."
        ))),
        None => Ok(()),
    }
}

impl Context {
    /// The account of the caller, if it may do this operation to custom key stores.
    fn authorize_key_store<O: Operation>(&self) -> Result<AccountId, Error> {
        Ok(self.authorize_account::<O>(&Facts::default())?.into_thing())
    }

    /// The custom key store of the caller's account in the request's Region that has this id; noted for the record.
    pub(super) fn custom_key_store(&self, id: &str) -> Result<CustomKeyStoreRow, Error> {
        let none = || Error::CustomKeyStoreNotFound(id.to_owned());
        let parsed = id.parse::<CustomKeyStoreId>().map_err(|_| none())?;
        let found = self.kms.store.custom_key_store(&self.request.region, &self.caller.account, &parsed);
        let row = found.ok_or_else(none)?;
        self.note_custom_key_store(&row.record);
        Ok(row)
    }

    /// The same if it is connected: for CreateKey and GenerateRandom. These do not know AWS's KeyUnavailableException: there
    /// is no key yet.
    pub(super) fn connected_custom_key_store(&self, id: &str) -> Result<(CustomKeyStoreRow, Token), Error> {
        let row = self.custom_key_store(id)?;
        check_state(&self.kms, &row.record, &[ConnectionState::Connected])?;
        let away = |why: String| Error::DependencyTimeout(format!("the token of {} is out: {why}", row.record.id));
        let token = self.kms.custom_token(&row.record.id).ok_or_else(|| away("it is not open".into()))?;
        token.check_available().map_err(|error| away(error.to_string()))?;
        Ok((row, token))
    }

    fn note_custom_key_store(&self, record: &CustomKeyStoreRecord) {
        self.note_detail("customKeyStoreId", json!(record.id));
        self.note_detail("customKeyStoreName", json!(record.name));
        self.note_detail("clusterId", json!(record.cluster));
    }
}

impl Kms {
    /// The cluster with the objects of a key; none of the Region's own keys.
    pub(super) fn cluster_of(&self, key: &KeyRecord) -> Option<ClusterId> {
        let row = self.store.custom_key_store(&key.region, &key.account, key.custom_key_store.as_ref()?)?;
        Some(row.record.cluster.clone())
    }

    /// Makes a change that begins something on the token of a key come before or after any change of its custom key store,
    /// if it is in one: until it is finished, that is not given another cluster.
    pub(super) fn in_its_cluster(&self, change: Change, key: &KeyRecord) -> Change {
        let id = key.custom_key_store.as_ref();
        let row = id.and_then(|id| self.store.custom_key_store(&key.region, &key.account, id));
        row.iter().fold(change, |change, row| change.touch(row))
    }

    /// Whether a custom key store is held to what AWS's can do.
    pub(super) fn has_aws_limits(&self, cluster: &ClusterId) -> bool {
        self.custom_key_stores.cluster(cluster).is_some_and(|cluster| cluster.aws_limits)
    }

    /// Refuses what AWS does not do with the keys of custom key stores, where the settings say so.
    pub(super) fn check_beyond_aws(&self, key: &KeyRecord) -> Result<(), Error> {
        match self.cluster_of(key).is_some_and(|cluster| self.has_aws_limits(&cluster)) {
            true => Err(Error::UnsupportedOperation(format!(
                "{} origin is {} which is not valid for this operation.",
                arn_of(key),
                key.origin
            ))),
            false => Ok(()),
        }
    }
}

/// Refuses a custom key store that is in none of these states. AWS's wording is not known.
fn check_state(kms: &Kms, record: &CustomKeyStoreRecord, states: &[ConnectionState]) -> Result<(), Error> {
    let state = kms.connection_state(record);
    if states.contains(&state) {
        return Ok(());
    }
    let wanted: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    Err(Error::CustomKeyStoreInvalidState(format!(
        "The ConnectionState of custom key store {} is {state}; this operation needs {}.",
        record.id,
        wanted.join(" or ")
    )))
}

/// Refuses a name that another custom key store of the account has in the Region.
fn check_name(store: &Store, record: &CustomKeyStoreRecord) -> Result<(), Error> {
    let others = store.custom_key_stores_of(&record.region, &record.account);
    match others.iter().any(|other| other.record.name == record.name && other.record.id != record.id) {
        true => Err(Error::CustomKeyStoreNameInUse(record.name.clone())),
        false => Ok(()),
    }
}

/// Refuses a cluster that the settings do not name for the account, and one that another custom key store has: of any account, since a
/// process is logged in to a token once.
fn check_cluster(kms: &Kms, record: &CustomKeyStoreRecord) -> Result<(), Error> {
    let cluster = record.cluster.to_string();
    if kms.custom_key_stores.cluster_for(&record.account, &record.cluster).is_none() {
        return Err(Error::CloudHsmClusterNotFound(cluster));
    }
    let has = |other: &CustomKeyStoreRecord| other.cluster == record.cluster && other.id != record.id;
    match kms.store.custom_key_stores().iter().any(|other| has(&other.record)) {
        true => Err(Error::CloudHsmClusterInUse(cluster)),
        false => Ok(()),
    }
}

/// A cluster id of a request. The shape has looked at its characters; this looks at their order.
fn cluster_id(text: &str) -> Result<ClusterId, Error> {
    text.parse().map_err(|_| {
        Error::Validation(format!(
            "1 validation error detected: Value '{text}' at 'cloudHsmClusterId' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: cluster-[2-7a-zA-Z]{{11,16}}"
        ))
    })
}

/// A copy of a record to be changed, with another connection.
fn connecting_to(record: &CustomKeyStoreRecord, connection: Connection) -> CustomKeyStoreRecord {
    let mut record = record.clone();
    record.connection = connection;
    record
}
