//! GetKeyLastUsage.

use serde_json::{Value, json};

use super::*;

#[test]
fn an_unused_key_has_an_empty_last_usage() {
    let service = shared();
    let metadata = ok(&service, "CreateKey", &json!({}))["KeyMetadata"].clone();
    let answer = ok(&service, "GetKeyLastUsage", &json!({ "KeyId": metadata["KeyId"] }));
    let created = &metadata["CreationDate"];
    let expected = json!({
        "KeyId": metadata["Arn"], "KeyLastUsage": {}, "TrackingStartDate": created, "KeyCreationDate": created
    });
    assert_eq!(answer, expected);
}

#[test]
fn every_use_is_told_with_the_ids_of_its_record() {
    let service = shared();
    let key = new_key(&service);
    let blob = encrypted(&service, &key, b"x");
    for (operation, body) in [
        ("Encrypt", json!({ "KeyId": key.id, "Plaintext": "AA==" })),
        ("Decrypt", json!({ "CiphertextBlob": blob })),
        ("GenerateDataKey", json!({ "KeyId": key.id, "NumberOfBytes": 1 })),
        ("GenerateDataKeyPair", json!({ "KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256" })),
        ("GenerateDataKeyPairWithoutPlaintext", json!({ "KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256" })),
        ("GenerateDataKeyWithoutPlaintext", json!({ "KeyId": key.id, "NumberOfBytes": 1 })),
        ("ReEncrypt", json!({ "DestinationKeyId": key.id, "CiphertextBlob": blob })),
    ] {
        let answer = call(&service, operation, &body);
        succeeded(&answer, operation);
        let usage = last_usage(&service, &key);
        assert_eq!(names(&usage), ["CloudTrailEventId", "KmsRequestId", "Operation", "Timestamp"]);
        assert_eq!(usage["Operation"], operation);
        assert_eq!(usage["KmsRequestId"], answer.header("x-amzn-requestid").unwrap());
        assert_eq!(usage["CloudTrailEventId"], event(&service, &answer)["eventID"]);
    }
}

#[test]
fn re_encrypt_uses_both_keys() {
    let service = shared();
    let (source, destination) = (new_key(&service), new_key(&service));
    let blob = encrypted(&service, &source, b"x");
    ok(&service, "ReEncrypt", &json!({ "DestinationKeyId": destination.id, "CiphertextBlob": blob }));
    assert_eq!(last_usage(&service, &source)["Operation"], "ReEncrypt");
    assert_eq!(last_usage(&service, &source), last_usage(&service, &destination));
}

#[test]
fn what_is_refused_or_no_cryptography_is_no_use() {
    let service = shared();
    let key = new_key(&service);
    let blob = encrypted(&service, &key, b"x");
    let before = last_usage(&service, &key);
    for (operation, body, error) in [
        ("Encrypt", json!({ "KeyId": key.id, "Plaintext": "AA==", "DryRun": true }), "DryRunOperationException"),
        ("Decrypt", json!({ "CiphertextBlob": blob, "DryRun": true }), "DryRunOperationException"),
        ("Decrypt", json!({ "CiphertextBlob": blob, "EncryptionContext": { "a": "b" } }), "InvalidCiphertextException"),
        ("GenerateDataKey", json!({ "KeyId": key.id }), "ValidationException"),
    ] {
        assert_eq!(call(&service, operation, &body).error(), error);
    }
    ok(&service, "DescribeKey", &json!({ "KeyId": key.id }));
    ok(&service, "GetKeyPolicy", &json!({ "KeyId": key.id }));
    assert_eq!(last_usage(&service, &key), before);
}

#[test]
fn the_last_usage_survives_a_restart() {
    let service = Service::start();
    let key = new_key(&service);
    encrypted(&service, &key, b"x");
    let before = last_usage(&service, &key);
    assert_eq!(before["Operation"], "Encrypt");
    let data = service.data().to_owned();
    let (status, _folder) = service.terminate();
    assert_eq!(status.code(), Some(0));
    let service = Service::start_in(&data, &[]);
    assert_eq!(last_usage(&service, &key), before);
}

fn last_usage(service: &Service, key: &Key) -> Value {
    ok(service, "GetKeyLastUsage", &json!({ "KeyId": key.id }))["KeyLastUsage"].clone()
}
