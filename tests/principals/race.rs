//! Operators at once: the rules hold whoever comes first.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::support::Service;
use crate::{ALLOW_ALL, ask, done};

type Answer = Result<Value, (String, String)>;

/// The answers of requests that are sent at the same moment.
fn at_once(service: &Service, requests: &[(&str, Value)]) -> Vec<Answer> {
    let barrier = Barrier::new(requests.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = requests
            .iter()
            .map(|(operation, parameters)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    ask(service.data(), operation, parameters)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn count(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[test]
fn of_two_users_of_one_name_exactly_one_is_made() {
    let service = Service::start();
    for round in 0..50 {
        let name = format!("user{round}");
        let both =
            [("CreateUser", json!({ "UserName": name })), ("CreateUser", json!({ "UserName": name.to_uppercase() }))];
        let answers = at_once(&service, &both);
        assert_eq!(count(&answers), 1, "{answers:?}");
        let refusal = answers.iter().find_map(|answer| answer.as_ref().err()).unwrap();
        assert_eq!(refusal.0, "EntityAlreadyExists");
        let winner = answers.iter().find_map(|answer| answer.as_ref().ok()).unwrap();
        assert_eq!(done(&service, "GetUser", json!({ "UserName": name })), *winner);
    }
    assert_eq!(done(&service, "ListUsers", json!({}))["Users"].as_array().unwrap().len(), 50);
}

#[test]
fn nobody_gets_a_third_access_key() {
    let service = Service::start();
    for round in 0..20 {
        let user = json!({ "UserName": format!("user{round}") });
        done(&service, "CreateUser", user.clone());
        let answers = at_once(&service, &vec![("CreateAccessKey", user.clone()); 6]);
        assert_eq!(count(&answers), 2, "{answers:?}");
        let listed = done(&service, "ListAccessKeys", user);
        assert_eq!(listed["AccessKeyMetadata"].as_array().unwrap().len(), 2);
    }
    // The root user has one from the start.
    assert_eq!(count(&at_once(&service, &vec![("CreateAccessKey", json!({})); 6])), 1);
}

#[test]
fn no_access_key_outlives_its_user() {
    let service = Service::start();
    for round in 0..20 {
        let user = json!({ "UserName": format!("user{round}") });
        done(&service, "CreateUser", user.clone());
        let answers = at_once(&service, &[("DeleteUser", user.clone()), ("CreateAccessKey", user.clone())]);
        assert_eq!(count(&answers), 1, "{answers:?}");
    }
}

#[test]
fn no_policy_is_deleted_while_it_is_attached() {
    let service = Service::start();
    done(&service, "CreateUser", json!({ "UserName": "alice" }));
    for round in 0..20 {
        let arn = format!("arn:aws:iam::111122223333:policy/p{round}");
        let policy = json!({ "PolicyName": format!("p{round}"), "PolicyDocument": ALLOW_ALL });
        done(&service, "CreatePolicy", policy);
        let attach = match round % 2 {
            0 => ("AttachUserPolicy", json!({ "UserName": "alice", "PolicyArn": arn })),
            _ => ("PutUserPermissionsBoundary", json!({ "UserName": "alice", "PermissionsBoundary": arn })),
        };
        let answers = at_once(&service, &[attach.clone(), ("DeletePolicy", json!({ "PolicyArn": arn }))]);
        assert_eq!(count(&answers), 1, "{answers:?}");
        if answers[0].is_ok() && attach.0 == "AttachUserPolicy" {
            done(&service, "DetachUserPolicy", attach.1);
        }
    }
}

#[test]
fn no_change_of_one_user_is_lost() {
    let service = Service::start();
    done(&service, "CreateUser", json!({ "UserName": "alice" }));
    for round in 0..5 {
        let tag = |number: u32| json!([{ "Key": format!("k{round}-{number}"), "Value": "" }]);
        let tags: Vec<_> =
            (0..8).map(|number| ("TagUser", json!({ "UserName": "alice", "Tags": tag(number) }))).collect();
        assert_eq!(count(&at_once(&service, &tags)), 8);
    }
    let user = done(&service, "GetUser", json!({ "UserName": "alice" }));
    assert_eq!(user["User"]["Tags"].as_array().unwrap().len(), 40);
}
