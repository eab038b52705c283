//! Rotations of multi-Region keys that come upon what they did not make.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use hsm_kms::kms::{End, KeyStore};
use hsm_kms::model::{KeyId, KeyState, ObjectName, Purpose};
use hsm_kms::settings::TokenSettings;
use hsm_kms::store::{Change, KeyRecord, PairingRecord};
use serde_json::{Value, json};

use crate::in_process::{HOUR, InProcess, MovedClock, START, settings};
use crate::process::{LABEL, block_on, in_own_process, make_token};
use crate::shim::{Shim, module};
use crate::support::wrapped;
use crate::{EAST, WEST};

const NORTH: &str = "eu-north-1";

/// A service with three Regions on one token.
async fn start(dir: &Path) -> InProcess {
    make_token(LABEL);
    let mut settings = settings(dir);
    settings.regions.push(NORTH.parse().unwrap());
    InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap()
}

/// Whoever made what is on the tokens under the next number, as the newer history of a store that was put back: it is
/// never destroyed, in no Region, and the key rotates all the same.
#[test]
fn an_object_that_a_rotation_did_not_make_is_left_alone_in_every_region() {
    in_own_process("rotation::an_object_that_a_rotation_did_not_make_is_left_alone_in_every_region", |dir| {
        block_on(async {
            let service = start(dir).await;
            let made = service.call("CreateKey", json!({ "MultiRegion": true })).await;
            let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
            for region in [WEST, NORTH] {
                service.call("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": region })).await;
            }
            // In every Region, and then in those of the replicas alone.
            let mut planted = Vec::new();
            for regions in [&[EAST, WEST, NORTH][..], &[WEST, NORTH]] {
                for region in regions {
                    planted.push(plant(&service, region, key).await);
                }
                let (status, answer) = service.try_call("RotateKeyOnDemand", &json!({ "KeyId": key })).await;
                assert!([200, 500].contains(&status), "{answer}");
                assert_there(&service, &planted).await;
                service.clock.pass(HOUR);
                let kms = service.app.kms();
                for key_store in kms.key_stores() {
                    kms.undo_creations(&key_store, kms.now()).await;
                }
                assert_there(&service, &planted).await;
                assert!(service.app.kms().store.intents().is_empty());
            }
            service.call("RotateKeyOnDemand", json!({ "KeyId": key })).await;
            let blob = service.call("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" })).await;
            assert_eq!(decrypted(&service, &blob).await, "eA==");
            service.close().await;
        });
    });
}

/// New material has to reach every Region from the primary one: who cannot send it to all does not become that, and who
/// can no more makes none.
#[test]
fn the_primary_region_is_one_whose_token_is_paired_with_all_others() {
    in_own_process("rotation::the_primary_region_is_one_whose_token_is_paired_with_all_others", |dir| {
        block_on(async {
            let service = on_three_tokens(dir, None).await;
            let kms = service.app.kms();
            pair(&service, EAST, WEST).await;
            pair(&service, EAST, NORTH).await;
            let made = service.call("CreateKey", json!({ "MultiRegion": true })).await;
            let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
            for region in [WEST, NORTH] {
                service.call("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": region })).await;
            }
            service.call("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 90 })).await;
            let to_west = json!({ "KeyId": key, "PrimaryRegion": WEST });
            let (status, answer) = service.try_call("UpdatePrimaryRegion", &to_west).await;
            assert_eq!((status, &answer["__type"]), (400, &json!("UnsupportedOperationException")));
            assert!(answer["message"].as_str().unwrap().contains("hsm-kms token pair"), "{answer}");
            // A key that never gets new material can have its primary key anywhere.
            let body = json!({ "MultiRegion": true, "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" });
            let code = service.call("CreateKey", body).await["KeyMetadata"]["KeyId"].clone();
            for region in [WEST, NORTH] {
                service.call("ReplicateKey", json!({ "KeyId": code, "ReplicaRegion": region })).await;
            }
            service.call("UpdatePrimaryRegion", json!({ "KeyId": code, "PrimaryRegion": WEST })).await;

            pair(&service, WEST, NORTH).await;
            service.call("UpdatePrimaryRegion", to_west).await;
            // As if one of these tokens had another replication key since.
            let pairings = kms.store.pairing([&serial(&service, WEST), &serial(&service, NORTH)]).unwrap();
            kms.commit(Change::new(kms.now()).delete(&*pairings)).await.unwrap();
            let primary = || kms.store.key(&WEST.parse().unwrap(), &key.parse().unwrap()).unwrap().record.clone();
            let before = primary();
            service.clock.pass(91 * 24 * HOUR);
            for _ in 0..25 {
                service.app.housekeep().await;
            }
            assert_eq!(primary(), before, "no number is used up");
            assert!(kms.store.intents().is_empty());
            pair(&service, WEST, NORTH).await;
            let deadline = soon();
            while primary().materials.len() == 1 {
                assert!(Instant::now() < deadline);
                service.app.housekeep().await;
            }
            crate::unpair::of_two_replicas(&service, key).await;
            crate::unpair::while_a_replica_is_made(&service).await;
            service.close().await;
        });
    });
}

