//! The four ways to name a key, and who takes which.

use serde_json::{Value, json};

use super::*;

/// A body that names the key in its one way.
type Body = fn(&str, &str) -> Value;

/// Key id, key ARN, alias name and alias ARN.
const ANY_FORM: &[(&str, Body)] = &[
    ("DescribeKey", |name, _| json!({ "KeyId": name })),
    ("Encrypt", |name, _| json!({ "KeyId": name, "Plaintext": "AA==" })),
    ("Decrypt", |name, blob| json!({ "KeyId": name, "CiphertextBlob": blob })),
    ("ReEncrypt", |name, blob| json!({ "DestinationKeyId": name, "CiphertextBlob": blob })),
    ("ReEncrypt", |name, blob| json!({ "SourceKeyId": name, "DestinationKeyId": name, "CiphertextBlob": blob })),
    ("GenerateDataKey", |name, _| json!({ "KeyId": name, "NumberOfBytes": 1 })),
    ("GenerateDataKeyPair", |name, _| json!({ "KeyId": name, "KeyPairSpec": "ECC_NIST_P256" })),
    ("GenerateDataKeyPairWithoutPlaintext", |name, _| json!({ "KeyId": name, "KeyPairSpec": "ECC_NIST_P256" })),
    ("GenerateDataKeyWithoutPlaintext", |name, _| json!({ "KeyId": name, "NumberOfBytes": 1 })),
];

/// Key id and key ARN.
const NO_ALIAS: &[(&str, Body)] = &[
    ("GetKeyPolicy", |name, _| json!({ "KeyId": name })),
    ("PutKeyPolicy", |name, _| json!({ "KeyId": name, "Policy": POLICY })),
    ("ListKeyPolicies", |name, _| json!({ "KeyId": name })),
    ("ListAliases", |name, _| json!({ "KeyId": name })),
    ("ListResourceTags", |name, _| json!({ "KeyId": name })),
    ("TagResource", |name, _| json!({ "KeyId": name, "Tags": [] })),
    ("UntagResource", |name, _| json!({ "KeyId": name, "TagKeys": [] })),
    ("UpdateKeyDescription", |name, _| json!({ "KeyId": name, "Description": "" })),
    ("GetKeyLastUsage", |name, _| json!({ "KeyId": name })),
    ("CreateAlias", |name, _| json!({ "AliasName": new_alias("id"), "TargetKeyId": name })),
    ("DisableKey", |name, _| json!({ "KeyId": name })),
    ("EnableKey", |name, _| json!({ "KeyId": name })),
];

#[test]
fn cryptography_and_describe_key_take_all_four_forms() {
    let service = shared();
    let (key, alias, blob) = subject(&service);
    let alias_arn = format!("arn:aws:kms:us-east-1:111122223333:{alias}");
    for (operation, body) in ANY_FORM {
        for form in [&key.id, &key.arn, &alias, &alias_arn] {
            let answer = ok(&service, operation, &body(form, &blob));
            // The answer names the key by its ARN, whatever the request did.
            let named = if *operation == "DescribeKey" { &answer["KeyMetadata"]["Arn"] } else { &answer["KeyId"] };
            assert_eq!(named, key.arn.as_str(), "{operation} by {form}");
        }
    }
}

#[test]
fn the_other_operations_take_no_alias() {
    let service = shared();
    let (key, alias, blob) = subject(&service);
    let alias_arn = format!("arn:aws:kms:us-east-1:111122223333:{alias}");
    let moved = new_alias("moved");
    ok(&service, "CreateAlias", &json!({ "AliasName": moved, "TargetKeyId": key.id }));
    let mut bodies: Vec<(&str, Box<dyn Fn(&str) -> Value>)> = Vec::new();
    for (operation, body) in NO_ALIAS {
        let blob = blob.clone();
        bodies.push((operation, Box::new(move |name| body(name, &blob))));
    }
    bodies.push(("UpdateAlias", Box::new(move |name| json!({ "AliasName": moved, "TargetKeyId": name }))));
    for (operation, body) in &bodies {
        for form in [&key.id, &key.arn] {
            ok(&service, operation, &body(form));
        }
        refused(&service, operation, &body(&alias), "NotFoundException", &format!("Invalid keyId '{alias}'"));
        let message = "Key Aliases are not supported for this operation.";
        refused(&service, operation, &body(&alias_arn), "InvalidArnException", message);
    }
    for (first, second) in [("ScheduleKeyDeletion", "CancelKeyDeletion"); 2] {
        for operation in [first, second] {
            let body = json!({ "KeyId": alias });
            refused(&service, operation, &body, "NotFoundException", &format!("Invalid keyId '{alias}'"));
            let message = "Key Aliases are not supported for this operation.";
            refused(&service, operation, &json!({ "KeyId": alias_arn }), "InvalidArnException", message);
        }
        ok(&service, first, &json!({ "KeyId": key.arn }));
        assert_eq!(ok(&service, second, &json!({ "KeyId": key.arn })), json!({ "KeyId": key.arn }));
    }
}

