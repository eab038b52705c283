//! Any bytes as a session token: no panic, and only what was issued under the key opens.
#![no_main]

use hsm_kms::auth::session::Tokens;
use hsm_kms::model::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let tokens = Tokens::new(Secret::new((0..32).collect()));
    if let Ok(opened) = tokens.open(bytes) {
        // Nobody can forge one, so that it is one of the corpus, which is of this day.
        assert_eq!(opened.content.issued.as_millis(), 1_795_305_600_123);
    }
});
