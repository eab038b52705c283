//! Key policies: stored and validated.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_key_made_without_a_policy_has_awss_default() {
    let service = shared();
    let key = new_key(&service);
    let answer = ok(&service, "GetKeyPolicy", &json!({ "KeyId": key.id }));
    assert_eq!(names(&answer), ["Policy", "PolicyName"]);
    assert_eq!(answer["PolicyName"], "default");
    let policy: Value = serde_json::from_str(answer["Policy"].as_str().unwrap()).unwrap();
    let expected = json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::111122223333:root" },
            "Action": "kms:*",
            "Resource": "*",
        }],
    });
    assert_eq!(policy, expected);
    let named = ok(&service, "GetKeyPolicy", &json!({ "KeyId": key.id, "PolicyName": "default" }));
    assert_eq!(named, answer);
    let listed = ok(&service, "ListKeyPolicies", &json!({ "KeyId": key.id }));
    assert_eq!(listed, json!({ "PolicyNames": ["default"], "Truncated": false }));
}

#[test]
fn a_policy_comes_back_byte_for_byte() {
    let service = shared();
    let key = new_key(&service);
    let odd = "\r\n {\t\"Statement\" :{\"Sid\":\"\\u00fc ü\",\"Effect\":\"Allow\",\"Principal\":\"*\",\n\
               \"Action\":[\"kms:*\"],\"Resource\":\"*\"} , \"Version\":\"2008-10-17\"}  ";
    let put = |body: Value| assert_eq!(ok(&service, "PutKeyPolicy", &body), Value::Null);
    put(json!({ "KeyId": key.id, "Policy": odd }));
    assert_eq!(policy(&service, &key), odd);
    put(json!({ "KeyId": key.arn, "Policy": ALLOW, "PolicyName": "default" }));
    assert_eq!(policy(&service, &key), ALLOW);
    let longest = format!("{ALLOW}{}", " ".repeat(32_768 - ALLOW.len()));
    put(json!({ "KeyId": key.id, "Policy": longest }));
    assert_eq!(policy(&service, &key), longest);
}

#[test]
fn what_is_no_policy_is_refused_and_the_old_one_stays() {
    let service = shared();
    let key = new_key(&service);
    ok(&service, "PutKeyPolicy", &json!({ "KeyId": key.id, "Policy": ALLOW }));
    let lockout = "The new key policy will not allow you to update the key policy in the future.";
    let malformed = "MalformedPolicyDocumentException";
    let statement = |rest: &str| {
        format!(r#"{{"Statement":[{{"Effect":"Allow","Principal":{{"AWS":"111122223333"}},"Resource":"*",{rest}}}]}}"#)
    };
    for (policy, error, message) in [
        ("x".repeat(32_769), "LimitExceededException", "The policy is longer than 32768 bytes.".to_owned()),
        (
            String::new(),
            "ValidationException",
            violation(
                "Value '' at 'policy' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
        ),
        (
            "\u{100}".into(),
            "ValidationException",
            violation(
                "Value '\u{100}' at 'policy' failed to satisfy constraint: Member must satisfy regular expression \
                 pattern: [\\u0009\\u000A\\u000D\\u0020-\\u00FF]+",
            ),
        ),
        ("{}".into(), malformed, "there is no Statement".into()),
        (statement(r#""Action":"kms:Encrypt""#), malformed, lockout.into()),
        (
            statement(r#""Condition":{"Bool":{"aws:SecureTransport":"true"}},"Action":"kms:*""#),
            malformed,
            lockout.into(),
        ),
        (
            ALLOW.replace("111122223333", "444455556666"),
            malformed,
            "Policy contains a statement with one or more invalid principals.".into(),
        ),
        (
            statement(r#""Action":"kms:*","NotAction":"kms:*""#),
            malformed,
            "a statement has both Action and NotAction".into(),
        ),
        (
            statement(r#""Action":"kms:*","Condition":{"Equals":{}}"#),
            malformed,
            "`Equals` is not a condition operator".into(),
        ),
    ] {
        let body = json!({ "KeyId": key.id, "Policy": policy });
        refused(&service, "PutKeyPolicy", &body, error, &message);
        refused(&service, "CreateKey", &json!({ "Policy": policy }), error, &message);
    }
    for not_json in ["x", "{", r#"{"Statement":[]} {}"#, r#"{"Statement":[],"Statement":[]}"#, "[]"] {
        let answer = call(&service, "PutKeyPolicy", &json!({ "KeyId": key.id, "Policy": not_json }));
        assert_eq!((answer.status, answer.error().as_str()), (400, malformed), "{not_json}");
    }
    assert_eq!(policy(&service, &key), ALLOW);
}

#[test]
fn the_lockout_check_can_be_left_out_and_nothing_else() {
    let service = shared();
    let key = new_key(&service);
    let locked_out = ALLOW.replace("kms:*", "kms:GetKeyPolicy");
    let bypass = |policy: &str| json!({ "KeyId": key.id, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true });
    ok(&service, "PutKeyPolicy", &bypass(&locked_out));
    assert_eq!(policy(&service, &key), locked_out);
    let denied = format!(
        "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:PutKeyPolicy on resource: {} because no \
         resource-based policy allows the kms:PutKeyPolicy action",
        key.arn
    );
    refused(&service, "PutKeyPolicy", &bypass(ALLOW), "AccessDeniedException", &denied);
    let key = new_key(&service);
    let bypass = |policy: &str| json!({ "KeyId": key.id, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true });
    let malformed = "MalformedPolicyDocumentException";
    refused(&service, "PutKeyPolicy", &bypass("{}"), malformed, "there is no Statement");
    let stranger = ALLOW.replace("111122223333", "arn:aws:iam::111122223333:user/nobody");
    let invalid = "Policy contains a statement with one or more invalid principals.";
    refused(&service, "PutKeyPolicy", &bypass(&stranger), malformed, invalid);
    let made = json!({ "Policy": locked_out, "BypassPolicyLockoutSafetyCheck": true });
    let made = ok(&service, "CreateKey", &made)["KeyMetadata"]["KeyId"].clone();
    assert_eq!(ok(&service, "GetKeyPolicy", &json!({ "KeyId": made }))["Policy"], locked_out.as_str());
}

#[test]
fn no_policy_has_another_name() {
    let service = shared();
    let key = new_key(&service);
    let before = policy(&service, &key);
    let get = json!({ "KeyId": key.id, "PolicyName": "Default" });
    refused(&service, "GetKeyPolicy", &get, "NotFoundException", "No such policy exists");
    let put = json!({ "KeyId": key.id, "PolicyName": "other", "Policy": ALLOW });
    refused(&service, "PutKeyPolicy", &put, "NotFoundException", "No such policy exists");
    let message = violation(
        "Value 'a b' at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: \
         [\\w]+",
    );
    let get = json!({ "KeyId": key.id, "PolicyName": "a b" });
    refused(&service, "GetKeyPolicy", &get, "ValidationException", &message);
    assert_eq!(policy(&service, &key), before);
}

fn policy(service: &Service, key: &Key) -> String {
    ok(service, "GetKeyPolicy", &json!({ "KeyId": key.id }))["Policy"].as_str().unwrap().to_owned()
}

const ALLOW: &str =
    r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}]}"#;
