//! Which usages and algorithms fit which key spec.
//!
//! Source: <https://docs.aws.amazon.com/kms/latest/developerguide/asymmetric-key-specs.html>

use super::algorithm::{
    EncapsulationAlgorithm, EncryptionAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm,
};
use super::words::words;

words! {
    /// The type of an asymmetric key: the asymmetric ones of the model's `KeySpec` and of its `DataKeyPairSpec`, as far
    /// as this service knows them.
    pub enum KeyPairSpec {
        /// RSA with a modulus of 2,048 bits.
        Rsa2048 = "RSA_2048",
        /// RSA with a modulus of 3,072 bits.
        Rsa3072 = "RSA_3072",
        /// RSA with a modulus of 4,096 bits.
        Rsa4096 = "RSA_4096",
        /// The curve P-256 (secp256r1).
        EccNistP256 = "ECC_NIST_P256",
        /// The curve P-384 (secp384r1).
        EccNistP384 = "ECC_NIST_P384",
        /// The curve P-521 (secp521r1).
        EccNistP521 = "ECC_NIST_P521",
        /// The curve secp256k1.
        EccSecgP256k1 = "ECC_SECG_P256K1",
        /// The curve of Ed25519.
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        /// ML-DSA-44 (FIPS 204).
        MlDsa44 = "ML_DSA_44",
        /// ML-DSA-65.
        MlDsa65 = "ML_DSA_65",
        /// ML-DSA-87.
        MlDsa87 = "ML_DSA_87",
        /// ML-KEM-512 (FIPS 203).
        MlKem512 = "ML_KEM_512",
        /// ML-KEM-768.
        MlKem768 = "ML_KEM_768",
        /// ML-KEM-1024.
        MlKem1024 = "ML_KEM_1024",
    }
}

words! {
    /// The type of an HMAC key: those of the model's `KeySpec`.
    pub enum HmacSpec {
        /// A key for HMAC with SHA-224.
        Hmac224 = "HMAC_224",
        /// A key for HMAC with SHA-256.
        Hmac256 = "HMAC_256",
        /// A key for HMAC with SHA-384.
        Hmac384 = "HMAC_384",
        /// A key for HMAC with SHA-512.
        Hmac512 = "HMAC_512",
    }
}

impl KeyPairSpec {
    /// The algorithms of a key with the usage `SIGN_VERIFY`; none where the spec cannot have it.
    pub fn signing_algorithms(self) -> &'static [SigningAlgorithm] {
        use SigningAlgorithm::*;
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[
                RsassaPkcs1V15Sha256,
                RsassaPkcs1V15Sha384,
                RsassaPkcs1V15Sha512,
                RsassaPssSha256,
                RsassaPssSha384,
                RsassaPssSha512,
            ],
            Self::EccNistP256 | Self::EccSecgP256k1 => &[EcdsaSha256],
            Self::EccNistP384 => &[EcdsaSha384],
            Self::EccNistP521 => &[EcdsaSha512],
            Self::EccNistEdwards25519 => &[Ed25519Sha512, Ed25519PhSha512],
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => &[MlDsaShake256],
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => &[],
        }
    }

    /// The algorithms of a key with the usage `ENCRYPT_DECRYPT`; none where the spec cannot have it.
    pub fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        match self.modulus_len() {
            Some(_) => &[EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256],
            None => &[],
        }
    }

    /// The algorithms of a key with the usage `KEY_AGREEMENT`; none where the spec cannot have it.
    pub fn key_agreement_algorithms(self) -> &'static [KeyAgreementAlgorithm] {
        match self {
            Self::EccNistP256 | Self::EccNistP384 | Self::EccNistP521 => &[KeyAgreementAlgorithm::Ecdh],
            _ => &[],
        }
    }

    /// The algorithms of a key with the usage `ENCAPSULATE_DECAPSULATE`; none where the spec cannot have it.
    pub fn encapsulation_algorithms(self) -> &'static [EncapsulationAlgorithm] {
        match self.encapsulated_len() {
            Some(_) => &[EncapsulationAlgorithm::MlKem],
            None => &[],
        }
    }

    /// The most bytes that a key of this spec encrypts; `None` where the algorithm does not fit.
    ///
    /// Source: RFC 8017 §7.1.1.
    pub fn max_plaintext(self, algorithm: EncryptionAlgorithm) -> Option<usize> {
        Some(self.modulus_len()? - 2 * algorithm.oaep_hash_len()? - 2)
    }

    /// Bytes in the modulus, and so in a signature, of an RSA key; `None` for the others.
    pub fn modulus_len(self) -> Option<usize> {
        match self {
            Self::Rsa2048 => Some(256),
            Self::Rsa3072 => Some(384),
            Self::Rsa4096 => Some(512),
            _ => None,
        }
    }

    /// Bytes in a coordinate, and in each half of a signature, of a curve of ECDSA; `None` for the others.
    pub fn coordinate_len(self) -> Option<usize> {
        match self {
            Self::EccNistP256 | Self::EccSecgP256k1 => Some(32),
            Self::EccNistP384 => Some(48),
            Self::EccNistP521 => Some(66),
            _ => None,
        }
    }

    /// Whether the key is one of the lattices of FIPS 203 and FIPS 204: ML-KEM or ML-DSA.
    pub fn is_lattice(self) -> bool {
        self.lattice_public_len().is_some()
    }

    /// Bytes in the public key of ML-DSA or ML-KEM; `None` for the others.
    ///
    /// Source: FIPS 204 §4, table 2; FIPS 203 §8, table 3.
    pub fn lattice_public_len(self) -> Option<usize> {
        Some(match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
            _ => return None,
        })
    }

    /// Bytes in a secret that was encapsulated to a key of ML-KEM; `None` for the others.
    ///
    /// Source: FIPS 203 §8, table 3.
    pub fn encapsulated_len(self) -> Option<usize> {
        Some(match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
            _ => return None,
        })
    }
}

