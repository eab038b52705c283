//! One principal's flood is his own: he is throttled, and nobody else waits for him.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::in_process::{MovedClock, START, settings};
use crate::noise::Noise;
use crate::people::{Person, Served};
use crate::process::{LABEL, Locker, again, assert_passed, dir_of, make_token, role, softhsm_dir, until};
use crate::support::wire::Request;

const PLACES: usize = 3;

#[test]
fn who_has_too_many_requests_in_flight_is_throttled_and_nobody_else() {
    let test = "in_flight::who_has_too_many_requests_in_flight_is_throttled_and_nobody_else";
    let Some(dir) = dir_of(test) else {
        let dir = softhsm_dir();
        return assert_passed(test, &again(test, "", dir.path()).output().unwrap());
    };
    if role() == "lock" {
        return Locker::run(&dir);
    }
    make_token(LABEL);
    let mut settings = settings(&dir);
    settings.kms.max_in_flight_per_principal = PLACES;
    let service = Served::open(settings, MovedClock::at(START));
    let everything = json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }]);
    let (ann, bob) = (service.user_who_may("ann", everything.clone()), service.user_who_may("bob", everything));
    let key = service.new_key(&bob, json!({}));
    let describe = json!({ "KeyId": key.id });
    for _ in 0..3 * PLACES {
        service.ok(&ann, "DescribeKey", describe.clone());
    }

    // Nothing is made on the token while somebody else holds its files: these requests stay, though nobody waits for them.
    let locker = Locker::start(test, &dir);
    for _ in 0..PLACES {
        hang_up(&service, &ann);
    }
    let throttled = || service.send(&ann, "DescribeKey", &describe).error() == "ThrottlingException";
    until("all places are taken", throttled);
    let (noise, begun) = (Noise::around(std::process::id()), Instant::now());
    let answer = service.send(&ann, "Encrypt", &json!({ "KeyId": key.id, "Plaintext": "eHk=" }));
    assert!(!noise.has_passed(Duration::from_secs(1), begun), "at once: {:?}", begun.elapsed());
    let message = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.";
    assert_eq!((answer.status, answer.json()), (400, json!({ "__type": "ThrottlingException", "message": message })));
    for _ in 0..10 {
        service.ok(&bob, "DescribeKey", describe.clone());
        service.ok(service.root(), "DescribeKey", describe.clone());
    }
    drop(locker);

    until("the places are free again", || service.send(&ann, "DescribeKey", &describe).status == 200);
    let events = service.events();
    let event = &events[answer.header("x-amzn-requestid").unwrap()];
    assert_eq!((&event["errorCode"], &event["eventName"]), (&json!("ThrottlingException"), &json!("Encrypt")));
    assert_eq!(event["userIdentity"]["principalId"], ann.unique_id);
    let of_ann =
        |event: &&Value| event["userIdentity"]["principalId"] == ann.unique_id && event["eventName"] == "CreateKey";
    until("who hung up is on record", || service.events().values().filter(of_ann).count() == PLACES);
    service.close();
}

/// Sends a request that waits for the token, and does not wait for its answer.
fn hang_up(service: &Served, person: &Person) {
    let request = Request { time: service.time(), ..Request::kms("CreateKey", &json!({})) };
    let bytes = request.signed_as(&service.address, &person.credentials);
    TcpStream::connect(&service.address).unwrap().write_all(&bytes).unwrap();
}
