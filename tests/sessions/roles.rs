//! Who may assume a role, and what he is then.

use std::time::Duration;

use super::*;

#[test]
fn a_role_is_assumed_by_whom_it_trusts_and_acts_as_itself() {
    in_own_process("roles::a_role_is_assumed_by_whom_it_trusts_and_acts_as_itself", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let [alice, bob] = ["alice", "bob"].map(|name| service.user(&account, name));
        let allowed = json!([{ "Effect": "Allow", "Action": ["kms:Encrypt", "kms:DescribeKey"], "Resource": "*" }]);
        let app = role(&service, &account, "App", trusts(&alice.arn), allowed);
        let key = service.new_key(service.root(), json!({}));
        assert_eq!(encrypt(&service, &alice, &key), DENIED);

        let parameters = [("RoleArn", app.as_str()), ("RoleSessionName", "job+1@x"), ("ExternalId", "ext")];
        let answer = sts(&service, &alice, "AssumeRole", &parameters);
        let id = answer.header("x-amzn-requestid").unwrap().to_owned();
        let xml = Xml(String::from_utf8(answer.body).unwrap());
        let session = holder(&account, &xml, xml.get("Arn"), xml.get("AssumedRoleId"));
        assert_eq!(session.arn, "arn:aws:sts::111122223333:assumed-role/App/job+1@x");
        let unique_id = service.kms.principal_of(&app).unwrap().record.unique_id.clone();
        assert_eq!(session.unique_id, format!("{unique_id}:job+1@x"));
        assert_eq!((xml.get("Expiration").as_str(), xml.text("PackedPolicySize")), ("2026-11-22T01:00:00Z", None));

        let who = sts_ok(&service, &session, "GetCallerIdentity", &[]);
        assert_eq!((who.get("Arn"), who.get("UserId")), (session.arn.clone(), session.unique_id.clone()));
        assert_eq!(who.get("Account"), "111122223333");
        assert_eq!(encrypt(&service, &session, &key), "");
        for operation in ["DisableKey", "GetKeyPolicy"] {
            let (error, message) = service.refused(&session, operation, json!({ "KeyId": key.id }));
            assert_eq!(error, DENIED);
            assert!(message.starts_with(&format!("User: {} is not authorized to perform", session.arn)), "{message}");
        }
        not_assumed(&service, &bob, &app, &[], (403, "AccessDenied", &untrusted(&bob, "AssumeRole", &app)));

        let event = service.events()[&id].clone();
        let secret = session.credentials.secret_access_key().to_owned();
        let token = session.credentials.session_token().unwrap().to_owned();
        assert!(!event.to_string().contains(&secret) && !event.to_string().contains(&token), "{event}");
        assert_eq!(
            event["requestParameters"],
            json!({
                "roleArn": app, "roleSessionName": "job+1@x", "externalId": "ext"
            })
        );
        assert_eq!(
            event["responseElements"],
            json!({
                "assumedRoleUser": { "arn": session.arn, "assumedRoleId": session.unique_id },
                "credentials": {
                    "accessKeyId": session.credentials.access_key_id(), "expiration": "2026-11-22T01:00:00Z"
                },
            })
        );
        assert_eq!(event["resources"][0], json!({ "ARN": app, "accountId": "111122223333", "type": "AWS::IAM::Role" }));
        assert_eq!(
            event["additionalEventData"]["authorization"],
            json!([
                { "action": "sts:AssumeRole", "resource": app, "allowedBy": "trust policy" }
            ])
        );
        let denied = service.events().into_values().find(|event| event["errorCode"] == "AccessDenied").unwrap();
        assert_eq!((&denied["eventName"], &denied["responseElements"]), (&json!("AssumeRole"), &Value::Null));
        assert_eq!(
            denied["additionalEventData"]["authorization"][0]["refusedBecause"],
            "no resource-based policy allows the sts:AssumeRole action"
        );
        let encrypted = service
            .events()
            .into_values()
            .find(|event| event["eventName"] == "Encrypt" && event["userIdentity"]["type"] == "AssumedRole");
        assert_eq!(
            encrypted.unwrap()["userIdentity"],
            json!({
                "type": "AssumedRole", "principalId": session.unique_id, "arn": session.arn,
                "accountId": "111122223333", "accessKeyId": session.credentials.access_key_id(),
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role", "principalId": unique_id, "arn": app, "accountId": "111122223333",
                        "userName": "App",
                    },
                    "attributes": { "creationDate": "2026-11-22T00:00:00Z", "mfaAuthenticated": "false" },
                },
            })
        );
        service.close();
    });
}

