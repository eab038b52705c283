//! The encryption context of a symmetric operation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// String pairs that are bound to a ciphertext: exact, case-sensitive, order-free; absent equals empty.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, sorted by the bytes of their keys.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether every pair of `other` is here.
    pub fn has(&self, other: &EncryptionContext) -> bool {
        other.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// The one byte string for these pairs: sorted by key bytes, every key and value behind its length
    /// (4 bytes big endian), so that `{"a":"bc"}` and `{"ab":"c"}` differ. Empty for no pairs.
    pub fn canonical(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(key, value)| [key, value]).fold(Vec::new(), |mut bytes, text| {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes
        })
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for EncryptionContext {
    fn from(pairs: [(K, V); N]) -> Self {
        EncryptionContext(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_character_across_the_pair_changes_the_bytes() {
        assert_ne!(
            EncryptionContext::from([("a", "bc")]).canonical(),
            EncryptionContext::from([("ab", "c")]).canonical()
        );
    }

    #[test]
    fn order_does_not_matter_and_absent_is_empty() {
        assert_eq!(
            EncryptionContext::from([("b", "2"), ("a", "1")]).canonical(),
            EncryptionContext::from([("a", "1"), ("b", "2")]).canonical()
        );
        assert_eq!(EncryptionContext::default().canonical(), b"");
    }
}
