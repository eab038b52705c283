//! The promises, attacked through the service.

use hsm_kms::auth::policy::Kind;
use hsm_kms::model::FriendlyName;
use serde_json::{Value, json};

use crate::in_process::{MovedClock, START};
use crate::people::{Key, Person, Served, policy};
use crate::process::in_own_process;

#[test]
fn who_has_the_name_of_someone_deleted_gets_nothing() {
    in_own_process("attacks::who_has_the_name_of_someone_deleted_gets_nothing", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let account = service.root().account.clone();
        let old = service.user(&account, "ann");
        let (by_policy, by_grant) = (new_key(&service), new_key(&service));
        service.put_policy(&by_policy, json!([delegation(), names(&old, "kms:*")]));
        service.grant(&old, &by_grant);
        service.put_policy(&by_grant, json!([]));
        let denying = json!({ "Effect": "Deny", "Principal": { "AWS": old.arn }, "Action": "kms:*", "Resource": "*" });
        let denied = new_key(&service);
        service.put_policy(&denied, json!([delegation(), denying]));
        for key in [&by_policy, &by_grant] {
            service.ok(&old, "Encrypt", encrypt(key));
        }

        service.delete(&old);
        let (code, _) = service.refused(&old, "Encrypt", encrypt(&by_policy));
        assert_eq!(code, "UnrecognizedClientException", "his access keys are gone with him");
        let new = service.user(&account, "ann");
        assert_eq!(new.arn, old.arn);
        assert_ne!(new.unique_id, old.unique_id);
        for (key, kind) in [(&by_policy, "identity-based"), (&by_grant, "resource-based")] {
            let (code, message) = service.refused(&new, "Encrypt", encrypt(key));
            assert_eq!(code, "AccessDeniedException");
            assert!(message.ends_with(&format!("because no {kind} policy allows the kms:Encrypt action")), "{message}");
        }
        // Nor is he the one whom the policy refused.
        service.give(&new, "own", json!([{ "Effect": "Allow", "Action": "kms:Encrypt", "Resource": denied.arn }]));
        service.ok(&new, "Encrypt", encrypt(&denied));

        // The same text, put once more, means him.
        service.put_policy(&by_policy, json!([delegation(), names(&new, "kms:*")]));
        service.ok(&new, "Encrypt", encrypt(&by_policy));
        service.close();
    });
}

/// An access key that outlived its user, whatever made it, is nobody's.
#[test]
fn an_access_key_without_its_user_is_nobody_s() {
    in_own_process("attacks::an_access_key_without_its_user_is_nobody_s", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let account = service.root().account.clone();
        let user = service.user_who_may("ann", everything());
        let key = new_key(&service);
        service.ok(&user, "Encrypt", encrypt(&key));
        let stray = service.access_key(&account, &user.arn, "AIDANOBODY234567WXYZ");
        let (code, message) = service.refused(&stray, "Encrypt", encrypt(&key));
        assert_eq!((code.as_str(), message.as_str()), UNRECOGNIZED);

        let row = service.kms.store.access_key(user.credentials.access_key_id()).unwrap();
        let mut inactive = row.record.clone();
        inactive.active = false;
        service.commit(|change| change.update(&row, inactive));
        let (code, message) = service.refused(&user, "Encrypt", encrypt(&key));
        assert_eq!((code.as_str(), message.as_str()), UNRECOGNIZED, "it is not active");
        service.close();
    });
}

