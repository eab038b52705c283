//! The second proof: the key is in a state and of a usage that admits the operation.

use std::sync::Arc;

use super::{Error, KeyRow, arn_of, public_key_of};
use crate::auth::Authorized;
use crate::crypto::PublicKey;
use crate::model::{KeySpec, KeyState, KeyUsage};
use crate::store::{KeyRecord, Material};

/// A key that the caller may use, and that may be used for what he wants.
///
/// ```
/// use hsm_kms::auth::Authorized;
/// use hsm_kms::kms::{Error, KeyRow, UsableKey};
/// use hsm_kms::model::KeyUsage;
///
/// fn usable(key: Authorized<KeyRow>) -> Result<UsableKey, Error> {
///     UsableKey::new(key, "Encrypt", KeyUsage::EncryptDecrypt)
/// }
/// ```
///
/// Not of a key without the proof:
///
/// ```compile_fail,E0308
/// use hsm_kms::auth::Authorized;
/// use hsm_kms::kms::{Error, KeyRow, UsableKey};
/// use hsm_kms::model::KeyUsage;
///
/// fn usable(key: KeyRow) -> Result<UsableKey, Error> {
///     UsableKey::new(key, "Encrypt", KeyUsage::EncryptDecrypt)
/// }
/// ```
///
/// Nor by hand, nor taken apart:
///
/// ```compile_fail,E0423
/// use hsm_kms::kms::{KeyRow, UsableKey};
///
/// fn usable(key: KeyRow) -> UsableKey {
///     UsableKey(key)
/// }
/// ```
///
/// ```
/// fn record(key: &hsm_kms::kms::UsableKey) -> &hsm_kms::store::KeyRecord {
///     key.record()
/// }
/// ```
///
/// ```compile_fail,E0616
/// fn record(key: &hsm_kms::kms::UsableKey) -> &hsm_kms::store::KeyRecord {
///     &key.0.record
/// }
/// ```
pub struct UsableKey(KeyRow);

impl UsableKey {
    /// Proves that an authorised key is enabled and of this usage, which the operation needs.
    pub fn new(key: Authorized<KeyRow>, operation: &str, usage: KeyUsage) -> Result<Self, Error> {
        let key = key.into_thing();
        enabled(&key)?;
        if key.record.usage != usage {
            let (arn, its) = (arn_of(&key.record), key.record.usage);
            return Err(Error::InvalidKeyUsage(format!(
                "{arn} key usage is {its} which is not valid for {operation}."
            )));
        }
        Ok(UsableKey(key))
    }

    /// As [`UsableKey::new`], for the operations that make data keys, which symmetric keys alone encrypt.
    pub fn symmetric(key: Authorized<KeyRow>, operation: &str) -> Result<Self, Error> {
        let key = UsableKey::new(key, operation, KeyUsage::EncryptDecrypt)?;
        match key.record().spec {
            KeySpec::SymmetricDefault => Ok(key),
            _ => Err(Error::InvalidKeyUsage("You cannot generate a data key with an asymmetric CMK".into())),
        }
    }

    /// What the store says of the key.
    pub fn record(&self) -> &KeyRecord {
        &self.0.record
    }

    /// The key's ARN, as answers show it.
    pub fn arn(&self) -> String {
        arn_of(&self.0.record).to_string()
    }

    /// The public half of an asymmetric key.
    pub fn public_key(&self) -> Result<Arc<PublicKey>, Error> {
        public_key_of(&self.0)
    }

    /// The material that encrypts, signs or computes.
    pub fn current_material(&self) -> Result<&Material, Error> {
        let none = || Error::Internal(format!("key {} has no material", self.0.record.key_id));
        self.0.record.current().ok_or_else(none)
    }
}

/// Refuses a key that is disabled or on its way to deletion, for operations that use it.
pub fn enabled(key: &KeyRow) -> Result<(), Error> {
    match key.record.state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(Error::Disabled(arn_of(&key.record))),
        KeyState::PendingImport => Err(pending_import(key)),
        KeyState::PendingDeletion | KeyState::PendingReplicaDeletion | KeyState::Destroying => {
            Err(pending_deletion(key))
        }
        KeyState::Unavailable => Err(unavailable(key)),
    }
}

/// As [`enabled`], but of a key that cannot be reached now, too: for what is about its use when it can be.
pub fn not_disabled(key: &KeyRow) -> Result<(), Error> {
    if key.record.state == KeyState::Unavailable { Ok(()) } else { enabled(key) }
}

/// Refuses a key whose token cannot be reached, for operations that need the token and no other state.
pub fn available(key: &KeyRow) -> Result<(), Error> {
    if key.record.state == KeyState::Unavailable { Err(unavailable(key)) } else { Ok(()) }
}

/// Refuses a key on its way to deletion, for operations that change it.
pub fn not_pending_deletion(key: &KeyRow) -> Result<(), Error> {
    match key.record.state {
        KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport | KeyState::Unavailable => Ok(()),
        KeyState::PendingDeletion | KeyState::PendingReplicaDeletion | KeyState::Destroying => {
            Err(pending_deletion(key))
        }
    }
}

/// Refuses a key on its way to deletion, and one that waits for its material.
pub fn with_material(key: &KeyRow) -> Result<(), Error> {
    if key.record.state == KeyState::PendingImport { Err(pending_import(key)) } else { not_pending_deletion(key) }
}

fn pending_import(key: &KeyRow) -> Error {
    Error::InvalidState(format!("{} is pending import.", arn_of(&key.record)))
}

fn unavailable(key: &KeyRow) -> Error {
    Error::InvalidState(format!("{} is unavailable.", arn_of(&key.record)))
}

fn pending_deletion(key: &KeyRow) -> Error {
    let what = if key.record.state == KeyState::PendingReplicaDeletion { "replica deletion" } else { "deletion" };
    Error::InvalidState(format!("{} is pending {what}.", arn_of(&key.record)))
}
