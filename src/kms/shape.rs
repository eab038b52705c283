//! The constraints of the service model, and the check of a request against them.

use std::fmt::{self, Display};

use super::Error;
use crate::model::Document;

/// One member of a request.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name in the model, for example `KeyId`.
    pub name: &'static str,
    /// What it may hold.
    pub shape: &'static Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What absent means, where the audit record shows it.
    pub default: Option<&'static str>,
}

/// A shape of the model with its constraints; both bounds are part of the range.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text.
    String {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
        /// Which characters.
        pattern: Option<Pattern>,
    },
    /// Text that the audit record does not show: a capability.
    Token {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// Bytes in base64, never shown.
    Blob {
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// A whole number.
    Integer {
        /// Lowest value.
        min: i64,
        /// Highest value.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// A time: seconds since 1970, with or without a fraction.
    Timestamp,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A list of such.
    List {
        /// Fewest elements.
        min: usize,
        /// Most elements.
        max: usize,
        /// What an element may hold.
        of: &'static Shape,
    },
    /// Strings by string.
    StringMap,
    /// Members of their own.
    Structure(&'static [Member]),
}

/// A regular expression of the model that says which characters a text may have.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// As the model writes it.
    pub text: &'static str,
    /// Whether one character is admitted.
    pub admits: fn(char) -> bool,
}

/// A member that must be there.
pub const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, shape, required: true, default: None }
}

/// A member that may be there.
pub const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, shape, required: false, default: None }
}

/// A member that may be there and stands for `default` if it is not.
pub const fn defaulted(name: &'static str, shape: &'static Shape, default: &'static str) -> Member {
    Member { name, shape, required: false, default: Some(default) }
}

/// Holds a request against its members: a wrong type is a `Serialization` error, and all broken constraints
/// together are one `Validation` error in AWS's form.
pub fn check(document: &Document<'_>, members: &[Member]) -> Result<(), Error> {
    let mut violations = Vec::new();
    check_members(document, members, None, &mut violations)?;
    match violations.len() {
        0 => Ok(()),
        1 => Err(Error::Validation(format!("1 validation error detected: {}", violations[0]))),
        count => Err(Error::Validation(format!("{count} validation errors detected: {}", violations.join("; ")))),
    }
}

/// The request as CloudTrail shows it: names in camel case, defaults filled in, without blobs and capabilities.
pub fn parameters(document: &Document<'_>, members: &[Member]) -> serde_json::Value {
    let shown = members.iter().filter_map(|member| {
        let value = match document.member(member.name) {
            Some(value) => shown(value, member.shape)?,
            None => member.default?.into(),
        };
        Some((camel(member.name), value))
    });
    serde_json::Value::Object(shown.collect())
}

/// The model's name of a member as error texts and CloudTrail write it: `KeyId` is `keyId`.
pub fn camel(name: &str) -> String {
    let mut name = name.to_owned();
    // The model's names are ASCII.
    name.get_mut(..1).map(str::make_ascii_lowercase);
    name
}

fn check_members(
    document: &Document<'_>,
    members: &[Member],
    parent: Option<&Path<'_>>,
    violations: &mut Vec<String>,
) -> Result<(), Error> {
    for member in members {
        let path = Path::Member(parent, member.name);
        match document.member(member.name) {
            Some(value) => check_value(value, member.shape, &path, violations)?,
            None if member.required => {
                violations.push(format!("Value null at '{path}' {FAILED}: Member must not be null"));
            }
            None => {}
        }
    }
    Ok(())
}

