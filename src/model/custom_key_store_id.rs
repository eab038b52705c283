//! The id of a custom key store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `cks-` and 17 hexadecimal digits, for example `cks-1234567890abcdef0`.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateCustomKeyStore.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CustomKeyStoreId(String);

impl CustomKeyStoreId {
    /// A new id of nine random bytes, of which 68 bits are used.
    pub fn from_random(random: [u8; 9]) -> Self {
        CustomKeyStoreId(format!("cks-{}", &hex::encode(random)[..DIGITS]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CustomKeyStoreId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.strip_prefix("cks-") {
            Some(digits) if digits.len() == DIGITS && digits.bytes().all(is_digit) => {
                Ok(CustomKeyStoreId(text.to_owned()))
            }
            _ => Err(format!("`{text}` is not a custom key store's id: cks- and 17 hexadecimal digits")),
        }
    }
}

impl TryFrom<String> for CustomKeyStoreId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CustomKeyStoreId> for String {
    fn from(id: CustomKeyStoreId) -> String {
        id.0
    }
}

impl fmt::Display for CustomKeyStoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const DIGITS: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_one_store() {
        let id = CustomKeyStoreId::from_random([0xab; 9]);
        assert_eq!(id.as_str(), "cks-ababababababababa");
        assert_eq!(id.as_str().parse(), Ok(id));
        for bad in
            ["", "cks-", "cks-ABABABABABABABABA", "cks-ababababababababab", "cks-abababababababab", "ababababababababa"]
        {
            assert!(bad.parse::<CustomKeyStoreId>().is_err(), "{bad}");
        }
    }
}
