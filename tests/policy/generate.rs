//! Random cases over alphabets so small that things match often.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Map, Value, json};

use super::case::KEY;

/// Draws cases; what fails is printed whole, so that no seed need be kept.
pub struct Generator(u64);

impl Generator {
    pub fn random() -> Self {
        Generator(RandomState::new().build_hasher().finish() | 1)
    }

    /// A request, and everything that can be written about one.
    pub fn case(&mut self) -> Value {
        let (principal, role) = *self.pick(PRINCIPALS);
        let mut case = json!({ "request": self.request(principal, role) });
        if self.often(85) {
            case["resource_policy"] = self.policy(true, 80);
        }
        if !principal.ends_with(":root") {
            case["identity_policies"] = self.policies(2, 85);
            if self.often(30) {
                case["boundary"] = self.policy(false, 90);
            }
        }
        if role.is_some() && self.often(40) {
            case["session_policies"] = self.policies(2, 90);
        }
        if self.often(25) {
            case["grants"] =
                json!([{"id": "g1", "grantee": self.pick(GRANTEES)}, {"id": "g2", "grantee": self.pick(GRANTEES)}]);
        }
        case
    }

    /// A request that one identity policy decides on.
    pub fn identity_case(&mut self) -> Value {
        let (principal, role) = self.pick(PRINCIPALS[1..4].as_ref()).to_owned();
        let mut request = self.request(principal, role);
        request["resource"] = json!(self.pick(&RESOURCES[..2]));
        request["owner"] = json!("111122223333");
        json!({ "request": request, "identity_policies": [self.policy(false, 75)] })
    }

    fn request(&mut self, principal: &str, role: Option<&str>) -> Value {
        let mut conditions = Map::new();
        for (key, values, _) in KEYS.iter().filter(|(_, values, _)| !values.is_empty()) {
            if self.often(75) {
                conditions.insert((*key).to_owned(), json!(self.pick(values)));
            }
        }
        match self.below(4) {
            0 => {}
            count => {
                let tags: Vec<_> = (1..count).map(|_| *self.pick(&["alpha", "beta", "Alpha"])).collect();
                conditions.insert("aws:TagKeys".into(), json!(tags));
            }
        }
        let mut request = json!({
            "principal": principal,
            "action": self.pick(&["kms:Decrypt", "kms:Encrypt", "kms:DescribeKey"]),
            "resource": self.pick(RESOURCES),
            "owner": if self.often(93) { "111122223333" } else { "444455556666" },
            "conditions": conditions,
        });
        if let Some(role) = role {
            request["role"] = json!(role);
            request["user_id"] = json!("AROADBQP57FF2AEXAMPLE:s1");
        }
        if self.often(60) {
            request["tags"] = json!({"Team": self.pick(&["alpha", "beta", ""])});
        }
        request
    }

    fn policies(&mut self, most: usize, allows: u64) -> Value {
        (0..self.below(most + 1)).map(|_| self.policy(false, allows)).collect()
    }

    fn policy(&mut self, principals: bool, allows: u64) -> Value {
        let version = if self.often(90) { "2012-10-17" } else { "2008-10-17" };
        let count = 1 + self.below(3);
        let statements: Vec<Value> = (0..count).map(|_| self.statement(principals, allows)).collect();
        let mut policy = json!({ "Statement": statements });
        if version == "2008-10-17" {
            // No variable there, and then no ARN either.
            policy =
                serde_json::from_str(&policy.to_string().replace("\"${aws:PrincipalArn}\"", "\"*\"")).expect("JSON");
        }
        if version != "2008-10-17" || self.often(50) {
            policy["Version"] = json!(version);
        }
        policy
    }

