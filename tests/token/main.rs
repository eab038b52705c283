//! The token room against a real SoftHSM.

mod faults;
mod imports;
mod kill;
mod kinds;
mod logins;
mod modules;
mod planted;
mod probes;
mod process;
mod race;
mod schemes;
#[path = "../support/shim.rs"]
mod shim;
mod transfers;
mod watched;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use hsm_kms::model::{ObjectName, Purpose, TokenUri};
use hsm_kms::token::{Error, Place, Settings, Status, Token, init_token, self_test, tokens};
use process::*;

#[test]
fn what_is_wrapped_is_unwrapped() {
    in_own_process("what_is_wrapped_is_unwrapped", |dir| {
        let token = new_token(dir);
        assert_eq!((token.identity().label.as_str(), token.scheme()), (LABEL, 1));
        assert!(token.status().is_ready());
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let wrapped = token.wrap_seed(&name(1), 1, b"aad", &[7; 32], soon()).await.unwrap();
            let again = token.wrap_seed(&name(1), 1, b"aad", &[7; 32], soon()).await.unwrap();
            assert_eq!(wrapped.len(), 60);
            assert_ne!(wrapped[..12], again[..12], "an IV is used once");
            let seed = token.unwrap_seed(&name(1), 1, b"aad", &wrapped, soon()).await.unwrap();
            assert_eq!(*seed, [7; 32]);
            assert!(token.exists(&name(1), soon()).await.unwrap());
            let refused = token.unwrap_seed(&name(1), 3, b"aad", &wrapped, soon()).await.unwrap_err();
            assert!(matches!(refused, Error::Scheme { asked: 3, .. }), "{refused}");
        });
        assert_eq!(token.counts().logins, 1);
        assert!(token.shutdown(Duration::from_secs(5)));
        assert_eq!(token.status(), Status::Stopped);
    });
}

#[test]
fn survives_a_restart() {
    in_own_process("survives_a_restart", |dir| {
        let token = new_token(dir);
        let wrapped = block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap()
        });
        assert!(token.shutdown(Duration::from_secs(5)));
        let token = open(dir);
        let seed = block_on(token.unwrap_seed(&name(1), 1, b"", &wrapped, soon())).unwrap();
        assert_eq!(*seed, [7; 32]);
        assert!(token.shutdown(Duration::from_secs(5)));
        let refused = block_on(token.wrap_seed(&name(1), 1, b"", &[7; 32], soon())).unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    });
}

#[test]
fn a_flipped_byte_is_bad_data_and_costs_no_session() {
    in_own_process("a_flipped_byte_is_bad_data_and_costs_no_session", |dir| {
        let token = new_token(dir);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let wrapped = token.wrap_seed(&name(1), 1, b"aad", &[7; 32], soon()).await.unwrap();
            let (at_first, mut cost) = (token.counts(), Cost::begin(1));
            for index in 0..wrapped.len() {
                let before = token.counts().operations;
                let mut forged = wrapped.clone();
                forged[index] ^= 0x40;
                let refused = token.unwrap_seed(&name(1), 1, b"aad", &forged, soon()).await.unwrap_err();
                assert!(matches!(refused, Error::BadData), "byte {index}: {refused}");
                cost.add(token.counts().operations - before);
            }
            let refused = token.unwrap_seed(&name(1), 1, b"AAD", &wrapped, soon()).await.unwrap_err();
            assert!(matches!(refused, Error::BadData), "{refused}");
            let before = token.counts().operations;
            for length in [0, 12, 59, 61] {
                let mut cut = wrapped.clone();
                cut.resize(length, 0);
                let refused = token.unwrap_seed(&name(1), 1, b"aad", &cut, soon()).await.unwrap_err();
                assert!(matches!(refused, Error::BadData), "{length} bytes: {refused}");
            }
            assert_eq!(token.counts().operations, before, "a wrong length does not reach the token");
            let seed = token.unwrap_seed(&name(1), 1, b"aad", &wrapped, soon()).await.unwrap();
            assert_eq!(*seed, [7; 32]);
            let at_last = token.counts();
            assert_eq!((at_last.sessions, at_last.recoveries), (at_first.sessions, at_first.recoveries));
        });
    });
}

