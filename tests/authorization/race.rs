//! A policy that changes while others do what it is about to forbid.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::in_process::{MovedClock, START};
use crate::people::{Key, Person, Served};
use crate::process::in_own_process;

/// What each operation ends in a round: more than can be done before the policy is there.
const EACH: usize = 6;

/// By the order in which changes are made, and not by that of the requests: who may no more does not.
#[test]
fn nothing_is_ended_after_a_policy_that_forbids_it() {
    in_own_process("race::nothing_is_ended_after_a_policy_that_forbids_it", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let everything = json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }]);
        let ann = service.user_who_may("ann", everything);
        let key = service.new_key(service.root(), json!({}));
        let root = json!({ "Effect": "Allow", "Principal": { "AWS": service.root().arn }, "Action": "kms:*",
            "Resource": "*" });
        let ends = ["kms:DeleteAlias", "kms:RevokeGrant", "kms:RetireGrant"];
        let denied = json!({ "Effect": "Deny", "Principal": { "AWS": ann.arn }, "Action": ends, "Resource": "*" });
        for round in 0..8 {
            let requests = requests(&service, &ann, &key, round);
            let barrier = Barrier::new(requests.len() + 1);
            std::thread::scope(|scope| {
                for (operation, body) in &requests {
                    let (service, ann, barrier) = (&service, &ann, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let answer = service.send(ann, operation, body);
                        assert!(answer.status == 200 || answer.error() == "AccessDeniedException", "{answer:?}");
                    });
                }
                barrier.wait();
                service.put_policy(&key, json!([root, denied]));
            });
            for operation in ["DeleteAlias", "RevokeGrant", "RetireGrant"] {
                let late = &requests.iter().find(|(name, _)| *name == operation).unwrap().1;
                assert_ne!(service.send(&ann, operation, late).status, 200, "{operation}");
            }
            let made = changes(&service);
            let policy = made.iter().rposition(|name| name == "PutKeyPolicy").unwrap();
            assert_eq!(made[policy + 1..], [""; 0], "round {round}: by a policy that had gone");
            service.put_policy(&key, json!([root]));
        }
        service.close();
    });
}

/// What the user tries to end in a round: aliases and grants that are there.
fn requests(service: &Served, ann: &Person, key: &Key, round: usize) -> Vec<(&'static str, Value)> {
    let mut requests = Vec::new();
    for number in 0..EACH {
        let alias = format!("alias/{round}-{number}");
        service.ok(service.root(), "CreateAlias", json!({ "AliasName": alias, "TargetKeyId": key.id }));
        requests.push(("DeleteAlias", json!({ "AliasName": alias })));
        for operation in ["RevokeGrant", "RetireGrant"] {
            let grant = service.grant(ann, key);
            requests.push((operation, json!({ "KeyId": key.arn, "GrantId": grant })));
        }
    }
    requests
}

/// The names of all changes that are not known to be in the audit log, in the order in which they were made.
fn changes(service: &Served) -> Vec<String> {
    let events = service.kms.store.outbox();
    let name = |text: &str| serde_json::from_str::<Value>(text).unwrap()["eventName"].as_str().unwrap().to_owned();
    events.iter().map(|row| name(&row.record.event)).collect()
}
