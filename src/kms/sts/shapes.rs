//! The shapes of STS's service model that requests here are made of, by their names in the model.
//!
//! Source: the service model of API version 2011-06-15; `tests/model.rs` holds them against it.

use crate::kms::shape::{Member, Pattern, Shape, optional, required};

/// `arnType`.
pub const ARN: Shape = Shape::String { min: 20, max: 2048, pattern: Some(ARN_PATTERN) };
/// `durationSecondsType`, of GetSessionToken.
pub const DURATION_SECONDS: Shape = Shape::Integer { min: 900, max: 129_600 };
/// `externalIdType`.
pub const EXTERNAL_ID: Shape = Shape::String { min: 2, max: 1224, pattern: Some(EXTERNAL_ID_PATTERN) };
/// `minimumSessionTokenSizeType`.
pub const MINIMUM_SESSION_TOKEN_SIZE: Shape = Shape::Integer { min: 0, max: 4096 };
/// `policyDescriptorListType`.
pub const POLICY_DESCRIPTOR_LIST: Shape =
    Shape::List { min: 0, max: usize::MAX, of: &Shape::Structure(&[optional("arn", &ARN)]) };
/// `ProvidedContextsListType`.
pub const PROVIDED_CONTEXTS: Shape = Shape::List { min: 1, max: 5, of: &Shape::Structure(PROVIDED_CONTEXT) };
/// `roleDurationSecondsType`.
pub const ROLE_DURATION_SECONDS: Shape = Shape::Integer { min: 900, max: 43_200 };
/// `roleSessionNameType`, `sourceIdentityType`.
pub const SESSION_NAME: Shape = Shape::String { min: 2, max: 64, pattern: Some(SESSION_NAME_PATTERN) };
/// `unrestrictedSessionPolicyDocumentType`.
pub const SESSION_POLICY: Shape = Shape::String { min: 1, max: usize::MAX, pattern: Some(SESSION_POLICY_PATTERN) };
/// `serialNumberType`.
pub const SERIAL_NUMBER: Shape = Shape::String { min: 9, max: 256, pattern: Some(SERIAL_NUMBER_PATTERN) };
/// `tagKeyType`.
pub const TAG_KEY: Shape = Shape::String { min: 1, max: 128, pattern: Some(TAG_KEY_PATTERN) };
/// `tagKeyListType`.
pub const TAG_KEY_LIST: Shape = Shape::List { min: 0, max: 50, of: &TAG_KEY };
/// `tagListType`.
pub const TAG_LIST: Shape = Shape::List { min: 0, max: 50, of: &Shape::Structure(TAG) };
/// `tokenCodeType`, a password.
pub const TOKEN_CODE: Shape = Shape::Token { min: 6, max: 6 };

const PROVIDED_CONTEXT: &[Member] =
    &[optional("ProviderArn", &ARN), optional("ContextAssertion", &Shape::Token { min: 4, max: 2048 })];
const TAG: &[Member] = &[
    required("Key", &TAG_KEY),
    required("Value", &Shape::String { min: 0, max: 256, pattern: Some(TAG_VALUE_PATTERN) }),
];

const ARN_PATTERN: Pattern = Pattern {
    text: "[\\u0009\\u000A\\u000D\\u0020-\\u007E\\u0085\\u00A0-\\uD7FF\\uE000-\\uFFFD\\u10000-\\u10FFFF]+",
    admits: |c| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..),
};
const EXTERNAL_ID_PATTERN: Pattern =
    Pattern { text: "[\\w+=,.@:\\/-]*", admits: |c| is_word(c) || "+=,.@:/-".contains(c) };
const SERIAL_NUMBER_PATTERN: Pattern =
    Pattern { text: "[\\w+=/:,.@-]*", admits: |c| is_word(c) || "+=/:,.@-".contains(c) };
const SESSION_NAME_PATTERN: Pattern = Pattern { text: "[\\w+=,.@-]*", admits: |c| is_word(c) || "+=,.@-".contains(c) };
const SESSION_POLICY_PATTERN: Pattern = Pattern {
    text: "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+",
    admits: |c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}'),
};
const TAG_KEY_PATTERN: Pattern = Pattern { text: "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+", admits: is_tag_character };
const TAG_VALUE_PATTERN: Pattern = Pattern { text: "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*", admits: is_tag_character };

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Rust's letters are all of `\p{L}` and the vowel signs of some scripts, which do no harm.
fn is_tag_character(c: char) -> bool {
    let separator = c.is_whitespace() && !c.is_control();
    c.is_alphabetic() || c.is_numeric() || separator || "_.:/=+-@".contains(c)
}
