//! What a token object is called, and what it may be used for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::KeyId;

/// What one token object is for; an object has one purpose, checked whenever it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Material of a KMS key: the envelope's wrapping key.
    Kms,
    /// Wraps the key that seals the store.
    StoreRoot,
    /// Material of a KMS key that was imported: it was in other hands before.
    Imported,
    /// Unwraps material on its way here.
    ImportWrapping,
    /// Material of a multi-Region KMS key: it came here wrapped, or was wrapped for here.
    MultiRegion,
    /// Unwraps material that comes from another token.
    Replication,
}

impl Purpose {
    /// The word in `CKA_LABEL`.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Kms => "kms",
            Purpose::StoreRoot => "store-root",
            Purpose::Imported => "imported",
            Purpose::ImportWrapping => "import-wrapping",
            Purpose::MultiRegion => "multi-region",
            Purpose::Replication => "replication",
        }
    }

    /// Whether such an object was made where it is, and was never anywhere else.
    pub fn is_made_in_place(self) -> bool {
        !matches!(self, Purpose::Imported | Purpose::MultiRegion)
    }
}

/// Names one token object: its purpose, the key it belongs to, and the material number in that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// What the object may be used for.
    pub purpose: Purpose,
    /// The KMS key (or the store) that it belongs to.
    pub key_id: KeyId,
    /// Counted from 1 within the key, never used again.
    pub material: u32,
}

impl ObjectName {
    /// `CKA_ID`: the key's 16 bytes and the material number, 4 bytes big endian.
    pub fn cka_id(&self) -> [u8; 20] {
        let mut id = [0; 20];
        id[..16].copy_from_slice(self.key_id.as_bytes());
        id[16..].copy_from_slice(&self.material.to_be_bytes());
        id
    }

    /// `CKA_LABEL`: `hsm-kms/<purpose>/<key id>/<material>`.
    pub fn cka_label(&self) -> String {
        format!("hsm-kms/{}/{}/{}", self.purpose.as_str(), self.key_id, self.material)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cka_label())
    }
}