#[test]
fn a_key_that_is_not_there_is_not_found() {
    in_own_process("a_key_that_is_not_there_is_not_found", |dir| {
        let token = new_token(dir);
        block_on(async {
            let refused = token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap_err();
            assert!(matches!(refused, Error::NotFound(missing) if missing == name(1)), "{refused}");
            let refused = token.unwrap_seed(&name(1), 1, b"", &[0; 60], soon()).await.unwrap_err();
            assert!(matches!(refused, Error::NotFound(_)), "{refused}");
            assert!(!token.exists(&name(1), soon()).await.unwrap());
            token.destroy(&name(1), soon()).await.expect("gone already is as good as destroyed");
        });
    });
}

#[test]
fn a_generated_key_never_leaves_the_token() {
    in_own_process("a_generated_key_never_leaves_the_token", |dir| {
        let token = new_token(dir);
        block_on(token.generate(&name(1), soon())).unwrap();
        let refused = block_on(token.generate(&name(1), soon())).unwrap_err();
        assert!(matches!(refused, Error::Exists(_)), "{refused}");

        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let keys = session.find_objects(&[Attribute::Id(name(1).cka_id().to_vec())]).unwrap();
        let [key] = keys[..] else { panic!("{keys:?}") };
        let expected = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Label(b"hsm-kms/kms/01010101-0101-0101-0101-010101010101/1".to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Destroyable(true),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Local(true),
            Attribute::NeverExtractable(true),
            Attribute::AlwaysSensitive(true),
        ];
        let types: Vec<AttributeType> = expected.iter().map(Attribute::attribute_type).collect();
        assert_eq!(session.get_attributes(key, &types).unwrap(), expected);
        assert_eq!(session.get_attributes(key, &[AttributeType::Value]).unwrap(), [], "the value cannot be read");
        for change in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
            assert!(session.update_attributes(key, &[change]).is_err());
        }
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    in_own_process("a_wrong_pin_is_tried_once", |dir| {
        make_token(LABEL);
        let try_pin = |text: &str| Token::open(&settings(dir), pin(text), || panic!("hopeless"));
        let refused = try_pin("wrong").unwrap_err();
        assert!(matches!(refused, Error::PinIncorrect), "{refused}");
        let listed = tokens(MODULE.as_ref(), None).unwrap();
        let listed = listed.iter().find(|token| token.label == LABEL).unwrap();
        assert!(listed.flags.pin_count_low, "SoftHSM has seen the wrong PIN");
        // SoftHSM rewrites this file at every try.
        let file = folder(dir).join("token.object");
        let tried = std::fs::metadata(&file).unwrap().modified().unwrap();
        let refused = try_pin("wrong").unwrap_err();
        assert!(matches!(refused, Error::PinIncorrect), "{refused}");
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), tried, "it was not tried again");
        try_pin(PIN).expect("another PIN is tried");
        assert!(std::fs::metadata(&file).unwrap().modified().unwrap() > tried, "the file tells tries");
    });
}

#[test]
fn a_missing_token_is_told_with_those_that_there_are() {
    in_own_process("a_missing_token_is_told_with_those_that_there_are", |dir| {
        let open = |settings: &Settings| Token::open(settings, pin(PIN), || {}).unwrap_err().to_string();
        assert_eq!(
            open(&settings(dir)),
            "there is no token with label `test`; the module has no initialised token at all"
        );
        let other = make_token("other");
        assert_eq!(
            open(&settings(dir)),
            format!("there is no token with label `test`; there are: `other` (serial number {})", other.serial)
        );
        let by_serial = Settings { label: None, serial: Some("0123".to_owned()), ..settings(dir) };
        assert!(open(&by_serial).starts_with("there is no token with serial number 0123; there are: `other`"));
        let nowhere = Settings { module: "/nowhere.so".into(), ..settings(dir) };
        assert!(open(&nowhere).starts_with("the PKCS#11 module /nowhere.so does not start: "));
    });
}

