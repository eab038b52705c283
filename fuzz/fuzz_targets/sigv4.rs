//! The Authorization parser on any bytes: no panic, and what is accepted is accepted again when written out.
#![no_main]

use hsm_kms::auth::sigv4::Authorization;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Authorization::parse(bytes) else { return };
    let again = Authorization::parse(&written(&read)).expect("what was accepted is accepted again");
    assert_eq!(written(&again), written(&read));
});

/// The header in the one form that SDKs send.
fn written(read: &Authorization) -> Vec<u8> {
    let Authorization { access_key_id, date, region, service, signed_headers, signature } = read;
    let names = signed_headers.join(";");
    let credential = format!("{access_key_id}/{date}/{region}/{service}/aws4_request");
    let mut text = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature=").into_bytes();
    text.extend_from_slice(signature.expose());
    text
}
