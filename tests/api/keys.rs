//! The life of a key.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;

#[test]
fn a_key_is_made_with_awss_defaults() {
    let service = shared();
    let answer = ok(&service, "CreateKey", &json!({}));
    let metadata = &answer["KeyMetadata"];
    let id = metadata["KeyId"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    let expected = json!({
        "KeyMetadata": {
            "AWSAccountId": "111122223333",
            "KeyId": id,
            "Arn": format!("arn:aws:kms:us-east-1:111122223333:key/{id}"),
            "CreationDate": metadata["CreationDate"],
            "Enabled": true,
            "Description": "",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": "Enabled",
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": false,
            "CurrentKeyMaterialId": metadata["CurrentKeyMaterialId"],
        }
    });
    assert_eq!(answer, expected);
    assert!((now() - metadata["CreationDate"].as_f64().unwrap()).abs() < 60.0, "seconds since the epoch");
    let material = metadata["CurrentKeyMaterialId"].as_str().unwrap();
    assert!(material.len() == 64 && material.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(ok(&service, "DescribeKey", &json!({ "KeyId": id })), expected);
    assert_eq!(tags_of(&service, id), json!([]));
}

#[test]
fn every_member_of_create_key_counts() {
    let service = shared();
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "kms:*", "Resource": "*" }]
    })
    .to_string();
    let description = "ü".repeat(8192);
    let answer = ok(
        &service,
        "CreateKey",
        &json!({
            "Policy": policy,
            "Description": description,
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "Origin": "AWS_KMS",
            "BypassPolicyLockoutSafetyCheck": false,
            "Tags": [{ "TagKey": "b", "TagValue": "2" }, { "TagKey": "a", "TagValue": "" }],
            "MultiRegion": false,
        }),
    );
    let id = answer["KeyMetadata"]["KeyId"].as_str().unwrap();
    assert_eq!(answer["KeyMetadata"]["Description"], description.as_str());
    assert_eq!(ok(&service, "GetKeyPolicy", &json!({ "KeyId": id }))["Policy"], policy.as_str());
    assert_eq!(tags_of(&service, id), json!([{ "TagKey": "a", "TagValue": "" }, { "TagKey": "b", "TagValue": "2" }]));
    let old_name = ok(&service, "CreateKey", &json!({ "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT" }));
    assert_eq!(old_name["KeyMetadata"]["KeySpec"], "SYMMETRIC_DEFAULT");
}

/// What is said of a spec that SoftHSM does not have.
fn lattice(spec: &str) -> String {
    format!("KeySpec {spec} is not offered by this service's token: C_GenerateKeyPair answered MechanismInvalid")
}

