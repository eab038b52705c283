//! A password that the token refuses is tried once, by this process and by the next.

use hsm_kms::crash_point;
use serde_json::json;

use crate::in_process::{InProcess, MovedClock, START};
use crate::process::{again, assert_passed, block_on, dir_of, in_own_process, role, softhsm_dir};
use crate::shim::{Shim, module};
use crate::{KeyStore, PASSWORD, events, flags, log_in_elsewhere, start};

const REFUSED: (&str, &str) = ("FAILED", "INVALID_CREDENTIALS");

#[test]
fn a_wrong_password_is_tried_once_and_never_again() {
    let test = "passwords::a_wrong_password_is_tried_once_and_never_again";
    let Some(dir) = dir_of(test) else {
        let dir = softhsm_dir();
        for role in ["first", "second"] {
            assert_passed(test, &again(test, role, dir.path()).output().unwrap());
        }
        return;
    };
    block_on(async {
        if role() == "first" {
            let service = start(&dir, MovedClock::at(START)).await;
            let store = KeyStore::create(&service, "not the password").await;
            std::fs::write(dir.join("store"), &store.id).unwrap();
            assert!(!flags().pin_count_low);
            let (state, code) = store.connect().await;
            assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED);
            assert!(flags().pin_count_low, "it was tried");
            log_in_elsewhere();
            assert!(!flags().pin_count_low);
            // As often as anybody asks, and as often as the service looks after it: it is not tried.
            for _ in 0..3 {
                store.disconnected().await;
                let (state, code) = store.connect().await;
                assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED);
                service.app.housekeep().await;
            }
            assert!(!flags().pin_count_low, "it was not tried again");
            assert_eq!(events(&dir, "CustomKeyStoreConnection").len(), 4, "each ends in a record");
            service.close().await;
            return;
        }
        let service = InProcess::open(&dir, MovedClock::at(START)).await;
        let store = KeyStore::named(&service, &std::fs::read_to_string(dir.join("store")).unwrap());
        service.app.housekeep().await;
        let (state, code) = store.settled().await;
        assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED, "it is on record");
        store.disconnected().await;
        store.update(json!({ "KeyStorePassword": "not the password", "NewCustomKeyStoreName": "again" })).await;
        let (state, code) = store.connect().await;
        assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED, "the same once more is no other");
        assert!(!flags().pin_count_low, "the next process has not tried it");
        store.disconnected().await;
        store.update(json!({ "KeyStorePassword": PASSWORD })).await;
        store.connected().await;
        store.create_key(json!({})).await;
        // One that was right once, and is another one now, is as wrong.
        store.disconnected().await;
        store.update(json!({ "KeyStorePassword": "another password" })).await;
        let (state, code) = store.connect().await;
        assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED, "the login of before is gone");
        let told = events(&dir, "UpdateCustomKeyStore").into_iter();
        let told: Vec<_> =
            told.map(|mut event| event["additionalEventData"]["keyStorePasswordChanged"].take()).collect();
        assert_eq!(told, [false, true, true], "on record, and nothing of the passwords themselves");
        service.close().await;
    });
}

