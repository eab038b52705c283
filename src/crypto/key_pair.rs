//! Data key pairs, which are made on the host.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair};

use super::lattice;
use super::public_key::PublicKey;
use crate::model::{KeyPairSpec, Secret};

/// An asymmetric key pair that leaves the service: never that of a KMS key.
#[derive(Debug)]
pub struct KeyPair {
    /// The private key, as DER `PrivateKeyInfo` (RFC 5208).
    pub private_key: Secret,
    /// The public key.
    pub public_key: PublicKey,
}

/// The library made no key pair, or none that it reads again.
#[derive(Debug, thiserror::Error)]
#[error("no {0} key pair could be made")]
pub struct NoKeyPair(pub KeyPairSpec);

impl KeyPair {
    /// A new key pair of the spec.
    ///
    /// It keeps the thread for the time of the generation: under a millisecond for a curve, tens of milliseconds to some
    /// seconds for RSA, so never make one of RSA on an async worker.
    pub fn generate(spec: KeyPairSpec) -> Result<KeyPair, NoKeyPair> {
        let (private_key, spki) = match spec {
            KeyPairSpec::MlKem512 | KeyPairSpec::MlKem768 | KeyPairSpec::MlKem1024 => return lattice::key_pair(spec),
            // The model has no such data key pairs.
            KeyPairSpec::MlDsa44 | KeyPairSpec::MlDsa65 | KeyPairSpec::MlDsa87 => return Err(NoKeyPair(spec)),
            KeyPairSpec::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyPairSpec::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyPairSpec::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyPairSpec::EccNistP256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyPairSpec::EccNistP384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyPairSpec::EccNistP521 => ecdsa(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyPairSpec::EccSecgP256k1 => ecdsa(&signature::ECDSA_P256K1_SHA256_ASN1_SIGNING),
            KeyPairSpec::EccNistEdwards25519 => ed25519(),
        }
        .map_err(|_| NoKeyPair(spec))?;
        let public_key = PublicKey::from_spki(spec, spki.as_ref()).map_err(|_| NoKeyPair(spec))?;
        Ok(KeyPair { private_key, public_key })
    }
}

type Encoded = (Secret, PublicKeyX509Der<'static>);

fn rsa(size: KeySize) -> Result<Encoded, Unspecified> {
    let pair = RsaKeyPair::generate(size)?;
    let private_key: Pkcs8V1Der<'static> = pair.as_der()?;
    Ok((Secret::new(private_key.as_ref().to_vec()), pair.public_key().as_der()?))
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<Encoded, Unspecified> {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    Ok((Secret::new(pair.to_pkcs8v1()?.as_ref().to_vec()), pair.public_key().as_der()?))
}

fn ed25519() -> Result<Encoded, Unspecified> {
    let pair = Ed25519KeyPair::generate()?;
    Ok((Secret::new(pair.to_pkcs8v1()?.as_ref().to_vec()), pair.public_key().as_der()?))
}
