//! A token in the place of another one, under the same label, from one start to the next: it gets no PIN and no key of
//! others, and nobody else notices.

use serde_json::json;

use crate::load::{Doctor, ask, refused};
use crate::process::until;
use crate::rig::Rig;
use crate::support::Service;

const EAST: &str = "us-east-1";
const WEST: &str = "eu-west-1";

#[test]
fn a_further_token_that_was_swapped_between_starts_gets_no_pin() {
    let (rig, blob) = after_a_run(|service| {
        let key = ask(service, WEST, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].clone();
        assert_eq!(assigned(service).len(), 2, "each Region has its token on record");
        ask(service, WEST, "Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" }))["CiphertextBlob"].clone()
    });

    rig.shim.rules("@two swapped stranger");
    let before = rig.shim.calls_of("two", "C_Login");
    let service = rig.serve();
    let doctor = Doctor::start(&service);
    for (operation, body) in [("Decrypt", json!({ "CiphertextBlob": blob })), ("CreateKey", json!({}))] {
        assert_eq!(refused(&service, WEST, operation, body), "KeyUnavailableException");
    }
    ask(&service, EAST, "CreateKey", json!({}));
    assert_eq!((doctor.readiness("/eu-west-1").0, doctor.readiness("/us-east-1").0), (503, 200));
    assert_eq!(rig.shim.calls_of("two", "C_Login"), before, "the stranger is not given the PIN");
    let log = service.log();
    let [ours, stranger] = serials(&log);
    assert!(ours != stranger && log.contains(&format!("start once with --accept-token {stranger}")), "{log}");
    assert!(log.contains("put the right one back"), "{log}");
    // As soon as the right one is back, it is served.
    rig.shim.rules("");
    until("the right token", || doctor.readiness("/eu-west-1").0 == 200);
    assert_eq!(ask(&service, WEST, "Decrypt", json!({ "CiphertextBlob": blob }))["Plaintext"], "eA==");
    doctor.discharge();
    assert!(service.terminate().0.success());

    // An operator may say of one that it has taken over, whenever that one comes, and says it of no other.
    rig.shim.rules("@two swapped stranger");
    let before = ["two", "stranger"].map(|label| rig.shim.calls_of(label, "C_Login"));
    let service = rig.try_serve_with(&["--accept-token", "0123456789abcdef"]).unwrap();
    assert_eq!(refused(&service, WEST, "CreateKey", json!({})), "KeyUnavailableException");
    assert_eq!(["two", "stranger"].map(|label| rig.shim.calls_of(label, "C_Login")), before);
    assert!(service.terminate().0.success());
    rig.shim.rules("@two removed");
    let service = rig.try_serve_with(&["--accept-token", "0123456789abcdef", "--accept-token", &stranger]).unwrap();
    assert_eq!(refused(&service, WEST, "CreateKey", json!({})), "KeyUnavailableException");
    rig.shim.rules("@two swapped stranger");
    let doctor = Doctor::start(&service);
    until("the token that has taken over", || doctor.readiness("/eu-west-1").0 == 200);
    doctor.discharge();
    ask(&service, WEST, "CreateKey", json!({}));
    let told = assigned(&service).pop().unwrap();
    let details = &told["additionalEventData"];
    assert_eq!((&details["serialBefore"], &details["token"]["serial"]), (&json!(ours), &json!(stranger)), "{told}");
    assert!(service.terminate().0.success());
    let service = rig.serve();
    ask(&service, WEST, "CreateKey", json!({}));
    assert_eq!(assigned(&service).len(), 3);
    assert!(service.terminate().0.success());
}

#[test]
fn the_first_token_that_was_swapped_between_starts_gets_no_pin() {
    let (rig, _) = after_a_run(|service| ask(service, EAST, "CreateKey", json!({})));
    rig.shim.rules("@one swapped stranger");
    let before = rig.shim.calls("C_Login");
    let mut arguments = Vec::new();
    for _ in 0..2 {
        let Err(failed) = rig.try_serve_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) else {
            panic!("it serves")
        };
        assert_eq!(failed.status.code(), Some(78), "{failed:?}");
        let [ours, stranger] = serials(&failed.log);
        let told = format!("`serial = \"{stranger}\"` in `[token]`, and start once with --accept-token {stranger}");
        assert!(ours != stranger && failed.log.contains(&told), "{failed:?}");
        // Alone, the flag is not enough: the store's key is on the token, too.
        arguments = vec!["--accept-token".to_owned(), stranger];
    }
    assert_eq!(rig.shim.calls("C_Login"), before, "the stranger is not given the PIN");
    rig.shim.rules("");
    let service = rig.serve();
    ask(&service, EAST, "CreateKey", json!({}));
    assert!(service.terminate().0.success());
}