#[test]
fn two_tokens_with_one_label_are_told_apart_by_serial_number() {
    in_own_process("two_tokens_with_one_label_are_told_apart_by_serial_number", |dir| {
        let first = make_token(LABEL);
        let refused = init_token(MODULE.as_ref(), LABEL, &pin("12345678"), &pin(PIN)).unwrap_err();
        assert!(matches!(refused, Error::Label { .. }), "{refused}");
        let refused = init_token(MODULE.as_ref(), &"x".repeat(33), &pin("12345678"), &pin(PIN)).unwrap_err();
        assert!(matches!(refused, Error::Label { .. }), "{refused}");

        let made = std::process::Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN])
            .output()
            .unwrap();
        assert!(made.status.success());
        let listed = tokens(MODULE.as_ref(), None).unwrap();
        let second = listed.iter().find(|token| token.label == LABEL && token.serial != first.serial).unwrap();
        let refused = Token::open(&settings(dir), pin(PIN), || {}).unwrap_err().to_string();
        assert!(refused.starts_with("several tokens have label `test`"), "{refused}");
        assert!(refused.contains(&first.serial) && refused.contains(&second.serial), "{refused}");

        let both = TokenUri { token: Some(LABEL.to_owned()), ..TokenUri::default() };
        let by_uri = Settings { label: None, uri: Some(both), ..settings(dir) };
        let refused = Token::open(&by_uri, pin(PIN), || {}).unwrap_err().to_string();
        assert!(refused.starts_with("several tokens have URI pkcs11:token=test: "), "{refused}");
        assert!(refused.contains(&first.serial) && refused.contains(&second.serial), "{refused}");
        let mut one = by_uri.uri.clone().unwrap();
        one.serial = Some(second.serial.clone());
        let token = Token::open(&Settings { uri: Some(one), ..by_uri }, pin(PIN), || {}).unwrap();
        assert_eq!(token.identity().serial, second.serial);
        assert!(token.shutdown(Duration::from_secs(5)));

        // Both at once, and each for itself.
        let one = |serial: &str| Settings { serial: Some(serial.to_owned()), ..settings(dir) };
        let first = Token::open(&one(&first.serial), pin(PIN), || {}).unwrap();
        let second = Token::open(&one(&second.serial), pin(PIN), || {}).unwrap();
        block_on(async {
            first.generate(&name(1), soon()).await.unwrap();
            assert!(!second.exists(&name(1), soon()).await.unwrap());
            assert!(first.shutdown(Duration::from_secs(5)));
            second.generate(&name(1), soon()).await.expect("the other token goes on");
        });
        assert!(second.shutdown(Duration::from_secs(5)));
    });
}

#[test]
fn lists_our_objects_and_counts_the_others() {
    in_own_process("lists_our_objects_and_counts_the_others", |dir| {
        let token = new_token(dir);
        let store = ObjectName { purpose: Purpose::StoreRoot, ..name(3) };
        block_on(async {
            for name in [name(1), name(2), store] {
                token.generate(&name, soon()).await.unwrap();
                token.wrap_seed(&name, 1, b"", &[7; 32], soon()).await.unwrap();
            }
        });
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        planted::plant(&session, &[Attribute::Label(b"someone else's".to_vec()), Attribute::Id(vec![1])]);
        let objects = block_on(token.objects(soon())).unwrap();
        let found: HashSet<(Vec<u8>, String)> =
            objects.ours.into_iter().map(|object| (object.cka_id, object.label)).collect();
        let expected = [name(1), name(2), store].map(|name| (name.cka_id().to_vec(), name.cka_label()));
        assert_eq!((found, objects.foreign), (HashSet::from(expected), 1));
    });
}

