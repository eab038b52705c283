//! Lists, a page at a time, and their markers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// A list: the operation, the body without limit and marker, and the member with its items.
struct List {
    operation: &'static str,
    body: Value,
    items: &'static str,
}

#[test]
fn pages_together_are_the_whole_list_once() {
    let service = shared();
    let lists = Lists::new(&service);
    for list in &lists.all {
        let whole: Vec<Value> = list.pages(&service, 1000.min(list.max())).concat();
        for limit in [1, 2, 3, 50] {
            let pages = list.pages(&service, limit);
            assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == limit as usize), "{}", list.operation);
            let together = pages.concat();
            let set: BTreeSet<String> = together.iter().map(Value::to_string).collect();
            assert_eq!(set.len(), together.len(), "{}: nothing twice", list.operation);
            assert!(whole.iter().all(|item| set.contains(&item.to_string())), "{}: nothing left out", list.operation);
        }
    }
}

#[test]
fn a_page_has_awss_default_length() {
    let service = Service::start();
    let keys: Vec<Key> = (0..101).map(|_| new_key(&service)).collect();
    let page = ok(&service, "ListKeys", &json!({}));
    assert_eq!((page["Keys"].as_array().unwrap().len(), &page["Truncated"]), (100, &json!(true)));
    assert_eq!(names(&page["Keys"][0]), ["KeyArn", "KeyId"]);
    let whole = ok(&service, "ListKeys", &json!({ "Limit": 101 }));
    let listed: BTreeSet<&str> =
        whole["Keys"].as_array().unwrap().iter().map(|key| key["KeyArn"].as_str().unwrap()).collect();
    assert_eq!(listed, keys.iter().map(|key| key.arn.as_str()).collect());
    assert_eq!(names(&whole), ["Keys", "Truncated"]);
    for number in 0..51 {
        let target = &keys[number % 2].id;
        ok(&service, "CreateAlias", &json!({ "AliasName": format!("alias/{number}"), "TargetKeyId": target }));
    }
    let page = ok(&service, "ListAliases", &json!({}));
    assert_eq!((page["Aliases"].as_array().unwrap().len(), &page["Truncated"]), (50, &json!(true)));
    let whole = ok(&service, "ListAliases", &json!({ "Limit": 100 }));
    assert_eq!((whole["Aliases"].as_array().unwrap().len(), &whole["Truncated"]), (51, &json!(false)));
    for owners in [json!(["SELF"]), json!(["SELF", "OTHER_ACCOUNTS_VIA_RAM"])] {
        let page = ok(&service, "ListKeys", &json!({ "ResourceOwners": owners, "Limit": 1000 }));
        assert_eq!(page["Keys"].as_array().unwrap().len(), 101);
    }
    let page = ok(&service, "ListKeys", &json!({ "ResourceOwners": ["OTHER_ACCOUNTS_VIA_RAM"] }));
    assert_eq!(page, json!({ "Keys": [], "Truncated": false }));
}

