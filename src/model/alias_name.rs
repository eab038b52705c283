//! The name of an alias.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An alias name with its `alias/` prefix, case-sensitive, at most 256 characters of `[a-zA-Z0-9/_-]`.
///
/// The model's pattern also admits `:`, which the documentation forbids inside the name; so do we.
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(String);

/// Why a text is not an alias name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAliasName {
    /// It does not begin with `alias/`.
    #[error("an alias begins with alias/")]
    Prefix,
    /// There is nothing behind `alias/`, too much of it, or a character that an alias cannot have.
    #[error("an alias is alias/ and at most 250 characters of a-z A-Z 0-9 / _ -")]
    Characters,
}

impl AliasName {
    /// The name with its `alias/` prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is in the part that AWS keeps for itself, `alias/aws/`.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("alias/aws/")
    }
}

impl FromStr for AliasName {
    type Err = InvalidAliasName;

    fn from_str(text: &str) -> Result<Self, InvalidAliasName> {
        let name = text.strip_prefix("alias/").ok_or(InvalidAliasName::Prefix)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-');
        if name.is_empty() || text.len() > 256 || !name.bytes().all(fits) {
            return Err(InvalidAliasName::Characters);
        }
        Ok(AliasName(text.to_owned()))
    }
}

impl TryFrom<String> for AliasName {
    type Error = InvalidAliasName;

    fn try_from(text: String) -> Result<Self, InvalidAliasName> {
        text.parse()
    }
}

impl From<AliasName> for String {
    fn from(name: AliasName) -> String {
        name.0
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