#[test]
fn a_key_policy_names_only_who_is_there() {
    in_own_process("attacks::a_key_policy_names_only_who_is_there", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let account = service.root().account.clone();
        service.user(&account, "Ann");
        service.role(&account, "Reader");
        let key = new_key(&service);
        let put = |principal: &str| {
            let statement =
                json!({ "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "kms:*", "Resource": "*" });
            service.send(
                service.root(),
                "PutKeyPolicy",
                &json!({ "KeyId": key.id, "Policy": policy(json!([delegation(), statement])) }),
            )
        };
        for principal in [
            "*",
            "111122223333",
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:user/Ann",
            "arn:aws:iam::111122223333:role/Reader",
            "arn:aws:sts::111122223333:assumed-role/Reader/any-session",
        ] {
            let answer = put(principal);
            assert_eq!(answer.status, 200, "{principal}: {}", answer.json());
        }
        let before = service.key_record(&key);
        for principal in [
            "444455556666",
            "arn:aws:iam::444455556666:root",
            "arn:aws:iam::444455556666:user/Ann",
            "arn:aws:iam::111122223333:user/Bob",
            "arn:aws:iam::111122223333:user/ann",
            "arn:aws:iam::111122223333:user/path/Ann",
            "arn:aws:iam::111122223333:role/Ann",
            "arn:aws:iam::111122223333:user/Reader",
            "arn:aws:iam::111122223333:role/Writer",
            "arn:aws:sts::111122223333:assumed-role/Writer/any-session",
            "arn:aws:sts::111122223333:assumed-role/reader/any-session",
        ] {
            let answer = put(principal);
            assert_eq!(answer.error(), "MalformedPolicyDocumentException", "{principal}: {}", answer.json());
            let message = "Policy contains a statement with one or more invalid principals.";
            assert_eq!(answer.message(), message, "{principal}");
            let made = policy(
                json!([delegation(), { "Effect": "Deny", "Principal": { "AWS": principal }, "Action": "kms:Sign", "Resource": "*" }]),
            );
            let (code, told) = service.refused(service.root(), "CreateKey", json!({ "Policy": made }));
            assert_eq!((code.as_str(), told.as_str()), ("MalformedPolicyDocumentException", message), "{principal}");
        }
        let told = put("arn:aws:iam::111122223333:group/Readers");
        assert_eq!(told.error(), "MalformedPolicyDocumentException", "a group is no principal");
        assert_eq!(service.key_record(&key), before);
        service.close();
    });
}

#[test]
fn a_key_with_tags_needs_the_permission_to_tag() {
    in_own_process("attacks::a_key_with_tags_needs_the_permission_to_tag", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let user =
            service.user_who_may("ann", json!([{ "Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*" }]));
        let tags = json!({ "Tags": [{ "TagKey": "Team", "TagValue": "a" }] });
        let before = (service.kms.store.epoch(), service.kms.store.all_keys().len());
        let (code, message) = service.refused(&user, "CreateKey", tags.clone());
        let begin = format!(
            "User: {} is not authorized to perform: kms:TagResource on resource: arn:aws:kms:us-east-1:111122223333:key/",
            user.arn
        );
        let end = " because no identity-based policy allows the kms:TagResource action";
        assert_eq!(code, "AccessDeniedException");
        assert!(message.starts_with(&begin) && message.ends_with(end), "{message}");
        assert_eq!((service.kms.store.epoch(), service.kms.store.all_keys().len()), before);
        service.new_key(&user, json!({}));
        let other = service.new_key(service.root(), json!({}));
        let may_tag = |what: &str| {
            let statement = json!([{ "Effect": "Allow", "Action": "kms:TagResource", "Resource": what }]);
            service.give(&user, "more", statement);
            service.send(&user, "CreateKey", &tags).status == 200
        };
        // The permission must be for all keys of the account in the Region.
        for all in ["*", "arn:aws:kms:*:111122223333:key/*", "arn:aws:kms:us-east-1:111122223333:*"] {
            assert!(may_tag(all), "{all}");
        }
        for some in [&other.arn, "arn:aws:kms:*:444455556666:key/*", "arn:aws:kms:eu-west-1:111122223333:key/*"] {
            assert!(!may_tag(some), "{some}");
        }
        let tagged = service.kms.store.all_keys().iter().filter(|key| key.record.tags.contains_key("Team")).count();
        assert_eq!(tagged, 3);
        service.close();
    });
}

