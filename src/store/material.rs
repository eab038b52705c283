//! The materials of a key: the token objects behind it, one after the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::KeyRecord;
use crate::model::{KeyId, ObjectName, Origin, Purpose, RotationType, Timestamp};

/// One material of a key: one token object or, of imported material, the place for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Material {
    /// Counted from 1 within the key, never used again; blobs say it.
    pub number: u32,
    /// How the token wraps under it; a blob must say the same. 0 where the key wraps nothing.
    pub scheme: u8,
    /// The id that callers see (`KeyMaterialId`).
    pub key_material_id: String,
    /// When it was made, or first imported.
    pub created: Timestamp,
    /// How it became the current one; `None` for a key's first, and for one that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// What is known of imported material; `None` for what was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Import>,
    /// What brings it to other tokens, if it was made here for a multi-Region key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
}

/// What brings the material of a multi-Region key to other tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// What every token makes of this material and of no other, 64 hex digits.
    pub fingerprint: String,
    /// The material, wrapped for the replication key of the token that it is on, in hex.
    pub wrapped: String,
    /// The id of that replication key, where it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_key: Option<KeyId>,
}

/// When and how a material became the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// By whom.
    pub kind: RotationType,
    /// When.
    pub date: Timestamp,
}

/// What is known of imported material, whether it is there or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// What the token makes of this material and of no other, 64 hex digits.
    pub fingerprint: String,
    /// Its token object, while there is one.
    pub object: Option<ImportedObject>,
    /// The caller's words, at most 256 characters.
    pub description: Option<String>,
    /// Whether it waits for RotateKeyOnDemand to become the current one.
    pub pending_rotation: bool,
}

/// The token object of imported material.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedObject {
    /// The number in its name: another one at every import, since no creation names an object twice.
    pub number: u32,
    /// When it was imported.
    pub imported: Timestamp,
    /// When it is destroyed; `None` for never.
    pub valid_to: Option<Timestamp>,
    /// Whether the host saw the material while it was unwrapped.
    pub unwrapped_on_host: bool,
}

/// When a key rotates by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutomaticRotation {
    /// Days between two rotations, 90 to 2,560.
    pub period_days: u32,
    /// When the next one is due.
    pub next: Timestamp,
}

impl AutomaticRotation {
    /// A schedule that begins now: the first rotation is one period away.
    pub fn beginning(now: Timestamp, period_days: u32) -> Self {
        AutomaticRotation { period_days, next: now.plus(days(period_days)) }
    }

    /// This schedule with another period, counted from the moment that the old one was.
    #[must_use]
    pub fn with_period(self, period_days: u32) -> Self {
        let begun = self
            .next
            .as_millis()
            .saturating_sub(AutomaticRotation::beginning(EPOCH, self.period_days).next.as_millis());
        AutomaticRotation::beginning(Timestamp::from_millis(begun), period_days)
    }
}

const EPOCH: Timestamp = Timestamp::from_millis(0);

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

impl Material {
    /// Whether it waits for RotateKeyOnDemand.
    pub fn is_pending_rotation(&self) -> bool {
        self.import.as_ref().is_some_and(|import| import.pending_rotation)
    }

    /// Its imported object; `None` while there is none, and for what was made here.
    pub fn imported(&self) -> Option<&ImportedObject> {
        self.import.as_ref()?.object.as_ref()
    }
}

impl KeyRecord {
    /// The material that encrypts, signs or computes; `None` before the first import.
    pub fn current(&self) -> Option<&Material> {
        self.materials.iter().rev().find(|material| !material.is_pending_rotation())
    }

    /// The material of this number.
    pub fn material(&self, number: u32) -> Option<&Material> {
        self.materials.iter().find(|material| material.number == number)
    }

    /// The token object of one of the key's materials; `None` while it is not imported.
    pub fn object(&self, material: &Material) -> Option<ObjectName> {
        match &material.import {
            None => Some(self.made_object(material.number)),
            Some(_) => material.imported().map(|object| self.imported_object(object.number)),
        }
    }

