//! Public keys: their DER, and what they verify.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, RsaSubjectPublicKey, VerificationAlgorithm,
};

use ed25519_dalek::{Digest as _, Sha512, Signature, VerifyingKey};

use super::ecdsa::ecdsa_raw;
use super::lattice;
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
    /// What represents it for ML-DSA, 64 bytes (FIPS 204 §6.2).
    Mu(&'a [u8]),
}

/// The bytes are no public key of that spec, or not in the one form that it has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the public key of a {0} key")]
pub struct InvalidPublicKey(pub KeyPairSpec);

/// Why a signature was not verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// The algorithm does not fit the key or the kind of message.
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

    /// A key of ML-DSA or ML-KEM from its bytes.
    ///
    /// Fails unless there are as many as the spec has, and for ML-KEM all of them encode numbers below the modulus.
    pub fn from_lattice(spec: KeyPairSpec, raw: &[u8]) -> Result<Self, InvalidPublicKey> {
        let parse =
            |verifier| Some(ParsedPublicKey::new(verifier, raw).ok().map(|key| (SigningAlgorithm::MlDsaShake256, key)));
        let verifiers = match lattice::verifier(spec).and_then(parse) {
            Some(parsed) => parsed.map(|verifier| vec![verifier]),
            None => lattice::is_encapsulation_key(spec, raw).then(Vec::new),
        };
        match (lattice::spki(spec, raw), verifiers) {
            (Some(spki), Some(verifiers)) => Ok(PublicKey { spec, spki, verifiers }),
            _ => Err(InvalidPublicKey(spec)),
        }
    }

    /// A key from its DER `SubjectPublicKeyInfo`, in exactly the form that [`PublicKey::spki`] gives: `rsaEncryption`
    /// with NULL, a named curve with an uncompressed point, or Ed25519, ML-DSA or ML-KEM without parameters; nothing after
    /// it.
    ///
    /// Fails as [`PublicKey::from_rsa`] and [`PublicKey::from_point`] do, and for every other encoding of the same key.
    ///
    /// Source: RFC 5280 §4.1.2.7, RFC 3279 §2.3.1, RFC 5480 §2.1.1, RFC 8410 §4, RFC 9881 §4, RFC 9935 §4.
    pub fn from_spki(spec: KeyPairSpec, spki: &[u8]) -> Result<Self, InvalidPublicKey> {
        if spec.is_lattice() {
            let raw = lattice::raw(spec, spki).ok_or(InvalidPublicKey(spec))?;
            return Self::from_lattice(spec, raw);
        }
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

    /// The bytes of a key of ML-DSA or ML-KEM; `None` for the others.
    pub fn lattice(&self) -> Option<&[u8]> {
        lattice::raw(self.spec, &self.spki)
    }

    /// The public point as [`PublicKey::from_point`] takes it; `None` for all but curves.
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
    /// The digest that Ed25519ph takes is the message of RFC 8032, which is hashed once more.
    ///
    /// Source: RFC 8017 §8, FIPS 186-5 §6.4.2 and §7.8.2, RFC 8032 §5.1.7, FIPS 204 §5.3.
    pub fn verify(
        &self,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
        signature: &[u8],
    ) -> Result<(), NotVerified> {
        let verified = match (algorithm, message) {
            (SigningAlgorithm::Ed25519PhSha512, Message::Digest(digest)) => {
                self.verifies_prehashed(digest, signature)?
            }
            (SigningAlgorithm::MlDsaShake256, Message::Mu(mu)) => self.verifies_mu(mu, signature)?,
            _ => return self.verify_by_library(algorithm, message, signature),
        };
        if verified { Ok(()) } else { Err(NotVerified::Invalid) }
    }

    fn verifies_prehashed(&self, digest: &[u8], signature: &[u8]) -> Result<bool, NotVerified> {
        let point = self.point().and_then(|point| <[u8; 32]>::try_from(point).ok()).ok_or(NotVerified::Unsupported)?;
        if digest.len() != SHA512_LEN {
            return Err(NotVerified::DigestLength(SHA512_LEN));
        }
        let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(&point), Signature::from_slice(signature)) else {
            return Ok(false);
        };
        Ok(key.verify_prehashed_strict(Sha512::new_with_prefix(digest), None, &signature).is_ok())
    }

    fn verifies_mu(&self, mu: &[u8], signature: &[u8]) -> Result<bool, NotVerified> {
        let raw = self.lattice().ok_or(NotVerified::Unsupported)?;
        if mu.len() != MU_LEN {
            return Err(NotVerified::DigestLength(MU_LEN));
        }
        Ok(lattice::verifies_mu(self.spec, raw, mu, signature))
    }

    fn verify_by_library(
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
            Message::Mu(_) => return Err(NotVerified::Unsupported),
        };
        if self.spec.coordinate_len().is_some() && ecdsa_raw(self.spec, signature).is_err() {
            return Err(NotVerified::Invalid);
        }
        let verified = match (message, digest) {
            (_, Some(digest)) => key.verify_digest_sig(&digest, signature),
            (Message::Raw(message) | Message::Digest(message) | Message::Mu(message), None) => {
                key.verify_sig(message, signature)
            }
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
        (MlDsaShake256, spec) => return lattice::verifier(spec),
        // The library does not have the first one.
        (Ed25519PhSha512 | Sm2Dsa, _) => return None,
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

const SHA512_LEN: usize = 64;
/// FIPS 204 §6.2
const MU_LEN: usize = 64;

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}
