//! Operations that use a key to sign.

mod sign;
mod verify;

pub use sign::Sign;
pub use verify::Verify;

use super::{Blob, Error, Facts, UsableKey};
use crate::crypto::Message;
use crate::model::{KeySpec, MessageType, SigningAlgorithm};

/// The signing algorithms that this service has for a key of the spec: all of AWS's but Ed25519ph.
///
/// Ed25519ph is left out although AWS has it, and DescribeKey and GetPublicKey do not list it: clients choose from those
/// lists. SoftHSM signs something else by that name, and nothing on the host can verify it, so that no signature could be
/// proved before it is released.
pub fn served_algorithms(spec: KeySpec) -> &'static [SigningAlgorithm] {
    match spec {
        KeySpec::EccNistEdwards25519 => &[SigningAlgorithm::Ed25519Sha512],
        _ => spec.signing_algorithms(),
    }
}

/// What policies and grants can ask of a request about a signature.
fn facts(algorithm: SigningAlgorithm, kind: MessageType, grant_tokens: Option<&[String]>) -> Facts<'_> {
    let facts = Facts { grant_tokens: grant_tokens.unwrap_or_default(), ..Facts::default() };
    facts.with("kms:signingalgorithm", Some(algorithm.as_str())).with("kms:messagetype", Some(kind.as_str()))
}

/// The message, if the key signs such a one by this algorithm.
fn message<'m>(
    key: &UsableKey,
    algorithm: SigningAlgorithm,
    kind: MessageType,
    message: &'m Blob,
) -> Result<Message<'m>, Error> {
    let spec = key.record().spec;
    if !spec.signing_algorithms().contains(&algorithm) {
        return Err(Error::InvalidKeyUsage(format!("Algorithm {algorithm} is incompatible with key spec {spec}.")));
    }
    check_type(spec, algorithm, kind)?;
    let message = message.expose();
    if kind == MessageType::Digest && algorithm.digest_len() != Some(message.len()) {
        return Err(Error::Validation(format!("Digest is invalid length for algorithm {algorithm}.")));
    }
    if !served_algorithms(spec).contains(&algorithm) {
        // UnsupportedOperationException would say it better, but is none of the errors that the model has for this.
        return Err(Error::InvalidKeyUsage(format!("Algorithm {algorithm} is not offered by this service.")));
    }
    match kind {
        MessageType::Digest => Ok(Message::Digest(message)),
        MessageType::Raw | MessageType::ExternalMu => Ok(Message::Raw(message)),
    }
}

/// Refuses a type of message that the algorithm does not take.
fn check_type(spec: KeySpec, algorithm: SigningAlgorithm, kind: MessageType) -> Result<(), Error> {
    if algorithm.message_types().contains(&kind) {
        return Ok(());
    }
    let with = match spec {
        KeySpec::EccNistEdwards25519 => format!("algorithm {algorithm}"),
        _ => format!("key spec {spec}"),
    };
    Err(Error::Validation(format!("Message type {kind} is incompatible with {with}.")))
}
