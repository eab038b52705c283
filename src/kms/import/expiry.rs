//! What the service does unasked: it destroys what is over, and finishes destructions that were begun.

use std::sync::Arc;

use serde_json::json;

use super::placing::without;
use super::replicas::forgotten_in_replicas;
use crate::crash_point;
use crate::kms::janitor::Act;
use crate::kms::{CommitError, End, Error, KeyRow, KeyStore, Kms, arn_of};
use crate::model::{KeyState, ObjectName, Timestamp, key_arn};
use crate::store::{Change, IntentKind, IntentRecord, KeyRecord, Material, Row, WrappingKeyRecord};

impl Kms {
    /// Destroys imported material in a key store that is over, and returns of how many keys. It was of no use from that moment on; call
    /// this with a time that is trusted.
    pub async fn destroy_expired_material(&self, key_store: &KeyStore, now: Timestamp) -> Result<usize, Error> {
        let begun = self.begin_expiries(key_store, now).await?;
        self.finish_removals(key_store, End::Destroyed).await;
        Ok(begun)
    }

    /// From here on the keys of a key store whose imported material is over wait for it; gives how many these are.
    pub(in crate::kms) async fn begin_expiries(&self, key_store: &KeyStore, now: Timestamp) -> Result<usize, Error> {
        let mut begun = 0;
        for key in self.keys_in(key_store) {
            let over = over(&key.record, now);
            if !over.is_empty() && self.begin_expiry(&key, &over).await? {
                begun += 1;
            }
        }
        Ok(begun)
    }

    /// Whether some imported material is over and not destroyed yet.
    pub fn has_expired_material(&self, now: Timestamp) -> bool {
        self.store.all_keys().iter().any(|key| !over(&key.record, now).is_empty())
    }

    /// Destroys the wrapping keys that are over, and those whose KMS keys are gone. Nobody misses one, so that this needs
    /// no trusted time. One that fails is logged and tried again in the next round, and holds no other one up.
    pub async fn destroy_expired_wrapping_keys(&self, key_store: &KeyStore, end: End<'_>) {
        let now = self.now();
        for row in self.wrapping_keys_in(key_store) {
            let WrappingKeyRecord { region, key_id, expires, .. } = &row.record;
            let is_over = *expires <= now || self.store.key(region, key_id).is_none();
            if is_over && let Err(error) = self.destroy_wrapping_key(&row, end).await {
                tracing::error!(%error, object = %row.record.object(), "a wrapping key could not be destroyed; trying again");
            }
        }
    }

    /// All wrapping keys that are in a key store.
    pub(in crate::kms) fn wrapping_keys_in(&self, key_store: &KeyStore) -> Vec<Arc<Row<WrappingKeyRecord>>> {
        let mut rows = self.store.wrapping_keys();
        rows.retain(|row| key_store.has(&row.record.region, row.record.custom_key_store.as_ref()));
        rows
    }

    /// Finishes the destructions of imported objects that were begun. One that fails is logged and tried again in the
    /// next round, and holds no other one up.
    pub async fn finish_removals(&self, key_store: &KeyStore, end: End<'_>) {
        for intent in self.intents_in(key_store).iter().filter(|intent| removal(intent.record.kind).is_some()) {
            self.try_removal(&intent.record.name, end).await;
        }
    }

    /// Finishes one, or leaves it to the next round.
    pub(super) async fn finish_removal_soon(&self, name: &ObjectName) {
        self.try_removal(name, End::Destroyed).await;
    }

    async fn try_removal(&self, name: &ObjectName, end: End<'_>) {
        if let Err(error) = self.finish_removal(name, end).await {
            tracing::error!(%error, object = %name, "an object could not be destroyed; trying again");
        }
    }

