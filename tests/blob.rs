//! Blobs: golden vectors, and what an attacker may do to one.

use std::fs;
use std::path::Path;

use hsm_kms::blob::{self, Header, MAX_LEN, MAX_PLAINTEXT_LEN, MAX_WRAPPED_SEED_LEN, Unsealable};
use hsm_kms::model::{EncryptionContext, KeyId};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Good {
    name: String,
    scheme: u8,
    key_id: KeyId,
    material: u32,
    seed: String,
    wrapped_seed: String,
    context: EncryptionContext,
    plaintext: String,
    nonce: String,
    blob: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MalformedVector {
    name: String,
    blob: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forged {
    name: String,
    seed: String,
    context: EncryptionContext,
    blob: String,
}

fn vectors<T: DeserializeOwned>(kind: &str) -> Vec<T> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/blob");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
    named.flat_map(|path| serde_json::from_slice::<Vec<T>>(&fs::read(path).unwrap()).unwrap()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn every_blob_ever_made_opens_and_is_made_the_same_way() {
    let all = vectors::<Good>("good-");
    assert!(all.len() >= 12);
    for vector in all {
        let name = &vector.name;
        let header = Header { scheme: vector.scheme, key_id: vector.key_id, material: vector.material };
        let (seed, wrapped, plaintext) = (array(&vector.seed), bytes(&vector.wrapped_seed), bytes(&vector.plaintext));
        let expected = bytes(&vector.blob);
        let parsed = blob::parse(&expected).unwrap();
        assert_eq!((parsed.header(), parsed.wrapped_seed()), (&header, wrapped.as_slice()), "{name}");
        assert_eq!(blob::open(&parsed, &seed, &vector.context).unwrap().expose(), plaintext, "{name}");
        let sealed = blob::seal(&header, &seed, &wrapped, &vector.context, &plaintext, array(&vector.nonce)).unwrap();
        assert_eq!(sealed, expected, "{name}");
    }
}

#[test]
fn malformed_blobs_are_refused_for_their_reason() {
    let all = vectors::<MalformedVector>("malformed-");
    assert!(all.len() >= 40);
    for MalformedVector { name, blob, reason } in all {
        assert_eq!(format!("{:?}", blob::parse(&bytes(&blob)).unwrap_err()), reason, "{name}");
    }
}

#[test]
fn forged_blobs_do_not_open() {
    let all = vectors::<Forged>("forged-");
    assert!(all.len() >= 18);
    for Forged { name, seed, context, blob } in all {
        let blob = bytes(&blob);
        let parsed = blob::parse(&blob).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(blob::open(&parsed, &array(&seed), &context).is_err(), "{name}");
    }
}

#[test]
fn the_longest_plaintext_fits_and_nothing_longer() {
    let seal = |wrapped: usize, plaintext: usize| {
        let context = EncryptionContext::default();
        blob::seal(&header(), &[1; 32], &vec![2; wrapped], &context, &vec![3; plaintext], [4; 12])
    };
    assert!(seal(60, MAX_PLAINTEXT_LEN).unwrap().len() <= MAX_LEN);
    assert_eq!((MAX_LEN, MAX_PLAINTEXT_LEN), (6144, 4096));
    let longest = seal(MAX_WRAPPED_SEED_LEN, MAX_PLAINTEXT_LEN).unwrap();
    assert_eq!(longest.len(), MAX_LEN);
    assert!(blob::parse(&longest).is_ok());
    assert_eq!(seal(MAX_WRAPPED_SEED_LEN + 1, MAX_PLAINTEXT_LEN), Err(Unsealable::TooLong(MAX_LEN + 1)));
    assert_eq!(seal(MAX_WRAPPED_SEED_LEN, MAX_PLAINTEXT_LEN + 1), Err(Unsealable::TooLong(MAX_LEN + 1)));
    assert_eq!(seal(0, 1), Err(Unsealable::NoWrappedSeed));
}

#[test]
fn the_token_authenticates_label_and_header() {
    let expected = [b"hsm-kms/wrap/v1".as_slice(), &header().bytes()].concat();
    assert_eq!(blob::wrap_associated_data(&header()), expected);
    assert_eq!(hex::encode(header().bytes()), "010201".to_owned() + &"09".repeat(16) + "00000003");
}

fn header() -> Header {
    Header { scheme: 2, key_id: KeyId::multi_region_from_bytes([9; 16]), material: 3 }
}

prop_compose! {
    fn any_header()(scheme: u8, uuid: [u8; 16], multi_region: bool, material: u32) -> Header {
        let key_id = if multi_region { KeyId::multi_region_from_bytes(uuid) } else { KeyId::from_bytes(uuid) };
        Header { scheme, key_id, material }
    }
}

fn any_context() -> impl Strategy<Value = EncryptionContext> {
    let pairs = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4);
    pairs.prop_map(|pairs| serde_json::from_value(serde_json::to_value(pairs).unwrap()).unwrap())
}

proptest! {
    #[test]
    fn what_is_sealed_opens(
        header in any_header(),
        seed: [u8; 32],
        wrapped in proptest::collection::vec(any::<u8>(), 1..200),
        context in any_context(),
        plaintext in proptest::collection::vec(any::<u8>(), 0..4097),
        nonce: [u8; 12],
    ) {
        let sealed = blob::seal(&header, &seed, &wrapped, &context, &plaintext, nonce).unwrap();
        let parsed = blob::parse(&sealed).unwrap();
        prop_assert_eq!(parsed.header(), &header);
        prop_assert_eq!(parsed.wrapped_seed(), wrapped.as_slice());
        prop_assert_eq!(parsed.to_bytes(), sealed.clone());
        let opened = blob::open(&parsed, &seed, &context).unwrap();
        prop_assert_eq!(opened.expose(), plaintext.as_slice());
    }

    #[test]
    fn another_context_or_seed_does_not_open(
        seed: [u8; 32],
        other: [u8; 32],
        context in any_context(),
        another in any_context(),
    ) {
        let sealed = blob::seal(&header(), &seed, &[1; 60], &context, b"plaintext", [4; 12]).unwrap();
        let parsed = blob::parse(&sealed).unwrap();
        prop_assert_eq!(blob::open(&parsed, &seed, &another).is_ok(), context == another);
        prop_assert_eq!(blob::open(&parsed, &other, &context).is_ok(), seed == other);
    }

    /// The wrapped seed is opaque here: even a token that unwrapped a changed one to the same seed would not help.
    #[test]
    fn every_flipped_bit_is_refused(header in any_header(), seed: [u8; 32], context in any_context(), len in 0_usize..40) {
        let good = blob::seal(&header, &seed, &[7; 60], &context, &vec![5; len], [4; 12]).unwrap();
        for bit in 0..good.len() * 8 {
            let mut forged = good.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let opened = blob::parse(&forged).ok().and_then(|parsed| blob::open(&parsed, &seed, &context).ok());
            prop_assert!(opened.is_none(), "bit {}", bit);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_as_they_are(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), known: bool) {
        if known && bytes.len() > 25 {
            // Past the first checks.
            (bytes[0], bytes[2], bytes[23]) = (1, bytes[2] & 1, 0);
        }
        if let Ok(parsed) = blob::parse(&bytes) {
            prop_assert_eq!(parsed.to_bytes(), bytes);
        }
    }
}
