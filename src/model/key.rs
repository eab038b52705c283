//! What a KMS key is: its spec, usage, origin and state.

use serde::{Deserialize, Serialize};

/// The type of key material: the model's `KeySpec`, as far as this service makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeySpec {
    /// A 256-bit AES key.
    SymmetricDefault,
}

/// What the key may be used for: the model's `KeyUsageType`, as far as this service makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyUsage {
    /// Encrypt, Decrypt, ReEncrypt and data keys.
    EncryptDecrypt,
}

/// Where the key material came from: the model's `OriginType`, as far as this service makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Origin {
    /// Made by this service on the token.
    AwsKms,
}

/// Who manages the key: the model's `KeyManagerType`; always the customer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyManager {
    /// The account that made the key.
    Customer,
}

/// The state of a key, as [`KeyState::wire`] tells it to callers.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyState {
    /// Usable.
    Enabled,
    /// Not usable until enabled again.
    Disabled,
    /// Waiting for its deletion date.
    PendingDeletion,
    /// Its token objects are being destroyed: no way back. Callers see `PendingDeletion`.
    Destroying,
}

impl KeySpec {
    /// The model's word.
    pub fn as_str(self) -> &'static str {
        match self {
            KeySpec::SymmetricDefault => "SYMMETRIC_DEFAULT",
        }
    }
}

impl KeyUsage {
    /// The model's word.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyUsage::EncryptDecrypt => "ENCRYPT_DECRYPT",
        }
    }
}

impl Origin {
    /// The model's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::AwsKms => "AWS_KMS",
        }
    }
}

impl KeyState {
    /// The model's word.
    pub fn wire(self) -> &'static str {
        match self {
            KeyState::Enabled => "Enabled",
            KeyState::Disabled => "Disabled",
            KeyState::PendingDeletion | KeyState::Destroying => "PendingDeletion",
        }
    }
}
