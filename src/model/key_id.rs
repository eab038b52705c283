//! The id of a KMS key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A key id: a UUID, or `mrk-` and 32 hex digits for a multi-Region key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id-key-id>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId {
    uuid: Uuid,
    multi_region: bool,
}

/// The text is not a key id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a key id")]
pub struct InvalidKeyId(String);

impl KeyId {
    /// The single-Region key id with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        KeyId { uuid: Uuid::from_bytes(bytes), multi_region: false }
    }

    /// The multi-Region (`mrk-`) key id with these sixteen bytes.
    pub fn multi_region_from_bytes(bytes: [u8; 16]) -> Self {
        KeyId { uuid: Uuid::from_bytes(bytes), multi_region: true }
    }

    /// A new random id: a version 4 UUID (RFC 9562 §5.4) made of sixteen random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        KeyId { uuid: uuid::Builder::from_random_bytes(random).into_uuid(), multi_region: false }
    }

    /// The sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// Whether the id is of a multi-Region key.
    pub fn is_multi_region(&self) -> bool {
        self.multi_region
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let (multi_region, parsed) = match text.strip_prefix("mrk-") {
            Some(digits) if digits.len() == 32 => (true, Uuid::try_parse(digits)),
            None if text.len() == 36 => (false, Uuid::try_parse(text)),
            _ => return Err(InvalidKeyId(text.to_owned())),
        };
        let key_id = parsed.map(|uuid| KeyId { uuid, multi_region });
        // One spelling for one key: what does not print as it was written is another name.
        key_id.ok().filter(|id| id.to_string() == text).ok_or_else(|| InvalidKeyId(text.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.multi_region {
            write!(f, "mrk-{}", self.uuid.simple())
        } else {
            write!(f, "{}", self.uuid.hyphenated())
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;

    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(key_id: KeyId) -> String {
        key_id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_one_key() {
        for good in ["1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab"] {
            assert_eq!(good.parse::<KeyId>().unwrap().to_string(), good);
        }
        for bad in ["", "1234ABCD-12ab-34cd-56ef-1234567890ab", "1234abcd12ab34cd56ef1234567890ab", "mrk-", "alias/x"] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
