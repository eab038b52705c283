//! What the service says after a crash, held against what its clients were told before.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use crate::load::{Client, Facts, InFlight};
use crate::support::Service;
use crate::support::wire::Request;

/// The service has everything that was acknowledged, and of what was in flight all or nothing. The journals are
/// brought up to date with what became of it. `strays` are keys that were made and never answered.
pub fn check(service: &Service, clients: &mut [Client], strays: &mut BTreeSet<String>) {
    let listed = listed_keys(service);
    check_records(service, clients);
    check_creations(service, clients, strays, &listed);
    let aliases = aliases(service);
    for client in clients {
        let mut keys = std::mem::take(&mut client.touched);
        keys.sort();
        keys.dedup();
        let mut observed = aliases.clone();
        for key in &keys {
            assert!(listed.contains(key), "the key {key} was acknowledged and is lost");
            observed.extend(observe(service, key));
        }
        hold(client, &keys, &observed);
        check_sealed(service, client);
    }
}

/// As `check`, for everything that was ever acknowledged; and the token has no object that nobody knows.
pub fn check_all(service: &Service, clients: &mut [Client], strays: &mut BTreeSet<String>) {
    for client in clients.iter_mut() {
        let states = client.facts.keys().filter_map(|fact| fact.strip_prefix("state "));
        client.touched = states.map(str::to_owned).collect();
    }
    check(service, clients, strays);
    check_token(service);
}

fn hold(client: &mut Client, keys: &[String], observed: &Facts) {
    let in_flight = match client.in_flight.take() {
        Some(InFlight::Change(fact, value)) => Some((fact, value)),
        _ => None,
    };
    let of_keys = |fact: &str| fact.starts_with("alias ") || keys.iter().any(|key| fact.contains(key.as_str()));
    let mut facts: BTreeSet<String> = client.facts.keys().filter(|fact| of_keys(fact)).cloned().collect();
    facts.extend(in_flight.iter().map(|(fact, _)| fact.clone()));
    for fact in facts {
        let found = observed.get(&fact).cloned().flatten();
        let known = client.facts.get(&fact).cloned().flatten();
        let may_be = in_flight.as_ref().filter(|(changed, _)| *changed == fact).map(|(_, value)| value);
        assert!(
            found == known || may_be == Some(&found),
            "{fact} is {found:?}; acknowledged was {known:?}, in flight {may_be:?}"
        );
        client.facts.insert(fact, found);
    }
}

/// Every answer has its record, and no request has two.
fn check_records(service: &Service, clients: &mut [Client]) {
    let mut records: HashMap<String, (usize, Value)> = HashMap::new();
    let mut events = HashSet::new();
    for line in service.audit() {
        let event = &line["event"];
        let Some(id) = event["requestID"].as_str() else { continue };
        assert!(events.insert(event["eventID"].to_string()), "an event is recorded twice: {event}");
        records.entry(id.to_owned()).or_insert((0, event["errorCode"].clone())).0 += 1;
    }
    for id in clients.iter_mut().flat_map(|client| client.answered.drain(..)) {
        assert_eq!(records.get(&id), Some(&(1, Value::Null)), "the record of the answer {id}");
    }
}

/// What is listed and was not acknowledged was in flight, and is a whole key with a record.
fn check_creations(service: &Service, clients: &[Client], strays: &mut BTreeSet<String>, listed: &BTreeSet<String>) {
    let acknowledged = |key: &String| clients.iter().any(|client| client.facts.contains_key(&format!("state {key}")));
    let new: Vec<&String> = listed.iter().filter(|key| !acknowledged(key) && !strays.contains(*key)).collect();
    let in_flight = clients.iter().filter(|client| matches!(client.in_flight, Some(InFlight::Creation))).count();
    assert!(new.len() <= in_flight, "{new:?} are listed, and only {in_flight} creations were in flight");
    for key in new {
        let made = service.audit().into_iter().filter(|line| line["event"]["eventName"] == "CreateKey");
        let records = made.filter(|line| line["event"]["resources"].to_string().contains(key.as_str())).count();
        assert_eq!(records, 1, "the unanswered key {key} has its record");
        let sealed = call(service, "Encrypt", &json!({ "KeyId": key, "Plaintext": "eHk=" }));
        call(service, "Decrypt", &json!({ "CiphertextBlob": sealed["CiphertextBlob"] }));
        strays.insert(key.clone());
    }
}

