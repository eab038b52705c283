//! Any bytes as the body of every operation: no panic, and what is no JSON object is no request of any.
#![no_main]

use hsm_kms::api::json::OPERATIONS;
use hsm_kms::model::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let is_object = Document::parse(bytes).is_ok();
    for route in OPERATIONS {
        assert!((route.check)(bytes).is_err() || is_object, "{}", route.name);
    }
});
