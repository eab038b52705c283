//! What both ways to ask for a data key pair share.

use std::time::Instant;

use serde::Deserialize;

use super::{check_context, facts};
use crate::crypto::KeyPair;
use crate::kms::key::GENERATION_TIME;
use crate::kms::{Blob, Context, Error, Operation, UsableKey};
use crate::model::{EncryptionContext, KeyPairSpec};

/// What is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DataKeyPairRequest {
    key_id: String,
    key_pair_spec: String,
    encryption_context: Option<EncryptionContext>,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// A data key pair, and its private key encrypted.
pub(super) struct DataKeyPair {
    pub pair: KeyPair,
    pub private_key_ciphertext_blob: Blob,
    pub key_id: String,
    pub key_material_id: String,
}

impl DataKeyPairRequest {
    /// Makes the data key pair for the operation `O`.
    pub async fn serve<O: Operation>(self, cx: &Context) -> Result<DataKeyPair, Error> {
        let spec = self.spec()?;
        let context = self.encryption_context.unwrap_or_default();
        check_context(&context)?;
        let facts = facts(&context, self.grant_tokens.as_deref()).with("kms:datakeypairspec", Some(spec.as_str()));
        let key = cx.authorize::<O>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::symmetric(key, O::NAME)?;
        cx.kms.check_beyond_aws(key.record())?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let deadline = deadline(cx, spec);
        let pair = cx.kms.key_pairs.make(spec, deadline).await?;
        let sealed = cx.seal_by(deadline, &key, &context, pair.private_key.expose()).await?;
        let key_material_id = key.current_material()?.key_material_id.clone();
        Ok(DataKeyPair { pair, private_key_ciphertext_blob: sealed.into(), key_id: key.arn(), key_material_id })
    }

    fn spec(&self) -> Result<KeyPairSpec, Error> {
        let spec = &self.key_pair_spec;
        let not_offered =
            |_| Error::UnsupportedOperation(format!("KeyPairSpec {spec} is not offered by this service."));
        spec.parse().map_err(not_offered)
    }
}

/// When the answer is due: an RSA pair has as long as a KMS key has.
fn deadline(cx: &Context, spec: KeyPairSpec) -> Instant {
    match spec.modulus_len() {
        Some(_) => cx.request.deadline.max(Instant::now() + GENERATION_TIME),
        None => cx.request.deadline,
    }
}