#[test]
fn a_marker_goes_on_though_the_item_it_names_is_gone() {
    let service = shared();
    let key = new_key(&service);
    let aliases: BTreeSet<String> = (0..4).map(|number| new_alias(&format!("go{number}"))).collect();
    for alias in &aliases {
        ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    }
    let first = ok(&service, "ListAliases", &json!({ "KeyId": key.id, "Limit": 2 }));
    let last = first["Aliases"][1]["AliasName"].clone();
    ok(&service, "DeleteAlias", &json!({ "AliasName": last }));
    let body = json!({ "KeyId": key.id, "Limit": 2, "Marker": first["NextMarker"] });
    let second = ok(&service, "ListAliases", &body);
    let seen: BTreeSet<String> = [&first, &second]
        .iter()
        .flat_map(|page| page["Aliases"].as_array().unwrap())
        .map(|alias| alias["AliasName"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((seen, &second["Truncated"]), (aliases, &json!(false)));
}

#[test]
fn forged_and_foreign_markers_are_refused() {
    let service = shared();
    let lists = Lists::new(&service);
    let (other_key, _) = Lists::key_with_items(&service);
    for list in &lists.all {
        let marker = list.page(&service, 1, None)["NextMarker"].as_str().unwrap().to_owned();
        assert!(marker.len() <= 1024 && !marker.contains(&lists.key.id));
        let mut forged = marker.clone().into_bytes();
        let middle = forged.len() / 2;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        let longer = format!("{marker}AAAA");
        for bad in ["x", "=", &longer, &marker[..marker.len() - 4], std::str::from_utf8(&forged).unwrap()] {
            list.refuses(&service, bad);
        }
        // A marker is good for one list alone: not for another operation's, and not for another key's.
        for other in lists.all.iter().filter(|other| !std::ptr::eq(*other, list)) {
            other.refuses(&service, &marker);
        }
        if let Some(key_id) = list.body.get("KeyId") {
            assert_ne!(*key_id, other_key.id.as_str());
            let other = List { body: json!({ "KeyId": other_key.id }), ..*list };
            other.refuses(&service, &marker);
        }
        // Not for another Region either.
        if list.body.get("KeyId").is_none() {
            let body = json!({ "Marker": marker });
            let answer = call_in(&service, "eu-west-1", list.operation, &body);
            is_refusal(&answer, "InvalidMarkerException", "The marker is not valid.");
        }
        ok(&service, list.operation, &list.with(1, Some(&marker)));
    }
    let body = json!({ "KeyId": lists.key.id, "Marker": "x" });
    refused(&service, "ListKeyPolicies", &body, "InvalidMarkerException", "The marker is not valid.");
}

#[test]
fn a_marker_of_another_account_or_service_is_refused() {
    let (service, other) = (Service::start(), Service::start_with(&["--account", "444455556666"]));
    for service in [&service, &other] {
        new_key(service);
        new_key(service);
    }
    let marker = ok(&service, "ListKeys", &json!({ "Limit": 1 }))["NextMarker"].clone();
    refused(&other, "ListKeys", &json!({ "Marker": marker }), "InvalidMarkerException", "The marker is not valid.");
    ok(&service, "ListKeys", &json!({ "Marker": marker }));
}

#[test]
fn a_marker_is_good_after_a_restart() {
    let service = Service::start();
    let keys: BTreeSet<String> = (0..3).map(|_| new_key(&service).id).collect();
    let first = ok(&service, "ListKeys", &json!({ "Limit": 1 }));
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    let service = Service::start_in(&data, &[]);
    let rest = ok(&service, "ListKeys", &json!({ "Marker": first["NextMarker"] }));
    let both = [&first, &rest].into_iter().flat_map(|page| page["Keys"].as_array().unwrap());
    assert_eq!(both.map(|key| key["KeyId"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), keys);
}

#[test]
fn limits_outside_the_operations_own_are_refused() {
    let service = shared();
    let lists = Lists::new(&service);
    let message = |limit: i64, rule: &str| {
        violation(&format!("Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value {rule}"))
    };
    for list in &lists.all {
        let max = i64::from(list.max());
        for (limit, rule) in [
            (0, "greater than or equal to 1".to_owned()),
            (-5, "greater than or equal to 1".to_owned()),
            (max + 1, format!("less than or equal to {max}")),
            (1001, "less than or equal to 1000".to_owned()),
        ] {
            let mut body = list.body.clone();
            body["Limit"] = limit.into();
            refused(&service, list.operation, &body, "ValidationException", &message(limit, &rule));
        }
        ok(&service, list.operation, &list.with(list.max(), None));
    }
    let long = "m".repeat(1025);
    for (marker, rule) in [
        (long.as_str(), "have length less than or equal to 1024"),
        ("", "have length greater than or equal to 1"),
        ("\u{100}", "satisfy regular expression pattern: [\\u0020-\\u00FF]*"),
    ] {
        let message =
            violation(&format!("Value '{marker}' at 'marker' failed to satisfy constraint: Member must {rule}"));
        refused(&service, "ListKeys", &json!({ "Marker": marker }), "ValidationException", &message);
    }
}

/// All lists of this service, each with at least four items.
struct Lists {
    key: Key,
    all: Vec<List>,
}

impl Lists {
    fn new(service: &Service) -> Self {
        let (key, body) = Lists::key_with_items(service);
        (0..3).for_each(|_| drop(new_key(service)));
        let list = |operation, body: &Value, items| List { operation, body: body.clone(), items };
        let all = vec![
            list("ListKeys", &json!({}), "Keys"),
            list("ListAliases", &json!({}), "Aliases"),
            list("ListAliases", &body, "Aliases"),
            list("ListResourceTags", &body, "Tags"),
        ];
        Lists { key, all }
    }

    fn key_with_items(service: &Service) -> (Key, Value) {
        let key = new_key(service);
        let body = json!({ "KeyId": key.id });
        for number in 0..7 {
            let alias = new_alias(&format!("list{number}"));
            ok(service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
            let tags = json!([{ "TagKey": format!("t{number}"), "TagValue": "" }]);
            ok(service, "TagResource", &json!({ "KeyId": key.id, "Tags": tags }));
        }
        (key, body)
    }
}

impl List {
    /// The most that the operation gives at once.
    fn max(&self) -> u16 {
        match self.operation {
            "ListKeys" => 1000,
            "ListAliases" => 100,
            _ => 50,
        }
    }

    fn with(&self, limit: u16, marker: Option<&str>) -> Value {
        let mut body = self.body.clone();
        body["Limit"] = limit.into();
        body["Marker"] = marker.into();
        body
    }

    fn page(&self, service: &Service, limit: u16, marker: Option<&str>) -> Value {
        ok(service, self.operation, &self.with(limit, marker))
    }

    /// All pages; a marker is there exactly if the list is truncated.
    fn pages(&self, service: &Service, limit: u16) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let page = self.page(service, limit, marker.as_deref());
            pages.push(page[self.items].as_array().unwrap().clone());
            marker = page["NextMarker"].as_str().map(str::to_owned);
            assert_eq!(page["Truncated"], marker.is_some(), "{page}");
            if marker.is_none() {
                return pages;
            }
        }
    }

    #[track_caller]
    fn refuses(&self, service: &Service, marker: &str) {
        let body = self.with(1, Some(marker));
        refused(service, self.operation, &body, "InvalidMarkerException", "The marker is not valid.");
    }
}
