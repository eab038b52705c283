//! Operations that bring key material from outside.
//!
//! Material comes wrapped under a wrapping key, which lives on the token for a day and is good for one KMS key. The
//! token unwraps it into an object that nobody can read, or, where its mechanisms do not suffice and the settings allow
//! it, the host does.

mod delete_imported_key_material;
mod expiry;
mod get_parameters_for_import;
mod import_key_material;
mod import_token;
mod placing;
mod replicas;

pub use delete_imported_key_material::DeleteImportedKeyMaterial;
pub use get_parameters_for_import::GetParametersForImport;
pub use import_key_material::ImportKeyMaterial;

pub(super) use expiry::over;

use super::usable::{available, not_pending_deletion};
use super::{Error, KeyRow, Kms, arn_of};
use crate::auth::Authorized;
use crate::model::{KeyState, Origin, Secret};
use import_token::ImportTokens;

/// What imports go by.
pub struct Imports {
    tokens: ImportTokens,
    /// Whether the host may unwrap what the token cannot.
    allow_host: bool,
    /// How many wrapping keys there may be in a Region.
    max_wrapping_keys: usize,
}

impl Imports {
    /// Imports with tokens under this key, which stays in the service.
    ///
    /// Where the token cannot unwrap something by itself, it passes through the host's memory if `allow_host`. At most
    /// `max_wrapping_keys` are on the token for one Region at a time.
    pub fn new(key: Secret, allow_host: bool, max_wrapping_keys: usize) -> Self {
        Imports { tokens: ImportTokens::new(key), allow_host, max_wrapping_keys }
    }
}

impl Kms {
    /// The key as it is now, but for its token: one whose imported material is over waits for its import from that moment
    /// on, whenever the material is destroyed.
    pub(super) fn without_expired(&self, key: KeyRow) -> KeyRow {
        let usable = matches!(key.record.state, KeyState::Enabled | KeyState::Disabled);
        if key.record.origin != Origin::External || !usable || !key.record.lacks_material(self.now()) {
            return key;
        }
        let mut row = (*key).clone();
        row.record.state = KeyState::PendingImport;
        row.into()
    }
}

/// A key that the caller may change and that takes material from outside.
fn importable(kms: &Kms, key: Authorized<KeyRow>) -> Result<KeyRow, Error> {
    let key = external(key)?;
    kms.check_beyond_aws(&key.record)?;
    not_pending_deletion(&key)?;
    Ok(key)
}

/// A key whose material comes from outside.
fn external(key: Authorized<KeyRow>) -> Result<KeyRow, Error> {
    let key = key.into_thing();
    match key.record.origin {
        Origin::External => available(&key).map(|()| key),
        origin => Err(Error::UnsupportedOperation(format!(
            "{} origin is {origin} which is not valid for this operation.",
            arn_of(&key.record)
        ))),
    }
}

/// The key as it is now; another request may have destroyed it meanwhile. Its state is the one that it has when its token
/// can be reached.
fn still(kms: &Kms, key: &KeyRow) -> Result<KeyRow, Error> {
    let found = kms.store.key(&key.record.region, &key.record.key_id).map(|key| kms.without_expired(key));
    found.ok_or_else(|| gone(key))
}

fn gone(key: &KeyRow) -> Error {
    Error::NotFound(format!("Key '{}' does not exist", arn_of(&key.record)))
}
