//! Public keys: their DER, and what they verify.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, RsaSubjectPublicKey, VerificationAlgorithm,
};

use super::ecdsa::ecdsa_raw;
use super::private_key::rsa_numbers;
use crate::model::{KeyPairSpec, SigningAlgorithm};

/// The public half of an asymmetric key, proved to be one of its spec, ready to verify.
///
/// It is parsed once, when it is made: keep it as long as the record that it comes from.
#[derive(Clone, Debug)]
pub struct PublicKey {
    spec: KeyPairSpec,
    spki: Vec<u8>,
    /// One for each algorithm that the host verifies, since the library ties a parsed key to its algorithm.
    verifiers: Vec<(SigningAlgorithm, ParsedPublicKey)>,
}

/// What a signature was made over.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The message itself, which is hashed here.
    Raw(&'a [u8]),
    /// Its hash, of the algorithm's length.
    Digest(&'a [u8]),
}

/// The bytes are no public key of that spec, or not in the one form that it has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the public key of a {0} key")]
pub struct InvalidPublicKey(pub KeyPairSpec);

/// Why a signature was not verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// The algorithm does not fit the key or the kind of message, or the host does not have it (Ed25519ph).
    #[error("the host cannot verify this algorithm with this key and message type")]
    Unsupported,
    /// The digest has not the length of the algorithm's hash, in bytes.
    #[error("the digest is not {0} bytes long")]
    DigestLength(usize),
    /// The signature is not the key's over this message by this algorithm.
    #[error("the signature is not valid")]
    Invalid,
}

impl PublicKey {
    /// An RSA key from its modulus and exponent, big endian; leading zeros, which some tokens give, are passed over.
    ///
    /// Fails unless the modulus is odd and has exactly the bits of the spec, and the exponent is an odd number from 3
    /// below 2³³.
    pub fn from_rsa(spec: KeyPairSpec, modulus: &[u8], exponent: &[u8]) -> Result<Self, InvalidPublicKey> {
        let (n, e) = (without_zeros(modulus), without_zeros(exponent));
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256);
        match key.ok().and_then(|key| der_of(&key)) {
            Some(spki) => Self::from_spki(spec, &spki),
            None => Err(InvalidPublicKey(spec)),
        }
    }

    /// A key on a curve from its public point: `04 ‖ x ‖ y` for ECDSA and ECDH, the 32 bytes of RFC 8032 for Ed25519.
    ///
    /// Fails unless the point is in that form, on the spec's curve, and not at infinity. Of Ed25519 only the length is
    /// checked.
    pub fn from_point(spec: KeyPairSpec, point: &[u8]) -> Result<Self, InvalidPublicKey> {
        let well_formed = match spec.coordinate_len() {
            Some(width) => point.len() == 1 + 2 * width && point[0] == 4,
            None => spec == KeyPairSpec::EccNistEdwards25519 && point.len() == 32,
        };
        let verifier = spec.signing_algorithms().iter().find_map(|algorithm| verifier(spec, *algorithm));
        let (true, Some(verifier)) = (well_formed, verifier) else { return Err(InvalidPublicKey(spec)) };
        match ParsedPublicKey::new(verifier, point).ok().and_then(|key| der_of(&key)) {
            Some(spki) => Self::from_spki(spec, &spki),
            None => Err(InvalidPublicKey(spec)),
        }
    }

    /// A key from its DER `SubjectPublicKeyInfo`, in exactly the form that [`PublicKey::spki`] gives: `rsaEncryption`
    /// with NULL, a named curve with an uncompressed point, or Ed25519 without parameters; nothing after it.
    ///
    /// Fails as [`PublicKey::from_rsa`] and [`PublicKey::from_point`] do, and for every other encoding of the same key.
    ///
    /// Source: RFC 5280 §4.1.2.7, RFC 3279 §2.3.1, RFC 5480 §2.1.1, RFC 8410 §4.
    pub fn from_spki(spec: KeyPairSpec, spki: &[u8]) -> Result<Self, InvalidPublicKey> {
        let parse = |algorithm: &SigningAlgorithm| {
            let verifier = verifier(spec, *algorithm)?;
            Some(ParsedPublicKey::new(verifier, spki).map(|key| (*algorithm, key)))
        };
        let verifiers: Result<Vec<_>, _> = spec.signing_algorithms().iter().filter_map(parse).collect();
        let verifiers = verifiers.map_err(|_| InvalidPublicKey(spec))?;
        // The library reads more than one form of a key. What it writes is DER, so that equal bytes were DER.
        let canonical = verifiers.first().and_then(|(_, key)| der_of(key)).is_some_and(|der| der == spki);
        let right_size = match spec.modulus_len() {
            Some(len) => modulus_bits(spki) == Some(8 * len),
            None => true,
        };
        match canonical && right_size {
            true => Ok(PublicKey { spec, spki: spki.to_vec(), verifiers }),
            false => Err(InvalidPublicKey(spec)),
        }
    }

    /// The spec of the key.
    pub fn spec(&self) -> KeyPairSpec {
        self.spec
    }

    /// The DER `SubjectPublicKeyInfo`: what GetPublicKey and GenerateDataKeyPair answer.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The public point as [`PublicKey::from_point`] takes it; `None` for RSA.
    pub fn point(&self) -> Option<&[u8]> {
        let len = match self.spec.coordinate_len() {
            Some(width) => 1 + 2 * width,
            None if self.spec == KeyPairSpec::EccNistEdwards25519 => 32,
            None => return None,
        };
        // The key's bits are the last field of the structure.
        self.spki.get(self.spki.len().checked_sub(len)?..)
    }

    /// The modulus and the exponent, big endian, of an RSA key; `None` for others.
    pub fn rsa_numbers(&self) -> Option<(&[u8], &[u8])> {
        self.spec.modulus_len()?;
        rsa_numbers(&self.spki)
    }

    /// Whether the signature is this key's over the message: ECDSA's in minimal DER, PSS with a salt of the hash's length.
    ///
    /// Source: RFC 8017 §8, FIPS 186-5 §6.4.2, RFC 8032 §5.1.7.
    pub fn verify(
        &self,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
        signature: &[u8],
    ) -> Result<(), NotVerified> {
        let verifier = self.verifiers.iter().find(|(verifies, _)| *verifies == algorithm);
        let (_, key) = verifier.ok_or(NotVerified::Unsupported)?;
        let digest = match message {
            Message::Raw(_) => None,
            Message::Digest(digest) => Some(imported(algorithm, digest)?),
        };
        if self.spec.coordinate_len().is_some() && ecdsa_raw(self.spec, signature).is_err() {
            return Err(NotVerified::Invalid);
        }
        let verified = match (message, digest) {
            (_, Some(digest)) => key.verify_digest_sig(&digest, signature),
            (Message::Raw(message) | Message::Digest(message), None) => key.verify_sig(message, signature),
        };
        verified.map_err(|_| NotVerified::Invalid)
    }
}

