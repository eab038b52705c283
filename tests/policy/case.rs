//! A decision as a document: what is asked, what is written about it.
//!
//! `request` has `principal` (an ARN), `role` (of a session), `user_id`, `tags`, `action`, `resource`, `owner` and
//! `conditions` (a list is the value of a key that can have several); then `resource_policy` or `trust_policy`,
//! `identity_policies`, `boundary`, `session_policies` and `grants` (`id`, `grantee`). A policy is an object or, to
//! have its text as it is, a string. `decision` is what [`Decision`] prints, or `Malformed`.

use std::collections::BTreeMap;

use hsm_kms::auth::policy::{
    Evidence, Grantee, Kind, Malformed, Policy, Request, Subject, Value as ConditionValue, Who, decide as decide_on,
};
use hsm_kms::model::AccountId;
use serde_json::Value;

pub const OWNER: &str = "111122223333";
pub const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// What the service decides.
pub fn decide(case: &Value) -> String {
    match Policies::read(case) {
        Ok(policies) => policies.decide(case),
        Err(_) => "Malformed".into(),
    }
}

struct Policies {
    resource: Option<Policy>,
    identity: Vec<Policy>,
    boundary: Option<Policy>,
    session: Vec<Policy>,
}

impl Policies {
    fn read(case: &Value) -> Result<Self, Malformed> {
        let one = |name: &str, kind| case.get(name).map(|policy| parse(policy, kind)).transpose();
        let all = |name: &str, kind| {
            case.get(name).into_iter().flat_map(array).map(|policy| parse(policy, kind)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Policies {
            resource: one("resource_policy", Kind::KeyPolicy)?.or(one("trust_policy", Kind::TrustPolicy)?),
            identity: all("identity_policies", Kind::IdentityPolicy)?,
            boundary: one("boundary", Kind::Boundary)?,
            session: all("session_policies", Kind::SessionPolicy)?,
        })
    }

    fn decide(&self, case: &Value) -> String {
        let request = &case["request"];
        let arn = text(&request["principal"]);
        let account = account(arn);
        let owner: AccountId = request["owner"].as_str().unwrap_or(OWNER).parse().unwrap();
        let tags = strings(&request["tags"]);
        let role = request["role"].as_str();
        let who = match role {
            Some(role_arn) => Who::Session { role_arn },
            None if arn.ends_with(":root") => Who::Root,
            None => Who::User { name: arn.rsplit('/').next().unwrap() },
        };
        let user_id = request["user_id"].as_str().unwrap_or("AIDACKCEVSQ6C2EXAMPLE");
        let conditions = conditions(&request["conditions"]);
        let asked = Request {
            subject: Subject { account: &account, arn, user_id, who, tags: &tags },
            action: text(&request["action"]),
            resource: request["resource"].as_str().unwrap_or(KEY),
            owner: &owner,
            conditions: &conditions,
        };
        let root = format!("arn:aws:iam::{account}:root");
        let grants = |to: Grantee| {
            let grantee = match to {
                Grantee::Itself => arn,
                Grantee::Role => role.expect("asked of a session alone"),
                Grantee::Account => &root,
            };
            let mut grants = case.get("grants").into_iter().flat_map(array);
            grants.find(|grant| grant["grantee"] == grantee).map(|grant| text(&grant["id"]))
        };
        let (identity, session) = (self.identity.iter().collect::<Vec<_>>(), self.session.iter().collect::<Vec<_>>());
        let evidence = Evidence {
            resource_policy: self.resource.as_ref(),
            identity_policies: &identity,
            boundary: self.boundary.as_ref(),
            session_policies: &session,
            grants: &grants,
        };
        format!("{:?}", decide_on(&asked, &evidence))
    }
}

fn parse(policy: &Value, kind: Kind) -> Result<Policy, Malformed> {
    match policy {
        Value::String(text) => Policy::parse(text, kind),
        policy => Policy::parse(&policy.to_string(), kind),
    }
}

fn conditions<'a>(values: &'a Value) -> BTreeMap<String, ConditionValue<'a>> {
    let value = |value: &'a Value| match value {
        Value::Array(texts) => ConditionValue::Many(texts.iter().map(|one| text(one).into()).collect()),
        one => ConditionValue::One(text(one).into()),
    };
    values.as_object().into_iter().flatten().map(|(key, one)| (key.to_lowercase(), value(one))).collect()
}

fn account(arn: &str) -> AccountId {
    arn.split(':').nth(4).expect("an ARN").parse().expect("an account")
}

fn strings(object: &Value) -> BTreeMap<String, String> {
    object.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}
