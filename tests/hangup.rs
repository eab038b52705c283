//! A client that hangs up leaves its record all the same: work that has begun is finished and recorded.

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Service;
use support::wire::{Request, exchange};

#[test]
fn data_keys_that_nobody_waits_for_are_on_record() {
    let service = Service::start();
    let key = Request::kms("CreateKey", &json!({})).send(&service).json()["KeyMetadata"]["KeyId"].clone();
    let names: BTreeSet<String> = (0..300).map(|number| format!("hangup-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let body = json!({ "KeyId": key, "KeySpec": "AES_256", "EncryptionContext": { "name": name } });
        let request = Request::kms("GenerateDataKey", &body).signed(&service);
        hang_up(&service, &request, number);
    }
    let recorded = |event: &Value| {
        let name = event["requestParameters"]["encryptionContext"]["name"].as_str();
        name.filter(|_| event["eventName"] == "GenerateDataKey").map(str::to_owned)
    };
    assert_eq!(wait_for_records(&service, names.len(), recorded), names);
    assert!(events(&service).iter().all(|event| event.get("errorCode").is_none()));
}

#[test]
fn keys_that_nobody_waits_for_are_made_and_on_record() {
    let service = Service::start();
    let names: BTreeSet<String> = (0..60).map(|number| format!("hangup-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let request = Request::kms("CreateKey", &json!({ "Description": name })).signed(&service);
        hang_up(&service, &request, number);
    }
    let recorded = |event: &Value| {
        let name = event["requestParameters"]["description"].as_str();
        name.filter(|_| event["eventName"] == "CreateKey").map(str::to_owned)
    };
    assert_eq!(wait_for_records(&service, names.len(), recorded), names);
    let keys = Request::kms("ListKeys", &json!({})).send(&service).json();
    let described = keys["Keys"].as_array().unwrap().iter().map(|key| {
        let answer = Request::kms("DescribeKey", &json!({ "KeyId": key["KeyId"] })).send(&service).json();
        answer["KeyMetadata"]["Description"].as_str().unwrap().to_owned()
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), names, "every record has its key, and every key its record");
}

#[test]
fn half_a_request_is_none_and_disturbs_nobody() {
    let service = Service::start();
    let before = events(&service).len();
    let request = Request::kms("CreateKey", &json!({ "Description": "half" })).signed(&service);
    for end in [1, request.len() / 2, request.len() - 1] {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(&request[..end]).unwrap();
    }
    let answer = exchange(&service.address(), &Request::kms("ListKeys", &json!({})).signed(&service));
    assert_eq!(answer.json(), json!({ "Keys": [], "Truncated": false }));
    let events = events(&service).split_off(before);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["eventName"], "ListKeys");
}

/// Sends a whole request and goes away: at once, or a little later, up to two milliseconds.
fn hang_up(service: &Service, request: &[u8], number: usize) {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.write_all(request).unwrap();
    let patience = Duration::from_micros([0, 0, 50, 200, 500, 1_000, 2_000][number % 7]);
    let until = Instant::now() + patience;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

fn wait_for_records(service: &Service, count: usize, recorded: impl Fn(&Value) -> Option<String>) -> BTreeSet<String> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let all: Vec<String> = events(service).iter().filter_map(&recorded).collect();
        if all.len() >= count || Instant::now() > deadline {
            let names: BTreeSet<String> = all.iter().cloned().collect();
            assert_eq!(names.len(), all.len(), "one record for each");
            return names;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn events(service: &Service) -> Vec<Value> {
    let events = service.audit().into_iter().map(|line| line["event"].clone());
    events.filter(|event| event["eventType"] == "AwsApiCall").collect()
}