/// The process is killed when the token has refused the password and nobody has written that down. Nor is a password tried
/// once more when it is set again after another one.
#[test]
fn a_password_that_was_refused_is_known_after_a_crash_and_after_another_one() {
    let test = "passwords::a_password_that_was_refused_is_known_after_a_crash_and_after_another_one";
    let Some(dir) = dir_of(test) else {
        let dir = softhsm_dir();
        let killed = again(test, "killed", dir.path()).env(crash_point::VARIABLE, "custom-key-store-opened").output();
        assert_eq!(killed.unwrap().status.code(), None, "it was killed");
        for role in ["second", "third"] {
            assert_passed(test, &again(test, role, dir.path()).output().unwrap());
        }
        return;
    };
    let mut settings = crate::in_process::settings(&dir);
    settings.token.module = module();
    settings.clusters.values_mut().for_each(|cluster| cluster.module = module());
    let tries = || Shim::in_dir(&dir).calls_of(crate::in_process::CLUSTER_LABEL, "C_Login");
    let wrong = |password: &str| json!({ "KeyStorePassword": password });
    block_on(async {
        if role() == "killed" {
            crate::make_cluster(&dir);
            crate::process::make_token(crate::process::LABEL);
        }
        let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
        let known = std::fs::read_to_string(dir.join("store")).unwrap_or_default();
        let store = match role().as_str() {
            "killed" => KeyStore::create(&service, "not the password").await,
            _ => KeyStore::named(&service, &known),
        };
        let is_refused = async || {
            let (state, code) = store.connect().await;
            assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED);
            store.disconnected().await;
        };
        if role() == "killed" {
            std::fs::write(dir.join("store"), &store.id).unwrap();
            store.connect().await;
            panic!("the crash point was not reached");
        }
        if role() == "second" {
            assert_eq!(tries(), 1);
            assert_eq!(store.settled().await, ("FAILED".to_owned(), json!("INTERNAL_ERROR")));
            store.disconnected().await;
            is_refused().await;
            is_refused().await;
            assert_eq!(tries(), 1, "the token says that it has refused one");
            // After a login the tries begin anew, and nobody can say any more whether it was this one.
            log_in_elsewhere();
            is_refused().await;
            log_in_elsewhere();
            store.update(wrong("another wrong one")).await;
            is_refused().await;
            log_in_elsewhere();
            assert_eq!(tries(), 3);
        } else {
            for password in ["not the password", "another wrong one", "not the password"] {
                store.update(wrong(password)).await;
                is_refused().await;
            }
            assert_eq!(tries(), 3, "both are on record");
            store.update(wrong(PASSWORD)).await;
            store.connected().await;
            assert_eq!(tries(), 4);
        }
        service.close().await;
    });
}

/// The token hears the password, and nobody the token: after that a wrong one is not tried again, by the next process
/// either, and a right one is.
#[test]
fn a_password_whose_refusal_was_not_heard_is_not_tried_again() {
    let test = "passwords::a_password_whose_refusal_was_not_heard_is_not_tried_again";
    let Some(dir) = dir_of(test) else {
        let dir = softhsm_dir();
        for role in ["first", "second"] {
            assert_passed(test, &again(test, role, dir.path()).output().unwrap());
        }
        return;
    };
    let mut settings = crate::in_process::settings(&dir);
    settings.token.module = module();
    settings.clusters.values_mut().for_each(|cluster| cluster.module = module());
    let shim = Shim::in_dir(&dir);
    let tries = || shim.calls_of(crate::in_process::CLUSTER_LABEL, "C_Login");
    let unheard = format!("@{} fail_after CKR_DEVICE_ERROR C_Login", crate::in_process::CLUSTER_LABEL);
    let failed = |code: &str| ("FAILED".to_owned(), json!(code));
    block_on(async {
        if role() == "first" {
            crate::make_cluster(&dir);
            crate::process::make_token(crate::process::LABEL);
        }
        let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
        if role() == "first" {
            let store = KeyStore::create(&service, "not the password").await;
            std::fs::write(dir.join("store"), &store.id).unwrap();
            shim.rules(&unheard);
            assert_eq!(store.connect().await, failed("NETWORK_ERRORS"));
            shim.rules("");
            store.disconnected().await;
        }
        let store = KeyStore::named(&service, &std::fs::read_to_string(dir.join("store")).unwrap());
        assert_eq!(store.connect().await, failed("INVALID_CREDENTIALS"));
        assert_eq!(tries(), 1, "the token says that it has refused one");
        store.disconnected().await;
        if role() == "second" {
            store.update(json!({ "KeyStorePassword": PASSWORD })).await;
            shim.rules(&unheard);
            assert_eq!(store.connect().await, failed("NETWORK_ERRORS"));
            shim.rules("");
            store.disconnected().await;
            store.connected().await;
            assert_eq!(tries(), 3);
        }
        service.close().await;
    });
}

