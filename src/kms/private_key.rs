//! What the token does with private keys and with keys for codes, and what their public halves are.

use std::sync::Arc;

use super::caller::OfKey;
use super::envelope::object;
use super::{Context, Error, KeyRow, UsableKey, arn_of};
use crate::crypto::{Message, PublicKey};
use crate::model::{EncryptionAlgorithm, HmacSpec, KeySpec, KeyUsage, Secret, SigningAlgorithm};
use crate::token::{KeyKind, Token};

impl Context {
    /// Signs with a key that the caller may use. The signature is verified before anyone sees it: a fault in the token
    /// or on the way would else tell of the private key.
    ///
    /// Source: Boneh, DeMillo, Lipton, On the Importance of Checking Cryptographic Protocols for Faults (1997).
    ///
    /// ```
    /// use hsm_kms::crypto::Message;
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    /// use hsm_kms::model::SigningAlgorithm;
    ///
    /// async fn sign(cx: &Context, key: &UsableKey) -> Result<Vec<u8>, Error> {
    ///     cx.make_signature(key, SigningAlgorithm::EcdsaSha256, Message::Raw(b"message")).await
    /// }
    /// ```
    ///
    /// Not with any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::crypto::Message;
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    /// use hsm_kms::model::SigningAlgorithm;
    ///
    /// async fn sign(cx: &Context, key: &KeyRow) -> Result<Vec<u8>, Error> {
    ///     cx.make_signature(key, SigningAlgorithm::EcdsaSha256, Message::Raw(b"message")).await
    /// }
    /// ```
    pub async fn make_signature(
        &self,
        key: &UsableKey,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
    ) -> Result<Vec<u8>, Error> {
        let public_key = key.public_key()?;
        let (token, name) = (self.token_of(key)?, object(key, key.current_material()?)?);
        let signature = token.sign(&name, public_key.spec(), algorithm, message, self.request.deadline).await?;
        let verified = public_key.verify(algorithm, message, &signature);
        verified.map_err(|error| Error::Internal(format!("a signature of the token's by {name}: {error}")))?;
        self.note_use(key.record());
        Ok(signature)
    }

    /// Computes the code of a message with a key that the caller may use.
    ///
    /// ```
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    /// use hsm_kms::model::{HmacSpec, Secret};
    ///
    /// async fn mac(cx: &Context, key: &UsableKey) -> Result<Secret, Error> {
    ///     cx.compute_mac(key, HmacSpec::Hmac256, b"message").await
    /// }
    /// ```
    ///
    /// Not with any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    /// use hsm_kms::model::{HmacSpec, Secret};
    ///
    /// async fn mac(cx: &Context, key: &KeyRow) -> Result<Secret, Error> {
    ///     cx.compute_mac(key, HmacSpec::Hmac256, b"message").await
    /// }
    /// ```
    pub async fn compute_mac(&self, key: &UsableKey, spec: HmacSpec, message: &[u8]) -> Result<Secret, Error> {
        let (token, name) = (self.token_of(key)?, object(key, key.current_material()?)?);
        let mac = token.mac(&name, spec, message, self.request.deadline).await?;
        self.note_use(key.record());
        Ok(Secret::new(mac))
    }

    /// Agrees on a secret by a key that the caller may use and a peer's public key.
    ///
    /// ```
    /// use hsm_kms::crypto::PublicKey;
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    ///
    /// async fn agree(cx: &Context, key: &UsableKey, peer: &PublicKey) -> Result<(), Error> {
    ///     cx.agree(key, peer).await.map(drop)
    /// }
    /// ```
    ///
    /// Not by any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::crypto::PublicKey;
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    ///
    /// async fn agree(cx: &Context, key: &KeyRow, peer: &PublicKey) -> Result<(), Error> {
    ///     cx.agree(key, peer).await.map(drop)
    /// }
    /// ```
    pub async fn agree(&self, key: &UsableKey, peer: &PublicKey) -> Result<Secret, Error> {
        let spec = key.public_key()?.spec();
        let (token, name) = (self.token_of(key)?, object(key, key.current_material()?)?);
        let secret = token.derive(&name, spec, peer, self.request.deadline).await?;
        self.note_use(key.record());
        Ok(secret)
    }

