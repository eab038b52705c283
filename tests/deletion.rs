//! Keys whose deletion date has come: destroyed on trusted time only, with evidence, and never by a clock that was set.

#[path = "support/in_process.rs"]
mod in_process;
#[path = "token/process.rs"]
#[allow(dead_code)]
mod process;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use in_process::{HOUR, InProcess, MovedClock, START, settings};
use process::{again, assert_passed, block_on, dir_of, in_own_process, role, softhsm_dir};
use serde_json::{Value, json};

#[test]
fn a_key_whose_date_has_come_is_destroyed_with_evidence_and_no_other_is() {
    in_own_process("a_key_whose_date_has_come_is_destroyed_with_evidence_and_no_other_is", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let keys = [service.new_key().await, service.new_key().await, service.new_key().await];
            let [doomed, kept, later] = &keys;
            for name in ["alias/one", "alias/two"] {
                service.call("CreateAlias", json!({ "AliasName": name, "TargetKeyId": doomed })).await;
            }
            service.call("CreateAlias", json!({ "AliasName": "alias/kept", "TargetKeyId": kept })).await;
            let sealed = [encrypt(&service, doomed).await, encrypt(&service, kept).await];
            schedule(&service, doomed, 7).await;
            schedule(&service, later, 9).await;

            pass_hours(&service, 7 * 24 - 1).await;
            assert_eq!(state(&service, doomed).await, "PendingDeletion");
            assert_eq!(labels(&service).await.len(), 4, "three keys and the store's root");
            pass_hours(&service, 25).await;

            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": doomed })).await, "NotFoundException");
            assert!(!labels(&service).await.iter().any(|label| label.contains(doomed)), "the object is gone");
            let aliases = service.call("ListAliases", json!({})).await["Aliases"].to_string();
            assert!(!aliases.contains(doomed) && !aliases.contains("alias/one") && aliases.contains("alias/kept"));
            let refused = service.refused("Encrypt", json!({ "KeyId": "alias/two", "Plaintext": "eHk=" })).await;
            assert_eq!(refused, "NotFoundException");
            assert_eq!(
                service.refused("Decrypt", json!({ "CiphertextBlob": sealed[0] })).await,
                "AccessDeniedException",
                "as for any key that is not there"
            );
            assert_eq!(decrypt(&service, &sealed[1]).await, "c2VjcmV0");
            assert_eq!(state(&service, kept).await, "Enabled");
            assert_eq!(state(&service, later).await, "PendingDeletion");

            let label = format!("hsm-kms/kms/{doomed}/1");
            let told = deletions(dir, doomed);
            assert_eq!(told.len(), 2, "{told:?}");
            assert_eq!(told[0], json!({ "phase": "begun", "objects": [label] }));
            assert_eq!(told[1], json!({ "phase": "done", "destroyed": [label], "objectsFoundAfterwards": 0 }));
            assert!(deletions(dir, kept).is_empty() && deletions(dir, later).is_empty());
            service.close().await;
            hsm_kms::audit::verify(&dir.join("data/audit")).unwrap();
        });
    });
}

/// On a token that has only the name of the right one, a key is not found: that is no evidence of its destruction.
#[test]
fn another_token_under_the_same_label_is_no_evidence_of_a_destruction() {
    in_own_process("another_token_under_the_same_label_is_no_evidence_of_a_destruction", |dir| {
        let (ours, _) = (make_further(dir), process::make_token(process::LABEL));
        block_on(async {
            let clock = MovedClock::at(START);
            let open = || InProcess::try_open(with_further(dir), clock.clone(), Accepted::default());
            let service = open().await.unwrap();
            let key = service.new_key().await;
            schedule(&service, &key, 7).await;
            service.close().await;
            std::fs::rename(&ours, dir.join("aside")).unwrap();
            let stranger = make_further(dir);

            let service = open().await.unwrap();
            pass_hours(&service, 7 * 24 + 2).await;
            assert_eq!(state(&service, &key).await, "PendingDeletion");
            let told = deletions(dir, &key);
            assert!(told.iter().all(|told| told["phase"] == "begun"), "{told:?}");
            service.close().await;
            std::fs::remove_dir_all(stranger).unwrap();
            std::fs::rename(dir.join("aside"), ours).unwrap();

            let service = open().await.unwrap();
            pass_hours(&service, 2).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": key })).await, "NotFoundException");
            let label = format!("hsm-kms/kms/{key}/1");
            let told = deletions(dir, &key).pop().unwrap();
            assert_eq!(told, json!({ "phase": "done", "destroyed": [label], "objectsFoundAfterwards": 0 }));
            service.close().await;
        });
    });
}

