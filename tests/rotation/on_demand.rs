//! RotateKeyOnDemand: alone, against itself, and amid requests.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hsm_kms::crypto::{PublicKey, oaep_encrypt};
use hsm_kms::kms::End;
use hsm_kms::model::{EncryptionAlgorithm, KeyPairSpec};
use serde_json::{Value, json};

use crate::in_process::{HOUR, InProcess, MovedClock, START};
use crate::process::{block_on, in_own_process};
use crate::{Key, events, housekeep, join_all, objects, pass};

#[test]
fn a_key_rotates_twenty_five_times_on_demand_and_no_more() {
    in_own_process("on_demand::a_key_rotates_twenty_five_times_on_demand_and_no_more", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            pass(&service, 91 * 24 * HOUR).await;
            let mut sealed = vec![key.encrypt().await];
            for _ in 0..25 {
                key.call("RotateKeyOnDemand", json!({})).await;
                sealed.push(key.encrypt().await);
            }
            let (error, message) = key.refused("RotateKeyOnDemand", json!({})).await;
            assert_eq!(error, "LimitExceededException");
            let arn = key.arn();
            assert_eq!(
                message,
                format!(
                    "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations \
                     can be performed for this key: {arn}"
                )
            );
            assert_eq!(objects(&service, &key.id).await.len(), 27, "nothing was made for the one refused");
            for sealed in &sealed {
                key.opens(sealed).await;
            }
            // The limit is not on automatic ones.
            pass(&service, 91 * 24 * HOUR).await;
            assert_eq!(key.rotations().await.len(), 27);
            let told = events(dir, "RotateKeyOnDemand");
            assert_eq!(told.len(), 26);
            let response = json!({
                "keyId": arn,
                "previousKeyMaterialId": sealed[0].material,
                "currentKeyMaterialId": sealed[1].material,
            });
            assert_eq!(told[0]["responseElements"], response);
            assert_eq!(told[25]["errorCode"], "LimitExceededException");
            service.close().await;
        });
    });
}

#[test]
fn none_begins_shortly_before_an_automatic_one() {
    in_own_process("on_demand::none_begins_shortly_before_an_automatic_one", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            pass(&service, 90 * 24 * HOUR - Duration::from_secs(20 * 60 + 1)).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            pass(&service, Duration::from_secs(1)).await;
            let (error, message) = key.refused("RotateKeyOnDemand", json!({})).await;
            assert_eq!(error, "ConflictException");
            assert!(message.contains("scheduled to begin within the next 20 minutes"), "{message}");
            assert_eq!(objects(&service, &key.id).await.len(), 2);
            pass(&service, Duration::from_secs(20 * 60)).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            let kinds: Vec<_> = key.rotations().await.iter().map(|item| item["RotationType"].clone()).collect();
            assert_eq!(kinds, ["ON_DEMAND", "AUTOMATIC", "ON_DEMAND"]);
            service.close().await;
        });
    });
}

/// Many at once: each is done wholly, or refused since another one is under way.
#[test]
fn many_at_once_make_one_material_each_or_none() {
    in_own_process("on_demand::many_at_once_make_one_material_each_or_none", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            let body = json!({ "KeyId": key.id });
            let (mut done, mut refused) = (0, 0);
            for _ in 0..10 {
                for (status, answer) in join_all((0..8).map(|_| service.try_call("RotateKeyOnDemand", &body))).await {
                    match (status, answer["__type"].as_str()) {
                        (200, _) => done += 1,
                        (400, Some("ConflictException")) => {
                            let message = answer["message"].as_str().unwrap();
                            assert!(message.contains("an on-demand rotation of this key is"), "{message}");
                            refused += 1;
                        }
                        (400, Some("LimitExceededException")) => {}
                        _ => panic!("{status} {answer}"),
                    }
                }
            }
            assert!((10..=25).contains(&done) && refused > 0, "{done} done, {refused} refused");
            let rotations = key.rotations().await;
            assert_eq!(rotations.len(), done);
            let ids: BTreeSet<_> = rotations.iter().map(|item| item["KeyMaterialId"].to_string()).collect();
            assert_eq!(ids.len(), done);
            assert_eq!(objects(&service, &key.id).await.len(), done + 1, "no object without its material");
            assert!(service.app.kms().store.intents().is_empty());
            assert!(key.status().await["OnDemandRotationStartDate"].is_null());
            service.close().await;
        });
    });
}

#[test]
fn requests_in_flight_during_a_rotation_all_succeed_under_the_one_material_or_the_other() {
    let test = "on_demand::requests_in_flight_during_a_rotation_all_succeed_under_the_one_material_or_the_other";
    in_own_process(test, |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            let mut known = vec![key.current().await];
            for round in 0..20 {
                let requests = join_all((0..64).map(|_| key.encrypt()));
                let rotation = async {
                    tokio::time::sleep(Duration::from_millis(round % 5)).await;
                    key.call("RotateKeyOnDemand", json!({})).await
                };
                let (sealed, _) = tokio::join!(requests, rotation);
                known.push(key.current().await);
                let allowed = &known[known.len() - 2..];
                for sealed in &sealed {
                    assert!(allowed.contains(&sealed.material));
                    key.opens(sealed).await;
                }
                assert_eq!(key.encrypt().await.material, *known.last().unwrap(), "the next request uses the new one");
            }
            service.close().await;
        });
    });
}

