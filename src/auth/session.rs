//! Session tokens: what temporary credentials carry, sealed, so that nothing has to be kept of a session.
//!
//! A token is base64 (RFC 4648 §4) of `01 ‖ salt 32 ‖ ciphertext ‖ tag 16`. From the salt and a key of the store's
//! follow the key that seals this one token by AES-256-GCM, the access key id and the secret access key:
//! `key 32 ‖ secret 30 ‖ id 16 = KBKDF(root, "hsm-kms/v1/session-token", salt)`. The two are derived, and not written
//! inside, so that a token cannot be of another access key, is shorter, and no parser ever copies a secret. A key seals
//! once, so that its nonce is constant.
//!
//! Pure: no clock, no store, no await.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto;
use crate::model::{AccountId, FriendlyName, Secret, Timestamp};

/// Characters of the longest token. All headers of a request together have 16 KiB.
pub const MAX_LEN: usize = 8192;
/// Bytes of a token's salt.
pub const SALT_LEN: usize = 32;

/// What a token says of its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The account of the principal.
    pub account: AccountId,
    /// Whose session it is.
    pub holder: Holder,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends: at this instant it is over.
    pub expires: Timestamp,
    /// The session policy that was given as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The names of the account's policies that were given as session policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_names: Vec<FriendlyName>,
    /// The session tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The keys of those tags that sessions of this session keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitive_tag_keys: Vec<String>,
    /// Who the person behind the session is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

/// Whose session it is, by the id that no other principal ever gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Holder {
    /// The account's root user.
    Root,
    /// The user with this unique id.
    User(String),
    /// A role.
    Role {
        /// Its unique id.
        id: String,
        /// The name of the session, 2 to 64 characters.
        session: String,
    },
}

/// Temporary credentials, as their holder gets them.
pub struct Credentials {
    /// Twenty characters, beginning with `ASIA`.
    pub access_key_id: String,
    /// Forty characters.
    pub secret_access_key: Secret,
    /// The token: at most [`MAX_LEN`] characters.
    pub session_token: String,
}

/// What is behind a token that was issued here.
#[derive(Debug)]
pub struct Opened {
    /// The access key id that belongs to it.
    pub access_key_id: String,
    /// The secret access key that belongs to it.
    pub secret_access_key: Secret,
    /// What it says.
    pub content: Content,
}

/// Not a token that was issued here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session token of this service")]
pub struct Unreadable;

/// The content makes a token of this many characters, which is more than [`MAX_LEN`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session token of {0} characters is too long")]
pub struct TooLong(pub usize);

/// Issues and opens tokens under a key derived from the store's.
pub struct Tokens {
    root: Secret,
}

impl Tokens {
    /// Tokens under this key.
    pub fn new(root: Secret) -> Self {
        Tokens { root }
    }

    /// Makes the credentials of a session. `salt` is random, and never used again; the token has at least `min_len`
    /// characters, of which [`MAX_LEN`] are looked at.
    pub fn issue(&self, content: &Content, salt: &[u8; SALT_LEN], min_len: usize) -> Result<Credentials, TooLong> {
        let mut plaintext = serde_json::to_vec(content).expect("texts, numbers and maps by text have JSON");
        // Behind JSON, spaces mean nothing.
        plaintext.resize(plaintext.len().max(content_len(min_len.min(MAX_LEN))), b' ');
        let keys = self.keys(salt);
        let sealed = crypto::seal(&keys.sealing, &NONCE, &associated(salt), &plaintext);
        let session_token = STANDARD.encode([&[VERSION], &salt[..], &sealed].concat());
        match session_token.len() {
            ..=MAX_LEN => Ok(Credentials {
                access_key_id: keys.access_key_id,
                secret_access_key: keys.secret_access_key,
                session_token,
            }),
            len => Err(TooLong(len)),
        }
    }

    /// Opens a token that was issued under the same key.
    pub fn open(&self, token: &[u8]) -> Result<Opened, Unreadable> {
        if token.len() > MAX_LEN {
            return Err(Unreadable);
        }
        let bytes = STANDARD.decode(token).map_err(|_| Unreadable)?;
        let (version, rest) = bytes.split_first().ok_or(Unreadable)?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_LEN>().ok_or(Unreadable)?;
        if *version != VERSION {
            return Err(Unreadable);
        }
        let keys = self.keys(salt);
        let content = crypto::open(&keys.sealing, &NONCE, &associated(salt), sealed).map_err(|_| Unreadable)?;
        let content = serde_json::from_slice(content.expose()).map_err(|_| Unreadable)?;
        Ok(Opened { access_key_id: keys.access_key_id, secret_access_key: keys.secret_access_key, content })
    }

    fn keys(&self, salt: &[u8; SALT_LEN]) -> Keys {
        let derived = crypto::kbkdf(self.root.expose(), LABEL, &[salt], crypto::KEY_LEN + SECRET_LEN + ID_LEN);
        let (sealing, rest) = derived.expose().split_at(crypto::KEY_LEN);
        let (secret, id) = rest.split_at(SECRET_LEN);
        let mut key = Zeroizing::new([0; crypto::KEY_LEN]);
        key.copy_from_slice(sealing);
        let id: String = id.iter().map(|byte| char::from(BASE32[usize::from(byte % 32)])).collect();
        Keys {
            sealing: key,
            secret_access_key: Secret::new(STANDARD.encode(secret).into_bytes()),
            access_key_id: format!("{PREFIX}{id}"),
        }
    }
}

/// What follows from a salt.
struct Keys {
    sealing: Zeroizing<[u8; crypto::KEY_LEN]>,
    secret_access_key: Secret,
    access_key_id: String,
}

fn associated(salt: &[u8; SALT_LEN]) -> Vec<u8> {
    [LABEL, &[VERSION], &salt[..]].concat()
}

/// The bytes of content in a token of `len` characters, rounded up.
fn content_len(len: usize) -> usize {
    (len.div_ceil(4) * 3).saturating_sub(1 + SALT_LEN + crypto::TAG_LEN)
}

/// How the access key ids of temporary credentials begin.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
const PREFIX: &str = "ASIA";
const VERSION: u8 = 1;
const LABEL: &[u8] = b"hsm-kms/v1/session-token";
const NONCE: [u8; crypto::NONCE_LEN] = [0; crypto::NONCE_LEN];
/// Forty characters of base64.
const SECRET_LEN: usize = 30;
const ID_LEN: usize = 16;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
