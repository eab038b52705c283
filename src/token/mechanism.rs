//! Wrapping 32 bytes with AES-GCM and an IV of ours: the scheme with number 1.

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::module::Module;
use crate::crypto::{NONCE_LEN, TAG_LEN};
use crate::model::Secret;

/// Bytes in a seed.
pub(super) const SEED_LEN: usize = 32;
/// Bytes in a wrapped seed: IV ‖ ciphertext ‖ tag.
pub(super) const WRAPPED_LEN: usize = NONCE_LEN + SEED_LEN + TAG_LEN;

/// Wraps a seed. The IV must be new for this key, and random (SP 800-38D §8.2.2).
pub(super) fn wrap(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    iv: &[u8; NONCE_LEN],
    associated: &[u8],
    seed: &[u8],
) -> Result<Vec<u8>, CryptokiError> {
    let mut wrapped = vec![0; NONCE_LEN + seed.len() + TAG_LEN];
    let (head, sealed) = wrapped.split_at_mut(NONCE_LEN);
    head.copy_from_slice(iv);
    let written = module.raw.encrypt_gcm(session, key, iv, associated, seed, sealed)?;
    if written == sealed.len() { Ok(wrapped) } else { Err(CryptokiError::InvalidValue) }
}

/// Unwraps what [`wrap`] made; the error for anything else is the token's own.
pub(super) fn unwrap(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    associated: &[u8],
    wrapped: &[u8],
) -> Result<Secret, CryptokiError> {
    let (iv, sealed) = wrapped.split_first_chunk::<NONCE_LEN>().ok_or(CryptokiError::InvalidValue)?;
    let mut buffer = Secret::zeroed(sealed.len());
    let written = module.raw.decrypt_gcm(session, key, iv, associated, sealed, buffer.expose_mut())?;
    if written + TAG_LEN != sealed.len() {
        return Err(CryptokiError::InvalidValue);
    }
    Ok(Secret::new(buffer.expose()[..written].to_vec()))
}
