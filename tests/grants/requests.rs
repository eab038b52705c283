//! What CreateGrant and RevokeGrant take, refuse, tell policies and leave on record.

use serde_json::{Value, json};

use crate::people::{ADMIN, OURS, THEIRS};
use crate::{DENIED, with_people};

#[test]
fn what_is_no_grant_is_refused_and_changes_nothing() {
    with_people("requests::what_is_no_grant_is_refused_and_changes_nothing", |people| async move {
        let (root, key) = (people.root(), people.key().await);
        people.user(OURS, "alice", &[]).await;
        let good = json!({ "KeyId": key, "GranteePrincipal": ALICE, "Operations": ["Decrypt"] });
        let with = |member: &str, value: Value| {
            let mut body = good.clone();
            body[member] = value;
            body
        };
        let nine: serde_json::Map<String, Value> = (0..9).map(|n| (n.to_string(), json!(""))).collect();
        let invalid = |name: &str| format!("ARN does not refer to a valid principal: {name}");
        let [v, arn] = ["ValidationException", "InvalidArnException"];
        let long = "1 validation error detected: Value at 'constraints.encryptionContextEquals' failed to satisfy \
                    constraint: Member must have length less than or equal to ";
        let mut cases: Vec<(Value, &str, String)> = vec![
            (with("Operations", json!([])), v, "Operations must not be empty.".into()),
            (
                with("Operations", json!(["CreateGrant", "CreateGrant"])),
                v,
                "Grants must not contain only the CreateGrant operation.".into(),
            ),
            (
                with("GranteePrincipal", Value::Null),
                v,
                "1 validation error detected: Value null at 'granteePrincipal' failed to satisfy constraint: Member \
                 must not be null"
                    .into(),
            ),
            (with("Constraints", json!({ "EncryptionContextEquals": nine })), v, format!("{long}8")),
            (
                with("Constraints", json!({ "EncryptionContextEquals": { "k": "ü".repeat(385) } })),
                v,
                format!("{long}384"),
            ),
            (
                with("Constraints", json!({ "SourceArn": "arn:aws:s3:us-east-1:nobody:bucket" })),
                arn,
                "Invalid arn arn:aws:s3:us-east-1:nobody:bucket".into(),
            ),
            (
                with("GranteeServicePrincipal", json!("ec2.amazonaws.com.cn")),
                v,
                "GranteeServicePrincipal is not supported by this service: no AWS service calls it.".into(),
            ),
            (
                with("RetiringServicePrincipal", json!("ec2.amazonaws.com.cn")),
                v,
                "RetiringServicePrincipal is not supported by this service: no AWS service calls it.".into(),
            ),
            (with("KeyId", json!("alias/x")), "NotFoundException", "Invalid keyId 'alias/x'".into()),
            (
                with("KeyId", json!(format!("arn:aws:kms:us-east-1:{OURS}:alias/x"))),
                arn,
                "Key Aliases are not supported for this operation.".into(),
            ),
        ];
        for operation in [
            "Sign",
            "Verify",
            "GetPublicKey",
            "GenerateMac",
            "VerifyMac",
            "DeriveSharedSecret",
            "Encapsulate",
            "Decapsulate",
        ] {
            let message = format!(
                "Grant operation {operation} is not compatible with KeySpec SYMMETRIC_DEFAULT and KeyUsage \
                 ENCRYPT_DECRYPT."
            );
            cases.push((with("Operations", json!(["Decrypt", operation])), v, message));
        }
        for name in [
            "alice",
            "arn:aws:iam::111122223333:user/nobody",
            "arn:aws:iam::111122223333:user/Alice",
            "arn:aws:iam::111122223333:user/path/alice",
            "arn:aws:iam::111122223333:role/alice",
            "arn:aws:iam::111122223333:group/alice",
            "arn:aws:iam::999999999999:root",
            "999999999999",
            "arn:aws:sts::111122223333:assumed-role/nobody/s",
            "arn:aws:sts::111122223333:federated-user/alice",
            "ec2.amazonaws.com",
        ] {
            // An account by its number is spoken of by its ARN.
            let shown = if name == "999999999999" { "arn:aws:iam::999999999999:root" } else { name };
            cases.push((with("GranteePrincipal", json!(name)), arn, invalid(shown)));
            cases.push((with("RetiringPrincipal", json!(name)), arn, invalid(shown)));
        }
        for (body, error, message) in cases {
            assert_eq!(people.no(&root, "CreateGrant", body.clone(), error).await, message, "{body}");
            let mut dry = body.clone();
            dry["DryRun"] = true.into();
            assert_eq!(people.no(&root, "CreateGrant", dry, error).await, message, "{body}");
        }
        let message = people.no(&root, "CreateGrant", with("GranteePrincipal", json!("*")), v).await;
        assert!(message.ends_with(r"regular expression pattern: ^[\w+=,.@:/-]+$"), "{message}");
        people.no(&root, "CreateGrant", with("Operations", json!(["kms:Decrypt"])), v).await;
        people.no(&root, "CreateGrant", with("Name", json!("a b")), v).await;
        assert!(people.grants(&key).await.is_empty());
        people.close().await;
    });
}