#[test]
fn key_policies_name_the_session_the_role_or_the_account() {
    in_own_process("roles::key_policies_name_the_session_the_role_or_the_account", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let bare = role(&service, &account, "Bare", trusts(&alice.arn), json!([]));
        let able = role(&service, &account, "Able", trusts(&alice.arn), all_of_kms());
        let one = assume(&service, &alice, &bare, "one", &[]);
        let two = assume(&service, &alice, &bare, "two", &[]);
        let able = assume(&service, &alice, &able, "one", &[]);
        let key = |principal: &str| {
            let allow = json!([{
                "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "kms:*", "Resource": "*"
            }]);
            key_with_policy(&service, allow)
        };
        let by_session = key(&one.arn);
        let by_role = key(&bare);
        let by_account = key("111122223333");
        let everybody = [&one, &two, &able];
        let who = |key: &Key| everybody.map(|person| encrypt(&service, person, key).is_empty());
        assert_eq!(who(&by_session), [true, false, false]);
        assert_eq!(who(&by_role), [true, true, false]);
        assert_eq!(who(&by_account), [false, false, true]);
        // The role's boundary bounds what a policy that names the role gives, and not what one that names the session.
        service.shared_policy(&account, "Nothing", json!([]));
        change_role(&service, &bare, |role| role.permissions_boundary = Some("Nothing".parse().unwrap()));
        assert_eq!(who(&by_role), [false, false, false]);
        assert_eq!(who(&by_session), [true, false, false]);
        service.close();
    });
}

#[test]
fn a_trust_policy_decides_with_the_callers_own_policies() {
    in_own_process("roles::a_trust_policy_decides_with_the_callers_own_policies", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let other = service.account("444455556666");
        let assumes = |role: &str| json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": role }]);
        let alice = service.user(&account, "alice");
        let stranger = service.user(&other.account, "stranger");
        let root = trusts("arn:aws:iam::111122223333:root");
        let refused = |person: &Person, role: &str, more: &[(&str, &str)]| {
            not_assumed(&service, person, role, more, (403, "AccessDenied", &untrusted(person, "AssumeRole", role)));
        };

        // The account delegates to identity policies.
        let delegated = role(&service, &account, "Delegated", root, json!([]));
        refused(&alice, &delegated, &[]);
        service.give(&alice, "own", assumes(&delegated));
        assume(&service, &alice, &delegated, "x1", &[]);
        refused(&stranger, &delegated, &[]);
        let deny = json!([{ "Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*" }]);
        service.give(&alice, "deny", deny);
        refused(&alice, &delegated, &[]);
        service.give(&alice, "deny", Value::Null);

        // Another account needs both sides.
        let shared = role(&service, &account, "Shared", trusts(&stranger.arn), json!([]));
        refused(&stranger, &shared, &[]);
        service.give(&stranger, "own", assumes(&shared));
        let session = assume(&service, &stranger, &shared, "x1", &[]);
        assert_eq!(session.arn, "arn:aws:sts::111122223333:assumed-role/Shared/x1");
        refused(&alice, &shared, &[]);

        // An external id, right, wrong and missing.
        let mut external = trusts(&alice.arn);
        external[0]["Condition"] = json!({ "StringEquals": { "sts:ExternalId": "s3cret:id/1" } });
        let external = role(&service, &account, "External", external, json!([]));
        assume(&service, &alice, &external, "x1", &[("ExternalId", "s3cret:id/1")]);
        refused(&alice, &external, &[("ExternalId", "S3cret:id/1")]);
        refused(&alice, &external, &[]);

        // The name of the session.
        let mut named = trusts(&alice.arn);
        named[0]["Condition"] = json!({ "StringEquals": { "sts:RoleSessionName": "${aws:username}" } });
        let named = role(&service, &account, "Named", named, json!([]));
        assume(&service, &alice, &named, "alice", &[]);
        refused(&alice, &named, &[]);

        // The role's own tags.
        let tagged = role(&service, &account, "Tagged", trusts("111122223333"), json!([]));
        change_role(&service, &tagged, |role| drop(role.tags.insert("Team".into(), "blue".into())));
        for (key, value, may) in [("iam:ResourceTag/team", "blue", true), ("aws:ResourceTag/Team", "red", false)] {
            let mut own = assumes("*");
            own[0]["Condition"] = json!({ "StringEquals": { key: value } });
            service.give(&alice, "own", own);
            match may {
                true => drop(assume(&service, &alice, &tagged, "x1", &[])),
                false => refused(&alice, &tagged, &[]),
            }
        }

        // What does not exist is refused in the same words; who is root, in others.
        refused(&alice, "arn:aws:iam::111122223333:role/Absent", &[]);
        refused(&alice, "arn:aws:iam::111122223333:role/path/External", &[]);
        refused(&alice, "arn:aws:iam::999999999999:role/Absent", &[]);
        refused(&alice, &alice.arn, &[]);
        refused(&stranger, &session.arn, &[]);
        for person in [service.root(), &other] {
            let message = "Roles may not be assumed by root accounts.";
            not_assumed(&service, person, &delegated, &[], (403, "AccessDenied", message));
        }

        // A user of the same name, who came later, is not the one whom the role trusts.
        service.delete(&stranger);
        let successor = service.user(&other.account, "stranger");
        service.give(&successor, "own", assumes("*"));
        refused(&successor, &shared, &[]);
        service.close();
    });
}

