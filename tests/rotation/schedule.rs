//! Rotations by the clock.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::in_process::{HOUR, InProcess, MovedClock, START, settings};
use crate::process::{block_on, in_own_process};
use crate::{DAY_MILLIS, Key, events, housekeep, objects, pass, pass_days};
use hsm_kms::app::Accepted;

#[test]
fn a_key_rotates_on_its_date_again_and_again_and_old_ciphertexts_open() {
    in_own_process("schedule::a_key_rotates_on_its_date_again_and_again_and_old_ciphertexts_open", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (key, other) = (Key::new(&service).await, Key::new(&service).await);
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            assert_eq!(key.next().await, START + 90 * DAY_MILLIS);
            let mut sealed = vec![key.encrypt().await];
            for number in 1..=50 {
                pass(&service, 90 * 24 * HOUR - Duration::from_secs(1)).await;
                assert_eq!(key.rotations().await.len(), number - 1, "not a second too early");
                pass(&service, Duration::from_secs(1)).await;
                assert_eq!(key.rotations().await.len(), number);
                sealed.push(key.encrypt().await);
            }
            for sealed in &sealed {
                key.opens(sealed).await;
            }
            let mut materials: Vec<_> = sealed.iter().map(|sealed| &sealed.material).collect();
            materials.dedup();
            assert_eq!(materials.len(), 51, "each rotation has its own material");
            let rotations = key.rotations().await;
            for (number, rotation) in (1..).zip(&rotations) {
                let date = (rotation["RotationDate"].as_f64().unwrap() * 1_000.0).round() as i64;
                assert_eq!(date, START + number * 90 * DAY_MILLIS);
                assert_eq!(rotation["RotationType"], "AUTOMATIC");
                assert_eq!(rotation["KeyId"], key.id.as_str());
                assert_eq!(&rotation["KeyMaterialId"], sealed[number as usize].material.as_str());
                assert_eq!(rotation["KeyMaterialState"], if number == 50 { "CURRENT" } else { "NON_CURRENT" });
            }
            let told = events(dir, "RotateKey");
            assert_eq!(told.len(), 50);
            assert_eq!(told[0]["eventType"], "AwsServiceEvent");
            assert_eq!(told[0]["resources"][0]["ARN"], key.arn().as_str());
            let details = json!({
                "rotationType": "AUTOMATIC", "keyOrigin": "AWS_KMS", "keyId": key.id,
                "previousKeyMaterialId": sealed[0].material, "currentKeyMaterialId": sealed[1].material,
            });
            assert_eq!(told[0]["serviceEventDetails"], details);
            assert_eq!(told[0]["additionalEventData"], json!({ "reason": "rotation period" }));
            assert!(other.rotations().await.is_empty(), "nobody asked for it");
            assert_eq!(objects(&service, &key.id).await.len(), 51);
            let id = key.id.clone();
            service.close().await;

            let service = InProcess::open(dir, MovedClock::at(START + 50 * 90 * DAY_MILLIS + 1_000)).await;
            let key = Key::named(&service, &id);
            for sealed in &sealed {
                key.opens(sealed).await;
            }
            assert_eq!(key.rotations().await, rotations);
            service.close().await;
            hsm_kms::audit::verify(&dir.join("data/audit")).unwrap();
        });
    });
}

#[test]
fn a_schedule_counts_from_its_beginning_however_often_it_is_enabled() {
    in_own_process("schedule::a_schedule_counts_from_its_beginning_however_often_it_is_enabled", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            key.call("EnableKeyRotation", json!({})).await;
            assert_eq!(key.next().await, START + 365 * DAY_MILLIS);
            pass_days(&service, 10).await;
            key.call("EnableKeyRotation", json!({})).await;
            assert_eq!(key.next().await, START + 365 * DAY_MILLIS, "enabling it again does not put it off");
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 2560 })).await;
            assert_eq!(key.next().await, START + 2560 * DAY_MILLIS);
            assert_eq!(key.status().await["RotationPeriodInDays"], 2560);
            // A rotation on demand does not move the schedule.
            key.call("RotateKeyOnDemand", json!({})).await;
            assert_eq!(key.next().await, START + 2560 * DAY_MILLIS);
            // A schedule that begins anew counts from then.
            key.call("DisableKeyRotation", json!({})).await;
            assert_eq!(key.status().await, json!({ "KeyRotationEnabled": false, "KeyId": key.id }));
            key.call("DisableKeyRotation", json!({})).await;
            pass_days(&service, 1).await;
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            assert_eq!(key.next().await, START + (11 + 90) * DAY_MILLIS);
            pass_days(&service, 100).await;
            let rotations = key.rotations().await;
            assert_eq!(rotations.len(), 2);
            assert_eq!(rotations[0]["RotationType"], "ON_DEMAND");
            assert_eq!(rotations[1]["RotationType"], "AUTOMATIC");
            // A period that is shortened below what has passed is over at once.
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 365 })).await;
            pass_days(&service, 100).await;
            assert_eq!(key.rotations().await.len(), 2);
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            housekeep(&service).await;
            assert_eq!(key.rotations().await.len(), 3);
            service.close().await;
        });
    });
}

