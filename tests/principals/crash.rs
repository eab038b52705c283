//! Killed right after an answer: what was acknowledged is there, with its record.

use serde_json::{Value, json};

use crate::support::Service;
use crate::{ALLOW_ALL, TRUST, ask, done, events};

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let mut service = Service::start();
    let data = service.data().to_owned();
    let mut folder = None;
    for (number, (operation, parameters, look, parameters_of_look, pointer, expected)) in
        steps().into_iter().enumerate()
    {
        done(&service, operation, parameters);
        folder = folder.or(service.kill9());
        service = Service::start_in(&data, &[]);
        let seen = ask(&data, look, &parameters_of_look);
        match seen {
            Ok(output) => {
                assert_eq!(output.pointer(pointer).unwrap_or(&Value::Null), &expected, "{number} {operation}: {output}")
            }
            Err((code, _)) => assert_eq!(json!(code), expected, "{number} {operation}"),
        }
        let recorded = events(&data, operation);
        assert!(recorded.last().is_some_and(|event| event["errorCode"].is_null()), "{number} {operation}");
    }
}

type Step = (&'static str, Value, &'static str, Value, &'static str, Value);

/// A change; where it is seen, and as what: a value, or the code of a refusal.
fn steps() -> Vec<Step> {
    let alice = || json!({ "UserName": "alice" });
    let role = || json!({ "RoleName": "reader" });
    let alices = |more: Value| {
        let mut all = alice();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let arn = "arn:aws:iam::111122223333:policy/p";
    let other = ALLOW_ALL.replace("kms:*", "kms:Decrypt");
    let new_trust = TRUST.replace("sts:AssumeRole", "sts:*");
    vec![
        ("CreateUser", alice(), "GetUser", alice(), "/User/UserName", json!("alice")),
        (
            "TagUser",
            alices(json!({ "Tags": [{ "Key": "a", "Value": "b" }] })),
            "GetUser",
            alice(),
            "/User/Tags/0/Key",
            json!("a"),
        ),
        (
            "PutUserPolicy",
            alices(json!({ "PolicyName": "own", "PolicyDocument": ALLOW_ALL })),
            "ListUserPolicies",
            alice(),
            "/PolicyNames/0",
            json!("own"),
        ),
        ("CreateAccessKey", alice(), "ListAccessKeys", alice(), "/AccessKeyMetadata/0/Status", json!("Active")),
        (
            "CreatePolicy",
            json!({ "PolicyName": "p", "PolicyDocument": ALLOW_ALL }),
            "GetPolicy",
            json!({ "PolicyArn": arn }),
            "/Policy/Arn",
            json!(arn),
        ),
        (
            "AttachUserPolicy",
            alices(json!({ "PolicyArn": arn })),
            "ListAttachedUserPolicies",
            alice(),
            "/AttachedPolicies/0/PolicyArn",
            json!(arn),
        ),
        (
            "UpdatePolicy",
            json!({ "PolicyArn": arn, "PolicyDocument": other }),
            "GetPolicy",
            json!({ "PolicyArn": arn }),
            "/Policy/PolicyDocument/Statement/0/Action",
            json!("kms:Decrypt"),
        ),
        (
            "PutUserPermissionsBoundary",
            alices(json!({ "PermissionsBoundary": arn })),
            "GetUser",
            alice(),
            "/User/PermissionsBoundary/PermissionsBoundaryArn",
            json!(arn),
        ),
        (
            "CreateRole",
            json!({ "RoleName": "reader", "AssumeRolePolicyDocument": TRUST }),
            "GetRole",
            role(),
            "/Role/RoleName",
            json!("reader"),
        ),
        (
            "UpdateAssumeRolePolicy",
            json!({ "RoleName": "reader", "PolicyDocument": new_trust }),
            "GetRole",
            role(),
            "/Role/AssumeRolePolicyDocument/Statement/0/Action",
            json!("sts:*"),
        ),
        (
            "UpdateRole",
            json!({ "RoleName": "reader", "MaxSessionDuration": 7200 }),
            "GetRole",
            role(),
            "/Role/MaxSessionDuration",
            json!(7200),
        ),
        ("RevokeRoleSessions", role(), "GetRole", role(), "/Role/RoleName", json!("reader")),
        (
            "CreateAccount",
            json!({ "AccountId": "444455556666" }),
            "ListAccounts",
            json!({}),
            "/Accounts/1/AccountId",
            json!("444455556666"),
        ),
        (
            "DetachUserPolicy",
            alices(json!({ "PolicyArn": arn })),
            "ListAttachedUserPolicies",
            alice(),
            "/AttachedPolicies",
            json!([]),
        ),
        ("DeleteUserPermissionsBoundary", alice(), "GetUser", alice(), "/User/PermissionsBoundary", Value::Null),
        (
            "DeletePolicy",
            json!({ "PolicyArn": arn }),
            "GetPolicy",
            json!({ "PolicyArn": arn }),
            "",
            json!("NoSuchEntity"),
        ),
        ("UntagUser", alices(json!({ "TagKeys": ["a"] })), "GetUser", alice(), "/User/Tags", Value::Null),
        (
            "DeleteUserPolicy",
            alices(json!({ "PolicyName": "own" })),
            "ListUserPolicies",
            alice(),
            "/PolicyNames",
            json!([]),
        ),
        ("DeleteRole", role(), "GetRole", role(), "", json!("NoSuchEntity")),
        ("CreateUser", json!({ "UserName": "bob" }), "ListUsers", json!({}), "/Users/1/UserName", json!("bob")),
        (
            "DeleteUser",
            json!({ "UserName": "bob" }),
            "GetUser",
            json!({ "UserName": "bob" }),
            "",
            json!("NoSuchEntity"),
        ),
    ]
}
