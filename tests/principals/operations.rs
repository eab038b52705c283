//! Every operation once: its answer, and its record.

use std::collections::BTreeSet;
use std::path::Path;

use hsm_kms::admin::OPERATIONS;
use serde_json::{Map, Value, json};

use crate::operator::Way;
use crate::support::Service;
use crate::{ALLOW_ALL, TRUST, events};

#[test]
fn over_the_socket() {
    let service = Service::start();
    every_operation(Way::Socket, service.data());
}

#[test]
fn by_the_command_against_the_running_service() {
    let service = Service::start();
    every_operation(Way::Command, service.data());
}

#[test]
fn by_the_command_on_the_data_folder() {
    let service = Service::start();
    let data = service.data().to_owned();
    let (status, _folder) = service.terminate();
    assert!(status.success() && !data.join("admin.sock").exists());
    every_operation(Way::Command, &data);
    // And the service takes over what was done.
    let service = Service::start_in(&data, &[]);
    let users = crate::done(&service, "ListUsers", json!({}));
    assert_eq!(users["Users"][0]["UserName"], "bob");
}

fn every_operation(way: Way, data: &Path) {
    let mut scene = Scene { way, data, seen: BTreeSet::new() };
    scene.accounts_and_policies();
    scene.principals("User", "AIDA");
    scene.principals("Role", "AROA");
    scene.roles();
    scene.access_keys();
    let all: BTreeSet<_> = OPERATIONS.iter().filter(|route| route.is_of_principals()).map(|route| route.name).collect();
    assert_eq!(scene.seen, all);
}

struct Scene<'a> {
    way: Way,
    data: &'a Path,
    seen: BTreeSet<&'static str>,
}

const USE: &str = "arn:aws:iam::111122223333:policy/team/use-keys";
const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;