/// A replica can be used whatever its primary key is, and has its new material from there all the same.
#[test]
fn a_replica_near_its_end_gets_new_material_from_a_primary_key_that_is_not_used() {
    in_own_process("rotation::a_replica_near_its_end_gets_new_material_from_a_primary_key_that_is_not_used", |dir| {
        block_on(async {
            make_token(LABEL);
            let mut settings = settings(dir);
            settings.kms.nonce_budget = 64 * 64;
            let service = InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap();
            let made = service.call("CreateKey", json!({ "MultiRegion": true })).await;
            let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
            service.call("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": WEST })).await;
            service.call("EnableKeyRotation", json!({ "KeyId": key })).await;
            service.call("UpdatePrimaryRegion", json!({ "KeyId": key, "PrimaryRegion": WEST })).await;
            for state in [KeyState::Disabled, KeyState::PendingReplicaDeletion] {
                set_state(&service, WEST, key, state).await;
                let mut used = BTreeMap::<String, u64>::new();
                let deadline = Instant::now() + Duration::from_secs(20);
                while used.len() < 3 {
                    assert!(Instant::now() < deadline, "{state:?}: {used:?}");
                    let body = json!({ "KeyId": key, "KeySpec": "AES_128" });
                    match service.try_call("GenerateDataKey", &body).await {
                        (200, told) => *used.entry(told["KeyMaterialId"].to_string()).or_default() += 1,
                        // It has come to its end, until the next round.
                        (_, refused) if refused["__type"] == "KMSInvalidStateException" => {
                            service.app.housekeep().await
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert!(used.values().all(|used| *used <= 64), "{used:?}");
            }
            // By the clock it does not rotate, and does not say that it will.
            let status = service.call("GetKeyRotationStatus", json!({ "KeyId": key })).await;
            assert_eq!(status["KeyRotationEnabled"], false, "{status}");
            service.close().await;
        });
    });
}

/// The token of one Region hangs. Keys with a replica there wait with their rotation, and no others.
#[test]
fn a_token_that_hangs_holds_up_no_rotation_of_keys_that_have_nothing_there() {
    in_own_process("rotation::a_token_that_hangs_holds_up_no_rotation_of_keys_that_have_nothing_there", |dir| {
        block_on(async {
            for label in [LABEL, WEST] {
                make_token(label);
            }
            let (mut settings, shim) = (settings(dir), Shim::in_dir(dir));
            settings.token.module = module();
            let (label, regions) = (Some(WEST.to_owned()), vec![WEST.parse().unwrap()]);
            settings.tokens.insert("west".to_owned(), TokenSettings { label, regions, ..settings.token.clone() });
            let service = InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap();
            pair(&service, EAST, WEST).await;
            let (mut held, mut others) = (Vec::new(), Vec::new());
            for number in 0..8 {
                let of_both = number % 2 == 0;
                let made = service.call("CreateKey", json!({ "MultiRegion": of_both })).await;
                let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
                service.call("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 90 })).await;
                if of_both {
                    service.call("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": WEST })).await;
                }
                if of_both { &mut held } else { &mut others }.push(key);
            }
            let kms = service.app.kms();
            let materials = |key: &String| {
                kms.store.key(&EAST.parse().unwrap(), &key.parse().unwrap()).unwrap().record.materials.len()
            };
            service.clock.pass(91 * 24 * HOUR);
            shim.rules(&format!("@{WEST} hang C_FindObjectsInit"));
            let all_others = async {
                while others.iter().any(|key| materials(key) == 1) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                () = all_others => {}
                () = service.app.housekeep() => assert!(others.iter().all(|key| materials(key) == 2), "they wait"),
            }
            assert!(held.iter().all(|key| materials(key) == 1), "no ciphertext that the replica could not open");
            shim.rules("");
            let deadline = Instant::now() + Duration::from_secs(60);
            while held.iter().any(|key| materials(key) == 1) {
                assert!(Instant::now() < deadline);
                service.app.housekeep().await;
            }
            service.close().await;
        });
    });
}

