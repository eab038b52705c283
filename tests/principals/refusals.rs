//! What is refused, in IAM's words, without changing anything.

use serde_json::{Value, json};

use crate::operator::Way;
use crate::support::{Service, audit_lines};
use crate::{ALLOW_ALL, TRUST, ask, done};

const POLICY: &str = "arn:aws:iam::111122223333:policy/p";

/// `alice` and the role `reader` have the policy `p`, `alice` is bounded by it too and has two access keys; `b` is free.
fn scene() -> Service {
    let service = Service::start();
    done(&service, "CreateAccount", json!({ "AccountId": "444455556666" }));
    for name in ["p", "b"] {
        done(&service, "CreatePolicy", json!({ "PolicyName": name, "PolicyDocument": ALLOW_ALL }));
    }
    done(&service, "CreateUser", json!({ "UserName": "alice" }));
    done(&service, "CreateUser", json!({ "UserName": "keyless", "PermissionsBoundary": POLICY }));
    done(&service, "CreateRole", json!({ "RoleName": "reader", "AssumeRolePolicyDocument": TRUST }));
    done(&service, "AttachUserPolicy", json!({ "UserName": "keyless", "PolicyArn": POLICY }));
    done(&service, "AttachRolePolicy", json!({ "RoleName": "reader", "PolicyArn": POLICY }));
    for _ in 0..2 {
        done(&service, "CreateAccessKey", json!({ "UserName": "alice" }));
    }
    service
}

#[test]
fn every_refusal_has_its_code_and_words_and_changes_nothing() {
    let service = scene();
    let before = everything(&service);
    for way in [Way::Socket, Way::Command] {
        for (operation, parameters, code, message) in refusals() {
            // These the command refuses by itself.
            if way == Way::Command && (message.contains("unknown field") || message.contains("must not be null")) {
                continue;
            }
            let refusal = way.ask(service.data(), operation, &parameters).expect_err(operation);
            assert_eq!(refusal, (code.to_owned(), message.to_owned()), "{way:?} {operation} {parameters}");
            let lines = audit_lines(service.data());
            let event = &lines.last().unwrap()["event"];
            assert_eq!((&event["eventName"], &event["errorCode"]), (&json!(operation), &json!(code)));
            assert_eq!(event["errorMessage"], json!(message));
        }
        assert_eq!(everything(&service), before);
    }
}

/// All that can be asked for.
fn everything(service: &Service) -> Vec<Value> {
    let mut all: Vec<Value> = ["ListUsers", "ListRoles", "ListPolicies", "ListAccounts", "ListAccessKeys"]
        .map(|operation| done(service, operation, json!({})))
        .into();
    for name in ["alice", "keyless"] {
        for operation in ["ListAccessKeys", "ListUserPolicies", "ListAttachedUserPolicies"] {
            all.push(done(service, operation, json!({ "UserName": name })));
        }
    }
    for operation in ["ListRolePolicies", "ListAttachedRolePolicies"] {
        all.push(done(service, operation, json!({ "RoleName": "reader" })));
    }
    all.push(done(service, "GetPolicy", json!({ "PolicyArn": POLICY })));
    all
}

