//! Operations that use a symmetric key.

mod data_key;
mod decrypt;
mod encrypt;
mod generate_data_key;
mod generate_data_key_without_plaintext;
mod generate_random;
mod re_encrypt;

pub use decrypt::Decrypt;
pub use encrypt::Encrypt;
pub use generate_data_key::GenerateDataKey;
pub use generate_data_key_without_plaintext::GenerateDataKeyWithoutPlaintext;
pub use generate_random::GenerateRandom;
pub use re_encrypt::ReEncrypt;

use super::{Context, Error, KeyRow};
use crate::blob::{self, Blob};
use crate::model::EncryptionContext;

/// The algorithm of every symmetric key.
const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

/// The longest encryption context, in bytes of its keys and values. AWS's own limit is not documented; an
/// external key store need not take more (XKS proxy API §encrypt).
const MAX_ENCRYPTION_CONTEXT_LEN: usize = 8_192;

/// Refuses an algorithm that is not the symmetric one.
fn check_algorithm(algorithm: Option<&str>) -> Result<(), Error> {
    match algorithm {
        None | Some(SYMMETRIC_DEFAULT) => Ok(()),
        Some(other) => {
            Err(Error::InvalidKeyUsage(format!("Algorithm {other} is incompatible with key spec {SYMMETRIC_DEFAULT}.")))
        }
    }
}

fn check_context(context: &EncryptionContext) -> Result<(), Error> {
    let len: usize = context.pairs().map(|(key, value)| key.len() + value.len()).sum();
    if len > MAX_ENCRYPTION_CONTEXT_LEN {
        return Err(Error::Validation(format!(
            "1 validation error detected: Value at 'encryptionContext' failed to satisfy constraint: \
             Member must have length less than or equal to {MAX_ENCRYPTION_CONTEXT_LEN}"
        )));
    }
    Ok(())
}

/// No grant was ever made, so that no token of one can be valid.
pub(super) fn check_grant_tokens(tokens: &[String]) -> Result<(), Error> {
    if tokens.is_empty() { Ok(()) } else { Err(Error::InvalidGrantToken) }
}

/// An attestation document asks for an answer that only an enclave can read; better refused than ignored.
fn check_recipient(recipient: Option<&serde_json::Value>) -> Result<(), Error> {
    match recipient {
        None => Ok(()),
        Some(_) => Err(Error::UnsupportedOperation("Recipient is not supported by this service.".into())),
    }
}

/// Finds the key that a blob names, held against the key that the request names, if it does.
fn key_of_blob(cx: &Context, blob: &Blob<'_>, named: Option<&str>) -> Result<KeyRow, Error> {
    let in_blob = blob.header().key_id;
    let Some(named) = named else {
        let found = cx.kms.store.key(&cx.request.region, &in_blob);
        return found.filter(|key| key.record.account == cx.caller.account).ok_or_else(unknown_key);
    };
    let key = cx.key(named)?;
    if key.record.key_id == in_blob { Ok(key) } else { Err(Error::IncorrectKey) }
}

/// Whether a foreign key exists is not told.
fn unknown_key() -> Error {
    Error::AccessDenied(
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or \
         you are not allowed to access."
            .into(),
    )
}

fn parse_blob(bytes: &[u8]) -> Result<Blob<'_>, Error> {
    blob::parse(bytes).map_err(|_| Error::InvalidCiphertext)
}
