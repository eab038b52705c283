//! What can go wrong in an operation, by whose fault, and what the caller may know of it.

use crate::model::Arn;
use crate::{audit, auth, store, token};

/// Why an operation was not done.
///
/// The wire names are chosen in `api/json/error.rs`. `Internal`, `KeyUnavailable` and `DependencyTimeout` carry a
/// text for the log; their callers see a fixed message and the request id.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not do this, or may not know whether the thing exists.
    #[error("access denied: {0}")]
    AccessDenied(String),
    /// There is such a thing already.
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// A custom key store has the cluster already.
    #[error("cluster in use: {0}")]
    CloudHsmClusterInUse(String),
    /// The settings name no cluster with this id.
    #[error("no such cluster: {0}")]
    CloudHsmClusterNotFound(String),
    /// The cluster has not the trust anchor of the custom key store's.
    #[error("unrelated cluster: {0}")]
    CloudHsmClusterNotRelated(String),
    /// Something else is being done to the key, or will be soon.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The custom key store has keys, or objects on its token that are not destroyed yet.
    #[error("custom key store with keys: {0}")]
    CustomKeyStoreHasCmks(String),
    /// The connection of the custom key store does not admit the operation.
    #[error("custom key store in an invalid state: {0}")]
    CustomKeyStoreInvalidState(String),
    /// Another custom key store of the account has this name.
    #[error("name of a custom key store in use: {0}")]
    CustomKeyStoreNameInUse(String),
    /// No custom key store has this id.
    #[error("no such custom key store: {0}")]
    CustomKeyStoreNotFound(String),
    /// The token did not answer, or no key pair was made, by the request's deadline.
    #[error("not done in time: {0}")]
    DependencyTimeout(String),
    /// The key is disabled.
    #[error("disabled: {0}")]
    Disabled(Arn),
    /// All checks passed, and DryRun asked for no more.
    #[error("dry run")]
    DryRun,
    /// The wrapping key is over, and with it the import token.
    #[error("the import token is expired")]
    ExpiredImportToken,
    /// The ciphertext is of another key than the one named.
    #[error("the ciphertext is of another key")]
    IncorrectKey,
    /// The imported material is not what the key takes.
    #[error("incorrect key material: {0}")]
    IncorrectKeyMaterial(String),
    /// It is no certificate, or not the one of the cluster.
    #[error("incorrect trust anchor")]
    IncorrectTrustAnchor,
    /// Ours to mend; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
    /// The alias name is reserved or malformed.
    #[error("invalid alias name: {0}")]
    InvalidAliasName(String),
    /// The ARN names nothing that this operation takes.
    #[error("invalid ARN: {0}")]
    InvalidArn(String),
    /// The ciphertext, or its encryption context, is not what was encrypted.
    #[error("invalid ciphertext")]
    InvalidCiphertext,
    /// It has not the form of a grant id.
    #[error("invalid grant id")]
    InvalidGrantId,
    /// A grant token that was not given out here.
    #[error("invalid grant token")]
    InvalidGrantToken,
    /// An import token that was not given out here, or for another key.
    #[error("invalid import token")]
    InvalidImportToken,
    /// The key cannot be used this way.
    #[error("invalid key usage: {0}")]
    InvalidKeyUsage(String),
    /// The code is not the one of the message.
    #[error("invalid MAC")]
    InvalidMac,
    /// The pagination marker is not one of ours for this list.
    #[error("invalid marker")]
    InvalidMarker,
    /// A parameter's value does not go together with the others. STS alone says this.
    #[error("invalid parameter value: {0}")]
    InvalidParameterValue(String),
    /// The signature is not one of the key's over the message.
    #[error("invalid signature")]
    InvalidSignature,
    /// The key's state does not admit the operation.
    #[error("invalid state: {0}")]
    InvalidState(String),
    /// The token is not reachable now; the text is for the log.
    #[error("the token is unavailable: {0}")]
    KeyUnavailable(String),
    /// A quota or a length is exceeded.
    #[error("limit exceeded: {0}")]
    LimitExceeded(String),
    /// The policy is not one.
    #[error("malformed policy: {0}")]
    MalformedPolicyDocument(String),
    /// There is no such thing.
    #[error("not found: {0}")]
    NotFound(String),
    /// Session policies and session tags make a token that is too long.
    #[error("packed policy too large: {0}")]
    PackedPolicyTooLarge(String),
    /// The body is not what its types say.
    #[error("serialization: {0}")]
    Serialization(String),
    /// A tag is not valid.
    #[error("tag: {0}")]
    Tag(String),
    /// Too much waits for the token or for a key pair, or too many requests of the caller are in flight.
    #[error("throttled")]
    Throttling,
    /// No operation has this name.
    #[error("unknown operation")]
    UnknownOperation,
    /// Not offered for this key, or not offered yet.
    #[error("unsupported: {0}")]
    UnsupportedOperation(String),
    /// The request breaks a constraint.
    #[error("validation: {0}")]
    Validation(String),
}

