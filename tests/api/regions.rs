//! Two Regions in one service: each has its own keys, aliases and markers.

use serde_json::{Value, json};

use super::*;

const OTHER: &str = "eu-west-1";

#[test]
fn a_key_is_not_seen_in_another_region() {
    let service = shared();
    let here = new_key(&service);
    let there = succeeded(&call_in(&service, OTHER, "CreateKey", &json!({})), "CreateKey")["KeyMetadata"].clone();
    let id = there["KeyId"].as_str().unwrap();
    let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{id}");
    assert_eq!(there["Arn"], arn.as_str());
    let absent = format!("Key 'arn:aws:kms:us-east-1:111122223333:key/{id}' does not exist");
    for operation in ["DescribeKey", "DisableKey", "ScheduleKeyDeletion", "GetKeyPolicy", "ListResourceTags"] {
        refused(&service, operation, &json!({ "KeyId": id }), "NotFoundException", &absent);
        refused(&service, operation, &json!({ "KeyId": arn }), "NotFoundException", "Invalid arn eu-west-1");
    }
    let listed = |region: &str| -> Vec<Value> {
        let answer = succeeded(&call_in(&service, region, "ListKeys", &json!({ "Limit": 1000 })), "ListKeys");
        assert_eq!(answer["Truncated"], false);
        answer["Keys"].as_array().unwrap().clone()
    };
    let has = |region: &str, id: &str| listed(region).iter().any(|key| key["KeyId"] == id);
    assert!(has("us-east-1", &here.id) && !has("us-east-1", id));
    assert!(has(OTHER, id) && !has(OTHER, &here.id));
}

#[test]
fn one_alias_name_may_stand_for_a_key_in_each_region() {
    let service = shared();
    let here = new_key(&service);
    let there = succeeded(&call_in(&service, OTHER, "CreateKey", &json!({})), "CreateKey")["KeyMetadata"].clone();
    let alias = new_alias("both");
    ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": here.id }));
    let body = json!({ "AliasName": alias, "TargetKeyId": there["KeyId"] });
    succeeded(&call_in(&service, OTHER, "CreateAlias", &body), "CreateAlias");
    let target = |region: &str| {
        let answer = call_in(&service, region, "DescribeKey", &json!({ "KeyId": alias }));
        succeeded(&answer, "DescribeKey")["KeyMetadata"]["Arn"].clone()
    };
    assert_eq!((target("us-east-1"), target(OTHER)), (here.arn.clone().into(), there["Arn"].clone()));
    let body = json!({ "AliasName": alias, "TargetKeyId": there["KeyId"] });
    let absent =
        format!("Key 'arn:aws:kms:us-east-1:111122223333:key/{}' does not exist", there["KeyId"].as_str().unwrap());
    refused(&service, "UpdateAlias", &body, "NotFoundException", &absent);
}

#[test]
fn a_ciphertext_of_another_region_is_refused() {
    let service = shared();
    let blob = encrypted(&service, &new_key(&service), b"x");
    is_refusal(
        &call_in(&service, OTHER, "Decrypt", &json!({ "CiphertextBlob": blob })),
        "AccessDeniedException",
        &unknown_key_of_ciphertext("Decrypt"),
    );
}

#[test]
fn the_record_names_the_region_of_the_request() {
    let service = shared();
    let answer = call_in(&service, OTHER, "ListKeys", &json!({}));
    assert_eq!(event(&service, &answer)["awsRegion"], OTHER);
}
