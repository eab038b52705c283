//! Encrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>

use serde::{Deserialize, Serialize};

use super::{SYMMETRIC_DEFAULT, check_algorithm, check_context, facts};
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Blob, Context, Error, Operation, UsableKey, shapes};
use crate::model::{EncryptionContext, KeyUsage};

/// Encrypts up to 4,096 bytes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Encrypt {
    key_id: String,
    plaintext: Blob,
    #[serde(default)]
    encryption_context: Option<EncryptionContext>,
    #[serde(default)]
    grant_tokens: Option<Vec<String>>,
    encryption_algorithm: Option<String>,
    dry_run: Option<bool>,
}

/// The ciphertext, and what made it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    ciphertext_blob: Blob,
    key_id: String,
    encryption_algorithm: &'static str,
}

impl Operation for Encrypt {
    const NAME: &'static str = "Encrypt";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("Plaintext", &shapes::PLAINTEXT),
        optional("EncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        defaulted("EncryptionAlgorithm", &shapes::ENCRYPTION_ALGORITHM, SYMMETRIC_DEFAULT),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let context = self.encryption_context.unwrap_or_default();
        check_context(&context)?;
        let facts = facts(&context, self.grant_tokens.as_deref());
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::EncryptDecrypt)?;
        check_algorithm(self.encryption_algorithm.as_deref())?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let ciphertext_blob = cx.seal(&key, &context, self.plaintext.expose()).await?.into();
        Ok(Output { ciphertext_blob, key_id: key.arn(), encryption_algorithm: SYMMETRIC_DEFAULT })
    }
}
