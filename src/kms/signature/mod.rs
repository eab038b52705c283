//! Operations that use a key to sign.

mod sign;
mod verify;

pub use sign::Sign;
pub use verify::Verify;

use super::{Blob, Context, Error, Facts, Kms, UsableKey};
use crate::crypto::Message;
use crate::model::{KeySpec, MessageType, SigningAlgorithm};
use crate::store::KeyRecord;
use crate::token::Offer;

/// The signing algorithms that this service has for a key: all of AWS's, but Ed25519ph only where the key's token is known
/// to do it.
///
/// DescribeKey and GetPublicKey list the same, since clients choose from those lists. SoftHSM signs something else by that
/// name.
pub fn served_algorithms(kms: &Kms, record: &KeyRecord) -> &'static [SigningAlgorithm] {
    match record.spec {
        KeySpec::EccNistEdwards25519 if !kms.token_of(record).is_ok_and(|token| token.is_known_to_prehash()) => {
            &[SigningAlgorithm::Ed25519Sha512]
        }
        spec => spec.signing_algorithms(),
    }
}

/// Waits until it is known what the key's token does of what only some tokens do, so that [`served_algorithms`] says so; a
/// token that cannot be asked now is taken for one that does not.
pub async fn learn_served(cx: &Context, record: &KeyRecord) {
    if record.spec == KeySpec::EccNistEdwards25519
        && let Ok(token) = cx.kms.token_of(record)
        && let Err(error) = token.prehashes(cx.request.deadline).await
    {
        tracing::warn!(reason = %error, "it is not known yet whether the token signs by Ed25519ph");
    }
}

/// Refuses what the key's token does not do.
async fn check_served(cx: &Context, key: &UsableKey, algorithm: SigningAlgorithm) -> Result<(), Error> {
    if algorithm == SigningAlgorithm::Ed25519PhSha512
        && let Offer::No(reason) = cx.kms.token_of(key.record())?.prehashes(cx.request.deadline).await?
    {
        // UnsupportedOperationException would say it better, but is none of the errors that the model has for this.
        return Err(Error::InvalidKeyUsage(format!(
            "Algorithm {algorithm} is not offered by this service's token: {reason}"
        )));
    }
    Ok(())
}

/// What policies and grants can ask of a request about a signature.
fn facts(algorithm: SigningAlgorithm, kind: MessageType, grant_tokens: Option<&[String]>) -> Facts<'_> {
    let facts = Facts { grant_tokens: grant_tokens.unwrap_or_default(), ..Facts::default() };
    facts.with("kms:signingalgorithm", Some(algorithm.as_str())).with("kms:messagetype", Some(kind.as_str()))
}

/// The message, if the key signs such a one by this algorithm.
async fn message<'m>(
    cx: &Context,
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
    if kind == MessageType::ExternalMu && message.len() != MU_LEN {
        return Err(Error::Validation(format!("Message is invalid length for message type {kind}.")));
    }
    check_served(cx, key, algorithm).await?;
    Ok(match kind {
        MessageType::Raw => Message::Raw(message),
        MessageType::Digest => Message::Digest(message),
        MessageType::ExternalMu => Message::Mu(message),
    })
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

/// Bytes in what represents a message for ML-DSA.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>
const MU_LEN: usize = 64;