/// Settings that give a Region to another token would have its keys looked for where they never were.
#[test]
fn a_region_stays_with_its_token_whatever_the_settings_call_it() {
    let (rig, _) = after_a_run(|service| ask(service, WEST, "CreateKey", json!({})));
    let text = std::fs::read_to_string(rig.path("settings.toml")).unwrap();
    let renamed = text.replace("[tokens.two]", "[tokens.other]").replace("label = \"two\"", "label = \"stranger\"");
    for (settings, code) in [(renamed, None), (without_the_further_token(&rig), Some(78))] {
        rig.write("settings.toml", &settings);
        let before = rig.shim.calls("C_Login");
        match (rig.try_serve_as_written(&[]), code) {
            (Err(failed), Some(code)) => {
                assert_eq!(failed.status.code(), Some(code));
                assert!(failed.log.contains("the keys of eu-west-1 are on the token with serial number"), "{failed:?}");
            }
            (Ok(service), None) => {
                assert_eq!(refused(&service, WEST, "CreateKey", json!({})), "KeyUnavailableException");
                assert_eq!(rig.shim.calls("C_Login") - before, 1, "of the first token alone");
                assert!(service.terminate().0.success());
            }
            (Ok(_), Some(_)) => panic!("it serves"),
            (Err(failed), None) => panic!("{failed:?}"),
        }
    }
}

/// It may have been given away by mistake, and nothing is on the token.
#[test]
fn a_region_without_keys_may_have_another_token() {
    let (rig, _) = after_a_run(|service| ask(service, EAST, "CreateKey", json!({})));
    let without = without_the_further_token(&rig);
    let text = std::fs::read_to_string(rig.path("settings.toml")).unwrap();
    // Another further token, alone, and then the first one with all.
    rig.write("settings.toml", &text.replace("label = \"two\"", "label = \"stranger\""));
    let service = rig.try_serve_as_written(&[]).unwrap();
    assert_eq!(assigned(&service).len(), 3);
    assert!(service.terminate().0.success());
    rig.write("settings.toml", &without);
    let service = rig.try_serve_as_written(&[]).unwrap();
    ask(&service, WEST, "CreateKey", json!({}));
    assert_eq!(assigned(&service).len(), 4);
    assert!(service.terminate().0.success());
}

/// Two tokens and a stranger, after a first run of the service in which this was done.
fn after_a_run<T>(done: impl FnOnce(&Service) -> T) -> (Rig, T) {
    let rig = Rig::new(&["one", "two"]);
    rig.make_token("stranger");
    let service = rig.serve();
    let told = done(&service);
    assert!(service.terminate().0.success());
    (rig, told)
}

/// The settings, but for the second token.
fn without_the_further_token(rig: &Rig) -> String {
    let text = std::fs::read_to_string(rig.path("settings.toml")).unwrap();
    let (further, rest) = (text.find("[tokens.two]").unwrap(), text.find("[server]").unwrap());
    text[..further].to_owned() + &text[rest..]
}

/// The events that say which token a Region has.
fn assigned(service: &Service) -> Vec<serde_json::Value> {
    let events = service.audit().into_iter().map(|mut line| line["event"].take());
    events.filter(|event| event["eventName"] == "AssignToken").collect()
}

/// The serial numbers, of the token that is missed and of the one that is there, as the log's last word on it names them.
fn serials(log: &str) -> [String; 2] {
    let (_, told) = log.rsplit_once("another token, serial number ").expect("it is told");
    let (stranger, rest) = told.split_once(',').unwrap();
    let (_, rest) = rest.split_once("whose serial number is ").unwrap();
    [rest.split_once(';').unwrap().0.to_owned(), stranger.to_owned()]
}
