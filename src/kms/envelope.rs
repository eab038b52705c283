//! The one symmetric primitive: the token wraps a seed, and the seed's key seals the payload.

use std::time::Instant;

use super::{Context, Error, UsableKey};
use crate::blob::{self, Blob, Header};
use crate::crypto;
use crate::model::{EncryptionContext, ObjectName, Secret};
use crate::store::Material;

impl Context {
    /// Random bytes for what a key is to encrypt: the operating system's and its token's, one over the other.
    pub async fn random(&self, key: &UsableKey, len: usize) -> Result<Secret, Error> {
        Ok(self.kms.token_of(key.record())?.random(len, self.request.deadline).await?)
    }

    /// Seals `plaintext` under a key that the caller may use: a ciphertext blob.
    ///
    /// ```
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    ///
    /// async fn seal(cx: &Context, key: &UsableKey) -> Result<Vec<u8>, Error> {
    ///     cx.seal(key, &Default::default(), b"plaintext").await
    /// }
    /// ```
    ///
    /// Not under any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    ///
    /// async fn seal(cx: &Context, key: &KeyRow) -> Result<Vec<u8>, Error> {
    ///     cx.seal(key, &Default::default(), b"plaintext").await
    /// }
    /// ```
    pub async fn seal(&self, key: &UsableKey, context: &EncryptionContext, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.seal_by(self.request.deadline, key, context, plaintext).await
    }

    /// As [`Context::seal`], for a request whose answer is due at another time.
    pub(super) async fn seal_by(
        &self,
        deadline: Instant,
        key: &UsableKey,
        context: &EncryptionContext,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let material = key.current_material()?;
        let header = header(key, material);
        let token = self.kms.token_of(key.record())?;
        let seed = seed(&token.random(crypto::KEY_LEN, deadline).await?)?;
        let associated = blob::wrap_associated_data(&header);
        let name = object(key, material)?;
        self.kms.count_wrap(key.record(), material, token.take_extra_ivs(&name), deadline).await?;
        let wrapped = token.wrap_seed(&name, header.scheme, &associated, &seed, deadline).await?;
        let sealed = blob::seal(&header, &seed, &wrapped, context, plaintext, crypto::random_array()?);
        let sealed = sealed.map_err(|error| Error::Internal(error.to_string()))?;
        self.note_use(key.record());
        Ok(sealed)
    }

    /// Opens a blob of a key that the caller may use. Whatever is wrong with the blob, or with the encryption
    /// context, is `InvalidCiphertext` and nothing more.
    ///
    /// ```
    /// use hsm_kms::kms::{Context, Error, UsableKey};
    ///
    /// async fn open(cx: &Context, key: &UsableKey, blob: &hsm_kms::blob::Blob<'_>) -> Result<(), Error> {
    ///     cx.open(key, blob, &Default::default()).await.map(drop)
    /// }
    /// ```
    ///
    /// Not under any other:
    ///
    /// ```compile_fail,E0308
    /// use hsm_kms::kms::{Context, Error, KeyRow};
    ///
    /// async fn open(cx: &Context, key: &KeyRow, blob: &hsm_kms::blob::Blob<'_>) -> Result<(), Error> {
    ///     cx.open(key, blob, &Default::default()).await.map(drop)
    /// }
    /// ```
    pub async fn open(&self, key: &UsableKey, blob: &Blob<'_>, context: &EncryptionContext) -> Result<Secret, Error> {
        let header = blob.header();
        let material = key.record().material(header.material);
        let material = material.filter(|material| *header == self::header(key, material));
        let material = material.ok_or(Error::InvalidCiphertext)?;
        let token = self.kms.token_of(key.record())?;
        let associated = blob::wrap_associated_data(header);
        let name = object(key, material)?;
        let wrapped = blob.wrapped_seed();
        let seed = token.unwrap_seed(&name, header.scheme, &associated, wrapped, self.request.deadline).await?;
        let plaintext = blob::open(blob, &seed, context).map_err(|_| Error::InvalidCiphertext)?;
        self.note_use(key.record());
        Ok(plaintext)
    }
}

/// The header of a blob under this material.
fn header(key: &UsableKey, material: &Material) -> Header {
    Header { key_id: key.record().key_id, material: material.number, scheme: material.scheme }
}

/// The token object of a material; there is one of every material of an enabled key.
pub(super) fn object(key: &UsableKey, material: &Material) -> Result<ObjectName, Error> {
    let gone = || Error::Internal(format!("material {} of {} has no object", material.number, key.arn()));
    key.record().object(material).ok_or_else(gone)
}

fn seed(random: &Secret) -> Result<zeroize::Zeroizing<[u8; crypto::KEY_LEN]>, Error> {
    let bytes = random.expose().try_into().map_err(|_| Error::Internal("the token gave a short seed".into()))?;
    Ok(zeroize::Zeroizing::new(bytes))
}
