//! Rotations killed at every step: nothing half-made stays, nothing acknowledged is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use hsm_kms::model::{ObjectName, Purpose};
use hsm_kms::store::{Change, IntentKind, IntentRecord, KeyRecord};
use serde_json::{Value, json};

use crate::imported::{import, imported_key};
use crate::in_process::{HOUR, InProcess, MovedClock, START, settings};
use crate::process::{again, assert_passed, block_on, dir_of, in_own_process, role, softhsm_dir};
use crate::{DAY_MILLIS, Key, Sealed, events, housekeep, objects, pass};

#[test]
fn a_rotation_on_demand_that_was_killed_is_there_wholly_or_not_at_all() {
    let test = "crash::a_rotation_on_demand_that_was_killed_is_there_wholly_or_not_at_all";
    // The changes before are a root user, the tokens of two Regions and a key.
    killed_at_every_step(test, 5);
}

#[test]
fn a_rotation_by_the_clock_that_was_killed_is_there_wholly_or_not_at_all() {
    let test = "crash::a_rotation_by_the_clock_that_was_killed_is_there_wholly_or_not_at_all";
    // The changes before are a root user, the tokens of two Regions, a key and its schedule.
    killed_at_every_step(test, 6);
}

/// What makes no object and destroys none leaves a rotation alone that is under way; one that never ends is undone.
#[test]
fn a_rotation_under_way_is_left_alone_and_an_abandoned_one_undone() {
    in_own_process("crash::a_rotation_under_way_is_left_alone_and_an_abandoned_one_undone", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = Key::new(&service).await;
            let kms = service.app.kms();
            let key_id = key.id.parse().unwrap();
            let name = ObjectName { purpose: Purpose::Kms, key_id, material: 2 };
            let intent = IntentRecord {
                kind: IntentKind::RotateOnDemand,
                name,
                key_id: None,
                region: "us-east-1".parse().unwrap(),
                custom_key_store: None,
                account: "111122223333".parse().unwrap(),
                owner: kms.instance.clone(),
                started: kms.now(),
            };
            let row = kms.store.key(&intent.region, &key_id).unwrap();
            let record = KeyRecord { next_material: 3, ..row.record.clone() };
            kms.commit(Change::new(kms.now()).update(&row, record).insert(intent)).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            kms.tokens()[0].generate(&name, deadline).await.unwrap();

            pass(&service, Duration::from_secs(120)).await;
            assert_eq!(objects(&service, &key.id).await.len(), 2, "it is under way");
            assert_eq!(key.status().await["OnDemandRotationStartDate"], START as f64 / 1_000.0);
            let (error, message) = key.refused("RotateKeyOnDemand", json!({})).await;
            assert_eq!(error, "ConflictException");
            assert!(message.contains("an on-demand rotation of this key is currently in progress"), "{message}");
            assert!(events(dir, "UndoRotateKey").is_empty());

            service.clock.pass(Duration::from_secs(61));
            for _ in 0..7 {
                housekeep(&service).await;
            }
            assert_eq!(objects(&service, &key.id).await.len(), 1);
            assert_eq!(events(dir, "UndoRotateKey").len(), 1);
            assert!(key.status().await["OnDemandRotationStartDate"].is_null());
            key.call("RotateKeyOnDemand", json!({})).await;
            assert!(objects(&service, &key.id).await[1].ends_with("/3"), "its number is never used again");
            service.close().await;
        });
    });
}

fn killed_at_every_step(test: &str, change: u32) {
    if let Some(dir) = dir_of(test) {
        return block_on(play(&dir));
    }
    let points = [
        ("rotation-begun".to_owned(), false),
        ("rotation-on-token".to_owned(), false),
        (format!("change-committed:{change}"), true),
        (format!("change-recorded:{change}"), true),
    ];
    let kind = if change == 5 { "on-demand" } else { "by-the-clock" };
    for (point, rotated) in points {
        let dir = softhsm_dir();
        let killed = again(test, kind, dir.path()).env(hsm_kms::crash_point::VARIABLE, &point).output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{point}: {killed:?}");
        let expected = if rotated { "rotated" } else { "undone" };
        assert_passed(test, &again(test, expected, dir.path()).output().unwrap());
        let undone = usize::from(!rotated);
        assert_eq!(events(dir.path(), "UndoRotateKey").len(), undone, "{point}");
        assert!(events(dir.path(), "UndoCreateKey").is_empty(), "{point}");
        assert!(events(dir.path(), "ReconcileTokenObjects").is_empty(), "{point}: nothing is missing or left over");
        let told = if kind == "on-demand" { "RotateKeyOnDemand" } else { "RotateKey" };
        let expected = if kind == "on-demand" { 1 + usize::from(rotated) } else { usize::from(rotated) + undone };
        assert_eq!(events(dir.path(), told).len(), expected, "{point}: each once");
        hsm_kms::audit::verify(&dir.path().join("data/audit")).unwrap();
    }
}

