//! Operations that encrypt, decrypt or agree on secrets, and those that make data keys.

mod cipher;
mod data_key;
mod data_key_pair;
mod decapsulate;
mod decrypt;
mod derive_shared_secret;
mod encapsulate;
mod encrypt;
mod generate_data_key;
mod generate_data_key_pair;
mod generate_data_key_pair_without_plaintext;
mod generate_data_key_without_plaintext;
mod generate_random;
mod re_encrypt;

pub use decapsulate::Decapsulate;
pub use decrypt::Decrypt;
pub use derive_shared_secret::DeriveSharedSecret;
pub use encapsulate::Encapsulate;
pub use encrypt::Encrypt;
pub use generate_data_key::GenerateDataKey;
pub use generate_data_key_pair::GenerateDataKeyPair;
pub use generate_data_key_pair_without_plaintext::GenerateDataKeyPairWithoutPlaintext;
pub use generate_data_key_without_plaintext::GenerateDataKeyWithoutPlaintext;
pub use generate_random::GenerateRandom;
pub use re_encrypt::ReEncrypt;

use super::{Error, Facts};
use crate::model::{EncryptionAlgorithm, EncryptionContext};

/// The algorithm of a request that names none.
const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

/// The longest encryption context, in bytes of its keys and values. AWS's own limit is not documented; an
/// external key store need not take more (XKS proxy API §encrypt).
const MAX_ENCRYPTION_CONTEXT_LEN: usize = 8_192;

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

/// What policies and grants can ask of a request with an encryption context, to a symmetric key.
fn facts<'f>(context: &'f EncryptionContext, grant_tokens: Option<&'f [String]>) -> Facts<'f> {
    facts_by(EncryptionAlgorithm::SymmetricDefault, context, grant_tokens)
}

/// As [`facts`], by any algorithm.
fn facts_by<'f>(
    algorithm: EncryptionAlgorithm,
    context: &'f EncryptionContext,
    grant_tokens: Option<&'f [String]>,
) -> Facts<'f> {
    let facts =
        Facts { encryption_context: Some(context), grant_tokens: grant_tokens.unwrap_or_default(), ..Facts::default() };
    facts.with("kms:encryptionalgorithm", Some(algorithm.as_str()))
}

/// An attestation document asks for an answer that only an enclave can read; better refused than ignored.
fn check_recipient(recipient: Option<&serde_json::Value>) -> Result<(), Error> {
    match recipient {
        None => Ok(()),
        Some(_) => Err(Error::UnsupportedOperation("Recipient is not supported by this service.".into())),
    }
}