impl Scene<'_> {
    fn accounts_and_policies(&mut self) {
        let account =
            |id: &str| json!({ "AccountId": id, "Arn": format!("arn:aws:iam::{id}:root"), "CreateDate": "*" });
        let key = json!({ "AccessKeyId": "AKIA*", "Status": "Active", "CreateDate": "*", "SecretAccessKey": "*" });
        self.call(
            "CreateAccount",
            json!({ "AccountId": "444455556666" }),
            json!({ "Account": account("444455556666"), "AccessKey": key }),
        );
        let both = json!({ "Accounts": [account("111122223333"), account("444455556666")] });
        self.call("ListAccounts", json!({}), both);
        let create = json!({ "PolicyName": "use-keys", "Path": "/team/", "PolicyDocument": ALLOW_ALL });
        self.call("CreatePolicy", create, json!({ "Policy": policy(0, 0) }));
        self.call("UpdatePolicy", json!({ "PolicyArn": USE, "PolicyDocument": DENY }), json!({}));
        let mut whole = policy(0, 0);
        whole["PolicyDocument"] = serde_json::from_str(DENY).unwrap();
        self.call("GetPolicy", json!({ "PolicyArn": USE }), json!({ "Policy": whole }));
        self.call("CreatePolicy", json!({ "PolicyName": "gone", "PolicyDocument": DENY }), json!({ "Policy": "*" }));
        self.call("DeletePolicy", json!({ "PolicyArn": "arn:aws:iam::111122223333:policy/gone" }), json!({}));
    }

    /// What users and roles have in common.
    fn principals(&mut self, kind: &str, prefix: &str) {
        let (noun, name) = (kind.to_lowercase(), format!("{kind}Name"));
        let with = |more: Value| {
            let mut all = json!({ &name: "Alice" });
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let role = |more: Value| if kind == "Role" { more } else { json!({}) };
        let mut made = json!({
            "Path": "/team/", &name: "Alice", format!("{kind}Id"): format!("{prefix}*"),
            "Arn": format!("arn:aws:iam::111122223333:{noun}/team/Alice"), "CreateDate": "*",
            "Tags": [{ "Key": "Team", "Value": "a=b" }, { "Key": "cost", "Value": "" }],
        });
        let details = role(json!({ "AssumeRolePolicyDocument": serde_json::from_str::<Value>(TRUST).unwrap(),
                                   "Description": "reads", "MaxSessionDuration": 7200 }));
        merge(&mut made, &details);
        let mut create = with(json!({ "Path": "/team/", "Tags": [{ "Key": "cost", "Value": "" },
                                                                  { "Key": "Team", "Value": "a=b" }] }));
        merge(
            &mut create,
            &role(json!({ "AssumeRolePolicyDocument": TRUST, "Description": "reads",
                                         "MaxSessionDuration": 7200 })),
        );
        self.call(&format!("Create{kind}"), create, json!({ kind: made }));
        // Names are the same whatever their case.
        let mut get = json!({});
        get[&name] = "aLICE".into();
        self.call(&format!("Get{kind}"), get, json!({ kind: made }));
        let listed = json!({ format!("{kind}s"): [made] });
        self.call(&format!("List{kind}s"), json!({ "PathPrefix": "/te" }), listed);
        let none = json!({ format!("{kind}s"): [] });
        self.call(&format!("List{kind}s"), json!({ "AccountId": "444455556666" }), none);

        self.call(&format!("Tag{kind}"), with(json!({ "Tags": [{ "Key": "team", "Value": "c" }] })), json!({}));
        self.call(&format!("Untag{kind}"), with(json!({ "TagKeys": ["COST", "absent"] })), json!({}));
        made["Tags"] = json!([{ "Key": "team", "Value": "c" }]);
        self.call(&format!("Get{kind}"), with(json!({})), json!({ kind: made }));

        let named = with(json!({ "PolicyName": "own" }));
        let put = with(json!({ "PolicyName": "own", "PolicyDocument": ALLOW_ALL }));
        self.call(&format!("Put{kind}Policy"), put, json!({}));
        let own =
            with(json!({ "PolicyName": "own", "PolicyDocument": serde_json::from_str::<Value>(ALLOW_ALL).unwrap() }));
        self.call(&format!("Get{kind}Policy"), named.clone(), own);
        self.call(&format!("List{kind}Policies"), with(json!({})), json!({ "PolicyNames": ["own"] }));
        self.call(&format!("Delete{kind}Policy"), named, json!({}));
        self.call(&format!("List{kind}Policies"), with(json!({})), json!({ "PolicyNames": [] }));

        let arn = with(json!({ "PolicyArn": USE }));
        self.call(&format!("Attach{kind}Policy"), arn.clone(), json!({}));
        self.call(&format!("Attach{kind}Policy"), arn.clone(), json!({}));
        let attached = json!({ "AttachedPolicies": [{ "PolicyName": "use-keys", "PolicyArn": USE }] });
        self.call(&format!("ListAttached{kind}Policies"), with(json!({})), attached);
        let boundary = with(json!({ "PermissionsBoundary": USE }));
        self.call(&format!("Put{kind}PermissionsBoundary"), boundary, json!({}));
        made["PermissionsBoundary"] = json!({ "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": USE });
        self.call(&format!("Get{kind}"), with(json!({})), json!({ kind: made }));
        self.call("ListPolicies", json!({ "PathPrefix": "/team/" }), json!({ "Policies": [policy(1, 1)] }));
        self.call(&format!("Delete{kind}PermissionsBoundary"), with(json!({})), json!({}));
        self.call(&format!("Detach{kind}Policy"), arn, json!({}));
        self.call("ListPolicies", json!({}), json!({ "Policies": [policy(0, 0)] }));
        self.call(&format!("Revoke{kind}Sessions"), with(json!({})), json!({}));
        made["SessionsRevokedBefore"] = "20*".into();
        made.as_object_mut().unwrap().remove("PermissionsBoundary");
        self.call(&format!("Get{kind}"), with(json!({})), json!({ kind: made }));
        if kind == "User" {
            self.call("DeleteUser", with(json!({})), json!({}));
        }
    }

    fn roles(&mut self) {
        let other = TRUST.replace("111122223333:root", "111122223333:role/team/Alice");
        let update = json!({ "RoleName": "alice", "PolicyDocument": other });
        self.call("UpdateAssumeRolePolicy", update, json!({}));
        self.call("UpdateRole", json!({ "RoleName": "alice", "Description": "writes" }), json!({}));
        let role = self.call("GetRole", json!({ "RoleName": "alice" }), json!({ "Role": "*" }))["Role"].clone();
        assert_eq!(role["AssumeRolePolicyDocument"], serde_json::from_str::<Value>(&other).unwrap());
        assert_eq!((&role["Description"], &role["MaxSessionDuration"]), (&json!("writes"), &json!(3600)));
        self.call("DeleteRole", json!({ "RoleName": "Alice" }), json!({}));
    }

    fn access_keys(&mut self) {
        let bounded = json!({ "UserName": "bob", "PermissionsBoundary": USE });
        let made = self.call("CreateUser", bounded, json!({ "User": "*" }));
        assert_eq!(made["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"], USE);
        for holder in [json!({ "UserName": "bob" }), json!({ "AccountId": "444455556666" })] {
            let mut shown = json!({ "AccessKeyId": "AKIA*", "Status": "Active", "CreateDate": "*" });
            if let Some(name) = holder.get("UserName") {
                shown["UserName"] = name.clone();
            }
            let mut new = shown.clone();
            new["SecretAccessKey"] = "*".into();
            let made = self.call("CreateAccessKey", holder.clone(), json!({ "AccessKey": new }));
            let id = made["AccessKey"]["AccessKeyId"].clone();
            let with = |more: Value| {
                let mut all = holder.clone();
                merge(&mut all, &json!({ "AccessKeyId": id }));
                merge(&mut all, &more);
                all
            };
            self.call("UpdateAccessKey", with(json!({ "Status": "Inactive" })), json!({}));
            let listed = self.call("ListAccessKeys", holder.clone(), json!({ "AccessKeyMetadata": "*" }));
            let listed = listed["AccessKeyMetadata"].as_array().unwrap();
            shown["Status"] = "Inactive".into();
            let inactive = listed.iter().find(|key| key["AccessKeyId"] == id).unwrap();
            assert!(matches(inactive, &shown), "{inactive}");
            let mut unused = json!({ "AccessKeyLastUsed": { "ServiceName": "N/A", "Region": "N/A" } });
            if let Some(name) = holder.get("UserName") {
                unused["UserName"] = name.clone();
            }
            let mut by_id = with(json!({}));
            by_id.as_object_mut().unwrap().remove("UserName");
            self.call("GetAccessKeyLastUsed", by_id, unused);
            self.call("DeleteAccessKey", with(json!({})), json!({}));
        }
        let none = json!({ "AccessKeyMetadata": [] });
        self.call("ListAccessKeys", json!({ "UserName": "bob" }), none);
    }

    /// Asks, holds the answer against what is expected (`*` stands for what cannot be known), and looks for the record.
    #[track_caller]
    fn call(&mut self, operation: &str, parameters: Value, expected: Value) -> Value {
        let route = OPERATIONS.iter().find(|route| route.name == operation).expect(operation);
        self.seen.insert(route.name);
        let before = events(self.data, operation).len();
        let output = self.way.ask(self.data, operation, &parameters);
        let output = output.unwrap_or_else(|refusal| panic!("{operation} {parameters}: {refusal:?}"));
        assert!(matches(&output, &expected), "{operation}: {output:#} instead of {expected:#}");
        let events = events(self.data, operation);
        assert_eq!(events.len(), before + 1, "{operation} has its record");
        is_record(events.last().unwrap(), route.read_only, &parameters, &output);
        output
    }
}