async fn play(dir: &Path) {
    match role().as_str() {
        "on-demand" => {
            let (service, key) = begin(dir).await;
            Key::named(&service, &key).call("RotateKeyOnDemand", json!({})).await;
            panic!("the crash point was not reached");
        }
        "by-the-clock" => {
            let (service, key) = begin(dir).await;
            Key::named(&service, &key).call("EnableKeyRotation", json!({ "RotationPeriodInDays": 90 })).await;
            pass(&service, 91 * 24 * HOUR).await;
            panic!("the crash point was not reached");
        }
        expected => finish(dir, expected == "rotated").await,
    }
}

async fn begin(dir: &Path) -> (InProcess, String) {
    let service = InProcess::start(dir, MovedClock::at(START)).await;
    let id = service.new_key().await;
    let key = Key::named(&service, &id);
    let sealed = key.encrypt().await;
    keep(dir, "kept", &id, &sealed);
    (service, id)
}

fn keep(dir: &Path, file: &str, id: &str, sealed: &Sealed) {
    let kept = json!({ "key": id, "plaintext": sealed.plaintext, "blob": sealed.blob, "material": sealed.material });
    std::fs::write(dir.join(file), kept.to_string()).unwrap();
}

/// The key and what it sealed first.
fn kept(dir: &Path) -> (String, Sealed) {
    kept_by(dir, "kept")
}

fn kept_by(dir: &Path, file: &str) -> (String, Sealed) {
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(dir.join(file)).unwrap()).unwrap();
    let text = |name: &str| kept[name].as_str().unwrap().to_owned();
    (text("key"), Sealed { plaintext: text("plaintext"), blob: text("blob"), material: text("material") })
}

async fn finish(dir: &Path, rotated: bool) {
    let (id, sealed) = kept(dir);
    let service = InProcess::open(dir, MovedClock::at(START + 91 * DAY_MILLIS + 60_000)).await;
    let key = Key::named(&service, &id);
    assert!(service.app.kms().store.intents().is_empty(), "undone at the start");
    assert_eq!(key.rotations().await.len(), usize::from(rotated));
    assert_eq!(objects(&service, &key.id).await.len(), 1 + usize::from(rotated));
    assert!(key.status().await["OnDemandRotationStartDate"].is_null());
    key.opens(&sealed).await;
    let after = key.encrypt().await;
    assert_eq!(after.material != sealed.material, rotated);

    // The next one has a number that was never used.
    if key.status().await["KeyRotationEnabled"] == false {
        key.call("RotateKeyOnDemand", json!({})).await;
    } else {
        pass(&service, HOUR).await;
    }
    let on_demand = !events(dir, "RotateKeyOnDemand").is_empty();
    let rotations = if rotated && !on_demand { 1 } else { 1 + usize::from(rotated) };
    assert_eq!(key.rotations().await.len(), rotations);
    let last = objects(&service, &key.id).await.pop().unwrap();
    let expected = if rotated && !on_demand { 2 } else { 3 };
    assert!(last.ends_with(&format!("/{expected}")), "{last}");
    for sealed in [&sealed, &after, &key.encrypt().await] {
        key.opens(sealed).await;
    }
    service.close().await;
}

/// Whatever undoes creations, as the service does when the time of day has jumped, no key names an object that is gone.
#[test]
fn what_is_undone_while_it_is_made_is_no_key_and_no_material() {
    in_own_process("crash::what_is_undone_while_it_is_made_is_no_key_and_no_material", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let kept = Key::new(&service).await;
            let (mut made, mut undone) = (0, 0);
            for round in 0..20_u64 {
                let rotates = round % 2 == 0;
                let request = async {
                    match rotates {
                        true => service.try_call("RotateKeyOnDemand", &json!({ "KeyId": kept.id })).await,
                        false => service.try_call("CreateKey", &json!({})).await,
                    }
                };
                let undo = async {
                    let kms = service.app.kms();
                    while kms.store.intents().is_empty() {
                        tokio::task::yield_now().await;
                    }
                    tokio::time::sleep(Duration::from_millis(round * round)).await;
                    kms.undo_creations(&kms.key_stores()[0], kms.now().plus(HOUR)).await
                };
                let ((status, answer), count) = tokio::join!(request, undo);
                assert!(status == 200 || (status == 500 && count == 1), "{status} {answer}, {count} undone");
                (made, undone) = (made + usize::from(status == 200), undone + usize::from(status != 200));
                if let (200, Some(id)) = (status, answer["KeyMetadata"]["KeyId"].as_str()) {
                    Key::named(&service, id).encrypt().await;
                }
                kept.opens(&kept.encrypt().await).await;
            }
            assert!(made > 0 && undone > 0, "{made} made, {undone} undone");
            let root = ObjectName { purpose: Purpose::StoreRoot, key_id: kept.id.parse().unwrap(), material: 0 };
            let missing = service.app.kms().reconcile(&root).await.missing;
            assert_eq!(missing, [root.cka_label()], "all but the one that was made up");
            service.close().await;
        });
    });
}