/// A new token for the further one of the settings; its folder.
fn make_further(dir: &Path) -> std::path::PathBuf {
    let folders =
        || std::fs::read_dir(dir.join("tokens")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let before = folders();
    process::make_token("further");
    folders().into_iter().find(|folder| !before.contains(folder)).unwrap()
}

/// Settings by which the keys are on a further token.
fn with_further(dir: &Path) -> hsm_kms::settings::Settings {
    let mut settings = settings(dir);
    let (label, regions) = (Some("further".to_owned()), vec!["us-east-1".parse().unwrap()]);
    let further = hsm_kms::settings::TokenSettings { label, regions, ..settings.token.clone() };
    settings.tokens.insert("further".to_owned(), further);
    settings
}

#[test]
fn a_clock_set_forward_destroys_nothing_for_a_day() {
    in_own_process("a_clock_set_forward_destroys_nothing_for_a_day", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = service.new_key().await;
            schedule(&service, &key, 7).await;
            pass_hours(&service, 1).await;
            service.clock.jump(40 * DAY_MILLIS);
            pass_hours(&service, 23).await;
            assert_eq!(state(&service, &key).await, "PendingDeletion");
            assert_eq!(events(dir, "ClockJumped").len(), 1);
            assert!(deletions(dir, &key).is_empty());
            pass_hours(&service, 2).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": key })).await, "NotFoundException");
            assert_eq!(deletions(dir, &key).len(), 2);
            service.close().await;
        });
    });
}

#[test]
fn a_clock_set_back_neither_shortens_a_window_nor_revives_a_key() {
    in_own_process("a_clock_set_back_neither_shortens_a_window_nor_revives_a_key", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (early, dead) = (service.new_key().await, service.new_key().await);
            schedule(&service, &dead, 7).await;
            pass_hours(&service, 7 * 24 + 1).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": dead })).await, "NotFoundException");
            let recorded = service.app.kms().store.highest_time().as_millis();
            assert!(recorded >= START + 7 * DAY_MILLIS);

            service.clock.jump(-30 * DAY_MILLIS);
            let date = schedule(&service, &early, 7).await;
            assert!(date >= recorded + 7 * DAY_MILLIS, "the window counts from the highest time recorded");
            pass_hours(&service, 8 * 24).await;
            assert_eq!(events(dir, "ClockJumped").len(), 1);
            assert_eq!(state(&service, &early).await, "PendingDeletion");
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": dead })).await, "NotFoundException");
            assert_eq!(service.refused("CancelKeyDeletion", json!({ "KeyId": dead })).await, "NotFoundException");
            service.call("CancelKeyDeletion", json!({ "KeyId": early })).await;
            service.close().await;
        });
    });
}

#[test]
fn a_deletion_that_was_cancelled_never_happens() {
    in_own_process("a_deletion_that_was_cancelled_never_happens", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = service.new_key().await;
            let sealed = encrypt(&service, &key).await;
            schedule(&service, &key, 7).await;
            pass_hours(&service, 7 * 24 - 1).await;
            service.call("CancelKeyDeletion", json!({ "KeyId": key })).await;
            pass_hours(&service, 10 * 24).await;
            assert_eq!(state(&service, &key).await, "Disabled");
            service.call("EnableKey", json!({ "KeyId": key })).await;
            assert_eq!(decrypt(&service, &sealed).await, "c2VjcmV0");
            assert!(deletions(dir, &key).is_empty());
            service.close().await;
        });
    });
}