pub async fn set_state(service: &InProcess, region: &str, key: &str, state: KeyState) {
    let kms = service.app.kms();
    let row = kms.store.key(&region.parse().unwrap(), &key.parse().unwrap()).unwrap();
    let record = KeyRecord { state, ..row.record.clone() };
    kms.commit(Change::new(kms.now()).update(&row, record)).await.unwrap();
}

/// A scheme is how seeds are wrapped. Codes know none, and no replica has the uses of one of before.
#[test]
fn replicas_of_keys_that_wrap_nothing_can_be_on_a_token_with_another_scheme() {
    in_own_process("rotation::replicas_of_keys_that_wrap_nothing_can_be_on_a_token_with_another_scheme", |dir| {
        block_on(async {
            let profile = include_str!("../../hsm-config/softhsm2/profile.toml");
            std::fs::write(dir.join("cbc.toml"), profile.replace("aes_gcm_host_iv", "aes_cbc_host_iv")).unwrap();
            let service = on_three_tokens(dir, Some(dir.join("cbc.toml"))).await;
            pair(&service, EAST, WEST).await;
            let call = async |region, operation, body: Value| {
                let (status, answer) = service.try_call_in(region, operation, &body).await;
                assert_eq!(status, 200, "{operation} {body}: {answer}");
                answer
            };
            let sealing = call(EAST, "CreateKey", json!({ "MultiRegion": true })).await;
            let to_west = json!({ "KeyId": sealing["KeyMetadata"]["KeyId"], "ReplicaRegion": WEST });
            assert_eq!(service.refused("ReplicateKey", to_west).await, "UnsupportedOperationException");
            let body = json!({ "MultiRegion": true, "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" });
            let key = call(EAST, "CreateKey", body).await["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
            let to_west = json!({ "KeyId": key, "ReplicaRegion": WEST });
            call(EAST, "ReplicateKey", to_west.clone()).await;
            let body = json!({ "KeyId": key, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256" });
            let codes = [call(EAST, "GenerateMac", body.clone()).await, call(WEST, "GenerateMac", body).await];
            assert_eq!(codes[0]["Mac"], codes[1]["Mac"]);
            let usage = async || call(WEST, "GetKeyLastUsage", json!({ "KeyId": key })).await["KeyLastUsage"].clone();
            assert_eq!(usage().await["Operation"], "GenerateMac");
            set_state(&service, WEST, &key, KeyState::Destroying).await;
            let west = KeyStore::Region(WEST.parse().unwrap());
            service.app.kms().finish_destructions(&west, End::Destroyed).await;
            service.clock.pass(HOUR);
            call(EAST, "ReplicateKey", to_west).await;
            assert!(usage().await["Operation"].is_null(), "this one was never used");
            assert!(service.app.kms().unserved_regions().is_empty());
            service.close().await;
            // A Region that is served no more is named where it matters.
            let mut settings = settings(dir);
            settings.regions.retain(|region| region.as_str() == EAST);
            let service = InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap();
            assert_eq!(service.app.kms().unserved_regions(), [WEST.parse().unwrap()].into());
            service.close().await;
        });
    });
}

/// Its material could not be imported there.
#[test]
fn no_replica_is_made_of_a_key_that_the_other_token_does_not_have() {
    in_own_process("rotation::no_replica_is_made_of_a_key_that_the_other_token_does_not_have", |dir| {
        block_on(async {
            make_token(LABEL);
            make_token(WEST);
            // CKM_SHA256_HMAC
            Shim::in_dir(dir).rules(&format!("@{WEST} hide 0x251"));
            let mut settings = settings(dir);
            settings.token.module = module();
            let (label, regions) = (Some(WEST.to_owned()), vec![WEST.parse().unwrap()]);
            settings.tokens.insert("west".into(), TokenSettings { label, regions, ..settings.token.clone() });
            let service = InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap();
            let external = |spec: &str, usage: &str| json!({ "MultiRegion": true, "Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": usage });
            for (body, status) in [
                (external("HMAC_256", "GENERATE_VERIFY_MAC"), 400),
                (external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), 200),
            ] {
                let key = service.call("CreateKey", body).await["KeyMetadata"]["KeyId"].clone();
                let wanted =
                    json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
                let given = service.call("GetParametersForImport", wanted).await;
                let body = json!({
                    "KeyId": key, "ImportToken": given["ImportToken"], "EncryptedKeyMaterial": wrapped(&given, &[7; 32]),
                    "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
                });
                service.call("ImportKeyMaterial", body).await;
                let to_west = json!({ "KeyId": key, "ReplicaRegion": WEST });
                let answer = service.try_call("ReplicateKey", &to_west).await;
                assert_eq!(answer.0, status, "{answer:?}");
                if status == 400 {
                    assert_eq!(answer.1["__type"], "UnsupportedOperationException");
                    let text = answer.1["message"].as_str().unwrap();
                    assert!(text.starts_with("KeySpec HMAC_256 is not offered"), "{text}");
                    assert_eq!(service.try_call_in(WEST, "DescribeKey", &json!({ "KeyId": key })).await.0, 400);
                }
            }
            service.close().await;
        });
    });
}

/// A service with three Regions, each on a token of its own; that of the second one with this profile.
async fn on_three_tokens(dir: &Path, profile: Option<PathBuf>) -> InProcess {
    let mut settings = settings(dir);
    settings.regions.push(NORTH.parse().unwrap());
    for label in [LABEL, WEST, NORTH] {
        make_token(label);
    }
    for region in [WEST, NORTH] {
        let (label, regions) = (Some(region.to_owned()), vec![region.parse().unwrap()]);
        let profile = profile.clone().filter(|_| region == WEST);
        settings.tokens.insert(region.to_owned(), TokenSettings { label, regions, profile, ..settings.token.clone() });
    }
    InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap()
}

/// An operator has confirmed the fingerprints.
pub async fn pair(service: &InProcess, one: &str, other: &str) {
    let kms = service.app.kms();
    let mut tokens = Vec::new();
    for region in [one, other] {
        let account = "111122223333".parse().unwrap();
        tokens.push(kms.replication_key(&region.parse().unwrap(), &account, soon()).await.unwrap().paired());
    }
    let record = PairingRecord::of(tokens.try_into().unwrap(), kms.now());
    kms.commit(Change::new(kms.now()).insert(record)).await.unwrap();
}

fn serial(service: &InProcess, region: &str) -> String {
    service.app.kms().token(&region.parse().unwrap(), None).unwrap().identity().serial.clone()
}

/// An object under the next number of a key.
async fn plant(service: &InProcess, region: &str, key: &str) -> String {
    let kms = service.app.kms();
    let primary = kms.store.key(&EAST.parse().unwrap(), &key.parse().unwrap()).unwrap();
    let row = kms.store.key(&region.parse().unwrap(), &key.parse().unwrap()).unwrap();
    let key_id: KeyId = row.record.object_id.unwrap_or(row.record.key_id);
    let name = ObjectName { purpose: Purpose::Kms, key_id, material: primary.record.next_material };
    kms.tokens()[0].generate(&name, soon()).await.unwrap();
    name.cka_label()
}

async fn assert_there(service: &InProcess, labels: &[String]) {
    let found = service.app.kms().tokens()[0].objects(soon()).await.unwrap().ours;
    for label in labels {
        assert!(found.iter().any(|object| object.label == *label), "{label} is gone");
    }
}

async fn decrypted(service: &InProcess, blob: &Value) -> Value {
    service.call("Decrypt", json!({ "CiphertextBlob": blob["CiphertextBlob"] })).await["Plaintext"].clone()
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
