//! Replays the corpus of `fuzz/fuzz_targets/sigv4.rs` on a stable compiler, with the same assertion.
//!
//! A file `good-…` must be accepted and a file `bad-…` refused; what a fuzzer adds under other names must not panic.

use std::path::Path;

use hsm_kms::auth::sigv4::Authorization;
use proptest::prelude::*;

/// What the fuzz target asserts; whether the bytes were accepted.
fn replay(bytes: &[u8]) -> bool {
    let Ok(read) = Authorization::parse(bytes) else { return false };
    let again = Authorization::parse(&written(&read)).expect("what was accepted is accepted again");
    assert_eq!(written(&again), written(&read));
    true
}

fn written(read: &Authorization) -> Vec<u8> {
    let Authorization { access_key_id, date, region, service, signed_headers, signature } = read;
    let names = signed_headers.join(";");
    let credential = format!("{access_key_id}/{date}/{region}/{service}/aws4_request");
    let mut text = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature=").into_bytes();
    text.extend_from_slice(signature.expose());
    text
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/sigv4");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

#[test]
fn the_corpus_is_accepted_and_refused_as_named() {
    let samples = corpus();
    assert!(samples.len() >= 30);
    for (name, bytes) in samples {
        let accepted = replay(&bytes);
        assert!(accepted || !name.starts_with("good-"), "{name} is refused");
        assert!(!accepted || !name.starts_with("bad-"), "{name} is accepted");
    }
}

proptest! {
    /// Bytes near the corpus: one range of one sample replaced.
    #[test]
    fn mutations_of_the_corpus_never_panic(
        sample: prop::sample::Index, at: prop::sample::Index, remove in 0_usize..20, insert in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let samples = corpus();
        let mut bytes = sample.get(&samples).1.clone();
        let start = at.index(bytes.len() + 1);
        bytes.splice(start..(start + remove).min(bytes.len()), insert);
        replay(&bytes);
    }
}
