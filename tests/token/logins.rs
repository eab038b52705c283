//! Logins that hang.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hsm_kms::token::{Error, Settings, Token, TokenEntry};

use super::process::*;
use crate::shim::{Shim, module};

/// Of two tokens with one label, one cannot be described for a moment: the other one is not taken for it.
#[test]
fn a_stranger_gets_no_pin_while_the_token_cannot_be_described() {
    in_own_process("logins::a_stranger_gets_no_pin_while_the_token_cannot_be_described", |dir| {
        let TokenEntry { serial, .. } = make_token(LABEL);
        let made = std::process::Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN])
            .output()
            .unwrap();
        assert!(made.status.success());
        let profile = dir.join("profile.toml");
        std::fs::write(&profile, "schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_host_iv\"]\n").unwrap();
        let shim = Shim::in_dir(dir);
        let open = |rule: &str, settings: Settings| {
            shim.rules(rule);
            let settings = Settings { module: module(), profile: Some(profile.clone()), ..settings };
            Token::open(&settings, pin(PIN), || panic!("hopeless")).map(|token| token.identity().serial.clone())
        };
        let by_label = settings(dir);
        let known = Settings { known_serial: Some(serial.clone()), ..settings(dir) };
        let by_serial = Settings { serial: Some(serial.clone()), ..settings(dir) };
        let cases = [(by_label, 0, "FAILED"), (known, 1, "CANCELED"), (by_serial, 1, "NOT_SUPPORTED")];
        for (settings, times, code) in cases {
            let nth = |nth| format!("@{LABEL} fail CKR_FUNCTION_{code} C_GetTokenInfo nth {nth}");
            let told = [1, 2].map(|number| open(&nth(number), settings.clone()));
            let refused = told.iter().filter(|told| matches!(told, Err(Error::Unavailable(_)))).count();
            let opened = told.iter().filter(|told| told.as_ref().is_ok_and(|opened| *opened == serial)).count();
            assert_eq!((opened, refused), (times, 2 - times), "{told:?}");
        }
        assert_eq!(shim.calls("C_Login"), 2);
    });
}

/// A token that is given up while its login hangs, and opened anew: the second login waits for the end of the first one.
#[test]
fn nobody_logs_in_while_another_login_hangs() {
    in_own_process("logins::nobody_logs_in_while_another_login_hangs", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let settings = Settings { module: module(), ..settings(dir) };
        // In a thread: a login too many would never come back.
        let connect = || {
            let ((done, connected), settings) = (channel(), settings.clone());
            std::thread::spawn(move || done.send(Token::connect(&settings, &pin(PIN), |_, _| Ok(()), || {})));
            connected.recv_timeout(Duration::from_secs(10)).expect("an answer")
        };
        let token = connect().unwrap();
        assert_eq!(shim.calls("C_Login"), 1);
        shim.rules("hang C_Login\nclose_sessions");
        assert!(block_on(token.exists(&name(1), Instant::now() + Duration::from_millis(100))).is_err());
        until("the keeper logs in", || shim.calls("C_Login") == 2);
        assert!(!token.shutdown(Duration::from_millis(50)), "its keeper is inside the call");
        let refused = connect().unwrap_err();
        assert!(refused.to_string().contains("an earlier login to it has not come back"), "{refused}");
        assert_eq!(shim.calls("C_Login"), 2, "one at a time");
        shim.rules("");
        let mut again = connect();
        // Until the first one has ended, the process is logged in by its login.
        until("the first one has ended", || {
            let left = matches!(again, Err(Error::LoggedIn { .. }));
            if left {
                again = connect();
            }
            !left
        });
        let again = again.unwrap();
        assert!(!block_on(again.exists(&name(1), soon())).unwrap());
        assert_eq!(shim.calls("C_Login"), 3);
        assert!(again.shutdown(Duration::from_secs(5)));
    });
}

/// The token has heard the PIN, and nobody the token.
#[test]
fn a_wrong_pin_whose_refusal_was_not_heard_is_not_tried_again() {
    in_own_process("logins::a_wrong_pin_whose_refusal_was_not_heard_is_not_tried_again", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let open = |text: &str| Token::open(&Settings { module: module(), ..settings(dir) }, pin(text), || {});
        shim.rules(UNHEARD);
        assert!(matches!(open("wrong"), Err(Error::Unavailable(_))));
        shim.rules("");
        for _ in 0..2 {
            assert!(matches!(open("wrong"), Err(Error::PinUnclear { .. })));
        }
        assert_eq!(shim.calls("C_Login"), 1, "the token says that it has refused one");
        assert!(open(PIN).unwrap().shutdown(Duration::from_secs(5)), "another one is another matter");
        // After that login the token says of no PIN that it has refused it.
        for _ in 0..2 {
            assert!(matches!(open("wrong"), Err(Error::PinIncorrect)));
        }
        assert_eq!(shim.calls("C_Login"), 3, "and now it is known");
    });
}

#[test]
fn an_outage_in_the_middle_of_a_login_costs_no_more_than_that_login() {
    in_own_process("logins::an_outage_in_the_middle_of_a_login_costs_no_more_than_that_login", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let open = || Token::open(&Settings { module: module(), ..settings(dir) }, pin(PIN), || {});
        let unheard_lock = "fail_after CKR_PIN_LOCKED C_Login";
        for rule in [UNHEARD, unheard_lock, "fail CKR_DEVICE_ERROR C_Login", "fail CKR_GENERAL_ERROR C_Login"] {
            shim.rules(rule);
            assert!(open().is_err(), "{rule}");
            shim.rules("");
            assert!(open().expect(rule).shutdown(Duration::from_secs(5)));
        }
        assert_eq!(shim.calls("C_Login"), 8);
    });
}

/// Somebody else has tried a wrong PIN before, so that the token cannot say of ours that it has not refused it.
#[test]
fn a_recovery_looks_at_the_flags_after_a_login_without_an_outcome() {
    in_own_process("logins::a_recovery_looks_at_the_flags_after_a_login_without_an_outcome", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let token = Token::open(&Settings { module: module(), ..settings(dir) }, pin(PIN), || {}).unwrap();
        assert!(!log_in_elsewhere("wrong"));
        shim.rules("fail CKR_DEVICE_ERROR C_Login\nclose_sessions");
        assert!(block_on(token.exists(&name(1), soon())).is_err());
        until("its login told nothing", || shim.calls("C_Login") == 2);
        shim.rules("");
        let unclear = || token.status().to_string().contains("it is not known what came of that");
        until("it is known that it is not known", unclear);
        let looks = shim.calls("C_GetTokenInfo");
        until("the flags are looked at twice more", || shim.calls("C_GetTokenInfo") > looks + 1);
        assert_eq!((shim.calls("C_Login"), unclear()), (2, true));
        assert!(log_in_elsewhere(PIN));
        until("it is back by itself", || token.status().is_ready());
        assert_eq!(token.counts().logins, 3);
        assert!(token.shutdown(Duration::from_secs(5)));
    });
}

fn log_in_elsewhere(pin: &str) -> bool {
    let mut tool = std::process::Command::new("pkcs11-tool");
    tool.args(["--module", MODULE, "--token-label", LABEL, "--login", "--pin", pin, "--list-objects"]);
    tool.output().unwrap().status.success()
}

const UNHEARD: &str = "fail_after CKR_DEVICE_ERROR C_Login";