#[test]
fn keys_that_cannot_be_made_are_refused_and_leave_nothing() {
    let service = Service::start();
    let unsupported = "UnsupportedOperationException";
    let validation = "ValidationException";
    for (body, error, message) in [
        (
            json!({ "KeySpec": "RSA_2048" }),
            validation,
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.".to_owned(),
        ),
        (json!({ "KeySpec": "ML_DSA_44", "KeyUsage": "SIGN_VERIFY" }), unsupported, lattice("ML_DSA_44")),
        (json!({ "KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE" }), unsupported, lattice("ML_KEM_768")),
        (
            json!({ "KeySpec": "ML_KEM_768", "KeyUsage": "SIGN_VERIFY" }),
            validation,
            "KeyUsage SIGN_VERIFY is not compatible with KeySpec ML_KEM_768".into(),
        ),
        (
            json!({ "CustomerMasterKeySpec": "SM2", "KeyUsage": "SIGN_VERIFY" }),
            unsupported,
            "KeySpec SM2 is not offered by this service.".into(),
        ),
        (
            json!({ "CustomerMasterKeySpec": "HMAC_256", "KeyUsage": "SIGN_VERIFY" }),
            validation,
            "KeyUsage SIGN_VERIFY is not compatible with KeySpec HMAC_256".into(),
        ),
        (
            json!({ "KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT" }),
            validation,
            "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048".into(),
        ),
        (
            json!({ "KeyUsage": "SIGN_VERIFY" }),
            validation,
            "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT".into(),
        ),
        (
            json!({ "Origin": "EXTERNAL", "KeySpec": "ML_DSA_44", "KeyUsage": "SIGN_VERIFY" }),
            unsupported,
            lattice("ML_DSA_44"),
        ),
        (
            json!({ "Origin": "AWS_CLOUDHSM" }),
            validation,
            "A custom key store origin requires a CustomKeyStoreId.".into(),
        ),
        (
            json!({ "MultiRegion": true, "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY" }),
            unsupported,
            "Multi-Region keys of the KeySpec ECC_NIST_EDWARDS25519 are not offered by the token of us-east-1: C_WrapKey \
             answered KeyNotWrappable"
                .into(),
        ),
        (
            json!({ "CustomKeyStoreId": "cks-1" }),
            "CustomKeyStoreNotFoundException",
            "Custom key store cks-1 does not exist.".into(),
        ),
        (
            json!({ "Description": "d".repeat(8193) }),
            validation,
            violation(&format!(
                "Value '{}' at 'description' failed to satisfy constraint: Member must have length less than or equal \
                 to 8192",
                "d".repeat(8193)
            )),
        ),
        (
            json!({ "Tags": [{ "TagKey": "a", "TagValue": "" }, { "TagKey": "a", "TagValue": "" }] }),
            "TagException",
            "Duplicate tag keys".into(),
        ),
        (json!({ "Policy": "{}" }), "MalformedPolicyDocumentException", "there is no Statement".into()),
    ] {
        refused(&service, "CreateKey", &body, error, &message);
    }
    assert_eq!(ok(&service, "ListKeys", &json!({})), json!({ "Keys": [], "Truncated": false }));
    let objects = service.pkcs11_tool(&["--list-objects"]);
    assert!(objects.contains("hsm-kms/store-root/") && !objects.contains("hsm-kms/kms/"), "{objects}");
}

#[test]
fn the_material_is_an_object_that_cannot_leave_the_token() {
    let service = Service::start();
    let key = new_key(&service);
    let objects = service.pkcs11_tool(&["--list-objects", "--type", "secrkey"]);
    let object = objects.split("Secret Key Object").find(|object| object.contains(&key.id)).expect("the key's object");
    assert!(object.contains(&format!("hsm-kms/kms/{}/1", key.id)), "{object}");
    assert!(object.contains("AES length 32"), "{object}");
    let id = format!("{}00000001", key.id.replace('-', ""));
    assert!(object.contains(&id), "CKA_ID: {object}");
    let access = object.lines().find(|line| line.contains("Access:")).expect("access");
    assert!(access.contains("sensitive") && access.contains("always sensitive"), "{access}");
    assert!(access.contains("never extractable") && access.contains("local"), "{access}");
}

#[test]
fn a_disabled_key_is_enabled_again() {
    let service = shared();
    let key = new_key(&service);
    let blob = encrypted(&service, &key, b"x");
    for _ in 0..2 {
        assert_eq!(ok(&service, "DisableKey", &json!({ "KeyId": key.arn })), Value::Null);
        assert_eq!(state(&service, &key), ("Disabled".to_owned(), false));
    }
    refused(
        &service,
        "Decrypt",
        &json!({ "CiphertextBlob": blob }),
        "DisabledException",
        &format!("{} is disabled.", key.arn),
    );
    for _ in 0..2 {
        assert_eq!(ok(&service, "EnableKey", &json!({ "KeyId": key.id })), Value::Null);
        assert_eq!(state(&service, &key), ("Enabled".to_owned(), true));
    }
    assert_eq!(bytes(&ok(&service, "Decrypt", &json!({ "CiphertextBlob": blob }))["Plaintext"]), b"x");
}

