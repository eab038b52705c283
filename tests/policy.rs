//! Decisions: fixed ones, random ones held against a second evaluator, and the corpus of the parser.

#[path = "policy/case.rs"]
mod case;
#[path = "policy/generate.rs"]
mod generate;
#[path = "policy/oracle.rs"]
mod oracle;
#[path = "policy/third_opinion.rs"]
mod third_opinion;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hsm_kms::auth::policy::{Kind, Policy};
use proptest::prelude::*;
use serde_json::Value;

/// One file is one decision, with the page that it follows from.
#[test]
fn decides_as_documented() {
    let mut decisions: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        let expected = case["decision"].as_str().expect("a decision");
        let source = case["source"].as_str().expect("a source");
        assert!(source.starts_with("https://docs.aws.amazon.com/"), "{name}: {source}");
        let decided = case::decide(&case);
        if decided != expected {
            wrong.push(format!("{name}: {decided}, not {expected}"));
        }
        // What is malformed is no matter for the second evaluator.
        if expected != "Malformed" && oracle::decide(&case) != expected {
            wrong.push(format!("{name}: the second evaluator says {}", oracle::decide(&case)));
        }
        *decisions.entry(expected.split('(').next().unwrap().to_owned()).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(decisions.values().sum::<usize>() >= 300, "{decisions:?}");
    assert!(decisions.values().all(|count| *count >= 40), "{decisions:?}");
}

/// The cases in which other evaluators of this language are known to be wrong.
#[test]
fn the_thirty_cases_are_there() {
    let known = cases().filter(|(name, _)| name.starts_with("known-")).count();
    assert_eq!(known, 30);
}

/// A slow evaluator written from the documentation alone agrees on random policies.
#[test]
fn agrees_with_the_second_evaluator() {
    let threads = 2;
    let counts: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| compare(RANDOM_SETS / threads))).collect();
        workers.into_iter().map(|worker| worker.join().expect("both agree")).collect()
    });
    let mut decisions: BTreeMap<String, usize> = BTreeMap::new();
    for (decision, count) in counts.into_iter().flatten() {
        *decisions.entry(decision).or_default() += count;
    }
    println!("{decisions:#?}");
    let total: usize = decisions.values().sum();
    let allowed: usize =
        decisions.iter().filter(|(decision, _)| decision.starts_with("Allowed")).map(|(_, count)| count).sum();
    assert_eq!(total, RANDOM_SETS);
    assert!(allowed > total / 10 && allowed < total * 9 / 10, "{decisions:?}");
    for often in EVERY_DECISION {
        assert!(decisions.get(*often).is_some_and(|count| *count > total / 1_000), "{often} is rare: {decisions:?}");
    }
}

/// A crate for this language agrees on identity policies, except where it is known to differ from AWS.
#[test]
fn agrees_with_a_third_opinion() {
    let mut generator = generate::Generator::random();
    let (mut agreed, mut known) = (BTreeMap::<String, usize>::new(), BTreeMap::<&str, usize>::new());
    let mut undecided = 0;
    for _ in 0..20_000 {
        let case = generator.identity_case();
        let ours = case::decide(&case);
        let theirs = third_opinion::decide(&case);
        if third_opinion::is_undecided(&theirs) {
            undecided += 1;
            continue;
        }
        if ours == theirs {
            *agreed.entry(ours).or_default() += 1;
            continue;
        }
        match third_opinion::known_difference(&case) {
            Some(difference) => *known.entry(difference).or_default() += 1,
            None => panic!("{ours}, but a third opinion is {theirs}:\n{case:#}"),
        }
    }
    println!("agreed: {agreed:#?}\nknown differences: {known:#?}\nundecided: {undecided}");
    assert!(agreed.values().sum::<usize>() > 10_000, "{agreed:?} {known:?}");
    assert!(agreed.len() == 3 && agreed.values().all(|count| *count > 500), "{agreed:?}");
}

/// Names of files begin with what becomes of them.
#[test]
fn the_corpus_is_taken_or_refused() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/policy");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        match Policy::parse(&text, Kind::KeyPolicy) {
            Ok(policy) => {
                assert!(name.starts_with("good-"), "{name} was taken");
                assert_eq!(policy.text(), text);
                good += 1;
            }
            Err(error) => {
                assert!(name.starts_with("bad-"), "{name}: {error}");
                bad += 1;
            }
        }
    }
    assert!(good >= 15 && bad >= 30, "{good} good, {bad} bad");
}

proptest! {
    /// No text makes the parser panic, and what is read is kept as it was.
    #[test]
    fn no_text_panics(text in r#"[\[\]{}":,$*?a-zA-Z0-9' /]{0,200}"#) {
        for kind in KINDS {
            if let Ok(policy) = Policy::parse(&text, kind) {
                prop_assert_eq!(policy.text(), &text);
            }
        }
    }

    /// Nor does any text where a policy has one.
    #[test]
    fn no_value_panics(principal in "\\PC{0,40}", action in "\\PC{0,20}", resource in "\\PC{0,60}", value in "\\PC{0,40}",
                       operator in prop::sample::select(generate::OPERATORS)) {
        for text in [&principal, &action, &resource, &value] {
            let policy = serde_json::json!({"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": {"AWS": principal}, "Action": [action, text],
                "Resource": [format!("arn:aws:kms:{text}"), resource], "Condition": {operator: {value.as_str(): text}}}});
            for kind in KINDS {
                let _ = Policy::parse(&policy.to_string(), kind);
            }
            let policy = serde_json::json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*",
                "Action": "kms:*", "Resource": format!("arn:aws:kms:{text}"), "Condition": {operator: {"aws:x": text}}}});
            let _ = Policy::parse(&policy.to_string(), Kind::KeyPolicy);
        }
    }
}

fn compare(sets: usize) -> BTreeMap<String, usize> {
    let mut generator = generate::Generator::random();
    let mut decisions = BTreeMap::new();
    for _ in 0..sets {
        let case = generator.case();
        let (ours, other) = (case::decide(&case), oracle::decide(&case));
        assert_eq!(ours, other, "\n{case:#}");
        *decisions.entry(ours.replace(|letter: char| letter.is_ascii_digit(), "")).or_default() += 1;
    }
    decisions
}

fn cases() -> impl Iterator<Item = (String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/policy");
    fs::read_dir(dir).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let case = serde_json::from_slice(&fs::read(&path).unwrap());
        (name.clone(), case.unwrap_or_else(|error| panic!("{name}: {error}")))
    })
}

const KINDS: [Kind; 5] =
    [Kind::KeyPolicy, Kind::TrustPolicy, Kind::IdentityPolicy, Kind::Boundary, Kind::SessionPolicy];

const RANDOM_SETS: usize = 100_000;

/// Every decision that there is; digits of grant ids left out.
const EVERY_DECISION: &[&str] = &[
    "Allowed(ResourcePolicy)",
    "Allowed(IdentityPolicy)",
    "Allowed(Grant(\"g\"))",
    "Allowed(RootUser)",
    "Denied(ExplicitDeny(KeyPolicy))",
    "Denied(ExplicitDeny(IdentityPolicy))",
    "Denied(ExplicitDeny(Boundary))",
    "Denied(ExplicitDeny(SessionPolicy))",
    "Denied(NoAllow(KeyPolicy))",
    "Denied(NoAllow(IdentityPolicy))",
    "Denied(NoAllow(Boundary))",
    "Denied(NoAllow(SessionPolicy))",
    "Denied(OtherAccount)",
];