/// A Deny in any policy refuses whatever any permission allows.
#[test]
fn an_explicit_deny_beats_every_permission() {
    in_own_process("attacks::an_explicit_deny_beats_every_permission", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let account = service.root().account.clone();
        service.shared_policy(&account, "Denying", denial());
        service.shared_policy(&account, "Bounding", json!([everything()[0], denial()[0]]));
        service.shared_policy(&account, "Open", everything());
        let mut tried = 0;
        for permission in ["key policy", "delegation", "grant"] {
            for place in ["none", "inline policy", "attached policy", "boundary", "key policy"] {
                let user = service.user(&account, &format!("{permission}-{place}").replace(' ', "-"));
                let key = new_key(&service);
                let mut statements = match permission {
                    "key policy" => vec![names(&user, "kms:Encrypt")],
                    "delegation" => vec![delegation()],
                    _ => vec![],
                };
                if permission == "delegation" {
                    service.give(&user, "allowing", everything());
                }
                if permission == "grant" {
                    service.grant(&user, &key);
                }
                let name: FriendlyName =
                    if place == "attached policy" { "Denying" } else { "Bounding" }.parse().unwrap();
                let kind = match place {
                    "none" => None,
                    "inline policy" => {
                        service.give(&user, "denying", denial());
                        Some(Kind::IdentityPolicy)
                    }
                    "attached policy" => {
                        service.change(&user, |record| record.attached_policies = [name].into());
                        Some(Kind::IdentityPolicy)
                    }
                    "boundary" => {
                        service.change(&user, |record| record.permissions_boundary = Some(name));
                        Some(Kind::Boundary)
                    }
                    _ => {
                        statements.push(
                            json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*" }),
                        );
                        Some(Kind::KeyPolicy)
                    }
                };
                service.put_policy(&key, json!(statements));
                let answer = service.send(&user, "Encrypt", &encrypt(&key));
                let what = format!("{permission} against {place}: {}", answer.json());
                match kind {
                    None => assert_eq!(answer.status, 200, "{what}"),
                    Some(kind) => {
                        let article = if kind == Kind::IdentityPolicy { "an" } else { "a" };
                        let end = format!("on resource: {} with an explicit deny in {article} {kind}", key.arn);
                        assert_eq!(answer.error(), "AccessDeniedException", "{what}");
                        assert!(answer.message().ends_with(&end), "{what}");
                    }
                }
                tried += 1;
            }
        }
        assert_eq!(tried, 15);
        // The root user is under no policy but the key's.
        let key = new_key(&service);
        service.put_policy(
            &key,
            json!([delegation(), { "Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*" }]),
        );
        assert_eq!(service.refused(service.root(), "Encrypt", encrypt(&key)).0, "AccessDeniedException");
        service.close();
    });
}

/// A boundary limits what identity policies give, and gives nothing.
#[test]
fn a_boundary_limits_and_gives_nothing() {
    in_own_process("attacks::a_boundary_limits_and_gives_nothing", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let account = service.root().account.clone();
        service.shared_policy(
            &account,
            "Narrow",
            json!([{ "Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*" }]),
        );
        let user = service.user(&account, "ann");
        service.change(&user, |record| record.permissions_boundary = Some("Narrow".parse().unwrap()));
        let (delegating, naming) = (new_key(&service), new_key(&service));
        service.put_policy(&naming, json!([names(&user, "kms:DescribeKey")]));
        let end = |key: &Key, operation: &str, body: Value| {
            let (code, message) = service.refused(&user, operation, body);
            assert_eq!(code, "AccessDeniedException");
            message.split(&format!("on resource: {} ", key.arn)).nth(1).unwrap_or(&message).to_owned()
        };
        let describe = |key: &Key| json!({ "KeyId": key.id });
        let told = end(&delegating, "Encrypt", encrypt(&delegating));
        assert_eq!(told, "because no identity-based policy allows the kms:Encrypt action", "it gives nothing");
        service.give(&user, "own", everything());
        service.ok(&user, "Encrypt", encrypt(&delegating));
        let told = end(&delegating, "DescribeKey", describe(&delegating));
        assert_eq!(told, "because no permissions boundary allows the kms:DescribeKey action");
        let (code, message) = service.refused(&user, "ListKeys", json!({}));
        assert_eq!(code, "AccessDeniedException");
        assert!(
            message.ends_with("on resource: * because no permissions boundary allows the kms:ListKeys action"),
            "{message}"
        );
        // Whom the key policy or a grant names himself is not under the boundary's silence.
        service.ok(&user, "DescribeKey", describe(&naming));
        service.grant(&user, &delegating);
        service.ok(&user, "DescribeKey", describe(&delegating));

        // The next request sees another boundary, and a boundary that is missing decides nothing.
        let row = service.kms.store.policy(&account, &"Narrow".parse().unwrap()).unwrap();
        let mut wider = row.record.clone();
        wider.document = policy(everything());
        service.commit(|change| change.update(&row, wider));
        service.ok(&user, "ListKeys", json!({}));
        let row = service.kms.store.policy(&account, &"Narrow".parse().unwrap()).unwrap();
        service.commit(|change| change.delete(&row));
        assert_eq!(service.refused(&user, "ListKeys", json!({})).0, "KMSInternalException");
        service.close();
    });
}