#[test]
fn a_name_finds_the_same_grant_again_and_only_that() {
    with_people("requests::a_name_finds_the_same_grant_again_and_only_that", |people| async move {
        let (root, key, other) = (people.root(), people.key().await, people.key().await);
        let (alice, bob) = (people.user(OURS, "alice", &[]).await, people.user(OURS, "bob", &[]).await);
        let more = json!({ "Name": "n", "RetiringPrincipal": bob.arn,
            "Constraints": { "EncryptionContextSubset": { "b": "2", "a": "1" } } });
        let (id, token) = people.grant(&key, &alice.arn, &["Encrypt", "Decrypt"], more.clone()).await;
        let epoch = people.service.app.kms().store.count_grants(&"us-east-1".parse().unwrap(), &key_id(&key));
        let (same, new_token) = people.grant(&key, &alice.arn, &["Decrypt", "Encrypt", "Decrypt"], more.clone()).await;
        assert_eq!((same, epoch), (id.clone(), 1));
        assert_ne!(token, new_token);
        for changed in [
            json!({ "Name": "N" }),
            json!({ "RetiringPrincipal": alice.arn }),
            json!({ "Constraints": { "EncryptionContextSubset": { "a": "1" } } }),
            json!({ "Constraints": { "EncryptionContextEquals": { "b": "2", "a": "1" } } }),
            json!({ "Constraints": {} }),
        ] {
            let mut body = more.clone();
            body.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
            assert_ne!(people.grant(&key, &alice.arn, &["Encrypt", "Decrypt"], body).await.0, id, "{changed}");
        }
        assert_ne!(people.grant(&key, &alice.arn, &["Decrypt"], more.clone()).await.0, id);
        assert_ne!(people.grant(&key, &bob.arn, &["Encrypt", "Decrypt"], more.clone()).await.0, id);
        assert_ne!(people.grant(&other, &alice.arn, &["Encrypt", "Decrypt"], more.clone()).await.0, id);
        assert_eq!(people.grants(&key).await.len(), 8);
        // Every token of a grant is as good as any other, and all end with it.
        people.ok(&bob, "RetireGrant", json!({ "GrantToken": new_token })).await;
        people.no(&bob, "RetireGrant", json!({ "GrantToken": token }), "InvalidGrantTokenException").await;
        let (again, _) = people.grant(&key, &alice.arn, &["Encrypt", "Decrypt"], more.clone()).await;
        assert_ne!(again, id, "an id is never given twice");
        people.no(&bob, "RetireGrant", json!({ "GrantToken": token }), "InvalidGrantTokenException").await;
        // Without a name, every call makes one.
        let (one, _) = people.grant(&other, &alice.arn, &["Decrypt"], json!({})).await;
        assert_ne!(people.grant(&other, &alice.arn, &["Decrypt"], json!({})).await.0, one);
        people.no(&root, "RevokeGrant", json!({ "KeyId": other, "GrantId": again }), "NotFoundException").await;
        people.close().await;
    });
}

