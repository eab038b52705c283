//! Tags.

use serde_json::{Value, json};

use super::*;

#[test]
fn tags_are_added_overwritten_and_removed() {
    let service = shared();
    let key = new_key(&service);
    let add =
        |tags: Value| assert_eq!(ok(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": tags })), Value::Null);
    add(json!([tag("b", "1"), tag("a", ""), tag("A", "case counts")]));
    assert_eq!(tags(&service, &key), json!([tag("A", "case counts"), tag("a", ""), tag("b", "1")]));
    add(json!([tag("b", "2"), tag("ü +-=._:/@", "v")]));
    let expected = json!([tag("A", "case counts"), tag("a", ""), tag("b", "2"), tag("ü +-=._:/@", "v")]);
    assert_eq!(tags(&service, &key), expected);
    let body = json!({ "KeyId": key.id, "TagKeys": ["a", "b", "b", "none"] });
    assert_eq!(ok(&service, "UntagResource", &body), Value::Null);
    assert_eq!(tags(&service, &key), json!([tag("A", "case counts"), tag("ü +-=._:/@", "v")]));
    let answer = ok(&service, "ListResourceTags", &json!({ "KeyId": key.id }));
    assert_eq!(names(&answer), ["Tags", "Truncated"]);
}

#[test]
fn keys_have_1_to_128_characters_and_values_0_to_256() {
    let service = shared();
    let key = new_key(&service);
    let longest = tag(&"ü".repeat(128), &"ü".repeat(256));
    ok(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": [longest] }));
    assert_eq!(tags(&service, &key), json!([longest]));
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
    let message = format!(
        "4 validation errors detected: Value '{long_key}' at 'tags.1.member.tagKey' failed to satisfy constraint: \
         Member must have length less than or equal to 128; Value '{long_value}' at 'tags.1.member.tagValue' failed \
         to satisfy constraint: Member must have length less than or equal to 256; Value '' at \
         'tags.2.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1; \
         Value null at 'tags.2.member.tagValue' failed to satisfy constraint: Member must not be null"
    );
    let body = json!({ "KeyId": key.id, "Tags": [tag(&long_key, &long_value), { "TagKey": "" }] });
    refused(&service, "TagResource", &body, "ValidationException", &message);
    let message = violation(
        "Value '' at 'tagKeys.2.member' failed to satisfy constraint: Member must have length greater than or equal \
         to 1",
    );
    let body = json!({ "KeyId": key.id, "TagKeys": ["a", ""] });
    refused(&service, "UntagResource", &body, "ValidationException", &message);
    assert_eq!(tags(&service, &key), json!([longest]));
}

#[test]
fn a_key_has_at_most_50_tags() {
    let service = shared();
    let key = new_key(&service);
    let many = |count: usize, value: &str| (0..count).map(|n| tag(&format!("t{n:02}"), value)).collect::<Vec<_>>();
    ok(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": many(49, "1") }));
    let body = json!({ "KeyId": key.id, "Tags": [tag("x", ""), tag("y", "")] });
    refused(&service, "TagResource", &body, "TagException", "Too many tags");
    ok(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": many(50, "2") }));
    assert_eq!(tags(&service, &key), json!(many(50, "2")));
    let body = json!({ "KeyId": key.id, "Tags": [tag("x", "")] });
    refused(&service, "TagResource", &body, "TagException", "Too many tags");
    ok(&service, "CreateKey", &json!({ "Tags": many(50, "") }));
    refused(&service, "CreateKey", &json!({ "Tags": many(51, "") }), "TagException", "Too many tags");
}

#[test]
fn tags_twice_and_reserved_tags_are_refused() {
    let service = shared();
    let key = new_key(&service);
    for (tags, message) in [
        (json!([tag("a", "1"), tag("b", "1"), tag("a", "1")]), "Duplicate tag keys"),
        (json!([tag("a", "1"), tag("aws:x", "1")]), "Tags beginning with aws: are reserved"),
    ] {
        let body = json!({ "KeyId": key.id, "Tags": tags });
        refused(&service, "TagResource", &body, "TagException", message);
        refused(&service, "CreateKey", &json!({ "Tags": tags }), "TagException", message);
    }
    assert_eq!(tags(&service, &key), json!([]));
    ok(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": [tag("aws", "1"), tag("xaws:", "1")] }));
}

#[test]
fn the_record_shows_the_tags() {
    let service = shared();
    let key = new_key(&service);
    let answer = call(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": [tag("a", "b")] }));
    let parameters = json!({ "keyId": key.id, "tags": [{ "tagKey": "a", "tagValue": "b" }] });
    assert_eq!(event(&service, &answer)["requestParameters"], parameters);
}

fn tag(key: &str, value: &str) -> Value {
    json!({ "TagKey": key, "TagValue": value })
}

fn tags(service: &Service, key: &Key) -> Value {
    ok(service, "ListResourceTags", &json!({ "KeyId": key.id }))["Tags"].clone()
}
