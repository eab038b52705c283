//! The records of the store, as they are written inside their seal (JSON).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::index::Indexed;
use super::material::{AutomaticRotation, Material};
use crate::model::{
    AccountId, AliasName, CustomKeyStoreId, KeyId, KeySpec, KeyState, KeyUsage, ObjectName, Origin, Region, Timestamp,
};

/// A value with a row of its own; only the records in this file have one.
pub trait Record: Indexed + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The name of the table.
    const TABLE: &'static str;

    /// What is unique in the table; it must never change for one record.
    fn primary_key(&self) -> String;
}

/// One record as it is in the store now.
pub struct Row<T> {
    /// The epoch that wrote it: grows with every write and is never used again for this primary key.
    pub revision: u64,
    /// The record.
    pub record: T,
    derived: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl<T> Row<T> {
    /// A record of this revision.
    pub fn new(revision: u64, record: T) -> Self {
        Row { revision, record, derived: OnceLock::new() }
    }

    /// What follows from the record alone, such as its compiled policy: made at the first call and kept as long as the
    /// row is, so that it is never that of another revision. One type a record; another is made anew at every call.
    pub fn derived<D: Send + Sync + 'static>(&self, make: impl Fn(&T) -> D) -> Arc<D> {
        let kept = self.derived.get_or_init(|| Arc::new(make(&self.record))).clone();
        kept.downcast().unwrap_or_else(|_| Arc::new(make(&self.record)))
    }
}

impl<T: Clone> Clone for Row<T> {
    fn clone(&self) -> Self {
        Row { revision: self.revision, record: self.record.clone(), derived: self.derived.clone() }
    }
}

impl<T: PartialEq> PartialEq for Row<T> {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision && self.record == other.record
    }
}

impl<T: Eq> Eq for Row<T> {}

impl<T: fmt::Debug> fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("revision", &self.revision).field("record", &self.record).finish_non_exhaustive()
    }
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Where the key lives.
    pub region: Region,
    /// Whose it is.
    pub account: AccountId,
    /// Its id, unique in the Region.
    pub key_id: KeyId,
    /// The type of its material.
    pub spec: KeySpec,
    /// What it may be used for.
    pub usage: KeyUsage,
    /// Where its material came from.
    pub origin: Origin,
    /// Whether it may be used.
    pub state: KeyState,
    /// Free text of the owner, at most 8,192 characters.
    pub description: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it will be destroyed, while it waits for that.
    pub deletion_date: Option<Timestamp>,
    /// The waiting time that was asked for, in days, while it waits.
    pub pending_window_days: Option<u32>,
    /// The key policy, the JSON text as it was given.
    pub policy: String,
    /// The unique ids of the users and roles that the policy named when it was written, by ARN: one who has such a name
    /// later is not meant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy_principals: BTreeMap<String, String>,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The materials, in the order of their numbers; [`KeyRecord::current`] is the one that encrypts.
    pub materials: Vec<Material>,
    /// The number that the next material or token object gets; never goes back.
    pub next_material: u32,
    /// The public key of an asymmetric one, DER SubjectPublicKeyInfo in hex: read once and proved by a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// When the key rotates by itself; `None` where that is not enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic_rotation: Option<AutomaticRotation>,
    /// The custom key store whose token has its objects; none where that is the Region's own token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_key_store: Option<CustomKeyStoreId>,
    /// The Region of the primary key, which of a replica is another one; only multi-Region keys have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_region: Option<Region>,
    /// The id in the names of its token objects, where that is not the key's: a replica may be on its primary's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<KeyId>,
}

/// An alias of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasRecord {
    /// Where it is valid.
    pub region: Region,
    /// Whose it is.
    pub account: AccountId,
    /// Its name, with `alias/`.
    pub name: AliasName,
    /// The key that it names.
    pub target: KeyId,
    /// When it was created.
    pub created: Timestamp,
    /// When its target was last set.
    pub updated: Timestamp,
}

