//! Private keys that are imported: read strictly, and proved to be whole.

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};

use super::public_key::PublicKey;
use crate::model::{KeyPairSpec, Secret};

/// A private key in its numbers, big endian.
pub enum PrivateKey {
    /// RSA with two primes: n, e, d, p, q, d mod p-1, d mod q-1, q⁻¹ mod p.
    Rsa(Box<[Secret; 8]>),
    /// The scalar of a curve, as long as a coordinate; of Ed25519 the seed.
    Scalar(Secret),
}

/// The bytes are no private key of that spec.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the private key of a {0} key")]
pub struct InvalidPrivateKey(pub KeyPairSpec);

impl PrivateKey {
    /// A private key, and the public one that follows from it, from DER `PrivateKeyInfo` of version 0: exactly one, with
    /// nothing behind it. Attributes are passed over.
    ///
    /// Fails unless it is a key of exactly this spec whose numbers fit each other: RSA with two primes and what
    /// [`PublicKey::from_rsa`] asks for, or a named curve with a scalar in range and, if it is told, its own point.
    ///
    /// Source: RFC 5208 §5, RFC 8017 §A.1.2, RFC 5915 §3, RFC 8410 §7.
    pub fn from_pkcs8(spec: KeyPairSpec, der: &Secret) -> Result<(PrivateKey, PublicKey), InvalidPrivateKey> {
        let (algorithm, inner) = fields(der.expose()).ok_or(InvalidPrivateKey(spec))?;
        let read = match spec {
            KeyPairSpec::Rsa2048 | KeyPairSpec::Rsa3072 | KeyPairSpec::Rsa4096 => rsa(spec, der, inner),
            KeyPairSpec::EccNistP256 => ecdsa(spec, &signature::ECDSA_P256_SHA256_ASN1_SIGNING, der),
            KeyPairSpec::EccNistP384 => ecdsa(spec, &signature::ECDSA_P384_SHA384_ASN1_SIGNING, der),
            KeyPairSpec::EccNistP521 => ecdsa(spec, &signature::ECDSA_P521_SHA512_ASN1_SIGNING, der),
            KeyPairSpec::EccSecgP256k1 => ecdsa(spec, &signature::ECDSA_P256K1_SHA256_ASN1_SIGNING, der),
            KeyPairSpec::EccNistEdwards25519 => ed25519(spec, der),
            _ => None,
        };
        // Both halves name their algorithm alike, and the public one in the only form that it has.
        let read = read.filter(|(_, public)| algorithm_of(public.spki()) == Some(algorithm));
        read.ok_or(InvalidPrivateKey(spec))
    }
}

type Read = Option<(PrivateKey, PublicKey)>;

fn rsa(spec: KeyPairSpec, der: &Secret, inner: &[u8]) -> Read {
    // Whether the numbers belong together is the library's to say; what they are it does not tell.
    RsaKeyPair::from_pkcs8(der.expose()).ok()?;
    let mut rest = whole(inner, SEQUENCE)?;
    let version = positive_or_zero(&mut rest)?;
    let mut number = || Some(Secret::new(positive_or_zero(&mut rest)?.to_vec()));
    let numbers = [number()?, number()?, number()?, number()?, number()?, number()?, number()?, number()?];
    let public = PublicKey::from_rsa(spec, numbers[0].expose(), numbers[1].expose()).ok()?;
    (version == TWO_PRIMES && rest.is_empty()).then(|| (PrivateKey::Rsa(Box::new(numbers)), public))
}

fn ecdsa(spec: KeyPairSpec, algorithm: &'static signature::EcdsaSigningAlgorithm, der: &Secret) -> Read {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.expose()).ok()?;
    let public = PublicKey::from_point(spec, pair.public_key().as_ref()).ok()?;
    let scalar: EcPrivateKeyBin<'static> = pair.private_key().as_be_bytes().ok()?;
    Some((PrivateKey::Scalar(Secret::new(scalar.as_ref().to_vec())), public))
}

fn ed25519(spec: KeyPairSpec, der: &Secret) -> Read {
    let pair = Ed25519KeyPair::from_pkcs8(der.expose()).ok()?;
    let public = PublicKey::from_point(spec, pair.public_key().as_ref()).ok()?;
    let seed: Curve25519SeedBin<'static> = pair.seed().ok()?.as_be_bytes().ok()?;
    Some((PrivateKey::Scalar(Secret::new(seed.as_ref().to_vec())), public))
}

