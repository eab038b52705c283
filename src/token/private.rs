//! What private keys and HMAC keys do: sign, decrypt, agree.

use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};

use super::module::Module;
use super::session::Session;
use crate::crypto::{self, Message, ecdsa_der};
use crate::model::{EncryptionAlgorithm, HmacSpec, KeyPairSpec, MacAlgorithm, Secret, SigningAlgorithm};

/// What one key is asked to do.
pub(super) enum Task {
    /// Sign a digest, or for Ed25519 the message.
    Sign(SigningAlgorithm, Vec<u8>),
    /// The HMAC of a message.
    Mac(Vec<u8>),
    /// Decrypt what was encrypted to the key.
    Decrypt(RsaDecryption, Vec<u8>),
    /// Agree with whoever has this uncompressed point.
    Agree(Vec<u8>),
    /// The secret that was encapsulated so.
    Decapsulate(Vec<u8>),
}

/// How RSA decrypts on the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RsaDecryption {
    /// `CKM_RSA_PKCS_OAEP`, by one of AWS's two algorithms.
    Oaep(EncryptionAlgorithm),
    /// `CKM_RSA_X_509`: the padding is left on.
    Bare,
}

/// What the token signs: the digest, or for Ed25519 and ML-DSA the message. `None` if a key of this spec does not sign so, or the
/// digest has another length.
pub(super) fn to_be_signed(spec: KeyPairSpec, algorithm: SigningAlgorithm, message: Message<'_>) -> Option<Vec<u8>> {
    if !spec.signing_algorithms().contains(&algorithm) {
        return None;
    }
    match (message, algorithm.digest_len()) {
        (Message::Raw(message), None) => Some(message.to_vec()),
        // What is asked to be hashed once more is no message of any length.
        (Message::Raw(_), Some(_)) if algorithm == SigningAlgorithm::Ed25519PhSha512 => None,
        (Message::Raw(message), Some(_)) => crypto::digest(algorithm, message),
        (Message::Digest(digest), Some(len)) if digest.len() == len => Some(digest.to_vec()),
        (Message::Digest(_) | Message::Mu(_), _) => None,
    }
}

/// A signature of `data`, a digest or for Ed25519 the message, as AWS gives it: DER for ECDSA.
pub(super) fn sign(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    spec: KeyPairSpec,
    algorithm: SigningAlgorithm,
    data: &[u8],
) -> Result<Vec<u8>, CryptokiError> {
    use SigningAlgorithm::*;
    let digest_len = algorithm.digest_len().unwrap_or_default();
    let (mechanism, prefix, len) = match (algorithm, spec.modulus_len(), spec.coordinate_len()) {
        (RsassaPkcs1V15Sha256 | RsassaPkcs1V15Sha384 | RsassaPkcs1V15Sha512, Some(modulus), _) => {
            (Mechanism::RsaPkcs, digest_info(digest_len), modulus)
        }
        (RsassaPssSha256 | RsassaPssSha384 | RsassaPssSha512, Some(modulus), _) => {
            (Mechanism::RsaPkcsPss(pss(digest_len)?), NO_PREFIX, modulus)
        }
        (EcdsaSha256 | EcdsaSha384 | EcdsaSha512, _, Some(width)) => (Mechanism::Ecdsa, NO_PREFIX, 2 * width),
        (Ed25519Sha512, None, None) => {
            let plain = EddsaParams::new(EddsaSignatureScheme::Ed25519);
            (Mechanism::Eddsa(plain), NO_PREFIX, ED25519_SIGNATURE_LEN)
        }
        (Ed25519PhSha512, None, None) => {
            let prehashed = EddsaParams::new(EddsaSignatureScheme::Ed25519ph(&[]));
            (Mechanism::Eddsa(prehashed), NO_PREFIX, ED25519_SIGNATURE_LEN)
        }
        (MlDsaShake256, None, None) => {
            let context = SignAdditionalContext::new(HedgeType::Preferred, None);
            (Mechanism::MlDsa(context), NO_PREFIX, ml_dsa_signature_len(spec))
        }
        _ => return Err(CryptokiError::NotSupported),
    };
    let signature = signed(module, session, key, &mechanism, &[prefix, data].concat(), len)?;
    match spec.coordinate_len() {
        Some(_) => ecdsa_der(spec, &signature).map_err(|_| CryptokiError::InvalidValue),
        None => Ok(signature),
    }
}

/// The HMAC of `message`.
pub(super) fn mac(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    spec: HmacSpec,
    message: &[u8],
) -> Result<Vec<u8>, CryptokiError> {
    let mechanism = match spec.algorithm() {
        MacAlgorithm::HmacSha224 => Mechanism::Sha224Hmac,
        MacAlgorithm::HmacSha256 => Mechanism::Sha256Hmac,
        MacAlgorithm::HmacSha384 => Mechanism::Sha384Hmac,
        MacAlgorithm::HmacSha512 => Mechanism::Sha512Hmac,
    };
    signed(module, session, key, &mechanism, message, spec.algorithm().mac_len())
}

