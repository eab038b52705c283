//! What kinds of keys there are: how each is made, and what it must show before it is used.

use std::fmt;

use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, MlDsaParameterSetType, MlKemParameterSetType, ObjectClass};
use cryptoki_sys::{CK_KEY_TYPE, CKA_KEY_TYPE, CKK_SHA224_HMAC, CKK_SHA256_HMAC, CKK_SHA384_HMAC, CKK_SHA512_HMAC};

use super::profile::Hmac;
use crate::crypto::KEY_LEN;
use crate::model::{HmacSpec, KeyPairSpec, Purpose};

/// The type of a key on the token together with the one thing that it is for.
///
/// Source: PKCS#11 v3.0 §4.8, §4.9; SP 800-57 part 1 §5.2: a key has one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// AES-256 that wraps seeds.
    Aes256,
    /// A key pair that signs: RSA, ECDSA, Ed25519 or ML-DSA.
    Sign(KeyPairSpec),
    /// An RSA pair that decrypts.
    Decrypt(KeyPairSpec),
    /// A pair on a NIST curve, for ECDH.
    Agree(KeyPairSpec),
    /// A pair of ML-KEM, which decapsulates.
    Decapsulate(KeyPairSpec),
    /// A key for HMAC, as long as the hash's output.
    Mac(HmacSpec),
    /// An RSA pair that unwraps material which is imported. Its objects have a purpose of their own.
    ImportWrapping(KeyPairSpec),
    /// An RSA pair that unwraps material from other tokens. Its objects have a purpose of their own.
    Replication(KeyPairSpec),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Aes256 => f.write_str("an AES-256 key"),
            KeyKind::Sign(spec) => write!(f, "a signing key of the spec {spec}"),
            KeyKind::Decrypt(spec) => write!(f, "a decryption key of the spec {spec}"),
            KeyKind::Agree(spec) => write!(f, "a key agreement key of the spec {spec}"),
            KeyKind::Decapsulate(spec) => write!(f, "a decapsulation key of the spec {spec}"),
            KeyKind::Mac(spec) => write!(f, "a key of the spec {spec}"),
            KeyKind::ImportWrapping(spec) => write!(f, "a wrapping key of the spec {spec}"),
            KeyKind::Replication(spec) => write!(f, "a replication key of the spec {spec}"),
        }
    }
}

impl KeyKind {
    /// Whether there is such a kind: not every spec does everything.
    pub(super) fn is_one(self) -> bool {
        match self {
            KeyKind::Aes256 | KeyKind::Mac(_) => true,
            KeyKind::Sign(spec) => !spec.signing_algorithms().is_empty(),
            KeyKind::Decapsulate(spec) => !spec.encapsulation_algorithms().is_empty(),
            KeyKind::Decrypt(spec) | KeyKind::ImportWrapping(spec) | KeyKind::Replication(spec) => {
                !spec.encryption_algorithms().is_empty()
            }
            KeyKind::Agree(spec) => !spec.key_agreement_algorithms().is_empty(),
        }
    }

    /// Whether an object of this purpose can be of this kind.
    pub(super) fn serves(self, purpose: Purpose) -> bool {
        match self {
            KeyKind::ImportWrapping(_) => purpose == Purpose::ImportWrapping,
            KeyKind::Replication(_) => purpose == Purpose::Replication,
            _ => !matches!(purpose, Purpose::ImportWrapping | Purpose::Replication),
        }
    }

    /// The spec of the pair; nothing for secret keys.
    pub(super) fn pair(self) -> Option<KeyPairSpec> {
        match self {
            KeyKind::Aes256 | KeyKind::Mac(_) => None,
            KeyKind::Sign(spec)
            | KeyKind::Decrypt(spec)
            | KeyKind::Agree(spec)
            | KeyKind::Decapsulate(spec)
            | KeyKind::ImportWrapping(spec)
            | KeyKind::Replication(spec) => Some(spec),
        }
    }

