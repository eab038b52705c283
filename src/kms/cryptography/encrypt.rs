//! Encrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>

use serde::{Deserialize, Serialize};

use super::SYMMETRIC_DEFAULT;
use super::cipher::Terms;
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Blob, Context, Error, Operation, shapes};
use crate::model::{EncryptionAlgorithm, EncryptionContext};

/// Encrypts up to 4,096 bytes, or as many as the padding of an asymmetric key leaves room for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Encrypt {
    key_id: String,
    plaintext: Blob,
    encryption_context: Option<EncryptionContext>,
    grant_tokens: Option<Vec<String>>,
    encryption_algorithm: Option<EncryptionAlgorithm>,
    dry_run: Option<bool>,
}

/// The ciphertext, and what made it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    ciphertext_blob: Blob,
    key_id: String,
    encryption_algorithm: EncryptionAlgorithm,
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
        let terms = Terms::of(self.encryption_algorithm, self.encryption_context.as_ref())?;
        let facts = terms.facts(self.grant_tokens.as_deref());
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let cipher = terms.cipher(key, Self::NAME)?;
        cipher.check_len(self.plaintext.expose())?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let ciphertext_blob = cipher.encrypt(cx, self.plaintext.expose()).await?.into();
        Ok(Output { ciphertext_blob, key_id: cipher.arn(), encryption_algorithm: cipher.algorithm() })
    }
}
