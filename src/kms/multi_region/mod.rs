//! Multi-Region keys: one primary key and its replicas, which share their id and their material.
//!
//! All of them are in one store, so that what they share changes in one transaction. The material of a key that is made
//! here goes from token to token wrapped; that of an imported one is imported into each.
//!
//! Source: <https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html>

mod passing;
mod replicate_key;
mod replication_key;
mod update_primary_region;

pub use replicate_key::ReplicateKey;
pub use replication_key::{TokenKey, fingerprint_of};
pub use update_primary_region::UpdatePrimaryRegion;

use std::sync::Arc;

use serde_json::json;

use super::janitor::Act;
use super::{Error, KeyRow, Kms, arn_of};
use crate::model::{KeyState, Region};
use crate::store::{Change, KeyRecord, Row};

impl Kms {
    /// The primary key of a multi-Region key; any other key itself.
    pub(super) fn primary_of(&self, key: &KeyRow) -> KeyRow {
        let primary = key.record.primary_region.as_ref().filter(|_| key.record.is_replica());
        primary.and_then(|region| self.store.key(region, &key.record.key_id)).unwrap_or_else(|| key.clone())
    }

    /// The other keys of a multi-Region key that go on to be: all but those whose objects are being destroyed.
    fn living_relations_of(&self, key: &KeyRecord) -> Vec<KeyRow> {
        let mut related = self.store.multi_region(&key.key_id);
        related.retain(|row| row.record.region != key.region && row.record.state != KeyState::Destroying);
        related
    }

    /// The replicas of a primary key, whatever their state; of any other key there are none.
    pub(super) fn replicas_of(&self, key: &KeyRecord) -> Vec<Arc<Row<KeyRecord>>> {
        let mut related = self.store.multi_region(&key.key_id);
        related.retain(|row| row.record.region != key.region && !key.is_replica());
        related
    }

    /// The replicas that go on to be: all but those whose objects are being destroyed.
    pub(super) fn living_replicas_of(&self, key: &KeyRecord) -> Vec<Arc<Row<KeyRecord>>> {
        let mut living = self.replicas_of(key);
        living.retain(|row| row.record.state != KeyState::Destroying);
        living
    }

    /// Has the waiting time of a primary key begin when its last replica goes with this change; gives the act that this is.
    ///
    /// The primary key is touched at least: whoever counts its replicas at the same time, as another replica that goes or
    /// who schedules its deletion, must decide again.
    pub(super) fn without_replica(&self, change: Change, replica: &KeyRecord) -> (Change, Option<Act>) {
        let primary = replica.primary_region.as_ref().filter(|_| replica.is_replica());
        let primary = primary.and_then(|region| self.store.key(region, &replica.key_id));
        let Some(primary) = primary else { return (change, None) };
        let waits = primary.record.state == KeyState::PendingReplicaDeletion;
        let is_last = self.replicas_of(&primary.record).iter().all(|row| row.record.region == replica.region);
        if !(waits && is_last) {
            return (change.touch(&primary), None);
        }
        let mut record = primary.record.clone();
        let days = record.pending_window_days.unwrap_or(MAX_WINDOW_DAYS);
        let date = self.now().plus(std::time::Duration::from_secs(u64::from(days) * 86_400));
        record.state = KeyState::PendingDeletion;
        record.deletion_date = Some(date);
        let details = json!({
            "phase": "waiting",
            "lastReplica": arn_of(replica).to_string(),
            "deletionDate": date.to_string(),
        });
        let act = Act::about("DeleteKey", &record, details);
        (change.update(&primary, record), Some(act))
    }
}

/// Refuses a key that is not the primary one of a multi-Region key.
pub(super) fn check_primary(key: &KeyRow) -> Result<(), Error> {
    match multi_region_key_type(&key.record) {
        Some(PRIMARY) => Ok(()),
        _ => Err(not_primary(&key.record)),
    }
}

/// Refuses a replica, to which its primary key says what is so.
pub(super) fn check_not_replica(key: &KeyRow) -> Result<(), Error> {
    if key.record.is_replica() { Err(not_primary(&key.record)) } else { Ok(()) }
}

/// The model's `MultiRegionKeyType`; none for a single-Region key.
pub(super) fn multi_region_key_type(key: &KeyRecord) -> Option<&'static str> {
    key.primary_region.as_ref().map(|primary| if *primary == key.region { PRIMARY } else { REPLICA })
}

/// What the record calls it when a shared property of a multi-Region key reaches another Region.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/ct-synchronize-multi-region-key.html>
pub(super) fn synchronized(replica: &KeyRecord, what: &str) -> Act {
    Act::about("SynchronizeMultiRegionKey", replica, json!({ "synchronized": what }))
}

/// The same of material that came from the token of the primary key, and is kept wrapped; the record says between which
/// tokens it went. Of imported material, which came from nowhere yet, the replica knows what to expect.
pub(super) fn synchronized_material(kms: &Kms, primary: &KeyRecord, replica: &KeyRecord) -> Act {
    if !replica.origin.is_made_here() {
        return synchronized(replica, EXPECTED_MATERIAL);
    }
    let mut act = synchronized(replica, "key material");
    act.details[KEPT_WRAPPED] = json!(true);
    act.details[PASSED_BETWEEN] = json!(kms.passed_between(primary, replica));
    act
}

/// What is told of a key that is a replica, or no multi-Region key.
pub(super) fn not_primary(key: &KeyRecord) -> Error {
    Error::UnsupportedOperation(format!("{} is not a multi-region primary key.", arn_of(key)))
}

/// A key in the middle of a change that it shares with others. It is over soon.
fn updating(key: &KeyRecord) -> Error {
    Error::InvalidState(format!("{} is updating.", arn_of(key)))
}

/// The Region that a request names as another one, which must be served here.
fn other_region(kms: &Kms, text: &str) -> Result<Region, Error> {
    let region = text.parse().ok().filter(|region| kms.is_ready(region).is_some());
    region.ok_or_else(|| Error::UnsupportedOperation(format!("The Region {text} is not served by this service.")))
}

/// What the record says of material that was made here for a multi-Region key: it was extractable from its first session
/// object, and exists wrapped in the store.
pub(super) const KEPT_WRAPPED: &str = "materialKeptWrapped";
/// What the record says of the tokens between which it went.
const PASSED_BETWEEN: &str = "materialPassedBetween";
/// What the record calls it when a replica has to expect other imported material than before.
pub(super) const EXPECTED_MATERIAL: &str = "expected key material";
const PRIMARY: &str = "PRIMARY";
const REPLICA: &str = "REPLICA";
/// What a deletion waits at most.
const MAX_WINDOW_DAYS: u32 = 30;
