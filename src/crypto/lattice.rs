//! Keys of lattices: ML-DSA (FIPS 204) and ML-KEM (FIPS 203).
//!
//! Whole messages are verified and secrets encapsulated by the same library as everything else. It has neither the
//! verification of a representative µ nor a key pair from its seed: for these two there are the crates of RustCrypto.

use aws_lc_rs::kem::{self, EncapsulationKey};
use aws_lc_rs::signature::{self, VerificationAlgorithm};
use ml_dsa::{MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey};
use ml_kem::{DecapsulationKey512, DecapsulationKey768, DecapsulationKey1024, KeyExport};
use zeroize::Zeroizing;

use super::key_pair::{KeyPair, NoKeyPair};
use super::public_key::PublicKey;
use super::symmetric::random;
use crate::model::{KeyPairSpec, Secret};

/// A secret, and what its peer needs to come to the same.
pub struct Encapsulated {
    /// The secret, 32 bytes.
    pub secret: Secret,
    /// Its encapsulated form, as long as the key's spec says.
    pub ciphertext: Vec<u8>,
}

/// The key is none of ML-KEM, or the library failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be encapsulated to a {0} key")]
pub struct NotEncapsulated(pub KeyPairSpec);

/// Makes a secret for the holder of a private key of ML-KEM.
///
/// Source: FIPS 203 §7.2.
pub fn encapsulate(key: &PublicKey) -> Result<Encapsulated, NotEncapsulated> {
    key.lattice().and_then(|raw| encapsulate_to(key.spec(), raw)).ok_or(NotEncapsulated(key.spec()))
}

/// The DER `SubjectPublicKeyInfo` of a key that is only bytes.
///
/// Source: RFC 9881 §4 (ML-DSA), RFC 9935 §4 (ML-KEM).
pub(super) fn spki(spec: KeyPairSpec, raw: &[u8]) -> Option<Vec<u8>> {
    Some([&head(spec)?[..], raw].concat()).filter(|_| spec.lattice_public_len() == Some(raw.len()))
}

/// The key's bytes in exactly that structure.
pub(super) fn raw(spec: KeyPairSpec, spki: &[u8]) -> Option<&[u8]> {
    let raw = spki.strip_prefix(&head(spec)?[..])?;
    (spec.lattice_public_len() == Some(raw.len())).then_some(raw)
}

/// Whether the bytes are a key of ML-KEM: every coefficient is below the modulus (FIPS 203 §7.2).
pub(super) fn is_encapsulation_key(spec: KeyPairSpec, raw: &[u8]) -> bool {
    encapsulate_to(spec, raw).is_some()
}

/// The library's name for ML-DSA with keys of this spec.
pub(super) fn verifier(spec: KeyPairSpec) -> Option<&'static dyn VerificationAlgorithm> {
    match spec {
        KeyPairSpec::MlDsa44 => Some(&signature::ML_DSA_44),
        KeyPairSpec::MlDsa65 => Some(&signature::ML_DSA_65),
        KeyPairSpec::MlDsa87 => Some(&signature::ML_DSA_87),
        _ => None,
    }
}

/// Whether a signature of ML-DSA is the key's over the message that µ, 64 bytes, represents.
///
/// Source: FIPS 204 §6.3.
pub(super) fn verifies_mu(spec: KeyPairSpec, raw: &[u8], mu: &[u8], signature: &[u8]) -> bool {
    match spec {
        KeyPairSpec::MlDsa44 => verifies::<MlDsa44>(raw, mu, signature),
        KeyPairSpec::MlDsa65 => verifies::<MlDsa65>(raw, mu, signature),
        KeyPairSpec::MlDsa87 => verifies::<MlDsa87>(raw, mu, signature),
        _ => false,
    }
}