#[track_caller]
fn is_record(event: &Value, read_only: bool, parameters: &Value, output: &Value) {
    let uid = format!("uid:{}", rustix::process::getuid().as_raw());
    assert_eq!(
        (&event["userIdentity"]["type"], &event["userIdentity"]["principalId"]),
        (&json!("Operator"), &json!(uid))
    );
    assert_eq!((&event["readOnly"], &event["errorCode"]), (&json!(read_only), &Value::Null));
    assert_eq!(event["requestParameters"], camel(parameters));
    let account = parameters.get("AccountId").cloned().unwrap_or(json!("111122223333"));
    assert_eq!(event["recipientAccountId"], account);
    let told = &event["responseElements"];
    if read_only {
        assert_eq!(*told, Value::Null);
    }
    for family in ["User", "Role", "Policy", "AccessKey"].iter().filter(|_| !read_only) {
        for name in ["Arn", "AccessKeyId", "UserId", "RoleId", "PolicyName"] {
            if let Some(value) = output[family].get(name) {
                assert_eq!(
                    camel(&json!({ *family: { name: value } }))[camel_name(family)][camel_name(name)],
                    told[camel_name(family)][camel_name(name)]
                );
            }
        }
    }
    let secret = output["AccessKey"]["SecretAccessKey"].as_str().unwrap_or("no secret");
    assert!(!event.to_string().contains(secret));
}

fn policy(attached: u32, bounding: u32) -> Value {
    json!({
        "PolicyName": "use-keys", "Arn": USE, "Path": "/team/", "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounding, "IsAttachable": true, "CreateDate": "*", "UpdateDate": "*",
    })
}

fn merge(all: &mut Value, more: &Value) {
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

/// `*` matches everything, a text that ends with it every text that begins so.
fn matches(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (_, Value::String(text)) if text == "*" => true,
        (Value::String(value), Value::String(text)) if text.ends_with('*') => {
            value.starts_with(text.trim_end_matches('*'))
        }
        (Value::Object(value), Value::Object(expected)) => {
            value.len() == expected.len()
                && expected.iter().all(|(name, expected)| value.get(name).is_some_and(|value| matches(value, expected)))
        }
        (Value::Array(value), Value::Array(expected)) => {
            value.len() == expected.len()
                && value.iter().zip(expected).all(|(value, expected)| matches(value, expected))
        }
        (value, expected) => value == expected,
    }
}

fn camel(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (camel_name(name), camel(value))).collect::<Map<_, _>>())
        }
        Value::Array(elements) => elements.iter().map(camel).collect(),
        other => other.clone(),
    }
}

fn camel_name(name: &str) -> String {
    name[..1].to_lowercase() + &name[1..]
}
