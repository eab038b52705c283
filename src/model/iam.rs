//! The names of IAM: of users, roles and policies, and the paths before them.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The friendly name of a user, role or policy: 1 to 128 characters of `[A-Za-z0-9+=,.@_-]`; users and roles keep to 64.
///
/// Two names that differ by case alone are the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FriendlyName(String);

/// The path of a user, role or policy: `/`, or up to 512 characters between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IamPath(String);

impl FriendlyName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names that are the same have in common.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for FriendlyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if (1..=128).contains(&text.len()) && text.bytes().all(is_name_byte) {
            Ok(FriendlyName(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a name: 1 to 128 characters of A-Z a-z 0-9 + = , . @ _ -"))
        }
    }
}

impl IamPath {
    /// The path, which begins and ends with a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for IamPath {
    fn default() -> Self {
        IamPath("/".into())
    }
}

impl FromStr for IamPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let between = |path: &str| path.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).map(str::to_owned);
        let plain = |part: &str| !part.is_empty() && part.bytes().all(is_name_byte);
        let fits = text == "/" || between(text).is_some_and(|parts| parts.split('/').all(plain));
        if fits && text.len() <= 512 {
            Ok(IamPath(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a path: / or names between slashes, for example /team/"))
        }
    }
}

/// A text whose case does not count, such as the key of a tag or the name of a condition key: every letter by itself in
/// lower case, wherever it stands, so that equal texts of whatever case become equal.
pub fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)
}

macro_rules! text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text!(FriendlyName);
text!(IamPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_those_of_iam() {
        for good in ["a", "A_b-c.d@e=f,g+h", &"x".repeat(128)] {
            assert_eq!(good.parse::<FriendlyName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "a:b", "ä", "*", &"x".repeat(129)] {
            assert!(bad.parse::<FriendlyName>().is_err(), "{bad:?}");
        }
        for good in ["/", "/a/", "/a/b.c/"] {
            assert_eq!(good.parse::<IamPath>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "/a", "a/", "//", "/a//b/", "/a b/", &format!("/{}/", "x".repeat(511))] {
            assert!(bad.parse::<IamPath>().is_err(), "{bad:?}");
        }
    }
}
