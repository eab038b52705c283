//! Any bytes as a SubjectPublicKeyInfo of every key spec: no panic, at most one spec takes it, and it stays as it was.
#![no_main]

use hsm_kms::crypto::{Message, PublicKey};
use hsm_kms::model::KeyPairSpec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let keys = KeyPairSpec::ALL.iter().filter_map(|spec| PublicKey::from_spki(*spec, bytes).ok());
    let mut taken = 0;
    for key in keys {
        taken += 1;
        assert_eq!(key.spki(), bytes);
        if let Some(point) = key.point() {
            let again = PublicKey::from_point(key.spec(), point).expect("what was accepted is accepted again");
            assert_eq!(again.spki(), bytes);
        }
        for algorithm in key.spec().signing_algorithms() {
            assert!(key.verify(*algorithm, Message::Raw(bytes), bytes).is_err());
        }
    }
    assert!(taken <= 1);
});