    /// Recovers the secret that was encapsulated to a key that the caller may use.
    ///
    /// ```
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    /// use hsm_kms::model::Secret;
    ///
    /// async fn recover(cx: &Context, key: &UsableKey) -> Result<Secret, Error> {
    ///     cx.recover_secret(key, b"ciphertext").await
    /// }
    /// ```
    ///
    /// Not to any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    /// use hsm_kms::model::Secret;
    ///
    /// async fn recover(cx: &Context, key: &KeyRow) -> Result<Secret, Error> {
    ///     cx.recover_secret(key, b"ciphertext").await
    /// }
    /// ```
    pub async fn recover_secret(&self, key: &UsableKey, ciphertext: &[u8]) -> Result<Secret, Error> {
        let spec = key.public_key()?.spec();
        let (token, name) = (self.token_of(key)?, object(key, key.current_material()?)?);
        let secret = token.decapsulate(&name, spec, ciphertext, self.request.deadline).await?;
        self.note_use(key.record());
        Ok(secret)
    }

    /// Decrypts what was encrypted to the public half of a key that the caller may use. Whatever is wrong with the
    /// ciphertext is `InvalidCiphertext` and nothing more.
    ///
    /// ```
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    /// use hsm_kms::model::{EncryptionAlgorithm, Secret};
    ///
    /// async fn decrypt(cx: &Context, key: &UsableKey) -> Result<Secret, Error> {
    ///     cx.decrypt_rsa(key, EncryptionAlgorithm::RsaesOaepSha256, b"ciphertext").await
    /// }
    /// ```
    ///
    /// Not of any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    /// use hsm_kms::model::{EncryptionAlgorithm, Secret};
    ///
    /// async fn decrypt(cx: &Context, key: &KeyRow) -> Result<Secret, Error> {
    ///     cx.decrypt_rsa(key, EncryptionAlgorithm::RsaesOaepSha256, b"ciphertext").await
    /// }
    /// ```
    pub async fn decrypt_rsa(
        &self,
        key: &UsableKey,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
    ) -> Result<Secret, Error> {
        let spec = key.public_key()?.spec();
        let (token, name) = (self.token_of(key)?, object(key, key.current_material()?)?);
        let plaintext = token.rsa_decrypt(&name, spec, algorithm, ciphertext, self.request.deadline).await?;
        self.note_use(key.record());
        Ok(plaintext)
    }

    fn token_of(&self, key: &UsableKey) -> Result<Token, Error> {
        self.kms.token_of(key.record())
    }
}

/// The public half of an asymmetric key, parsed once for as long as the record stays as it is.
pub(super) fn public_key_of(row: &KeyRow) -> Result<Arc<PublicKey>, Error> {
    let parse = || {
        let spki = hex::decode(row.record.public_key.as_ref()?).ok()?;
        PublicKey::from_spki(row.record.spec.key_pair()?, &spki).ok().map(Arc::new)
    };
    let none = || Error::Internal(format!("{} has no public key that can be read", arn_of(&row.record)));
    OfKey::of(row).public_key.get_or_init(parse).clone().ok_or_else(none)
}

/// The kind of token object that the material of a key of this spec and usage is; `None` for those that do not fit.
pub(super) fn object_kind(spec: KeySpec, usage: KeyUsage) -> Option<KeyKind> {
    match (usage, spec.key_pair(), spec.hmac()) {
        (KeyUsage::EncryptDecrypt, None, None) => Some(KeyKind::Aes256),
        (KeyUsage::EncryptDecrypt, Some(pair), _) => Some(KeyKind::Decrypt(pair)),
        (KeyUsage::SignVerify, Some(pair), _) => Some(KeyKind::Sign(pair)),
        (KeyUsage::KeyAgreement, Some(pair), _) => Some(KeyKind::Agree(pair)),
        (KeyUsage::EncapsulateDecapsulate, Some(pair), _) => Some(KeyKind::Decapsulate(pair)),
        (KeyUsage::GenerateVerifyMac, _, Some(hmac)) => Some(KeyKind::Mac(hmac)),
        _ => None,
    }
}
