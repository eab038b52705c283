//! The meta row: what must be known before the store can be opened, in the clear.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::crypto;
use crate::model::KeyId;

/// Which token opens the store. Readable without any key; the root binds it by its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// The id of the store, random, and of its object on the token.
    pub store_id: KeyId,
    /// The store key as the token wrapped it.
    #[serde(with = "as_hex")]
    pub wrapped_key: Vec<u8>,
    /// How it was wrapped; the token's matter.
    pub scheme: u8,
    /// The label of the token.
    pub token_label: String,
    /// Its serial number.
    pub token_serial: String,
}

impl Meta {
    /// The bytes of the row.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Strings and integers only.
        serde_json::to_vec(self).expect("a meta row is JSON")
    }

    /// Reads the row.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::tampered(format!("the meta row is not readable: {error}")))
    }
}

/// What the root holds of the meta row.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    crypto::sha256(&[bytes])
}

/// Bytes as hexadecimal digits in JSON.
pub(super) mod as_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::store) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(in crate::store) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<Vec<u8>>,
    {
        let bytes = hex::decode(String::deserialize(from)?).map_err(D::Error::custom)?;
        T::try_from(bytes).map_err(|_| D::Error::custom("the wrong number of bytes"))
    }
}
