//! From creation to end, the very next request each time.

use serde_json::{Value, json};

use crate::people::{ADMIN, OURS, People, THEIRS};
use crate::{DENIED, with_people};

#[test]
fn a_grant_holds_from_its_answer_to_its_end_with_and_without_token() {
    with_people("life::a_grant_holds_from_its_answer_to_its_end_with_and_without_token", |people| async move {
        let (root, alice) = (people.root(), people.user(OURS, "alice", &[]).await);
        let key = people.key().await;
        let blob = people.blob(&key, json!({})).await;
        let decrypt = json!({ "CiphertextBlob": blob });
        for end in ["RevokeGrant", "RetireGrant", "by token"] {
            people.no(&alice, "Decrypt", decrypt.clone(), DENIED).await;
            let (id, token) = people.grant(&key, &alice.arn, &["Decrypt"], json!({})).await;
            people.ok(&alice, "Decrypt", decrypt.clone()).await;
            let with_token = json!({ "CiphertextBlob": blob, "GrantTokens": [token] });
            assert_eq!(people.ok(&alice, "Decrypt", with_token.clone()).await["Plaintext"], "eHk=");
            // The token permits nobody else anything, and nothing else.
            let bob = people.user(OURS, &format!("bob-{end}").replace(' ', ""), &[]).await;
            people.no(&bob, "Decrypt", with_token.clone(), DENIED).await;
            let encrypt = json!({ "KeyId": key, "Plaintext": "eHk=", "GrantTokens": [token] });
            people.no(&alice, "Encrypt", encrypt, DENIED).await;
            match end {
                "by token" => people.ok(&root, "RetireGrant", json!({ "GrantToken": token })).await,
                end => people.ok(&root, end, json!({ "KeyId": key, "GrantId": id })).await,
            };
            people.no(&alice, "Decrypt", decrypt.clone(), DENIED).await;
            people.no(&root, "Decrypt", with_token, "InvalidGrantTokenException").await;
            assert!(people.grants(&key).await.is_empty());
        }
        people.close().await;
    });
}

#[test]
fn each_operation_is_permitted_by_its_own_grant_alone() {
    with_people("life::each_operation_is_permitted_by_its_own_grant_alone", |people| async move {
        let (root, alice) = (people.root(), people.user(OURS, "alice", &[]).await);
        let (key, other) = (people.key().await, people.key().await);
        let blob = people.blob(&key, json!({})).await;
        let requests: &[(&str, &str, Value)] = &[
            ("Encrypt", "Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" })),
            ("Decrypt", "Decrypt", json!({ "CiphertextBlob": blob })),
            ("GenerateDataKey", "GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256" })),
            (
                "GenerateDataKeyWithoutPlaintext",
                "GenerateDataKeyWithoutPlaintext",
                json!({ "KeyId": key, "KeySpec": "AES_256" }),
            ),
            ("DescribeKey", "DescribeKey", json!({ "KeyId": key })),
        ];
        for (granted, _, _) in requests {
            let (id, _) = people.grant(&key, &alice.arn, &[granted], json!({})).await;
            for (needed, operation, body) in requests {
                let said = people.ask(&alice, operation, body).await;
                assert_eq!(said.error, if granted == needed { "" } else { DENIED }, "{operation} by {granted}");
            }
            people.ok(&root, "RevokeGrant", json!({ "KeyId": key, "GrantId": id })).await;
        }
        // No grant permits what is not in the list of operations, whatever it permits.
        let all = ["Encrypt", "Decrypt", "CreateGrant", "RetireGrant", "DescribeKey", "ReEncryptFrom", "ReEncryptTo"];
        people.grant(&key, &alice.arn, &all, json!({})).await;
        for operation in ["ListGrants", "GetKeyPolicy", "DisableKey", "ScheduleKeyDeletion", "ListResourceTags"] {
            people.no(&alice, operation, json!({ "KeyId": key }), DENIED).await;
        }
        // Nor anything on another key.
        people.no(&alice, "DescribeKey", json!({ "KeyId": other }), DENIED).await;
        people.close().await;
    });
}

