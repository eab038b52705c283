//! The two listings.

use serde_json::{Value, json};

use crate::people::{ADMIN, OURS, THEIRS};
use crate::{DENIED, with_people};

#[test]
fn a_grant_is_listed_with_all_that_was_asked_for() {
    with_people("listing::a_grant_is_listed_with_all_that_was_asked_for", |people| async move {
        let (root, key, alice) = (people.root(), people.key().await, people.user(OURS, "alice", &[]).await);
        let constraints =
            json!({ "EncryptionContextEquals": { "a": "1", "b": "" }, "EncryptionContextSubset": { "a": "1" } });
        let more = json!({ "Name": "n", "RetiringPrincipal": OURS, "Constraints": constraints });
        let operations = ["RetireGrant", "Encrypt", "Decrypt", "Encrypt"];
        let (id, _) = people.grant(&key, &alice.arn, &operations, more).await;
        let root_arn = format!("arn:aws:iam::{OURS}:root");
        let mut entry = json!({
            "KeyId": key, "GrantId": id, "Name": "n", "GranteePrincipal": alice.arn, "RetiringPrincipal": root_arn,
            "IssuingAccount": root_arn, "Operations": ["Decrypt", "Encrypt", "RetireGrant"],
            "Constraints": constraints,
        });
        let listed = people.ok(&root, "ListGrants", json!({ "KeyId": key })).await;
        entry["CreationDate"] = listed["Grants"][0]["CreationDate"].clone();
        assert!(entry["CreationDate"].as_f64().unwrap() > 1.7e9);
        assert_eq!(listed, json!({ "Grants": [entry], "Truncated": false }));
        let retirable = people.ok(&root, "ListRetirableGrants", json!({ "RetiringPrincipal": OURS })).await;
        assert_eq!(retirable, listed);
        people.ok(&root, "RevokeGrant", json!({ "KeyId": key, "GrantId": id })).await;
        people.grant(&key, OURS, &["Decrypt"], json!({})).await;
        let listed = people.ok(&root, "ListGrants", json!({ "KeyId": key })).await;
        let names = listed["Grants"][0].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(
            names,
            ["CreationDate", "GrantId", "GranteePrincipal", "IssuingAccount", "KeyId", "Name", "Operations"]
        );
        assert_eq!(
            (&listed["Grants"][0]["Name"], &listed["Grants"][0]["GranteePrincipal"]),
            (&json!(""), &json!(root_arn))
        );
        people.close().await;
    });
}