impl HmacSpec {
    /// The one algorithm of a key of this spec, whose usage is `GENERATE_VERIFY_MAC`.
    pub fn algorithm(self) -> MacAlgorithm {
        match self {
            Self::Hmac224 => MacAlgorithm::HmacSha224,
            Self::Hmac256 => MacAlgorithm::HmacSha256,
            Self::Hmac384 => MacAlgorithm::HmacSha384,
            Self::Hmac512 => MacAlgorithm::HmacSha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_keys_encrypt_as_much_as_aws_says() {
        // https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
        let table =
            [(KeyPairSpec::Rsa2048, 214, 190), (KeyPairSpec::Rsa3072, 342, 318), (KeyPairSpec::Rsa4096, 470, 446)];
        for (spec, sha1, sha256) in table {
            assert_eq!(spec.max_plaintext(EncryptionAlgorithm::RsaesOaepSha1), Some(sha1));
            assert_eq!(spec.max_plaintext(EncryptionAlgorithm::RsaesOaepSha256), Some(sha256));
            assert_eq!(spec.max_plaintext(EncryptionAlgorithm::SymmetricDefault), None);
        }
        assert_eq!(KeyPairSpec::EccNistP256.max_plaintext(EncryptionAlgorithm::RsaesOaepSha1), None);
    }

    #[test]
    fn each_spec_has_the_algorithms_of_the_guide() {
        for spec in KeyPairSpec::ALL {
            let rsa = spec.as_str().starts_with("RSA_");
            assert_eq!(spec.encryption_algorithms().len(), if rsa { 2 } else { 0 }, "{spec}");
            let nist = spec.as_str().starts_with("ECC_NIST_P");
            assert_eq!(spec.key_agreement_algorithms().len(), usize::from(nist), "{spec}");
            let kem = spec.as_str().starts_with("ML_KEM_");
            assert_eq!(spec.encapsulation_algorithms().len(), usize::from(kem), "{spec}");
            assert_eq!(spec.is_lattice(), spec.as_str().starts_with("ML_"), "{spec}");
            let family = match spec.as_str() {
                name if name.starts_with("RSA_") => "RSASSA_",
                "ECC_NIST_EDWARDS25519" => "ED25519_",
                name if name.starts_with("ML_DSA_") => "ML_DSA_",
                name if name.starts_with("ML_KEM_") => "none",
                _ => "ECDSA_",
            };
            let of_family: Vec<_> =
                SigningAlgorithm::ALL.iter().filter(|algorithm| algorithm.as_str().starts_with(family)).collect();
            assert!(spec.signing_algorithms().iter().all(|algorithm| of_family.contains(&algorithm)), "{spec}");
            assert_eq!(spec.signing_algorithms().len(), if family == "ECDSA_" { 1 } else { of_family.len() }, "{spec}");
        }
        for spec in HmacSpec::ALL {
            let bits: usize = spec.as_str()["HMAC_".len()..].parse().unwrap();
            assert_eq!(spec.algorithm().as_str(), format!("HMAC_SHA_{bits}"));
            assert_eq!(spec.algorithm().mac_len() * 8, bits);
        }
    }
}
