//! A secret is shown once, and is nowhere else in the clear.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::operator::principal;
use crate::support::Service;
use crate::{Key, done, new_user};

#[test]
fn secrets_are_in_no_file_no_log_and_no_later_answer() {
    let service = Service::start_with(&[]);
    let alice = new_user(&service, "alice");
    let root = Key::of(&done(&service, "CreateAccount", json!({ "AccountId": "444455556666" })));
    let output = principal(service.data(), &["create-access-key", "--user-name", "alice"]);
    let second = Key::of(&serde_json::from_slice(&output.stdout).unwrap());
    alice.try_random(&service).unwrap_err();
    for key in [&alice, &second] {
        let named = json!({ "UserName": "alice", "AccessKeyId": key.id, "Status": "Inactive" });
        done(&service, "UpdateAccessKey", named);
    }
    let answers = [
        done(&service, "ListAccessKeys", json!({ "UserName": "alice" })),
        done(&service, "ListAccessKeys", json!({ "AccountId": "444455556666" })),
        done(&service, "GetUser", json!({ "UserName": "alice" })),
        done(&service, "ListAccounts", json!({})),
        done(&service, "GetAccessKeyLastUsed", json!({ "AccessKeyId": alice.id })),
    ];
    let keys = [alice, second, root];
    for key in &keys {
        assert!(answers.iter().all(|answer| !answer.to_string().contains(&key.secret)));
        assert!(!service.log().contains(&key.secret));
    }
    clear_of(service.data(), &keys);
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    clear_of(&data, &keys);
    // The same without a service: the command shows it, and nothing else does.
    principal(&data, &["delete-access-key", "--user-name", "alice", "--access-key-id", &keys[0].id]);
    let output = principal(&data, &["create-access-key", "--user-name", "alice"]);
    let third = Key::of(&serde_json::from_slice(&output.stdout).unwrap());
    assert!(output.stderr.is_empty());
    clear_of(&data, &[third]);
}

/// The ids are there, in the record: the search itself sees.
fn clear_of(data: &Path, keys: &[Key]) {
    let files: Vec<Vec<u8>> = files(data).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let has = |text: &str| files.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()));
    for key in keys {
        assert!(has(&key.id), "{}", key.id);
        assert!(!has(&key.secret), "the secret of {} is in a file", key.id);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let all = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    all.collect()
}
