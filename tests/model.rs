//! The operations that exist, held against the service model that ships with the installed botocore.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use hsm_kms::api::json::OPERATIONS;
use hsm_kms::audit::EventSource;
use hsm_kms::kms::shape::{Member, Shape};
use hsm_kms::model::{
    EncapsulationAlgorithm, EncryptionAlgorithm, HmacSpec, KeyAgreementAlgorithm, KeyPairSpec, MacAlgorithm,
    MessageType, SigningAlgorithm,
};
use serde_json::Value;

#[test]
fn every_member_of_every_operation_is_the_models() {
    let mut differences = Vec::new();
    let models = [(EventSource::Kms, model("kms/2014-11-01")), (EventSource::Sts, model("sts/2011-06-15"))];
    let operations = models.iter().flat_map(|(source, model)| {
        OPERATIONS.iter().filter(|route| route.source == *source).map(move |route| (model, route))
    });
    for (model, route) in operations {
        let operation = &model["operations"][route.name];
        if operation.is_null() {
            differences.push(format!("the model has no operation {}", route.name));
            continue;
        }
        let input = operation["input"]["shape"].as_str().expect("an input shape");
        compare_members(model, input, route.members, route.name, &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_comparison_itself_sees_a_difference() {
    let model = model("kms/2014-11-01");
    let mut differences = Vec::new();
    let short = Shape::String { min: 1, max: 7, pattern: None };
    let members = [Member { name: "KeyId", shape: Box::leak(Box::new(short)), required: false, default: None }];
    compare_members(&model, "EncryptRequest", &members, "Encrypt", &mut differences);
    let text = differences.join("\n");
    for part in ["KeyId is required", "KeyId: max is 7", "Plaintext is missing", "DryRun is missing"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

/// No operation takes them all yet, so that the enumerations of algorithms are compared by themselves.
#[test]
fn the_words_of_algorithms_and_key_specs_are_the_models() {
    let model = model("kms/2014-11-01");
    let words = |shape: &str| -> BTreeSet<String> {
        let words = model["shapes"][shape]["enum"].as_array().expect("an enumeration");
        words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    let all: [(&str, &[&str]); 6] = [
        ("SigningAlgorithmSpec", SigningAlgorithm::NAMES),
        ("EncryptionAlgorithmSpec", EncryptionAlgorithm::NAMES),
        ("MacAlgorithmSpec", MacAlgorithm::NAMES),
        ("KeyAgreementAlgorithmSpec", KeyAgreementAlgorithm::NAMES),
        ("MessageType", MessageType::NAMES),
        ("EncapsulationAlgorithmSpec", EncapsulationAlgorithm::NAMES),
    ];
    for (shape, ours) in all {
        assert_eq!(words(shape), ours.iter().map(|word| (*word).to_owned()).collect(), "{shape}");
    }
    // There are no data key pairs of ML-DSA.
    let data: Vec<&str> = KeyPairSpec::NAMES.iter().copied().filter(|name| !name.starts_with("ML_DSA_")).collect();
    for (shape, ours) in [("KeySpec", KeyPairSpec::NAMES), ("DataKeyPairSpec", &data), ("KeySpec", HmacSpec::NAMES)] {
        assert!(ours.iter().all(|word| words(shape).contains(*word)), "{shape}");
    }
}

fn compare_members(model: &Value, shape: &str, ours: &[Member], path: &str, differences: &mut Vec<String>) {
    let shape = &model["shapes"][shape];
    let required: Vec<&str> =
        shape["required"].as_array().map_or(Vec::new(), |names| names.iter().filter_map(Value::as_str).collect());
    let theirs = shape["members"].as_object().expect("members");
    for (name, reference) in theirs {
        let path = format!("{path}.{name}");
        let Some(member) = ours.iter().find(|member| member.name == name) else {
            differences.push(format!("{path} is missing"));
            continue;
        };
        if member.required != required.contains(&name.as_str()) {
            differences.push(format!("{path} is required in one and not in the other"));
        }
        compare_shape(model, reference["shape"].as_str().expect("a shape"), member.shape, &path, differences);
    }
    for member in ours.iter().filter(|member| !theirs.contains_key(member.name)) {
        differences.push(format!("{path}.{} is not in the model", member.name));
    }
}

fn compare_shape(model: &Value, name: &str, ours: &Shape, path: &str, differences: &mut Vec<String>) {
    let theirs = &model["shapes"][name];
    let mut differ = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            differences.push(format!("{path}: {what} is {ours} here and {theirs} in the model"));
        }
    };
    let bound = |name: &str| theirs[name].as_i64();
    let kind = theirs["type"].as_str().unwrap_or_default().to_owned();
    match ours {
        Shape::String { min, max, pattern } => {
            differ("type", "string".into(), kind);
            differ("min", min.to_string(), bound("min").unwrap_or(0).to_string());
            differ("max", max.to_string(), bound("max").map_or(usize::MAX.to_string(), |max| max.to_string()));
            differ(
                "pattern",
                format!("{:?}", pattern.map(|pattern| pattern.text)),
                format!("{:?}", theirs["pattern"].as_str()),
            );
        }
        Shape::Token { min, max } | Shape::Blob { min, max } => {
            let expected = if matches!(ours, Shape::Blob { .. }) { "blob" } else { "string" };
            differ("type", expected.into(), kind);
            differ("min", min.to_string(), bound("min").unwrap_or(0).to_string());
            differ("max", max.to_string(), bound("max").map_or(usize::MAX.to_string(), |max| max.to_string()));
        }
        Shape::Integer { min, max } => {
            differ("type", "integer".into(), kind);
            differ("min", format!("{:?}", Some(min)), format!("{:?}", bound("min").as_ref()));
            differ("max", format!("{:?}", Some(max)), format!("{:?}", bound("max").as_ref()));
        }
        Shape::Boolean => differ("type", "boolean".into(), kind),
        Shape::Timestamp => differ("type", "timestamp".into(), kind),
        Shape::Enum(words) => {
            differ("type", "string".into(), kind);
            let mut ours: Vec<&str> = words.to_vec();
            let mut words: Vec<&str> =
                theirs["enum"].as_array().map_or(Vec::new(), |words| words.iter().filter_map(Value::as_str).collect());
            ours.sort_unstable();
            words.sort_unstable();
            differ("enum", format!("{ours:?}"), format!("{words:?}"));
        }
        Shape::List { min, max, of } => {
            differ("type", "list".into(), kind);
            differ("min", min.to_string(), bound("min").unwrap_or(0).to_string());
            differ("max", max.to_string(), bound("max").map_or(usize::MAX.to_string(), |max| max.to_string()));
            compare_shape(
                model,
                theirs["member"]["shape"].as_str().expect("a member shape"),
                of,
                &format!("{path}[]"),
                differences,
            );
        }
        Shape::StringMap => {
            differ("type", "map".into(), kind);
            for part in ["key", "value"] {
                let shape = &model["shapes"][theirs[part]["shape"].as_str().expect("a shape")];
                differ(part, "\"string\"".into(), shape["type"].to_string());
            }
        }
        Shape::Structure(members) => {
            differ("type", "structure".into(), kind);
            compare_members(model, name, members, path, differences);
        }
    }
}

/// The model of a service and version, read by the Python environment that the tests run with.
fn model(which: &str) -> Value {
    let python =
        PathBuf::from(std::env::var("HSM_KMS_TEST_VENV").unwrap_or_else(|_| "target/venv".into())).join("bin/python3");
    let script = "import gzip,os,sys,botocore;p=os.path.join(os.path.dirname(botocore.__file__),'data',sys.argv[1],'service-2.json');\
                  print(gzip.open(p+'.gz').read().decode() if os.path.exists(p+'.gz') else open(p).read())";
    let output = Command::new(&python).args(["-c", script, which]).output();
    let output =
        output.unwrap_or_else(|error| panic!("{}: {error}; run scripts/test, which makes it", python.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the model is JSON")
}