#[test]
fn pages_give_every_grant_once_in_order_and_markers_are_of_their_list() {
    with_people("listing::pages_give_every_grant_once_in_order_and_markers_are_of_their_list", |people| async move {
        let (root, key, other) = (people.root(), people.key().await, people.key().await);
        let (alice, bob) = (people.user(OURS, "alice", &[]).await, people.user(OURS, "bob", &[]).await);
        let mut made = Vec::new();
        for number in 0..7 {
            let grantee = if number % 2 == 0 { &alice } else { &bob };
            let key = if number == 6 { &other } else { &key };
            let more = json!({ "RetiringPrincipal": alice.arn });
            made.push((people.grant(key, &grantee.arn, &["Decrypt"], more).await.0, grantee.arn.clone(), key.clone()));
        }
        let of = |wanted: &dyn Fn(&(String, String, String)) -> bool| {
            let mut ids: Vec<_> = made.iter().filter(|grant| wanted(grant)).map(|grant| grant.0.clone()).collect();
            ids.sort();
            ids
        };
        let all = of(&|grant| grant.2 == key);
        for (operation, filter, expected) in [
            ("ListGrants", json!({ "KeyId": key }), all.clone()),
            ("ListGrants", json!({ "KeyId": key, "GranteePrincipal": bob.arn }), of(&|grant| grant.1 == bob.arn)),
            ("ListGrants", json!({ "KeyId": key, "GrantId": all[3] }), vec![all[3].clone()]),
            ("ListGrants", json!({ "KeyId": key, "GrantId": "0".repeat(64) }), vec![]),
            ("ListGrants", json!({ "KeyId": key, "GranteePrincipal": OURS }), vec![]),
            ("ListGrants", json!({ "KeyId": key, "GranteeServicePrincipal": "ec2.amazonaws.com.cn" }), vec![]),
            ("ListRetirableGrants", json!({ "RetiringPrincipal": alice.arn }), of(&|_| true)),
            ("ListRetirableGrants", json!({ "RetiringPrincipal": bob.arn }), vec![]),
        ] {
            for limit in [1, 2, 3, 100] {
                let mut found = Vec::new();
                let mut body = filter.clone();
                body["Limit"] = limit.into();
                loop {
                    let page = people.ok(&root, operation, body.clone()).await;
                    let grants = page["Grants"].as_array().unwrap();
                    assert!(grants.len() <= limit);
                    found.extend(grants.iter().map(|grant| grant["GrantId"].as_str().unwrap().to_owned()));
                    assert_eq!(page["Truncated"], !page["NextMarker"].is_null());
                    match &page["NextMarker"] {
                        Value::Null => break,
                        marker => body["Marker"] = marker.clone(),
                    }
                }
                if operation == "ListGrants" {
                    assert!(found.is_sorted(), "{found:?}");
                }
                found.sort();
                assert_eq!(found, expected, "{operation} {filter} {limit}");
            }
        }
        let marker = people.ok(&root, "ListGrants", json!({ "KeyId": key, "Limit": 1 })).await["NextMarker"].clone();
        for (operation, body) in [
            ("ListGrants", json!({ "KeyId": other, "Marker": marker })),
            ("ListGrants", json!({ "KeyId": key, "Marker": marker, "GranteePrincipal": bob.arn })),
            ("ListRetirableGrants", json!({ "RetiringPrincipal": alice.arn, "Marker": marker })),
        ] {
            people.no(&root, operation, body, "InvalidMarkerException").await;
        }
        people.no(&root, "ListGrants", json!({ "KeyId": key, "Limit": 101 }), "ValidationException").await;
        people.no(&root, "ListGrants", json!({ "KeyId": key, "GrantId": "x" }), "InvalidGrantIdException").await;
        people.no(&root, "ListGrants", json!({ "KeyId": key, "GranteePrincipal": "x" }), "InvalidArnException").await;
        people.close().await;
    });
}

#[test]
fn retirable_grants_are_told_of_ones_own_principals_only() {
    with_people("listing::retirable_grants_are_told_of_ones_own_principals_only", |people| async move {
        let (root, key) = (people.root(), people.key().await);
        let (admin, bare) = (people.user(OURS, "admin", &[ADMIN]).await, people.user(OURS, "bare", &[]).await);
        let (eve, their_root) = (people.user(THEIRS, "eve", &[ADMIN]).await, people.their_root().await);
        // A grant that their principal may retire is listed for them, though the key is ours.
        let (id, _) = people.grant(&key, &admin.arn, &["Decrypt"], json!({ "RetiringPrincipal": eve.arn })).await;
        for person in [&eve, &their_root] {
            let listed = people.ok(person, "ListRetirableGrants", json!({ "RetiringPrincipal": eve.arn })).await;
            assert_eq!((&listed["Grants"][0]["GrantId"], &listed["Grants"][0]["KeyId"]), (&json!(id), &json!(key)));
        }
        let theirs = json!({ "RetiringPrincipal": eve.arn });
        let nobody = json!({ "RetiringPrincipal": format!("arn:aws:iam::{THEIRS}:user/nobody") });
        for person in [&root, &admin] {
            let message = people.no(person, "ListRetirableGrants", theirs.clone(), "InvalidArnException").await;
            let absent = people.no(person, "ListRetirableGrants", nobody.clone(), "InvalidArnException").await;
            assert_eq!(message.replace("eve", "nobody"), absent);
        }
        people.ok(&admin, "ListRetirableGrants", json!({ "RetiringPrincipal": bare.arn })).await;
        people.no(&bare, "ListRetirableGrants", json!({ "RetiringPrincipal": bare.arn }), DENIED).await;
        people.no(&root, "ListRetirableGrants", json!({}), "ValidationException").await;
        let service = json!({ "RetiringServicePrincipal": "ec2.amazonaws.com.cn" });
        people.no(&root, "ListRetirableGrants", service, "ValidationException").await;
        people.close().await;
    });
}
