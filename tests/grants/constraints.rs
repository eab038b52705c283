//! Encryption contexts that a grant demands.

use serde_json::{Value, json};

use crate::people::{OURS, People, Person};
use crate::{DENIED, with_people};

#[test]
fn a_grant_holds_only_under_the_encryption_contexts_it_demands() {
    with_people("constraints::a_grant_holds_only_under_the_encryption_contexts_it_demands", |people| async move {
        let equals = |context: Value| json!({ "EncryptionContextEquals": context });
        let subset = |context: Value| json!({ "EncryptionContextSubset": context });
        let both =
            json!({ "EncryptionContextEquals": { "a": "1", "b": "2" }, "EncryptionContextSubset": { "a": "1" } });
        let torn = json!({ "EncryptionContextEquals": { "a": "1" }, "EncryptionContextSubset": { "b": "2" } });
        let [none, a, ab, abc] =
            [json!({}), json!({ "a": "1" }), json!({ "a": "1", "b": "2" }), json!({ "a": "1", "b": "2", "c": "3" })];
        // The demand, the contexts that keep it, and those that do not.
        let cases: &[(Value, &[&Value], &[&Value])] = &[
            (json!({}), &[&none, &a, &abc], &[]),
            (equals(ab.clone()), &[&ab], &[&none, &a, &abc]),
            (subset(ab.clone()), &[&ab, &abc], &[&none, &a]),
            (equals(json!({})), &[&none], &[&a, &ab]),
            (subset(json!({})), &[&none, &a, &abc], &[]),
            (both, &[&ab], &[&none, &a, &abc]),
            (torn, &[], &[&none, &a, &ab, &abc]),
        ];
        for (number, (demand, kept, broken)) in cases.iter().enumerate() {
            let (key, alice) = (people.key().await, people.user(OURS, &format!("u{number}"), &[]).await);
            people.grant(&key, &alice.arn, USES, json!({ "Constraints": demand })).await;
            for context in *kept {
                expect(&people, &alice, &key, context, true).await;
            }
            for context in *broken {
                expect(&people, &alice, &key, context, false).await;
            }
            // Operations without an encryption context are not asked for one.
            people.ok(&alice, "DescribeKey", json!({ "KeyId": key })).await;
        }
        people.close().await;
    });
}

#[test]
fn keys_and_values_of_a_constraint_are_exact() {
    with_people("constraints::keys_and_values_of_a_constraint_are_exact", |people| async move {
        for (kind, number) in [("EncryptionContextEquals", 1), ("EncryptionContextSubset", 2)] {
            let (key, alice) = (people.key().await, people.user(OURS, &format!("u{number}"), &[]).await);
            let demand = json!({ "Constraints": { kind: { "Team": "Red", "n": "" } } });
            people.grant(&key, &alice.arn, USES, demand).await;
            expect(&people, &alice, &key, &json!({ "Team": "Red", "n": "" }), true).await;
            for other in [
                json!({ "team": "Red", "n": "" }),
                json!({ "Team": "red", "n": "" }),
                json!({ "Team": "Red ", "n": "" }),
                json!({ "TeamRed": "", "n": "" }),
                json!({ "Tea": "mRed", "n": "" }),
                json!({ "Team": "Red", "n": "n" }),
                json!({ "Team": "*", "n": "" }),
            ] {
                expect(&people, &alice, &key, &other, false).await;
            }
        }
        people.close().await;
    });
}

/// A grant that only holds for requests on behalf of a resource holds for none here, whatever the operation.
#[test]
fn a_grant_that_demands_a_source_holds_for_nobody_here() {
    with_people("constraints::a_grant_that_demands_a_source_holds_for_nobody_here", |people| async move {
        let (key, alice) = (people.key().await, people.user(OURS, "alice", &[]).await);
        let source = json!({ "Constraints": { "SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket" } });
        let all = ["Encrypt", "DescribeKey", "CreateGrant", "RetireGrant"];
        let (id, _) = people.grant(&key, &alice.arn, &all, source).await;
        people.no(&alice, "Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" }), DENIED).await;
        people.no(&alice, "DescribeKey", json!({ "KeyId": key }), DENIED).await;
        let child = json!({ "KeyId": key, "GranteePrincipal": alice.arn, "Operations": ["Encrypt"],
            "Constraints": { "SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket" } });
        people.no(&alice, "CreateGrant", child, DENIED).await;
        let listed = people.ok(&people.root(), "ListGrants", json!({ "KeyId": key })).await;
        let constraints = &listed["Grants"][0]["Constraints"];
        assert_eq!(constraints, &json!({ "SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket" }));
        people.ok(&alice, "RetireGrant", json!({ "KeyId": key, "GrantId": id })).await;
        people.close().await;
    });
}

/// Every way to use an encryption context is permitted, or none.
async fn expect(people: &People, alice: &Person, key: &str, context: &Value, permitted: bool) {
    let blob = people.blob(key, context.clone()).await;
    for (operation, body) in [
        ("Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=", "EncryptionContext": context })),
        ("Decrypt", json!({ "CiphertextBlob": blob, "EncryptionContext": context })),
        ("GenerateDataKey", json!({ "KeyId": key, "NumberOfBytes": 8, "EncryptionContext": context })),
        ("GenerateDataKeyPair", json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": context })),
        (
            "GenerateDataKeyPairWithoutPlaintext",
            json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": context }),
        ),
        ("GenerateDataKeyWithoutPlaintext", json!({ "KeyId": key, "NumberOfBytes": 8, "EncryptionContext": context })),
    ] {
        let said = people.ask(alice, operation, &body).await;
        assert_eq!(said.error, if permitted { "" } else { DENIED }, "{operation} under {context}");
    }
    if context.as_object().unwrap().is_empty() {
        // Absent is empty.
        let said = people.ask(alice, "Encrypt", &json!({ "KeyId": key, "Plaintext": "eHk=" })).await;
        assert_eq!(said.error, if permitted { "" } else { DENIED });
    }
}

const USES: &[&str] = &[
    "Encrypt",
    "Decrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "DescribeKey",
    "CreateGrant",
];