fn check_value(
    value: &Document<'_>,
    shape: &Shape,
    path: &Path<'_>,
    violations: &mut Vec<String>,
) -> Result<(), Error> {
    match (shape, value) {
        (Shape::String { min, max, pattern }, Document::String(text)) => {
            check_length(text.chars().count(), *min, *max, format_args!("Value '{text}' at '{path}'"), violations);
            check_pattern(text, *pattern, path, violations);
        }
        (Shape::Token { min, max }, Document::String(text)) => {
            check_length(text.chars().count(), *min, *max, format_args!("Value at '{path}'"), violations);
        }
        (Shape::Blob { min, max }, Document::String(text)) => {
            // Base64 comes in fours (RFC 4648 §4); what is no base64 has no length.
            if !text.len().is_multiple_of(4) {
                return Err(Error::Serialization(UNREADABLE.into()));
            }
            check_length(decoded_len(text), *min, *max, format_args!("Value at '{path}'"), violations);
        }
        (Shape::Integer { min, max }, Document::Integer(value)) => {
            check_range(*value, *min, *max, path, violations);
        }
        (Shape::Boolean, Document::Boolean(_)) | (Shape::Timestamp, Document::Integer(_) | Document::Number(_)) => {}
        (Shape::Enum(words), Document::String(text)) => check_word(text, words, path, violations),
        (Shape::List { min, max, of }, Document::List(elements)) => {
            check_length(elements.len(), *min, *max, format_args!("Value at '{path}'"), violations);
            for (number, element) in (1..).zip(elements) {
                if violations.len() >= MAX_VIOLATIONS {
                    break;
                }
                check_value(element, of, &Path::Element(path, number), violations)?;
            }
        }
        (Shape::StringMap, Document::Map(entries)) => {
            for (_, value) in entries {
                check_value(value, &ANY_STRING, path, violations)?;
            }
        }
        (Shape::Structure(members), Document::Map(_)) => {
            check_members(value, members, Some(path), violations)?;
        }
        _ => return Err(Error::Serialization(format!("{} cannot be converted to {}", value.kind(), shape.kind()))),
    }
    Ok(())
}

fn check_length(len: usize, min: usize, max: usize, what: impl Display, violations: &mut Vec<String>) {
    if len < min {
        violations.push(format!("{what} {FAILED}: Member must have length greater than or equal to {min}"));
    }
    if len > max {
        violations.push(format!("{what} {FAILED}: Member must have length less than or equal to {max}"));
    }
}

fn check_range(value: i64, min: i64, max: i64, path: &Path<'_>, violations: &mut Vec<String>) {
    let what = format_args!("Value '{value}' at '{path}'");
    if value < min {
        violations.push(format!("{what} {FAILED}: Member must have value greater than or equal to {min}"));
    }
    if value > max {
        violations.push(format!("{what} {FAILED}: Member must have value less than or equal to {max}"));
    }
}

fn check_pattern(text: &str, pattern: Option<Pattern>, path: &Path<'_>, violations: &mut Vec<String>) {
    if let Some(pattern) = pattern.filter(|pattern| !text.chars().all(pattern.admits)) {
        let rule = format!("Member must satisfy regular expression pattern: {}", pattern.text);
        violations.push(format!("Value '{text}' at '{path}' {FAILED}: {rule}"));
    }
}

fn check_word(text: &str, words: &[&str], path: &Path<'_>, violations: &mut Vec<String>) {
    if !words.contains(&text) {
        let rule = format!("Member must satisfy enum value set: [{}]", words.join(", "));
        violations.push(format!("Value '{text}' at '{path}' {FAILED}: {rule}"));
    }
}

/// The length of the bytes that this much base64 stands for; whether it is base64 is seen when it is decoded.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
    text.len() / 4 * 3 - padding
}

fn shown(value: &Document<'_>, shape: &Shape) -> Option<serde_json::Value> {
    Some(match (shape, value) {
        (Shape::Blob { .. } | Shape::Token { .. }, _) => return None,
        (Shape::Structure(members), value) => parameters(value, members),
        (Shape::List { of, .. }, Document::List(elements)) => {
            let elements: Option<Vec<_>> = elements.iter().map(|element| shown(element, of)).collect();
            elements?.into()
        }
        (_, value) => plain(value),
    })
}

fn plain(value: &Document<'_>) -> serde_json::Value {
    match value {
        Document::Null => serde_json::Value::Null,
        Document::Boolean(value) => (*value).into(),
        Document::Integer(value) => (*value).into(),
        Document::Number(value) => (*value).into(),
        Document::String(text) => text.as_ref().into(),
        Document::List(elements) => elements.iter().map(plain).collect(),
        Document::Map(entries) => entries.iter().map(|(name, value)| (name.to_string(), plain(value))).collect(),
    }
}

