//! Key material from outside: wrapped by Python's `cryptography`, unwrapped by the service, and held against what went in.

mod canary;
mod crash;
#[path = "../support/in_process.rs"]
mod in_process;
mod kinds;
mod life;
mod oracle;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod refusals;
#[path = "../compat/canary.rs"]
#[allow(dead_code)]
mod secrets;
mod several;
#[path = "../support/mod.rs"]
mod support;
mod vectors;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oracle::Oracle;
use serde_json::{Value, json};
use support::Service;
use support::wire::{Answer, Request};

/// A service that the tests of this program share, each with keys of its own. It ends with the last that holds it.
fn shared() -> Arc<Service> {
    static SERVICE: Mutex<Weak<Service>> = Mutex::new(Weak::new());
    let mut service = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
    service.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Service::start());
        *service = Arc::downgrade(&started);
        started
    })
}

/// A new key without material.
fn new_key(service: &Service, spec: &str, usage: &str) -> String {
    let body = json!({ "Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": usage });
    let metadata = ok(service, "CreateKey", &body)["KeyMetadata"].clone();
    assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("PendingImport"), &json!(false)));
    metadata["KeyId"].as_str().unwrap().to_owned()
}

fn symmetric_key(service: &Service) -> String {
    new_key(service, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
}

/// What GetParametersForImport gave.
#[derive(Clone)]
struct Parameters {
    algorithm: String,
    public_key: String,
    token: String,
}

fn parameters(service: &Service, key: &str, algorithm: &str, spec: &str) -> Parameters {
    let body = json!({ "KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": spec });
    Parameters::of(&ok(service, "GetParametersForImport", &body), algorithm)
}

impl Parameters {
    fn of(answer: &Value, algorithm: &str) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Parameters { algorithm: algorithm.into(), public_key: text("PublicKey"), token: text("ImportToken") }
    }

    /// The request that brings this material, for ever.
    fn import(&self, oracle: &mut Oracle, key: &str, material: &[u8]) -> Value {
        json!({
            "KeyId": key,
            "ImportToken": self.token,
            "EncryptedKeyMaterial": oracle.wrap(&self.algorithm, &self.public_key, material),
            "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
        })
    }
}

/// Imports material for ever, in the cheapest way; the answer.
fn import(service: &Service, oracle: &mut Oracle, key: &str, material: &[u8]) -> Value {
    let request = parameters(service, key, "RSAES_OAEP_SHA_256", "RSA_2048").import(oracle, key, material);
    ok(service, "ImportKeyMaterial", &request)
}

fn metadata(service: &Service, key: &str) -> Value {
    ok(service, "DescribeKey", &json!({ "KeyId": key }))["KeyMetadata"].clone()
}

fn state(service: &Service, key: &str) -> String {
    metadata(service, key)["KeyState"].as_str().unwrap().to_owned()
}

fn encrypt(service: &Service, key: &str, plaintext: &[u8]) -> String {
    let answer = ok(service, "Encrypt", &json!({ "KeyId": key, "Plaintext": base64(plaintext) }));
    answer["CiphertextBlob"].as_str().unwrap().to_owned()
}

fn decrypt(service: &Service, blob: &str) -> Vec<u8> {
    bytes(&ok(service, "Decrypt", &json!({ "CiphertextBlob": blob }))["Plaintext"])
}

/// Labels of our objects on the token that hold this text.
fn labels(service: &Service, part: &str) -> Vec<String> {
    let listed = service.pkcs11_tool(&["--list-objects"]);
    let labels = listed.lines().filter_map(|line| line.trim().strip_prefix("label:")).map(|label| label.trim());
    labels.filter(|label| label.contains(part)).map(str::to_owned).collect()
}

fn call(service: &Service, operation: &str, body: &Value) -> Answer {
    Request::kms(operation, body).send(service)
}

#[track_caller]
fn ok(service: &Service, operation: &str, body: &Value) -> Value {
    let answer = call(service, operation, body);
    assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

#[track_caller]
fn refused(service: &Service, operation: &str, body: &Value, error: &str, message: &str) {
    let answer = call(service, operation, body);
    assert_eq!((answer.status, answer.error().as_str(), answer.message().as_str()), (400, error, message));
}

fn arn(key: &str) -> String {
    format!("arn:aws:kms:us-east-1:111122223333:key/{key}")
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("a blob is a string")).expect("base64")
}