#[test]
fn a_dry_run_of_any_of_them_changes_nothing() {
    with_people("requests::a_dry_run_of_any_of_them_changes_nothing", |people| async move {
        let (root, key, alice) = (people.root(), people.key().await, people.user(OURS, "alice", &[]).await);
        let (id, token) = people.grant(&key, &alice.arn, &["Decrypt"], json!({ "Name": "n" })).await;
        let absent = "0".repeat(64);
        for (operation, body, error) in [
            ("CreateGrant", json!({ "KeyId": key, "GranteePrincipal": alice.arn, "Operations": ["Decrypt"] }), DRY),
            (
                "CreateGrant",
                json!({ "KeyId": key, "GranteePrincipal": alice.arn, "Operations": ["Decrypt"], "Name": "n" }),
                DRY,
            ),
            ("RetireGrant", json!({ "KeyId": key, "GrantId": id }), DRY),
            ("RetireGrant", json!({ "GrantToken": token }), DRY),
            ("RevokeGrant", json!({ "KeyId": key, "GrantId": id }), DRY),
            ("RetireGrant", json!({ "KeyId": key, "GrantId": absent }), "NotFoundException"),
            ("RevokeGrant", json!({ "KeyId": key, "GrantId": absent }), "NotFoundException"),
            ("RevokeGrant", json!({ "KeyId": key, "GrantId": "x" }), "InvalidGrantIdException"),
            ("RetireGrant", json!({ "KeyId": key, "GrantId": absent.replace('0', "A") }), "InvalidGrantIdException"),
            ("RetireGrant", json!({ "GrantToken": "x" }), "InvalidGrantTokenException"),
            ("RetireGrant", json!({}), "ValidationException"),
            ("RetireGrant", json!({ "KeyId": key }), "ValidationException"),
            ("RetireGrant", json!({ "GrantId": id }), "ValidationException"),
            ("RetireGrant", json!({ "KeyId": key, "GrantId": id, "GrantToken": token }), "ValidationException"),
        ] {
            let mut dry = body.clone();
            dry["DryRun"] = true.into();
            people.no(&root, operation, dry.clone(), error).await;
            let said = people.ask(&alice, operation, &dry).await.error;
            assert!(said == DENIED || said == error && error != DRY, "alice may not: {said}");
        }
        assert_eq!(people.grants(&key).await, [id]);
        people.close().await;
    });
}

#[test]
fn policies_can_ask_what_a_grant_would_give() {
    with_people("requests::policies_can_ask_what_a_grant_would_give", |people| async move {
        let (key, alice) = (people.key().await, people.user(OURS, "alice", &[]).await);
        people.user(OURS, "bob", &[]).await;
        let cases: &[(Value, &[Value], &[Value])] = &[
            (
                json!({ "ForAllValues:StringEquals": { "kms:GrantOperations": ["Encrypt", "Decrypt"] } }),
                &[json!({ "Operations": ["Encrypt"] }), json!({ "Operations": ["Decrypt", "Encrypt"] })],
                &[json!({ "Operations": ["Encrypt", "DescribeKey"] })],
            ),
            (
                json!({ "StringEquals": { "kms:GranteePrincipal": ALICE } }),
                &[json!({ "GranteePrincipal": ALICE })],
                &[json!({ "GranteePrincipal": OURS }), json!({ "GranteePrincipal": BOB })],
            ),
            (
                json!({ "StringEquals": { "kms:GranteePrincipal": format!("arn:aws:iam::{OURS}:root") } }),
                &[json!({ "GranteePrincipal": OURS })],
                &[json!({ "GranteePrincipal": ALICE })],
            ),
            (
                json!({ "StringEquals": { "kms:RetiringPrincipal": BOB } }),
                &[json!({ "RetiringPrincipal": BOB })],
                &[json!({}), json!({ "RetiringPrincipal": ALICE })],
            ),
            (
                json!({ "StringEquals": { "kms:GrantConstraintType": "EncryptionContextEquals" } }),
                &[json!({ "Constraints": { "EncryptionContextEquals": { "a": "1" } } })],
                &[json!({}), json!({ "Constraints": { "EncryptionContextSubset": { "a": "1" } } })],
            ),
            (
                json!({ "StringEquals": { "kms:EncryptionContext:app": "red" } }),
                &[
                    json!({ "Constraints": { "EncryptionContextEquals": { "app": "red" } } }),
                    json!({ "Constraints": { "EncryptionContextSubset": { "app": "red" } } }),
                ],
                &[json!({}), json!({ "Constraints": { "EncryptionContextSubset": { "app": "blue" } } })],
            ),
            (json!({ "Bool": { "kms:GrantIsForAWSResource": "false" } }), &[json!({})], &[]),
            (json!({ "Bool": { "kms:GrantIsForAWSResource": "true" } }), &[], &[json!({})]),
        ];
        for (number, (condition, kept, broken)) in cases.iter().enumerate() {
            let policy = json!({ "Statement": { "Effect": "Allow", "Action": ["kms:*"], "Resource": "*",
                "Condition": condition } });
            let may = people.user(OURS, &format!("u{number}"), &[&policy.to_string()]).await;
            for (changes, error) in kept.iter().map(|c| (c, "")).chain(broken.iter().map(|c| (c, DENIED))) {
                let mut body = json!({ "KeyId": key, "GranteePrincipal": alice.arn, "Operations": ["Encrypt"] });
                body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
                assert_eq!(people.ask(&may, "CreateGrant", &body).await.error, error, "{condition} {changes}");
            }
        }
        // The same key is there for those who list and revoke.
        let users_own = json!({ "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*",
            "Condition": { "Bool": { "kms:GrantIsForAWSResource": "true" } } } });
        let may_not = people.user(OURS, "maynot", &[&users_own.to_string()]).await;
        let (id, _) = people.grant(&key, &alice.arn, &["Encrypt"], json!({})).await;
        people.no(&may_not, "ListGrants", json!({ "KeyId": key }), DENIED).await;
        people.no(&may_not, "RevokeGrant", json!({ "KeyId": key, "GrantId": id }), DENIED).await;
        people.close().await;
    });
}