/// What `ciphertext`, as long as the modulus, decrypts to.
pub(super) fn decrypt(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    how: RsaDecryption,
    ciphertext: &[u8],
) -> Result<Secret, CryptokiError> {
    let mechanism = match how {
        RsaDecryption::Oaep(algorithm) => Mechanism::RsaPkcsOaep(oaep_parameters(algorithm)?),
        RsaDecryption::Bare => Mechanism::RsaX509,
    };
    let mut buffer = Secret::zeroed(ciphertext.len());
    let written = module.raw.decrypt(session, &mechanism, key, ciphertext, buffer.expose_mut())?;
    // A bare result is as long as the modulus, and some modules leave out its leading zeros.
    let wanted = if how == RsaDecryption::Bare { ciphertext.len() } else { written };
    let mut plaintext = Secret::zeroed(wanted);
    plaintext.expose_mut()[wanted - written..].copy_from_slice(&buffer.expose()[..written]);
    Ok(plaintext)
}

/// The x coordinate, `len` bytes, agreed on with whoever has `point`, which must be one of the curve.
///
/// The token makes it as a session object, which is read and destroyed; at the latest it goes with the session.
pub(super) fn agree(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    len: usize,
    point: &[u8],
) -> Result<Secret, CryptokiError> {
    let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), point));
    let made = session.derive_key(&mechanism, key, &readable(len)?)?;
    read_and_destroy(module, session, made, len)
}

/// The secret, 32 bytes, that was encapsulated to the key; of anything else that is as long, one that nobody knows.
///
/// The token makes it as a session object, as in [`agree`].
///
/// Source: PKCS#11 v3.2 §5.18.9, FIPS 203 §7.3.
pub(super) fn decapsulate(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    ciphertext: &[u8],
) -> Result<Secret, CryptokiError> {
    let made = session.decapsulate_key(&Mechanism::MlKem, key, &readable(SHARED_SECRET_LEN)?, ciphertext)?;
    read_and_destroy(module, session, made, SHARED_SECRET_LEN)
}

/// The template of a secret in the session that is made to be read.
fn readable(len: usize) -> Result<[Attribute; 7], CryptokiError> {
    Ok([
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(u64::try_from(len)?.into()),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ])
}

fn read_and_destroy(
    module: &Module,
    session: &Session,
    made: ObjectHandle,
    len: usize,
) -> Result<Secret, CryptokiError> {
    // Into memory that is wiped whatever comes of it, and nowhere else: `cryptoki` would leave a copy behind.
    let mut secret = Secret::zeroed(len);
    let read = module.raw.value(session, made, secret.expose_mut());
    session.destroy_object(made)?;
    if read? == len { Ok(secret) } else { Err(CryptokiError::InvalidValue) }
}

fn signed(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    mechanism: &Mechanism,
    data: &[u8],
    len: usize,
) -> Result<Vec<u8>, CryptokiError> {
    let mut output = vec![0; len];
    let written = module.raw.sign(session, mechanism, key, data, &mut output)?;
    if written == len { Ok(output) } else { Err(CryptokiError::InvalidValue) }
}

fn pss(digest_len: usize) -> Result<PkcsPssParams, CryptokiError> {
    let (hash_alg, mgf) = match digest_len {
        32 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        48 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        _ => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    Ok(PkcsPssParams { hash_alg, mgf, s_len: digest_len.try_into()? })
}

/// Both hashes of an algorithm, and no label.
pub(super) fn oaep_parameters(algorithm: EncryptionAlgorithm) -> Result<PkcsOaepParams<'static>, CryptokiError> {
    let (hash, mgf) = match algorithm {
        EncryptionAlgorithm::RsaesOaepSha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        EncryptionAlgorithm::RsaesOaepSha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        EncryptionAlgorithm::SymmetricDefault | EncryptionAlgorithm::Sm2Pke => return Err(CryptokiError::NotSupported),
    };
    Ok(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()))
}

/// What stands before the digest in a `DigestInfo` (RFC 8017 §9.2, note 1).
fn digest_info(digest_len: usize) -> &'static [u8] {
    match digest_len {
        32 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        48 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        _ => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    }
}

/// FIPS 204 §4, table 2; 0 for other keys, which have no such signature.
fn ml_dsa_signature_len(spec: KeyPairSpec) -> usize {
    match spec {
        KeyPairSpec::MlDsa44 => 2420,
        KeyPairSpec::MlDsa65 => 3309,
        KeyPairSpec::MlDsa87 => 4627,
        _ => 0,
    }
}

/// FIPS 203 §7.2
const SHARED_SECRET_LEN: usize = 32;
const NO_PREFIX: &[u8] = &[];
const ED25519_SIGNATURE_LEN: usize = 64;