/// Ciphertexts from before the crash still open, if their keys may be used.
fn check_sealed(service: &Service, client: &Client) {
    let enabled = client.keys_in("Enabled");
    for (key, sealed, plaintext) in client.sealed.iter().rev().filter(|(key, _, _)| enabled.contains(key)).take(4) {
        let opened = call(service, "Decrypt", &json!({ "CiphertextBlob": sealed }));
        assert_eq!(opened["Plaintext"], plaintext.as_str(), "a ciphertext under {key}");
    }
}

/// Every object on the token is of a listed key, the store's root, or was reported.
fn check_token(service: &Service) {
    let on_token = service.pkcs11_tool(&["--list-objects", "--type", "secrkey"]);
    let labels: BTreeSet<String> = on_token
        .lines()
        .filter_map(|line| line.trim().strip_prefix("label:"))
        .map(|label| label.trim().to_owned())
        .collect();
    let keys: BTreeSet<String> = listed_keys(service).iter().map(|key| format!("hsm-kms/kms/{key}/1")).collect();
    let lost: Vec<_> = keys.difference(&labels).collect();
    assert!(lost.is_empty(), "listed keys without an object: {lost:?} in {on_token}");
    let reported: String = service
        .audit()
        .into_iter()
        .filter(|line| line["event"]["eventName"] == "ReconcileTokenObjects")
        .map(|line| line["event"]["additionalEventData"]["orphans"].to_string())
        .collect();
    let is_root = |label: &&String| label.starts_with("hsm-kms/store-root/");
    let roots: Vec<_> = labels.iter().filter(is_root).filter(|root| !reported.contains(root.as_str())).collect();
    assert_eq!(roots.len(), 1, "one root of the store: {labels:?}");
    let unknown: Vec<_> =
        labels.difference(&keys).filter(|label| !is_root(label) && !reported.contains(label.as_str())).collect();
    assert!(unknown.is_empty(), "nobody knows {unknown:?}");
}

fn listed_keys(service: &Service) -> BTreeSet<String> {
    let pages = pages(service, "ListKeys", json!({ "Limit": 1_000 }));
    let keys = pages.iter().flat_map(|page| page["Keys"].as_array().expect("keys"));
    keys.map(|key| key["KeyId"].as_str().expect("an id").to_owned()).collect()
}

fn aliases(service: &Service) -> Facts {
    let pages = pages(service, "ListAliases", json!({ "Limit": 100 }));
    let aliases = pages.iter().flat_map(|page| page["Aliases"].as_array().expect("aliases"));
    let fact = |alias: &Value| {
        let name = alias["AliasName"].as_str().expect("a name");
        (format!("alias {name}"), alias["TargetKeyId"].as_str().map(str::to_owned))
    };
    aliases.map(fact).collect()
}

fn observe(service: &Service, key: &str) -> Facts {
    let of_key = json!({ "KeyId": key });
    let state = call(service, "DescribeKey", &of_key)["KeyMetadata"]["KeyState"].clone();
    let policy = call(service, "GetKeyPolicy", &of_key)["Policy"].clone();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut facts = Facts::from([(format!("state {key}"), text(&state)), (format!("policy {key}"), text(&policy))]);
    for tag in call(service, "ListResourceTags", &of_key)["Tags"].as_array().expect("tags") {
        facts.insert(format!("tag {key} {}", tag["TagKey"].as_str().expect("a name")), text(&tag["TagValue"]));
    }
    facts
}

fn pages(service: &Service, operation: &str, mut body: Value) -> Vec<Value> {
    let mut pages = Vec::new();
    loop {
        let page = call(service, operation, &body);
        let marker = page["NextMarker"].clone();
        pages.push(page);
        if marker.is_null() {
            return pages;
        }
        body["Marker"] = marker;
    }
}

/// A request that must be served.
pub fn call(service: &Service, operation: &str, body: &Value) -> Value {
    let answer = Request::kms(operation, body).send(service);
    assert_eq!(answer.status, 200, "{operation} {body}: {} {}", answer.error(), answer.message());
    answer.json()
}
