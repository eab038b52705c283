//! What the crate `iam-rs` 0.8.0 decides, and where it is known to differ from AWS.

use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, Principal, PrincipalId, evaluate_policy};
use serde_json::Value;

/// Its decision on a case of one identity policy, in our words.
pub fn decide(case: &Value) -> String {
    let policy = case["identity_policies"][0].to_string();
    let Ok(policy) = IAMPolicy::from_json(&policy) else { return "it cannot read the policy".into() };
    match evaluate_policy(&policy, &request(&case["request"])) {
        Ok(Decision::Allow) => "Allowed(IdentityPolicy)".into(),
        Ok(Decision::Deny) => "Denied(ExplicitDeny(IdentityPolicy))".into(),
        Ok(Decision::NotApplicable) => "Denied(NoAllow(IdentityPolicy))".into(),
        Err(error) => format!("it fails: {error}"),
    }
}

/// Whether it did not decide at all: it has no `ForAllValues:NumericEquals`, no `ForAnyValue:BoolIfExists`, no
/// resource ARN of fewer than six fields, no date but a whole one, and no boolean `True`.
pub fn is_undecided(decision: &str) -> bool {
    decision.starts_with("it ")
}

/// Why the two may differ on a case: a departure of that crate from the documentation.
pub fn known_difference(case: &Value) -> Option<&'static str> {
    let policy = case["identity_policies"][0].to_string();
    let request = case["request"].to_string();
    KNOWN.iter().find(|known| (known.concerns)(&policy, &request)).map(|known| known.why)
}

fn request(asked: &Value) -> IAMRequest {
    let principal = asked["principal"].as_str().unwrap();
    let mut context = Context::new();
    let mut set = |key: &str, value| context.insert(key.to_owned(), value);
    set("aws:PrincipalArn", ContextValue::String(asked["role"].as_str().unwrap_or(principal).to_owned()));
    set("aws:PrincipalAccount", ContextValue::String("111122223333".to_owned()));
    if asked["role"].is_null() {
        set("aws:username", ContextValue::String(principal.rsplit('/').next().unwrap().to_owned()));
    }
    for (key, value) in asked["tags"].as_object().into_iter().flatten() {
        set(&format!("aws:PrincipalTag/{key}"), ContextValue::String(value.as_str().unwrap().to_owned()));
    }
    for (key, value) in asked["conditions"].as_object().into_iter().flatten() {
        set(key, context_value(value));
    }
    IAMRequest::new_with_context(
        Principal::Aws(PrincipalId::String(principal.to_owned())),
        asked["action"].as_str().unwrap(),
        Arn::parse(asked["resource"].as_str().unwrap()).unwrap(),
        context,
    )
}

/// Its context is typed: a number, boolean or date as a text is none to it.
fn context_value(value: &Value) -> ContextValue {
    match value {
        Value::Array(texts) => {
            ContextValue::StringList(texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect())
        }
        Value::String(text) => {
            match (text.parse::<f64>(), text.parse::<bool>(), text.contains("T00:") || text.contains("T12:")) {
                (Ok(number), ..) => ContextValue::Number(number),
                (_, Ok(boolean), _) => ContextValue::Boolean(boolean),
                (_, _, true) => ContextValue::DateTime(serde_json::from_value(value.clone()).unwrap()),
                _ => ContextValue::String(text.clone()),
            }
        }
        other => panic!("{other}"),
    }
}

struct Known {
    why: &'static str,
    concerns: fn(&str, &str) -> bool,
}

const KNOWN: &[Known] = &[
    Known { why: "does not replace variables in conditions", concerns: |policy, _| policy.contains("${") },
    Known {
        why: "compares whole texts for ArnEquals, which is ArnLike",
        concerns: |policy, _| policy.contains("ArnEquals") || policy.contains("ArnNotEquals"),
    },
    Known {
        why: "lets `*` go past a colon in ArnLike",
        concerns: |policy, _| policy.contains("ArnLike") || policy.contains("ArnNotLike"),
    },
    Known {
        why: "takes base64 in another case for the same bytes",
        concerns: |policy, _| policy.contains("BinaryEquals"),
    },
    Known {
        why: "knows whole dates alone: no year, no day, no epoch",
        concerns: |policy, _| policy.contains("\"Date"),
    },
    Known {
        why: "has no text of what is a number, a boolean or a date in the request",
        concerns: |policy, _| {
            let policy = policy.to_lowercase();
            policy.contains("string") && TYPED.iter().any(|key| policy.contains(key))
        },
    },
    Known {
        why: "finds a list of no values present",
        concerns: |policy, request| {
            policy.to_lowercase().contains("aws:tagkeys") && request.contains("\"aws:TagKeys\":[]")
        },
    },
    Known {
        why: "finds no match for a list without ForAnyValue",
        concerns: |policy, _| policy.to_lowercase().contains("aws:tagkeys"),
    },
    Known {
        why: "does not take an empty text for no value in ForAnyValue and ForAllValues",
        concerns: |policy, request| policy.contains("ForA") && request.contains(":\"\""),
    },
    Known {
        why: "takes one value alone for Null, and only in lower case",
        concerns: |policy, _| policy.contains("\"Null\""),
    },
];

const TYPED: [&str; 3] = ["kms:days", "aws:currenttime", "aws:securetransport"];
