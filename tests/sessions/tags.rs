//! Session tags and source identities: who may set them, what they decide, and how far they go.

use super::*;

#[test]
fn session_tags_decide_and_go_through_a_chain() {
    in_own_process("tags::session_tags_decide_and_go_through_a_chain", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let by_tag = json!([
            { "Effect": "Allow", "Action": "sts:*", "Resource": "*" },
            { "Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*",
              "Condition": { "StringEquals": { "aws:ResourceTag/project": "${aws:PrincipalTag/project}" } } },
        ]);
        let open = json!([{ "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "sts:*" }]);
        service.give(&alice, "own", json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }]));
        let first = role(&service, &account, "First", open.clone(), by_tag.clone());
        let second = role(&service, &account, "Second", open, by_tag);
        let key = |project: &str| {
            service.new_key(service.root(), json!({ "Tags": [{ "TagKey": "project", "TagValue": project }] }))
        };
        let keys = [key("red"), key("blue")];
        let may = |person: &Person| keys.each_ref().map(|key| encrypt(&service, person, key).is_empty());

        assert_eq!(may(&assume(&service, &alice, &first, "x1", &[])), [false, false]);
        let red = [("Tags.member.1.Key", "Project"), ("Tags.member.1.Value", "red")];
        assert_eq!(may(&assume(&service, &alice, &first, "x1", &red)), [true, false]);
        // The session's tag stands before the role's, whatever the case.
        change_role(&service, &first, |role| drop(role.tags.insert("project".into(), "blue".into())));
        assert_eq!(may(&assume(&service, &alice, &first, "x1", &[])), [false, true]);
        assert_eq!(may(&assume(&service, &alice, &first, "x1", &red)), [true, false]);

        // What is not transitive ends with its session.
        let session = assume(&service, &alice, &first, "x1", &red);
        assert_eq!(may(&assume(&service, &session, &second, "x2", &[])), [false, false]);
        let transitive = [&red[..], &[("TransitiveTagKeys.member.1", "PROJECT")]].concat();
        let session = assume(&service, &alice, &first, "x1", &transitive);
        let chained = assume(&service, &session, &second, "x2", &[]);
        let twice = assume(&service, &chained, &first, "x3", &[]);
        assert_eq!([may(&session), may(&chained), may(&twice)], [[true, false]; 3]);
        let blue = [("Tags.member.1.Key", "PROJECT"), ("Tags.member.1.Value", "blue")];
        let conflict = "One of the specified transitive tag keys can't be set because it conflicts with a transitive \
                        tag key from the calling session.";
        not_assumed(&service, &chained, &first, &blue, (400, "InvalidParameterValue", conflict));

        let refused = |more: &[(&str, &str)], message: &str| {
            not_assumed(&service, &alice, &first, more, (400, "InvalidParameterValue", message));
        };
        let twice = [
            ("Tags.member.1.Key", "a"),
            ("Tags.member.1.Value", ""),
            ("Tags.member.2.Key", "A"),
            ("Tags.member.2.Value", ""),
        ];
        refused(&twice, "Duplicate tag keys found. Please note that Tag keys are case insensitive.");
        refused(
            &[("TransitiveTagKeys.member.1", "a")],
            "The specified transitive tag key must be included in the requested tags.",
        );
        refused(
            &[("Tags.member.1.Key", "Aws:a"), ("Tags.member.1.Value", "")],
            "Tags beginning with aws: are reserved.",
        );
        service.close();
    });
}

#[test]
fn tags_and_source_identities_need_a_permission_of_their_own() {
    in_own_process("tags::tags_and_source_identities_need_a_permission_of_their_own", |dir| {
        let service = start(dir);
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let own = json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }]);
        let trust = |actions: Value, condition: Value| json!([{ "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": actions, "Condition": condition }]);
        service.give(&alice, "own", own.clone());
        let plain = role(&service, &account, "Plain", trust(json!("sts:AssumeRole"), json!({})), own.clone());
        let open = role(&service, &account, "Open", trust(json!("sts:*"), json!({})), own.clone());
        let tags = [("Tags.member.1.Key", "Team"), ("Tags.member.1.Value", "x")];
        let transitive = [&tags[..], &[("TransitiveTagKeys.member.1", "Team")]].concat();
        let denied = |person: &Person, more: &[(&str, &str)], action: &str| {
            not_assumed(&service, person, &plain, more, (403, "AccessDenied", &untrusted(person, action, &plain)));
        };
        denied(&alice, &tags, "TagSession");
        denied(&alice, &[("SourceIdentity", "alice")], "SetSourceIdentity");
        // Handed on, they need it too.
        denied(&assume(&service, &alice, &open, "x1", &transitive), &[], "TagSession");
        let known = assume(&service, &alice, &open, "x1", &[("SourceIdentity", "alice")]);
        denied(&known, &[], "SetSourceIdentity");
        assume(&service, &assume(&service, &alice, &open, "x1", &tags), &plain, "x2", &[]);

        // Once set, an identity stays.
        let xml = sts_ok(&service, &known, "AssumeRole", &[("RoleArn", &open), ("RoleSessionName", "x2")]);
        assert_eq!(xml.get("SourceIdentity"), "alice");
        let message = "The source identity is already set for this assume role session";
        not_assumed(&service, &known, &open, &[("SourceIdentity", "bob")], (400, "ValidationError", message));
        assume(&service, &known, &open, "x2", &[("SourceIdentity", "alice")]);
        let allowed = json!([{
            "Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*",
            "Condition": { "StringEquals": { "aws:SourceIdentity": "alice" } },
        }]);
        change_role(&service, &open, |role| drop(role.inline_policies.insert("kms".parse().unwrap(), policy(allowed))));
        service.new_key(&known, json!({}));
        let event = service.events().into_values().find(|event| event["eventName"] == "CreateKey").unwrap();
        assert_eq!(event["userIdentity"]["sessionContext"]["sourceIdentity"], "alice");
        let nobody = assume(&service, &alice, &open, "x1", &[]);
        assert_eq!(service.refused(&nobody, "CreateKey", json!({})).0, DENIED);

        // What a trust policy can ask of them.
        for (number, (condition, more, may)) in [
            (json!({ "StringEquals": { "aws:RequestTag/team": "x" } }), &tags[..], true),
            (json!({ "StringEquals": { "aws:RequestTag/team": "y" } }), &tags[..], false),
            (json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["Team"] } }), &tags[..], true),
            (json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["Cost"] } }), &tags[..], false),
            (json!({ "ForAnyValue:StringEquals": { "sts:TransitiveTagKeys": "Team" } }), &transitive[..], true),
            (json!({ "ForAnyValue:StringEquals": { "sts:TransitiveTagKeys": "Team" } }), &tags[..], false),
            (json!({ "StringLike": { "sts:SourceIdentity": "a*" } }), &[("SourceIdentity", "alice")][..], true),
            (json!({ "StringLike": { "sts:SourceIdentity": "b*" } }), &[("SourceIdentity", "alice")][..], false),
            (json!({ "StringLike": { "sts:SourceIdentity": "*" } }), &[][..], false),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("Asking{number}");
            let asking = role(&service, &account, &name, trust(json!("sts:*"), condition.clone()), json!([]));
            let parameters = [&[("RoleArn", asking.as_str()), ("RoleSessionName", "x1")], more].concat();
            let status = sts(&service, &alice, "AssumeRole", &parameters).status;
            assert_eq!(status, if may { 200 } else { 403 }, "{condition} {more:?}");
        }
        service.close();
    });
}