#[test]
fn a_user_cannot_lock_himself_out_unless_he_insists() {
    in_own_process("attacks::a_user_cannot_lock_himself_out_unless_he_insists", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let user = service.user_who_may("ann", everything());
        let other = service.user_who_may("bob", everything());
        let key = service.new_key(&user, json!({}));
        let before = service.key_record(&key);
        let lockout = "The new key policy will not allow you to update the key policy in the future.";
        let conditional = json!({ "StringEquals": { "kms:CallerAccount": "111122223333" } });
        for statements in [
            json!([]),
            json!([names(&other, "kms:*")]),
            json!([names(&user, "kms:Encrypt")]),
            json!([{ "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*", "Condition": conditional }]),
            json!([names(&user, "kms:*"), { "Effect": "Deny", "Principal": { "AWS": user.arn }, "Action": "kms:Put*", "Resource": "*" }]),
        ] {
            let text = policy(statements);
            for (operation, body) in
                [("PutKeyPolicy", json!({ "KeyId": key.id, "Policy": text })), ("CreateKey", json!({ "Policy": text }))]
            {
                let (code, message) = service.refused(&user, operation, body);
                assert_eq!(
                    (code.as_str(), message.as_str()),
                    ("MalformedPolicyDocumentException", lockout),
                    "{operation} {text}"
                );
            }
        }
        assert_eq!(service.key_record(&key), before);
        for statements in [json!([names(&user, "kms:*")]), json!([delegation()])] {
            service.ok(&user, "PutKeyPolicy", json!({ "KeyId": key.id, "Policy": policy(statements) }));
        }
        let body = json!({ "KeyId": key.id, "Policy": policy(json!([])), "BypassPolicyLockoutSafetyCheck": true });
        service.ok(&user, "PutKeyPolicy", body);
        assert_eq!(
            service
                .refused(&user, "PutKeyPolicy", json!({ "KeyId": key.id, "Policy": policy(json!([delegation()])) }))
                .0,
            "AccessDeniedException"
        );
        service.close();
    });
}

