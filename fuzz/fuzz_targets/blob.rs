#![no_main]

use hsm_kms::blob;
use hsm_kms::model::EncryptionContext;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(blob) = blob::parse(bytes) {
        assert_eq!(blob.to_bytes(), bytes);
        assert!(blob::open(&blob, &[0; 32], &EncryptionContext::default()).is_err());
    }
});
