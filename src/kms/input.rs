//! Small types that requests and answers share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::model::{Secret, Timestamp};

/// Bytes that travel as base64 (RFC 4648 §4, padded); wiped when dropped.
#[derive(Debug, Clone)]
pub struct Blob(pub Secret);

/// A time in a request of AWS JSON 1.1: seconds since the epoch, with or without a fraction.
#[derive(Debug, Clone, Copy)]
pub struct EpochSeconds(pub Timestamp);

/// Writes a time as AWS JSON 1.1 does: seconds since the epoch, with a fraction.
pub fn epoch_seconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_epoch_seconds())
}

/// Writes a time as the AWS query protocol does: `2026-11-22T10:00:00Z`.
pub fn iso_8601<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl<'de> Deserialize<'de> for EpochSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = (f64::deserialize(deserializer)? * 1_000.0).round();
        // What no clock shows becomes the end of time, which its operation refuses.
        Ok(EpochSeconds(Timestamp::from_millis(millis as i64)))
    }
}

impl Blob {
    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Blob(Secret::new(bytes))
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&zeroize::Zeroizing::new(STANDARD.encode(self.expose())))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64)
    }
}

struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Blob;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a base64 string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
        STANDARD.decode(text).map(Blob::from).map_err(|_| E::custom("a blob is not base64"))
    }
}