/// A new pair of ML-KEM, whose private key is its seed: as long for every spec.
///
/// Source: RFC 9935 §6, FIPS 203 §7.1.
pub(super) fn key_pair(spec: KeyPairSpec) -> Result<KeyPair, NoKeyPair> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    random(&mut *seed).map_err(|_| NoKeyPair(spec))?;
    let raw = match spec {
        KeyPairSpec::MlKem512 => DecapsulationKey512::from_seed((*seed).into()).encapsulation_key().to_bytes().to_vec(),
        KeyPairSpec::MlKem768 => DecapsulationKey768::from_seed((*seed).into()).encapsulation_key().to_bytes().to_vec(),
        KeyPairSpec::MlKem1024 => {
            DecapsulationKey1024::from_seed((*seed).into()).encapsulation_key().to_bytes().to_vec()
        }
        _ => return Err(NoKeyPair(spec)),
    };
    let public_key = PublicKey::from_lattice(spec, &raw).map_err(|_| NoKeyPair(spec))?;
    let mut private_key = Secret::zeroed(PRIVATE_HEAD.len() + SEED_LEN);
    let (head, rest) = private_key.expose_mut().split_at_mut(PRIVATE_HEAD.len());
    head.copy_from_slice(&PRIVATE_HEAD);
    head[OID_IN_PRIVATE_HEAD..][..OID_LEN].copy_from_slice(&oid(spec).ok_or(NoKeyPair(spec))?);
    rest.copy_from_slice(&*seed);
    Ok(KeyPair { private_key, public_key })
}

fn encapsulate_to(spec: KeyPairSpec, raw: &[u8]) -> Option<Encapsulated> {
    let algorithm = match spec {
        KeyPairSpec::MlKem512 => &kem::ML_KEM_512,
        KeyPairSpec::MlKem768 => &kem::ML_KEM_768,
        KeyPairSpec::MlKem1024 => &kem::ML_KEM_1024,
        _ => return None,
    };
    let (ciphertext, secret) = EncapsulationKey::new(algorithm, raw).ok()?.encapsulate().ok()?;
    Some(Encapsulated { secret: Secret::new(secret.as_ref().to_vec()), ciphertext: ciphertext.as_ref().to_vec() })
}

fn verifies<P: MlDsaParams>(raw: &[u8], mu: &[u8], signature: &[u8]) -> bool {
    let (Ok(raw), Ok(mu), Ok(signature)) = (raw.try_into(), mu.try_into(), Signature::<P>::try_from(signature)) else {
        return false;
    };
    VerifyingKey::<P>::decode(raw).verify_mu(mu, &signature)
}

/// Everything before the key's bytes: the algorithm's name without parameters, and the length of the bits.
fn head(spec: KeyPairSpec) -> Option<[u8; 22]> {
    let len = u16::try_from(spec.lattice_public_len()?).ok()?;
    let ([outer_high, outer_low], [high, low]) = ((len + 18).to_be_bytes(), (len + 1).to_be_bytes());
    let mut head = [0; 22];
    head[..4].copy_from_slice(&[0x30, 0x82, outer_high, outer_low]);
    head[4..8].copy_from_slice(&[0x30, 0x0b, 0x06, 0x09]);
    head[8..17].copy_from_slice(&oid(spec)?);
    head[17..].copy_from_slice(&[0x03, 0x82, high, low, 0]);
    Some(head)
}

/// 2.16.840.1.101.3.4.3.17 to 19, and 2.16.840.1.101.3.4.4.1 to 3.
///
/// Source: <https://csrc.nist.gov/projects/computer-security-objects-register/algorithm-registration>
fn oid(spec: KeyPairSpec) -> Option<[u8; OID_LEN]> {
    let (arc, last) = match spec {
        KeyPairSpec::MlDsa44 => (3, 17),
        KeyPairSpec::MlDsa65 => (3, 18),
        KeyPairSpec::MlDsa87 => (3, 19),
        KeyPairSpec::MlKem512 => (4, 1),
        KeyPairSpec::MlKem768 => (4, 2),
        KeyPairSpec::MlKem1024 => (4, 3),
        _ => return None,
    };
    Some([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, arc, last])
}

/// d and z (FIPS 203 §7.1).
const SEED_LEN: usize = 64;
const OID_LEN: usize = 9;
/// A `PrivateKeyInfo` of version 0 before the seed, whose choice has the tag 0; the name of the algorithm is filled in.
const PRIVATE_HEAD: [u8; 22] =
    [0x30, 0x54, 0x02, 0x01, 0, 0x30, 0x0b, 0x06, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04, 0x42, 0x80, 0x40];
const OID_IN_PRIVATE_HEAD: usize = 9;
