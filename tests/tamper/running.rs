//! A store that is edited while the service runs.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::database::{Edit, History, Row, call, copy, edit, events, try_call};
use crate::noise::Noise;
use crate::support::Service;
use crate::support::wire::exchange;

/// Each edit meets a service of its own, which notices within three seconds and never does what the edit says.
#[test]
fn every_edit_is_noticed_and_none_widens_anything() {
    let history = History::make();
    let before = |part: &str| history.before.iter().find(|row| row.1.contains(part)).unwrap().clone();
    let after = |part: &str| history.after.iter().find(|row| row.1.contains(part)).unwrap().clone();
    let third = &history.keys[2];
    let (alias, key): (Row, Row) = (before("alias/a"), after(&history.keys[0]));
    let copied = (key.0.clone(), format!("{}x", key.1), key.2, key.3.clone());
    let mut flipped = key.clone();
    flipped.3[20] ^= 1;
    let cases: Vec<(&str, Box<dyn Fn(&Path) + Sync>)> = vec![
        ("a key is revived", edits(vec![Edit::Put(before(third))])),
        ("an alias is put back", edits(vec![Edit::Put(alias)])),
        ("a deleted alias comes back", edits(vec![Edit::Put(before("alias/gone"))])),
        ("a key is removed", edits(vec![Edit::Remove(after(third))])),
        ("a key is copied", edits(vec![Edit::Put(copied)])),
        ("a row is flipped", edits(vec![Edit::Put(flipped)])),
        ("the root is older", edits(vec![Edit::Sql("UPDATE root SET epoch = epoch - 1")])),
        (
            "several edits at once",
            edits(vec![
                Edit::Sql("UPDATE records SET revision = revision"),
                Edit::Sql("INSERT OR REPLACE INTO loose (tbl, pk, sealed) VALUES ('usage', 'forged', X'00')"),
                Edit::Remove(after("alias/a")),
            ]),
        ),
        (
            "the file is replaced",
            Box::new(|data| {
                let new = data.join("other.db");
                copy(&history.older().join("store.db"), &new);
                std::fs::rename(new, data.join("store.db")).unwrap();
            }),
        ),
        ("the file is removed", Box::new(|data| std::fs::remove_file(data.join("store.db")).unwrap())),
    ];
    std::thread::scope(|scope| {
        for (number, (name, tamper)) in cases.iter().enumerate() {
            let history = &history;
            scope.spawn(move || {
                let service = Service::start_in(&history.copy(&format!("running{number}")), &[]);
                let (noise, since) = (Noise::around(service.pid()), Instant::now());
                tamper(service.data());
                noticed(name, &service, history, (&noise, since));
            });
        }
    });
}

/// What decides nothing may be edited: the service goes on.
#[test]
fn an_edited_loose_row_stops_nothing() {
    let history = History::make();
    let service = Service::start_in(&history.copy("loose"), &[]);
    edit(&service.data().join("store.db"), &[Edit::Sql("DELETE FROM loose")]);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(call(&service, "Decrypt", json!({ "CiphertextBlob": history.sealed }))["Plaintext"], "eHk=");
        std::thread::sleep(Duration::from_millis(100));
    }
    call(&service, "EnableKey", json!({ "KeyId": history.keys[1] }));
    assert_eq!(ready(&service), 200);
    assert!(events(service.data(), "StoreTampered").is_empty());
}

fn edits(edits: Vec<Edit>) -> Box<dyn Fn(&Path) + Sync> {
    Box::new(move |data| edit(&data.join("store.db"), &edits))
}

fn noticed(name: &str, service: &Service, history: &History, (noise, since): (&Noise, Instant)) {
    let [first, second, third] = &history.keys;
    while ready(service) == 200 {
        assert!(!noise.has_passed(Duration::from_secs(3), since), "{name}: not noticed within three seconds");
        for key in [third, second, "alias/a", "alias/gone"] {
            let told = try_call(service, "Encrypt", &json!({ "KeyId": key, "Plaintext": "eHk=" }));
            assert_ne!(told.status, 200, "{name}: {key} is used");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ready(service), 503, "{name}");
    for (operation, body) in [
        ("DescribeKey", json!({ "KeyId": first })),
        ("ListKeys", json!({})),
        ("CreateKey", json!({})),
        ("CancelKeyDeletion", json!({ "KeyId": third })),
        ("Decrypt", json!({ "CiphertextBlob": history.sealed })),
        ("GenerateRandom", json!({ "NumberOfBytes": 8 })),
        ("GetKeyPolicy", json!({ "KeyId": first })),
    ] {
        let told = try_call(service, operation, &body);
        assert_eq!((told.status, told.error().as_str()), (500, "KMSInternalException"), "{name}: {operation}");
    }
    // The record is written after the first refusal; on a slow disk it is some time until it can be read.
    let deadline = Instant::now() + Duration::from_secs(10);
    while events(service.data(), "StoreTampered").is_empty() {
        assert!(Instant::now() < deadline, "{name}: not recorded");
        std::thread::sleep(Duration::from_millis(20));
    }
    let events = events(service.data(), "StoreTampered");
    assert_eq!(events.len(), 1, "{name}");
    assert!(events[0]["additionalEventData"]["what"].as_str().unwrap().contains("tampered"), "{name}: {events:?}");
}

/// The status of the readiness address; the process must be alive.
fn ready(service: &Service) -> u16 {
    let ask = |path: &str| exchange(&service.address(), format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
    assert_eq!(ask("/healthz").status, 200);
    ask("/readyz").status
}