/// An object that no record names, under the next number of a key, may be somebody's only copy. Whatever becomes of the
/// rotation that comes upon it, and however often it is killed, the object stays.
#[test]
fn an_object_that_a_rotation_did_not_make_is_left_alone() {
    let test = "crash::an_object_that_a_rotation_did_not_make_is_left_alone";
    if let Some(dir) = dir_of(test) {
        return block_on(async {
            let service = match role().as_str() {
                "planted" => {
                    let (service, key) = begin(&dir).await;
                    let name = ObjectName { purpose: Purpose::Kms, key_id: key.parse().unwrap(), material: 2 };
                    let deadline = Instant::now() + Duration::from_secs(10);
                    service.app.kms().tokens()[0].generate(&name, deadline).await.unwrap();
                    Key::named(&service, &key).call("RotateKeyOnDemand", json!({})).await;
                    panic!("the crash point was not reached");
                }
                _ => InProcess::open(&dir, MovedClock::at(START)).await,
            };
            let (key, sealed) = kept(&dir);
            let key = Key::named(&service, &key);
            pass(&service, HOUR).await;
            for _ in 0..7 {
                housekeep(&service).await;
            }
            key.opens(&sealed).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            key.opens(&key.encrypt().await).await;
            let found = objects(&service, &key.id).await;
            // The third one was the rotation's that was killed.
            assert_eq!(found.iter().map(|label| &label[label.len() - 2..]).collect::<Vec<_>>(), ["/1", "/2", "/4"]);
            service.close().await;
        });
    }
    let dir = softhsm_dir();
    let mut planted = again(test, "planted", dir.path());
    let killed = planted.env(hsm_kms::crash_point::VARIABLE, "rotation-begun").output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{killed:?}");
    assert_passed(test, &again(test, "", dir.path()).output().unwrap());
    assert_eq!(events(dir.path(), "UndoRotateKey").len(), 1);
}

/// So does one that an import comes upon, and one on the token of a replica, whatever it is and whatever it is called.
#[test]
fn a_number_is_free_on_every_token_of_the_key_or_not_given_out() {
    in_own_process("crash::a_number_is_free_on_every_token_of_the_key_or_not_given_out", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let token = &service.app.kms().tokens()[0];
            let plant = async |key_id, material| {
                let name = ObjectName { purpose: Purpose::Kms, key_id, material };
                token.generate(&name, Instant::now() + Duration::from_secs(10)).await.unwrap();
            };
            let imported = imported_key(&service).await;
            plant(imported.id.parse().unwrap(), 1).await;
            import(&imported, 1, json!({})).await;
            imported.opens(&imported.encrypt().await).await;
            let ends = |labels: Vec<String>| labels.iter().map(|it| it[it.len() - 2..].to_owned()).collect::<String>();
            assert_eq!(ends(objects(&service, &imported.id).await), "/2/1", "imported, and planted");

            let made = service.call("CreateKey", json!({ "MultiRegion": true })).await;
            let key = Key::named(&service, made["KeyMetadata"]["KeyId"].as_str().unwrap());
            service.call("ReplicateKey", json!({ "KeyId": key.id, "ReplicaRegion": "us-west-2" })).await;
            let key_id = key.id.parse().unwrap();
            let replica = service.app.kms().store.key(&"us-west-2".parse().unwrap(), &key_id).unwrap();
            let replica = replica.record.object_id.unwrap();
            plant(key_id, 2).await;
            plant(replica, 3).await;
            key.call("RotateKeyOnDemand", json!({})).await;
            key.opens(&key.encrypt().await).await;
            assert_eq!(ends(objects(&service, &key.id).await), "/2/1/4");
            assert_eq!(ends(objects(&service, &replica.to_string()).await), "/3/1/4");
            assert!(service.app.kms().store.intents().is_empty());
            service.close().await;
        });
    });
}

