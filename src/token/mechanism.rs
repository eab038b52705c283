//! Wrapping a seed of 32 bytes: one way for each scheme.
//!
//! | number | name in profiles | wrapped seed |
//! |---|---|---|
//! | 1 | `aes_gcm_host_iv` | IV 12 ‖ ciphertext 32 ‖ tag 16 |
//! | 2 | `aes_gcm_zeroed_iv` | the same |
//! | 3 | `aes_gcm_prepended_iv` | the same |
//! | 4 | `aes_cbc_host_iv` | IV 16 ‖ ciphertext 32 |
//! | 5 | `aes_gcm_appended_iv_128` | ciphertext 32 ‖ tag 16 ‖ IV 16 |
//! | 6 | `aes_gcm_appended_iv_96` | ciphertext 32 ‖ tag 16 ‖ IV 12 |
//! | 7 | `aes_kwp` | 40 bytes of RFC 5649 |
//!
//! Numbers are in records and blobs, and never get another meaning.

use std::fmt;

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::ObjectHandle;

use cryptoki_sys::CK_MECHANISM_TYPE;
use serde::Deserialize;

use super::error::{Error, Failure};
use super::iv::{BLOCK, HostIv, MakesIvs, OwnIvKey};
use super::profile::Mechanisms;
use super::raw::{GcmIv, Raw};
use super::session::Session;
use crate::crypto::{NONCE_LEN, TAG_LEN};
use crate::model::Secret;

/// Bytes in a seed.
pub(super) const SEED_LEN: usize = 32;

/// How a seed is wrapped, recorded with the material and in the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scheme {
    /// `CKM_AES_GCM` with a random 96-bit IV of ours.
    AesGcmHostIv,
    /// `CKM_AES_GCM` with a zeroed parameter, into which the token writes its 96-bit IV.
    AesGcmZeroedIv,
    /// A vendor's GCM, which puts its 96-bit IV before the ciphertext.
    AesGcmPrependedIv,
    /// `CKM_AES_CBC` of exactly two blocks with a random IV of ours. It authenticates nothing: the blob does.
    AesCbcHostIv,
    /// `CKM_AES_GCM` without an IV; the token puts its 128-bit IV behind the tag.
    #[serde(rename = "aes_gcm_appended_iv_128")]
    AesGcmAppendedIv128,
    /// `CKM_AES_GCM` without an IV; the token puts its 96-bit IV behind the tag.
    #[serde(rename = "aes_gcm_appended_iv_96")]
    AesGcmAppendedIv96,
    /// AES key wrap with padding (RFC 5649) by `C_Encrypt`.
    AesKwp,
}

/// How a token gives the IV that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnIv {
    /// In the parameter, which was zeros.
    Written,
    /// Before the ciphertext, by the vendor's mechanism with this number.
    Prepended(CK_MECHANISM_TYPE),
    /// Behind the tag: so many bytes.
    Appended(usize),
}

/// A scheme that this token was seen to do, with what it takes to wrap by it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// [`Scheme::AesGcmHostIv`]
    GcmHostIv,
    /// Those with an IV of the token's own.
    GcmOwnIv(MakesIvs),
    /// [`Scheme::AesCbcHostIv`]
    CbcHostIv,
    /// [`Scheme::AesKwp`]
    Kwp,
}

impl Scheme {
    /// All of them, by their numbers from 1.
    pub const ALL: [Scheme; 7] = [
        Scheme::AesGcmHostIv,
        Scheme::AesGcmZeroedIv,
        Scheme::AesGcmPrependedIv,
        Scheme::AesCbcHostIv,
        Scheme::AesGcmAppendedIv128,
        Scheme::AesGcmAppendedIv96,
        Scheme::AesKwp,
    ];

    /// Its number in records and blobs.
    pub fn number(self) -> u8 {
        match self {
            Scheme::AesGcmHostIv => 1,
            Scheme::AesGcmZeroedIv => 2,
            Scheme::AesGcmPrependedIv => 3,
            Scheme::AesCbcHostIv => 4,
            Scheme::AesGcmAppendedIv128 => 5,
            Scheme::AesGcmAppendedIv96 => 6,
            Scheme::AesKwp => 7,
        }
    }

