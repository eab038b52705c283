//! How key material that is imported is wrapped on its way here.
//!
//! Source: <https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-get-public-key-and-token.html>

use super::algorithm::EncryptionAlgorithm;
use super::key_specs::KeyPairSpec;
use super::words::words;

words! {
    /// The model's `AlgorithmSpec`.
    pub enum WrappingAlgorithm {
        /// RSAES-PKCS1-v1_5, which AWS has not taken since October 2023.
        RsaesPkcs1V15 = "RSAES_PKCS1_V1_5",
        /// The material itself by RSAES-OAEP with SHA-1 and MGF1 with SHA-1.
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        /// The material itself by RSAES-OAEP with SHA-256 and MGF1 with SHA-256.
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        /// An AES key by RSAES-OAEP with SHA-1, and behind it the material by AES-KWP (RFC 5649) under that key.
        RsaAesKeyWrapSha1 = "RSA_AES_KEY_WRAP_SHA_1",
        /// An AES key by RSAES-OAEP with SHA-256, and behind it the material by AES-KWP (RFC 5649) under that key.
        RsaAesKeyWrapSha256 = "RSA_AES_KEY_WRAP_SHA_256",
        /// SM2, which only the regions of China have.
        Sm2Pke = "SM2PKE",
    }
}

words! {
    /// The model's `WrappingKeySpec`: the type of the key that wraps material.
    pub enum WrappingKeySpec {
        /// RSA with a modulus of 2,048 bits.
        Rsa2048 = "RSA_2048",
        /// RSA with a modulus of 3,072 bits.
        Rsa3072 = "RSA_3072",
        /// RSA with a modulus of 4,096 bits.
        Rsa4096 = "RSA_4096",
        /// SM2, which only the regions of China have.
        Sm2 = "SM2",
    }
}

impl WrappingAlgorithm {
    /// How its RSA part is encrypted; `None` for the algorithms that this service does not have.
    pub fn encryption(self) -> Option<EncryptionAlgorithm> {
        match self {
            Self::RsaesOaepSha1 | Self::RsaAesKeyWrapSha1 => Some(EncryptionAlgorithm::RsaesOaepSha1),
            Self::RsaesOaepSha256 | Self::RsaAesKeyWrapSha256 => Some(EncryptionAlgorithm::RsaesOaepSha256),
            Self::RsaesPkcs1V15 | Self::Sm2Pke => None,
        }
    }

    /// Whether the RSA part is an AES key, and the material follows it.
    pub fn has_aes_key(self) -> bool {
        matches!(self, Self::RsaAesKeyWrapSha1 | Self::RsaAesKeyWrapSha256)
    }
}

impl WrappingKeySpec {
    /// The spec of the key pair; `None` for SM2.
    pub fn pair(self) -> Option<KeyPairSpec> {
        match self {
            Self::Rsa2048 => Some(KeyPairSpec::Rsa2048),
            Self::Rsa3072 => Some(KeyPairSpec::Rsa3072),
            Self::Rsa4096 => Some(KeyPairSpec::Rsa4096),
            Self::Sm2 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_they_mean() {
        for algorithm in WrappingAlgorithm::ALL {
            let name = algorithm.as_str();
            let hash = algorithm.encryption().map(|oaep| oaep.as_str().rsplit("OAEP_").next().unwrap());
            assert_eq!(hash, ["SHA_1", "SHA_256"].into_iter().find(|hash| name.ends_with(hash)), "{name}");
            assert_eq!(algorithm.has_aes_key(), name.starts_with("RSA_AES_"), "{name}");
        }
        for spec in WrappingKeySpec::ALL {
            assert_eq!(spec.pair().map_or("SM2", KeyPairSpec::as_str), spec.as_str());
        }
    }
}
