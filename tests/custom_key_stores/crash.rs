//! Killed at every step: what was acknowledged holds, and what is half made is undone when the token is there again.

use std::path::Path;

use hsm_kms::crash_point;
use serde_json::{Value, json};

use crate::in_process::{HOUR, InProcess, MovedClock, START};
use crate::process::{again, assert_passed, block_on, dir_of, role, softhsm_dir, soon};
use crate::{KeyStore, PASSWORD, decrypts, encrypt, events, flags, start};

/// Where it is killed, and the state that the next start finds.
const POINTS: &[(&str, &str)] = &[
    // By a password that was never proven: it may have been refused, and nobody knows.
    ("custom-key-store-wanted", "FAILED"),
    ("custom-key-store-tried", "FAILED"),
    ("custom-key-store-opened", "FAILED"),
    // It was connected once.
    ("creation-begun", "CONNECTED"),
    ("creation-on-token", "CONNECTED"),
    ("custom-key-store-unwanted", "DISCONNECTED"),
    ("custom-key-store-closed", "DISCONNECTED"),
    // While it is connected again by a password that is proven.
    ("custom-key-store-wanted:2", "CONNECTED"),
    ("custom-key-store-tried:3", "CONNECTED"),
    ("custom-key-store-opened:2", "CONNECTED"),
];

#[test]
fn a_custom_key_store_that_was_killed_is_what_was_said_of_it() {
    let test = "crash::a_custom_key_store_that_was_killed_is_what_was_said_of_it";
    if let Some(dir) = dir_of(test) {
        return block_on(play(&dir));
    }
    for (point, state) in POINTS {
        let dir = softhsm_dir();
        let killed = again(test, "play", dir.path()).env(crash_point::VARIABLE, point).output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{point}: {killed:?}");
        assert_passed(test, &again(test, state, dir.path()).output().unwrap());
        assert!(events(dir.path(), "ReconcileTokenObjects").is_empty(), "{point}: nothing is missing or left over");
        hsm_kms::audit::verify(&dir.path().join("data/audit")).unwrap();
    }
}

async fn play(dir: &Path) {
    if role() != "play" {
        return check(dir, &role()).await;
    }
    let service = start(dir, MovedClock::at(START)).await;
    let store = KeyStore::create(&service, PASSWORD).await;
    let mut made = json!({ "store": store.id });
    std::fs::write(dir.join("made"), made.to_string()).unwrap();
    store.connected().await;
    let key = store.create_key(json!({})).await;
    made["blob"] = encrypt(&service, &key).await;
    std::fs::write(dir.join("made"), made.to_string()).unwrap();
    store.disconnected().await;
    store.connected().await;
    panic!("the crash point was not reached");
}

async fn check(dir: &Path, state: &str) {
    let made: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("made")).unwrap()).unwrap();
    let service = InProcess::open(dir, MovedClock::at(START + 3_600_000)).await;
    let store = KeyStore::named(&service, made["store"].as_str().unwrap());
    service.app.housekeep().await;
    match state {
        "CONNECTED" => store.comes_back().await,
        "FAILED" => {
            assert_eq!(store.settled().await, ("FAILED".to_owned(), json!("INTERNAL_ERROR")));
            assert!(!flags().pin_count_low);
            store.disconnected().await;
            store.connected().await;
        }
        _ => {
            assert_eq!(store.settled().await.0, state);
            store.connected().await;
        }
    }
    assert_eq!(store.settled().await.0, "CONNECTED");
    if !made["blob"].is_null() {
        decrypts(&service, &made["blob"]).await;
    }
    for _ in 0..61 {
        service.clock.pass(HOUR / 60);
        service.app.housekeep().await;
    }
    assert!(service.app.kms().store.intents().is_empty());
    let id = store.id.parse().unwrap();
    let objects = service.app.kms().custom_token(&id).unwrap().objects(soon()).await.unwrap();
    assert_eq!(objects.ours.len(), service.app.kms().store.all_keys().len(), "{objects:?}");
    let key = store.create_key(json!({})).await;
    decrypts(&service, &encrypt(&service, &key).await).await;
    service.close().await;
}
