//! Aliases.

use serde_json::{Value, json};

use super::*;

#[test]
fn an_alias_stands_for_its_key_until_it_is_moved_or_deleted() {
    let service = shared();
    let (first, second) = (new_key(&service), new_key(&service));
    let alias = new_alias("moves");
    let arn = format!("arn:aws:kms:us-east-1:111122223333:{alias}");
    assert_eq!(ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": first.id })), Value::Null);
    let entry = aliases_of(&service, &first)[0].clone();
    let expected = json!({
        "AliasName": alias, "AliasArn": arn, "TargetKeyId": first.id,
        "CreationDate": entry["CreationDate"], "LastUpdatedDate": entry["CreationDate"],
    });
    assert_eq!(entry, expected);
    assert_eq!(target(&service, &alias), first.arn.as_str());
    assert_eq!(ok(&service, "UpdateAlias", &json!({ "AliasName": alias, "TargetKeyId": second.arn })), Value::Null);
    assert_eq!(target(&service, &alias), second.arn.as_str());
    assert_eq!(aliases_of(&service, &first), Vec::<Value>::new());
    let moved = aliases_of(&service, &second)[0].clone();
    assert_eq!((&moved["TargetKeyId"], &moved["CreationDate"]), (&json!(second.id), &entry["CreationDate"]));
    assert!(moved["LastUpdatedDate"].as_f64() >= entry["LastUpdatedDate"].as_f64());
    assert_eq!(ok(&service, "DeleteAlias", &json!({ "AliasName": alias })), Value::Null);
    let gone = format!("Alias {arn} is not found.");
    refused(&service, "DescribeKey", &json!({ "KeyId": alias }), "NotFoundException", &gone);
    refused(&service, "DeleteAlias", &json!({ "AliasName": alias }), "NotFoundException", &gone);
    let body = json!({ "AliasName": alias, "TargetKeyId": first.id });
    refused(&service, "UpdateAlias", &body, "NotFoundException", &gone);
    ok(&service, "CreateAlias", &body);
}

#[test]
fn deleting_an_alias_does_not_touch_the_key() {
    let service = shared();
    let key = new_key(&service);
    let alias = new_alias("deleted");
    let look =
        || ["DescribeKey", "GetKeyPolicy", "ListResourceTags"].map(|o| ok(&service, o, &json!({ "KeyId": key.id })));
    let before = look();
    ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    let blob = ok(&service, "Encrypt", &json!({ "KeyId": alias, "Plaintext": "AA==" }))["CiphertextBlob"].clone();
    ok(&service, "DeleteAlias", &json!({ "AliasName": alias }));
    assert_eq!(look(), before);
    assert_eq!(ok(&service, "Decrypt", &json!({ "CiphertextBlob": blob }))["Plaintext"], "AA==");
}

#[test]
fn a_name_is_taken_once_and_case_counts() {
    let service = shared();
    let (first, second) = (new_key(&service), new_key(&service));
    let lower = new_alias("case");
    let upper = format!("alias/{}", lower["alias/".len()..].to_uppercase());
    ok(&service, "CreateAlias", &json!({ "AliasName": lower, "TargetKeyId": first.id }));
    let message = format!("An alias with the name arn:aws:kms:us-east-1:111122223333:{lower} already exists");
    for key in [&first, &second] {
        let body = json!({ "AliasName": lower, "TargetKeyId": key.id });
        refused(&service, "CreateAlias", &body, "AlreadyExistsException", &message);
    }
    let absent = format!("Alias arn:aws:kms:us-east-1:111122223333:{upper} is not found.");
    refused(&service, "DescribeKey", &json!({ "KeyId": upper }), "NotFoundException", &absent);
    ok(&service, "CreateAlias", &json!({ "AliasName": upper, "TargetKeyId": second.id }));
    assert_eq!((target(&service, &lower), target(&service, &upper)), (first.arn, second.arn));
}

#[test]
fn names_that_no_alias_has_are_refused() {
    let service = shared();
    let key = new_key(&service);
    let prefix = "Alias must start with the prefix \"alias/\". Please see \
                  https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
    let pattern = |name: &str| {
        violation(&format!(
            "Value '{name}' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression \
             pattern: ^[a-zA-Z0-9:/_-]+$"
        ))
    };
    let too_long = format!("alias/{}", "a".repeat(251));
    let reserved = "The alias prefix 'alias/aws/' is reserved for AWS managed keys.";
    let validation = "ValidationException";
    for (name, error, message) in [
        ("key1", validation, prefix.to_owned()),
        ("Alias/key1", validation, prefix.to_owned()),
        ("alias/a b", validation, pattern("alias/a b")),
        ("alias/a.b", validation, pattern("alias/a.b")),
        ("alias/ü", validation, pattern("alias/ü")),
        ("alias/a:b", "InvalidAliasNameException", "alias/a:b contains invalid characters for an alias".into()),
        ("alias/", "InvalidAliasNameException", "alias/ contains invalid characters for an alias".into()),
        ("alias/aws/", "InvalidAliasNameException", reserved.into()),
        ("alias/aws/s3", "InvalidAliasNameException", reserved.into()),
        (
            too_long.as_str(),
            validation,
            violation(&format!(
                "Value '{too_long}' at 'aliasName' failed to satisfy constraint: Member must have length less than or \
                 equal to 256"
            )),
        ),
    ] {
        let body = json!({ "AliasName": name, "TargetKeyId": key.id });
        refused(&service, "CreateAlias", &body, error, &message);
        refused(&service, "UpdateAlias", &body, error, &message);
        refused(&service, "DeleteAlias", &json!({ "AliasName": name }), error, &message);
    }
    assert_eq!(aliases_of(&service, &key), Vec::<Value>::new());
    let longest = format!("alias/{}/{}", uuid::Uuid::new_v4(), "a".repeat(256 - 43));
    assert_eq!(longest.len(), 256);
    for name in [longest.as_str(), "alias/awsome/_-/Z9", "alias//", "alias/aws"] {
        ok(&service, "CreateAlias", &json!({ "AliasName": name, "TargetKeyId": key.id }));
        assert_eq!(target(&service, name), key.arn.as_str());
        ok(&service, "DeleteAlias", &json!({ "AliasName": name }));
    }
}

#[test]
fn a_key_has_at_most_50_aliases() {
    let service = shared();
    let (full, other) = (new_key(&service), new_key(&service));
    let names: Vec<String> = (0..50).map(|number| new_alias(&format!("n{number:02}"))).collect();
    for name in &names {
        ok(&service, "CreateAlias", &json!({ "AliasName": name, "TargetKeyId": full.id }));
    }
    let one_more = new_alias("more");
    let limit = "A key has at most 50 aliases.";
    let body = json!({ "AliasName": one_more, "TargetKeyId": full.id });
    refused(&service, "CreateAlias", &body, "LimitExceededException", limit);
    ok(&service, "CreateAlias", &json!({ "AliasName": one_more, "TargetKeyId": other.id }));
    refused(&service, "UpdateAlias", &body, "LimitExceededException", limit);
    assert_eq!(target(&service, &one_more), other.arn.as_str());
    // An alias that is there already may be pointed to the same key again.
    ok(&service, "UpdateAlias", &json!({ "AliasName": names[0], "TargetKeyId": full.id }));
    ok(&service, "DeleteAlias", &json!({ "AliasName": names[0] }));
    ok(&service, "UpdateAlias", &body);
    assert_eq!(aliases_of(&service, &full).len(), 50);
}

/// Whoever comes at the same time: new ones, and ones that are moved.
#[test]
fn the_last_of_50_aliases_is_given_once() {
    let service = Service::start();
    let (full, other) = (new_key(&service), new_key(&service));
    let create = |key: &Key| {
        let body = json!({ "AliasName": new_alias("race"), "TargetKeyId": key.id });
        (call(&service, "CreateAlias", &body), body)
    };
    (0..49).for_each(|_| assert_eq!(create(&full).0.status, 200));
    for _ in 0..3 {
        let (made, mut moved) = create(&other);
        assert_eq!(made.status, 200);
        moved["TargetKeyId"] = json!(full.id);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let mover = scope.spawn(|| call(&service, "UpdateAlias", &moved));
            let creators: Vec<_> = (0..5).map(|_| scope.spawn(|| create(&full).0)).collect();
            std::iter::once(mover).chain(creators).map(|thread| thread.join().unwrap()).collect()
        });
        let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert!(refused.iter().all(|answer| answer.error() == "LimitExceededException"));
        let there = aliases_of(&service, &full);
        assert_eq!((done.len(), there.len()), (1, 50));
        // The next round has room for one again.
        ok(&service, "DeleteAlias", &json!({ "AliasName": there[0]["AliasName"] }));
    }
}

