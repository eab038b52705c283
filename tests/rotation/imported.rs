//! Imported keys: they rotate on demand alone, to the material that was imported for it, and their budget ends.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hsm_kms::crypto::{PublicKey, oaep_encrypt};
use hsm_kms::model::{EncryptionAlgorithm, KeyPairSpec};
use serde_json::{Value, json};

use crate::budget::{encrypt, start};
use crate::in_process::{InProcess, MovedClock, START};
use crate::process::{block_on, in_own_process};
use crate::{DAY_MILLIS, Key, events, pass, pass_days};

#[test]
fn an_imported_key_rotates_to_the_material_that_waits_and_to_nothing_else() {
    in_own_process("imported::an_imported_key_rotates_to_the_material_that_waits_and_to_nothing_else", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = imported_key(&service).await;
            let nothing = format!("No available key material pending rotation for the key: {}.", key.arn());
            let nothing = ("KMSInvalidStateException".to_owned(), nothing);
            assert_eq!(key.refused("RotateKeyOnDemand", json!({})).await, nothing, "there is no material at all");
            import(&key, 1, json!({ "KeyMaterialDescription": "one" })).await;
            assert_eq!(key.refused("RotateKeyOnDemand", json!({})).await, nothing);
            let first = key.encrypt().await;
            import(&key, 2, json!({ "ImportType": "NEW_KEY_MATERIAL" })).await;
            assert_eq!(key.encrypt().await.material, first.material, "what waits does not encrypt");
            let waiting = materials(&key).await[1].clone();
            assert_eq!(waiting["KeyMaterialState"], "PENDING_ROTATION");
            assert!(waiting["RotationDate"].is_null() && waiting["RotationType"].is_null());
            assert!(key.rotations().await.is_empty(), "it has not rotated");

            pass_days(&service, 1).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            let second = key.encrypt().await;
            assert_eq!(second.material, waiting["KeyMaterialId"].as_str().unwrap());
            key.opens(&first).await;
            let listed = materials(&key).await;
            let expected = json!([
                { "KeyId": key.id, "KeyMaterialId": first.material, "KeyMaterialDescription": "one",
                  "ImportState": "IMPORTED", "KeyMaterialState": "NON_CURRENT",
                  "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" },
                { "KeyId": key.id, "KeyMaterialId": second.material, "ImportState": "IMPORTED",
                  "KeyMaterialState": "CURRENT", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
                  "RotationDate": (START + DAY_MILLIS) as f64 / 1_000.0, "RotationType": "ON_DEMAND" },
            ]);
            assert_eq!(json!(listed), expected);
            assert_eq!(json!(key.rotations().await), json!([expected[1]]));
            assert_eq!(key.refused("RotateKeyOnDemand", json!({})).await, nothing);
            let told = events(dir, "RotateKeyOnDemand");
            let done: Vec<_> = told.iter().filter(|event| event.get("errorCode").is_none()).collect();
            assert_eq!(done.len(), 1);
            assert_eq!(done[0]["responseElements"]["currentKeyMaterialId"], second.material.as_str());
            assert_eq!(done[0]["responseElements"]["previousKeyMaterialId"], first.material.as_str());

            // Without one of its materials it is pending import, and rotates to nothing.
            key.call("DeleteImportedKeyMaterial", json!({ "KeyMaterialId": first.material })).await;
            let gone = &materials(&key).await[0];
            assert_eq!(gone["ImportState"], "PENDING_IMPORT");
            assert!(gone["ExpirationModel"].is_null() && gone["ValidTo"].is_null());
            assert_eq!(key.refused("RotateKeyOnDemand", json!({})).await, nothing);
            import(&key, 1, json!({})).await;
            key.opens(&first).await;
            assert_eq!(key.encrypt().await.material, second.material, "it is not the current one again");

            let origin = format!("{} origin is EXTERNAL which is not valid for this operation.", key.arn());
            for operation in ["EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus"] {
                let refused = key.refused(operation, json!({})).await;
                assert_eq!(refused, ("UnsupportedOperationException".to_owned(), origin.clone()), "{operation}");
            }
            service.close().await;
        });
    });
}

