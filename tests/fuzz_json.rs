//! The bodies of all operations: the corpus of `fuzz/`, and generated documents.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use hsm_kms::api::json::OPERATIONS;
use hsm_kms::kms::Error;
use hsm_kms::kms::shape::{Member, Shape};
use hsm_kms::model::Document;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Names of files begin with the operation that takes the body, or with `bad`.
#[test]
fn the_corpus_is_taken_by_the_operation_that_it_is_for() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/json");
    let (mut taken, mut refused) = (HashSet::new(), 0);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let route = OPERATIONS.iter().find(|route| name.split('-').next() == Some(route.name));
        match route {
            Some(route) => {
                (route.check)(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
                taken.insert(route.name);
            }
            None => {
                assert!(name.starts_with("bad-"), "{name} is named after no operation");
                OPERATIONS.iter().for_each(|route| assert!((route.check)(&bytes).is_err(), "{name}: {}", route.name));
                refused += 1;
            }
        }
    }
    assert_eq!(taken.len(), OPERATIONS.len(), "an operation has no body in the corpus");
    assert!(refused >= 20, "{refused}");
}

proptest! {
    /// The constraints are all that stands before the type: what keeps them is read.
    #[test]
    fn what_keeps_the_constraints_is_read((index, body) in any::<prop::sample::Index>().prop_flat_map(fitting)) {
        let route = &OPERATIONS[index];
        let result = (route.check)(body.to_string().as_bytes());
        prop_assert!(result.is_ok(), "{} refused {body}: {result:?}", route.name);
    }

    /// One member of a wrong type makes it no request, whatever the others are.
    #[test]
    fn a_wrong_type_is_refused((index, mut body) in any::<prop::sample::Index>().prop_flat_map(fitting), which in any::<prop::sample::Index>()) {
        let route = &OPERATIONS[index];
        prop_assume!(!route.members.is_empty());
        let member = &route.members[which.index(route.members.len())];
        let is_number = matches!(member.shape, Shape::Integer { .. } | Shape::Timestamp);
        let wrong = if is_number { json!("1") } else { json!(1.5) };
        body.as_object_mut().unwrap().insert(member.name.to_owned(), wrong);
        let result = (route.check)(body.to_string().as_bytes());
        prop_assert!(matches!(result, Err(Error::Serialization(_))), "{} took {body}: {result:?}", route.name);
    }

    /// No bytes make any operation panic.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let is_object = Document::parse(&bytes).is_ok();
        for route in OPERATIONS {
            prop_assert!((route.check)(&bytes).is_err() || is_object);
        }
    }

    /// Texts that almost are bodies.
    #[test]
    fn no_text_panics(text in r#"[\[\]{}":,a-zA-Z0-9.\\ue+-]{0,200}"#) {
        for route in OPERATIONS {
            let _ = (route.check)(text.as_bytes());
        }
    }
}

/// An operation's index and a body that keeps its constraints.
fn fitting(index: prop::sample::Index) -> impl Strategy<Value = (usize, Value)> {
    let index = index.index(OPERATIONS.len());
    (Just(index), structure(OPERATIONS[index].members))
}

fn structure(members: &'static [Member]) -> BoxedStrategy<Value> {
    let members: Vec<_> = members
        .iter()
        .map(|member| {
            let value = value(member.shape);
            let there = if member.required { Just(true).boxed() } else { any::<bool>().boxed() };
            (Just(member.name), there, value)
        })
        .collect();
    members
        .prop_map(|members| {
            let present = members.into_iter().filter(|(_, there, _)| *there);
            Value::Object(present.map(|(name, _, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
        })
        .boxed()
}

fn value(shape: &'static Shape) -> BoxedStrategy<Value> {
    match shape {
        Shape::String { min, max, pattern } => {
            let letters = match pattern.map(|pattern| pattern.text) {
                Some("^[a-f0-9]+$") => "[a-f0-9]",
                Some("[0-9]{12}") => "[0-9]",
                Some(text) if text.starts_with("cluster-") => "[2-7a-zA-Z]",
                Some(text) if text.contains("vpce") => "[a-z0-9]",
                Some("^([a-z]+-){2,3}\\d+$") => "[a-z0-9-]",
                Some(text) if text.contains("\\u") => "[ -~]",
                Some(text) if text.contains(['_', 'w']) => "[a-zA-Z0-9_]",
                Some(_) => "[a-zA-Z0-9]",
                None => "\\PC",
            };
            let text = format!("{letters}{{{min},{}}}", (*max).min(*min + 40));
            prop::string::string_regex(&text).unwrap().prop_map(Value::String).boxed()
        }
        Shape::Token { min, max } => prop::string::string_regex(&format!("[a-z]{{{min},{}}}", (*max).min(*min + 40)))
            .unwrap()
            .prop_map(Value::String)
            .boxed(),
        Shape::Blob { min, max } => prop::collection::vec(any::<u8>(), *min..(*max).min(64))
            .prop_map(|bytes| {
                use base64::Engine;
                Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
            })
            .boxed(),
        Shape::Integer { min, max } => (*min..=*max).prop_map(Value::from).boxed(),
        Shape::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Timestamp => {
            prop_oneof![any::<i64>().prop_map(Value::from), (-1e18..1e18).prop_map(Value::from)].boxed()
        }
        Shape::Enum(words) => prop::sample::select(*words).prop_map(Value::from).boxed(),
        Shape::List { min, max, of } => {
            prop::collection::vec(value(of), *min..=(*max).min(*min + 3)).prop_map(Value::Array).boxed()
        }
        Shape::StringMap => {
            prop::collection::btree_map("\\PC{0,20}", "\\PC{0,20}", 0..4).prop_map(|map| json!(map)).boxed()
        }
        Shape::Structure(members) => structure(members),
    }
}
