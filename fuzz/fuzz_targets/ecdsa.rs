//! Any bytes as an ECDSA signature of every curve: no panic, and what is read is written as it was.
#![no_main]

use hsm_kms::crypto::{ecdsa_der, ecdsa_raw};
use hsm_kms::model::KeyPairSpec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for spec in KeyPairSpec::ALL {
        if let Ok(raw) = ecdsa_raw(*spec, bytes) {
            assert_eq!(ecdsa_der(*spec, &raw).expect("what was read is written"), bytes);
        }
        if let Ok(der) = ecdsa_der(*spec, bytes) {
            assert_eq!(ecdsa_raw(*spec, &der).expect("what was written is read"), bytes);
        }
    }
});
