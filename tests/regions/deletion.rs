//! The end of multi-Region keys, with a clock that is moved: replicas first, and then the waiting time of the primary key.

use std::time::Duration;

use serde_json::json;

use crate::in_process::{InProcess, MovedClock, START};
use crate::process::{block_on, in_own_process};
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
    kms.commit(hsm_kms::store::Change::new(kms.now()).update(&row, record)).await.unwrap();
}