#[test]
fn the_record_names_alias_and_key() {
    let service = shared();
    let (key, other) = (new_key(&service), new_key(&service));
    let alias = new_alias("record");
    let resource = |key: &Key| json!({ "ARN": key.arn, "accountId": "111122223333", "type": "AWS::KMS::Key" });
    let made = call(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    let made = event(&service, &made);
    assert_eq!(made["requestParameters"], json!({ "aliasName": alias, "targetKeyId": key.id }));
    assert_eq!((&made["resources"], &made["readOnly"]), (&json!([resource(&key)]), &json!(false)));
    let moved = call(&service, "UpdateAlias", &json!({ "AliasName": alias, "TargetKeyId": other.id }));
    let moved = event(&service, &moved);
    assert_eq!(moved["resources"], json!([resource(&other), resource(&key)]));
    let deleted = call(&service, "DeleteAlias", &json!({ "AliasName": alias }));
    assert_eq!(event(&service, &deleted)["resources"], json!([resource(&other)]));
}

fn aliases_of(service: &Service, key: &Key) -> Vec<Value> {
    ok(service, "ListAliases", &json!({ "KeyId": key.id }))["Aliases"].as_array().unwrap().clone()
}

fn target(service: &Service, alias: &str) -> String {
    let metadata = ok(service, "DescribeKey", &json!({ "KeyId": alias }));
    metadata["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}