/// What cannot be a password of the vendor's is not tried, and so it is not refused.
#[test]
fn a_password_of_the_wrong_form_is_none_that_was_refused() {
    in_own_process("passwords::a_password_of_the_wrong_form_is_none_that_was_refused", |dir| {
        crate::make_cluster(dir);
        crate::process::make_token(crate::process::LABEL);
        let profile = |pin: &str| {
            let text = format!("schema = 1\nname = \"x\"\nschemes = [\"aes_gcm_host_iv\"]\nlogin.pin = {pin:?}\n");
            std::fs::write(dir.join("profile.toml"), text).unwrap();
        };
        block_on(async {
            let mut settings = crate::in_process::settings(dir);
            settings.clusters.values_mut().for_each(|cluster| cluster.profile = Some(dir.join("profile.toml")));
            profile("hex_id_and_password");
            let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
            let store = KeyStore::create(&service, PASSWORD).await;
            let (state, code) = store.connect().await;
            assert_eq!((state.as_str(), code.as_str().unwrap()), REFUSED);
            assert!(!flags().pin_count_low, "it was not tried");
            store.disconnected().await;
            profile("any");
            store.connected().await;
            service.close().await;
        });
    });
}

/// What stands in answers, records and refusals never holds a password.
#[test]
fn no_password_is_in_the_audit_log_or_in_an_answer() {
    in_own_process("passwords::no_password_is_in_the_audit_log_or_in_an_answer", |dir| {
        block_on(async {
            let service = start(dir, MovedClock::at(START)).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let told = store.describe().await.to_string();
            assert!(!told.contains(PASSWORD), "{told}");
            for (password, message) in [("short", "greater than or equal to 7"), (&"x".repeat(33), "equal to 32")] {
                let body = store.with(json!({ "KeyStorePassword": password }));
                let (status, answer) = service.try_call("UpdateCustomKeyStore", &body).await;
                let text = answer["message"].as_str().unwrap();
                assert!(status == 400 && text.contains(message) && !text.contains(&password[1..]), "{answer}");
            }
            let row = service.app.kms().store.custom_key_stores().remove(0);
            assert!(!format!("{row:?}").contains(PASSWORD));
            service.close().await;
            let mut files = vec![dir.join("data")];
            while let Some(path) = files.pop() {
                match std::fs::read_dir(&path) {
                    Ok(entries) => files.extend(entries.map(|entry| entry.unwrap().path())),
                    Err(_) => {
                        let bytes = std::fs::read(&path).unwrap();
                        let found = bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
                        assert!(!found, "{}", path.display());
                    }
                }
            }
        });
    });
}

/// Another token under the same label, which would take the same password, gets none and no key.
#[test]
fn a_token_in_the_place_of_the_one_that_was_connected_gets_no_password() {
    in_own_process("passwords::a_token_in_the_place_of_the_one_that_was_connected_gets_no_password", |dir| {
        let ours = crate::make_cluster(dir);
        block_on(async {
            let clock = MovedClock::at(START);
            let service = InProcess::start(dir, clock.clone()).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let (id, key) = (store.id.clone(), store.create_key(json!({})).await);
            let blob = crate::encrypt(&service, &key).await;
            service.close().await;
            let aside = dir.join("aside");
            std::fs::rename(&ours, &aside).unwrap();
            let stranger = crate::make_cluster(dir);
            let service = InProcess::open(dir, clock.clone()).await;
            let store = KeyStore::named(&service, &id);
            store.call("DisconnectCustomKeyStore").await;
            assert_eq!(store.settled().await.0, "DISCONNECTED");
            assert_eq!(store.connect().await, ("FAILED".to_owned(), json!("CLUSTER_NOT_FOUND")));
            store.disconnected().await;
            service.close().await;
            std::fs::remove_dir_all(&stranger).unwrap();
            std::fs::rename(&aside, &ours).unwrap();
            let service = InProcess::open(dir, clock).await;
            KeyStore::named(&service, &id).connected().await;
            crate::decrypts(&service, &blob).await;
            service.close().await;
        });
    });
}