/// Markers are good for the list that gave them.
#[test]
fn pages_of_materials_are_whole_and_of_one_key() {
    in_own_process("on_demand::pages_of_materials_are_whole_and_of_one_key", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (key, other) = (Key::new(&service).await, Key::new(&service).await);
            for _ in 0..4 {
                key.call("RotateKeyOnDemand", json!({})).await;
                other.call("RotateKeyOnDemand", json!({})).await;
            }
            let all = key.call("ListKeyRotations", json!({ "IncludeKeyMaterial": "ALL_KEY_MATERIAL" })).await;
            assert_eq!((all["Rotations"].as_array().unwrap().len(), &all["Truncated"]), (5, &json!(false)));
            let only = key.call("ListKeyRotations", json!({ "IncludeKeyMaterial": "ROTATIONS_ONLY" })).await;
            assert_eq!(only["Rotations"], json!(&all["Rotations"].as_array().unwrap()[1..]));
            let first = &all["Rotations"][0];
            let names: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["KeyId", "KeyMaterialId", "KeyMaterialState"], "the first was never rotated to");
            let page = key.call("ListKeyRotations", json!({ "Limit": 2 })).await;
            assert_eq!(page["Truncated"], true);
            let marker = page["NextMarker"].clone();
            let (error, _) = other.refused("ListKeyRotations", json!({ "Marker": marker })).await;
            assert_eq!(error, "InvalidMarkerException");
            let rest = key.call("ListKeyRotations", json!({ "Marker": marker })).await;
            assert_eq!(rest["Rotations"].as_array().unwrap().len(), 2);
            assert!(rest["NextMarker"].is_null());
            let ids = [&page, &rest].map(|page| page["Rotations"].as_array().unwrap().clone()).concat();
            assert_eq!(json!(ids), only["Rotations"]);
            service.close().await;
        });
    });
}

/// What the service finishes by itself, a destruction of imported material, leaves alone what others are making.
#[test]
fn no_rotation_is_disturbed_by_destructions_that_are_finished_meanwhile() {
    in_own_process("on_demand::no_rotation_is_disturbed_by_destructions_that_are_finished_meanwhile", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            for rotations in 1..=20 {
                let key_store = service.app.kms().key_stores().remove(0);
                let mut rotation = Box::pin(key.call("RotateKeyOnDemand", json!({})));
                loop {
                    let removals = service.app.kms().finish_removals(&key_store, End::Destroyed);
                    tokio::select! {
                        biased;
                        _ = &mut rotation => break,
                        () = removals => tokio::task::yield_now().await,
                    }
                }
                let sealed = key.encrypt().await;
                key.opens(&sealed).await;
                assert_eq!(objects(&service, &key.id).await.len(), rotations + 1);
            }
            service.close().await;
        });
    });
}

/// Material that is over is not what a key waits for: with it, nothing that the key encrypted could be decrypted.
#[test]
fn no_key_rotates_to_imported_material_that_is_over() {
    in_own_process("on_demand::no_key_rotates_to_imported_material_that_is_over", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let created = service.call("CreateKey", json!({ "Origin": "EXTERNAL" })).await;
            let key = Key::named(&service, created["KeyMetadata"]["KeyId"].as_str().unwrap());
            key.import([1; 32], json!({ "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" })).await;
            let sealed = key.encrypt().await;
            let new =
                |hours: i64| json!({ "ImportType": "NEW_KEY_MATERIAL", "ValidTo": START / 1_000 + hours * 3_600 });
            key.import([2; 32], new(1)).await;
            service.clock.pass(HOUR);
            let (error, message) = key.refused("RotateKeyOnDemand", json!({})).await;
            assert_eq!(error, "KMSInvalidStateException");
            assert!(message.starts_with("No available key material pending rotation"), "{message}");
            key.opens(&sealed).await;
            assert_eq!(key.encrypt().await.material, sealed.material);

            housekeep(&service).await;
            assert_eq!(objects(&service, &key.id).await.len(), 1, "it is destroyed");
            key.import([3; 32], new(3)).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            assert_ne!(key.encrypt().await.material, sealed.material);
            key.opens(&sealed).await;
            service.close().await;
        });
    });
}

impl Key<'_> {
    /// Imports material of the caller's.
    async fn import(&self, material: [u8; 32], mut request: Value) {
        let wrapping = json!({ "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
        let parameters = self.call("GetParametersForImport", wrapping).await;
        let public_key = STANDARD.decode(parameters["PublicKey"].as_str().unwrap()).unwrap();
        let public_key = PublicKey::from_spki(KeyPairSpec::Rsa2048, &public_key).unwrap();
        let encrypted = oaep_encrypt(&public_key, EncryptionAlgorithm::RsaesOaepSha1, &material).unwrap();
        request["ImportToken"] = parameters["ImportToken"].clone();
        request["EncryptedKeyMaterial"] = STANDARD.encode(encrypted).into();
        self.call("ImportKeyMaterial", request).await;
    }
}
