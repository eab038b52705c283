//! The end of multi-Region keys, with a clock that is moved: replicas first, and then the waiting time of the primary key.

use std::path::Path;
use std::time::Duration;

use hsm_kms::store::{Change, WrapCountRecord};
use serde_json::{Value, json};

use crate::in_process::{InProcess, MovedClock, START, settings};
use crate::process::{LABEL, block_on, in_own_process, make_token};
use crate::support::wrapped;
use crate::{EAST, WEST};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_primary_key_waits_from_the_end_of_its_last_replica_on() {
    in_own_process("deletion::a_primary_key_waits_from_the_end_of_its_last_replica_on", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let made = service.call("CreateKey", json!({ "MultiRegion": true })).await;
            let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
            service.call("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": WEST })).await;
            service.call("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 })).await;
            // However long that takes.
            pass(&service, 40).await;
            assert_eq!(state(&service, EAST, &key), Some("PendingReplicaDeletion"));
            schedule_replica(&service, &key).await;
            pass(&service, 6).await;
            assert_eq!(state(&service, WEST, &key), Some("PendingDeletion"));
            pass(&service, 2).await;
            assert_eq!(state(&service, WEST, &key), None);
            assert_eq!(state(&service, EAST, &key), Some("PendingDeletion"), "it waits from now on");
            let began: Vec<_> = events(dir, "DeleteKey");
            let began: Vec<_> = began.iter().filter(|it| it["additionalEventData"]["phase"] == "waiting").collect();
            assert_eq!(began.len(), 1);
            let arn = |region: &str| format!("arn:aws:kms:{region}:111122223333:key/{key}");
            assert_eq!((&began[0]["awsRegion"], &began[0]["resources"][0]["ARN"]), (&json!(EAST), &json!(arn(EAST))));
            let told = &began[0]["additionalEventData"];
            assert!(told["lastReplica"] == arn(WEST) && told["deletionDate"].is_string(), "{told}");
            let metadata = service.call("DescribeKey", json!({ "KeyId": key })).await["KeyMetadata"].clone();
            assert!(metadata["DeletionDate"].is_number() && metadata["PendingDeletionWindowInDays"].is_null());
            assert_eq!(metadata["MultiRegionConfiguration"]["ReplicaKeys"], json!([]));
            pass(&service, 5).await;
            assert_eq!(state(&service, EAST, &key), Some("PendingDeletion"));
            pass(&service, 2).await;
            assert_eq!(state(&service, EAST, &key), None);
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            let left = service.app.kms().tokens()[0].objects(deadline).await.unwrap().ours;
            assert!(!left.iter().any(|object| object.label.contains("multi-region")), "{left:?}");
            service.close().await;
        });
    });
}

/// However often a replica is made again, its Region has one share of the material's nonces.
#[test]
fn a_replica_that_is_made_again_goes_on_counting_where_the_last_one_ended() {
    in_own_process("deletion::a_replica_that_is_made_again_goes_on_counting_where_the_last_one_ended", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let made = service.call("CreateKey", json!({ "MultiRegion": true })).await;
            let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
            let replicate = json!({ "KeyId": key, "ReplicaRegion": WEST });
            service.call("ReplicateKey", replicate.clone()).await;
            let encrypt = json!({ "KeyId": key, "Plaintext": "eA==" });
            let (status, sealed) = service.try_call_in(WEST, "Encrypt", &encrypt).await;
            assert_eq!(status, 200, "{sealed}");
            service.close().await;
            let service = InProcess::open(dir, MovedClock::at(START)).await;
            // As often as a share allows, and once more what a run has free.
            let kms = service.app.kms();
            let (region, key_id) = (WEST.parse().unwrap(), key.parse().unwrap());
            let run = kms.store.runs().unwrap().record.count;
            let spent = WrapCountRecord { region, key_id, material: 1, claimed: (1 << 26) + (1 << 12), run };
            let change = Change::new(kms.now());
            let change = match kms.store.wrap_count(&spent.region, &key_id, 1) {
                Some(row) => change.update(&row, spent.clone()),
                None => change.insert(spent.clone()),
            };
            kms.commit(change).await.unwrap();
            schedule_replica(&service, &key).await;
            pass(&service, 8).await;
            assert_eq!(state(&service, WEST, &key), None);
            service.call("ReplicateKey", replicate).await;
            let (status, refused) = service.try_call_in(WEST, "Encrypt", &encrypt).await;
            assert!(status == 400 && refused["message"].as_str().unwrap().contains("as often as is safe"), "{refused}");
            let blob = json!({ "CiphertextBlob": sealed["CiphertextBlob"] });
            assert_eq!(service.try_call_in(WEST, "Decrypt", &blob).await.0, 200);
            assert_eq!(service.try_call_in(EAST, "Encrypt", &encrypt).await.0, 200, "its share is its own");
            service.close().await;
        });
    });
}

