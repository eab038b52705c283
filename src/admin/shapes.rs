//! The shapes of IAM's service model that requests here are made of, by their names in the model.
//!
//! Source: the service model of IAM's API version 2010-05-08.

use crate::kms::shape::{Member, Pattern, Shape, required};

pub use crate::kms::shapes::POLICY as POLICY_DOCUMENT;

/// `accessKeyIdType`.
pub const ACCESS_KEY_ID: Shape = Shape::String { min: 16, max: 128, pattern: Some(WORD) };
/// `arnType`.
pub const ARN: Shape = Shape::String { min: 20, max: 2048, pattern: None };
/// `pathType`.
pub const PATH: Shape = Shape::String { min: 1, max: 512, pattern: None };
/// `policyNameType`.
pub const POLICY_NAME: Shape = Shape::String { min: 1, max: 128, pattern: Some(NAME) };
/// `roleDescriptionType`.
pub const ROLE_DESCRIPTION: Shape = Shape::String { min: 0, max: 1000, pattern: Some(DESCRIPTION) };
/// `roleMaxSessionDurationType`, in seconds.
pub const ROLE_MAX_SESSION_DURATION: Shape = Shape::Integer { min: 3_600, max: 43_200 };
/// `roleNameType`.
pub const ROLE_NAME: Shape = Shape::String { min: 1, max: 64, pattern: Some(NAME) };
/// `statusType`, without `Expired`, which nobody can set.
pub const STATUS: Shape = Shape::Enum(&["Active", "Inactive"]);
/// `tagKeyListType`.
pub const TAG_KEY_LIST: Shape = Shape::List { min: 0, max: 50, of: &TAG_KEY };
/// `tagListType`.
pub const TAG_LIST: Shape = Shape::List { min: 0, max: 50, of: &Shape::Structure(TAG) };
/// `userNameType`.
pub const USER_NAME: Shape = Shape::String { min: 1, max: 64, pattern: Some(NAME) };

/// `Tag`.
const TAG: &[Member] = &[required("Key", &TAG_KEY), required("Value", &TAG_VALUE)];
/// `tagKeyType`.
const TAG_KEY: Shape = Shape::String { min: 1, max: 128, pattern: Some(TAG_KEY_PATTERN) };
/// `tagValueType`.
const TAG_VALUE: Shape = Shape::String { min: 0, max: 256, pattern: Some(TAG_VALUE_PATTERN) };

const DESCRIPTION: Pattern = Pattern {
    text: "[\\u0009\\u000A\\u000D\\u0020-\\u007E\\u00A1-\\u00FF]*",
    admits: |c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{7e}' | '\u{a1}'..='\u{ff}'),
};
const NAME: Pattern = Pattern { text: "[\\w+=,.@-]+", admits: |c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) };
const TAG_KEY_PATTERN: Pattern = Pattern { text: "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+", admits: is_tag_character };
const TAG_VALUE_PATTERN: Pattern = Pattern { text: "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*", admits: is_tag_character };
const WORD: Pattern = Pattern { text: "[\\w]+", admits: |c| c.is_ascii_alphanumeric() || c == '_' };

fn is_tag_character(c: char) -> bool {
    let separator = c.is_whitespace() && !c.is_control();
    c.is_alphabetic() || c.is_numeric() || separator || "_.:/=+-@".contains(c)
}