    fn statement(&mut self, principals: bool, allows: u64) -> Value {
        let allow = self.often(allows);
        let mut statement = json!({ "Effect": if allow { "Allow" } else { "Deny" } });
        if principals {
            let name = if !allow && self.often(30) { "NotPrincipal" } else { "Principal" };
            statement[name] = self.principals(if name == "Principal" { 2 } else { 4 });
        }
        let name = if self.often(88) { "Action" } else { "NotAction" };
        // Half of the denials are of one action.
        let actions = if allow || self.often(50) { ACTIONS } else { &ACTIONS[2..] };
        statement[name] = self.some(actions, 2);
        let name = if self.often(88) { "Resource" } else { "NotResource" };
        statement[name] = if self.often(50) { json!("*") } else { self.some(RESOURCE_PATTERNS, 2) };
        if self.often(if allow { 45 } else { 70 }) {
            statement["Condition"] = self.conditions();
        }
        statement
    }

    fn principals(&mut self, most: usize) -> Value {
        if self.often(12) {
            return json!("*");
        }
        match self.below(12) {
            0 => json!({ "AWS": self.some(PRINCIPAL_NAMES, most), "Service": "x.amazonaws.com" }),
            1 => json!({ "Service": "x.amazonaws.com" }),
            _ => json!({ "AWS": self.some(PRINCIPAL_NAMES, most) }),
        }
    }

    fn conditions(&mut self) -> Value {
        let mut operators = Map::new();
        for _ in 0..=self.below(2) {
            let operator = *self.pick(OPERATORS);
            let family = family(operator);
            // Mostly a key of the operator's kind.
            let keys: Vec<_> = KEYS.iter().filter(|(_, _, kinds)| kinds.contains(&family)).collect();
            let key = if self.often(85) && !keys.is_empty() { self.pick(&keys).0 } else { self.pick(KEYS).0 };
            let key = if self.often(20) { key.to_uppercase() } else { key.to_owned() };
            let values = self.some(values(family), 3);
            operators.insert(self.with_affixes(operator), json!({ key: values }));
        }
        Value::Object(operators)
    }

    fn with_affixes(&mut self, operator: &str) -> String {
        if operator == "Null" {
            return operator.to_owned();
        }
        let prefix = *self.pick(&["", "", "", "ForAllValues:", "ForAnyValue:"]);
        let suffix = *self.pick(&["", "", "", "IfExists"]);
        format!("{prefix}{operator}{suffix}")
    }

    /// One text or a list of at most so many.
    fn some(&mut self, texts: &[&str], most: usize) -> Value {
        match self.below(most + 1) {
            0 => json!(self.pick(texts)),
            count => (0..count).map(|_| json!(self.pick(texts))).collect(),
        }
    }

    fn pick<'t, T>(&mut self, among: &'t [T]) -> &'t T {
        &among[self.below(among.len())]
    }

    fn often(&mut self, percent: u64) -> bool {
        self.below(100) < percent as usize
    }

    /// xorshift64*: <https://doi.org/10.18637/jss.v008.i14>
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % bound
    }
}

fn family(operator: &str) -> &'static str {
    ["Ignore", "String", "Numeric", "Date", "Bool", "Binary", "Ip", "Arn", "Null"]
        .into_iter()
        .find(|family| operator.contains(family))
        .expect("every operator has a family")
}

fn values(family: &str) -> &'static [&'static str] {
    match family {
        "Numeric" => &["7", "10", "10.0", "30", "-1", "7.5"],
        "Date" => &["2026-01-01", "2026-06-15T12:00:00Z", "2027", "1781524800", "2026-06-15T14:00:00+02:00"],
        "Bool" | "Null" => &["true", "false", "True"],
        "Binary" => &["QUJD", "qujd", "AAAA"],
        "Ip" => &["203.0.113.0/24", "203.0.113.9", "2001:db8::/32", "0.0.0.0/0", "203.0.113.8/30"],
        "Arn" => &[
            "arn:aws:iam::111122223333:user/alice",
            "arn:aws:iam::*:user/*",
            "arn:aws:iam::111122223333:role/a?p",
            "arn:*:*:*:*:root",
            "*",
            "${aws:PrincipalArn}",
            "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username, 'alice'}",
        ],
        _ => &[
            "alpha",
            "beta",
            "Alpha",
            "a*",
            "*",
            "?lpha",
            "",
            "alice",
            "${aws:username}",
            "${aws:PrincipalTag/team}",
            "${aws:PrincipalTag/Team, 'alpha'}",
            "al${*}",
            "${aws:TagKeys}",
            "*${kms:Alg}",
        ],
    }
}

