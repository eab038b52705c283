//! Every operation against every key state that can be reached here.

use serde_json::{Value, json};

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
}

use Cell::{Disabled as D, NotPending as NP, Ok as OK, Pending as PD};

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
];

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
    let of_sts = ["AssumeRole", "GetCallerIdentity", "GetSessionToken"];
    let without_a_key = [&["CreateKey", "ListKeys", "GenerateRandom", "ListRetirableGrants"][..], &of_sts].concat();
    for route in hsm_kms::api::json::OPERATIONS {
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
        let [(key, alias, blob), (other, other_alias, other_blob)] = [(); 2].map(|()| {
            let key = new_key(service);
            let alias = new_alias("state");
            ok(service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
            let blob = encrypted(service, &key, b"x");
            (key, alias, blob)
        });
        let root = "arn:aws:iam::111122223333:root";
        let grant = json!({ "KeyId": key.id, "GranteePrincipal": root, "Operations": ["Decrypt"] });
        let grant = ok(service, "CreateGrant", &grant);
        let [grant_id, grant_token] = ["GrantId", "GrantToken"].map(|name| grant[name].as_str().unwrap().to_owned());
        let operation = match state {
            "Disabled" => Some("DisableKey"),
            "PendingDeletion" => Some("ScheduleKeyDeletion"),
            _ => None,
        };
        operation.map(|operation| ok(service, operation, &json!({ "KeyId": key.id })));
        let subject = Subject { key, alias, blob, grant_id, grant_token, other, other_alias, other_blob };
        assert_eq!(subject.look(service)[0]["KeyMetadata"]["KeyState"], state);
        subject
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

impl Cell {
    fn expected(self, key: &Key) -> (&'static str, String) {
        let arn = &key.arn;
        match self {
            OK => ("", String::new()),
            D => ("DisabledException", format!("{arn} is disabled.")),
            PD => ("KMSInvalidStateException", format!("{arn} is pending deletion.")),
            NP => ("KMSInvalidStateException", format!("{arn} is not pending deletion.")),
        }
    }
}

const POLICY: &str =
    r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}]}"#;
