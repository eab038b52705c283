//! Records for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{
    AccessKeyRecord, AccountRecord, AliasRecord, AutomaticRotation, Connection, CustomKeyStoreRecord, GrantConstraints,
    GrantRecord, Import, ImportedObject, IntentKind, IntentRecord, KeyRecord, Material, Meta, OutboxRecord,
    PairedToken, PairingRecord, PasswordStanding, PasswordTries, PolicyRecord, PrincipalKind, PrincipalRecord,
    RegionTokenRecord, ReplicationKeyRecord, RoleDetails, Rotation, Store, TokenTriesRecord, Transfer,
    WrappingKeyRecord,
};
use crate::model::{
    AccountId, GrantOperation, KeyId, KeyPairSpec, KeySpec, KeyState, KeyUsage, ObjectName, Origin, Purpose, Region,
    RotationType, Secret, Timestamp,
};

pub(super) fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

pub(crate) fn region() -> Region {
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

pub(crate) fn key(region: &Region, first: u8) -> KeyRecord {
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
        materials: vec![material(1)],
        next_material: 2,
        public_key: None,
        automatic_rotation: None,
        custom_key_store: None,
        primary_region: None,
        object_id: None,
    }
}

/// A multi-Region key with two materials, or its replica in another Region.
pub(super) fn multi_region_key(region: &Region, first: u8, object_id: Option<KeyId>) -> KeyRecord {
    let key_id = KeyId::multi_region_from_bytes(*key_id(first).as_bytes());
    let transfer =
        Some(Transfer { fingerprint: "cd".repeat(32), wrapped: "010002aabbcc".into(), replication_key: None });
    let materials = [1, 2].map(|number| Material { transfer: transfer.clone(), ..material(number) });
    let (materials, next_material) = (materials.into(), 3);
    KeyRecord {
        key_id,
        primary_region: Some(self::region()),
        object_id,
        materials,
        next_material,
        ..key(region, first)
    }
}

/// The replication key of a token.
pub(super) fn replication_key(serial: &str) -> ReplicationKeyRecord {
    let (label, public_key) = ("kms".into(), "3082".into());
    ReplicationKeyRecord { serial: serial.into(), label, key_id: key_id(0xbb), public_key, created: now() }
}

/// A token that has refused a PIN, and was given another one.
pub(super) fn token_tries() -> TokenTriesRecord {
    let mut tries = PasswordTries::default();
    tries.refuse(PasswordTries::name("0123456789abcdef", "1234"));
    tries.begin(PasswordTries::name("0123456789abcdef", "4321"));
    TokenTriesRecord { serial: "0123456789abcdef".into(), tries }
}

/// Which token a Region has.
pub(super) fn region_token() -> RegionTokenRecord {
    RegionTokenRecord { region: region(), serial: "0123456789abcdef".into(), label: "west".into(), since: now() }
}

/// Two tokens that are paired.
pub(super) fn pairing() -> PairingRecord {
    let token = |serial: &str, digits: &str| PairedToken { serial: serial.into(), fingerprint: digits.repeat(32) };
    PairingRecord::of([token("0123456789abcdef", "ab"), token("fedcba9876543210", "cd")], now())
}

fn material(number: u32) -> Material {
    let key_material_id = "ab".repeat(32);
    Material { number, scheme: 2, key_material_id, created: now(), rotation: None, import: None, transfer: None }
}

/// A key with two imported materials, of which the second waits for its rotation.
pub(super) fn imported_key(region: &Region, first: u8) -> KeyRecord {
    let materials = vec![imported(1, 3, false), imported(2, 4, true)];
    KeyRecord { origin: Origin::External, materials, next_material: 5, ..key(region, first) }
}

fn imported(number: u32, object: u32, pending_rotation: bool) -> Material {
    let object = ImportedObject { number: object, imported: now(), valid_to: Some(now()), unwrapped_on_host: true };
    let import = Import {
        fingerprint: "cd".repeat(32),
        object: Some(object),
        description: Some("ours".into()),
        pending_rotation,
    };
    Material { import: Some(import), ..material(number) }
}

/// A wrapping key for that key.
pub(super) fn wrapping_key(region: &Region, first: u8) -> WrappingKeyRecord {
    WrappingKeyRecord {
        region: region.clone(),
        custom_key_store: None,
        account: account(),
        key_id: key_id(first),
        wrapping_key_id: key_id(0xaa),
        spec: KeyPairSpec::Rsa3072,
        created: now(),
        expires: Timestamp::from_millis(now().as_millis() + 86_400_000),
    }
}