type Refusal = (&'static str, Value, &'static str, &'static str);

fn refusals() -> Vec<Refusal> {
    let mut all = entities();
    all.extend(documents());
    all.extend(constraints());
    all
}

fn entities() -> Vec<Refusal> {
    const GONE: &str = "NoSuchEntity";
    const USER: &str = "The user with name nobody cannot be found.";
    const ROLE: &str = "The role with name nobody cannot be found.";
    let user = |more: Value| with(json!({ "UserName": "nobody" }), more);
    let role = |more: Value| with(json!({ "RoleName": "nobody" }), more);
    let own = json!({ "PolicyName": "own" });
    let put = json!({ "PolicyName": "own", "PolicyDocument": ALLOW_ALL });
    let arn = json!({ "PolicyArn": POLICY });
    let tags = json!({ "Tags": [{ "Key": "a", "Value": "b" }] });
    let keys = json!({ "TagKeys": ["a"] });
    let bound = json!({ "PermissionsBoundary": POLICY });
    let id = json!({ "AccessKeyId": "AKIAIOSFODNN7EXAMPLE" });
    let mut all: Vec<Refusal> = vec![
        ("AttachUserPolicy", user(arn.clone()), GONE, USER),
        ("CreateAccessKey", user(json!({})), GONE, USER),
        ("DeleteAccessKey", user(id.clone()), GONE, USER),
        ("DeleteUser", user(json!({})), GONE, USER),
        ("DeleteUserPermissionsBoundary", user(json!({})), GONE, USER),
        ("DeleteUserPolicy", user(own.clone()), GONE, USER),
        ("DetachUserPolicy", user(arn.clone()), GONE, USER),
        ("GetUser", user(json!({})), GONE, USER),
        ("GetUserPolicy", user(own.clone()), GONE, USER),
        ("ListAccessKeys", user(json!({})), GONE, USER),
        ("ListAttachedUserPolicies", user(json!({})), GONE, USER),
        ("ListUserPolicies", user(json!({})), GONE, USER),
        ("PutUserPermissionsBoundary", user(bound.clone()), GONE, USER),
        ("PutUserPolicy", user(put.clone()), GONE, USER),
        ("RevokeUserSessions", user(json!({})), GONE, USER),
        ("TagUser", user(tags.clone()), GONE, USER),
        ("UntagUser", user(keys.clone()), GONE, USER),
        ("UpdateAccessKey", user(with(id.clone(), json!({ "Status": "Active" }))), GONE, USER),
        ("AttachRolePolicy", role(arn.clone()), GONE, ROLE),
        ("DeleteRole", role(json!({})), GONE, ROLE),
        ("DeleteRolePermissionsBoundary", role(json!({})), GONE, ROLE),
        ("DeleteRolePolicy", role(own.clone()), GONE, ROLE),
        ("DetachRolePolicy", role(arn.clone()), GONE, ROLE),
        ("GetRole", role(json!({})), GONE, ROLE),
        ("GetRolePolicy", role(own.clone()), GONE, ROLE),
        ("ListAttachedRolePolicies", role(json!({})), GONE, ROLE),
        ("ListRolePolicies", role(json!({})), GONE, ROLE),
        ("PutRolePermissionsBoundary", role(bound), GONE, ROLE),
        ("PutRolePolicy", role(put), GONE, ROLE),
        ("RevokeRoleSessions", role(json!({})), GONE, ROLE),
        ("TagRole", role(tags), GONE, ROLE),
        ("UntagRole", role(keys), GONE, ROLE),
        ("UpdateAssumeRolePolicy", role(json!({ "PolicyDocument": TRUST })), GONE, ROLE),
        ("UpdateRole", role(json!({})), GONE, ROLE),
    ];
    let missing = "arn:aws:iam::111122223333:policy/missing";
    let no_key = "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found.";
    all.extend([
        (
            "GetUser",
            json!({ "UserName": "alice", "AccountId": "444455556666" }),
            GONE,
            "The user with name alice cannot be found.",
        ),
        (
            "ListUsers",
            json!({ "AccountId": "999999999999" }),
            GONE,
            "The account with id 999999999999 cannot be found.",
        ),
        (
            "GetUserPolicy",
            with(json!({ "UserName": "alice" }), own.clone()),
            GONE,
            "The user policy with name own cannot be found.",
        ),
        (
            "DeleteRolePolicy",
            with(json!({ "RoleName": "reader" }), own),
            GONE,
            "The role policy with name own cannot be found.",
        ),
        (
            "DeleteUserPermissionsBoundary",
            json!({ "UserName": "alice" }),
            GONE,
            "The user with name alice has no permissions boundary.",
        ),
        (
            "GetPolicy",
            json!({ "PolicyArn": missing }),
            GONE,
            "Policy arn:aws:iam::111122223333:policy/missing was not found.",
        ),
        (
            "GetPolicy",
            json!({ "PolicyArn": "arn:aws:iam::111122223333:policy/P" }),
            GONE,
            "Policy arn:aws:iam::111122223333:policy/P was not found.",
        ),
        (
            "GetPolicy",
            json!({ "PolicyArn": POLICY, "AccountId": "444455556666" }),
            GONE,
            "Policy arn:aws:iam::111122223333:policy/p was not found.",
        ),
        (
            "DetachUserPolicy",
            json!({ "UserName": "alice", "PolicyArn": POLICY }),
            GONE,
            "Policy arn:aws:iam::111122223333:policy/p was not found.",
        ),
        (
            "AttachUserPolicy",
            json!({ "UserName": "alice", "PolicyArn": missing }),
            GONE,
            "Policy arn:aws:iam::111122223333:policy/missing does not exist or is not attachable.",
        ),
        (
            "PutRolePermissionsBoundary",
            json!({ "RoleName": "reader", "PermissionsBoundary": missing }),
            GONE,
            "Policy arn:aws:iam::111122223333:policy/missing does not exist or is not attachable.",
        ),
        (
            "AttachUserPolicy",
            json!({ "UserName": "alice", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess" }),
            GONE,
            "Policy arn:aws:iam::aws:policy/AdministratorAccess does not exist or is not attachable.",
        ),
        (
            "UpdatePolicy",
            json!({ "PolicyArn": "arn:aws:iam::111122223333:user/alice", "PolicyDocument": ALLOW_ALL }),
            "InvalidInput",
            "ARN arn:aws:iam::111122223333:user/alice is not valid.",
        ),
        ("DeleteAccessKey", with(json!({ "UserName": "alice" }), id.clone()), GONE, no_key),
        ("UpdateAccessKey", with(id.clone(), json!({ "Status": "Active" })), GONE, no_key),
        ("GetAccessKeyLastUsed", id, GONE, no_key),
        (
            "CreateAccount",
            json!({ "AccountId": "444455556666" }),
            "EntityAlreadyExists",
            "Account with id 444455556666 already exists.",
        ),
        ("CreateUser", json!({ "UserName": "ALICE" }), "EntityAlreadyExists", "User with name ALICE already exists."),
        (
            "CreateRole",
            json!({ "RoleName": "Reader", "AssumeRolePolicyDocument": TRUST }),
            "EntityAlreadyExists",
            "Role with name Reader already exists.",
        ),
        (
            "CreatePolicy",
            json!({ "PolicyName": "P", "PolicyDocument": ALLOW_ALL }),
            "EntityAlreadyExists",
            "A policy called P already exists. Duplicate names are not allowed.",
        ),
        (
            "DeleteUser",
            json!({ "UserName": "alice" }),
            "DeleteConflict",
            "Cannot delete entity, must delete access keys first.",
        ),
        (
            "DeleteUser",
            json!({ "UserName": "keyless" }),
            "DeleteConflict",
            "Cannot delete entity, must detach all policies first.",
        ),
        (
            "DeleteRole",
            json!({ "RoleName": "reader" }),
            "DeleteConflict",
            "Cannot delete entity, must detach all policies first.",
        ),
        (
            "DeletePolicy",
            json!({ "PolicyArn": POLICY }),
            "DeleteConflict",
            "Cannot delete a policy attached to entities.",
        ),
        (
            "CreateAccessKey",
            json!({ "UserName": "alice" }),
            "LimitExceeded",
            "Cannot exceed quota for AccessKeysPerUser: 2",
        ),
    ]);
    all
}

fn documents() -> Vec<Refusal> {
    const MALFORMED: &str = "MalformedPolicyDocument";
    let alice = |document: &str| json!({ "UserName": "alice", "PolicyName": "own", "PolicyDocument": document });
    let trust = |principal: &str| TRUST.replace("arn:aws:iam::111122223333:root", principal);
    let stranger = "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:user/nobody\"";
    let foreign = "Invalid principal in policy: \"AWS\":\"999999999999\"";
    let filled =
        |len: usize| ALLOW_ALL.replace("2012-10-17\"", &format!("2012-10-17\",\"Id\":\"{}\"", "x".repeat(len)));
    vec![
        ("PutUserPolicy", alice("{}"), MALFORMED, "there is no Statement"),
        (
            "PutUserPolicy",
            alice(TRUST),
            MALFORMED,
            "Principal is not an element of this kind of policy: identity-based policy",
        ),
        (
            "PutRolePolicy",
            json!({ "RoleName": "reader", "PolicyName": "own", "PolicyDocument": "{}" }),
            MALFORMED,
            "there is no Statement",
        ),
        ("CreatePolicy", json!({ "PolicyName": "new", "PolicyDocument": "{}" }), MALFORMED, "there is no Statement"),
        ("UpdatePolicy", json!({ "PolicyArn": POLICY, "PolicyDocument": "{}" }), MALFORMED, "there is no Statement"),
        (
            "CreateRole",
            json!({ "RoleName": "new", "AssumeRolePolicyDocument": "{}" }),
            MALFORMED,
            "there is no Statement",
        ),
        (
            "CreateRole",
            json!({ "RoleName": "new", "AssumeRolePolicyDocument": trust("arn:aws:iam::111122223333:user/nobody") }),
            MALFORMED,
            stranger,
        ),
        (
            "UpdateAssumeRolePolicy",
            json!({ "RoleName": "reader", "PolicyDocument": trust("999999999999") }),
            MALFORMED,
            foreign,
        ),
        (
            "PutUserPolicy",
            alice(&filled(2_000)),
            "LimitExceeded",
            "Maximum policy size of 2048 bytes exceeded for user alice",
        ),
        (
            "PutRolePolicy",
            json!({ "RoleName": "reader", "PolicyName": "own", "PolicyDocument": filled(10_200) }),
            "LimitExceeded",
            "Maximum policy size of 10240 bytes exceeded for role reader",
        ),
        (
            "CreatePolicy",
            json!({ "PolicyName": "new", "PolicyDocument": filled(6_100) }),
            "LimitExceeded",
            "Cannot exceed quota for PolicySize: 6144",
        ),
        (
            "CreateRole",
            json!({ "RoleName": "new", "AssumeRolePolicyDocument": trust(&"x".repeat(4_050)) }),
            "LimitExceeded",
            "Cannot exceed quota for ACLSizePerRole: 4096",
        ),
    ]
}

fn constraints() -> Vec<Refusal> {
    const INVALID: &str = "ValidationError";
    let tagged = |tags: Value| json!({ "UserName": "new", "Tags": tags });
    vec![
        (
            "CreateUser",
            json!({}),
            INVALID,
            "1 validation error detected: Value null at 'userName' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateUser",
            json!({ "UserName": "a b" }),
            INVALID,
            "1 validation error detected: Value 'a b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+",
        ),
        (
            "CreateUser",
            json!({ "UserName": "x".repeat(65) }),
            INVALID,
            "1 validation error detected: Value 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64",
        ),
        (
            "CreateUser",
            json!({ "UserName": "new", "Path": "team" }),
            INVALID,
            "`team` is not a path: / or names between slashes, for example /team/",
        ),
        (
            "CreateUser",
            json!({ "UserName": "new", "Groups": "x" }),
            INVALID,
            "unknown field `Groups`, expected one of `UserName`, `Path`, `Tags`, `PermissionsBoundary`",
        ),
        (
            "CreateRole",
            json!({ "RoleName": "new", "AssumeRolePolicyDocument": TRUST, "MaxSessionDuration": 43_201 }),
            INVALID,
            "1 validation error detected: Value '43201' at 'maxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to 43200",
        ),
        (
            "UpdateRole",
            json!({ "RoleName": "reader", "MaxSessionDuration": 3_599 }),
            INVALID,
            "1 validation error detected: Value '3599' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600",
        ),
        (
            "CreateUser",
            tagged(json!([{ "Key": "a*", "Value": "" }])),
            INVALID,
            "1 validation error detected: Value 'a*' at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+",
        ),
        (
            "CreateUser",
            tagged(json!([{ "Key": "a", "Value": "" }, { "Key": "A", "Value": "" }])),
            "InvalidInput",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ),
        (
            "CreateUser",
            tagged(json!([{ "Key": "aws:a", "Value": "" }])),
            "InvalidInput",
            "The tag key aws:a begins with aws:, which is reserved.",
        ),
    ]
}

#[test]
fn quotas_count_what_is_there() {
    let service = scene();
    let more = |operation: &str, parameters: Value| ask(service.data(), operation, &parameters);
    for number in 0..11 {
        let name = format!("n{number}");
        done(&service, "CreatePolicy", json!({ "PolicyName": name, "PolicyDocument": ALLOW_ALL }));
        let arn = format!("arn:aws:iam::111122223333:policy/{name}");
        let attached = more("AttachUserPolicy", json!({ "UserName": "alice", "PolicyArn": arn }));
        let refusal = ("LimitExceeded".to_owned(), "Cannot exceed quota for PoliciesPerUser: 10".to_owned());
        assert_eq!(attached, if number < 10 { Ok(json!({})) } else { Err(refusal) });
    }
    for number in 0..50 {
        done(
            &service,
            "TagUser",
            json!({ "UserName": "alice", "Tags": [{ "Key": format!("k{number}"), "Value": "" }] }),
        );
    }
    let tag = |key: &str| more("TagUser", json!({ "UserName": "alice", "Tags": [{ "Key": key, "Value": "x" }] }));
    assert_eq!(tag("k50").unwrap_err().0, "LimitExceeded");
    assert_eq!(tag("K49"), Ok(json!({})));
    // White space does not count, all of a user's own policies together do.
    let long = ALLOW_ALL.replace("2012-10-17\"", &format!("2012-10-17\",\"Id\":\"{}\"", "x".repeat(900)));
    let put = |name: &str| {
        let document = format!("{long}{}", " ".repeat(10_000));
        more("PutUserPolicy", json!({ "UserName": "alice", "PolicyName": name, "PolicyDocument": document }))
    };
    assert_eq!((put("one"), put("two"), put("two")), (Ok(json!({})), Ok(json!({})), Ok(json!({}))));
    assert_eq!(put("three").unwrap_err().0, "LimitExceeded");
}

#[test]
fn there_is_no_other_operation() {
    let service = Service::start();
    let refusal = ask(service.data(), "CreateGroup", &json!({ "GroupName": "x" })).unwrap_err();
    assert_eq!(refusal, ("InvalidAction".to_owned(), "There is no operation CreateGroup.".to_owned()));
    assert_eq!(audit_lines(service.data()).last().unwrap()["event"]["eventName"], "UnknownOperation");
}

fn with(mut all: Value, more: Value) -> Value {
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}
