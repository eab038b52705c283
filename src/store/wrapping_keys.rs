//! The keys under which callers wrap key material on its way here.

use serde::{Deserialize, Serialize};

use super::Record;
use super::record::key_row;
use crate::model::{AccountId, CustomKeyStoreId, KeyId, KeyPairSpec, ObjectName, Purpose, Region, Timestamp};

/// A wrapping key that was given out for importing into one KMS key. It is destroyed when it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappingKeyRecord {
    /// Where the KMS key lives.
    pub region: Region,
    /// The custom key store whose token has it; none where that is the Region's own token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_key_store: Option<CustomKeyStoreId>,
    /// Whose it is.
    pub account: AccountId,
    /// The KMS key, into which alone material may be imported by it.
    pub key_id: KeyId,
    /// Its own id.
    pub wrapping_key_id: KeyId,
    /// Its type, of RSA.
    pub spec: KeyPairSpec,
    /// When it was made.
    pub created: Timestamp,
    /// From when on nothing is imported by it.
    pub expires: Timestamp,
}

impl WrappingKeyRecord {
    /// Its token object.
    pub fn object(&self) -> ObjectName {
        ObjectName { purpose: Purpose::ImportWrapping, key_id: self.wrapping_key_id, material: 1 }
    }
}

impl Record for WrappingKeyRecord {
    const TABLE: &'static str = "wrapping-keys";

    fn primary_key(&self) -> String {
        wrapping_key_row(&self.region, &self.key_id, &self.wrapping_key_id)
    }
}

/// The primary key of a [`WrappingKeyRecord`].
pub(super) fn wrapping_key_row(region: &Region, key_id: &KeyId, wrapping_key_id: &KeyId) -> String {
    format!("{}{wrapping_key_id}", wrapping_keys_of(region, key_id))
}

/// What the primary keys of all wrapping keys for one KMS key begin with.
pub(super) fn wrapping_keys_of(region: &Region, key_id: &KeyId) -> String {
    format!("{}/", key_row(region, key_id))
}
