//! The verbs, made of the table of operations: flags to members.

use std::io::Read;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};

use super::help;
use crate::api::admin::{Member, OPERATIONS, Route, Shape};
use crate::model::AccountId;

/// A command for every operation.
pub fn all() -> impl Iterator<Item = Command> {
    OPERATIONS.iter().filter(|route| route.is_of_principals()).map(command)
}

/// The request that a verb and its flags make, as one line.
pub fn request(verb: &str, arguments: &ArgMatches, account: Option<&AccountId>) -> Result<Vec<u8>, String> {
    let route = OPERATIONS.iter().find(|route| kebab(route.name) == verb).ok_or("no such verb")?;
    let mut parameters = Map::new();
    for member in route.members {
        if let Some(value) = value(member, arguments)? {
            parameters.insert(member.name.to_owned(), value);
        }
    }
    if let Some(account) = account {
        parameters.insert("AccountId".into(), json!(account));
    }
    Ok(format!("{}\n", json!({ "operation": route.name, "parameters": parameters })).into_bytes())
}

fn command(route: &Route) -> Command {
    let (about, example) = help::of(route.name);
    let command = Command::new(kebab(route.name)).about(about);
    let command = command.long_about(format!("{about}.\n\nExample: hsm-kms principal {example}"));
    command.args(route.members.iter().map(|member| argument(member).help(help::of_flag(route.name, member.name))))
}

fn argument(member: &Member) -> Arg {
    let argument = Arg::new(member.name).long(kebab(member.name)).required(member.required);
    match member.shape {
        Shape::Integer { .. } => argument.value_name("NUMBER").value_parser(value_parser!(i64)),
        Shape::Enum(words) => {
            argument.value_name("WORD").value_parser(PossibleValuesParser::new(words.iter().copied()))
        }
        Shape::List { of: Shape::Structure(_), .. } => {
            argument.value_name("KEY=VALUE").num_args(1..).action(ArgAction::Append)
        }
        Shape::List { .. } => argument.value_name("KEY").num_args(1..).action(ArgAction::Append),
        _ if is_document(member) => argument.value_name("FILE"),
        _ => argument.value_name("TEXT"),
    }
}

fn value(member: &Member, arguments: &ArgMatches) -> Result<Option<Value>, String> {
    let texts = || arguments.get_many::<String>(member.name).map(|texts| texts.map(String::as_str));
    Ok(match member.shape {
        Shape::Integer { .. } => arguments.get_one::<i64>(member.name).map(|number| json!(number)),
        Shape::List { of: Shape::Structure(_), .. } => {
            texts().map(|texts| texts.map(tag).collect::<Result<_, _>>()).transpose()?
        }
        Shape::List { .. } => texts().map(|texts| texts.collect()),
        _ => match arguments.get_one::<String>(member.name) {
            Some(path) if is_document(member) => Some(read(path)?.into()),
            text => text.map(|text| json!(text)),
        },
    })
}

fn is_document(member: &Member) -> bool {
    member.name.ends_with("PolicyDocument")
}

fn tag(text: &str) -> Result<Value, String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("the tag `{text}` is not KEY=VALUE"))?;
    Ok(json!({ "Key": key, "Value": value }))
}

fn read(path: &str) -> Result<String, String> {
    // As the aws command names files.
    let path = path.strip_prefix("file://").unwrap_or(path);
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().take(MAX_DOCUMENT).read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|file| file.take(MAX_DOCUMENT).read_to_string(&mut text)),
    };
    read.map(|_| text).map_err(|error| format!("the document {path} cannot be read: {error}"))
}

/// `CreateUser` as `create-user`.
pub(super) fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// Longer than any document that is taken.
const MAX_DOCUMENT: u64 = 1 << 20;