#[test]
fn a_start_long_after_the_last_record_waits_a_day_unless_the_clock_is_accepted() {
    in_own_process("a_start_long_after_the_last_record_waits_a_day_unless_the_clock_is_accepted", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (first, second) = (service.new_key().await, service.new_key().await);
            schedule(&service, &first, 7).await;
            schedule(&service, &second, 30).await;
            service.close().await;

            let service = InProcess::open(dir, MovedClock::at(START + 8 * DAY_MILLIS)).await;
            pass_hours(&service, 23).await;
            assert_eq!(state(&service, &first).await, "PendingDeletion", "23 hours are not enough");
            pass_hours(&service, 2).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": first })).await, "NotFoundException");
            service.close().await;

            let accepted = Accepted { clock: true, ..Accepted::default() };
            let late = MovedClock::at(START + 40 * DAY_MILLIS);
            let service = InProcess::try_open(settings(dir), late, accepted).await.unwrap();
            assert_eq!(state(&service, &second).await, "PendingDeletion");
            service.app.housekeep().await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": second })).await, "NotFoundException");
            assert_eq!(events(dir, "AcceptClock").len(), 1);
            service.close().await;
        });
    });
}

/// Killed at every step of a destruction; the next start ends it, even if it does not trust the time of day: there
/// is no way back from a destruction that was begun.
#[test]
fn a_destruction_that_was_killed_is_finished_by_the_next_start() {
    let test = "a_destruction_that_was_killed_is_finished_by_the_next_start";
    if let Some(dir) = dir_of(test) {
        return block_on(play_killed_destruction(&dir));
    }
    // The changes before are a root user, the tokens of two Regions, two keys, an alias and a schedule; and how
    // many of the two records are there then.
    for (point, recorded) in [
        ("change-committed:8", 0),
        ("change-recorded:8", 1),
        ("destruction-begun", 1),
        ("object-destroyed", 1),
        ("change-committed:9", 1),
        ("change-recorded:9", 2),
    ] {
        let dir = softhsm_dir();
        let killed = again(test, "destroy", dir.path()).env(hsm_kms::crash_point::VARIABLE, point).output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{point}: {killed:?}");
        let key = std::fs::read_to_string(dir.path().join("key")).unwrap();
        assert_eq!(deletions(dir.path(), &key).len(), recorded, "{point}");
        assert_passed(test, &again(test, "finish", dir.path()).output().unwrap());
        let told = deletions(dir.path(), &key);
        let phases: Vec<_> = told.iter().map(|details| details["phase"].as_str().unwrap()).collect();
        assert_eq!(phases, ["begun", "done"], "{point}: each once");
        hsm_kms::audit::verify(&dir.path().join("data/audit")).unwrap();
    }
}

async fn play_killed_destruction(dir: &Path) {
    match role().as_str() {
        "destroy" => {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (key, other) = (service.new_key().await, service.new_key().await);
            std::fs::write(dir.join("key"), &key).unwrap();
            std::fs::write(dir.join("other"), &other).unwrap();
            std::fs::write(dir.join("sealed"), encrypt(&service, &other).await).unwrap();
            service.call("CreateAlias", json!({ "AliasName": "alias/one", "TargetKeyId": key })).await;
            schedule(&service, &key, 7).await;
            pass_hours(&service, 8 * 24).await;
            panic!("the crash point was not reached");
        }
        "finish" => {
            // A month later, without --accept-clock: nothing new may be destroyed.
            let service = InProcess::open(dir, MovedClock::at(START + 30 * DAY_MILLIS)).await;
            let key = std::fs::read_to_string(dir.join("key")).unwrap();
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": key })).await, "NotFoundException");
            assert!(!labels(&service).await.iter().any(|label| label.contains(&key)));
            assert_eq!(service.call("ListAliases", json!({})).await["Aliases"], json!([]));
            let sealed = std::fs::read_to_string(dir.join("sealed")).unwrap();
            assert_eq!(decrypt(&service, &sealed).await, "c2VjcmV0");
            assert!(events(dir, "ReconcileTokenObjects").is_empty(), "nothing is missing, nothing is left over");
            service.close().await;
        }
        role => panic!("{role}"),
    }
}