    /// Whether the object is a private key, made with a public one.
    pub fn is_pair(self) -> bool {
        self.pair().is_some()
    }

    /// Bytes in the modulus, if it is an RSA key.
    pub(super) fn modulus_len(self) -> Option<usize> {
        self.pair().and_then(KeyPairSpec::modulus_len)
    }

    /// Bytes in the key, if it is a secret one.
    pub(super) fn secret_len(self) -> Option<usize> {
        match self {
            KeyKind::Aes256 => Some(KEY_LEN),
            KeyKind::Mac(spec) => Some(spec.algorithm().mac_len()),
            _ => None,
        }
    }

    /// `CKA_CLASS`, `CKA_KEY_TYPE`, and the size as far as an attribute tells it.
    pub(super) fn type_attributes(self, hmac: &Hmac) -> Vec<Attribute> {
        let class = if self.is_pair() { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY };
        let key_type = self.own_type(hmac).map_or_else(|| Attribute::KeyType(self.key_type()), numbered);
        let mut attributes = vec![Attribute::Class(class), key_type];
        if self.own_type(hmac).is_none() || hmac.has_length {
            attributes.extend(self.secret_len().and_then(value_len));
        }
        attributes
    }

    /// The number of the type that a key for HMAC has where that is its hash's own.
    pub(super) fn own_type(self, hmac: &Hmac) -> Option<CK_KEY_TYPE> {
        match self {
            KeyKind::Mac(spec) if hmac.own_types => Some(match spec {
                HmacSpec::Hmac224 => CKK_SHA224_HMAC,
                HmacSpec::Hmac256 => CKK_SHA256_HMAC,
                HmacSpec::Hmac384 => CKK_SHA384_HMAC,
                HmacSpec::Hmac512 => CKK_SHA512_HMAC,
            }),
            _ => None,
        }
    }

    /// What names the curve, or the parameters of a lattice; nothing for other keys. It comes with the public half when a
    /// pair is made.
    pub(super) fn curve_attribute(self) -> Option<Attribute> {
        let pair = self.pair()?;
        curve(pair).map(|curve| Attribute::EcParams(curve.to_vec())).or_else(|| lattice(pair))
    }

    /// What the key may be used for, and everything that it may not.
    pub(super) fn use_attributes(self) -> Vec<Attribute> {
        let mut attributes = vec![
            Attribute::Sign(matches!(self, KeyKind::Sign(_) | KeyKind::Mac(_))),
            Attribute::Decrypt(matches!(self, KeyKind::Aes256 | KeyKind::Decrypt(_) | KeyKind::ImportWrapping(_))),
            Attribute::Unwrap(matches!(self, KeyKind::ImportWrapping(_) | KeyKind::Replication(_))),
            Attribute::Derive(matches!(self, KeyKind::Agree(_))),
        ];
        if let KeyKind::Decapsulate(_) = self {
            // An attribute of PKCS#11 v3.2, which other tokens know as little as such keys.
            attributes.push(Attribute::Decapsulate(true));
        }
        if self.is_pair() {
            attributes.push(Attribute::SignRecover(false));
        } else {
            let encrypts = Attribute::Encrypt(self == KeyKind::Aes256);
            attributes.extend([encrypts, Attribute::Wrap(false), Attribute::Verify(false)]);
        }
        attributes
    }

