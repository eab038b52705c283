//! What everybody else feels of RSA keys in the making.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::Subject;
use crate::report::Beside;
use crate::support::wire::Request;

/// GenerateDataKey alone for `seconds`, and then as long while a KMS key and a data key pair of RSA-4096 are made without
/// pause.
pub fn measure(subject: &Subject, seconds: f64) -> Beside {
    let quiet = subject.measure("GenerateDataKey", IN_FLIGHT, seconds);
    let (stop, keys, pairs) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let key = json!({ "KeySpec": "RSA_4096", "KeyUsage": "SIGN_VERIFY" });
    let pair = json!({ "KeyId": subject.key_id, "KeyPairSpec": "RSA_4096" });
    let busy = std::thread::scope(|scope| {
        scope.spawn(|| repeat(subject, "CreateKey", &key, &stop, &keys));
        scope.spawn(|| repeat(subject, "GenerateDataKeyPair", &pair, &stop, &pairs));
        let busy = subject.measure("GenerateDataKey", IN_FLIGHT, seconds);
        stop.store(true, Ordering::Release);
        busy
    });
    let beside = Beside { quiet, busy, keys: keys.into_inner(), pairs: pairs.into_inner() };
    eprintln!("beside {} keys and {} pairs of RSA-4096", beside.keys, beside.pairs);
    beside
}

/// Asks again as soon as there is an answer. Too late is an answer too: then the machine is as busy as it can be.
fn repeat(subject: &Subject, operation: &str, body: &Value, stop: &AtomicBool, done: &AtomicUsize) {
    while !stop.load(Ordering::Acquire) {
        let answer = Request::kms(operation, body).send(&subject.service);
        match answer.status {
            200 => done.fetch_add(1, Ordering::Relaxed),
            503 => 0,
            status => panic!("{operation}: {status} {}", String::from_utf8_lossy(&answer.body)),
        };
    }
}

const IN_FLIGHT: usize = 8;