/// The `AlgorithmIdentifier` and the private key of a `PrivateKeyInfo`, both as contents.
fn fields(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = whole(der, SEQUENCE)?;
    let version = positive_or_zero(&mut fields)?;
    let algorithm = take(&mut fields, SEQUENCE)?;
    let key = take(&mut fields, OCTET_STRING)?;
    let only_attributes = fields.is_empty() || whole(fields, ATTRIBUTES).is_some();
    (version == [0] && only_attributes).then_some((algorithm, key))
}

/// The contents of the `AlgorithmIdentifier` of a `SubjectPublicKeyInfo`.
fn algorithm_of(spki: &[u8]) -> Option<&[u8]> {
    take(&mut whole(spki, SEQUENCE)?, SEQUENCE)
}

/// The modulus and the exponent in a `SubjectPublicKeyInfo` of RSA.
pub(super) fn rsa_numbers(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = whole(spki, SEQUENCE)?;
    take(&mut fields, SEQUENCE)?;
    // The first byte of a BIT STRING counts the bits that are left over.
    let key = whole(fields, BIT_STRING)?.strip_prefix(&[0])?;
    let mut numbers = whole(key, SEQUENCE)?;
    let (modulus, exponent) = (positive_or_zero(&mut numbers)?, positive_or_zero(&mut numbers)?);
    numbers.is_empty().then_some((modulus, exponent))
}

/// The contents of a value that is all there is.
fn whole(mut der: &[u8], tag: u8) -> Option<&[u8]> {
    let contents = take(&mut der, tag)?;
    der.is_empty().then_some(contents)
}

/// The contents of the next value, which must have this tag and the shortest length (X.690 §10.1).
fn take<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (len, rest) = match **der {
        [first, len @ 0..=0x7f, ref rest @ ..] if first == tag => (usize::from(len), rest),
        [first, 0x81, len @ 0x80..=0xff, ref rest @ ..] if first == tag => (usize::from(len), rest),
        [first, 0x82, high @ 1..=0xff, low, ref rest @ ..] if first == tag => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    *der = rest;
    Some(contents)
}

/// The digits of the next INTEGER, without the zero that only keeps it positive.
fn positive_or_zero<'a>(der: &mut &'a [u8]) -> Option<&'a [u8]> {
    match take(der, INTEGER)? {
        [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => Some(digits),
        digits @ ([0] | [1..=0x7f, ..]) => Some(digits),
        _ => None,
    }
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// `[0] IMPLICIT`
const ATTRIBUTES: u8 = 0xa0;
/// The version of an `RSAPrivateKey` with two primes.
const TWO_PRIMES: &[u8] = &[0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyPair;

    const SMALL: [KeyPairSpec; 6] = [
        KeyPairSpec::Rsa2048,
        KeyPairSpec::EccNistP256,
        KeyPairSpec::EccNistP384,
        KeyPairSpec::EccNistP521,
        KeyPairSpec::EccSecgP256k1,
        KeyPairSpec::EccNistEdwards25519,
    ];

    #[test]
    fn reads_its_own_spec_and_no_other() {
        for spec in SMALL {
            let pair = KeyPair::generate(spec).unwrap();
            let (_, public) = PrivateKey::from_pkcs8(spec, &pair.private_key).ok().unwrap();
            assert_eq!(public.spki(), pair.public_key.spki());
            for other in KeyPairSpec::ALL.iter().filter(|other| **other != spec) {
                assert!(PrivateKey::from_pkcs8(*other, &pair.private_key).is_err(), "{spec} as {other}");
            }
        }
    }

    #[test]
    fn a_changed_length_or_a_byte_more_or_less_is_refused() {
        for spec in SMALL {
            let der = KeyPair::generate(spec).unwrap().private_key;
            let refused = |bytes: &[u8]| PrivateKey::from_pkcs8(spec, &Secret::new(bytes.to_vec())).is_err();
            assert!(refused(&[der.expose(), &[0]].concat()), "{spec}");
            for len in 0..der.expose().len() {
                assert!(refused(&der.expose()[..len]), "{spec} cut to {len}");
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_each_other_are_refused() {
        let der = KeyPair::generate(KeyPairSpec::Rsa2048).unwrap().private_key;
        let bytes = der.expose();
        // Behind the header every byte of an RSA key belongs to a number, or to how it is written.
        for index in (26..bytes.len()).step_by(7) {
            let mut wrong = bytes.to_vec();
            wrong[index] ^= 1;
            assert!(PrivateKey::from_pkcs8(KeyPairSpec::Rsa2048, &Secret::new(wrong)).is_err(), "byte {index}");
        }
    }
}
