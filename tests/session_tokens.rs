//! Session tokens: golden vectors, the corpus of the fuzzer, and what somebody may do to one.

use std::fs;
use std::path::Path;

use hsm_kms::auth::session::{Content, Credentials, Holder, MAX_LEN, SALT_LEN, Tokens, TooLong};
use hsm_kms::model::{Secret, Timestamp};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Good {
    name: String,
    root: String,
    salt: String,
    min_len: usize,
    content: Content,
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forged {
    name: String,
    session_token: String,
}

#[test]
fn every_token_ever_made_opens_and_is_made_the_same_way() {
    let all: Vec<Good> = vectors("good-v1.json");
    assert!(all.len() >= 11);
    for vector in all {
        let name = &vector.name;
        let tokens = Tokens::new(Secret::new(hex::decode(&vector.root).unwrap()));
        let salt = hex::decode(&vector.salt).unwrap().try_into().unwrap();
        let made = tokens.issue(&vector.content, &salt, vector.min_len).unwrap();
        assert_eq!(made.session_token, vector.session_token, "{name}");
        assert_eq!(made.access_key_id, vector.access_key_id, "{name}");
        assert_eq!(made.secret_access_key.expose(), vector.secret_access_key.as_bytes(), "{name}");
        let opened = tokens.open(vector.session_token.as_bytes()).unwrap();
        assert_eq!((opened.content, opened.access_key_id), (vector.content, vector.access_key_id), "{name}");
        assert_eq!(opened.secret_access_key.expose(), vector.secret_access_key.as_bytes(), "{name}");
    }
}

#[test]
fn forged_tokens_do_not_open() {
    let all: Vec<Forged> = vectors("forged-v1.json");
    assert!(all.len() >= 24);
    for Forged { name, session_token } in all {
        assert!(tokens().open(session_token.as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn the_corpus_is_opened_or_refused_as_named() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session");
    let (mut opened, mut refused) = (0, 0);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let good = path.file_name().unwrap().to_str().unwrap().starts_with("good-");
        assert_eq!(tokens().open(&fs::read(&path).unwrap()).is_ok(), good, "{}", path.display());
        *(if good { &mut opened } else { &mut refused }) += 1;
    }
    assert!(opened >= 11 && refused >= 24, "{opened} opened, {refused} refused");
}

#[test]
fn a_token_with_another_byte_anywhere_does_not_open() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let token = issue(&content()).session_token;
    let bytes = STANDARD.decode(&token).unwrap();
    for at in 0..bytes.len() {
        for mask in [1, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[at] ^= mask;
            assert!(tokens().open(STANDARD.encode(other).as_bytes()).is_err(), "byte {at} ^ {mask}");
        }
        assert!(tokens().open(STANDARD.encode(&bytes[..at]).as_bytes()).is_err(), "{at} bytes");
    }
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] ^= 1;
        assert!(tokens().open(&other).is_err(), "character {at}");
        assert!(tokens().open(&token.as_bytes()[..at]).is_err(), "{at} characters");
    }
}

#[test]
fn credentials_look_like_awss_and_are_of_one_salt_and_one_root() {
    let one = issue(&content());
    let Credentials { access_key_id, secret_access_key, .. } = &one;
    assert!(access_key_id.starts_with("ASIA") && access_key_id.len() == 20, "{access_key_id}");
    assert_eq!(secret_access_key.expose().len(), 40);
    let again = tokens().issue(&content(), &[8; SALT_LEN], 0).unwrap();
    let other = Tokens::new(Secret::new(vec![1; 32])).issue(&content(), &[7; SALT_LEN], 0).unwrap();
    for different in [&again, &other] {
        assert_ne!(different.access_key_id, one.access_key_id);
        assert_ne!(different.secret_access_key.expose(), one.secret_access_key.expose());
    }
    assert!(tokens().open(other.session_token.as_bytes()).is_err());
    assert!(!one.session_token.contains(std::str::from_utf8(secret_access_key.expose()).unwrap()));
}

#[test]
fn a_token_has_at_most_8192_characters() {
    let with = |len: usize| {
        let content = Content { policy: Some("x".repeat(len)), ..content() };
        tokens().issue(&content, &[7; SALT_LEN], 0).map(|made| made.session_token)
    };
    let longest = (0..MAX_LEN).rev().find_map(|len| with(len).ok()).unwrap();
    assert_eq!(longest.len(), MAX_LEN);
    assert!(tokens().open(longest.as_bytes()).is_ok());
    assert_eq!(with(MAX_LEN).unwrap_err(), TooLong(11_124));
}

proptest! {
    #[test]
    fn what_is_issued_opens(
        policy in prop::option::of("\\PC{0,300}"),
        tags in prop::collection::btree_map("\\PC{1,20}", "\\PC{0,40}", 0..8),
        session in "[\\w+=,.@-]{2,64}",
        source_identity in prop::option::of("[\\w+=,.@-]{2,64}"),
        times in any::<(i64, i64)>(),
        salt in any::<[u8; SALT_LEN]>(),
        min_len in 0..5000_usize,
    ) {
        let content = Content {
            holder: Holder::Role { id: "AROAEXAMPLE".into(), session },
            issued: Timestamp::from_millis(times.0),
            expires: Timestamp::from_millis(times.1),
            transitive_tag_keys: tags.keys().take(3).cloned().collect(),
            policy,
            tags,
            source_identity,
            ..content()
        };
        let made = tokens().issue(&content, &salt, min_len).unwrap();
        prop_assert!(made.session_token.len() >= min_len);
        prop_assert_eq!(tokens().open(made.session_token.as_bytes()).unwrap().content, content);
    }

    #[test]
    fn no_bytes_open(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(tokens().open(&bytes).is_err());
    }

    #[test]
    fn no_text_opens(text in "AQ[A-Za-z0-9+/]{0,2000}={0,2}") {
        prop_assert!(tokens().open(text.as_bytes()).is_err());
    }
}

fn tokens() -> Tokens {
    Tokens::new(Secret::new((0..32).collect()))
}

fn issue(content: &Content) -> Credentials {
    tokens().issue(content, &[7; SALT_LEN], 0).unwrap()
}

fn content() -> Content {
    vectors::<Good>("good-v1.json").remove(0).content
}

fn vectors<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/session").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
