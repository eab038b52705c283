//! The ways in which an operator can ask.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hsm_kms::admin::OPERATIONS;
use serde_json::Value;

use crate::ALLOW_ALL;
use crate::support::{PROGRAM, Service};

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A line over the socket.
    Socket,
    /// By the command.
    Command,
}

impl Way {
    /// The output, or the code and message of the refusal.
    pub fn ask(self, data: &Path, operation: &str, parameters: &Value) -> Result<Value, (String, String)> {
        match self {
            Way::Socket => crate::ask(data, operation, parameters),
            Way::Command => by_command(data, operation, parameters),
        }
    }
}

/// Runs the command with these arguments.
pub fn principal(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("principal").args(arguments).arg("--data").arg(data);
    command.output().expect("the program")
}

/// The text on standard error and the exit code of a command that must fail.
#[track_caller]
pub fn failure(output: &Output) -> (i32, String) {
    let text = String::from_utf8(output.stderr.clone()).expect("text");
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    (output.status.code().expect("a code"), text)
}

fn by_command(data: &Path, operation: &str, parameters: &Value) -> Result<Value, (String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec![kebab(operation)];
    for (name, value) in parameters.as_object().expect("an object") {
        let flag = if name == "AccountId" { "account".to_owned() } else { kebab(name) };
        arguments.push(format!("--{flag}"));
        arguments.extend(texts(folder.path(), name, value));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = principal(data, &arguments);
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).expect("JSON"));
    }
    let (code, text) = failure(&output);
    assert_eq!(code, 1, "{text}");
    let line = text.trim_end().strip_prefix("hsm-kms: ").expect("one line of ours");
    let (code, message) = line.split_once(": ").expect("a code");
    Err((code.to_owned(), message.to_owned()))
}

fn texts(folder: &Path, name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if name.ends_with("PolicyDocument") => {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a file");
            vec![path.display().to_string()]
        }
        Value::Array(elements) => elements
            .iter()
            .map(|element| match element {
                Value::Object(tag) => format!("{}={}", tag["Key"].as_str().unwrap(), tag["Value"].as_str().unwrap()),
                element => element.as_str().unwrap().to_owned(),
            })
            .collect(),
        Value::String(text) => vec![text.clone()],
        value => vec![value.to_string()],
    }
}

fn kebab(name: &str) -> String {
    let letters = name.char_indices().map(|(at, letter)| match letter.is_ascii_uppercase() && at > 0 {
        true => format!("-{}", letter.to_ascii_lowercase()),
        false => letter.to_ascii_lowercase().to_string(),
    });
    letters.collect()
}

#[test]
fn every_verb_has_help_with_an_example() {
    for route in OPERATIONS.iter().filter(|route| route.is_of_principals()) {
        let help = Command::new(PROGRAM).args(["principal", &kebab(route.name), "--help"]).output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(help.status.success(), "{}", route.name);
        let example = format!("Example: hsm-kms principal {}", kebab(route.name));
        assert!(text.contains(&example), "{text}");
        for member in route.members {
            assert!(text.contains(&format!("--{} ", kebab(member.name))), "{text}");
        }
    }
    let all = Command::new(PROGRAM).args(["principal", "--help"]).output().unwrap();
    let text = String::from_utf8(all.stdout).unwrap();
    let mut routes = OPERATIONS.iter().filter(|route| route.is_of_principals());
    assert!(routes.all(|route| text.contains(&kebab(route.name))) && text.contains("Example: "), "{text}");
}

#[test]
fn documents_come_from_files_and_from_standard_input() {
    let service = Service::start();
    let file = service.data().with_file_name("policy.json");
    std::fs::write(&file, ALLOW_ALL).unwrap();
    let url = format!("file://{}", file.display());
    for (name, path) in [("one", file.to_str().unwrap()), ("two", &url), ("three", "-")] {
        let mut command = Command::new(PROGRAM);
        command.args(["principal", "create-policy", "--policy-name", name, "--policy-document", path, "--data"]);
        let mut child = command.arg(service.data()).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(ALLOW_ALL.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        let arn = format!("arn:aws:iam::111122223333:policy/{name}");
        let shown = principal(service.data(), &["get-policy", "--policy-arn", &arn]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["Policy"]["PolicyDocument"], serde_json::from_str::<Value>(ALLOW_ALL).unwrap());
    }
}

#[test]
fn wrong_usage_is_said_before_anything_is_opened() {
    let nowhere = Path::new("/nowhere/at/all");
    for wrong in [
        &["create-user"][..],
        &["create-user", "--user-name", "a", "--nonsense", "b"],
        &["create-user", "--user-name", "a", "--tags", "no-value"],
        &["create-user", "--user-name", "a", "--account", "12"],
        &["update-access-key", "--access-key-id", "AKIAIOSFODNN7EXAMPLE", "--status", "Perhaps"],
        &["create-policy", "--policy-name", "a", "--policy-document", "/nowhere/at/all"],
        &["create-role", "--role-name", "a", "--max-session-duration", "long"],
        &["no-such-verb"],
        &["list-users", "--config", "x"],
    ] {
        assert_eq!(failure(&principal(nowhere, wrong)).0, 2, "{wrong:?}");
    }
    let (code, text) = failure(&principal(nowhere, &["list-users"]));
    assert!(code == 78 && text.contains("has no store"), "{code} {text}");
}
