//! What a grant can permit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operation that a grant can permit.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantOperation(u8);

/// A set of [`GrantOperation`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantOperations(u32);

impl GrantOperation {
    /// Every one, by the model's names.
    pub const NAMES: &'static [&'static str] = &[
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
        "Sign",
        "Verify",
        "GetPublicKey",
        "CreateGrant",
        "RetireGrant",
        "DescribeKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateMac",
        "VerifyMac",
        "DeriveSharedSecret",
        "Encapsulate",
        "Decapsulate",
    ];

    /// The name, which is a policy action without its `kms:`.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[usize::from(self.0)]
    }
}

impl GrantOperations {
    /// Whether all of `others` are among these.
    pub fn contain(self, others: GrantOperations) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether this one is among these.
    pub fn has(self, operation: GrantOperation) -> bool {
        self.contain(operation.into())
    }
}

impl From<GrantOperation> for GrantOperations {
    fn from(operation: GrantOperation) -> Self {
        GrantOperations(1 << operation.0)
    }
}

impl FromIterator<GrantOperation> for GrantOperations {
    fn from_iter<I: IntoIterator<Item = GrantOperation>>(operations: I) -> Self {
        GrantOperations(operations.into_iter().fold(0, |set, operation| set | 1 << operation.0))
    }
}

impl FromStr for GrantOperation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().zip(0..).find(|(name, _)| **name == text);
        found.map(|(_, number)| GrantOperation(number)).ok_or_else(|| format!("no grant can permit {text}"))
    }
}

impl TryFrom<String> for GrantOperation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GrantOperation> for String {
    fn from(operation: GrantOperation) -> String {
        operation.as_str().to_owned()
    }
}

impl fmt::Display for GrantOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let all = || GrantOperation::NAMES.iter().map(|name| name.parse::<GrantOperation>().unwrap());
        let set: GrantOperations = all().collect();
        for operation in all() {
            assert_eq!(operation.as_str().parse(), Ok(operation));
            let alone = GrantOperations::from(operation);
            assert!(set.has(operation) && set.contain(alone) && !alone.contain(set));
            assert!(!GrantOperations::default().has(operation));
        }
        assert!("ReEncrypt".parse::<GrantOperation>().is_err());
    }
}