#[test]
fn revoking_takes_the_permission_of_a_policy_and_no_grant_or_token() {
    with_people("requests::revoking_takes_the_permission_of_a_policy_and_no_grant_or_token", |people| async move {
        let (root, key) = (people.root(), people.key().await);
        let (alice, admin) = (people.user(OURS, "alice", &[]).await, people.user(OURS, "admin", &[ADMIN]).await);
        let eve = people.user(THEIRS, "eve", &[ADMIN]).await;
        let all = ["Decrypt", "CreateGrant", "RetireGrant"];
        let (id, token) = people.grant(&key, &alice.arn, &all, json!({ "RetiringPrincipal": alice.arn })).await;
        let body = json!({ "KeyId": key, "GrantId": id });
        people.no(&alice, "RevokeGrant", body.clone(), DENIED).await;
        people.no(&alice, "RevokeGrant", json!({ "KeyId": key, "GrantId": id, "GrantTokens": [token] }), DENIED).await;
        let foreign = people.no(&eve, "RevokeGrant", body.clone(), DENIED).await;
        let absent = json!({ "KeyId": absent_key(), "GrantId": id });
        assert_eq!(people.no(&eve, "RevokeGrant", absent, DENIED).await, foreign);
        let unknown = json!({ "KeyId": key, "GrantId": "f".repeat(64) });
        assert_eq!(people.no(&eve, "RevokeGrant", unknown.clone(), DENIED).await, foreign);
        let message = people.no(&admin, "RevokeGrant", unknown, "NotFoundException").await;
        assert_eq!(message, format!("Grant ID {} not found.", "f".repeat(64)));
        people.ok(&admin, "RevokeGrant", body.clone()).await;
        people.no(&root, "RevokeGrant", body, "NotFoundException").await;
        people.close().await;
    });
}

#[test]
fn the_record_says_which_grant_and_shows_no_token() {
    crate::in_own_process("requests::the_record_says_which_grant_and_shows_no_token", |dir| {
        crate::block_on(async {
            let people = crate::people::People::start(dir).await;
            let (key, alice) = (people.key().await, people.user(OURS, "alice", &[]).await);
            let retiring = json!({ "RetiringPrincipal": alice.arn, "Name": "n" });
            let (id, token) = people.grant(&key, &alice.arn, &["Encrypt"], retiring).await;
            let encrypt = json!({ "KeyId": key, "Plaintext": "eHk=", "GrantTokens": [token] });
            people.ok(&alice, "Encrypt", encrypt).await;
            people.ok(&alice, "RetireGrant", json!({ "GrantToken": token })).await;
            people.close().await;
            let lines = crate::support::audit_lines(&dir.join("data"));
            let find = |name: &str| {
                let mut events = lines.iter().map(|line| &line["event"]).filter(|event| event["eventName"] == name);
                events.next_back().unwrap()
            };
            let answered = json!({ "grantId": id, "keyId": key });
            let created = find("CreateGrant");
            assert_eq!(created["responseElements"], answered);
            let asked = json!({ "keyId": key, "granteePrincipal": alice.arn, "retiringPrincipal": alice.arn,
                "operations": ["Encrypt"], "name": "n" });
            assert_eq!(created["requestParameters"], asked);
            let used = find("Encrypt");
            assert_eq!(used["additionalEventData"]["authorization"][0]["allowedBy"], json!({ "grant": id }));
            assert!(used["requestParameters"]["grantTokens"].is_null());
            let retired = find("RetireGrant");
            assert_eq!((&retired["responseElements"], &retired["resources"][0]["ARN"]), (&answered, &json!(key)));
            assert_eq!(retired["additionalEventData"]["authorization"][0]["allowedBy"], json!({ "grant": id }));
            let log = std::fs::read_dir(dir.join("data/audit")).unwrap();
            for file in log.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
                assert!(
                    !String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains(&token),
                    "{}",
                    file.display()
                );
            }
        });
    });
}

fn key_id(arn: &str) -> hsm_kms::model::KeyId {
    arn.rsplit('/').next().unwrap().parse().unwrap()
}

fn absent_key() -> String {
    format!("arn:aws:kms:us-east-1:{OURS}:key/00000000-0000-4000-8000-000000000000")
}

const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
const BOB: &str = "arn:aws:iam::111122223333:user/bob";
const DRY: &str = "DryRunOperationException";