    async fn finish_removal(&self, name: &ObjectName, end: End<'_>) -> Result<(), Error> {
        let intent = self.store.intent(name);
        let removal = intent.and_then(|intent| removal(intent.record.kind).map(|name| (intent, name)));
        let Some((intent, name_of_act)) = removal else { return Ok(()) };
        let IntentRecord { region, account, custom_key_store, .. } = &intent.record;
        let mut details = self.end_objects(end, self.token(region, custom_key_store.as_ref()), &[*name]).await?;
        details["phase"] = json!("done");
        let act = Act {
            name: name_of_act,
            region: region.clone(),
            account: account.clone(),
            resource: key_arn(region, account, &intent.record.key_id()),
            details,
        };
        match self.commit_step(Change::new(self.now()).delete(&*intent), Some(act)).await {
            // A request that did the same was first.
            Ok(()) | Err(CommitError::Conflict) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }

    /// From here on the key waits for its material; false if it changed meanwhile.
    async fn begin_expiry(&self, key: &KeyRow, over: &[&Material]) -> Result<bool, Error> {
        let now = self.now();
        let numbers: Vec<u32> = over.iter().map(|material| material.number).collect();
        let objects: Vec<ObjectName> = over.iter().filter_map(|material| key.record.object(material)).collect();
        let details = json!({
            "phase": "begun",
            "keyMaterialIds": over.iter().map(|material| &material.key_material_id).collect::<Vec<_>>(),
            "objects": objects.iter().map(ObjectName::cka_label).collect::<Vec<_>>(),
        });
        let record = without(&key.record, &numbers, now);
        let change = self.in_its_cluster(Change::new(now).update(key, record.clone()), &key.record);
        let (change, acts) = forgotten_in_replicas(self, change, (&key.record, &record), IntentKind::DestroyExpired);
        let change = objects.into_iter().fold(change, |change, name| {
            change.insert(self.intent(IntentKind::DestroyExpired, name, &key.record, now))
        });
        let act = Act::about(EXPIRY, &key.record, details);
        match self.commit_step(change, Some(act)).await {
            Ok(()) => {
                self.copy_acts(acts).await;
                crash_point::reached("expiry-begun");
                tracing::info!(key = %arn_of(&key.record), "imported material is over");
                Ok(true)
            }
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }

    async fn destroy_wrapping_key(&self, row: &Row<WrappingKeyRecord>, end: End<'_>) -> Result<(), Error> {
        let WrappingKeyRecord { region, account, key_id, custom_key_store, .. } = &row.record;
        let token = self.token(region, custom_key_store.as_ref());
        let details = self.end_objects(end, token, &[row.record.object()]).await?;
        crash_point::reached("wrapping-key-destroyed");
        let act = Act {
            name: "DestroyImportWrappingKey",
            region: region.clone(),
            account: account.clone(),
            resource: key_arn(region, account, key_id),
            details,
        };
        match self.commit_step(Change::new(self.now()).delete(row), Some(act)).await {
            Ok(()) | Err(CommitError::Conflict) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }
}

/// The materials that are over and whose objects are still there. Those of a key that is being destroyed go with it.
pub(in crate::kms) fn over(key: &KeyRecord, now: Timestamp) -> Vec<&Material> {
    let is_over = |material: &&Material| material.imported().is_some_and(|object| object.is_over(now));
    let over = key.materials.iter().filter(is_over);
    if key.state == KeyState::Destroying { Vec::new() } else { over.collect() }
}

/// What the record calls the destruction of an object; `None` for an object that is being made.
pub(super) fn removal(kind: IntentKind) -> Option<&'static str> {
    match kind {
        IntentKind::Destroy => Some("DeleteImportedKeyMaterial"),
        IntentKind::DestroyExpired => Some(EXPIRY),
        IntentKind::DestroyReplaced => Some("DestroyReplacedKeyMaterial"),
        IntentKind::Create | IntentKind::RotateOnDemand | IntentKind::RotateAutomatically => None,
    }
}

/// What AWS's record calls it.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/ct-deleteexpiredkeymaterial.html>
const EXPIRY: &str = "DeleteExpiredKeyMaterial";