#[test]
fn a_destroyed_key_is_gone_for_everyone_at_once() {
    in_own_process("a_destroyed_key_is_gone_for_everyone_at_once", |dir| {
        let token = new_token(dir);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.generate(&name(2), soon()).await.unwrap();
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap();
            let users: Vec<_> = (0..8).map(|_| tokio::spawn(use_until_gone(token.clone()))).collect();
            token.destroy(&name(1), soon()).await.unwrap();
            let refused = token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap_err();
            assert!(matches!(refused, Error::NotFound(_)), "{refused}");
            for user in users {
                user.await.unwrap();
            }
            token.wrap_seed(&name(2), 1, b"", &[7; 32], soon()).await.expect("another key is not touched");
        });
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let left = session.find_objects(&[Attribute::Id(name(1).cka_id().to_vec())]).unwrap();
        assert_eq!(left.len(), 0, "neither the key nor a session copy of it");
        let left = session.find_objects(&[Attribute::Id(name(2).cka_id().to_vec())]).unwrap();
        assert_eq!(left.len(), 2, "the other key and its session copy");
    });
}

async fn use_until_gone(token: Token) {
    loop {
        match token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await {
            Ok(wrapped) => assert_eq!(wrapped.len(), 60),
            Err(Error::NotFound(_)) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn random_bytes_never_repeat() {
    in_own_process("random_bytes_never_repeat", |dir| {
        let token = new_token(dir);
        block_on(async {
            let mut seen = HashSet::new();
            for _ in 0..5_000 {
                let bytes = token.random(24, soon()).await.unwrap();
                assert!(seen.insert(bytes.expose().to_vec()));
            }
            let long = token.random(100_000, soon()).await.unwrap();
            for part in long.expose().chunks_exact(24) {
                assert!(seen.insert(part.to_vec()));
            }
            let zeros = long.expose().iter().filter(|byte| **byte == 0).count();
            assert!((200..600).contains(&zeros), "{zeros} zeros in 100,000 bytes");
        });
        assert!(token.counts().operations < 100, "the token was asked for blocks, not for each");
    });
}

#[test]
fn the_self_test_passes() {
    in_own_process("the_self_test_passes", |dir| {
        let token = new_token(dir);
        let rows = block_on(self_test(&token, soon())).unwrap();
        assert_eq!(rows.len(), 6 + 3 + 20 + 1 + 30 + 21);
        for row in rows {
            // SoftHSM has no lattices, and cannot wrap a key of Ed25519.
            let not = ["Ed25519ph", "ML-", "multi-Region keys: ML-", "multi-Region keys: Ed25519"];
            let offered = !not.iter().any(|name| row.what.starts_with(name)) && !row.what.ends_with("aes_kwp");
            assert_eq!(row.failure.is_none(), offered, "{}: {:?}", row.what, row.failure);
            let on_token = ["AES_256", "HMAC_256", "HMAC_384", "HMAC_512"].iter().any(|kind| row.what.contains(kind))
                && row.what.ends_with("by RSAES_OAEP_SHA_1");
            let place = if on_token { Place::Token } else { Place::Host };
            assert_eq!(row.place, row.what.starts_with("import").then_some(place), "{}", row.what);
        }
        assert_eq!(block_on(token.objects(soon())).unwrap().ours, [], "nothing is left behind");
    });
}

#[test]
fn a_deadline_in_the_past_begins_nothing() {
    in_own_process("a_deadline_in_the_past_begins_nothing", |dir| {
        let token = new_token(dir);
        block_on(async {
            let before = token.counts().operations;
            let refused = token.generate(&name(1), Instant::now()).await.unwrap_err();
            assert!(matches!(refused, Error::DeadlineExceeded), "{refused}");
            assert!(!token.exists(&name(1), soon()).await.unwrap());
            assert_eq!(token.counts().operations - before, 1, "only the search for it");
        });
    });
}