#[test]
fn what_names_no_key_is_refused_by_kind() {
    let service = shared();
    let (key, _, blob) = subject(&service);
    let absent = "00000000-0000-4000-8000-000000000000";
    let upper = key.id.to_uppercase();
    let arn = |rest: &str| format!("arn:aws:kms:{rest}");
    let not_found = "NotFoundException";
    let invalid_arn = "InvalidArnException";
    for (name, error, message) in [
        ("fake-key-id".to_owned(), not_found, "Invalid keyId 'fake-key-id'".to_owned()),
        (upper.clone(), not_found, format!("Invalid keyId '{upper}'")),
        (format!("{} ", key.id), not_found, format!("Invalid keyId '{} '", key.id)),
        (absent.into(), not_found, format!("Key 'arn:aws:kms:us-east-1:111122223333:key/{absent}' does not exist")),
        (
            arn(&format!("us-east-1:111122223333:key/{absent}")),
            not_found,
            format!("Key 'arn:aws:kms:us-east-1:111122223333:key/{absent}' does not exist"),
        ),
        (arn(&format!("us-west-2:111122223333:key/{}", key.id)), not_found, "Invalid arn us-west-2".into()),
        ("arn:nonsense".into(), invalid_arn, "Invalid arn arn:nonsense".into()),
        (
            format!("arn:aws:s3:us-east-1:111122223333:key/{}", key.id),
            invalid_arn,
            format!("Invalid arn arn:aws:s3:us-east-1:111122223333:key/{}", key.id),
        ),
        (arn("us-east-1:1111:key/x"), invalid_arn, "Invalid arn arn:aws:kms:us-east-1:1111:key/x".into()),
        (
            arn(&format!("us-east-1:111122223333:{}", key.id)),
            invalid_arn,
            format!("Invalid arn arn:aws:kms:us-east-1:111122223333:{}", key.id),
        ),
    ] {
        for (operation, body) in ANY_FORM.iter().chain(NO_ALIAS) {
            refused(&service, operation, &body(&name, &blob), error, &message);
        }
        for operation in ["ScheduleKeyDeletion", "CancelKeyDeletion"] {
            refused(&service, operation, &json!({ "KeyId": name }), error, &message);
        }
    }
}

#[test]
fn aliases_that_are_not_there() {
    let service = shared();
    let (_, _, blob) = subject(&service);
    let gone = new_alias("gone");
    let arn = format!("arn:aws:kms:us-east-1:111122223333:{gone}");
    for (operation, body) in ANY_FORM {
        for form in [&gone, &arn] {
            let message = format!("Alias {arn} is not found.");
            refused(&service, operation, &body(form, &blob), "NotFoundException", &message);
        }
        let elsewhere = format!("arn:aws:kms:us-west-2:111122223333:{gone}");
        refused(&service, operation, &body(&elsewhere, &blob), "NotFoundException", "Invalid arn us-west-2");
    }
}

#[test]
fn whether_a_key_of_another_account_exists_is_not_told() {
    let service = shared();
    let (key, alias, blob) = subject(&service);
    let denied = |operation: &str, body: &Value| {
        let action = match operation {
            // The source is asked first.
            "ReEncrypt" if body["SourceKeyId"].is_null() => "ReEncryptTo",
            "ReEncrypt" => "ReEncryptFrom",
            other => other,
        };
        unknown_resource(action, "this resource")
    };
    for resource in [format!("key/{}", key.id), alias] {
        let arn = format!("arn:aws:kms:us-east-1:444455556666:{resource}");
        for (operation, body) in ANY_FORM {
            let body = body(&arn, &blob);
            refused(&service, operation, &body, "AccessDeniedException", &denied(operation, &body));
        }
    }
    let arn = format!("arn:aws:kms:us-east-1:444455556666:key/{}", key.id);
    for (operation, body) in NO_ALIAS {
        let body = body(&arn, &blob);
        refused(&service, operation, &body, "AccessDeniedException", &denied(operation, &body));
    }
}

fn subject(service: &Service) -> (Key, String, String) {
    let key = new_key(service);
    let alias = new_alias("form");
    ok(service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    let blob = encrypted(service, &key, b"x");
    (key, alias, blob)
}

const POLICY: &str =
    r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}]}"#;
