//! The algorithms that a request can name: every word of the service model, whether this service has it or not.

use super::words::words;

words! {
    /// The model's `SigningAlgorithmSpec`.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/asymmetric-key-specs.html>
    pub enum SigningAlgorithm {
        /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017 §8.1).
        RsassaPssSha256 = "RSASSA_PSS_SHA_256",
        /// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.
        RsassaPssSha384 = "RSASSA_PSS_SHA_384",
        /// RSASSA-PSS with SHA-512, MGF1 with SHA-512 and a salt of 64 bytes.
        RsassaPssSha512 = "RSASSA_PSS_SHA_512",
        /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2).
        RsassaPkcs1V15Sha256 = "RSASSA_PKCS1_V1_5_SHA_256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        RsassaPkcs1V15Sha384 = "RSASSA_PKCS1_V1_5_SHA_384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        RsassaPkcs1V15Sha512 = "RSASSA_PKCS1_V1_5_SHA_512",
        /// ECDSA with SHA-256 (FIPS 186-5 §6).
        EcdsaSha256 = "ECDSA_SHA_256",
        /// ECDSA with SHA-384.
        EcdsaSha384 = "ECDSA_SHA_384",
        /// ECDSA with SHA-512.
        EcdsaSha512 = "ECDSA_SHA_512",
        /// SM2, which only the regions of China have.
        Sm2Dsa = "SM2DSA",
        /// ML-DSA (FIPS 204).
        MlDsaShake256 = "ML_DSA_SHAKE_256",
        /// Ed25519 (RFC 8032 §5.1).
        Ed25519Sha512 = "ED25519_SHA_512",
        /// Ed25519ph (RFC 8032 §5.1), whose prehash is taken of the digest that the caller gives.
        Ed25519PhSha512 = "ED25519_PH_SHA_512",
    }
}

words! {
    /// The model's `EncryptionAlgorithmSpec`.
    pub enum EncryptionAlgorithm {
        /// Authenticated encryption under a symmetric key.
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        /// RSAES-OAEP with SHA-1 and MGF1 with SHA-1 (RFC 8017 §7.1).
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256.
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        /// SM2, which only the regions of China have.
        Sm2Pke = "SM2PKE",
    }
}

words! {
    /// The model's `MacAlgorithmSpec` (FIPS 198-1 with the hashes of FIPS 180-4).
    pub enum MacAlgorithm {
        /// HMAC with SHA-224.
        HmacSha224 = "HMAC_SHA_224",
        /// HMAC with SHA-256.
        HmacSha256 = "HMAC_SHA_256",
        /// HMAC with SHA-384.
        HmacSha384 = "HMAC_SHA_384",
        /// HMAC with SHA-512.
        HmacSha512 = "HMAC_SHA_512",
    }
}

words! {
    /// The model's `KeyAgreementAlgorithmSpec`.
    pub enum KeyAgreementAlgorithm {
        /// The Elliptic Curve Cryptography Cofactor Diffie-Hellman Primitive (SP 800-56A §5.7.1.2).
        Ecdh = "ECDH",
    }
}

words! {
    /// The model's `EncapsulationAlgorithmSpec`.
    pub enum EncapsulationAlgorithm {
        /// ML-KEM (FIPS 203).
        MlKem = "ML_KEM",
    }
}

words! {
    /// What the message of a request to sign is: the model's `MessageType`.
    pub enum MessageType {
        /// The message itself, at most 4,096 bytes.
        Raw = "RAW",
        /// The message's hash, of exactly the algorithm's length.
        Digest = "DIGEST",
        /// The 64-byte representative µ of ML-DSA.
        ExternalMu = "EXTERNAL_MU",
    }
}

impl SigningAlgorithm {
    /// Bytes in the hash that the algorithm signs; `None` where it signs no hash of the caller's.
    pub fn digest_len(self) -> Option<usize> {
        match self {
            Self::RsassaPssSha256 | Self::RsassaPkcs1V15Sha256 | Self::EcdsaSha256 | Self::Sm2Dsa => Some(32),
            Self::RsassaPssSha384 | Self::RsassaPkcs1V15Sha384 | Self::EcdsaSha384 => Some(48),
            Self::RsassaPssSha512 | Self::RsassaPkcs1V15Sha512 | Self::EcdsaSha512 | Self::Ed25519PhSha512 => Some(64),
            Self::Ed25519Sha512 | Self::MlDsaShake256 => None,
        }
    }

    /// The message types that the algorithm takes.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>
    pub fn message_types(self) -> &'static [MessageType] {
        match self {
            Self::Ed25519Sha512 => &[MessageType::Raw],
            Self::Ed25519PhSha512 => &[MessageType::Digest],
            Self::MlDsaShake256 => &[MessageType::Raw, MessageType::ExternalMu],
            _ => &[MessageType::Raw, MessageType::Digest],
        }
    }
}

impl EncryptionAlgorithm {
    /// Bytes in the hash of RSAES-OAEP; `None` for the other algorithms.
    pub fn oaep_hash_len(self) -> Option<usize> {
        match self {
            Self::RsaesOaepSha1 => Some(20),
            Self::RsaesOaepSha256 => Some(32),
            Self::SymmetricDefault | Self::Sm2Pke => None,
        }
    }
}

impl MacAlgorithm {
    /// Bytes in the code.
    pub fn mac_len(self) -> usize {
        match self {
            Self::HmacSha224 => 28,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written_and_no_other() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(*algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.to_string());
            assert_eq!(serde_json::from_value::<SigningAlgorithm>(algorithm.as_str().into()).unwrap(), *algorithm);
        }
        let read: Vec<&str> = EncryptionAlgorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
        assert_eq!(read, EncryptionAlgorithm::NAMES);
        assert!("ecdsa_sha_256".parse::<SigningAlgorithm>().is_err());
        assert!("".parse::<MessageType>().is_err());
    }

    #[test]
    fn a_digest_is_taken_where_there_is_one() {
        for algorithm in SigningAlgorithm::ALL {
            let digest = algorithm.message_types().contains(&MessageType::Digest);
            assert_eq!(digest, algorithm.digest_len().is_some(), "{algorithm}");
        }
    }
}
