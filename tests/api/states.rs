//! Every operation against every key state that can be reached here.

use serde_json::{Value, json};

use super::support::wrapped;
use super::*;

/// What an operation does with a key in a state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    /// It is done.
    Ok,
    /// `DisabledException`.
    Disabled,
    /// `KMSInvalidStateException`, "… is pending deletion."
    Pending,
    /// `KMSInvalidStateException`, "… is not pending deletion."
    NotPending,
    /// `KMSInvalidStateException`, "… is pending import."
    PendingImport,
    /// `UnsupportedOperationException`, "… origin is EXTERNAL …"
    Imported,
    /// `KMSInvalidStateException`, "No available key material pending rotation …"
    NothingWaits,
    /// `UnsupportedOperationException`, since its origin is `AWS_KMS`.
    OwnOrigin,
    /// `KMSInvalidStateException`, "… is unavailable."
    Unavailable,
    /// `UnsupportedOperationException`, since its origin is `AWS_CLOUDHSM`.
    OfCluster,
    /// `UnsupportedOperationException`, since it is not the primary key of a multi-Region key; those are in tests/regions.
    NotPrimary,
}

use Cell::{Disabled as D, NotPending as NP, Ok as OK, OwnOrigin as U, Pending as PD, PendingImport as PI};

/// A row: the operation, its body, and its cells for Enabled, Disabled and PendingDeletion.
type Row = (&'static str, fn(&Subject) -> Value, [Cell; 3]);

/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>
const MATRIX: &[Row] = &[
    ("Encrypt", |s| json!({ "KeyId": s.key.id, "Plaintext": "AA==" }), [OK, D, PD]),
    ("Encrypt", |s| json!({ "KeyId": s.alias, "Plaintext": "AA==" }), [OK, D, PD]),
    ("Decrypt", |s| json!({ "CiphertextBlob": s.blob }), [OK, D, PD]),
    ("Decrypt", |s| json!({ "CiphertextBlob": s.blob, "KeyId": s.key.arn }), [OK, D, PD]),
    ("ReEncrypt", |s| json!({ "CiphertextBlob": s.blob, "DestinationKeyId": s.other.id }), [OK, D, PD]),
    ("ReEncrypt", |s| json!({ "CiphertextBlob": s.other_blob, "DestinationKeyId": s.key.id }), [OK, D, PD]),
    ("GenerateDataKey", |s| json!({ "KeyId": s.key.id, "KeySpec": "AES_256" }), [OK, D, PD]),
    ("GenerateDataKeyPair", |s| json!({ "KeyId": s.key.id, "KeyPairSpec": "ECC_NIST_P256" }), [OK, D, PD]),
    (
        "GenerateDataKeyPairWithoutPlaintext",
        |s| json!({ "KeyId": s.key.id, "KeyPairSpec": "ECC_NIST_P256" }),
        [OK, D, PD],
    ),
    ("GenerateDataKeyWithoutPlaintext", |s| json!({ "KeyId": s.key.id, "KeySpec": "AES_256" }), [OK, D, PD]),
    ("DescribeKey", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("GetKeyPolicy", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("PutKeyPolicy", |s| json!({ "KeyId": s.key.id, "Policy": POLICY }), [OK, OK, OK]),
    ("ListKeyPolicies", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("ListAliases", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("ListResourceTags", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("GetKeyLastUsage", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("DeleteAlias", |s| json!({ "AliasName": s.alias }), [OK, OK, OK]),
    (
        "CreateGrant",
        |s| json!({ "KeyId": s.key.id, "GranteePrincipal": "111122223333", "Operations": ["Decrypt"] }),
        [OK, D, PD],
    ),
    ("ListGrants", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("RetireGrant", |s| json!({ "KeyId": s.key.arn, "GrantId": s.grant_id }), [OK, OK, OK]),
    ("RetireGrant", |s| json!({ "GrantToken": s.grant_token }), [OK, OK, OK]),
    ("RevokeGrant", |s| json!({ "KeyId": s.key.id, "GrantId": s.grant_id }), [OK, OK, OK]),
    ("CreateAlias", |s| json!({ "AliasName": new_alias("new"), "TargetKeyId": s.key.id }), [OK, OK, PD]),
    ("TagResource", |s| json!({ "KeyId": s.key.id, "Tags": [{ "TagKey": "a", "TagValue": "b" }] }), [OK, OK, PD]),
    ("UntagResource", |s| json!({ "KeyId": s.key.id, "TagKeys": ["a"] }), [OK, OK, PD]),
    ("UpdateKeyDescription", |s| json!({ "KeyId": s.key.id, "Description": "d" }), [OK, OK, PD]),
    // The key that the alias leaves may be in any state, the one that it goes to may not.
    ("UpdateAlias", |s| json!({ "AliasName": s.alias, "TargetKeyId": s.other.id }), [OK, OK, OK]),
    ("UpdateAlias", |s| json!({ "AliasName": s.other_alias, "TargetKeyId": s.key.id }), [OK, OK, PD]),
    ("EnableKey", |s| json!({ "KeyId": s.key.id }), [OK, OK, PD]),
    ("DisableKey", |s| json!({ "KeyId": s.key.id }), [OK, OK, PD]),
    ("ScheduleKeyDeletion", |s| json!({ "KeyId": s.key.id }), [OK, OK, PD]),
    ("EnableKeyRotation", |s| json!({ "KeyId": s.key.id, "RotationPeriodInDays": 90 }), [OK, D, PD]),
    ("DisableKeyRotation", |s| json!({ "KeyId": s.key.id }), [OK, D, PD]),
    ("GetKeyRotationStatus", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("ListKeyRotations", |s| json!({ "KeyId": s.key.id }), [OK, OK, OK]),
    ("RotateKeyOnDemand", |s| json!({ "KeyId": s.key.id }), [OK, D, PD]),
    ("CancelKeyDeletion", |s| json!({ "KeyId": s.key.id }), [NP, NP, OK]),
    ("GetParametersForImport", |s| parameters_for_import(&s.key), [U, U, U]),
    ("ImportKeyMaterial", |s| material(&s.key, "AAAA"), [U, U, U]),
    ("DeleteImportedKeyMaterial", |s| json!({ "KeyId": s.key.id }), [U, U, U]),
    ("ReplicateKey", |s| json!({ "KeyId": s.key.id, "ReplicaRegion": "eu-west-1" }), [Cell::NotPrimary; 3]),
    ("UpdatePrimaryRegion", |s| json!({ "KeyId": s.key.id, "PrimaryRegion": "eu-west-1" }), [Cell::NotPrimary; 3]),
];

/// What the same requests come to while the material of an imported key is not there. What a disabled key refuses, this
/// one does, but for these.
fn while_pending_import(operation: &str, cells: &[Cell; 3]) -> Cell {
    match (operation, cells) {
        ("EnableKey" | "DisableKey", _) => PI,
        ("EnableKeyRotation" | "DisableKeyRotation" | "GetKeyRotationStatus", _) => Cell::Imported,
        ("RotateKeyOnDemand", _) => Cell::NothingWaits,
        ("GetParametersForImport" | "ImportKeyMaterial" | "DeleteImportedKeyMaterial", _) => OK,
        (_, [OK, D, _]) => PI,
        (_, [enabled, ..]) => *enabled,
    }
}

/// What the same requests come to while the custom key store of the key is not connected. What a disabled key refuses,
/// this one does, but for grants, which are about its use later.
fn while_unavailable(operation: &str, cells: &[Cell; 3]) -> Cell {
    match (operation, cells) {
        ("CreateGrant", _) => OK,
        ("GetParametersForImport" | "ImportKeyMaterial" | "DeleteImportedKeyMaterial", _) => Cell::OfCluster,
        (_, [OK, D, _]) => Cell::Unavailable,
        (_, [enabled, ..]) => *enabled,
    }
}

#[test]
fn every_operation_does_what_aws_does_while_a_custom_key_store_is_not_connected() {
    let service = Service::start_with(&["--clusters", "1"]);
    let store = custom_key_store(&service);
    let make = |service: &Service| {
        let body = json!({ "Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store });
        key_of(&ok(service, "CreateKey", &body)["KeyMetadata"])
    };
    let subjects: Vec<_> = MATRIX.iter().map(|row| (row, Subject::made_by(&service, make))).collect();
    ok(&service, "DisconnectCustomKeyStore", &json!({ "CustomKeyStoreId": store }));
    for ((operation, body, cells), subject) in &subjects {
        let cell = while_unavailable(operation, cells);
        let before = subject.look(&service);
        assert_eq!(before[0]["KeyMetadata"]["KeyState"], "Unavailable");
        assert_eq!(before[0]["KeyMetadata"]["Enabled"], false);
        let answer = call(&service, operation, &body(subject));
        let (error, message) = cell.expected(&subject.key);
        assert_eq!((answer.error().as_str(), answer.message()), (error, message), "{operation}");
        if cell != OK {
            assert_eq!(subject.look(&service), before, "{operation} was refused");
        }
    }
    // What was done meanwhile shows when the keys are there again.
    connect(&service, &store);
    for ((operation, ..), subject) in &subjects {
        let expected = match *operation {
            "DisableKey" => "Disabled",
            "ScheduleKeyDeletion" => "PendingDeletion",
            _ => "Enabled",
        };
        assert_eq!(state_of(&service, &subject.key), expected, "{operation}");
        if expected == "Enabled" {
            ok(&service, "Decrypt", &json!({ "CiphertextBlob": subject.blob }));
        }
    }
}

/// A custom key store on the service's one cluster, connected.
fn custom_key_store(service: &Service) -> String {
    let password = std::fs::read_to_string(service.data().join("cluster-password")).unwrap();
    let body = json!({
        "CustomKeyStoreName": "states", "CloudHsmClusterId": "cluster-softhsm2dev", "KeyStorePassword": password,
        "TrustAnchorCertificate": "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
    });
    let store = ok(service, "CreateCustomKeyStore", &body)["CustomKeyStoreId"].as_str().unwrap().to_owned();
    connect(service, &store);
    store
}

fn connect(service: &Service, store: &str) {
    let body = json!({ "CustomKeyStoreId": store });
    let state = || ok(service, "DescribeCustomKeyStores", &body)["CustomKeyStores"][0]["ConnectionState"].clone();
    while state() == "DISCONNECTING" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    ok(service, "ConnectCustomKeyStore", &body);
    while state() == "CONNECTING" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(state(), "CONNECTED");
}

fn key_of(metadata: &Value) -> Key {
    let text = |name: &str| metadata[name].as_str().unwrap().to_owned();
    Key { id: text("KeyId"), arn: text("Arn") }
}

#[test]
fn every_operation_does_without_imported_material_what_aws_does() {
    let service = shared();
    for (operation, body, cells) in MATRIX {
        let cell = while_pending_import(operation, cells);
        let subject = Subject::in_state(&service, "PendingImport");
        let before = subject.look(&service);
        let body = match *operation {
            "ImportKeyMaterial" => wrapped_material(&service, &subject.key),
            _ => body(&subject),
        };
        let answer = call(&service, operation, &body);
        let (error, message) = cell.expected(&subject.key);
        assert_eq!((answer.error().as_str(), answer.message()), (error, message), "{operation}");
        if cell != OK {
            assert_eq!(subject.look(&service), before, "{operation} was refused");
        }
    }
}

/// The states that imported keys have besides: those of other keys, and what deletion makes of them.
#[test]
fn imported_keys_are_imported_into_in_every_state_but_pending_deletion() {
    let service = shared();
    let rows: [(&str, fn(&Service, &Key) -> Value, [Cell; 3]); 3] = [
        ("GetParametersForImport", |_, key| parameters_for_import(key), [OK, OK, PD]),
        ("ImportKeyMaterial", wrapped_material, [OK, OK, PD]),
        ("DeleteImportedKeyMaterial", |_, key| json!({ "KeyId": key.id }), [OK, OK, OK]),
    ];
    for (operation, body, cells) in rows {
        for (state, cell) in ["Enabled", "Disabled", "PendingDeletion"].into_iter().zip(cells) {
            let key = imported_key(&service);
            let body = body(&service, &key);
            into_state(&service, &key, state);
            let answer = call(&service, operation, &body);
            assert_eq!((answer.error().as_str(), answer.message()), cell.expected(&key), "{operation} while {state}");
            let expected = match (operation, state) {
                ("DeleteImportedKeyMaterial", "Enabled" | "Disabled") => "PendingImport",
                _ => state,
            };
            assert_eq!(state_of(&service, &key), expected, "{operation} while {state}");
        }
    }
}

/// A key whose material went while it waited for its deletion waits for its import when the deletion is taken back.
#[test]
fn a_deletion_that_is_taken_back_leaves_a_key_disabled_or_without_its_material() {
    let service = shared();
    for (deletes, expected) in [(false, "Disabled"), (true, "PendingImport")] {
        let key = imported_key(&service);
        into_state(&service, &key, "PendingDeletion");
        if deletes {
            ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key.id }));
            assert_eq!(state_of(&service, &key), "PendingDeletion");
        }
        ok(&service, "CancelKeyDeletion", &json!({ "KeyId": key.id }));
        assert_eq!(state_of(&service, &key), expected);
    }
}

fn state_of(service: &Service, key: &Key) -> String {
    let metadata = ok(service, "DescribeKey", &json!({ "KeyId": key.id }))["KeyMetadata"].clone();
    assert_eq!(metadata["Enabled"], metadata["KeyState"] == "Enabled");
    metadata["KeyState"].as_str().unwrap().to_owned()
}

fn parameters_for_import(key: &Key) -> Value {
    json!({ "KeyId": key.id, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" })
}

/// A request that brings material for ever.
fn material(key: &Key, wrapped: &str) -> Value {
    json!({
        "KeyId": key.id, "ImportToken": "AAAA", "EncryptedKeyMaterial": wrapped,
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    })
}

/// A request that brings the material of all imported keys of these tests.
fn wrapped_material(service: &Service, key: &Key) -> Value {
    let parameters = ok(service, "GetParametersForImport", &parameters_for_import(key));
    and(material(key, &wrapped(&parameters, &[7; 32])), "ImportToken", &parameters)
}

/// A key whose material is to be imported.
fn external_key(service: &Service, spec: &str, usage: &str) -> Key {
    let body = json!({ "Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": usage });
    let metadata = ok(service, "CreateKey", &body)["KeyMetadata"].clone();
    let text = |name: &str| metadata[name].as_str().unwrap().to_owned();
    Key { id: text("KeyId"), arn: text("Arn") }
}

/// Keys that are not symmetric, too.
#[test]
fn a_key_that_never_had_material_says_so_before_anything_else() {
    let service = shared();
    let message = |algorithm: &str, name: &str| json!({ "Message": "AA==", name: algorithm });
    let with = |mut body: Value, name: &str| {
        body[name] = "AA==".into();
        body
    };
    let (sign, mac) = (message("ECDSA_SHA_256", "SigningAlgorithm"), message("HMAC_SHA_224", "MacAlgorithm"));
    let pairs = [
        ("ECC_NIST_P256", "SIGN_VERIFY", "Sign", sign.clone()),
        ("ECC_NIST_P256", "SIGN_VERIFY", "Verify", with(sign, "Signature")),
        ("ECC_NIST_P256", "SIGN_VERIFY", "GetPublicKey", json!({})),
        ("HMAC_224", "GENERATE_VERIFY_MAC", "GenerateMac", mac.clone()),
        ("HMAC_224", "GENERATE_VERIFY_MAC", "VerifyMac", with(mac, "Mac")),
        (
            "ECC_NIST_P384",
            "KEY_AGREEMENT",
            "DeriveSharedSecret",
            json!({ "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AA==" }),
        ),
        (
            "RSA_2048",
            "ENCRYPT_DECRYPT",
            "Encrypt",
            json!({ "Plaintext": "AA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1" }),
        ),
        (
            "RSA_2048",
            "ENCRYPT_DECRYPT",
            "Decrypt",
            json!({ "CiphertextBlob": "AA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1" }),
        ),
    ];
    for (spec, usage, operation, mut body) in pairs {
        let key = external_key(&service, spec, usage);
        body["KeyId"] = key.id.clone().into();
        let message = format!("{} is pending import.", key.arn);
        refused(&service, operation, &body, "KMSInvalidStateException", &message);
    }
}

/// A key with imported material.
fn imported_key(service: &Service) -> Key {
    let key = external_key(service, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    ok(service, "ImportKeyMaterial", &wrapped_material(service, &key));
    key
}

#[test]
fn every_operation_does_in_every_state_what_aws_does() {
    let service = shared();
    for (operation, body, cells) in MATRIX {
        for (state, cell) in ["Enabled", "Disabled", "PendingDeletion"].into_iter().zip(cells) {
            let subject = Subject::in_state(&service, state);
            let before = subject.look(&service);
            let answer = call(&service, operation, &body(&subject));
            let (error, message) = cell.expected(&subject.key);
            assert_eq!((answer.error().as_str(), answer.message()), (error, message), "{operation} while {state}");
            assert_eq!(answer.status, if *cell == OK { 200 } else { 400 }, "{operation} while {state}");
            if *cell != OK {
                assert_eq!(subject.look(&service), before, "{operation} was refused while {state}");
            }
        }
    }
}

/// A row of a key that is not symmetric: its spec and usage, the operation, its body, which is made while the key is
/// enabled, and its cells.
type PreparedRow = (&'static str, &'static str, &'static str, fn(&Service, &Key) -> Value, [Cell; 3]);

const OF_OTHER_KEYS: &[PreparedRow] = &[
    ("ECC_NIST_P256", "SIGN_VERIFY", "Sign", |_, key| to_sign(key), [OK, D, PD]),
    (
        "ECC_NIST_P256",
        "SIGN_VERIFY",
        "Verify",
        |service, key| and(to_sign(key), "Signature", &ok(service, "Sign", &to_sign(key))),
        [OK, D, PD],
    ),
    ("ECC_NIST_P256", "SIGN_VERIFY", "GetPublicKey", |_, key| json!({ "KeyId": key.id }), [OK, D, PD]),
    ("HMAC_224", "GENERATE_VERIFY_MAC", "GenerateMac", |_, key| to_mac(key), [OK, D, PD]),
    (
        "HMAC_224",
        "GENERATE_VERIFY_MAC",
        "VerifyMac",
        |service, key| and(to_mac(key), "Mac", &ok(service, "GenerateMac", &to_mac(key))),
        [OK, D, PD],
    ),
    (
        "ECC_NIST_P384",
        "KEY_AGREEMENT",
        "DeriveSharedSecret",
        |service, key| {
            let public = ok(service, "GetPublicKey", &json!({ "KeyId": key.id }));
            and(json!({ "KeyId": key.id, "KeyAgreementAlgorithm": "ECDH" }), "PublicKey", &public)
        },
        [OK, D, PD],
    ),
    ("RSA_2048", "ENCRYPT_DECRYPT", "Encrypt", |_, key| to_encrypt(key), [OK, D, PD]),
    (
        "RSA_2048",
        "ENCRYPT_DECRYPT",
        "Decrypt",
        |service, key| and(to_encrypt(key), "CiphertextBlob", &ok(service, "Encrypt", &to_encrypt(key))),
        [OK, D, PD],
    ),
    (
        "RSA_2048",
        "ENCRYPT_DECRYPT",
        "ReEncrypt",
        |service, key| {
            let blob = encrypted(service, &new_key(service), b"x");
            let algorithm = "RSAES_OAEP_SHA_256";
            json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id, "DestinationEncryptionAlgorithm": algorithm })
        },
        [OK, D, PD],
    ),
    (
        "RSA_2048",
        "SIGN_VERIFY",
        "CreateGrant",
        |_, key| json!({ "KeyId": key.id, "GranteePrincipal": "111122223333", "Operations": ["Sign"] }),
        [OK, D, PD],
    ),
];

#[test]
fn the_state_is_told_before_anything_of_the_message() {
    let service = shared();
    for (spec, usage, operation, body, cells) in OF_OTHER_KEYS {
        for (state, cell) in [None, Some("DisableKey"), Some("ScheduleKeyDeletion")].into_iter().zip(cells) {
            let key = new_key_of(&service, spec, usage);
            let mut body = body(&service, &key);
            let used = ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id }));
            if let Some(operation) = state {
                ok(&service, operation, &json!({ "KeyId": key.id }));
                // What is wrong besides is not looked at.
                body.as_object_mut().unwrap().entry("EncryptionAlgorithm").and_modify(|name| *name = "SM2PKE".into());
                body.as_object_mut().unwrap().entry("SigningAlgorithm").and_modify(|name| *name = "SM2DSA".into());
            }
            let answer = call(&service, operation, &body);
            let expected = cell.expected(&key);
            assert_eq!((answer.error().as_str(), answer.message()), expected, "{operation}, {state:?}");
            if *cell != OK {
                assert_eq!(ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id })), used, "{operation}");
            }
        }
    }
}

fn to_sign(key: &Key) -> Value {
    json!({ "KeyId": key.id, "Message": "AA==", "SigningAlgorithm": "ECDSA_SHA_256" })
}

fn to_mac(key: &Key) -> Value {
    json!({ "KeyId": key.id, "Message": "AA==", "MacAlgorithm": "HMAC_SHA_224" })
}

fn to_encrypt(key: &Key) -> Value {
    json!({ "KeyId": key.id, "Plaintext": "AA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256" })
}

/// The body with a member of an answer.
fn and(mut body: Value, name: &str, answer: &Value) -> Value {
    body[name] = answer[name].clone();
    body
}

#[test]
fn the_matrix_has_every_operation_on_a_key() {
    // SoftHSM has no keys for these: tests/contract/lattice.py asks of each state on a token that has.
    let elsewhere = ["Decapsulate", "Encapsulate"];
    let of_sts = ["AssumeRole", "GetCallerIdentity", "GetSessionToken"];
    let without_a_key =
        [&["CreateKey", "ListKeys", "GenerateRandom", "ListRetirableGrants"][..], &of_sts, &elsewhere].concat();
    for route in hsm_kms::api::json::OPERATIONS.iter().filter(|route| !route.name.contains("CustomKeyStore")) {
        let in_matrix = MATRIX.iter().any(|(operation, ..)| *operation == route.name)
            || OF_OTHER_KEYS.iter().any(|(_, _, operation, ..)| *operation == route.name);
        assert!(in_matrix != without_a_key.contains(&route.name), "{}", route.name);
    }
}

/// A key in some state, with an alias and a ciphertext from before, and another key that is enabled.
struct Subject {
    key: Key,
    alias: String,
    blob: String,
    grant_id: String,
    grant_token: String,
    other: Key,
    other_alias: String,
    other_blob: String,
}

impl Subject {
    fn in_state(service: &Service, state: &str) -> Self {
        let make = if state == "PendingImport" { imported_key } else { new_key };
        let subject = Subject::made_by(service, make);
        into_state(service, &subject.key, state);
        assert_eq!(subject.look(service)[0]["KeyMetadata"]["KeyState"], state);
        subject
    }

    /// An enabled one.
    fn made_by(service: &Service, make: impl Fn(&Service) -> Key) -> Self {
        let [(key, alias, blob), (other, other_alias, other_blob)] = [make(service), new_key(service)].map(|key| {
            let alias = new_alias("state");
            ok(service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
            let blob = encrypted(service, &key, b"x");
            (key, alias, blob)
        });
        let root = "arn:aws:iam::111122223333:root";
        let grant = json!({ "KeyId": key.id, "GranteePrincipal": root, "Operations": ["Decrypt"] });
        let grant = ok(service, "CreateGrant", &grant);
        let [grant_id, grant_token] = ["GrantId", "GrantToken"].map(|name| grant[name].as_str().unwrap().to_owned());
        Subject { key, alias, blob, grant_id, grant_token, other, other_alias, other_blob }
    }

    /// All that is known of both keys.
    fn look(&self, service: &Service) -> Vec<Value> {
        let operations =
            ["DescribeKey", "GetKeyPolicy", "ListAliases", "ListGrants", "ListResourceTags", "GetKeyLastUsage"];
        let keys = [&self.key, &self.other];
        let looks =
            keys.into_iter().flat_map(|key| operations.map(|operation| (operation, json!({ "KeyId": key.id }))));
        looks.map(|(operation, body)| ok(service, operation, &body)).collect()
    }
}

fn into_state(service: &Service, key: &Key, state: &str) {
    let operation = match state {
        "Disabled" => Some("DisableKey"),
        "PendingDeletion" => Some("ScheduleKeyDeletion"),
        "PendingImport" => Some("DeleteImportedKeyMaterial"),
        _ => None,
    };
    operation.map(|operation| ok(service, operation, &json!({ "KeyId": key.id })));
}

impl Cell {
    fn expected(self, key: &Key) -> (&'static str, String) {
        let arn = &key.arn;
        match self {
            OK => ("", String::new()),
            D => ("DisabledException", format!("{arn} is disabled.")),
            PD => ("KMSInvalidStateException", format!("{arn} is pending deletion.")),
            NP => ("KMSInvalidStateException", format!("{arn} is not pending deletion.")),
            PI => ("KMSInvalidStateException", format!("{arn} is pending import.")),
            Cell::Imported => (
                "UnsupportedOperationException",
                format!("{arn} origin is EXTERNAL which is not valid for this operation."),
            ),
            Cell::NothingWaits => {
                ("KMSInvalidStateException", format!("No available key material pending rotation for the key: {arn}."))
            }
            Cell::Unavailable => ("KMSInvalidStateException", format!("{arn} is unavailable.")),
            Cell::OfCluster => (
                "UnsupportedOperationException",
                format!("{arn} origin is AWS_CLOUDHSM which is not valid for this operation."),
            ),
            Cell::NotPrimary => ("UnsupportedOperationException", format!("{arn} is not a multi-region primary key.")),
            U => (
                "UnsupportedOperationException",
                format!("{arn} origin is AWS_KMS which is not valid for this operation."),
            ),
        }
    }
}

const POLICY: &str =
    r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}]}"#;