/// A key whose object cannot be destroyed, since it is not the one that was made, does not keep others alive.
#[test]
fn one_key_that_cannot_be_destroyed_holds_up_no_other() {
    in_own_process("one_key_that_cannot_be_destroyed_holds_up_no_other", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let mut keys = [service.new_key().await, service.new_key().await, service.new_key().await];
            keys.sort();
            relabel(&keys[0]);
            for key in &keys {
                schedule(&service, key, 7).await;
            }
            pass_hours(&service, 7 * 24 + 1).await;
            assert_eq!(state(&service, &keys[0]).await, "PendingDeletion", "its destruction is tried again");
            for key in &keys[1..] {
                assert_eq!(service.refused("DescribeKey", json!({ "KeyId": key })).await, "NotFoundException");
            }
            let refused = service.refused("CancelKeyDeletion", json!({ "KeyId": keys[0] })).await;
            assert_eq!(refused, "KMSInvalidStateException", "there is no way back");
            service.close().await;
        });
    });
}

/// Gives the object of this key another label, behind the service's back.
fn relabel(key: &str) {
    use cryptoki::object::Attribute;
    let (context, slot) = process::other_context();
    let session = context.open_rw_session(slot).unwrap();
    let label = Attribute::Label(format!("hsm-kms/kms/{key}/1").into_bytes());
    let objects = session.find_objects(&[Attribute::Token(true), label]).unwrap();
    session.update_attributes(objects[0], &[Attribute::Label(b"somebody's".to_vec())]).unwrap();
}

/// Time passes by the hour, with as many rounds of housekeeping in each that all of its work is done.
async fn pass_hours(service: &InProcess, hours: u32) {
    for _ in 0..hours {
        service.clock.pass(HOUR);
        for _ in 0..10 {
            service.app.housekeep().await;
        }
    }
}

/// Schedules a deletion, and gives its date in milliseconds.
async fn schedule(service: &InProcess, key: &str, days: u32) -> i64 {
    let told = service.call("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": days })).await;
    (told["DeletionDate"].as_f64().unwrap() * 1_000.0).round() as i64
}

async fn state(service: &InProcess, key: &str) -> String {
    let told = service.call("DescribeKey", json!({ "KeyId": key })).await;
    told["KeyMetadata"]["KeyState"].as_str().unwrap().to_owned()
}

async fn encrypt(service: &InProcess, key: &str) -> String {
    let sealed = service.call("Encrypt", json!({ "KeyId": key, "Plaintext": "c2VjcmV0" })).await;
    sealed["CiphertextBlob"].as_str().unwrap().to_owned()
}

async fn decrypt(service: &InProcess, sealed: &str) -> String {
    let opened = service.call("Decrypt", json!({ "CiphertextBlob": sealed })).await;
    opened["Plaintext"].as_str().unwrap().to_owned()
}

/// The labels of our objects on the token.
async fn labels(service: &InProcess) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let tokens = service.app.kms().tokens();
    let objects = tokens[0].objects(deadline).await.unwrap();
    objects.ours.into_iter().map(|object| object.label).collect()
}

fn events(dir: &Path, name: &str) -> Vec<Value> {
    let lines = support::audit_lines(&dir.join("data"));
    lines.into_iter().map(|line| line["event"].clone()).filter(|event| event["eventName"] == name).collect()
}

/// What the log says of the destruction of a key.
fn deletions(dir: &Path, key: &str) -> Vec<Value> {
    let about = |event: &Value| event["resources"].to_string().contains(key);
    events(dir, "DeleteKey").into_iter().filter(about).map(|event| event["additionalEventData"].clone()).collect()
}

const DAY_MILLIS: i64 = 86_400_000;