    /// The scheme with this number.
    pub fn of_number(number: u8) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|scheme| scheme.number() == number)
    }

    /// Bytes in a wrapped seed.
    pub fn wrapped_len(self) -> usize {
        match self {
            Scheme::AesGcmHostIv | Scheme::AesGcmZeroedIv | Scheme::AesGcmPrependedIv | Scheme::AesGcmAppendedIv96 => {
                NONCE_LEN + SEED_LEN + TAG_LEN
            }
            Scheme::AesGcmAppendedIv128 => SEED_LEN + TAG_LEN + BLOCK,
            Scheme::AesCbcHostIv => BLOCK + SEED_LEN,
            Scheme::AesKwp => SEED_LEN + 8,
        }
    }

    /// Whether the token notices a forged ciphertext. Where it does not, an error is never about the data.
    pub fn authenticates(self) -> bool {
        self != Scheme::AesCbcHostIv
    }

    /// Whether it authenticates associated data.
    pub fn binds_associated(self) -> bool {
        self.authenticates() && self != Scheme::AesKwp
    }

    /// Whether `CKM_AES_GCM` opens it with the IV that comes with it.
    pub fn opens_with_its_iv(self) -> bool {
        self.binds_associated() && self != Scheme::AesGcmPrependedIv
    }

    /// How the token gives its IV; `None` if it does not make one.
    pub fn own_iv(self, numbers: &Mechanisms) -> Option<OwnIv> {
        match self {
            Scheme::AesGcmZeroedIv => Some(OwnIv::Written),
            Scheme::AesGcmPrependedIv => Some(OwnIv::Prepended(numbers.gcm_prepended_iv)),
            Scheme::AesGcmAppendedIv128 => Some(OwnIv::Appended(BLOCK)),
            Scheme::AesGcmAppendedIv96 => Some(OwnIv::Appended(NONCE_LEN)),
            Scheme::AesGcmHostIv | Scheme::AesCbcHostIv | Scheme::AesKwp => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::AesGcmHostIv => "aes_gcm_host_iv",
            Scheme::AesGcmZeroedIv => "aes_gcm_zeroed_iv",
            Scheme::AesGcmPrependedIv => "aes_gcm_prepended_iv",
            Scheme::AesCbcHostIv => "aes_cbc_host_iv",
            Scheme::AesGcmAppendedIv128 => "aes_gcm_appended_iv_128",
            Scheme::AesGcmAppendedIv96 => "aes_gcm_appended_iv_96",
            Scheme::AesKwp => "aes_kwp",
        })
    }
}

impl OwnIv {
    /// A wrapped seed's IV, and the rest of it.
    pub fn split(self, wrapped: &[u8]) -> (&[u8], &[u8]) {
        match self {
            OwnIv::Written | OwnIv::Prepended(_) => wrapped.split_at(NONCE_LEN.min(wrapped.len())),
            OwnIv::Appended(len) => {
                let (sealed, iv) = wrapped.split_at(wrapped.len().saturating_sub(len));
                (iv, sealed)
            }
        }
    }
}

/// An AES key, and what it takes to use it.
pub(super) struct WrappingKey<'a> {
    pub raw: &'a Raw,
    pub numbers: &'a Mechanisms,
    pub session: &'a Session,
    pub handle: ObjectHandle,
}

/// Wraps a seed in a way that this token was seen to do. `iv` is used where the IV is ours, and for one seed only.
pub(super) fn wrap(
    key: &WrappingKey,
    way: Way,
    iv: &HostIv,
    associated: &[u8],
    seed: &[u8],
) -> Result<Vec<u8>, Failure> {
    let &WrappingKey { raw, numbers, session, handle } = key;
    let wrapped = match way {
        Way::GcmOwnIv(makes_ivs) => return wrap_own_iv(raw, session, &makes_ivs.key(handle), associated, seed),
        Way::GcmHostIv => {
            behind(iv.nonce(), seed.len() + TAG_LEN, |out| raw.encrypt_gcm(session, handle, iv, associated, seed, out))
        }
        Way::CbcHostIv => behind(iv.block(), seed.len(), |out| raw.encrypt_cbc(session, handle, iv, seed, out)),
        Way::Kwp => behind(&[], seed.len() + 8, |out| raw.encrypt_plain(session, handle, numbers.aes_kwp, seed, out)),
    };
    Ok(wrapped?)
}

/// Wraps a seed with an IV that the token makes. Fails with [`Error::Wrong`] if that is zeros: then what was wrapped is
/// given to nobody.
pub(super) fn wrap_own_iv(
    raw: &Raw,
    session: &Session,
    key: &OwnIvKey,
    associated: &[u8],
    seed: &[u8],
) -> Result<Vec<u8>, Failure> {
    let wrapped = encrypt_own_iv(raw, session, key, associated, seed)?;
    let (iv, _) = key.how().split(&wrapped);
    if iv.iter().all(|byte| *byte == 0) { Err(Error::Wrong(ZERO_IV).into()) } else { Ok(wrapped) }
}

