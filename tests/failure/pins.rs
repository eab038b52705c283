//! The PIN of a further token, from one start to the next: however often a supervisor starts the service, the token is given
//! no PIN twice that it has refused.

use serde_json::json;

use crate::load::{ask, refused};
use crate::rig::{PIN, Rig};

const WEST: &str = "eu-west-1";

#[test]
fn a_pin_that_a_further_token_refused_is_not_tried_by_the_next_start() {
    let rig = Rig::new(&["one", "two"]);
    let service = rig.serve();
    ask(&service, WEST, "CreateKey", json!({}));
    assert!(service.terminate().0.success());
    let tries = || rig.shim.calls_of("two", "C_Login");
    let before = tries();
    // The PIN is another one by now, and then again what it was.
    for rules in ["@two pin wrong", "@two pin wrong", ""] {
        rig.shim.rules(rules);
        let Err(failed) = rig.try_serve() else { panic!("it serves") };
        assert_eq!(failed.status.code(), Some(78), "{failed:?}");
        assert!(failed.log.contains("the token refused the PIN"), "{failed:?}");
        assert_eq!(tries(), before + 1, "it was tried once");
    }
    let changed = pkcs11_tool(&rig, &["--pin", PIN, "--change-pin", "--new-pin", "998877"]);
    assert!(changed);
    give_pin(&rig, "998877");
    let service = rig.try_serve_as_written(&[]).unwrap();
    ask(&service, WEST, "CreateKey", json!({}));
    let told: Vec<_> = service.audit().into_iter().filter(|line| line["event"]["eventName"] == "TokenLogin").collect();
    let phases = told.iter().map(|line| line["event"]["additionalEventData"]["phase"].as_str().unwrap());
    assert_eq!(phases.collect::<Vec<_>>(), ["begun", "ended", "begun", "refused", "begun", "ended"]);
    assert!(!format!("{told:?}").contains(PIN));
    assert!(service.terminate().0.success());
}

/// The token hears a wrong PIN, and nobody the token: neither this run nor the next one tries it again.
#[test]
fn a_pin_whose_refusal_was_not_heard_is_not_tried_by_the_next_start() {
    let rig = Rig::new(&["one", "two"]);
    give_pin(&rig, "not the PIN");
    let tries = || rig.shim.calls_of("two", "C_Login");
    let before = tries();
    rig.shim.rules("@two fail_after CKR_DEVICE_ERROR C_Login");
    for _ in 0..2 {
        let service = rig.try_serve_as_written(&[]).unwrap();
        assert_eq!(refused(&service, WEST, "CreateKey", json!({})), "KeyUnavailableException");
        assert!(service.terminate().0.success());
        rig.shim.rules("");
    }
    assert_eq!(tries(), before + 1, "the token says that it has refused one");
    // Somebody logs in, and nobody can say any more whether it was this one.
    assert!(pkcs11_tool(&rig, &["--pin", PIN, "--list-objects"]));
    for _ in 0..2 {
        let Err(failed) = rig.try_serve_as_written(&[]) else { panic!("it serves") };
        assert_eq!(failed.status.code(), Some(78), "{failed:?}");
        assert_eq!(tries(), before + 2, "and now it is known");
    }
}

/// Writes settings by which this is the PIN of the further token.
fn give_pin(rig: &Rig, pin: &str) {
    rig.configure();
    rig.write("other-pin", pin);
    let text = std::fs::read_to_string(rig.path("settings.toml")).unwrap();
    let (first, further) = text.split_once("[tokens.two]").unwrap();
    let further = further.replace("/pin\"", "/other-pin\"");
    rig.write("settings.toml", &format!("{first}[tokens.two]{further}"));
}

fn pkcs11_tool(rig: &Rig, arguments: &[&str]) -> bool {
    let mut tool = std::process::Command::new("pkcs11-tool");
    tool.args(["--module", crate::process::MODULE, "--token-label", "two", "--login"]).args(arguments);
    tool.env("SOFTHSM2_CONF", rig.path("softhsm2.conf")).output().unwrap().status.success()
}
