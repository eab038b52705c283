//! A store that was edited while the service was stopped.

use std::path::Path;

use serde_json::json;

use crate::database::{Edit, History, call, copy, edit, events, new_key, try_call};
use crate::support::{Failed, Service};

/// Each edit alone, of each row: refused at the start, in one line.
#[test]
fn every_edit_of_every_row_is_refused_at_the_start() {
    let history = History::make();
    let edits = history.edits();
    assert!(history.after.len() >= 5, "{} rows", history.after.len());
    assert!(edits.len() >= 40, "{} edits", edits.len());
    for (number, edits) in edits.iter().enumerate() {
        let data = history.copy(&format!("edit{number}"));
        edit(&data.join("store.db"), edits);
        let failed = Service::try_start_in(&data, &[]).err();
        let failed = failed.unwrap_or_else(|| panic!("it starts with {edits:?}"));
        refused(&failed, "tampered", &format!("{edits:?}"));
        assert_eq!(events(&data, "StoreTampered").len(), 1, "{edits:?}");
        std::fs::remove_dir_all(data).unwrap();
    }
    // And unedited, it starts.
    let service = Service::start_in(&history.copy("unedited"), &[]);
    assert_eq!(call(&service, "Decrypt", json!({ "CiphertextBlob": history.sealed }))["Plaintext"], "eHk=");
}

/// The rows that decide nothing may be edited; then nothing is decided by them.
#[test]
fn loose_rows_widen_nothing() {
    let history = History::make();
    for (name, sql) in [
        ("zeros", "UPDATE loose SET sealed = zeroblob(length(sealed))"),
        ("moved", "UPDATE loose SET pk = pk || 'x'"),
        ("removed", "DELETE FROM loose"),
    ] {
        let data = history.copy(name);
        edit(&data.join("store.db"), &[Edit::Sql(sql)]);
        let service = Service::start_in(&data, &[]);
        let used = call(&service, "GetKeyLastUsage", json!({ "KeyId": history.keys[0] }));
        assert!(used["KeyLastUsage"].as_object().is_none_or(serde_json::Map::is_empty), "{used}");
        let refused = try_call(&service, "Encrypt", &json!({ "KeyId": history.keys[2], "Plaintext": "eHk=" }));
        assert_eq!(refused.error(), "KMSInvalidStateException");
        assert_eq!(call(&service, "Decrypt", json!({ "CiphertextBlob": history.sealed }))["Plaintext"], "eHk=");
    }
}

/// A store that is gone is an old one too: a new one in its place would forget every key.
#[test]
fn a_store_that_is_gone_is_not_made_anew() {
    let history = History::make();
    let data = history.copy("gone");
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(data.join(file));
    }
    let failed = Service::try_start_in(&data, &[]).err().expect("its log knows of a store");
    refused(&failed, "--accept-rollback", "no store");
    assert!(!data.join("store.db").exists());
}

#[test]
fn an_older_store_needs_an_operator_s_word_once() {
    let history = History::make();
    let data = history.copy("older");
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(data.join(file));
        let old = history.older().join(file);
        if old.exists() {
            copy(&old, &data.join(file));
        }
    }
    let failed = Service::try_start_in(&data, &[]).err().expect("it is older than its log");
    refused(&failed, "--accept-rollback", "an older store");
    assert!(events(&data, "AcceptRollback").is_empty());

    let service = Service::start_in(&data, &["--accept-rollback"]);
    let told = &events(&data, "AcceptRollback")[0]["additionalEventData"];
    assert!(told["storeEpoch"].as_u64() < told["logEpoch"].as_u64(), "{told}");
    assert!(call(&service, "Encrypt", json!({ "KeyId": "alias/gone", "Plaintext": "eHk=" }))["KeyId"].is_string());
    assert!(service.terminate().0.success());

    let service = Service::start_in(&data, &[]);
    new_key(&service);
    assert!(service.terminate().0.success());
    assert_eq!(events(&data, "AcceptRollback").len(), 1, "accepted once, for good");
    hsm_kms::audit::verify(&data.join("audit")).unwrap();
}

#[test]
fn another_token_at_the_same_store_is_refused_with_both_names() {
    let (ours, theirs) = (History::make(), tempfile::tempdir().unwrap());
    let data = theirs.path().join("data");
    assert!(Service::start_in(&data, &[]).terminate().0.success());
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(data.join(file));
    }
    let ours = ours.copy("ours");
    copy(&ours.join("store.db"), &data.join("store.db"));
    let failed = Service::try_start_in(&data, &[]).err().expect("the token is another one");
    for serial in [serial(&ours), serial(&data)] {
        refused(&failed, &serial, "another token");
    }
}

/// The end of the token's folder name, as SoftHSM makes it.
fn serial(data: &Path) -> String {
    let folder = std::fs::read_dir(data.join("tokens")).unwrap().next().unwrap().unwrap().file_name();
    let digits: String = folder.to_str().unwrap().chars().filter(|digit| *digit != '-').collect();
    digits[digits.len() - 16..].to_owned()
}

/// Ended with the code that no supervisor starts again, and one line that says why.
fn refused(failed: &Failed, word: &str, what: &str) {
    assert_eq!(failed.status.code(), Some(78), "{what}: {}", failed.log);
    let plain: Vec<&str> = failed.log.lines().filter(|line| line.starts_with("hsm-kms: ")).collect();
    assert_eq!(plain.len(), 1, "{what}: {}", failed.log);
    assert!(plain[0].contains(word), "{what}: {}", plain[0]);
}
