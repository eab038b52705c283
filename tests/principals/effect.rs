//! What is changed decides the very next request.

use serde_json::{Value, json};

use crate::support::Service;
use crate::{ALLOW_ALL, Key, done, new_user, refused};

const DENIED: &str = "AccessDeniedException";
/// What an access key that is not there, or not active, gets.
const UNKNOWN: &str = "UnrecognizedClientException";

fn denied() -> Result<(), String> {
    Err(DENIED.into())
}

fn unknown() -> Result<(), String> {
    Err(UNKNOWN.into())
}

#[test]
fn policies_decide_the_next_request() {
    let service = Service::start();
    let alice = new_user(&service, "alice");
    let own = |more: Value| {
        let mut all = json!({ "UserName": "alice", "PolicyName": "own" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    for _ in 0..5 {
        assert_eq!(alice.try_random(&service), denied());
        done(&service, "PutUserPolicy", own(json!({ "PolicyDocument": ALLOW_ALL })));
        assert_eq!(alice.try_random(&service), Ok(()));
        done(&service, "DeleteUserPolicy", own(json!({})));
    }
    let arn = "arn:aws:iam::111122223333:policy/shared";
    let attached = json!({ "UserName": "alice", "PolicyArn": arn });
    let update = |document: &str| {
        done(&service, "UpdatePolicy", json!({ "PolicyArn": arn, "PolicyDocument": document }));
    };
    done(&service, "CreatePolicy", json!({ "PolicyName": "shared", "PolicyDocument": ALLOW_ALL }));
    assert_eq!(alice.try_random(&service), denied());
    done(&service, "AttachUserPolicy", attached.clone());
    assert_eq!(alice.try_random(&service), Ok(()));
    update(&ALLOW_ALL.replace("Allow", "Deny"));
    assert_eq!(alice.try_random(&service), denied());
    update(ALLOW_ALL);
    assert_eq!(alice.try_random(&service), Ok(()));
    let narrow = ALLOW_ALL.replace("kms:*", "kms:Encrypt");
    done(&service, "CreatePolicy", json!({ "PolicyName": "narrow", "PolicyDocument": narrow }));
    let bound = json!({ "UserName": "alice", "PermissionsBoundary": "arn:aws:iam::111122223333:policy/narrow" });
    done(&service, "PutUserPermissionsBoundary", bound);
    assert_eq!(alice.try_random(&service), denied());
    done(&service, "DeleteUserPermissionsBoundary", json!({ "UserName": "alice" }));
    assert_eq!(alice.try_random(&service), Ok(()));
    done(&service, "DetachUserPolicy", attached);
    assert_eq!(alice.try_random(&service), denied());
}

#[test]
fn access_keys_decide_the_next_request() {
    let service = Service::start();
    let first = new_user(&service, "alice");
    let second = Key::of(&done(&service, "CreateAccessKey", json!({ "UserName": "alice" })));
    assert_eq!(refused(&service, "CreateAccessKey", json!({ "UserName": "alice" })), "LimitExceeded");
    done(&service, "PutUserPolicy", json!({ "UserName": "alice", "PolicyName": "own", "PolicyDocument": ALLOW_ALL }));
    let key = |key: &Key| json!({ "UserName": "alice", "AccessKeyId": key.id });
    let set = |key: &Key, status: &str| {
        done(&service, "UpdateAccessKey", json!({ "UserName": "alice", "AccessKeyId": key.id, "Status": status }));
    };
    for _ in 0..5 {
        set(&first, "Inactive");
        assert_eq!((first.try_random(&service), second.try_random(&service)), (unknown(), Ok(())));
        set(&first, "Active");
        assert_eq!(first.try_random(&service), Ok(()));
    }
    // An inactive one counts too.
    set(&first, "Inactive");
    assert_eq!(refused(&service, "CreateAccessKey", json!({ "UserName": "alice" })), "LimitExceeded");
    done(&service, "DeleteAccessKey", key(&first));
    assert_eq!((first.try_random(&service), second.try_random(&service)), (unknown(), Ok(())));
    // Another user's, or the root user's, it is not.
    new_user(&service, "bob");
    for other in [json!({ "UserName": "bob", "AccessKeyId": second.id }), json!({ "AccessKeyId": second.id })] {
        assert_eq!(refused(&service, "DeleteAccessKey", other), "NoSuchEntity");
    }
    done(&service, "DeleteAccessKey", key(&second));
    assert_eq!(second.try_random(&service), unknown());
    done(&service, "DeleteUserPolicy", json!({ "UserName": "alice", "PolicyName": "own" }));
    done(&service, "DeleteUser", json!({ "UserName": "alice" }));
    // One who has the name later has nothing of it.
    let later = new_user(&service, "alice");
    assert_eq!((later.try_random(&service), second.try_random(&service)), (denied(), unknown()));
}

/// A second account, whose root user is its own.
#[test]
fn an_account_is_served_as_soon_as_it_is_made() {
    let service = Service::start();
    let root = Key::of(&done(&service, "CreateAccount", json!({ "AccountId": "444455556666" })));
    assert_eq!(root.try_random(&service), Ok(()));
    let users = |account: &str| done(&service, "ListUsers", json!({ "AccountId": account }));
    done(&service, "CreateUser", json!({ "UserName": "alice", "AccountId": "444455556666" }));
    assert_eq!(users("111122223333"), json!({ "Users": [] }));
    assert_eq!(users("444455556666")["Users"][0]["Arn"], "arn:aws:iam::444455556666:user/alice");
}

/// The root user's access key is rotated, then taken away for good: no start makes another.
#[test]
fn a_root_user_without_access_keys_stays_so() {
    let service = Service::start();
    let first = service.env()["AWS_ACCESS_KEY_ID"].clone();
    let second = Key::of(&done(&service, "CreateAccessKey", json!({})));
    assert_eq!(second.try_random(&service), Ok(()));
    assert_eq!(refused(&service, "CreateAccessKey", json!({})), "LimitExceeded");
    done(&service, "DeleteAccessKey", json!({ "AccessKeyId": first }));
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    let service = Service::start_in(&data, &[]);
    assert_eq!(service.env()["AWS_ACCESS_KEY_ID"], second.id);
    done(&service, "DeleteAccessKey", json!({ "AccessKeyId": second.id }));
    assert_eq!(second.try_random(&service), unknown());
    service.terminate();
    let service = Service::start_in(&data, &[]);
    assert_eq!(service.env().get("AWS_ACCESS_KEY_ID"), None);
    assert_eq!(done(&service, "ListAccessKeys", json!({})), json!({ "AccessKeyMetadata": [] }));
    let third = Key::of(&done(&service, "CreateAccessKey", json!({})));
    assert_eq!(third.try_random(&service), Ok(()));
}
