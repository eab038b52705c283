//! Replays the corpora of `fuzz/fuzz_targets/public_key.rs` and `ecdsa.rs` on a stable compiler, with the same assertions.
//!
//! A file `good-…` must be accepted and a file `bad-…` refused; what a fuzzer adds under other names must not panic.

use std::path::Path;

use hsm_kms::crypto::{Message, PublicKey, ecdsa_der, ecdsa_raw};
use hsm_kms::model::KeyPairSpec;
use proptest::prelude::*;

/// What the target of public keys asserts; whether the bytes were accepted.
fn public_key(bytes: &[u8]) -> bool {
    let keys: Vec<PublicKey> =
        KeyPairSpec::ALL.iter().filter_map(|spec| PublicKey::from_spki(*spec, bytes).ok()).collect();
    for key in &keys {
        assert_eq!(key.spki(), bytes);
        if let Some(point) = key.point() {
            let again = PublicKey::from_point(key.spec(), point).expect("what was accepted is accepted again");
            assert_eq!(again.spki(), bytes);
        }
        for algorithm in key.spec().signing_algorithms() {
            assert!(key.verify(*algorithm, Message::Raw(bytes), bytes).is_err());
        }
    }
    assert!(keys.len() <= 1);
    !keys.is_empty()
}

/// What the target of signatures asserts; whether the bytes were accepted as DER.
fn ecdsa(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for spec in KeyPairSpec::ALL {
        if let Ok(raw) = ecdsa_raw(*spec, bytes) {
            assert_eq!(ecdsa_der(*spec, &raw).expect("what was read is written"), bytes);
            accepted = true;
        }
        if let Ok(der) = ecdsa_der(*spec, bytes) {
            assert_eq!(ecdsa_raw(*spec, &der).expect("what was written is read"), bytes);
        }
    }
    accepted
}

const TARGETS: [(&str, fn(&[u8]) -> bool); 2] = [("public_key", public_key), ("ecdsa", ecdsa)];

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

#[test]
fn the_corpora_are_accepted_and_refused_as_named() {
    for (target, replay) in TARGETS {
        let samples = corpus(target);
        assert!(samples.len() >= 30, "{target}");
        for (name, bytes) in samples {
            let accepted = replay(&bytes);
            assert!(accepted || !name.starts_with("good-"), "{target}: {name} is refused");
            assert!(!accepted || !name.starts_with("bad-"), "{target}: {name} is accepted");
        }
    }
}

proptest! {
    /// Bytes near the corpora: one range of one sample replaced.
    #[test]
    fn mutations_of_the_corpora_never_panic(
        target in 0_usize..2, sample: prop::sample::Index, at: prop::sample::Index, remove in 0_usize..20,
        insert in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let (target, replay) = TARGETS[target];
        let samples = corpus(target);
        let mut bytes = sample.get(&samples).1.clone();
        let start = at.index(bytes.len() + 1);
        bytes.splice(start..(start + remove).min(bytes.len()), insert);
        replay(&bytes);
    }
}
