//! Replays the corpora of `fuzz/`, which need a nightly compiler only to grow.

use std::fs;
use std::path::Path;

use hsm_kms::blob;
use hsm_kms::model::EncryptionContext;

#[test]
fn blobs_are_refused_or_read_as_they_are() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/blob");
    let (mut parsed, mut refused) = (0, 0);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        match blob::parse(&bytes) {
            Ok(blob) => {
                parsed += 1;
                assert_eq!(blob.to_bytes(), bytes, "{}", path.display());
                assert!(blob::open(&blob, &[0; 32], &EncryptionContext::default()).is_err(), "{}", path.display());
            }
            Err(_) => refused += 1,
        }
    }
    assert!(parsed >= 12 && refused >= 40, "{parsed} parsed, {refused} refused");
}
