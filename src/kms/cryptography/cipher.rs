//! What Encrypt, Decrypt and both sides of ReEncrypt have in common: a key with its algorithm and encryption context.

use super::{check_context, facts_by};
use crate::auth::Authorized;
use crate::blob::{self, Blob};
use crate::crypto;
use crate::kms::{Context, Error, Facts, KeyRow, Target, UsableKey};
use crate::model::{EncryptionAlgorithm, EncryptionContext, KeyUsage, Secret};

/// How a request wants to encrypt or decrypt.
pub(super) struct Terms {
    algorithm: EncryptionAlgorithm,
    context: EncryptionContext,
}

/// A key that the caller may use, on terms that it admits.
pub(super) struct Cipher {
    key: UsableKey,
    terms: Terms,
}

/// A plaintext, and the material that it was encrypted under; none of an asymmetric key.
pub(super) struct Decrypted {
    pub plaintext: Secret,
    pub key_material_id: Option<String>,
}

impl Terms {
    /// The terms of a request; without an algorithm, that of symmetric keys.
    pub fn of(algorithm: Option<EncryptionAlgorithm>, context: Option<&EncryptionContext>) -> Result<Self, Error> {
        let terms = Terms {
            algorithm: algorithm.unwrap_or(EncryptionAlgorithm::SymmetricDefault),
            context: context.cloned().unwrap_or_default(),
        };
        check_context(&terms.context)?;
        Ok(terms)
    }

    /// What policies and grants can ask of a request on these terms.
    pub fn facts<'f>(&'f self, grant_tokens: Option<&'f [String]>) -> Facts<'f> {
        facts_by(self.algorithm, &self.context, grant_tokens)
    }

    /// Finds the key that is named, or else the one that the ciphertext names; `member` would name it.
    pub fn key_of(
        &self,
        cx: &Context,
        action: &str,
        (member, named): (&str, Option<&str>),
        ciphertext: &[u8],
    ) -> Result<Target, Error> {
        match (named, blob::parse(ciphertext)) {
            (Some(named), _) => cx.key_for(action, named),
            (None, Ok(blob)) => cx.key_of_ciphertext(action, &blob.header().key_id),
            (None, Err(_)) if self.algorithm == EncryptionAlgorithm::SymmetricDefault => Err(Error::InvalidCiphertext),
            // The ciphertexts of asymmetric keys name no key. AWS's wording is not known.
            (None, Err(_)) => Err(Error::Validation(format!("{member} is required."))),
        }
    }

    /// Refuses a key that the caller may use and that is not the ciphertext's. Not sooner: whether there is a foreign
    /// key is not told.
    pub fn check_named(&self, key: &KeyRow, ciphertext: &[u8]) -> Result<(), Error> {
        // To an asymmetric key and its algorithm, a ciphertext is a number, whatever it looks like.
        let is_number = key.record.spec.key_pair().is_some() && self.algorithm != EncryptionAlgorithm::SymmetricDefault;
        match blob::parse(ciphertext) {
            Ok(blob) if blob.header().key_id != key.record.key_id && !is_number => Err(Error::IncorrectKey),
            _ => Ok(()),
        }
    }

    /// Proves that the operation can use the key on these terms.
    pub fn cipher(self, key: Authorized<KeyRow>, operation: &str) -> Result<Cipher, Error> {
        let key = UsableKey::new(key, operation, KeyUsage::EncryptDecrypt)?;
        let (spec, algorithm) = (key.record().spec, self.algorithm);
        if !spec.encryption_algorithms().contains(&algorithm) {
            return Err(Error::InvalidKeyUsage(format!("Algorithm {algorithm} is incompatible with key spec {spec}.")));
        }
        if algorithm != EncryptionAlgorithm::SymmetricDefault && self.context.pairs().next().is_some() {
            // What would be authenticated by a symmetric key must not silently go without. AWS's wording is not known.
            return Err(Error::Validation(format!("An encryption context is not supported for key spec {spec}.")));
        }
        Ok(Cipher { key, terms: self })
    }
}

impl Cipher {
    /// The key's ARN.
    pub fn arn(&self) -> String {
        self.key.arn()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> EncryptionAlgorithm {
        self.terms.algorithm
    }

    /// The id of the material that encrypts; none of an asymmetric key.
    pub fn key_material_id(&self) -> Result<Option<String>, Error> {
        match self.is_symmetric() {
            true => Ok(Some(self.key.current_material()?.key_material_id.clone())),
            false => Ok(None),
        }
    }

    /// Refuses a plaintext that is too long for the padding; the limit of symmetric keys is that of requests.
    pub fn check_len(&self, plaintext: &[u8]) -> Result<(), Error> {
        let (spec, algorithm) = (self.key.record().spec, self.algorithm());
        match spec.key_pair().and_then(|pair| pair.max_plaintext(algorithm)) {
            Some(max) if plaintext.len() > max => Err(Error::Validation(format!(
                "Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {max} bytes."
            ))),
            _ => Ok(()),
        }
    }

    /// Encrypts; with a public key on the host.
    pub async fn encrypt(&self, cx: &Context, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        if self.is_symmetric() {
            return cx.seal(&self.key, &self.terms.context, plaintext).await;
        }
        let ciphertext = crypto::oaep_encrypt(&*self.key.public_key()?, self.algorithm(), plaintext);
        let unfit = || Error::Internal(format!("{} does not encrypt {} bytes", self.arn(), plaintext.len()));
        let ciphertext = ciphertext.ok_or_else(unfit)?;
        cx.note_use(self.key.record());
        Ok(ciphertext)
    }

    /// Decrypts. Whatever is wrong is `InvalidCiphertext` and nothing more.
    pub async fn decrypt(&self, cx: &Context, ciphertext: &[u8]) -> Result<Decrypted, Error> {
        if !self.is_symmetric() {
            let plaintext = cx.decrypt_rsa(&self.key, self.algorithm(), ciphertext).await?;
            return Ok(Decrypted { plaintext, key_material_id: None });
        }
        let blob = blob::parse(ciphertext).map_err(|_| Error::InvalidCiphertext)?;
        let plaintext = cx.open(&self.key, &blob, &self.terms.context).await?;
        Ok(Decrypted { plaintext, key_material_id: self.material_of(&blob) })
    }

    fn is_symmetric(&self) -> bool {
        self.terms.algorithm == EncryptionAlgorithm::SymmetricDefault
    }

    fn material_of(&self, blob: &Blob<'_>) -> Option<String> {
        let material = self.key.record().material(blob.header().material)?;
        Some(material.key_material_id.clone())
    }
}