/// An access key of a principal. Its secret is wiped when the record is dropped and is never in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyRecord {
    /// What requests name, for example `AKIA…`.
    pub access_key_id: String,
    /// The account of the principal.
    pub account: AccountId,
    /// The ARN of the principal.
    pub principal: String,
    /// The unique id of the principal.
    pub user_id: String,
    /// The secret access key.
    pub secret: String,
    /// Whether it may be used.
    pub active: bool,
    /// When it was created.
    pub created: Timestamp,
}

/// What is about to be done to a token object, written before it is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentRecord {
    /// What is about to be done.
    pub kind: IntentKind,
    /// To which object.
    pub name: ObjectName,
    /// The KMS key, where the name of the object has another id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// The Region of its key.
    pub region: Region,
    /// The custom key store whose token has it; none where that is the Region's own token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_key_store: Option<CustomKeyStoreId>,
    /// The account of its key.
    pub account: AccountId,
    /// Which process does it, and has to undo it.
    pub owner: String,
    /// Since when.
    pub started: Timestamp,
}

/// What an intent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentKind {
    /// The object is being made; an unanswered creation is undone.
    Create,
    /// The object is being destroyed; it is destroyed until a search finds none.
    Destroy,
    /// So is this one, whose imported material is over.
    DestroyExpired,
    /// So is this one, in whose place the same material was imported again.
    DestroyReplaced,
    /// As `Create`, for the next material of a key that rotates because its owner asked for it.
    RotateOnDemand,
    /// As `Create`, for the next material of a key that rotates by itself.
    RotateAutomatically,
}

/// An audit event that was made durable together with the change it tells of, until it is in the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxRecord {
    /// The id of the event.
    pub event_id: String,
    /// The event, one JSON text.
    pub event: String,
    /// The sequence number of the audit log that was durable when the change was made: the event is behind it.
    pub since: u64,
}

impl IntentKind {
    /// Whether an object is being made, and undone if that does not come to an end.
    pub fn is_creation(self) -> bool {
        match self {
            IntentKind::Create | IntentKind::RotateOnDemand | IntentKind::RotateAutomatically => true,
            IntentKind::Destroy | IntentKind::DestroyExpired | IntentKind::DestroyReplaced => false,
        }
    }
}

impl IntentRecord {
    /// The KMS key to which the object belongs, or the object's own id if it belongs to none.
    pub fn key_id(&self) -> KeyId {
        self.key_id.unwrap_or(self.name.key_id)
    }
}

impl Record for KeyRecord {
    const TABLE: &'static str = "keys";

    fn primary_key(&self) -> String {
        key_row(&self.region, &self.key_id)
    }
}

impl Record for AliasRecord {
    const TABLE: &'static str = "aliases";

    fn primary_key(&self) -> String {
        alias_row(&self.region, &self.account, &self.name)
    }
}

impl Record for AccessKeyRecord {
    const TABLE: &'static str = "access-keys";

    fn primary_key(&self) -> String {
        self.access_key_id.clone()
    }
}

impl Record for IntentRecord {
    const TABLE: &'static str = "intents";

    fn primary_key(&self) -> String {
        intent_row(&self.name)
    }
}

impl Record for OutboxRecord {
    const TABLE: &'static str = "outbox";

    fn primary_key(&self) -> String {
        self.event_id.clone()
    }
}

impl fmt::Debug for AccessKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without `..`, so that a new field has to be considered here.
        let AccessKeyRecord { access_key_id, account, principal, user_id, secret: _, active, created } = self;
        f.debug_struct("AccessKeyRecord")
            .field("access_key_id", access_key_id)
            .field("account", account)
            .field("principal", principal)
            .field("user_id", user_id)
            .field("active", active)
            .field("created", created)
            .finish_non_exhaustive()
    }
}