    /// The name of the token object of a material of this number that is made here.
    pub fn made_object(&self, material: u32) -> ObjectName {
        let purpose = if self.key_id.is_multi_region() { Purpose::MultiRegion } else { Purpose::Kms };
        ObjectName { purpose, key_id: self.object_id.unwrap_or(self.key_id), material }
    }

    /// The name of the token object of this number that is imported.
    pub fn imported_object(&self, number: u32) -> ObjectName {
        ObjectName { purpose: Purpose::Imported, key_id: self.object_id.unwrap_or(self.key_id), material: number }
    }

    /// The name of the next token object of this number, made here or imported as the key's material is.
    pub fn object_of_number(&self, number: u32) -> ObjectName {
        if self.origin.is_made_here() { self.made_object(number) } else { self.imported_object(number) }
    }

    /// Whether it is the replica of a multi-Region key, and not the primary one.
    pub fn is_replica(&self) -> bool {
        self.primary_region.as_ref().is_some_and(|primary| *primary != self.region)
    }

    /// All token objects of the key.
    pub fn objects(&self) -> Vec<ObjectName> {
        self.materials.iter().filter_map(|material| self.object(material)).collect()
    }

    /// Whether material that it needs is not there at `now`, so that it waits for an import: of what was imported and
    /// does not wait for its rotation, all is needed.
    pub fn lacks_material(&self, now: Timestamp) -> bool {
        let needed = || self.materials.iter().filter(|material| !material.is_pending_rotation());
        let is_there = |material: &Material| material.imported().is_some_and(|object| !object.is_over(now));
        self.origin == Origin::External && (needed().next().is_none() || !needed().all(is_there))
    }
}

impl ImportedObject {
    /// Whether it is expired at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.valid_to.is_some_and(|valid_to| valid_to <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::model::{Purpose, Timestamp};
    use crate::store::samples;

    #[test]
    fn what_waits_for_its_rotation_is_not_the_current_one() {
        let mut key = samples::imported_key(&samples::region(), 7);
        assert_eq!(key.current().map(|material| material.number), Some(1));
        assert_eq!(key.objects().iter().map(|name| name.material).collect::<Vec<_>>(), [3, 4]);
        assert!(key.objects().iter().all(|name| name.purpose == Purpose::Imported));
        key.materials[1].import.as_mut().unwrap().pending_rotation = false;
        assert_eq!(key.current().map(|material| material.number), Some(2));
        key.materials[0].import.as_mut().unwrap().object = None;
        assert_eq!(key.object(&key.materials[0]), None);
        key.materials.clear();
        assert_eq!(key.current(), None);
    }

    #[test]
    fn all_material_is_needed_that_does_not_wait_for_its_rotation() {
        let (now, later) = (samples::now(), samples::now().plus(Duration::from_secs(1)));
        let made_here = samples::key(&samples::region(), 7);
        assert!(!made_here.lacks_material(later));
        let mut key = samples::imported_key(&samples::region(), 7);
        let before = Timestamp::from_millis(now.as_millis() - 1);
        assert_eq!([before, now, later].map(|time| key.lacks_material(time)), [false, true, true]);
        let set = |key: &mut super::KeyRecord, at: usize, valid_to| {
            key.materials[at].import.as_mut().unwrap().object.as_mut().unwrap().valid_to = valid_to;
        };
        set(&mut key, 0, None);
        assert!(!key.lacks_material(later), "the second one, which is over, waits");
        key.materials[1].import.as_mut().unwrap().pending_rotation = false;
        assert!(key.lacks_material(later));
        set(&mut key, 1, Some(later));
        assert!(!key.lacks_material(now));
        key.materials[0].import.as_mut().unwrap().object = None;
        assert!(key.lacks_material(now));
        key.materials.clear();
        assert!(key.lacks_material(now));
    }
}