#[test]
fn no_key_rotates_to_material_that_has_expired() {
    in_own_process("imported::no_key_rotates_to_material_that_has_expired", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = imported_key(&service).await;
            import(&key, 1, json!({})).await;
            let sealed = key.encrypt().await;
            // The first day of a new store is one of time that is not trusted.
            pass_days(&service, 2).await;
            let valid_to = START / 1_000 + 2 * 86_400 + 3_600;
            let expiring = json!({
                "ImportType": "NEW_KEY_MATERIAL", "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": valid_to
            });
            import(&key, 2, expiring).await;
            let waiting = &materials(&key).await[1];
            assert_eq!(waiting["ExpirationModel"], "KEY_MATERIAL_EXPIRES");
            assert_eq!(waiting["ValidTo"].as_f64(), Some(valid_to as f64));
            // No housekeeping has come to destroy it yet.
            service.clock.pass(Duration::from_secs(3_600));
            let (error, message) = key.refused("RotateKeyOnDemand", json!({})).await;
            assert_eq!(error, "KMSInvalidStateException");
            assert!(message.starts_with("No available key material pending rotation"), "{message}");
            pass(&service, Duration::from_secs(60)).await;
            assert_eq!(materials(&key).await.len(), 1);
            key.opens(&sealed).await;
            key.encrypt().await;
            service.close().await;
        });
    });
}

#[test]
fn an_imported_key_refuses_to_encrypt_at_the_end_of_its_budget_until_it_rotates() {
    in_own_process("imported::an_imported_key_refuses_to_encrypt_at_the_end_of_its_budget_until_it_rotates", |dir| {
        block_on(async {
            const BUDGET: usize = 640;
            let service = start(dir, BUDGET as u64).await;
            let key = imported_key(&service).await;
            import(&key, 1, json!({})).await;
            let sealed = key.encrypt().await;
            let mut made = 1;
            let refused = loop {
                match encrypt(&service, &key.id).await {
                    Ok(_) => made += 1,
                    Err(refused) => break refused,
                }
                assert!(made <= BUDGET, "{made}");
            };
            assert_eq!(made, BUDGET, "to the last one: nothing was lost on the way");
            assert_eq!(refused["__type"], "KMSInvalidStateException");
            let message = refused["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{} has encrypted 640 times", key.arn())), "{message}");
            assert!(message.contains("RotateKeyOnDemand"), "{message}");
            for _ in 0..3 {
                key.opens(&sealed).await;
            }
            // Bringing the same material again does not begin a new count.
            key.call("DeleteImportedKeyMaterial", json!({})).await;
            import(&key, 1, json!({})).await;
            assert!(encrypt(&service, &key.id).await.is_err());
            let to_itself = json!({ "CiphertextBlob": sealed.blob, "DestinationKeyId": key.id });
            let (status, answer) = service.try_call("ReEncrypt", &to_itself).await;
            assert_eq!((status, &answer["__type"]), (400, &json!("KMSInvalidStateException")));

            import(&key, 2, json!({ "ImportType": "NEW_KEY_MATERIAL" })).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            encrypt(&service, &key.id).await.unwrap();
            key.opens(&sealed).await;
            assert_eq!(events(dir, "NonceBudgetHalfUsed").len(), 1);
            assert!(events(dir, "NonceBudgetRotation").is_empty() && events(dir, "RotateKey").is_empty());
            service.close().await;
        });
    });
}

/// A key without material.
pub async fn imported_key(service: &InProcess) -> Key<'_> {
    let made = service.call("CreateKey", json!({ "Origin": "EXTERNAL" })).await;
    Key::named(service, made["KeyMetadata"]["KeyId"].as_str().unwrap())
}

/// Imports thirty-two bytes of this value, for ever if `more` does not say else.
pub async fn import(key: &Key<'_>, value: u8, more: Value) {
    let body = json!({ "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
    let parameters = key.call("GetParametersForImport", body).await;
    let public_key = STANDARD.decode(parameters["PublicKey"].as_str().unwrap()).unwrap();
    let public_key = PublicKey::from_spki(KeyPairSpec::Rsa2048, &public_key).unwrap();
    let wrapped = oaep_encrypt(&public_key, EncryptionAlgorithm::RsaesOaepSha1, &[value; 32]).unwrap();
    let mut body = json!({
        "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": STANDARD.encode(wrapped),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    key.call("ImportKeyMaterial", body).await;
}

async fn materials(key: &Key<'_>) -> Vec<Value> {
    let listed = key.call("ListKeyRotations", json!({ "IncludeKeyMaterial": "ALL_KEY_MATERIAL" })).await;
    listed["Rotations"].as_array().unwrap().clone()
}