/// Every way to name a key of another account is answered as for one that does not exist.
#[test]
fn whether_a_foreign_key_exists_is_not_told() {
    in_own_process("attacks::whether_a_foreign_key_exists_is_not_told", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let stranger = service.account("444455556666");
        let user = service.user(&stranger.account, "eve");
        service.give(&user, "own", everything());
        let foreign = new_key(&service);
        let alias = json!({ "AliasName": "alias/there", "TargetKeyId": foreign.id });
        service.ok(service.root(), "CreateAlias", alias);
        let sealed = service.ok(service.root(), "Encrypt", encrypt(&foreign))["CiphertextBlob"].clone();
        let own = service.new_key(&user, json!({}));
        let own_blob = service.ok(&user, "Encrypt", encrypt(&own))["CiphertextBlob"].clone();
        let absent = "9".repeat(8) + &foreign.id[8..];
        let nowhere = forged(&sealed, &foreign.id, &absent);
        let account = &service.root().account;
        let arn_of = |id: &str| format!("arn:aws:kms:us-east-1:{account}:key/{id}");
        let alias_of = |name: &str| format!("arn:aws:kms:us-east-1:{account}:alias/{name}");

        let keys = [(arn_of(&foreign.id), arn_of(&absent)), (alias_of("there"), alias_of("absent"))];
        let mut pairs: Vec<(&str, Value, Value)> = Vec::new();
        for (there, absent) in &keys {
            let mut pair = |operation, body: &dyn Fn(&str) -> Value| pairs.push((operation, body(there), body(absent)));
            pair("Decrypt", &|id| json!({ "KeyId": id, "CiphertextBlob": sealed }));
            pair("Decrypt", &|id| json!({ "KeyId": id, "CiphertextBlob": own_blob }));
            pair("Decrypt", &|id| json!({ "KeyId": id, "DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"] }));
            pair("Encrypt", &|id| json!({ "KeyId": id, "Plaintext": "eHk=" }));
            pair("Encrypt", &|id| json!({ "KeyId": id, "Plaintext": "eHk=", "GrantTokens": ["eHk="] }));
            pair("GenerateDataKey", &|id| json!({ "KeyId": id, "KeySpec": "AES_256" }));
            pair("DescribeKey", &|id| json!({ "KeyId": id }));
            pair("ReEncrypt", &|id| json!({ "CiphertextBlob": own_blob, "DestinationKeyId": id }));
            pair(
                "ReEncrypt",
                &|id| json!({ "CiphertextBlob": own_blob, "SourceKeyId": id, "DestinationKeyId": own.id }),
            );
            pair("ReEncrypt", &|id| json!({ "CiphertextBlob": sealed, "DestinationKeyId": id }));
            pair(
                "ReEncrypt",
                &|id| json!({ "SourceKeyId": own.id, "DestinationKeyId": id, "DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"] }),
            );
        }
        let (there, absent) = &keys[0];
        for operation in
            ["ListAliases", "GetKeyPolicy", "ListResourceTags", "DisableKey", "ScheduleKeyDeletion", "GetKeyLastUsage"]
        {
            pairs.push((operation, json!({ "KeyId": there }), json!({ "KeyId": absent })));
        }
        let grant_id = service.grant(service.root(), &foreign);
        let asked = |id: &str, more: Value| {
            let mut body = json!({ "KeyId": id, "GranteePrincipal": user.arn, "Operations": ["Decrypt"] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let grant = |id: &str| json!({ "KeyId": id, "GrantId": grant_id });
        pairs.push(("CreateGrant", asked(there, json!({})), asked(absent, json!({}))));
        let signs = json!({ "Operations": ["Sign"], "GranteePrincipal": "arn:aws:iam::111122223333:user/nobody" });
        pairs.push(("CreateGrant", asked(there, signs.clone()), asked(absent, signs)));
        pairs.push(("ListGrants", grant(there), grant(absent)));
        pairs.push(("RevokeGrant", grant(there), grant(absent)));
        pairs.push(("RetireGrant", grant(there), grant(absent)));
        let target = |id: &str| json!({ "AliasName": "alias/mine", "TargetKeyId": id });
        pairs.push(("CreateAlias", target(there), target(absent)));
        pairs.push(("Decrypt", json!({ "CiphertextBlob": sealed }), json!({ "CiphertextBlob": nowhere })));
        pairs.push((
            "ReEncrypt",
            json!({ "CiphertextBlob": sealed, "DestinationKeyId": own.id }),
            json!({ "CiphertextBlob": nowhere, "DestinationKeyId": own.id }),
        ));

        for (operation, there, absent) in &pairs {
            let told = service.refused(&user, operation, there.clone());
            assert_eq!(told, service.refused(&user, operation, absent.clone()), "{operation} {there}");
            assert_eq!(told.0, "AccessDeniedException", "{operation} {there}");
            assert!(
                told.1.contains("because the resource does not exist in this Region, no resource-based policies allow"),
                "{operation} {there}: {}",
                told.1
            );
        }
        assert_eq!(pairs.len(), 36);
        // What is wrong with the request itself is told alike.
        for more in [
            json!({ "Operations": ["CreateGrant"] }),
            json!({ "GranteePrincipal": "nobody" }),
            json!({ "RetiringPrincipal": "nobody" }),
            json!({ "Constraints": { "EncryptionContextEquals": { "k": "v".repeat(385) } } }),
            json!({ "GranteeServicePrincipal": "s3.amazonaws.com" }),
        ] {
            let told = service.refused(&user, "CreateGrant", asked(there, more.clone()));
            assert_eq!(told, service.refused(&user, "CreateGrant", asked(absent, more.clone())), "{more}");
            assert_ne!(told.0, "AccessDeniedException", "{more}");
        }

        // That a ciphertext is of another key is told of keys that he may use, only.
        let body = json!({ "KeyId": own.id, "CiphertextBlob": sealed });
        assert_eq!(service.refused(&user, "Decrypt", body).0, "IncorrectKeyException");
        service.close();
    });
}

