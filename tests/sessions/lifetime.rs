//! How sessions end, and what never was one.

use super::*;

#[test]
fn a_session_ends_and_no_clock_revives_it() {
    in_own_process("lifetime::a_session_ends_and_no_clock_revives_it", |dir| {
        let service = start(dir);
        let (alice, app, key) = people(&service);
        let session = assume(&service, &alice, &app, "x1", &[("DurationSeconds", "900")]);
        let other = assume(&service, &alice, &app, "x2", &[]);
        assert_eq!(encrypt(&service, &session, &key), "");
        service.clock.pass(std::time::Duration::from_millis(899_999));
        assert_eq!(encrypt(&service, &session, &key), "");
        service.clock.pass(std::time::Duration::from_millis(1));
        let expired = |session: &Person| {
            let answer = service.send(session, "ListKeys", &json!({}));
            assert_eq!(
                (answer.status, answer.error(), answer.message()),
                (400, "ExpiredTokenException".into(), EXPIRED.into())
            );
            sts_refused(&service, session, "GetCallerIdentity", &[], (403, "ExpiredToken", EXPIRED));
            not_assumed(&service, session, &app, &[], (403, "ExpiredToken", EXPIRED));
        };
        expired(&session);
        assert_eq!(encrypt(&service, &other, &key), "");
        // Somebody sets the clock back: what is over stays over.
        service.clock.jump(-800_000);
        expired(&session);
        assert_eq!(encrypt(&service, &other, &key), "");
        let later = assume(&service, &alice, &app, "x3", &[]);
        assert_eq!(encrypt(&service, &later, &key), "");
        service.close();
    });
}

#[test]
fn a_session_ends_with_its_role_its_account_or_a_revocation() {
    in_own_process("lifetime::a_session_ends_with_its_role_its_account_or_a_revocation", |dir| {
        let service = start(dir);
        let (alice, app, key) = people(&service);
        let invalid = |session: &Person| {
            let answer = service.send(session, "ListKeys", &json!({}));
            let told = (answer.status, answer.error(), answer.message());
            assert_eq!(told, (400, "UnrecognizedClientException".into(), INVALID.into()));
            sts_refused(&service, session, "GetCallerIdentity", &[], (403, "InvalidClientTokenId", INVALID));
        };

        // What the role may do is what the store says now.
        let session = assume(&service, &alice, &app, "x1", &[]);
        assert_eq!(encrypt(&service, &session, &key), "");
        change_role(&service, &app, |role| role.inline_policies.clear());
        assert_eq!(encrypt(&service, &session, &key), DENIED);
        change_role(&service, &app, |role| {
            drop(role.inline_policies.insert("a".parse().unwrap(), policy(all_of_kms())))
        });
        assert_eq!(encrypt(&service, &session, &key), "");

        // Revoked: those of that time, and none that comes later.
        let now = service.kms.now();
        change_role(&service, &app, |role| role.sessions_revoked_before = Some(now));
        invalid(&session);
        let at_once = assume(&service, &alice, &app, "x1", &[]);
        invalid(&at_once);
        service.clock.pass(std::time::Duration::from_millis(1));
        let session = assume(&service, &alice, &app, "x1", &[]);
        assert_eq!(encrypt(&service, &session, &key), "");

        // Deleted, and another one of the same name.
        delete_role(&service, &app);
        invalid(&session);
        let again = role(&service, &alice.account, "App", trusts(&alice.arn), all_of_kms());
        assert_eq!(again, app);
        invalid(&session);
        let session = assume(&service, &alice, &app, "x1", &[]);
        assert_eq!(encrypt(&service, &session, &key), "");

        // An account that is no more.
        let other = service.account("444455556666");
        let xml = sts_ok(&service, &other, "GetSessionToken", &[]);
        let root = holder(&other.account, &xml, other.arn.clone(), other.unique_id.clone());
        assert_eq!(service.send(&root, "ListKeys", &json!({})).status, 200);
        let row = service.kms.store.account(&other.account).unwrap();
        service.commit(|change| change.delete(&row));
        invalid(&root);
        service.close();
    });
}

#[test]
fn only_the_right_pair_of_key_and_token_is_let_in() {
    in_own_process("lifetime::only_the_right_pair_of_key_and_token_is_let_in", |dir| {
        let service = start(dir);
        let (alice, app, key) = people(&service);
        let one = assume(&service, &alice, &app, "x1", &[]);
        let two = assume(&service, &alice, &app, "x2", &[]);
        let with = |id: &Person, secret: &Person, token: Option<String>| {
            let (id, secret) = (id.credentials.access_key_id(), secret.credentials.secret_access_key());
            Person { credentials: Credentials::new(id, secret, token, None, "test"), ..one.clone() }
        };
        let token = |person: &Person| person.credentials.session_token().map(str::to_owned);
        let spoilt = |spoil: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = token(&one).unwrap().into_bytes();
            spoil(&mut bytes);
            Some(String::from_utf8(bytes).unwrap())
        };
        assert_eq!(encrypt(&service, &with(&one, &one, token(&one)), &key), "");
        for (name, person) in [
            ("no token", with(&one, &one, None)),
            ("another one's token", with(&one, &one, token(&two))),
            ("another one's token and secret", with(&one, &two, token(&two))),
            ("a long-term key with a token", with(&alice, &alice, token(&one))),
            ("a long-term key with nonsense", with(&alice, &alice, Some("token".into()))),
            ("nonsense", with(&one, &one, Some("token".into()))),
            ("cut", with(&one, &one, spoilt(&|bytes| bytes.truncate(40)))),
            ("longer", with(&one, &one, spoilt(&|bytes| bytes.extend(b"AAAA")))),
            ("a bit flipped", with(&one, &one, spoilt(&|bytes| bytes[100] ^= 1))),
            ("another version", with(&one, &one, spoilt(&|bytes| bytes[1] = b'g'))),
            ("long", with(&one, &one, Some("A".repeat(8192)))),
            ("too long", with(&one, &one, Some("A".repeat(8196)))),
        ] {
            assert_eq!(encrypt(&service, &person, &key), "UnrecognizedClientException", "{name}");
            sts_refused(&service, &person, "GetCallerIdentity", &[], (403, "InvalidClientTokenId", INVALID));
        }
        // The pair is right, the secret is not.
        let answer = service.send(&with(&one, &two, token(&one)), "ListKeys", &json!({}));
        assert_eq!(answer.error(), "InvalidSignatureException");

        // Tokens are good after a restart, and nowhere else, though it be the same token, account and names.
        service.close();
        let clock = MovedClock::at(START);
        let service = Served::open(in_process::settings(dir), clock.clone());
        assert_eq!(encrypt(&service, &one, &key), "");
        service.close();
        let elsewhere = dir.join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let service = Served::open(in_process::settings(&elsewhere), clock);
        people(&service);
        assert_eq!(service.send(&one, "ListKeys", &json!({})).error(), "UnrecognizedClientException");
        service.close();
    });
}

/// A user, a role that trusts him and may do everything, and a key.
fn people(service: &Served) -> (Person, String, Key) {
    let account = service.root().account.clone();
    let alice = service.user(&account, "alice");
    let app = role(service, &account, "App", trusts(&alice.arn), all_of_kms());
    let key = service.new_key(service.root(), json!({}));
    (alice, app, key)
}
