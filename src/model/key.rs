//! What a KMS key is: its spec, usage, origin and state.

use serde::{Deserialize, Serialize};

use super::algorithm::{
    EncapsulationAlgorithm, EncryptionAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm,
};
use super::key_specs::{HmacSpec, KeyPairSpec};
use super::words::words;

words! {
    /// The type of key material: the model's `KeySpec`, as far as this service makes it.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html>
    pub enum KeySpec {
        /// A 256-bit AES key.
        SymmetricDefault = "SYMMETRIC_DEFAULT",
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

words! {
    /// What the key may be used for: the model's `KeyUsageType`, as far as this service makes it.
    pub enum KeyUsage {
        /// Encrypt, Decrypt, ReEncrypt and, where the key is symmetric, data keys.
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        /// Sign and Verify.
        SignVerify = "SIGN_VERIFY",
        /// GenerateMac and VerifyMac.
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
        /// DeriveSharedSecret.
        KeyAgreement = "KEY_AGREEMENT",
        /// Encapsulate and Decapsulate.
        EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE",
    }
}

words! {
    /// Where the key material came from: the model's `OriginType`, as far as this service makes it.
    pub enum Origin {
        /// Made by this service on the token.
        AwsKms = "AWS_KMS",
        /// Made by this service on the token of a custom key store.
        AwsCloudHsm = "AWS_CLOUDHSM",
        /// Imported by the caller.
        External = "EXTERNAL",
    }
}

words! {
    /// How a material became the current one: the model's `RotationType`.
    pub enum RotationType {
        /// By the key's rotation period, or by its nonce budget.
        Automatic = "AUTOMATIC",
        /// By RotateKeyOnDemand.
        OnDemand = "ON_DEMAND",
    }
}

/// Who manages the key: the model's `KeyManagerType`; always the customer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyManager {
    /// The account that made the key.
    Customer,
}

/// The state of a key, as [`KeyState::wire`] tells it to callers.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyState {
    /// Usable.
    Enabled,
    /// Not usable until enabled again.
    Disabled,
    /// Waiting for key material to be imported, all of it or some.
    PendingImport,
    /// Waiting for its deletion date.
    PendingDeletion,
    /// A primary key that waits until its last replica is gone; then its waiting time begins.
    PendingReplicaDeletion,
    /// Its token objects are being destroyed: no way back. Callers see `PendingDeletion`.
    Destroying,
    /// Its custom key store is not connected, or the token there cannot be reached. Never written to the store: the state
    /// there is the one that the key has when its token is back.
    #[serde(skip)]
    Unavailable,
}

impl Origin {
    /// Whether this service makes the material, and can make more.
    pub fn is_made_here(self) -> bool {
        self != Origin::External
    }
}

impl KeySpec {
    /// The asymmetric spec; `None` for the others.
    pub fn key_pair(self) -> Option<KeyPairSpec> {
        self.as_str().parse().ok()
    }

    /// The spec of an HMAC key; `None` for the others.
    pub fn hmac(self) -> Option<HmacSpec> {
        self.as_str().parse().ok()
    }

    /// The usages that a key of this spec can have.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html>
    pub fn usages(self) -> Vec<KeyUsage> {
        KeyUsage::ALL.iter().copied().filter(|usage| self.has_algorithm(*usage)).collect()
    }

    /// The algorithms of a key with this spec and the usage `ENCRYPT_DECRYPT`.
    pub fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        match self {
            KeySpec::SymmetricDefault => &[EncryptionAlgorithm::SymmetricDefault],
            _ => self.key_pair().map_or(&[], KeyPairSpec::encryption_algorithms),
        }
    }

    /// The algorithms of a key with this spec and the usage `SIGN_VERIFY`.
    pub fn signing_algorithms(self) -> &'static [SigningAlgorithm] {
        self.key_pair().map_or(&[], KeyPairSpec::signing_algorithms)
    }

    /// The algorithms of a key with this spec and the usage `KEY_AGREEMENT`.
    pub fn key_agreement_algorithms(self) -> &'static [KeyAgreementAlgorithm] {
        self.key_pair().map_or(&[], KeyPairSpec::key_agreement_algorithms)
    }

    /// The algorithms of a key with this spec and the usage `ENCAPSULATE_DECAPSULATE`.
    pub fn encapsulation_algorithms(self) -> &'static [EncapsulationAlgorithm] {
        self.key_pair().map_or(&[], KeyPairSpec::encapsulation_algorithms)
    }

    /// The algorithm of a key with this spec and the usage `GENERATE_VERIFY_MAC`.
    pub fn mac_algorithm(self) -> Option<MacAlgorithm> {
        self.hmac().map(HmacSpec::algorithm)
    }

    fn has_algorithm(self, usage: KeyUsage) -> bool {
        match usage {
            KeyUsage::EncryptDecrypt => !self.encryption_algorithms().is_empty(),
            KeyUsage::SignVerify => !self.signing_algorithms().is_empty(),
            KeyUsage::GenerateVerifyMac => self.mac_algorithm().is_some(),
            KeyUsage::KeyAgreement => !self.key_agreement_algorithms().is_empty(),
            KeyUsage::EncapsulateDecapsulate => !self.encapsulation_algorithms().is_empty(),
        }
    }
}

impl KeyState {
    /// The model's word.
    pub fn wire(self) -> &'static str {
        match self {
            KeyState::Enabled => "Enabled",
            KeyState::Disabled => "Disabled",
            KeyState::PendingImport => "PendingImport",
            KeyState::PendingDeletion | KeyState::Destroying => "PendingDeletion",
            KeyState::Unavailable => "Unavailable",
            KeyState::PendingReplicaDeletion => "PendingReplicaDeletion",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spec_has_the_usages_of_the_guide() {
        use KeyUsage::*;
        for spec in KeySpec::ALL {
            let usages: &[KeyUsage] = match spec.as_str() {
                "SYMMETRIC_DEFAULT" => &[EncryptDecrypt],
                "ECC_SECG_P256K1" | "ECC_NIST_EDWARDS25519" => &[SignVerify],
                name if name.starts_with("RSA_") => &[EncryptDecrypt, SignVerify],
                name if name.starts_with("ML_DSA_") => &[SignVerify],
                name if name.starts_with("ML_KEM_") => &[EncapsulateDecapsulate],
                name if name.starts_with("ECC_") => &[SignVerify, KeyAgreement],
                _ => &[GenerateVerifyMac],
            };
            assert_eq!(spec.usages(), usages, "{spec}");
        }
    }

    #[test]
    fn every_spec_is_symmetric_a_pair_or_of_hmac() {
        let pairs = KeySpec::ALL.iter().filter(|spec| spec.key_pair().is_some()).count();
        let macs = KeySpec::ALL.iter().filter(|spec| spec.hmac().is_some()).count();
        assert_eq!((pairs, macs), (KeyPairSpec::ALL.len(), HmacSpec::ALL.len()));
        assert_eq!(KeySpec::ALL.len(), 1 + pairs + macs);
    }
}