#[test]
fn a_reencryption_needs_a_grant_on_each_side() {
    with_people("life::a_reencryption_needs_a_grant_on_each_side", |people| async move {
        let (root, alice) = (people.root(), people.user(OURS, "alice", &[]).await);
        let (from, to) = (people.key().await, people.key().await);
        let blob = people.blob(&from, json!({ "side": "from" })).await;
        let body = json!({
            "CiphertextBlob": blob, "DestinationKeyId": to,
            "SourceEncryptionContext": { "side": "from" }, "DestinationEncryptionContext": { "side": "to" },
        });
        let demand = |side: &str| json!({ "Constraints": { "EncryptionContextEquals": { "side": side } } });
        people.no(&alice, "ReEncrypt", body.clone(), DENIED).await;
        let (source, _) = people.grant(&from, &alice.arn, &["ReEncryptFrom"], demand("from")).await;
        people.no(&alice, "ReEncrypt", body.clone(), DENIED).await;
        // Each side has its own context: the other's does not do.
        let (wrong, _) = people.grant(&to, &alice.arn, &["ReEncryptTo"], demand("from")).await;
        people.no(&alice, "ReEncrypt", body.clone(), DENIED).await;
        people.ok(&root, "RevokeGrant", json!({ "KeyId": to, "GrantId": wrong })).await;
        // Nor does the other side's operation.
        people.grant(&to, &alice.arn, &["ReEncryptFrom", "Encrypt"], demand("to")).await;
        people.no(&alice, "ReEncrypt", body.clone(), DENIED).await;
        people.grant(&to, &alice.arn, &["ReEncryptTo"], demand("to")).await;
        people.ok(&alice, "ReEncrypt", body.clone()).await;
        people.ok(&root, "RevokeGrant", json!({ "KeyId": from, "GrantId": source })).await;
        people.no(&alice, "ReEncrypt", body.clone(), DENIED).await;
        people.grant(&from, &alice.arn, &["ReEncryptFrom"], demand("to")).await;
        people.no(&alice, "ReEncrypt", body, DENIED).await;
        people.close().await;
    });
}

#[test]
fn a_role_an_account_and_a_session_are_granted_to_those_who_are_meant() {
    let test = "life::a_role_an_account_and_a_session_are_granted_to_those_who_are_meant";
    with_people(test, |people| async move {
        let key = people.key().await;
        let (bare, able) = (people.user(OURS, "bare", &[]).await, people.user(OURS, "able", &[ADMIN]).await);
        let locked = people.key_with(&json!({ "Policy": only_root(), "BypassPolicyLockoutSafetyCheck": true })).await;
        let session = people.session(OURS, "R", &[]).await;
        let describe = json!({ "KeyId": locked });

        // To a role: its sessions, within what the session policy allows.
        assert_eq!(people.ask_as(&session, "DescribeKey", &describe).await.error, DENIED);
        let (id, _) = people.grant(&locked, &session.role_arn, &["DescribeKey"], json!({})).await;
        assert_eq!(people.ask_as(&session, "DescribeKey", &describe).await.error, "");
        assert_eq!(people.ask_as(&session.again("s2"), "DescribeKey", &describe).await.error, "");
        let narrow = r#"{"Statement":{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}}"#;
        assert_eq!(people.ask_as(&session.within(narrow), "DescribeKey", &describe).await.error, DENIED);
        people.no(&able, "DescribeKey", describe.clone(), DENIED).await;
        people.ok(&people.root(), "RevokeGrant", json!({ "KeyId": locked, "GrantId": id })).await;

        // To a session: this one and no other of its role.
        let (id, _) = people.grant(&locked, &session.arn, &["DescribeKey"], json!({})).await;
        assert_eq!(people.ask_as(&session, "DescribeKey", &describe).await.error, "");
        assert_eq!(people.ask_as(&session.again("s2"), "DescribeKey", &describe).await.error, DENIED);
        people.ok(&people.root(), "RevokeGrant", json!({ "KeyId": locked, "GrantId": id })).await;

        // To an account, by its number: its users whose own policies allow it, and none else.
        people.no(&able, "DescribeKey", describe.clone(), DENIED).await;
        people.grant(&locked, OURS, &["DescribeKey"], json!({})).await;
        people.ok(&able, "DescribeKey", describe.clone()).await;
        people.no(&bare, "DescribeKey", describe, DENIED).await;
        people.no(&able, "Encrypt", json!({ "KeyId": locked, "Plaintext": "eHk=" }), DENIED).await;

        // A Deny stands above every grant.
        let deny = r#"{"Statement":{"Effect":"Deny","Action":"kms:DescribeKey","Resource":"*"}}"#;
        let barred = people.user(OURS, "barred", &[ADMIN, deny]).await;
        people.grant(&key, &barred.arn, &["DescribeKey"], json!({})).await;
        people.no(&barred, "DescribeKey", json!({ "KeyId": key }), DENIED).await;
        people.close().await;
    });
}

