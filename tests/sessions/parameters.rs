//! The parameters of AssumeRole: their bounds, and what STS says of those that break them.

use super::*;

#[test]
fn parameters_keep_their_bounds() {
    in_own_process("parameters::parameters_keep_their_bounds", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let app = role(
            &service,
            &account,
            "App",
            trusts("*"),
            json!([{
                "Effect": "Allow", "Action": "sts:*", "Resource": "*"
            }]),
        );
        durations(&service, &alice, &app);
        let refused = |more: &[(&str, &str)], code: &str, message: &str| {
            not_assumed(&service, &alice, &app, more, (if code == "AccessDenied" { 403 } else { 400 }, code, message));
        };
        let constraint = |name: &str, rule: &str| {
            format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must {rule}")
        };
        let invalid = |what: &str, rule: &str| {
            format!("1 validation error detected: Value {what} failed to satisfy constraint: Member must {rule}")
        };

        // Session policies.
        let long = format!("{}{}", policy(json!([])), " ".repeat(2_048));
        refused(
            &[("Policy", &long)],
            "ValidationError",
            &constraint("policy", "have length less than or equal to 2048"),
        );
        let arns: Vec<_> = (1..=11).map(|number| (format!("PolicyArns.member.{number}.arn"), app.as_str())).collect();
        let arns: Vec<_> = arns.iter().map(|(name, arn)| (name.as_str(), *arn)).collect();
        refused(&arns, "ValidationError", &constraint("policyArns", "have length less than or equal to 10"));
        let absent = "arn:aws:iam::111122223333:policy/Absent";
        let message = format!("Policy {absent} does not exist or is not attachable.");
        refused(&[("PolicyArns.member.1.arn", absent)], "InvalidParameterValue", &message);
        for malformed in
            ["{", "{}", r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}"#]
        {
            let answer = sts(
                &service,
                &alice,
                "AssumeRole",
                &[("RoleArn", &app), ("RoleSessionName", "x1"), ("Policy", malformed)],
            );
            let xml = Xml(String::from_utf8(answer.body).unwrap());
            assert_eq!((answer.status, xml.get("Code").as_str()), (400, "MalformedPolicyDocument"), "{malformed}");
        }

        // Names.
        let named = |name: &str| sts(&service, &alice, "AssumeRole", &[("RoleArn", &app), ("RoleSessionName", name)]);
        for good in ["ab", &"x".repeat(64), "a=,.@-b"] {
            assert_eq!(named(good).status, 200, "{good}");
        }
        let pattern = r"satisfy regular expression pattern: [\w+=,.@-]*";
        for (bad, rule) in [
            ("a", "have length greater than or equal to 2"),
            (&"x".repeat(65), "have length less than or equal to 64"),
            ("a b", pattern),
            ("a/b", pattern),
            ("ä<b>&c", pattern),
        ] {
            let message = invalid(&format!("'{bad}' at 'roleSessionName'"), rule);
            let parameters = [("RoleArn", app.as_str()), ("RoleSessionName", bad)];
            sts_refused(&service, &alice, "AssumeRole", &parameters, (400, "ValidationError", &message));
        }
        let message = "2 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must \
                       not be null; Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null";
        sts_refused(&service, &alice, "AssumeRole", &[], (400, "ValidationError", message));
        for bad in ["abcdefghijklmnopqrstuvwxyz", "arn:aws:iam::1:role/x-------"] {
            let parameters = [("RoleArn", bad), ("RoleSessionName", "x1")];
            let message = format!("{bad} is invalid");
            sts_refused(&service, &alice, "AssumeRole", &parameters, (400, "ValidationError", &message));
        }

        // What does not exist here is not passed over.
        let message = "MultiFactorAuthentication failed, unable to validate MFA code. There are no MFA devices here.";
        refused(&[("SerialNumber", "GAHT12345678"), ("TokenCode", "123456")], "AccessDenied", message);
        refused(&[("TokenCode", "123456")], "AccessDenied", message);
        let context = [("ProvidedContexts.member.1.ProviderArn", "arn:aws:iam::aws:contextProvider/x")];
        refused(&context, "InvalidParameterValue", "ProvidedContexts are not supported.");
        refused(&[("SourceIdentity", "AWS.x")], "AccessDenied", &untrusted(&alice, "SetSourceIdentity", &app));

        // Forms that two readers could take differently.
        for bad in
            [("Tags.member.2.Key", "x"), ("PolicyArns.1.arn", absent), ("RoleArn", "x"), ("DurationSeconds", "1h")]
        {
            refused(&[bad], "MalformedInput", "Could not parse the request body.");
        }

        // A token that headers have no room for.
        let tags: Vec<_> = (1..=50)
            .flat_map(|number| {
                [
                    (format!("Tags.member.{number}.Key"), format!("key{number}-{}", "k".repeat(100))),
                    (format!("Tags.member.{number}.Value"), "v".repeat(256)),
                ]
            })
            .collect();
        let tags: Vec<_> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        change_role(&service, &app, |role| {
            let trust = json!([{ "Effect": "Allow", "Principal": "*", "Action": "sts:*" }]);
            role.role.as_mut().unwrap().trust_policy = policy(trust);
        });
        refused(&tags, "PackedPolicyTooLarge", "Packed size of session tags consumes 303% of allotted space.");
        let parameters = [("MinimumSessionTokenSize", "4096"), ("RoleArn", &app), ("RoleSessionName", "x1")];
        let xml = sts_ok(&service, &alice, "AssumeRole", &parameters);
        let len = xml.get("SessionToken").len();
        assert!(len >= 4096 && xml.get("SessionTokenSize") == len.to_string(), "{len}");
        service.close();
    });
}

fn durations(service: &Served, alice: &Person, app: &str) {
    let expiration = |person: &Person, more: &[(&str, &str)]| {
        let parameters = [&[("RoleArn", app), ("RoleSessionName", "x1")], more].concat();
        sts_ok(service, person, "AssumeRole", &parameters).get("Expiration")
    };
    assert_eq!(expiration(alice, &[]), "2026-11-22T01:00:00Z");
    assert_eq!(expiration(alice, &[("DurationSeconds", "900")]), "2026-11-22T00:15:00Z");
    assert_eq!(expiration(alice, &[("DurationSeconds", "7200")]), "2026-11-22T02:00:00Z");
    let longer = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    let wrong = |seconds: &str, rule: &str| {
        let message = format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member \
             must have value {rule}"
        );
        not_assumed(service, alice, app, &[("DurationSeconds", seconds)], (400, "ValidationError", &message));
    };
    not_assumed(service, alice, app, &[("DurationSeconds", "7201")], (400, "ValidationError", longer));
    wrong("899", "greater than or equal to 900");
    wrong("43201", "less than or equal to 43200");
    wrong("-1", "greater than or equal to 900");
    // In a chain, an hour at most.
    let chained = assume(service, alice, app, "x1", &[]);
    assert_eq!(expiration(&chained, &[("DurationSeconds", "3600")]), "2026-11-22T01:00:00Z");
    let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
    not_assumed(service, &chained, app, &[("DurationSeconds", "3601")], (400, "ValidationError", message));
}
