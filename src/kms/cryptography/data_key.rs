//! What both ways to ask for a data key share.

use serde::Deserialize;

use super::{check_context, facts};
use crate::kms::{Blob, Context, Error, Operation, UsableKey};
use crate::model::{EncryptionContext, Secret};

/// What is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DataKeyRequest {
    key_id: String,
    encryption_context: Option<EncryptionContext>,
    key_spec: Option<String>,
    number_of_bytes: Option<u16>,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// A data key, in the clear and encrypted.
pub(super) struct DataKey {
    pub plaintext: Secret,
    pub ciphertext_blob: Blob,
    pub key_id: String,
    pub key_material_id: String,
}

impl DataKeyRequest {
    /// Makes the data key for the operation `O`.
    pub async fn serve<O: Operation>(self, cx: &Context) -> Result<DataKey, Error> {
        let len = self.len()?;
        let context = self.encryption_context.unwrap_or_default();
        check_context(&context)?;
        let facts = facts(&context, self.grant_tokens.as_deref());
        let key = cx.authorize::<O>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::symmetric(key, O::NAME)?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let plaintext = cx.random(&key, len).await?;
        let ciphertext_blob = cx.seal(&key, &context, plaintext.expose()).await?.into();
        let key_material_id = key.current_material()?.key_material_id.clone();
        Ok(DataKey { plaintext, ciphertext_blob, key_id: key.arn(), key_material_id })
    }

    /// There are two ways to ask for a length, and exactly one of them must be used; in bytes.
    fn len(&self) -> Result<usize, Error> {
        match (self.key_spec.as_deref(), self.number_of_bytes) {
            (Some("AES_128"), None) => Ok(16),
            (Some(_), None) => Ok(32),
            (None, Some(number)) => Ok(usize::from(number)),
            _ => Err(Error::Validation("Please specify either number of bytes or key spec.".into())),
        }
    }
}