/// A custom key store that is connected.
pub(super) fn custom_key_store(region: &Region) -> CustomKeyStoreRecord {
    CustomKeyStoreRecord {
        region: region.clone(),
        account: account(),
        id: "cks-1234567890abcdef0".parse().unwrap(),
        name: "payments".into(),
        cluster: "cluster-234567abcde".parse().unwrap(),
        trust_anchor: "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n".into(),
        connection: Connection::Connected,
        created: now(),
        standing: PasswordStanding::Proven,
        password: "kmsPswd".into(),
        serial: None,
        tries: PasswordTries::default(),
    }
}

/// A custom key store whose password was refused once and is another one by now, which was tried and nobody knows more.
pub(super) fn tried_key_store(region: &Region) -> CustomKeyStoreRecord {
    let mut record = custom_key_store(region);
    record.password = "kmsPswd1".into();
    (record.serial, record.connection) = (Some("0123456789abcdef".into()), Connection::Connecting);
    record.refuse();
    record.set_password("kmsPswd2");
    record.begin_try();
    record
}

/// A key pair with a rotated past, as far as records go.
pub(super) fn key_pair(region: &Region, first: u8) -> KeyRecord {
    let rotation = Some(Rotation { kind: RotationType::OnDemand, date: now() });
    KeyRecord {
        spec: KeySpec::EccNistP256,
        usage: KeyUsage::SignVerify,
        materials: vec![Material { scheme: 0, rotation, ..material(1) }],
        public_key: Some("3059".into()),
        automatic_rotation: Some(AutomaticRotation { period_days: 365, next: now() }),
        ..key(region, first)
    }
}

/// A key whose policy names a user and a role.
pub(super) fn shared_key(region: &Region, first: u8) -> KeyRecord {
    let (ann, reader) = (user("Ann"), role("Reader"));
    let policy_principals =
        [&ann, &reader].map(|principal| (principal.arn().to_string(), principal.unique_id.clone())).into();
    KeyRecord { policy_principals, ..key(region, first) }
}

pub(super) fn account_record(account: &str) -> AccountRecord {
    AccountRecord { account: account.parse().unwrap(), created: now() }
}

pub(super) fn user(name: &str) -> PrincipalRecord {
    PrincipalRecord {
        account: account(),
        kind: PrincipalKind::User,
        path: "/division/".parse().unwrap(),
        name: name.parse().unwrap(),
        unique_id: format!("AIDA{:7<16}", name.to_uppercase()),
        created: now(),
        tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
        inline_policies: BTreeMap::from([("own".parse().unwrap(), POLICY.to_owned())]),
        attached_policies: BTreeSet::from(["Shared".parse().unwrap()]),
        permissions_boundary: Some("Shared".parse().unwrap()),
        role: None,
        sessions_revoked_before: None,
    }
}

pub(super) fn role(name: &str) -> PrincipalRecord {
    let ann = user("Ann");
    PrincipalRecord {
        kind: PrincipalKind::Role,
        path: "/".parse().unwrap(),
        name: name.parse().unwrap(),
        unique_id: format!("AROA{:7<16}", name.to_uppercase()),
        tags: BTreeMap::new(),
        inline_policies: BTreeMap::new(),
        attached_policies: BTreeSet::new(),
        permissions_boundary: None,
        role: Some(RoleDetails {
            trust_policy: POLICY.into(),
            trusted: BTreeMap::from([(ann.arn().to_string(), ann.unique_id.clone())]),
            max_session_seconds: 3_600,
            description: "reads".into(),
        }),
        sessions_revoked_before: Some(now()),
        ..ann
    }
}

pub(super) fn policy(name: &str) -> PolicyRecord {
    let (account, path, name) = (account(), "/".parse().unwrap(), name.parse().unwrap());
    PolicyRecord { account, path, name, document: POLICY.into(), created: now(), updated: now() }
}

/// A grant to a user, which a role may retire.
pub(super) fn grant(region: &Region, first: u8, digit: char) -> GrantRecord {
    let (grantee, retiring) = (user("Ann"), role("Reader"));
    GrantRecord {
        region: region.clone(),
        account: account(),
        key_id: key_id(first),
        grant_id: digit.to_string().repeat(64),
        name: "nightly".into(),
        grantee: grantee.arn().to_string(),
        grantee_id: Some(grantee.unique_id),
        retiring: Some(retiring.arn().to_string()),
        retiring_id: Some(retiring.unique_id),
        operations: ["Decrypt", "Encrypt"].map(|name| name.parse::<GrantOperation>().unwrap()).into(),
        constraints: GrantConstraints {
            encryption_context_subset: Some([("app", "pay")].into()),
            ..GrantConstraints::default()
        },
        creator: "arn:aws:iam::111122223333:root".into(),
        created: now(),
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
        key_id: None,
        region: region.clone(),
        custom_key_store: None,
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

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;
