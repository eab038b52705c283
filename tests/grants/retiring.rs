//! Who may retire a grant, and who may not.

use serde_json::json;

use crate::people::{ADMIN, OURS, THEIRS};
use crate::{DENIED, with_people};

#[test]
fn a_grant_is_retired_by_those_it_names_and_the_root_user_of_the_key() {
    let test = "retiring::a_grant_is_retired_by_those_it_names_and_the_root_user_of_the_key";
    with_people(test, |people| async move {
        let (root, their_root, key) = (people.root(), people.their_root().await, people.key().await);
        let (alice, bob) = (people.user(OURS, "alice", &[]).await, people.user(OURS, "bob", &[]).await);
        let (admin, eve) = (people.user(OURS, "admin", &[ADMIN]).await, people.user(THEIRS, "eve", &[]).await);
        let everybody = [&alice, &bob, &admin, &eve, &root, &their_root];
        // The grantee, the operations, the retiring principal, and who may.
        for (grantee, operations, retiring, may) in [
            (&alice.arn, &["Decrypt"][..], None, vec![&root]),
            (&alice.arn, &["Decrypt", "RetireGrant"], None, vec![&alice, &root]),
            (&alice.arn, &["Decrypt"], Some(&bob.arn), vec![&bob, &root]),
            (&alice.arn, &["Decrypt", "RetireGrant"], Some(&bob.arn), vec![&alice, &bob, &root]),
            (&alice.arn, &["Decrypt"], Some(&eve.arn), vec![&eve, &root]),
            (&eve.arn, &["RetireGrant"], None, vec![&eve, &root]),
            (&alice.arn, &["Decrypt"], Some(&their_root.arn), vec![&their_root, &root]),
            (&root.arn, &["RetireGrant"], None, vec![&root]),
        ] {
            for person in everybody {
                for by_token in [false, true] {
                    let more = retiring.map_or(json!({}), |arn| json!({ "RetiringPrincipal": arn }));
                    let (id, token) = people.grant(&key, grantee, operations, more).await;
                    let body = match by_token {
                        true => json!({ "GrantToken": token }),
                        false => json!({ "KeyId": key, "GrantId": id }),
                    };
                    let said = people.ask(person, "RetireGrant", &body).await;
                    let may = may.iter().any(|one| one.arn == person.arn);
                    assert_eq!(said.error, if may { "" } else { DENIED }, "{} {grantee} {operations:?}", person.arn);
                    assert_eq!(people.grants(&key).await.contains(&id), !may);
                    if !may {
                        people.ok(&root, "RevokeGrant", json!({ "KeyId": key, "GrantId": id })).await;
                    }
                }
            }
        }
        people.close().await;
    });
}

#[test]
fn a_role_retires_by_its_sessions_and_a_session_by_itself() {
    with_people("retiring::a_role_retires_by_its_sessions_and_a_session_by_itself", |people| async move {
        let (key, session) = (people.key().await, people.session(OURS, "R", &[]).await);
        let other = people.session(OURS, "S", &[]).await;
        let narrow = r#"{"Statement":{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}}"#;
        let wide = r#"{"Statement":{"Effect":"Allow","Action":"kms:Retire*","Resource":"*"}}"#;
        for (retiring, who, error) in [
            (&session.role_arn, session.clone(), ""),
            (&session.role_arn, session.again("s2"), ""),
            (&session.role_arn, session.within(wide), ""),
            (&session.role_arn, session.within(narrow), DENIED),
            (&session.role_arn, other.clone(), DENIED),
            (&session.arn, session.clone(), ""),
            (&session.arn, session.again("s2"), DENIED),
            (&other.role_arn, session.clone(), DENIED),
        ] {
            let (id, _) = people.grant(&key, OURS, &["Decrypt"], json!({ "RetiringPrincipal": retiring })).await;
            let said = people.ask_as(&who, "RetireGrant", &json!({ "KeyId": key, "GrantId": id })).await;
            assert_eq!(said.error, error, "{retiring} {}", who.arn);
        }
        people.close().await;
    });
}

#[test]
fn a_deny_forbids_to_retire_and_no_allow_permits_it() {
    with_people("retiring::a_deny_forbids_to_retire_and_no_allow_permits_it", |people| async move {
        let deny = r#"{"Statement":{"Effect":"Deny","Action":"kms:RetireGrant","Resource":"*"}}"#;
        let (alice, barred) =
            (people.user(OURS, "alice", &[]).await, people.user(OURS, "barred", &[ADMIN, deny]).await);
        let policy = |effect: &str, arn: &str| {
            json!({ "Statement": [
                { "Effect": "Allow", "Principal": { "AWS": OURS }, "Action": "kms:*", "Resource": "*" },
                { "Effect": effect, "Principal": { "AWS": arn }, "Action": "kms:RetireGrant", "Resource": "*" },
            ] })
            .to_string()
        };
        // Named in the key policy, and not in the grant.
        let key = people.key_with(&json!({ "Policy": policy("Allow", &alice.arn) })).await;
        let (id, token) = people.grant(&key, OURS, &["Decrypt"], json!({ "RetiringPrincipal": barred.arn })).await;
        people.no(&alice, "RetireGrant", json!({ "KeyId": key, "GrantId": id }), DENIED).await;
        // Forbidden by an identity policy.
        let said = people.no(&barred, "RetireGrant", json!({ "GrantToken": token }), DENIED).await;
        assert!(said.ends_with("with an explicit deny in an identity-based policy"), "{said}");
        // Forbidden by the key policy, the root user too.
        let key = people.key_with(&json!({ "Policy": policy("Deny", &alice.arn) })).await;
        let (id, _) = people.grant(&key, OURS, &["Decrypt"], json!({ "RetiringPrincipal": alice.arn })).await;
        let said = people.no(&alice, "RetireGrant", json!({ "KeyId": key, "GrantId": id }), DENIED).await;
        assert!(said.ends_with("with an explicit deny in a resource-based policy"), "{said}");
        let key = people.key_with(&json!({ "Policy": policy("Deny", OURS) })).await;
        let (id, _) = people.grant(&key, OURS, &["Decrypt"], json!({ "RetiringPrincipal": alice.arn })).await;
        for person in [&alice, &people.root()] {
            people.no(person, "RetireGrant", json!({ "KeyId": key, "GrantId": id }), DENIED).await;
        }
        assert_eq!(people.grants(&key).await, [id]);
        people.close().await;
    });
}

#[test]
fn a_refusal_tells_nothing_of_foreign_grants_and_keys() {
    with_people("retiring::a_refusal_tells_nothing_of_foreign_grants_and_keys", |people| async move {
        let (key, eve) = (people.key().await, people.user(THEIRS, "eve", &[ADMIN]).await);
        let (id, token) = people.grant(&key, OURS, &["Decrypt"], json!({})).await;
        let absent = format!("arn:aws:kms:us-east-1:{OURS}:key/00000000-0000-4000-8000-000000000000");
        let mut said = Vec::new();
        for (key, grant_id) in [(&key, &id), (&key, &"0".repeat(64)), (&absent, &id)] {
            for dry_run in [false, true] {
                let body = json!({ "KeyId": key, "GrantId": grant_id, "DryRun": dry_run });
                said.push(people.no(&eve, "RetireGrant", body, DENIED).await);
            }
        }
        // With a token she knows of the grant; its owner is not told either.
        said.push(people.no(&eve, "RetireGrant", json!({ "GrantToken": token }), DENIED).await);
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(!said[0].contains(OURS), "{said:?}");
        people.close().await;
    });
}
