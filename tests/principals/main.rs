//! The administration of principals, by the real program: against a running service and on its data folder.

mod crash;
mod effect;
mod last_used;
mod offline;
mod operations;
mod operator;
mod race;
mod refusals;
mod secrets;
mod socket;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use aws_credential_types::Credentials;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{BehaviorVersion, Region};
use serde_json::{Value, json};
use support::Service;

const ALLOW_ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}"#;

/// A line as it comes back when this line is sent; empty if the service closes instead.
fn exchange(data: &Path, line: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(data.join("admin.sock")).expect("the socket");
    // Refused before it is read whole, it breaks the pipe.
    let _ = stream.write_all(line);
    answer_of(&mut stream)
}

fn answer_of(stream: &mut UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The output of an operation, or the code and message of its refusal.
fn ask(data: &Path, operation: &str, parameters: &Value) -> Result<Value, (String, String)> {
    let line = format!("{}\n", json!({ "operation": operation, "parameters": parameters }));
    outcome(&exchange(data, line.as_bytes()))
}

fn outcome(answer: &[u8]) -> Result<Value, (String, String)> {
    assert_eq!(answer.iter().position(|byte| *byte == b'\n'), Some(answer.len() - 1), "one line");
    let answer: Value = serde_json::from_slice(answer).expect("JSON");
    let text = |name: &str| answer["error"][name].as_str().map(str::to_owned);
    match (answer.get("output"), text("code").zip(text("message"))) {
        (Some(output), None) => Ok(output.clone()),
        (None, Some(refusal)) => Err(refusal),
        _ => panic!("neither an output nor an error: {answer}"),
    }
}

/// As `ask`; a refusal fails the test.
#[track_caller]
fn done(service: &Service, operation: &str, parameters: Value) -> Value {
    match ask(service.data(), operation, &parameters) {
        Ok(output) => output,
        Err(refusal) => panic!("{operation} {parameters}: {refusal:?}"),
    }
}

/// The code of the refusal.
#[track_caller]
fn refused(service: &Service, operation: &str, parameters: Value) -> String {
    ask(service.data(), operation, &parameters).expect_err(operation).0
}

/// An access key as it was shown once.
#[derive(Clone, Debug)]
struct Key {
    id: String,
    secret: String,
}

impl Key {
    fn of(output: &Value) -> Self {
        let text = |name: &str| output["AccessKey"][name].as_str().expect(name).to_owned();
        Key { id: text("AccessKeyId"), secret: text("SecretAccessKey") }
    }

    /// Signs one request for random bytes: the name of the error that it got.
    fn try_random(&self, service: &Service) -> Result<(), String> {
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&service.env()["AWS_ENDPOINT_URL_KMS"])
            .credentials_provider(Credentials::from_keys(&self.id, &self.secret, None))
            .retry_config(RetryConfig::disabled());
        let client = aws_sdk_kms::Client::from_conf(config.build());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let result = runtime.block_on(client.generate_random().number_of_bytes(1).send());
        let error = result.err().map(|error| {
            let error = error.into_service_error();
            error.meta().code().unwrap_or("no code").to_owned()
        });
        error.map_or(Ok(()), Err)
    }
}

/// A user with an access key.
fn new_user(service: &Service, name: &str) -> Key {
    done(service, "CreateUser", json!({ "UserName": name }));
    Key::of(&done(service, "CreateAccessKey", json!({ "UserName": name })))
}

/// The events of an operation, in order.
fn events(data: &Path, operation: &str) -> Vec<Value> {
    let lines = support::audit_lines(data).into_iter().map(|line| line["event"].clone());
    lines.filter(|event| event["eventName"] == operation && event["eventSource"] == "iam.amazonaws.com").collect()
}