/// An older store, put back, begins where it was: what its newer history made and used meanwhile is on the token, and is
/// there when that is put back. Neither a rotation that is killed nor one that was under way in a backup costs it.
#[test]
fn what_a_newer_history_made_outlives_an_older_store() {
    let test = "crash::what_a_newer_history_made_outlives_an_older_store";
    if let Some(dir) = dir_of(test) {
        return block_on(async {
            match role().as_str() {
                "histories" => histories(&dir).await,
                "killed" => {
                    let service = put_back(&dir, "under-way").await;
                    Key::named(&service, &kept(&dir).0).call("RotateKeyOnDemand", json!({})).await;
                    panic!("the crash point was not reached");
                }
                _ => after_the_kill(&dir).await,
            }
        });
    }
    let dir = softhsm_dir();
    assert_passed(test, &again(test, "histories", dir.path()).output().unwrap());
    let mut killed = again(test, "killed", dir.path());
    let killed = killed.env(hsm_kms::crash_point::VARIABLE, "rotation-begun").output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{killed:?}");
    assert_passed(test, &again(test, "", dir.path()).output().unwrap());
    let given_up = events(dir.path(), "AcceptRollback").pop().unwrap();
    assert_eq!(given_up["additionalEventData"]["creationsGivenUp"], json!([]));
    hsm_kms::audit::verify(&dir.path().join("data/audit")).unwrap();
}

/// Three states of one store: before a rotation, amid it as a backup may be, and after it.
async fn histories(dir: &Path) {
    let (service, id) = begin(dir).await;
    service.close().await;
    take(dir, "before");
    let service = InProcess::open(dir, MovedClock::at(START)).await;
    let key = Key::named(&service, &id);
    key.call("RotateKeyOnDemand", json!({})).await;
    let sealed = key.encrypt().await;
    keep(dir, "kept-by-newer", &id, &sealed);
    service.close().await;
    take(dir, "newer");

    let service = put_back(dir, "before").await;
    let kms = service.app.kms();
    let name = ObjectName { purpose: Purpose::Kms, key_id: id.parse().unwrap(), material: 2 };
    let under_way = IntentRecord {
        kind: IntentKind::RotateOnDemand,
        name,
        key_id: None,
        region: "us-east-1".parse().unwrap(),
        custom_key_store: None,
        account: "111122223333".parse().unwrap(),
        owner: "the run that was backed up".to_owned(),
        started: kms.now(),
    };
    kms.commit(Change::new(kms.now()).insert(under_way)).await.unwrap();
    service.close().await;
    take(dir, "under-way");
    let service = put_back(dir, "newer").await;
    Key::named(&service, &id).opens(&kept_by(dir, "kept-by-newer").1).await;
    service.close().await;
}

async fn after_the_kill(dir: &Path) {
    let (id, before) = kept(dir);
    let service = InProcess::open(dir, MovedClock::at(START)).await;
    assert!(service.app.kms().store.intents().is_empty());
    let undone = events(dir, "UndoRotateKey");
    assert_eq!(undone.len(), 1, "the one that was killed");
    let accepted = events(dir, "AcceptRollback").pop().unwrap()["additionalEventData"].clone();
    assert_eq!(accepted["creationsGivenUp"], json!([format!("hsm-kms/kms/{id}/2")]));
    let undone = undone[0]["additionalEventData"]["object"].as_str().unwrap();
    let number: u64 = undone.rsplit('/').next().unwrap().parse().unwrap();
    assert!(number > accepted["logEpoch"].as_u64().unwrap(), "whatever is on the token: {undone} {accepted}");
    let key = Key::named(&service, &id);
    key.opens(&before).await;
    key.call("RotateKeyOnDemand", json!({})).await;
    key.opens(&key.encrypt().await).await;
    let found = objects(&service, &id).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.contains(&format!("hsm-kms/kms/{id}/2")), "{found:?}");
    service.close().await;

    let service = put_back(dir, "newer").await;
    let key = Key::named(&service, &id);
    for sealed in [&before, &kept_by(dir, "kept-by-newer").1] {
        key.opens(sealed).await;
    }
    key.call("RotateKeyOnDemand", json!({})).await;
    key.opens(&key.encrypt().await).await;
    assert_eq!(objects(&service, &id).await.len(), 4, "nothing was made twice");
    service.close().await;
}

/// Keeps the store as it is, of a service that has ended.
fn take(dir: &Path, name: &str) {
    std::fs::copy(dir.join("data/store.db"), dir.join(name)).unwrap();
}

/// The service with a store of before, as an operator accepts it.
async fn put_back(dir: &Path, name: &str) -> InProcess {
    for log in ["data/store.db-wal", "data/store.db-shm"] {
        assert!(!dir.join(log).exists(), "the store was closed");
    }
    std::fs::copy(dir.join(name), dir.join("data/store.db")).unwrap();
    let accepted = Accepted { rollback: true, ..Accepted::default() };
    InProcess::try_open(settings(dir), MovedClock::at(START), accepted).await.unwrap()
}
