//! What every operation does alike with bodies that are not what they should be, and what of it is on record.

use serde_json::{Value, json};

use super::*;

#[test]
fn bodies_that_are_no_request_are_refused() {
    let service = shared();
    let unreadable = "Could not parse the request body.";
    let deep = |depth: usize| format!(r#"{{"KeyId":"x","More":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let serialization = "SerializationException";
    for (body, message) in [
        ("{".to_owned(), unreadable),
        ("x".into(), unreadable),
        ("[]".into(), unreadable),
        ("\"KeyId\"".into(), unreadable),
        ("null".into(), unreadable),
        (r#"{"KeyId":"x"} {}"#.into(), unreadable),
        (r#"{"KeyId":"x",}"#.into(), unreadable),
        (r#"{"KeyId":"x","KeyId":"x"}"#.into(), unreadable),
        (r#"{"KeyId":"x","More":{"a":1,"a":1}}"#.into(), unreadable),
        (r#"{"KeyId":"\ud800"}"#.into(), unreadable),
        ("{\"KeyId\":\"a\nb\"}".into(), unreadable),
        ("\u{feff}{}".into(), unreadable),
        (deep(127), unreadable),
        (deep(128), unreadable),
        (deep(60_000), unreadable),
        (r#"{"KeyId":5}"#.into(), "NUMBER_VALUE cannot be converted to String"),
        (r#"{"KeyId":1.5}"#.into(), "DECIMAL_VALUE cannot be converted to String"),
        (r#"{"KeyId":true}"#.into(), "TRUE_VALUE cannot be converted to String"),
        (r#"{"KeyId":false}"#.into(), "FALSE_VALUE cannot be converted to String"),
        (r#"{"KeyId":["x"]}"#.into(), "Start of list cannot be converted to String"),
        (r#"{"KeyId":{"x":1}}"#.into(), "Start of structure or map cannot be converted to String"),
        (r#"{"KeyId":"x","GrantTokens":"x"}"#.into(), "STRING_VALUE cannot be converted to List"),
        (r#"{"KeyId":"x","GrantTokens":[null]}"#.into(), "NULL_VALUE cannot be converted to String"),
    ] {
        is_refusal(&call_bytes(&service, "DescribeKey", body.as_bytes()), serialization, message);
    }
    is_refusal(&call_bytes(&service, "DescribeKey", b"{\"KeyId\":\"\xff\"}"), serialization, unreadable);
    // What nobody reads may be as deep as can be read.
    is_refusal(&call_bytes(&service, "DescribeKey", deep(126).as_bytes()), "NotFoundException", "Invalid keyId 'x'");
}

#[test]
fn types_other_than_the_models_are_refused() {
    let service = shared();
    let key = new_key(&service);
    for (operation, body, message) in [
        ("GenerateDataKey", json!({ "NumberOfBytes": "32" }), "STRING_VALUE cannot be converted to Integer"),
        ("GenerateDataKey", json!({ "NumberOfBytes": 32.5 }), "DECIMAL_VALUE cannot be converted to Integer"),
        ("GenerateDataKey", json!({ "NumberOfBytes": true }), "TRUE_VALUE cannot be converted to Integer"),
        ("GenerateDataKey", json!({ "KeySpec": 256 }), "NUMBER_VALUE cannot be converted to String"),
        ("GenerateDataKey", json!({ "DryRun": "true" }), "STRING_VALUE cannot be converted to Boolean"),
        ("GenerateDataKey", json!({ "DryRun": 1 }), "NUMBER_VALUE cannot be converted to Boolean"),
        ("GenerateDataKey", json!({ "Recipient": "x" }), "STRING_VALUE cannot be converted to Structure"),
        ("Encrypt", json!({ "Plaintext": 5 }), "NUMBER_VALUE cannot be converted to Blob"),
        ("Encrypt", json!({ "Plaintext": [1] }), "Start of list cannot be converted to Blob"),
        ("TagResource", json!({ "Tags": { "a": "b" } }), "Start of structure or map cannot be converted to List"),
        ("TagResource", json!({ "Tags": ["a"] }), "STRING_VALUE cannot be converted to Structure"),
    ] {
        let mut body = body;
        body["KeyId"] = key.id.clone().into();
        refused(&service, operation, &body, "SerializationException", message);
    }
}

#[test]
fn a_blob_that_is_not_base64_is_refused() {
    let service = shared();
    let key = new_key(&service);
    for text in ["*", "A", "AA", "AAA", "AA=", "A===", "====", "AA==AA==", "AA\n==", " AA==", "AB==", "-_-_", "AA==x"] {
        let message = "Could not parse the request body.";
        let body = json!({ "KeyId": key.id, "Plaintext": text });
        refused(&service, "Encrypt", &body, "SerializationException", message);
        refused(&service, "Decrypt", &json!({ "CiphertextBlob": text }), "SerializationException", message);
    }
}

#[test]
fn all_broken_constraints_are_told_at_once() {
    let service = shared();
    let message = "4 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have \
                   length greater than or equal to 1; Value '0' at 'numberOfBytes' failed to satisfy constraint: \
                   Member must have value greater than or equal to 1; Value 'AES' at 'keySpec' failed to satisfy \
                   constraint: Member must satisfy enum value set: [AES_256, AES_128]; Value at \
                   'grantTokens.2.member' failed to satisfy constraint: Member must have length greater than or equal \
                   to 1";
    let body = json!({ "KeyId": "", "NumberOfBytes": 0, "KeySpec": "AES", "GrantTokens": ["x", ""] });
    refused(&service, "GenerateDataKey", &body, "ValidationException", message);
    let message = "2 validation errors detected: Value null at 'aliasName' failed to satisfy constraint: Member must \
                   not be null; Value null at 'targetKeyId' failed to satisfy constraint: Member must not be null";
    refused(&service, "CreateAlias", &json!({ "TargetKeyId": null }), "ValidationException", message);
}

#[test]
fn required_members_are_missed_in_every_operation() {
    let service = shared();
    let mut without = Vec::new();
    for route in kms_operations() {
        let missing: Vec<String> = route
            .members
            .iter()
            .filter(|member| member.required)
            .map(|member| {
                let name = hsm_kms::kms::shape::camel(member.name);
                format!("Value null at '{name}' failed to satisfy constraint: Member must not be null")
            })
            .collect();
        let message = match missing.len() {
            0 => {
                without.push(route.name);
                continue;
            }
            1 => format!("1 validation error detected: {}", missing[0]),
            count => format!("{count} validation errors detected: {}", missing.join("; ")),
        };
        for body in ["", "{}"] {
            is_refusal(&call_bytes(&service, route.name, body.as_bytes()), "ValidationException", &message);
        }
    }
    let expected = [
        "CreateKey",
        "Decrypt",
        "DescribeCustomKeyStores",
        "GenerateRandom",
        "ListAliases",
        "ListKeys",
        "ListRetirableGrants",
        "RetireGrant",
    ];
    assert_eq!(without, expected);
}

#[test]
fn unknown_members_are_passed_over() {
    let service = shared();
    let key = new_key(&service);
    let body = json!({ "KeyId": key.id, "keyId": "x", "NewMember": { "a": [1, null] } });
    assert_eq!(ok(&service, "DescribeKey", &body)["KeyMetadata"]["Arn"], key.arn.as_str());
}

#[test]
fn unknown_operations_are_refused_in_awss_form() {
    let service = shared();
    // Never heard of, of another service, without a name, in other letters.
    for operation in ["Nonsense", "ImportKey", "GetCallerIdentity", "", "encrypt"] {
        refused(&service, operation, &json!({}), "UnknownOperationException", "");
    }
    let targets = ["Encrypt", "TrentService", "trentservice.Encrypt", "Other.Encrypt", "TrentService.Encrypt.x", ""];
    for target in targets {
        let mut request = Request::kms("", &json!({}));
        request.headers[1].1 = target.into();
        is_refusal(&checked(request.send(&service)), "UnknownOperationException", "");
    }
    let mut request = Request::kms("", &json!({}));
    request.headers.remove(1);
    is_refusal(&checked(request.send(&service)), "UnknownOperationException", "");
    let answer = call(&service, "Nonsense", &json!({}));
    assert_eq!(answer.body, br#"{"__type":"UnknownOperationException"}"#);
    assert_eq!(event(&service, &answer)["errorCode"], "UnknownOperationException");
}

#[test]
fn a_refused_request_is_on_record_with_what_it_was_told() {
    let service = shared();
    let answer = call(&service, "Encrypt", &json!({ "KeyId": "fake", "Plaintext": base64(b"CANARY") }));
    is_refusal(&answer, "NotFoundException", "Invalid keyId 'fake'");
    let event = event(&service, &answer);
    assert_eq!((&event["eventName"], &event["eventSource"]), (&json!("Encrypt"), &json!("kms.amazonaws.com")));
    assert_eq!(event["errorCode"], "NotFoundException");
    assert_eq!(event["errorMessage"], "Invalid keyId 'fake'");
    let parameters = json!({ "keyId": "fake", "encryptionAlgorithm": "SYMMETRIC_DEFAULT" });
    assert_eq!(event["requestParameters"], parameters);
    assert_eq!((&event["resources"], &event["responseElements"]), (&json!([]), &Value::Null));
    let body = json!({ "KeyId": "fake", "Plaintext": "AA==", "GrantTokens": ["CANARY"] });
    let answer = call(&service, "Encrypt", &body);
    assert_eq!(self::event(&service, &answer)["requestParameters"], parameters);
    let unreadable = call_bytes(&service, "Encrypt", b"{");
    assert_eq!(self::event(&service, &unreadable)["requestParameters"], Value::Null);
}

#[test]
fn every_answer_has_an_id_and_the_record_has_the_same() {
    let service = Service::start();
    let key = new_key(&service);
    let before = events(&service).len();
    let mut ids = Vec::new();
    for route in kms_operations() {
        for body in [json!({}), json!({ "KeyId": key.id })] {
            ids.push((route, call(&service, route.name, &body)));
        }
    }
    let events = events(&service).split_off(before);
    assert_eq!(events.len(), ids.len(), "one record for each request");
    for ((route, answer), event) in ids.iter().zip(&events) {
        assert_eq!(event["requestID"], answer.header("x-amzn-requestid").unwrap());
        assert_eq!((&event["eventName"], &event["readOnly"]), (&json!(route.name), &json!(route.read_only)));
        assert_eq!(event["errorCode"].as_str().unwrap_or_default(), answer.error());
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let service = Service::start();
    let key = new_key(&service);
    let alias = "alias/one";
    ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    ok(&service, "TagResource", &json!({ "KeyId": key.id, "Tags": [{ "TagKey": "a", "TagValue": "b" }] }));
    let look = || {
        let of_key = ["DescribeKey", "GetKeyPolicy", "ListAliases", "ListResourceTags", "GetKeyLastUsage"];
        let mut seen = of_key.map(|operation| ok(&service, operation, &json!({ "KeyId": key.id }))).to_vec();
        seen.extend(["ListKeys", "ListAliases"].map(|operation| ok(&service, operation, &json!({}))));
        seen
    };
    let before = look();
    for (operation, body) in [
        ("CreateKey", json!({ "Tags": [{ "TagKey": "aws:", "TagValue": "" }] })),
        ("CreateKey", json!({ "Policy": "x" })),
        ("CreateAlias", json!({ "AliasName": alias, "TargetKeyId": key.id })),
        ("CreateAlias", json!({ "AliasName": "alias/aws/two", "TargetKeyId": key.id })),
        ("CreateAlias", json!({ "AliasName": "alias/two", "TargetKeyId": "fake" })),
        ("UpdateAlias", json!({ "AliasName": alias, "TargetKeyId": "fake" })),
        ("DeleteAlias", json!({ "AliasName": "alias/One" })),
        (
            "TagResource",
            json!({ "KeyId": key.id, "Tags": [{ "TagKey": "c", "TagValue": "" }, { "TagKey": "aws:", "TagValue": "" }] }),
        ),
        ("UntagResource", json!({ "KeyId": key.id, "TagKeys": ["a", ""] })),
        ("UpdateKeyDescription", json!({ "KeyId": key.id, "Description": "d".repeat(8193) })),
        ("PutKeyPolicy", json!({ "KeyId": key.id, "Policy": "{}" })),
        ("ScheduleKeyDeletion", json!({ "KeyId": key.id, "PendingWindowInDays": 6 })),
        ("CancelKeyDeletion", json!({ "KeyId": key.id })),
        ("DisableKey", json!({ "KeyId": alias })),
        ("Encrypt", json!({ "KeyId": key.id, "Plaintext": "" })),
    ] {
        let answer = call(&service, operation, &body);
        assert_eq!(answer.status, 400, "{operation} {body}");
        assert_ne!(answer.error(), "");
    }
    assert_eq!(look(), before);
}

fn events(service: &Service) -> Vec<Value> {
    let events = service.audit().into_iter().map(|line| line["event"].clone());
    events.filter(|event| event.is_object()).collect()
}

fn kms_operations() -> impl Iterator<Item = &'static hsm_kms::api::json::Route> {
    let operations = hsm_kms::api::json::OPERATIONS.iter();
    operations.filter(|route| route.source == hsm_kms::audit::EventSource::Kms)
}