/// Where in a request a value stands. Written out only when something is wrong there.
enum Path<'a> {
    Member(Option<&'a Path<'a>>, &'a str),
    /// Counted from 1.
    Element(&'a Path<'a>, usize),
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Member(None, name) => f.write_str(&camel(name)),
            Path::Member(Some(parent), name) => write!(f, "{parent}.{}", camel(name)),
            Path::Element(list, number) => write!(f, "{list}.{number}.member"),
        }
    }
}

impl Shape {
    fn kind(&self) -> &'static str {
        match self {
            Shape::String { .. } | Shape::Token { .. } | Shape::Enum(_) => "String",
            Shape::Blob { .. } => "Blob",
            Shape::Integer { .. } => "Integer",
            Shape::Boolean => "Boolean",
            Shape::Timestamp => "Timestamp",
            Shape::List { .. } => "List",
            Shape::StringMap => "Map",
            Shape::Structure(_) => "Structure",
        }
    }
}

/// What is told of a body that cannot be read: no part of it, as it may hold a secret.
pub const UNREADABLE: &str = "Could not parse the request body.";
const ANY_STRING: Shape = Shape::String { min: 0, max: usize::MAX, pattern: None };
/// So many are told: of a list of empty texts, the answer would be many times as long as the request.
const MAX_VIOLATIONS: usize = 100;
const FAILED: &str = "failed to satisfy constraint";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::shapes;

    const MEMBERS: &[Member] = &[
        required("KeyId", &shapes::KEY_ID),
        optional("NumberOfBytes", &shapes::NUMBER_OF_BYTES),
        optional("Tags", &shapes::TAG_LIST),
        optional("Plaintext", &shapes::PLAINTEXT),
        defaulted("EncryptionAlgorithm", &shapes::ENCRYPTION_ALGORITHM, "SYMMETRIC_DEFAULT"),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
    ];

    fn message(body: &str) -> String {
        match check(&Document::parse(body.as_bytes()).unwrap(), MEMBERS) {
            Err(Error::Validation(message) | Error::Serialization(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_is_not_many_times_its_request() {
        let tokens = vec![r#""""#; 40_000].join(",");
        let body = format!(r#"{{"KeyId":"x","GrantTokens":[{tokens}]}}"#);
        let message = message(&body);
        assert!(message.starts_with("100 validation errors detected: Value at 'grantTokens'"), "{}", &message[..200]);
        assert!(message.len() < 20_000, "{}", message.len());
    }

    #[test]
    fn says_what_aws_says() {
        assert_eq!(
            message(r#"{"KeyId":"x","NumberOfBytes":0}"#),
            "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: \
             Member must have value greater than or equal to 1"
        );
        assert_eq!(
            message("{}"),
            "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"
        );
        let long = "A".repeat((4096 / 3 + 2) * 4);
        assert_eq!(
            message(&format!(r#"{{"KeyId":"x","Plaintext":"{long}"}}"#)),
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: \
             Member must have length less than or equal to 4096"
        );
        assert!(
            message(r#"{"KeyId":"","Tags":[{"TagKey":"k","TagValue":"v"},{"TagKey":"","TagValue":"v"}]}"#).ends_with(
                "; Value '' at 'tags.2.member.tagKey' failed to satisfy constraint: \
             Member must have length greater than or equal to 1"
            )
        );
        assert_eq!(message(r#"{"KeyId":5}"#), "NUMBER_VALUE cannot be converted to String");
    }

    #[test]
    fn the_record_shows_no_blob_and_no_capability() {
        let body = br#"{"KeyId":"x","Plaintext":"AAAA","GrantTokens":["secret"],"NumberOfBytes":3}"#;
        assert_eq!(
            parameters(&Document::parse(body).unwrap(), MEMBERS).to_string(),
            r#"{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","keyId":"x","numberOfBytes":3}"#
        );
    }
}