impl Drop for AccessKeyRecord {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// The primary key of a [`KeyRecord`], and of what is noted about the key elsewhere.
pub(super) fn key_row(region: &Region, key_id: &KeyId) -> String {
    format!("{region}/{key_id}")
}

/// The primary key of an [`IntentRecord`].
pub(super) fn intent_row(name: &ObjectName) -> String {
    hex::encode(name.cka_id())
}

/// The primary key of an [`AliasRecord`].
pub(super) fn alias_row(region: &Region, account: &AccountId, name: &AliasName) -> String {
    format!("{region}/{account}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Purpose;
    use crate::store::samples;

    #[test]
    fn primary_keys_are_as_documented() {
        let region: Region = "eu-west-1".parse().unwrap();
        let key = samples::key(&region, 7);
        assert_eq!(key.primary_key(), "eu-west-1/07000000-0000-0000-0000-000000000000");
        assert_eq!(samples::alias(&region, "alias/a/b", 7).primary_key(), "eu-west-1/111122223333/alias/a/b");
        let intent = samples::intent(&region, 7, 2);
        assert_eq!(intent.name.purpose, Purpose::Kms);
        assert_eq!(intent.primary_key(), format!("07{}00000002", "0".repeat(30)));
        assert_eq!(samples::account_record("111122223333").primary_key(), "111122223333");
        // Names are unique whatever the case, and the path is no part of them.
        assert_eq!(samples::user("Ann").primary_key(), "111122223333/user/ann");
        assert_eq!(samples::role("Ann").primary_key(), "111122223333/role/ann");
        assert_eq!(samples::policy("Shared").primary_key(), "111122223333/shared");
        let wrapping_key = samples::wrapping_key(&region, 7);
        let its_id = "aa000000-0000-0000-0000-000000000000";
        assert_eq!(wrapping_key.primary_key(), format!("{}/{its_id}", key.primary_key()));
        let grant = samples::grant(&region, 7, 'a');
        assert_eq!(grant.primary_key(), format!("eu-west-1/07000000-0000-0000-0000-000000000000/{}", "a".repeat(64)));
    }

    #[test]
    fn what_is_derived_is_made_once_for_a_row_and_anew_for_the_next() {
        let made = std::cell::Cell::new(0);
        let name = |record: &OutboxRecord| {
            made.set(made.get() + 1);
            record.event_id.clone()
        };
        let row = Row::new(1, samples::outbox("e-1"));
        let first = row.derived(name);
        assert_eq!((first.as_str(), made.get()), ("e-1", 1));
        assert!(Arc::ptr_eq(&first, &row.derived(name)) && Arc::ptr_eq(&first, &row.clone().derived(name)));
        assert_eq!(made.get(), 1);
        let next = Row::new(2, samples::outbox("e-2"));
        assert_eq!((next.derived(name).as_str(), made.get()), ("e-2", 2));
        // Another type is not mistaken for it.
        assert_eq!((*row.derived(|record| record.event.len()), row.derived(name).as_str()), (25, "e-1"));
        assert_eq!(made.get(), 2);
    }

    /// A key that was written before policies bound their principals is read as it is, and written as it was.
    #[test]
    fn a_key_whose_policy_names_nobody_is_written_without_a_list() {
        let region: Region = "eu-west-1".parse().unwrap();
        assert!(!serde_json::to_string(&samples::key(&region, 7)).unwrap().contains("policy_principals"));
        assert!(serde_json::to_string(&samples::shared_key(&region, 7)).unwrap().contains("AIDAANN"));
    }

    /// A key of before there were key pairs, rotation and import is written as it was, and the others are read again.
    #[test]
    fn what_a_key_has_not_is_not_written() {
        let region: Region = "eu-west-1".parse().unwrap();
        let plain = serde_json::to_string(&samples::key(&region, 7)).unwrap();
        for member in ["public_key", "automatic_rotation", "rotation", "import"] {
            assert!(!plain.contains(&format!("{member}\":")), "{member}: {plain}");
        }
        for key in [samples::key_pair(&region, 7), samples::imported_key(&region, 7)] {
            let written = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<KeyRecord>(&written).unwrap(), key);
        }
    }

    #[test]
    fn the_secret_is_not_in_debug() {
        let record = samples::access_key("AKIAEXAMPLE");
        let shown = format!("{record:?} {:?}", Row::new(1, record.clone()));
        assert!(shown.contains("AKIAEXAMPLE") && !shown.contains(&record.secret), "{shown}");
    }

    #[test]
    fn an_unknown_member_is_refused() {
        let mut value = serde_json::to_value(samples::outbox("e-1")).unwrap();
        value["more"] = 1.into();
        assert!(serde_json::from_value::<OutboxRecord>(value).is_err());
    }
}
