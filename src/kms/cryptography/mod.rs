//! Operations that use a symmetric key.

mod data_key;
mod data_key_pair;
mod decrypt;
mod encrypt;
mod generate_data_key;
mod generate_data_key_pair;
mod generate_data_key_pair_without_plaintext;
mod generate_data_key_without_plaintext;
mod generate_random;
mod re_encrypt;

pub use decrypt::Decrypt;
pub use encrypt::Encrypt;
pub use generate_data_key::GenerateDataKey;
pub use generate_data_key_pair::GenerateDataKeyPair;
pub use generate_data_key_pair_without_plaintext::GenerateDataKeyPairWithoutPlaintext;
pub use generate_data_key_without_plaintext::GenerateDataKeyWithoutPlaintext;
pub use generate_random::GenerateRandom;
pub use re_encrypt::ReEncrypt;

use super::{Context, Error, Facts, KeyRow, Target};
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

/// What policies and grants can ask of a request with an encryption context.
fn facts<'f>(context: &'f EncryptionContext, grant_tokens: Option<&'f [String]>) -> Facts<'f> {
    let facts =
        Facts { encryption_context: Some(context), grant_tokens: grant_tokens.unwrap_or_default(), ..Facts::default() };
    facts.with("kms:encryptionalgorithm", Some(SYMMETRIC_DEFAULT))
}

/// An attestation document asks for an answer that only an enclave can read; better refused than ignored.
fn check_recipient(recipient: Option<&serde_json::Value>) -> Result<(), Error> {
    match recipient {
        None => Ok(()),
        Some(_) => Err(Error::UnsupportedOperation("Recipient is not supported by this service.".into())),
    }
}

/// Finds the key that the request names, or else the one that the blob names.
fn key_of_blob(cx: &Context, action: &str, blob: &Blob<'_>, named: Option<&str>) -> Result<Target, Error> {
    named.map_or_else(|| cx.key_of_ciphertext(action, &blob.header().key_id), |named| cx.key_for(action, named))
}

/// Refuses a key that the caller may use and that is not the blob's. Not sooner: whether there is a foreign key is not
/// told.
fn check_named(key: &KeyRow, blob: &Blob<'_>) -> Result<(), Error> {
    if key.record.key_id == blob.header().key_id { Ok(()) } else { Err(Error::IncorrectKey) }
}

fn parse_blob(bytes: &[u8]) -> Result<Blob<'_>, Error> {
    blob::parse(bytes).map_err(|_| Error::InvalidCiphertext)
}
