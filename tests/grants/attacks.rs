//! What somebody would try.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::people::{ADMIN, OURS, THEIRS};
use crate::{DENIED, with_people};

#[test]
fn a_token_that_was_not_given_out_here_for_this_grant_is_refused() {
    with_people("attacks::a_token_that_was_not_given_out_here_for_this_grant_is_refused", |people| async move {
        let (root, key) = (people.root(), people.key().await);
        let (_, token) = people.grant(&key, OURS, &["Encrypt"], json!({})).await;
        let (other_id, _) = people.grant(&key, OURS, &["Decrypt"], json!({})).await;
        let bytes = STANDARD_NO_PAD.decode(&token).unwrap();
        let mut forged = vec![
            "x".to_owned(),
            "x".repeat(8192),
            token[1..].to_owned(),
            token.to_lowercase(),
            format!("{token}="),
            STANDARD_NO_PAD.encode(&bytes[..32]),
            STANDARD_NO_PAD.encode([0; 200]),
        ];
        // The name of another grant, under this one's code.
        let renamed = [&bytes[..bytes.len() - 64], other_id.as_bytes()].concat();
        forged.push(STANDARD_NO_PAD.encode(renamed));
        for at in (0..bytes.len()).step_by(7) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            forged.push(STANDARD_NO_PAD.encode(bytes));
        }
        for token in &forged {
            for (operation, body) in [
                ("Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=", "GrantTokens": [token] })),
                ("DescribeKey", json!({ "KeyId": key, "GrantTokens": [token] })),
                (
                    "CreateGrant",
                    json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Encrypt"], "GrantTokens": [token] }),
                ),
                ("RetireGrant", json!({ "GrantToken": token })),
            ] {
                people.no(&root, operation, body, "InvalidGrantTokenException").await;
            }
        }
        // A good one does not make up for a bad one.
        let mixed = json!({ "KeyId": key, "Plaintext": "eHk=", "GrantTokens": [token, forged[0]] });
        people.no(&root, "Encrypt", mixed, "InvalidGrantTokenException").await;
        assert_eq!(people.grants(&key).await.len(), 2);
        // A marker is no token, though its code is made alike.
        let marker = people.ok(&root, "ListGrants", json!({ "KeyId": key, "Limit": 1 })).await["NextMarker"].clone();
        people.no(&root, "RetireGrant", json!({ "GrantToken": marker }), "InvalidGrantTokenException").await;
        people.no(&root, "ListGrants", json!({ "KeyId": key, "Marker": token }), "InvalidMarkerException").await;
        people.close().await;
    });
}

/// Whether a foreign key exists must not show in what is said of tokens.
#[test]
fn a_bad_token_does_not_tell_of_a_foreign_key() {
    with_people("attacks::a_bad_token_does_not_tell_of_a_foreign_key", |people| async move {
        let (key, eve) = (people.key().await, people.user(THEIRS, "eve", &[ADMIN]).await);
        let absent = format!("arn:aws:kms:us-east-1:{OURS}:key/00000000-0000-4000-8000-000000000000");
        for operation in ["DescribeKey", "CreateGrant"] {
            let body = |key: &str| json!({ "KeyId": key, "GrantTokens": ["x"], "GranteePrincipal": eve.arn, "Operations": ["Decrypt"] });
            let there = people.no(&eve, operation, body(&key), DENIED).await;
            assert_eq!(people.no(&eve, operation, body(&absent), DENIED).await, there);
        }
        people.close().await;
    });
}

#[test]
fn a_child_grant_is_never_wider_than_its_parent() {
    with_people("attacks::a_child_grant_is_never_wider_than_its_parent", |people| async move {
        let bob = people.user(OURS, "bob", &[]).await;
        let equals = |context: Value| json!({ "EncryptionContextEquals": context });
        let subset = |context: Value| json!({ "EncryptionContextSubset": context });
        let [a, ab, ac] = [json!({ "a": "1" }), json!({ "a": "1", "b": "2" }), json!({ "a": "1", "c": "3" })];
        let none = json!({});
        // The parent's demand; those of children that it covers; and of those that it does not.
        let cases: &[(Value, Vec<Value>, Vec<Value>)] = &[
            (none.clone(), vec![none.clone(), equals(a.clone()), subset(a.clone())], vec![]),
            (
                equals(ab.clone()),
                vec![equals(ab.clone())],
                vec![none.clone(), equals(a.clone()), equals(ac.clone()), subset(ab.clone()), equals(json!({}))],
            ),
            (
                subset(a.clone()),
                vec![subset(a.clone()), subset(ab.clone()), equals(a.clone()), equals(ac.clone())],
                vec![
                    none.clone(),
                    subset(json!({})),
                    subset(json!({ "a": "2" })),
                    subset(json!({ "A": "1" })),
                    subset(json!({ "b": "1" })),
                    equals(json!({ "b": "2" })),
                    equals(json!({})),
                ],
            ),
        ];
        for (number, (demand, covered, wider)) in cases.iter().enumerate() {
            let (key, alice) = (people.key().await, people.user(OURS, &format!("u{number}"), &[]).await);
            let parent = ["Encrypt", "Decrypt", "CreateGrant"];
            people.grant(&key, &alice.arn, &parent, json!({ "Constraints": demand })).await;
            let child = |operations: &[&str], constraints: &Value| json!({ "KeyId": key, "GranteePrincipal": bob.arn, "Operations": operations, "Constraints": constraints });
            for constraints in covered {
                for operations in [&["Encrypt"][..], &["Encrypt", "Decrypt", "CreateGrant"]] {
                    people.ok(&alice, "CreateGrant", child(operations, constraints)).await;
                }
                for operations in [&["Encrypt", "DescribeKey"][..], &["GenerateDataKey"], &["RetireGrant", "Encrypt"]] {
                    people.no(&alice, "CreateGrant", child(operations, constraints), DENIED).await;
                }
            }
            for constraints in wider {
                people.no(&alice, "CreateGrant", child(&["Encrypt"], constraints), DENIED).await;
            }
        }
        // Two parents do not add up.
        let (key, alice) = (people.key().await, people.user(OURS, "alice", &[]).await);
        people.grant(&key, &alice.arn, &["Encrypt", "CreateGrant"], json!({})).await;
        people.grant(&key, &alice.arn, &["Decrypt", "CreateGrant"], json!({})).await;
        let both = json!({ "KeyId": key, "GranteePrincipal": bob.arn, "Operations": ["Encrypt", "Decrypt"] });
        people.no(&alice, "CreateGrant", both, DENIED).await;
        // Without CreateGrant there are no children, not even for oneself.
        let own = json!({ "KeyId": key, "GranteePrincipal": bob.arn, "Operations": ["Encrypt"] });
        people.no(&bob, "CreateGrant", own, DENIED).await;
        people.close().await;
    });
}

