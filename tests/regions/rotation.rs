//! Rotations of multi-Region keys that come upon what they did not make.

use std::path::Path;
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use hsm_kms::model::{KeyId, ObjectName, Purpose};
use serde_json::{Value, json};

use crate::in_process::{HOUR, InProcess, MovedClock, START, settings};
use crate::process::{LABEL, block_on, in_own_process, make_token};
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

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