impl From<auth::Denied> for Error {
    fn from(denied: auth::Denied) -> Self {
        Error::AccessDenied(denied.to_string())
    }
}

impl From<audit::Error> for Error {
    fn from(error: audit::Error) -> Self {
        Error::Internal(format!("audit: {error}"))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Error::Internal(format!("store: {error}"))
    }
}

impl From<crate::crypto::NoKeyPair> for Error {
    fn from(error: crate::crypto::NoKeyPair) -> Self {
        Error::Internal(error.to_string())
    }
}

impl From<crate::crypto::NoRandom> for Error {
    fn from(error: crate::crypto::NoRandom) -> Self {
        Error::Internal(error.to_string())
    }
}

impl From<token::Error> for Error {
    /// An outage is never "not found" and never "bad ciphertext": the caller may retry those it gets here.
    fn from(error: token::Error) -> Self {
        match error {
            token::Error::BadData => Error::InvalidCiphertext,
            token::Error::Throttled => Error::Throttling,
            token::Error::DeadlineExceeded => Error::DependencyTimeout(error.to_string()),
            token::Error::NotFound(name) => {
                Error::InvalidState(format!("The key material of key {} is missing from its token.", name.key_id))
            }
            // A token that computes wrongly is out of order, whatever it says of itself.
            token::Error::Unavailable(_)
            | token::Error::PinIncorrect
            | token::Error::PinLocked
            | token::Error::Scheme { .. }
            | token::Error::Wrong(_) => Error::KeyUnavailable(error.to_string()),
            token::Error::Unfit(_) | token::Error::NotOffered(..) | token::Error::HostUnwrapRefused => {
                Error::UnsupportedOperation(error.to_string())
            }
            token::Error::IncorrectMaterial(_) => Error::IncorrectKeyMaterial(error.to_string()),
            token::Error::Full(_) => {
                Error::LimitExceeded("The token has no room for one more key. Delete keys that nobody needs.".into())
            }
            _ => Error::Internal(format!("token: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyPairSpec, SigningAlgorithm};
    use crate::token::KeyKind;

    #[test]
    fn what_a_token_says_has_the_class_of_who_can_mend_it() {
        let kind = KeyKind::Sign(KeyPairSpec::EccNistP256);
        let told = |error: token::Error| Error::from(error);
        assert!(matches!(told(token::Error::Wrong("a signature does not verify")), Error::KeyUnavailable(_)));
        let scheme = token::Error::Scheme { asked: 4, offered: "1 (aes_gcm_host_iv)".to_owned() };
        assert!(matches!(told(scheme), Error::KeyUnavailable(_)));
        assert!(matches!(told(token::Error::Unfit(kind)), Error::UnsupportedOperation(_)));
        assert!(matches!(told(token::Error::HostUnwrapRefused), Error::UnsupportedOperation(_)));
        assert!(matches!(told(token::Error::IncorrectMaterial(kind)), Error::IncorrectKeyMaterial(_)));
        let prehashed = token::Error::NotOffered(SigningAlgorithm::Ed25519PhSha512, "it signs without the hash".into());
        let Error::UnsupportedOperation(text) = told(prehashed) else { panic!("of another class") };
        assert_eq!(text, "ED25519_PH_SHA_512 is not offered: it signs without the hash");
    }
}