#[test]
fn a_disabled_key_rotates_once_it_is_enabled_again_and_a_doomed_one_does_not() {
    in_own_process("schedule::a_disabled_key_rotates_once_it_is_enabled_again_and_a_doomed_one_does_not", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (disabled, doomed) = (Key::new(&service).await, Key::new(&service).await);
            for key in [&disabled, &doomed] {
                key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            }
            disabled.call("DisableKey", json!({})).await;
            pass_days(&service, 85).await;
            doomed.call("ScheduleKeyDeletion", json!({ "PendingWindowInDays": 30 })).await;
            assert_eq!(doomed.status().await, json!({ "KeyRotationEnabled": false, "KeyId": doomed.id }));
            pass_days(&service, 20).await;
            assert_eq!(disabled.status().await["KeyRotationEnabled"], true, "the status does not change");
            assert!(disabled.rotations().await.is_empty() && doomed.rotations().await.is_empty());

            disabled.call("EnableKey", json!({})).await;
            doomed.call("CancelKeyDeletion", json!({})).await;
            assert_eq!(doomed.status().await["KeyRotationEnabled"], true, "the status comes back");
            assert_eq!(doomed.next().await, START + 90 * DAY_MILLIS);
            housekeep(&service).await;
            assert_eq!(disabled.rotations().await.len(), 1, "overdue: at once, and only once");
            assert_eq!(disabled.next().await, START + (105 + 90) * DAY_MILLIS);
            assert!(doomed.rotations().await.is_empty(), "it is disabled still");
            pass_days(&service, 3).await;
            assert_eq!(disabled.rotations().await.len(), 1);
            service.close().await;
        });
    });
}

#[test]
fn no_key_rotates_by_a_clock_that_is_not_trusted() {
    in_own_process("schedule::no_key_rotates_by_a_clock_that_is_not_trusted", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            pass(&service, HOUR).await;
            service.clock.jump(100 * DAY_MILLIS);
            for _ in 0..23 {
                pass(&service, HOUR).await;
            }
            assert!(key.rotations().await.is_empty());
            pass_days(&service, 1).await;
            assert_eq!(key.rotations().await.len(), 1, "after a day of steady time");
            let (next, date) = (key.next().await, key.rotations().await[0]["RotationDate"].as_f64().unwrap());

            // Set back by two hundred days: what was recorded stays, and nothing rotates twice.
            service.clock.jump(-200 * DAY_MILLIS);
            pass_days(&service, 150).await;
            assert_eq!(key.rotations().await.len(), 1);
            assert_eq!(key.next().await, next);
            key.call("RotateKeyOnDemand", json!({})).await;
            let later = key.rotations().await[1]["RotationDate"].as_f64().unwrap();
            assert!(later >= date, "time does not run below what was recorded: {date} {later}");
            let id = key.id.clone();
            service.close().await;

            // A start long after the last record waits a day, unless an operator accepts the clock.
            let late = START + 500 * DAY_MILLIS;
            let service = InProcess::open(dir, MovedClock::at(late)).await;
            let key = Key::named(&service, &id);
            for _ in 0..23 {
                pass(&service, HOUR).await;
            }
            assert_eq!(key.rotations().await.len(), 2);
            service.close().await;
            let accepted = Accepted { clock: true, ..Accepted::default() };
            let service =
                InProcess::try_open(settings(dir), MovedClock::at(late + DAY_MILLIS), accepted).await.unwrap();
            let key = Key::named(&service, &id);
            housekeep(&service).await;
            assert_eq!(key.rotations().await.len(), 3);
            service.close().await;
        });
    });
}

/// Waits until so many keys have rotated.
async fn rotated(dir: &Path, count: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while events(dir, "RotateKey").len() < count {
        assert!(std::time::Instant::now() < deadline, "{count} rotations take too long");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[test]
fn more_keys_than_a_round_has_room_for_all_rotate() {
    in_own_process("schedule::more_keys_than_a_round_has_room_for_all_rotate", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let mut keys = Vec::new();
            for _ in 0..110 {
                let key = Key::new(&service).await;
                key.call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
                keys.push(key);
            }
            service.clock.pass(91 * 24 * HOUR);
            housekeep(&service).await;
            // The rounds wait for a while only, and then go on without it.
            rotated(dir, 100).await;
            assert_eq!(events(dir, "RotateKey").len(), 100, "so many a round");
            while events(dir, "RotateKey").len() < 110 {
                housekeep(&service).await;
            }
            for key in &keys {
                assert_eq!(key.rotations().await.len(), 1);
            }
            service.close().await;
        });
    });
}
