//! Records for tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{AccessKeyRecord, AliasRecord, IntentKind, IntentRecord, KeyRecord, Material, Meta, OutboxRecord, Store};
use crate::model::{
    AccountId, KeyId, KeySpec, KeyState, KeyUsage, ObjectName, Origin, Purpose, Region, Secret, Timestamp,
};

pub(super) fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

pub(super) fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

pub(super) fn key_id(first: u8) -> KeyId {
    let mut bytes = [0; 16];
    bytes[0] = first;
    KeyId::from_bytes(bytes)
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(1_763_763_600_000)
}

pub(super) fn key(region: &Region, first: u8) -> KeyRecord {
    KeyRecord {
        region: region.clone(),
        account: account(),
        key_id: key_id(first),
        spec: KeySpec::SymmetricDefault,
        usage: KeyUsage::EncryptDecrypt,
        origin: Origin::AwsKms,
        state: KeyState::Enabled,
        description: "a \"key\"".into(),
        created: now(),
        deletion_date: None,
        pending_window_days: None,
        policy: r#"{"Version":"2012-10-17","Statement":[]}"#.into(),
        policy_principals: BTreeMap::new(),
        tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
        materials: vec![Material { number: 1, scheme: 2, key_material_id: "ab".repeat(32), created: now() }],
        next_material: 2,
    }
}

pub(super) fn alias(region: &Region, name: &str, target: u8) -> AliasRecord {
    AliasRecord {
        region: region.clone(),
        account: account(),
        name: name.parse().unwrap(),
        target: key_id(target),
        created: now(),
        updated: now(),
    }
}

pub(super) fn access_key(access_key_id: &str) -> AccessKeyRecord {
    AccessKeyRecord {
        access_key_id: access_key_id.into(),
        account: account(),
        principal: "arn:aws:iam::111122223333:root".into(),
        user_id: "111122223333".into(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        active: true,
        created: now(),
    }
}

pub(super) fn intent(region: &Region, first: u8, material: u32) -> IntentRecord {
    IntentRecord {
        kind: IntentKind::Create,
        name: ObjectName { purpose: Purpose::Kms, key_id: key_id(first), material },
        region: region.clone(),
        account: account(),
        owner: "node-1".into(),
        started: now(),
    }
}

pub(super) fn outbox(event_id: &str) -> OutboxRecord {
    OutboxRecord { event_id: event_id.into(), event: r#"{"eventName":"CreateKey"}"#.into(), since: 41 }
}

pub(super) fn meta() -> Meta {
    Meta {
        store_id: key_id(0xee),
        wrapped_key: vec![1, 2, 3],
        scheme: 1,
        token_label: "kms".into(),
        token_serial: "0123456789abcdef".into(),
    }
}

/// The key of the golden vectors: `00 01 02 … 1f`.
pub(super) fn store_key() -> Secret {
    Secret::new((0..32).collect())
}

pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("store.db")
}

/// An empty store in this folder.
pub(super) async fn store(folder: &Path) -> Store {
    Store::create(&file(folder), &meta(), &store_key()).await.unwrap()
}
