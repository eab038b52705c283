//! Temporary credentials as answers and records show them.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::auth::session::{self, Content, TooLong};
use crate::kms::{Context, Error, iso_8601};
use crate::model::{Secret, Timestamp};

/// Temporary credentials in an answer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    access_key_id: String,
    #[serde(serialize_with = "text")]
    secret_access_key: Secret,
    session_token: String,
    #[serde(serialize_with = "iso_8601")]
    expiration: Timestamp,
}

impl Credentials {
    /// Issues the credentials of a session.
    pub fn issue(cx: &Context, content: &Content, min_len: usize) -> Result<Self, Error> {
        let made = cx.kms.issue(content, min_len)?.map_err(|TooLong(len)| too_long(content, len))?;
        Ok(Credentials {
            access_key_id: made.access_key_id,
            secret_access_key: made.secret_access_key,
            session_token: made.session_token,
            expiration: content.expires,
        })
    }

    /// Characters of the token.
    pub fn token_len(&self) -> usize {
        self.session_token.len()
    }

    /// How much of the longest token this one is, in percent, rounded up.
    pub fn token_percent(&self) -> usize {
        percent(self.token_len())
    }

    /// What the record may show of them: neither the secret nor the token.
    pub fn shown(&self) -> Value {
        json!({ "accessKeyId": self.access_key_id, "expiration": self.expiration.to_string() })
    }
}

/// When a session that is issued at `issued` ends: in whole seconds, as its holder is told.
pub fn end(issued: Timestamp, seconds: u32) -> Timestamp {
    let whole = Timestamp::from_millis(issued.as_millis().div_euclid(1_000) * 1_000);
    whole.plus(Duration::from_secs(u64::from(seconds)))
}

fn too_long(content: &Content, len: usize) -> Error {
    let percent = percent(len);
    Error::PackedPolicyTooLarge(match content.policy.is_some() || !content.policy_names.is_empty() {
        true => format!("Packed policy consumes {percent}% of allotted space, please use smaller policy."),
        false => format!("Packed size of session tags consumes {percent}% of allotted space."),
    })
}

fn percent(len: usize) -> usize {
    (len * 100).div_ceil(session::MAX_LEN)
}

fn text<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(std::str::from_utf8(secret.expose()).map_err(serde::ser::Error::custom)?)
}
