//! Several Regions in one service, each on its own token.

mod crash;
mod deletion;
#[path = "../support/in_process.rs"]
mod in_process;
mod machine;
#[path = "../support/noise.rs"]
mod noise;
mod pairs;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod race;
mod replicas;
mod rotation;
#[path = "../support/shim.rs"]
mod shim;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod unpair;

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use machine::{Machine, another_module, get, until};
use support::Service;
use support::wire::{Answer, Request};

const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";

/// A request of the root user.
fn ask(service: &Service, region: &str, operation: &str, body: &Value) -> Answer {
    Request { region: region.into(), ..Request::kms(operation, body) }.send(service)
}

#[track_caller]
fn ok(service: &Service, region: &str, operation: &str, body: Value) -> Value {
    let answer = ask(service, region, operation, &body);
    assert_eq!(answer.status, 200, "{operation} {body} in {region}: {:?}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// A refused request: the exception's name and message.
#[track_caller]
fn refused(service: &Service, region: &str, operation: &str, body: Value) -> (String, String) {
    let answer = ask(service, region, operation, &body);
    assert_ne!(answer.status, 200, "{operation} {body} in {region} succeeded");
    (answer.error(), answer.message())
}

fn encrypt(service: &Service, region: &str, key: &str, plaintext: &str) -> String {
    let body = json!({ "KeyId": key, "Plaintext": STANDARD.encode(plaintext) });
    ok(service, region, "Encrypt", body)["CiphertextBlob"].as_str().unwrap().to_owned()
}

fn decrypt(service: &Service, region: &str, blob: &str) -> String {
    let answer = ok(service, region, "Decrypt", json!({ "CiphertextBlob": blob }));
    String::from_utf8(STANDARD.decode(answer["Plaintext"].as_str().unwrap()).unwrap()).unwrap()
}
