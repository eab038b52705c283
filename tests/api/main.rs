//! The operations, against the real program with a real token: through the SDK, and byte by byte.

mod aliases;
mod asymmetric;
mod cryptography;
mod data_key_pairs;
mod dry_run;
mod errors;
mod identifiers;
mod keys;
mod listing;
#[path = "../support/openssl.rs"]
mod openssl;
mod policies;
mod regions;
mod sdk;
mod states;
mod sts;
#[path = "../support/mod.rs"]
mod support;
mod tags;
mod usage;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::Service;
use support::wire::{Answer, Request};

/// A service with two Regions that the tests of this program share, each with keys of its own. It ends with the last
/// test that holds it.
fn shared() -> Arc<Service> {
    static SERVICE: Mutex<Weak<Service>> = Mutex::new(Weak::new());
    let mut service = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
    service.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Service::start_with(&["--region", "us-east-1", "--region", "eu-west-1"]));
        *service = Arc::downgrade(&started);
        started
    })
}

/// A key that a test made.
#[derive(Clone, Debug)]
struct Key {
    id: String,
    arn: String,
}

fn new_key(service: &Service) -> Key {
    let metadata = ok(service, "CreateKey", &json!({}))["KeyMetadata"].clone();
    let text = |name: &str| metadata[name].as_str().unwrap().to_owned();
    Key { id: text("KeyId"), arn: text("Arn") }
}

/// A key of another spec than the symmetric one.
fn new_key_of(service: &Service, spec: &str, usage: &str) -> Key {
    let metadata = ok(service, "CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage }))["KeyMetadata"].clone();
    let text = |name: &str| metadata[name].as_str().unwrap().to_owned();
    Key { id: text("KeyId"), arn: text("Arn") }
}

/// An alias name that no other test has.
fn new_alias(word: &str) -> String {
    format!("alias/{word}-{}", uuid::Uuid::new_v4())
}

/// Sends a request of the root user in the first Region.
fn call(service: &Service, operation: &str, body: &Value) -> Answer {
    checked(Request::kms(operation, body).send(service))
}

/// Sends a body that need not be JSON.
fn call_bytes(service: &Service, operation: &str, body: &[u8]) -> Answer {
    checked(Request::kms_bytes(operation, body).send(service))
}

/// Sends a request in another Region.
fn call_in(service: &Service, region: &str, operation: &str, body: &Value) -> Answer {
    checked(Request { region: region.into(), ..Request::kms(operation, body) }.send(service))
}

/// What every answer has.
fn checked(answer: Answer) -> Answer {
    let id = answer.header("x-amzn-requestid").expect("a request id");
    assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").to_string(), id);
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, must-revalidate, private"));
    answer
}

/// The body of an answer that must be 200.
fn ok(service: &Service, operation: &str, body: &Value) -> Value {
    succeeded(&call(service, operation, body), operation)
}

fn succeeded(answer: &Answer, operation: &str) -> Value {
    assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// Asks for something that must be refused in exactly these words; without a message the body must have none.
#[track_caller]
fn refused(service: &Service, operation: &str, body: &Value, error: &str, message: &str) {
    is_refusal(&call(service, operation, body), error, message);
}

#[track_caller]
fn is_refusal(answer: &Answer, error: &str, message: &str) {
    let expected = match message {
        "" => json!({ "__type": error }),
        message => json!({ "__type": error, "message": message }),
    };
    assert_eq!((answer.status, answer.json()), (400, expected));
}

/// The text of a single broken constraint.
fn violation(what: &str) -> String {
    format!("1 validation error detected: {what}")
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("a blob is a string")).expect("base64")
}

/// A blob of `plaintext` under a key, without an encryption context.
fn encrypted(service: &Service, key: &Key, plaintext: &[u8]) -> String {
    let answer = ok(service, "Encrypt", &json!({ "KeyId": key.id, "Plaintext": base64(plaintext) }));
    answer["CiphertextBlob"].as_str().unwrap().to_owned()
}

/// The names of an object's members, sorted.
fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The audit event of the request with this id; there is exactly one.
fn event(service: &Service, answer: &Answer) -> Value {
    let id = answer.header("x-amzn-requestid").unwrap();
    let mut events: Vec<Value> = service.audit().into_iter().map(|line| line["event"].clone()).collect();
    events.retain(|event| event["requestID"] == id);
    assert_eq!(events.len(), 1, "one record for request {id}");
    events.remove(0)
}

/// What the root user is told of a resource that another account has, or that nobody has.
fn unknown_resource(action: &str, resource: &str) -> String {
    format!(
        "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:{action} on {resource} because the \
         resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy \
         explicitly denies access"
    )
}

fn unknown_key_of_ciphertext(action: &str) -> String {
    unknown_resource(action, "the resource associated with this ciphertext")
}