#[test]
fn session_policies_only_take_away() {
    in_own_process("roles::session_policies_only_take_away", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let own = json!([{ "Effect": "Allow", "Action": ["kms:Encrypt", "kms:DescribeKey"], "Resource": "*" }]);
        let app = role(&service, &account, "App", trusts(&alice.arn), own);
        let [one, two] = [(); 2].map(|()| service.new_key(service.root(), json!({})));
        let may = |person: &Person, key: &Key| encrypt(&service, person, key).is_empty();
        let describes =
            |person: &Person| service.send(person, "DescribeKey", &json!({ "KeyId": one.id })).status == 200;

        let narrow = policy(json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": one.arn }]));
        let parameters = [("Policy", narrow.as_str())];
        let session = assume(&service, &alice, &app, "x1", &parameters);
        assert_eq!([may(&session, &one), may(&session, &two)], [true, false]);
        assert!(describes(&session));
        let (error, message) = service.refused(&session, "Encrypt", json!({ "KeyId": two.id, "Plaintext": "AA==" }));
        assert!(
            error == DENIED && message.ends_with("because no session policy allows the kms:Encrypt action"),
            "{message}"
        );
        // It gives nothing that the role does not have.
        assert_eq!(service.refused(&session, "DisableKey", json!({ "KeyId": one.id })).0, DENIED);
        let xml = sts_ok(
            &service,
            &alice,
            "AssumeRole",
            &[("RoleArn", &app), ("RoleSessionName", "x1"), ("Policy", &narrow)],
        );
        let size: u32 = xml.get("PackedPolicySize").parse().unwrap();
        assert!((1..=10).contains(&size), "{size}");

        // By ARN, and what the policy says then counts now.
        service.shared_policy(
            &account,
            "Encrypting",
            json!([{
                "Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"
            }]),
        );
        let arn = "arn:aws:iam::111122223333:policy/Encrypting";
        let session = assume(&service, &alice, &app, "x1", &[("PolicyArns.member.1.arn", arn)]);
        assert_eq!((may(&session, &one), may(&session, &two), describes(&session)), (true, true, false));
        let both = assume(
            &service,
            &alice,
            &app,
            "x1",
            &[
                ("PolicyArns.member.1.arn", arn),
                (
                    "Policy",
                    &policy(json!([{
                        "Effect": "Deny", "Action": "kms:Encrypt", "Resource": two.arn
                    }])),
                ),
            ],
        );
        assert_eq!((may(&both, &one), may(&both, &two)), (true, false));
        let row = service.kms.store.policy(&account, &"Encrypting".parse().unwrap()).unwrap();
        let mut record = row.record.clone();
        record.document = policy(json!([{ "Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*" }]));
        service.commit(|change| change.update(&row, record));
        assert_eq!((may(&session, &one), describes(&session)), (false, true));
        // Without a policy that might deny, the session is nobody's.
        let row = service.kms.store.policy(&account, &"Encrypting".parse().unwrap()).unwrap();
        service.commit(|change| change.delete(&row));
        assert_eq!(encrypt(&service, &session, &one), "UnrecognizedClientException");
        service.close();
    });
}

/// One that is made later under the name of a session's policy is not what was given with the session.
#[test]
fn another_policy_of_the_same_name_is_not_the_session_s() {
    in_own_process("roles::another_policy_of_the_same_name_is_not_the_session_s", |dir| {
        let clock = MovedClock::at(START);
        let service = Served::start(dir, clock.clone());
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let app = role(&service, &account, "App", trusts(&alice.arn), all_of_kms());
        let key = service.new_key(service.root(), json!({}));
        let statement = |effect: &str| json!([{ "Effect": effect, "Action": "kms:Encrypt", "Resource": "*" }]);
        service.shared_policy(&account, "Given", statement("Deny"));
        let arn = [("PolicyArns.member.1.arn", "arn:aws:iam::111122223333:policy/Given")];
        let session = assume(&service, &alice, &app, "x1", &arn);
        assert_eq!(encrypt(&service, &session, &key), DENIED);

        clock.pass(Duration::from_millis(1));
        let row = service.kms.store.policy(&account, &"Given".parse().unwrap()).unwrap();
        service.commit(|change| change.delete(&row));
        service.shared_policy(&account, "Given", statement("Allow"));
        assert_eq!(encrypt(&service, &session, &key), "UnrecognizedClientException");
        assert_eq!(encrypt(&service, &assume(&service, &alice, &app, "x1", &arn), &key), "");
        service.close();
    });
}