#[test]
fn whoever_has_the_name_of_a_deleted_principal_gets_nothing() {
    with_people("attacks::whoever_has_the_name_of_a_deleted_principal_gets_nothing", |people| async move {
        let (root, key) = (people.root(), people.key().await);
        let alice = people.user(OURS, "alice", &[]).await;
        let bob = people.user(OURS, "bob", &[]).await;
        let session = people.session(OURS, "R", &[]).await;
        let describe = json!({ "KeyId": key });
        let retiring = json!({ "RetiringPrincipal": bob.arn, "Name": "n" });
        let (id, token) = people.grant(&key, &alice.arn, &["DescribeKey", "CreateGrant"], retiring.clone()).await;
        people.grant(&key, &session.role_arn, &["DescribeKey"], json!({})).await;
        people.grant(&key, &session.arn, &["DescribeKey"], json!({})).await;
        people.ok(&alice, "DescribeKey", describe.clone()).await;
        for arn in [&alice.arn, &bob.arn, &session.role_arn] {
            people.delete(arn).await;
        }
        let listed = people.ok(&root, "ListGrants", json!({ "KeyId": key, "GrantId": id })).await;
        let entry = &listed["Grants"][0];
        assert_eq!(entry["GranteePrincipal"], alice.unique_id, "nobody has the name now");
        assert_eq!(entry["RetiringPrincipal"], bob.unique_id);
        // The same names, and other people.
        let (new_alice, new_bob) = (people.user(OURS, "alice", &[]).await, people.user(OURS, "bob", &[ADMIN]).await);
        let new_session = people.session(OURS, "R", &[]).await;
        assert_eq!((&alice.arn, &session.arn), (&new_alice.arn, &new_session.arn));
        people.no(&new_alice, "DescribeKey", json!({ "KeyId": key, "GrantTokens": [token] }), DENIED).await;
        assert_eq!(people.ask_as(&new_session, "DescribeKey", &describe).await.error, DENIED);
        let child = json!({ "KeyId": key, "GranteePrincipal": new_alice.arn, "Operations": ["DescribeKey"] });
        people.no(&new_alice, "CreateGrant", child, DENIED).await;
        people.no(&new_bob, "RetireGrant", json!({ "GrantToken": token }), DENIED).await;
        let retirable = people.ok(&new_bob, "ListRetirableGrants", json!({ "RetiringPrincipal": bob.arn })).await;
        assert_eq!(retirable, json!({ "Grants": [], "Truncated": false }));
        let listed = people.ok(&root, "ListGrants", json!({ "KeyId": key, "GrantId": id })).await;
        assert_eq!(listed["Grants"][0]["GranteePrincipal"], alice.unique_id);
        // A name finds the grant of the same people only.
        let operations = ["DescribeKey", "CreateGrant"];
        let (new_id, _) = people.grant(&key, &alice.arn, &operations, retiring).await;
        assert_ne!(new_id, id);
        people.ok(&new_alice, "DescribeKey", describe).await;
        people.close().await;
    });
}

#[test]
fn who_may_not_create_a_grant_learns_nothing_about_principals() {
    with_people("attacks::who_may_not_create_a_grant_learns_nothing_about_principals", |people| async move {
        let (key, alice) = (people.key().await, people.user(OURS, "alice", &[]).await);
        let nobody = format!("arn:aws:iam::{THEIRS}:user/nobody");
        for grantee in [&alice.arn, &nobody] {
            let body = json!({ "KeyId": key, "GranteePrincipal": grantee, "Operations": ["Decrypt"] });
            people.no(&alice, "CreateGrant", body, DENIED).await;
        }
        people.close().await;
    });
}
