//! GetSessionToken: users and root users with temporary credentials of their own.

use super::*;

#[test]
fn users_get_sessions_of_their_own() {
    in_own_process("user_sessions::users_get_sessions_of_their_own", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let alice = service.user_who_may(
            "alice",
            json!([
                { "Effect": "Allow", "Action": ["kms:CreateKey", "kms:Encrypt", "sts:*"], "Resource": "*" }
            ]),
        );
        let get = |person: &Person, more: &[(&str, &str)]| {
            let xml = sts_ok(&service, person, "GetSessionToken", more);
            (holder(&person.account, &xml, person.arn.clone(), person.unique_id.clone()), xml.get("Expiration"))
        };
        let (session, expiration) = get(&alice, &[]);
        assert_eq!(expiration, "2026-11-22T12:00:00Z");
        assert_eq!(get(&alice, &[("DurationSeconds", "129600")]).1, "2026-11-23T12:00:00Z");
        assert_eq!(get(&alice, &[("DurationSeconds", "900")]).1, "2026-11-22T00:15:00Z");
        for (seconds, rule) in [("899", "greater than or equal to 900"), ("129601", "less than or equal to 129600")] {
            let message = format!(
                "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
                 Member must have value {rule}"
            );
            let parameters = [("DurationSeconds", seconds)];
            sts_refused(&service, &alice, "GetSessionToken", &parameters, (400, "ValidationError", &message));
        }
        let who = sts_ok(&service, &session, "GetCallerIdentity", &[]);
        assert_eq!((who.get("Arn"), who.get("UserId")), (alice.arn.clone(), alice.unique_id.clone()));
        let key = service.new_key(&session, json!({}));
        assert_eq!(encrypt(&service, &session, &key), "");
        assert_eq!(service.refused(&session, "DisableKey", json!({ "KeyId": key.id })).0, DENIED);
        let event = service.events().into_values().find(|event| event["eventName"] == "CreateKey").unwrap();
        let identity = &event["userIdentity"];
        assert_eq!((&identity["type"], &identity["userName"]), (&json!("IAMUser"), &json!("alice")));
        assert_eq!(identity["sessionContext"]["attributes"]["creationDate"], "2026-11-22T00:00:00Z");
        let is_issue = |event: &Value| event["eventName"] == "GetSessionToken" && event["errorCode"].is_null();
        let issued = service.events().into_values().find(is_issue).unwrap();
        let credentials = &issued["responseElements"]["credentials"];
        assert!(credentials["accessKeyId"].as_str().unwrap().starts_with("ASIA"), "{issued}");
        let secret = session.credentials.secret_access_key();
        assert!(service.events().values().all(|event| !event.to_string().contains(secret)));

        // Such credentials make no more of their kind, and assume roles for an hour.
        let message = "Cannot call GetSessionToken with session credentials";
        sts_refused(&service, &session, "GetSessionToken", &[], (403, "AccessDenied", message));
        let app = role(&service, &account, "App", trusts(&alice.arn), json!([]));
        let assumed = assume(&service, &session, &app, "x1", &[]);
        sts_refused(&service, &assumed, "GetSessionToken", &[], (403, "AccessDenied", message));
        let message =
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        not_assumed(&service, &session, &app, &[("DurationSeconds", "7200")], (400, "ValidationError", message));
        let message = "MultiFactorAuthentication failed, unable to validate MFA code. There are no MFA devices here.";
        let parameters = [("SerialNumber", "GAHT12345678"), ("TokenCode", "123456")];
        sts_refused(&service, &alice, "GetSessionToken", &parameters, (403, "AccessDenied", message));

        // Nobody needs a permission for it, and a Deny counts.
        let bob = service.user(&account, "bob");
        get(&bob, &[]);
        service.give(&bob, "deny", json!([{ "Effect": "Deny", "Action": "sts:GetSessionToken", "Resource": "*" }]));
        let message = format!(
            "User: {} is not authorized to perform: sts:GetSessionToken on resource: * with an explicit deny in an \
             identity-based policy",
            bob.arn
        );
        sts_refused(&service, &bob, "GetSessionToken", &[], (403, "AccessDenied", &message));

        // A session outlives the access key that it was got with, and not its user.
        let id = alice.credentials.access_key_id();
        let row = service.kms.store.access_key(id).unwrap();
        let mut record = row.record.clone();
        record.active = false;
        service.commit(|change| change.update(&row, record));
        assert_eq!(encrypt(&service, &alice, &key), "UnrecognizedClientException");
        assert_eq!(encrypt(&service, &session, &key), "");
        service.delete(&alice);
        assert_eq!(encrypt(&service, &session, &key), "UnrecognizedClientException");
        assert_eq!(encrypt(&service, &assumed, &key), DENIED, "the role's session is not the user's");

        // The root user's last an hour at most.
        let (root, expiration) = get(service.root(), &[("DurationSeconds", "129600")]);
        assert_eq!(expiration, "2026-11-22T01:00:00Z");
        assert_eq!(encrypt(&service, &root, &key), "");
        let who = sts_ok(&service, &root, "GetCallerIdentity", &[]);
        assert_eq!((who.get("Arn"), who.get("UserId")), (service.root().arn.clone(), "111122223333".into()));
        let message = "Roles may not be assumed by root accounts.";
        not_assumed(&service, &root, &app, &[], (403, "AccessDenied", message));
        service.clock.pass(HOUR);
        assert_eq!(encrypt(&service, &root, &key), "ExpiredTokenException");
        service.close();
    });
}
