//! DryRun: every check is made, nothing is done.

use serde_json::{Value, json};

use super::*;

const WOULD_SUCCEED: &str = "The request would have succeeded, but the DryRun option is set.";

#[test]
fn a_dry_run_never_succeeds_and_does_nothing() {
    let service = shared();
    let subject = Subject::new(&service);
    for (operation, body) in subject.requests() {
        let dry = with(&body, "DryRun", true.into());
        refused(&service, operation, &dry, "DryRunOperationException", WOULD_SUCCEED);
        let answer = call(&service, operation, &dry);
        let event = event(&service, &answer);
        assert_eq!(
            (&event["errorCode"], &event["errorMessage"]),
            (&"DryRunOperationException".into(), &WOULD_SUCCEED.into())
        );
        assert_eq!(event["requestParameters"]["dryRun"], true);
        ok(&service, operation, &with(&body, "DryRun", false.into()));
    }
}

#[test]
fn what_would_fail_fails_in_a_dry_run_as_it_would_without() {
    let service = shared();
    let subject = Subject::new(&service);
    for (operation, body) in subject.requests() {
        for (member, value) in [
            ("DestinationKeyId", json!("fake-key-id")),
            ("KeyId", json!("fake-key-id")),
            ("GrantTokens", json!([""])),
            ("GrantTokens", json!(["token"])),
            ("NumberOfBytes", json!(0)),
            ("EncryptionContext", json!({ "k": "v".repeat(8192) })),
            ("EncryptionAlgorithm", json!("SM2PKE")),
            ("CiphertextBlob", json!("AA==")),
            ("CiphertextBlob", Value::Null),
            ("DryRunModifiers", json!(["IGNORE"])),
        ] {
            let wet = with(&body, member, value);
            let without = call(&service, operation, &wet);
            if without.status == 200 {
                continue; // The operation has no such member.
            }
            let dry = call(&service, operation, &with(&wet, "DryRun", true.into()));
            assert_eq!((dry.status, dry.json()), (without.status, without.json()), "{operation} {member}");
        }
    }
}

#[test]
fn the_state_is_told_before_the_dry_run() {
    let service = shared();
    let subject = Subject::new(&service);
    ok(&service, "DisableKey", &json!({ "KeyId": subject.key.id }));
    for (operation, body) in subject.requests() {
        let message = format!("{} is disabled.", subject.key.arn);
        refused(&service, operation, &with(&body, "DryRun", true.into()), "DisabledException", &message);
    }
    let ignoring = json!({ "KeyId": subject.key.id, "DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"] });
    refused(&service, "Decrypt", &ignoring, "DisabledException", &format!("{} is disabled.", subject.key.arn));
}

#[test]
fn without_a_ciphertext_the_key_must_be_named() {
    let service = shared();
    let key = new_key(&service);
    let ignoring =
        |body: Value| with(&with(&body, "DryRun", true.into()), "DryRunModifiers", json!(["IGNORE_CIPHERTEXT"]));
    let dry = "DryRunOperationException";
    refused(&service, "Decrypt", &ignoring(json!({ "KeyId": key.id })), dry, WOULD_SUCCEED);
    let body = json!({ "KeyId": key.id, "CiphertextBlob": "AA==" });
    refused(&service, "Decrypt", &ignoring(body), dry, WOULD_SUCCEED);
    refused(&service, "Decrypt", &ignoring(json!({})), "ValidationException", "KeyId is required.");
    let body = json!({ "SourceKeyId": key.id, "DestinationKeyId": key.arn });
    refused(&service, "ReEncrypt", &ignoring(body), dry, WOULD_SUCCEED);
    let body = json!({ "DestinationKeyId": key.id });
    refused(&service, "ReEncrypt", &ignoring(body), "ValidationException", "SourceKeyId is required.");
    let body = ignoring(json!({ "KeyId": "fake-key-id" }));
    refused(&service, "Decrypt", &body, "NotFoundException", "Invalid keyId 'fake-key-id'");
}

#[test]
fn a_ciphertext_is_only_ignored_in_a_dry_run() {
    let service = shared();
    let key = new_key(&service);
    let missing = violation("Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null");
    for body in [
        json!({ "KeyId": key.id }),
        json!({ "KeyId": key.id, "DryRun": true }),
        json!({ "KeyId": key.id, "DryRun": true, "DryRunModifiers": [] }),
    ] {
        refused(&service, "Decrypt", &body, "ValidationException", &missing);
        let body = json!({ "DestinationKeyId": key.id, "SourceKeyId": key.id, "DryRun": body["DryRun"] });
        refused(&service, "ReEncrypt", &body, "ValidationException", &missing);
    }
    for dry_run in [Value::Null, false.into()] {
        let blob = encrypted(&service, &key, b"x");
        let body = json!({ "DryRunModifiers": ["IGNORE_CIPHERTEXT"], "DryRun": dry_run, "CiphertextBlob": blob });
        assert_eq!(bytes(&ok(&service, "Decrypt", &body)["Plaintext"]), b"x");
    }
    let message = violation(
        "Value 'NO' at 'dryRunModifiers.1.member' failed to satisfy constraint: Member must satisfy enum value set: \
         [IGNORE_CIPHERTEXT]",
    );
    let body = json!({ "KeyId": key.id, "DryRunModifiers": ["NO"] });
    refused(&service, "Decrypt", &body, "ValidationException", &message);
}

struct Subject {
    key: Key,
    blob: String,
}

impl Subject {
    fn new(service: &Service) -> Self {
        let key = new_key(service);
        let blob = encrypted(service, &key, b"x");
        Subject { key, blob }
    }

    fn requests(&self) -> [(&'static str, Value); 7] {
        let Subject { key, blob } = self;
        [
            ("Encrypt", json!({ "KeyId": key.id, "Plaintext": "AA==" })),
            ("Decrypt", json!({ "CiphertextBlob": blob })),
            ("ReEncrypt", json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id })),
            ("GenerateDataKey", json!({ "KeyId": key.id, "NumberOfBytes": 32 })),
            ("GenerateDataKeyPair", json!({ "KeyId": key.id, "KeyPairSpec": "ECC_NIST_P384" })),
            ("GenerateDataKeyPairWithoutPlaintext", json!({ "KeyId": key.id, "KeyPairSpec": "RSA_2048" })),
            ("GenerateDataKeyWithoutPlaintext", json!({ "KeyId": key.id, "KeySpec": "AES_128" })),
        ]
    }
}

fn with(body: &Value, member: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[member] = value;
    body
}