#[test]
fn a_description_is_replaced() {
    let service = shared();
    let key = new_key(&service);
    for description in ["first".to_owned(), "ü".repeat(8192), String::new()] {
        let body = json!({ "KeyId": key.id, "Description": description });
        assert_eq!(ok(&service, "UpdateKeyDescription", &body), Value::Null);
        assert_eq!(describe(&service, &key)["Description"], description.as_str());
    }
    let long = "d".repeat(8193);
    refused(
        &service,
        "UpdateKeyDescription",
        &json!({ "KeyId": key.id, "Description": long }),
        "ValidationException",
        &violation(&format!(
            "Value '{long}' at 'description' failed to satisfy constraint: Member must have length less than or equal \
             to 8192"
        )),
    );
    refused(
        &service,
        "UpdateKeyDescription",
        &json!({ "KeyId": key.id }),
        "ValidationException",
        &violation("Value null at 'description' failed to satisfy constraint: Member must not be null"),
    );
    assert_eq!(describe(&service, &key)["Description"], "");
}

#[test]
fn a_deletion_waits_for_7_to_30_days() {
    let service = shared();
    for (given, days) in [(Some(7), 7), (Some(30), 30), (None, 30)] {
        let key = new_key(&service);
        let mut body = json!({ "KeyId": key.id });
        if let Some(given) = given {
            body["PendingWindowInDays"] = given.into();
        }
        let answer = ok(&service, "ScheduleKeyDeletion", &body);
        let date = answer["DeletionDate"].as_f64().unwrap();
        assert!((date - now() - f64::from(days) * 86_400.0).abs() < 60.0);
        assert_eq!(
            answer,
            json!({ "KeyId": key.arn, "DeletionDate": date, "KeyState": "PendingDeletion", "PendingWindowInDays": days })
        );
        let metadata = describe(&service, &key);
        assert_eq!(metadata["DeletionDate"], answer["DeletionDate"]);
        assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("PendingDeletion"), &json!(false)));
        // AWS shows the window for PendingReplicaDeletion alone.
        assert_eq!(metadata.get("PendingDeletionWindowInDays"), None);
    }
}

#[test]
fn other_windows_are_refused_and_nothing_is_scheduled() {
    let service = shared();
    let key = new_key(&service);
    let at = |days: i64, rule: &str| {
        violation(&format!(
            "Value '{days}' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value {rule}"
        ))
    };
    let between = "PendingWindowInDays must be between 7 and 30 (inclusive).".to_owned();
    for (days, message) in [
        (-1, at(-1, "greater than or equal to 1")),
        (0, at(0, "greater than or equal to 1")),
        (1, between.clone()),
        (6, between.clone()),
        (31, between.clone()),
        (365, between),
        (366, at(366, "less than or equal to 365")),
    ] {
        let body = json!({ "KeyId": key.id, "PendingWindowInDays": days });
        refused(&service, "ScheduleKeyDeletion", &body, "ValidationException", &message);
    }
    let metadata = describe(&service, &key);
    assert_eq!((&metadata["KeyState"], metadata.get("DeletionDate")), (&json!("Enabled"), None));
}

#[test]
fn a_cancelled_deletion_leaves_the_key_disabled() {
    let service = shared();
    let key = new_key(&service);
    let blob = encrypted(&service, &key, b"x");
    let alias = new_alias("kept");
    ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    ok(&service, "ScheduleKeyDeletion", &json!({ "KeyId": key.id, "PendingWindowInDays": 7 }));
    assert_eq!(ok(&service, "CancelKeyDeletion", &json!({ "KeyId": key.id })), json!({ "KeyId": key.arn }));
    let metadata = describe(&service, &key);
    assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("Disabled"), &json!(false)));
    assert_eq!(metadata.get("DeletionDate"), None);
    ok(&service, "EnableKey", &json!({ "KeyId": key.id }));
    let body = json!({ "CiphertextBlob": blob, "KeyId": alias });
    assert_eq!(bytes(&ok(&service, "Decrypt", &body)["Plaintext"]), b"x");
}

fn describe(service: &Service, key: &Key) -> Value {
    ok(service, "DescribeKey", &json!({ "KeyId": key.id }))["KeyMetadata"].clone()
}

fn state(service: &Service, key: &Key) -> (String, bool) {
    let metadata = describe(service, key);
    (metadata["KeyState"].as_str().unwrap().to_owned(), metadata["Enabled"].as_bool().unwrap())
}

fn tags_of(service: &Service, id: &str) -> Value {
    ok(service, "ListResourceTags", &json!({ "KeyId": id }))["Tags"].clone()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
