//! One decision: a key policy of five statements and two identity policies, all compiled before.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hsm_kms::auth::policy::{By, Decision, Evidence, Kind, Policy, Request, Subject, Value, Who, decide};
use hsm_kms::model::AccountId;

fn decisions(criterion: &mut Criterion) {
    let key_policy = Policy::parse(KEY_POLICY, Kind::KeyPolicy).expect("well-formed");
    let own = [USE_KEYS, READ_ALL].map(|text| Policy::parse(text, Kind::IdentityPolicy).expect("well-formed"));
    let own = [&own[0], &own[1]];
    let (account, tags) = (account(), BTreeMap::from([("team".to_owned(), "payments".to_owned())]));
    let conditions = BTreeMap::from([
        ("aws:sourceip".to_owned(), Value::One("203.0.113.9".into())),
        ("aws:securetransport".to_owned(), Value::One("true".into())),
        ("kms:encryptioncontext:app".to_owned(), Value::One("ledger".into())),
        ("aws:resourcetag/team".to_owned(), Value::One("payments".into())),
    ]);
    let evidence = Evidence {
        resource_policy: Some(&key_policy),
        identity_policies: &own,
        boundary: None,
        session_policies: &[],
        grants: &|_| None,
    };
    let user = |arn, name| Request {
        subject: Subject {
            account: &account,
            arn,
            user_id: "AIDACKCEVSQ6C2EXAMPLE",
            who: Who::User { name },
            tags: &tags,
        },
        action: "kms:Decrypt",
        resource: KEY,
        owner: &account,
        conditions: &conditions,
    };
    let named = user("arn:aws:iam::111122223333:user/bob", "bob");
    assert_eq!(decide(&named, &evidence), Decision::Allowed(By::ResourcePolicy));
    criterion.bench_function("a user whom the key policy names", |b| b.iter(|| decide(black_box(&named), &evidence)));
    let delegated = user("arn:aws:iam::111122223333:user/carol", "carol");
    assert_eq!(decide(&delegated, &evidence), Decision::Allowed(By::IdentityPolicy));
    criterion.bench_function("a user by its identity policy", |b| b.iter(|| decide(black_box(&delegated), &evidence)));
    criterion.bench_function("compile the key policy", |b| {
        b.iter(|| Policy::parse(black_box(KEY_POLICY), Kind::KeyPolicy).expect("well-formed"))
    });
}

fn account() -> AccountId {
    "111122223333".parse().expect("twelve digits")
}

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The key policy of the console with its three statements for administrators and users, a delegation and a denial.
const KEY_POLICY: &str = r#"{"Version": "2012-10-17", "Id": "key-consolepolicy-3", "Statement": [
  {"Sid": "Enable IAM User Permissions", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
   "Action": "kms:*", "Resource": "*"},
  {"Sid": "Allow access for Key Administrators", "Effect": "Allow",
   "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
   "Action": ["kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*",
              "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource", "kms:UntagResource",
              "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"], "Resource": "*"},
  {"Sid": "Allow use of the key", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/bob"},
   "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
   "Resource": "*", "Condition": {"StringEquals": {"kms:EncryptionContext:app": "ledger"}}},
  {"Sid": "Allow attachment of persistent resources", "Effect": "Allow",
   "Principal": {"AWS": "arn:aws:iam::111122223333:user/bob"},
   "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], "Resource": "*",
   "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}},
  {"Sid": "Only by TLS", "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
   "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}"#;

const USE_KEYS: &str = r#"{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"],
   "Resource": "arn:aws:kms:*:111122223333:key/*",
   "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}},
  {"Effect": "Deny", "Action": "kms:*", "Resource": "*",
   "Condition": {"NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]}}}]}"#;

const READ_ALL: &str = r#"{"Version": "2012-10-17", "Statement":
  {"Effect": "Allow", "Action": ["kms:List*", "kms:Describe*", "kms:Get*"], "Resource": "*"}}"#;

criterion_group!(benches, decisions);
criterion_main!(benches);
