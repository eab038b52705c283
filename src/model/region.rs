//! The Region of a key and of a request.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An AWS Region name: the model's `RegionType`, `^([a-z]+-){2,3}\d+$`, 1 to 32 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

/// The text is not a Region name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a Region name: for example us-east-1")]
pub struct InvalidRegion(String);

impl Region {
    /// The name, for example `us-east-1`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = InvalidRegion;

    fn from_str(text: &str) -> Result<Self, InvalidRegion> {
        let mut parts = text.split('-').rev();
        let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        let words: Vec<&str> = parts.collect();
        let named = (2..=3).contains(&words.len())
            && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
        if number && named && text.len() <= 32 {
            Ok(Region(text.to_owned()))
        } else {
            Err(InvalidRegion(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Region {
    type Error = InvalidRegion;

    fn try_from(text: String) -> Result<Self, InvalidRegion> {
        text.parse()
    }
}

impl From<Region> for String {
    fn from(region: Region) -> String {
        region.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_models_pattern_takes() {
        for good in ["us-east-1", "us-gov-east-1", "ap-southeast-12"] {
            assert!(good.parse::<Region>().is_ok(), "{good}");
        }
        for bad in ["", "us", "us-east", "us-1", "US-east-1", "a-b-c-d-1", "us-east-1 ", "us--1", "us-east-x"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }
}