    /// The mechanism that makes such a key. Fails with [`CryptokiError::InvalidValue`] for a number that is no vendor's.
    pub(super) fn generation(self, hmac: &Hmac) -> Result<Mechanism<'static>, CryptokiError> {
        if let (KeyKind::Mac(spec), Some(numbers)) = (self, &hmac.generation) {
            let number = MechanismType::new_vendor_defined(numbers.of(spec))?;
            return Ok(Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(number, None)));
        }
        Ok(match self.key_type() {
            KeyType::AES => Mechanism::AesKeyGen,
            KeyType::RSA => Mechanism::RsaPkcsKeyPairGen,
            KeyType::EC => Mechanism::EccKeyPairGen,
            KeyType::EC_EDWARDS => Mechanism::EccEdwardsKeyPairGen,
            KeyType::ML_DSA => Mechanism::MlDsaKeyPairGen,
            KeyType::ML_KEM => Mechanism::MlKemKeyPairGen,
            _ => Mechanism::GenericSecretKeyGen,
        })
    }

    /// The template of the public half, which lives for as long as it takes to read it; `token` where there are no session
    /// objects.
    pub(super) fn public_template(self, token: bool) -> Vec<Attribute> {
        let mut attributes = vec![
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(self.key_type()),
            Attribute::Token(token),
            Attribute::Private(false),
        ];
        if let Some(bits) = self.modulus_len().and_then(|len| u32::try_from(len * 8).ok()) {
            attributes.push(Attribute::ModulusBits(u64::from(bits).into()));
            attributes.push(Attribute::PublicExponent(EXPONENT.to_vec()));
        }
        attributes.extend(self.curve_attribute());
        attributes
    }

    fn key_type(self) -> KeyType {
        match (self, self.pair()) {
            (KeyKind::Aes256, _) => KeyType::AES,
            (_, None) => KeyType::GENERIC_SECRET,
            (_, Some(KeyPairSpec::EccNistEdwards25519)) => KeyType::EC_EDWARDS,
            (_, Some(spec)) if spec.modulus_len().is_some() => KeyType::RSA,
            (_, Some(spec)) if spec.encapsulated_len().is_some() => KeyType::ML_KEM,
            (_, Some(spec)) if spec.is_lattice() => KeyType::ML_DSA,
            (_, Some(_)) => KeyType::EC,
        }
    }
}

/// `CKA_KEY_TYPE` by its number: `cryptoki` 0.12.1 takes every type of HMAC for `CKK_SHA256_HMAC`.
fn numbered(key_type: CK_KEY_TYPE) -> Attribute {
    Attribute::VendorDefined((KEY_TYPE, key_type.to_ne_bytes().to_vec()))
}

fn value_len(bytes: usize) -> Option<Attribute> {
    Some(Attribute::ValueLen(u64::try_from(bytes).ok()?.into()))
}

/// The curve's name as a DER object identifier: `CKA_EC_PARAMS` (RFC 5480 §2.1.1.1, SEC 2 §A, RFC 8410 §3).
fn curve(spec: KeyPairSpec) -> Option<&'static [u8]> {
    Some(match spec {
        KeyPairSpec::EccNistP256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        KeyPairSpec::EccNistP384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        KeyPairSpec::EccNistP521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        KeyPairSpec::EccSecgP256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        KeyPairSpec::EccNistEdwards25519 => OID_ED25519,
        _ => return None,
    })
}

/// `CKA_PARAMETER_SET` (PKCS#11 v3.2 §6.67 and §6.68).
fn lattice(spec: KeyPairSpec) -> Option<Attribute> {
    Some(Attribute::ParameterSet(match spec {
        KeyPairSpec::MlDsa44 => MlDsaParameterSetType::ML_DSA_44.into(),
        KeyPairSpec::MlDsa65 => MlDsaParameterSetType::ML_DSA_65.into(),
        KeyPairSpec::MlDsa87 => MlDsaParameterSetType::ML_DSA_87.into(),
        KeyPairSpec::MlKem512 => MlKemParameterSetType::ML_KEM_512.into(),
        KeyPairSpec::MlKem768 => MlKemParameterSetType::ML_KEM_768.into(),
        KeyPairSpec::MlKem1024 => MlKemParameterSetType::ML_KEM_1024.into(),
        _ => return None,
    }))
}

/// 1.3.101.112 (RFC 8410 §3)
pub(super) const OID_ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// `CKA_KEY_TYPE`, as the attribute that [`KeyKind::own_type`] is given in.
pub(super) const KEY_TYPE: AttributeType = AttributeType::VendorDefined(CKA_KEY_TYPE);
/// 65537
const EXPONENT: [u8; 3] = [1, 0, 1];