/// Keys, the values that a request may have for them (none: they follow from the principal), and their families.
const KEYS: &[(&str, &[&str], &[&str])] = &[
    ("aws:username", &[], &["String", "Ignore", "Null"]),
    ("aws:PrincipalTag/Team", &[], &["String", "Ignore", "Null"]),
    ("aws:PrincipalArn", &[], &["Arn", "String"]),
    ("aws:TagKeys", &[], &["String", "Ignore", "Null"]),
    ("kms:Alg", &["alpha", "beta", "ALPHA", "al*", "a\nb"], &["String", "Ignore"]),
    ("kms:EncryptionContext:App", &["alpha", "alice", ""], &["String", "Ignore", "Null"]),
    ("aws:SourceIp", &["203.0.113.9", "198.51.100.1", "2001:db8::9", "here"], &["Ip"]),
    ("aws:CurrentTime", &["2026-06-15T12:00:00Z", "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"], &["Date"]),
    ("kms:Days", &["7", "10", "30", "7.5", "few"], &["Numeric"]),
    ("aws:SecureTransport", &["true", "false"], &["Bool", "Null"]),
    ("x:Binary", &["QUJD", "AAAA"], &["Binary"]),
    (
        "aws:SourceArn",
        &["arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:x:user/alice", "none"],
        &["Arn"],
    ),
];

pub const OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
];

const ROLE: &str = "arn:aws:iam::111122223333:role/app";
const OTHER_ROLE: &str = "arn:aws:iam::444455556666:role/app";

/// The root user first.
const PRINCIPALS: &[(&str, Option<&str>)] = &[
    ("arn:aws:iam::111122223333:root", None),
    ("arn:aws:iam::111122223333:user/alice", None),
    ("arn:aws:iam::111122223333:user/team/bob", None),
    ("arn:aws:sts::111122223333:assumed-role/app/s1", Some(ROLE)),
    ("arn:aws:sts::111122223333:assumed-role/app/s1", Some(ROLE)),
    ("arn:aws:iam::111122223333:user/alice", None),
    ("arn:aws:iam::444455556666:root", None),
    ("arn:aws:iam::444455556666:user/alice", None),
    ("arn:aws:sts::444455556666:assumed-role/app/s1", Some(OTHER_ROLE)),
];

const PRINCIPAL_NAMES: &[&str] = &[
    "*",
    "111122223333",
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:iam::111122223333:user/team/bob",
    ROLE,
    ROLE,
    "arn:aws:sts::111122223333:assumed-role/app/s1",
    "arn:aws:sts::111122223333:assumed-role/app/s2",
    "444455556666",
    "arn:aws:iam::444455556666:user/alice",
    OTHER_ROLE,
];

const GRANTEES: &[&str] = &[
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:iam::111122223333:root",
    "arn:aws:sts::111122223333:assumed-role/app/s1",
    ROLE,
    "arn:aws:iam::444455556666:root",
    "arn:aws:iam::444455556666:user/alice",
    OTHER_ROLE,
];

const ACTIONS: &[&str] = &["kms:*", "*", "kms:Decrypt", "KMS:decrypt", "kms:De*", "kms:?ncrypt", "kms:D*y", "s3:*"];

const RESOURCES: &[&str] =
    &[KEY, "arn:aws:kms:us-east-1:111122223333:key/alice", "arn:aws:kms:us-east-1:111122223333:alias/a:b", "*"];

const RESOURCE_PATTERNS: &[&str] = &[
    KEY,
    "arn:aws:kms:*:*:key/*",
    "arn:aws:kms:*:111122223333:*",
    "arn:aws:kms:us-east-1:444455556666:key/*",
    "arn:aws:kms",
    "arn:aws:s3:::bucket",
    "arn:aws:kms:*:${aws:PrincipalAccount}:key/${aws:username}",
    "arn:aws:kms:us-east-1:*:key/${aws:PrincipalTag/Team, 'alice'}",
    "arn:aws:kms:us-*-?:*:*/a*",
];