/// Tags whose keys differ by case alone are two tags, and one name to conditions.
#[test]
fn a_second_tag_of_another_case_opens_nothing() {
    in_own_process("attacks::a_second_tag_of_another_case_opens_nothing", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let key = service.new_key(service.root(), json!({ "Tags": [{ "TagKey": "Team", "TagValue": "Red" }] }));
        let tag = |values: &[(&str, &str)]| {
            let tags: Vec<Value> =
                values.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value })).collect();
            json!({ "KeyId": key.id, "Tags": tags })
        };
        let when = |operator: &str, effect: &str, name: &str, value: &str| json!({ "Effect": effect, "Action": "kms:*", "Resource": "*", "Condition": { operator: { name: value } } });
        // May use what is Blue's, and tag what is whoever's as Red's only.
        let user = service.user(&service.root().account, "ann");
        service.give(
            &user,
            "own",
            json!([
                when("StringEquals", "Allow", "aws:ResourceTag/Team", "Blue"),
                when("StringEquals", "Allow", "aws:RequestTag/Team", "Red")
            ]),
        );
        service.ok(&user, "TagResource", tag(&[("Team", "Red")]));
        for twins in [[("Team", "Red"), ("team", "Blue")], [("team", "Blue"), ("Team", "Red")]] {
            assert_eq!(service.refused(&user, "TagResource", tag(&twins)).0, "AccessDeniedException");
        }
        service.ok(service.root(), "TagResource", tag(&[("team", "Blue")]));
        assert_eq!(
            service.refused(&user, "Encrypt", encrypt(&key)).0,
            "AccessDeniedException",
            "it is Red's and Blue's"
        );
        // Nor does a second tag take away from a Deny.
        let all_but_blue = json!([everything()[0], when("StringNotEquals", "Deny", "aws:ResourceTag/Team", "Blue")]);
        service.give(&user, "own", all_but_blue);
        assert_eq!(
            service.refused(&user, "Encrypt", encrypt(&key)).0,
            "AccessDeniedException",
            "one of them is not Blue"
        );
        service.ok(service.root(), "UntagResource", json!({ "KeyId": key.id, "TagKeys": ["Team"] }));
        service.ok(&user, "Encrypt", encrypt(&key));
        service.close();
    });
}

/// A capital sigma has two small letters, of which a word's end usually has the other one.
#[test]
fn a_condition_finds_a_tag_whose_name_ends_in_a_sigma() {
    in_own_process("attacks::a_condition_finds_a_tag_whose_name_ends_in_a_sigma", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let key = new_key(&service);
        let when = |effect: &str, value: &str| json!({ "Effect": effect, "Action": "kms:*", "Resource": "*", "Condition": { "StringEquals": { "aws:PrincipalTag/ΟΔΟΣ": value } } });
        let user = service.user_who_may("ann", json!([when("Allow", "Blue")]));
        service.change(&user, |record| drop(record.tags.insert("ΟΔΟΣ".into(), "Blue".into())));
        service.ok(&user, "Encrypt", encrypt(&key));
        service.give(&user, "own", json!([everything()[0], when("Deny", "Blue")]));
        assert_eq!(service.refused(&user, "Encrypt", encrypt(&key)).0, "AccessDeniedException");
        service.close();
    });
}

/// The blob with another key's id in it.
fn forged(blob: &Value, from: &str, to: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let bytes = |id: &str| uuid::Uuid::parse_str(id).unwrap().into_bytes();
    let mut blob = STANDARD.decode(blob.as_str().unwrap()).unwrap();
    let at = blob.windows(16).position(|window| window == bytes(from)).unwrap();
    blob[at..at + 16].copy_from_slice(&bytes(to));
    STANDARD.encode(blob)
}

fn new_key(service: &Served) -> Key {
    service.new_key(service.root(), json!({}))
}

fn encrypt(key: &Key) -> Value {
    json!({ "KeyId": key.arn, "Plaintext": "eHk=" })
}

/// Statements of an identity policy.
fn everything() -> Value {
    json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }])
}

fn denial() -> Value {
    json!([{ "Effect": "Deny", "Action": "kms:Encrypt", "Resource": "*" }])
}

/// A statement of a key policy.
fn names(person: &Person, action: &str) -> Value {
    json!({ "Effect": "Allow", "Principal": { "AWS": person.arn }, "Action": action, "Resource": "*" })
}

fn delegation() -> Value {
    json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:root" }, "Action": "kms:*", "Resource": "*" })
}

const UNRECOGNIZED: (&str, &str) =
    ("UnrecognizedClientException", "The security token included in the request is invalid.");