/// The hash of a message that the algorithm signs; `None` where it signs no hash of the caller's.
///
/// Source: FIPS 180-4.
pub fn digest(algorithm: SigningAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
    let hash = hash_of(algorithm.digest_len()?);
    Some(digest::digest(hash, message).as_ref().to_vec())
}

fn hash_of(len: usize) -> &'static digest::Algorithm {
    match len {
        32 => &digest::SHA256,
        48 => &digest::SHA384,
        _ => &digest::SHA512,
    }
}

/// A digest of the caller's, as the library takes it.
fn imported(algorithm: SigningAlgorithm, digest: &[u8]) -> Result<Digest, NotVerified> {
    let len = algorithm.digest_len().ok_or(NotVerified::Unsupported)?;
    Digest::import_less_safe(digest, hash_of(len)).map_err(|_| NotVerified::DigestLength(len))
}

/// The library's name for an algorithm with a key of the spec; `None` where it has none.
fn verifier(spec: KeyPairSpec, algorithm: SigningAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    use SigningAlgorithm::*;
    Some(match (algorithm, spec) {
        (RsassaPkcs1V15Sha256, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (RsassaPkcs1V15Sha384, _) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RsassaPkcs1V15Sha512, _) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (RsassaPssSha256, _) => &signature::RSA_PSS_2048_8192_SHA256,
        (RsassaPssSha384, _) => &signature::RSA_PSS_2048_8192_SHA384,
        (RsassaPssSha512, _) => &signature::RSA_PSS_2048_8192_SHA512,
        (EcdsaSha256, KeyPairSpec::EccSecgP256k1) => &signature::ECDSA_P256K1_SHA256_ASN1,
        (EcdsaSha256, _) => &signature::ECDSA_P256_SHA256_ASN1,
        (EcdsaSha384, _) => &signature::ECDSA_P384_SHA384_ASN1,
        (EcdsaSha512, _) => &signature::ECDSA_P521_SHA512_ASN1,
        (Ed25519Sha512, _) => &signature::ED25519,
        (Ed25519PhSha512 | Sm2Dsa | MlDsaShake256, _) => return None,
    })
}

fn der_of(key: &ParsedPublicKey) -> Option<Vec<u8>> {
    let der: PublicKeyX509Der<'static> = key.as_der().ok()?;
    Some(der.as_ref().to_vec())
}

fn modulus_bits(spki: &[u8]) -> Option<usize> {
    let key = RsaSubjectPublicKey::from_der(spki).ok()?;
    usize::try_from(RsaParameters::public_modulus_len(key.as_ref()).ok()?).ok()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}