#[test]
fn a_grantee_of_another_account_needs_both_sides() {
    with_people("life::a_grantee_of_another_account_needs_both_sides", |people| async move {
        let key = people.key().await;
        let blob = people.blob(&key, json!({})).await;
        let (eve, mallory) = (people.user(THEIRS, "eve", &[ADMIN]).await, people.user(THEIRS, "mallory", &[]).await);
        let decrypt = json!({ "CiphertextBlob": blob });
        people.no(&eve, "Decrypt", decrypt.clone(), DENIED).await;
        for person in [&eve, &mallory] {
            people.grant(&key, &person.arn, &["Decrypt", "CreateGrant"], json!({})).await;
        }
        people.ok(&eve, "Decrypt", decrypt.clone()).await;
        people.no(&mallory, "Decrypt", decrypt.clone(), DENIED).await;
        // She passes on what she has; the grant says under which account.
        let other = people.user(THEIRS, "other", &[ADMIN]).await;
        let body = json!({ "KeyId": key, "GranteePrincipal": other.arn, "Operations": ["Decrypt"] });
        let made = people.ok(&eve, "CreateGrant", body).await;
        people.ok(&other, "Decrypt", decrypt.clone()).await;
        let one = json!({ "KeyId": key, "GrantId": made["GrantId"] });
        let listed = people.ok(&people.root(), "ListGrants", one).await;
        assert_eq!(listed["Grants"][0]["IssuingAccount"], format!("arn:aws:iam::{THEIRS}:root"));
        // Of another account's key, the id alone is nobody's.
        let id = key.rsplit('/').next().unwrap();
        people.no(&eve, "ListGrants", json!({ "KeyId": id }), "NotFoundException").await;
        people.no(&eve, "ListGrants", json!({ "KeyId": key }), DENIED).await;
        // To the whole other account, its administrators hand it on by identity policies.
        people.grant(&key, THEIRS, &["Encrypt"], json!({})).await;
        people.ok(&other, "Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" })).await;
        people.no(&mallory, "Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" }), DENIED).await;
        people.close().await;
    });
}

#[test]
fn a_grant_outlives_all_but_its_key() {
    with_people("life::a_grant_outlives_all_but_its_key", |people| async move {
        let (root, alice) = (people.root(), people.user(OURS, "alice", &[]).await);
        let (key, kept) = (people.key().await, people.key().await);
        let describe = json!({ "KeyId": key });
        let retiring = json!({ "RetiringPrincipal": alice.arn });
        let (id, token) = people.grant(&key, &alice.arn, &["DescribeKey"], retiring.clone()).await;
        let (other, _) = people.grant(&kept, &alice.arn, &["DescribeKey"], retiring.clone()).await;
        let (spare, _) = people.grant(&key, &alice.arn, &["Decrypt"], retiring).await;
        let (third, _) = people.grant(&key, &alice.arn, &["Decrypt"], json!({})).await;
        people.ok(&root, "DisableKey", describe.clone()).await;
        people.ok(&alice, "DescribeKey", describe.clone()).await;
        people.ok(&root, "EnableKey", describe.clone()).await;
        people.ok(&alice, "DescribeKey", describe.clone()).await;
        people.ok(&root, "ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 })).await;
        people.ok(&alice, "DescribeKey", describe.clone()).await;
        assert_eq!(people.grants(&key).await.len(), 3);
        people.ok(&root, "RevokeGrant", json!({ "KeyId": key, "GrantId": third })).await;
        people.ok(&alice, "RetireGrant", json!({ "KeyId": key, "GrantId": spare })).await;
        assert_eq!(people.grants(&key).await, std::slice::from_ref(&id));

        for _ in 0..8 * 24 {
            people.service.clock.pass(crate::in_process::HOUR);
            people.service.app.housekeep().await;
        }
        people.no(&root, "ListGrants", describe.clone(), "NotFoundException").await;
        people.no(&alice, "DescribeKey", describe, "NotFoundException").await;
        people.no(&alice, "RetireGrant", json!({ "GrantToken": token }), "InvalidGrantTokenException").await;
        let retirable = people.ok(&root, "ListRetirableGrants", json!({ "RetiringPrincipal": alice.arn })).await;
        assert_eq!(retirable["Grants"].as_array().unwrap().len(), 1);
        assert_eq!(retirable["Grants"][0]["GrantId"], other);
        people.ok(&alice, "DescribeKey", json!({ "KeyId": kept })).await;
        people.close().await;
    });
}

#[test]
fn what_a_grant_says_survives_a_restart() {
    crate::in_own_process("life::what_a_grant_says_survives_a_restart", |dir| {
        crate::block_on(async {
            let people = People::start(dir).await;
            let (key, alice) = (people.key().await, people.user(OURS, "alice", &[]).await);
            let demand = json!({ "Constraints": { "EncryptionContextSubset": { "a": "1" } }, "Name": "n" });
            let (id, token) = people.grant(&key, &alice.arn, &["Encrypt"], demand.clone()).await;
            let before = people.ok(&people.root(), "ListGrants", json!({ "KeyId": key })).await;
            people.close().await;
            let people = People::open(dir).await;
            assert_eq!(people.ok(&people.root(), "ListGrants", json!({ "KeyId": key })).await, before);
            let body =
                json!({ "KeyId": key, "Plaintext": "eHk=", "EncryptionContext": { "a": "1" }, "GrantTokens": [token] });
            people.ok(&alice, "Encrypt", body).await;
            people.no(&alice, "Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" }), DENIED).await;
            assert_eq!(people.grant(&key, &alice.arn, &["Encrypt"], demand).await.0, id);
            people.close().await;
        });
    });
}

/// A key policy that names the root user's account for everything, and delegates nothing to others by a condition.
fn only_root() -> String {
    json!({ "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": OURS }, "Action": "kms:*", "Resource": "*",
        "Condition": { "ArnEquals": { "aws:PrincipalArn": format!("arn:aws:iam::{OURS}:root") } },
    }] })
    .to_string()
}
