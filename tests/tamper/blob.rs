//! Every byte of a ciphertext, changed, missing or added.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hsm_kms::token::Counts;
use serde_json::{Value, json};

use crate::in_process::{InProcess, MovedClock, START};
use crate::process::{Cost, block_on, in_own_process};

#[test]
fn a_forged_blob_is_invalid_and_costs_one_more_call() {
    in_own_process("blob::a_forged_blob_is_invalid_and_costs_one_more_call", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (good, other) = (seal(&service).await, seal(&service).await);
            open(&service, &good).await;
            let at_first = counts(&service);
            let (mut tried, mut cost) = (0, Cost::begin(1));
            for forged in forgeries(&good, &other) {
                let before = counts(&service).operations;
                let (status, told) = service.try_call("Decrypt", &body(&forged)).await;
                let spent = counts(&service).operations - before;
                assert_eq!(status, 400, "{told}");
                assert!(is_refusal_of(&forged, &good, &told), "{told} for {}", hex::encode(&forged));
                cost.add(spent);
                tried += 1;
                if tried % 25 == 0 {
                    open(&service, &good).await;
                }
            }
            assert!(tried > 600, "{tried}");
            open(&service, &good).await;
            let at_last = counts(&service);
            assert_eq!((at_last.sessions, at_last.recoveries), (at_first.sessions, at_first.recoveries));
            assert_eq!(at_last.logins, 1);
            service.close().await;
        });
    });
}

#[test]
fn a_blob_opens_with_its_own_context_and_key_only() {
    in_own_process("blob::a_blob_opens_with_its_own_context_and_key_only", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let good = seal(&service).await;
            for context in
                [json!({}), json!({ "a": "1" }), json!({ "a": "1", "b": "3" }), json!({ "a": "2", "b": "1" })]
            {
                let mut request = body(&good);
                request["EncryptionContext"] = context;
                assert_eq!(service.try_call("Decrypt", &request).await, (400, invalid()));
                let mut request =
                    json!({ "CiphertextBlob": request["CiphertextBlob"], "DestinationKeyId": service.new_key().await });
                request["SourceEncryptionContext"] = json!({ "a": "2" });
                assert_eq!(service.try_call("ReEncrypt", &request).await, (400, invalid()));
            }
            let mut request = body(&good);
            request["KeyId"] = service.new_key().await.into();
            assert_eq!(service.refused("Decrypt", request).await, "IncorrectKeyException");
            open(&service, &good).await;
            service.close().await;
        });
    });
}

/// Two bits of every byte, every length below, some above, and parts of one blob in another.
fn forgeries(good: &[u8], other: &[u8]) -> Vec<Vec<u8>> {
    let mut forged = Vec::new();
    for index in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = good.to_vec();
            bytes[index] ^= bit;
            forged.push(bytes);
        }
    }
    forged.extend((1..good.len()).map(|len| good[..len].to_vec()));
    for extra in [1, 2, 16, 1_000] {
        forged.push([good, &vec![0; extra][..]].concat());
    }
    forged.push([good, good].concat());
    // Both are of the same length and layout; the key ids are left alone.
    for cut in HEADER_LEN..good.len() {
        forged.push([&good[..cut], &other[cut..]].concat());
    }
    // The last bytes of two tags are the same once in 256 runs.
    forged.retain(|bytes| bytes != good);
    forged
}

/// Without a message, as always; a key id that no key has is an unknown key.
fn is_refusal_of(forged: &[u8], good: &[u8], told: &Value) -> bool {
    let same_key = forged.len() < HEADER_LEN || forged[KEY_ID] == good[KEY_ID];
    *told == invalid() || (!same_key && told["__type"] == "AccessDeniedException")
}

fn invalid() -> Value {
    json!({ "__type": "InvalidCiphertextException" })
}

async fn seal(service: &InProcess) -> Vec<u8> {
    let request = json!({ "KeyId": service.new_key().await, "Plaintext": PLAINTEXT, "EncryptionContext": context() });
    let sealed = service.call("Encrypt", request).await;
    BASE64_STANDARD.decode(sealed["CiphertextBlob"].as_str().unwrap()).unwrap()
}

async fn open(service: &InProcess, blob: &[u8]) {
    assert_eq!(service.call("Decrypt", body(blob)).await["Plaintext"], PLAINTEXT);
}

fn body(blob: &[u8]) -> Value {
    json!({ "CiphertextBlob": BASE64_STANDARD.encode(blob), "EncryptionContext": context() })
}

fn context() -> Value {
    json!({ "a": "1", "b": "2" })
}

fn counts(service: &InProcess) -> Counts {
    service.app.kms().tokens()[0].counts()
}

const PLAINTEXT: &str = "dGhpcnR5LXR3byBieXRlcyBvZiBwbGFpbnRleHQhISE=";
/// Flags and key id.
const KEY_ID: std::ops::Range<usize> = 2..19;
const HEADER_LEN: usize = 23;