fn encrypt_own_iv(
    raw: &Raw,
    session: &Session,
    key: &OwnIvKey,
    associated: &[u8],
    seed: &[u8],
) -> Result<Vec<u8>, CryptokiError> {
    let sealed_len = seed.len() + TAG_LEN;
    match key.how() {
        OwnIv::Written => {
            let mut wrapped = vec![0; NONCE_LEN + sealed_len];
            let (head, sealed) = wrapped.split_at_mut(NONCE_LEN);
            let (written, iv) = raw.encrypt_gcm_own_iv(session, key, associated, seed, sealed)?;
            head.copy_from_slice(&iv);
            exactly(wrapped, NONCE_LEN + written)
        }
        OwnIv::Prepended(_) => behind(&[], NONCE_LEN + sealed_len, |out| {
            Ok(raw.encrypt_gcm_own_iv(session, key, associated, seed, out)?.0)
        }),
        OwnIv::Appended(len) => {
            behind(&[], sealed_len + len, |out| Ok(raw.encrypt_gcm_own_iv(session, key, associated, seed, out)?.0))
        }
    }
}

/// Unwraps what [`wrap`] made by this scheme; the error for anything else is the token's own.
pub(super) fn unwrap(
    key: &WrappingKey,
    scheme: Scheme,
    associated: &[u8],
    wrapped: &[u8],
) -> Result<Secret, CryptokiError> {
    let &WrappingKey { raw, numbers, session, handle: key } = key;
    if wrapped.len() != scheme.wrapped_len() {
        return Err(CryptokiError::InvalidValue);
    }
    match scheme {
        Scheme::AesGcmPrependedIv => opened(wrapped, |out| {
            raw.decrypt_gcm(session, key, GcmIv::Prepended(numbers.gcm_prepended_iv), associated, wrapped, out)
        }),
        Scheme::AesGcmHostIv | Scheme::AesGcmZeroedIv => {
            let (iv, sealed) = wrapped.split_at(NONCE_LEN);
            opened(sealed, |out| raw.decrypt_gcm(session, key, GcmIv::Given(iv), associated, sealed, out))
        }
        Scheme::AesGcmAppendedIv128 | Scheme::AesGcmAppendedIv96 => {
            let (sealed, iv) = wrapped.split_at(SEED_LEN + TAG_LEN);
            opened(sealed, |out| raw.decrypt_gcm(session, key, GcmIv::Given(iv), associated, sealed, out))
        }
        Scheme::AesCbcHostIv => {
            let (iv, sealed) = wrapped.split_first_chunk().ok_or(CryptokiError::InvalidValue)?;
            opened(sealed, |out| raw.decrypt_cbc(session, key, iv, sealed, out))
        }
        Scheme::AesKwp => opened(wrapped, |out| raw.decrypt_plain(session, key, numbers.aes_kwp, wrapped, out)),
    }
}

/// `head`, and behind it exactly `len` bytes that `encrypt` writes.
fn behind(
    head: &[u8],
    len: usize,
    encrypt: impl FnOnce(&mut [u8]) -> Result<usize, CryptokiError>,
) -> Result<Vec<u8>, CryptokiError> {
    let mut wrapped = vec![0; head.len() + len];
    let (front, rest) = wrapped.split_at_mut(head.len());
    front.copy_from_slice(head);
    let written = encrypt(rest)?;
    exactly(wrapped, head.len() + written)
}

fn exactly(wrapped: Vec<u8>, len: usize) -> Result<Vec<u8>, CryptokiError> {
    if wrapped.len() == len { Ok(wrapped) } else { Err(CryptokiError::InvalidValue) }
}

/// The seed that `decrypt` writes to a buffer as long as the ciphertext, which some modules ask for.
fn opened(
    sealed: &[u8],
    decrypt: impl FnOnce(&mut [u8]) -> Result<usize, CryptokiError>,
) -> Result<Secret, CryptokiError> {
    let mut buffer = Secret::zeroed(sealed.len());
    let written = decrypt(buffer.expose_mut())?;
    if written != SEED_LEN {
        return Err(CryptokiError::InvalidValue);
    }
    Ok(Secret::new(buffer.expose()[..written].to_vec()))
}

const ZERO_IV: &str = "it makes no IV of its own and left it at zeros, which would be the IV of every seed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_never_change() {
        let told = Scheme::ALL.map(|scheme| (scheme.number(), scheme.to_string(), scheme.wrapped_len()));
        let expected = [
            (1, "aes_gcm_host_iv", 60),
            (2, "aes_gcm_zeroed_iv", 60),
            (3, "aes_gcm_prepended_iv", 60),
            (4, "aes_cbc_host_iv", 48),
            (5, "aes_gcm_appended_iv_128", 64),
            (6, "aes_gcm_appended_iv_96", 60),
            (7, "aes_kwp", 40),
        ];
        assert_eq!(told, expected.map(|(number, name, len)| (number, name.to_owned(), len)));
        for scheme in Scheme::ALL {
            #[derive(Deserialize)]
            struct Row {
                scheme: Scheme,
            }
            let row: Row = toml::from_str(&format!("scheme = \"{scheme}\"")).unwrap();
            assert_eq!((row.scheme, Scheme::of_number(scheme.number())), (scheme, Some(scheme)));
        }
        assert_eq!((Scheme::of_number(0), Scheme::of_number(8)), (None, None));
    }
}
