//! Temporary credentials: roles that are assumed, sessions of users, and how they end.

mod clients;
#[path = "../support/in_process.rs"]
mod in_process;
mod lifetime;
mod parameters;
#[path = "../support/people.rs"]
mod people;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod roles;
#[path = "../support/mod.rs"]
mod support;
mod tags;
mod user_sessions;

use std::path::Path;

use aws_credential_types::Credentials;
use hsm_kms::auth::policy::{Kind, Policy};
use hsm_kms::model::AccountId;
use hsm_kms::store::{PrincipalRecord, RoleDetails};
use serde_json::{Value, json};

use in_process::{HOUR, MovedClock, START};
use people::{Key, Person, Served, policy};
use process::in_own_process;
use support::wire::{Answer, Request};

/// An answer of STS, read as far as these tests need it.
#[derive(Debug)]
struct Xml(String);

/// What STS refused with.
type Refusal<'a> = (u16, &'a str, &'a str);

impl Xml {
    /// The text of the first element with this name.
    fn text(&self, name: &str) -> Option<String> {
        let (_, rest) = self.0.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
    }

    #[track_caller]
    fn get(&self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }
}

/// A request to STS as this person.
fn sts(service: &Served, person: &Person, action: &str, parameters: &[(&str, &str)]) -> Answer {
    let fixed = [("Action", action), ("Version", "2011-06-15")];
    let pairs = fixed.iter().chain(parameters).map(|(name, value)| format!("{name}={}", percent_encoded(value)));
    let request = Request {
        headers: vec![("content-type".into(), "application/x-www-form-urlencoded; charset=utf-8".into())],
        service: "sts".into(),
        ..Request::kms_bytes("", pairs.collect::<Vec<_>>().join("&").as_bytes())
    };
    service.send_as(&request, &person.credentials)
}

#[track_caller]
fn sts_ok(service: &Served, person: &Person, action: &str, parameters: &[(&str, &str)]) -> Xml {
    let answer = sts(service, person, action, parameters);
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{action} {parameters:?}: {text}");
    Xml(text)
}

#[track_caller]
fn sts_refused(service: &Served, person: &Person, action: &str, parameters: &[(&str, &str)], expected: Refusal<'_>) {
    let answer = sts(service, person, action, parameters);
    let xml = Xml(String::from_utf8(answer.body).unwrap());
    let told = (answer.status, xml.text("Code").unwrap_or_default(), xml.text("Message").unwrap_or_default());
    assert_eq!((told.0, told.1.as_str(), told.2.as_str()), expected, "{action} {parameters:?}");
}

/// The holder of the credentials in an answer.
fn holder(account: &AccountId, xml: &Xml, arn: String, unique_id: String) -> Person {
    let token = Some(xml.get("SessionToken"));
    let credentials = Credentials::new(xml.get("AccessKeyId"), xml.get("SecretAccessKey"), token, None, "sts");
    Person { account: account.clone(), arn, unique_id, credentials }
}

/// Assumes a role as `session`.
#[track_caller]
fn assume(service: &Served, person: &Person, role: &str, session: &str, more: &[(&str, &str)]) -> Person {
    let parameters = [&[("RoleArn", role), ("RoleSessionName", session)], more].concat();
    let xml = sts_ok(service, person, "AssumeRole", &parameters);
    let account = role.split(':').nth(4).unwrap().parse().unwrap();
    holder(&account, &xml, xml.get("Arn"), xml.get("AssumedRoleId"))
}

#[track_caller]
fn not_assumed(service: &Served, person: &Person, role: &str, more: &[(&str, &str)], expected: Refusal<'_>) {
    let parameters = [&[("RoleArn", role), ("RoleSessionName", "session")], more].concat();
    sts_refused(service, person, "AssumeRole", &parameters, expected);
}

/// The words for a role that does not trust the caller, or does not exist.
fn untrusted(person: &Person, action: &str, role: &str) -> String {
    format!("User: {} is not authorized to perform: sts:{action} on resource: {role}", person.arn)
}

/// A new role with these statements in its trust policy and in a policy of its own, for sessions of up to two hours.
fn role(service: &Served, account: &AccountId, name: &str, trust: Value, own: Value) -> String {
    let arn = service.role(account, name);
    change_role(service, &arn, |role| {
        let trust_policy = policy(trust);
        let compiled = Policy::parse(&trust_policy, Kind::TrustPolicy).unwrap();
        let trusted = service.kms.unique_ids(&compiled).expect("principals that exist");
        let description = String::new();
        role.role = Some(RoleDetails { trust_policy, trusted, max_session_seconds: 7_200, description });
        role.inline_policies.insert("own".parse().unwrap(), policy(own));
    });
    arn
}

fn change_role(service: &Served, arn: &str, change: impl FnOnce(&mut PrincipalRecord)) {
    let row = service.kms.principal_of(arn).expect("a role");
    let mut record = row.record.clone();
    change(&mut record);
    service.commit(|committed| committed.update(&row, record));
}

fn delete_role(service: &Served, arn: &str) {
    let row = service.kms.principal_of(arn).expect("a role");
    service.commit(|change| change.delete(&row));
}

/// Trusts whoever has this ARN.
fn trusts(arn: &str) -> Value {
    json!([{ "Effect": "Allow", "Principal": { "AWS": arn }, "Action": "sts:AssumeRole" }])
}

/// May do everything to every key.
fn all_of_kms() -> Value {
    json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }])
}

/// A new key of the root user's with this policy, whatever it says.
fn key_with_policy(service: &Served, statements: Value) -> Key {
    let key = service.new_key(service.root(), json!({}));
    service.put_policy(&key, statements);
    key
}

/// Whether somebody may encrypt under a key: the error if not.
fn encrypt(service: &Served, person: &Person, key: &Key) -> String {
    let answer = service.send(person, "Encrypt", &json!({ "KeyId": key.arn, "Plaintext": "c2VjcmV0" }));
    if answer.status == 200 { String::new() } else { answer.error() }
}

fn start(dir: &Path) -> Served {
    Served::start(dir, MovedClock::at(START))
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

const DENIED: &str = "AccessDeniedException";
const INVALID: &str = "The security token included in the request is invalid.";
const EXPIRED: &str = "The security token included in the request is expired";