/// Nor has it one more free block for each time in one run: here a share is no more than one.
#[test]
fn a_replica_that_is_made_again_in_one_run_has_no_more_wraps_than_the_last_one() {
    in_own_process("deletion::a_replica_that_is_made_again_in_one_run_has_no_more_wraps_than_the_last_one", |dir| {
        block_on(async {
            make_token(LABEL);
            let mut settings = settings(dir);
            settings.kms.nonce_budget = 4_096;
            let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
            // Imported, so that it does not rotate by itself.
            let made = service.call("CreateKey", json!({ "MultiRegion": true, "Origin": "EXTERNAL" })).await;
            let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
            let call = async |region: &str, operation: &str, mut body: Value| {
                body["KeyId"] = json!(key);
                service.try_call_in(region, operation, &body).await
            };
            let import = async |region: &str| {
                let wanted = json!({ "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
                let given = call(region, "GetParametersForImport", wanted).await.1;
                let body = json!({
                    "ImportToken": given["ImportToken"], "EncryptedKeyMaterial": wrapped(&given, &[7; 32]),
                    "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
                });
                assert_eq!(call(region, "ImportKeyMaterial", body).await.0, 200);
            };
            import(EAST).await;
            let mut wraps = [0, 0];
            for wraps in &mut wraps {
                assert_eq!(call(EAST, "ReplicateKey", json!({ "ReplicaRegion": WEST })).await.0, 200);
                import(WEST).await;
                let refused = loop {
                    match call(WEST, "Encrypt", json!({ "Plaintext": "eA==" })).await {
                        (200, _) => *wraps += 1,
                        (_, refused) => break refused,
                    }
                };
                assert!(refused["message"].as_str().unwrap().contains("as often as is safe"), "{refused}");
                schedule_replica(&service, &key).await;
                pass(&service, 8).await;
                assert_eq!(state(&service, WEST, &key), None);
            }
            assert_eq!(wraps, [64, 0]);
            service.close().await;
        });
    });
}

fn events(dir: &Path, name: &str) -> Vec<Value> {
    let lines = crate::support::audit_lines(&dir.join("data"));
    lines.into_iter().map(|line| line["event"].clone()).filter(|event| event["eventName"] == name).collect()
}

fn state(service: &InProcess, region: &str, key: &str) -> Option<&'static str> {
    let key = service.app.kms().store.key(&region.parse().unwrap(), &key.parse().unwrap());
    key.map(|key| key.record.state.wire())
}

/// Some days, a day at a time, as they go.
async fn pass(service: &InProcess, days: u32) {
    for _ in 0..days {
        service.clock.pass(DAY);
        for _ in 0..11 {
            service.app.housekeep().await;
        }
    }
}

/// The replica's deletion is scheduled in its own Region.
async fn schedule_replica(service: &InProcess, key: &str) {
    let kms = service.app.kms();
    let row = kms.store.key(&WEST.parse().unwrap(), &key.parse().unwrap()).unwrap();
    let mut record = row.record.clone();
    record.state = hsm_kms::model::KeyState::PendingDeletion;
    record.deletion_date = Some(kms.now().plus(DAY * 7));
    record.pending_window_days = Some(7);
    kms.commit(Change::new(kms.now()).update(&row, record)).await.unwrap();
}
