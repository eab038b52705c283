//! Decrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>

use serde::{Deserialize, Serialize};

use super::cipher::{Decrypted, Terms};
use super::{SYMMETRIC_DEFAULT, check_recipient};
use crate::kms::shape::{Member, defaulted, optional};
use crate::kms::{Blob, Context, Error, Operation, shapes};
use crate::model::{EncryptionAlgorithm, EncryptionContext};

/// Decrypts what a KMS key encrypted, or what was encrypted elsewhere to its public half.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Decrypt {
    ciphertext_blob: Option<Blob>,
    encryption_context: Option<EncryptionContext>,
    grant_tokens: Option<Vec<String>>,
    key_id: Option<String>,
    encryption_algorithm: Option<EncryptionAlgorithm>,
    recipient: Option<serde_json::Value>,
    dry_run: Option<bool>,
    dry_run_modifiers: Option<Vec<String>>,
}

/// The plaintext, and what made the ciphertext.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    plaintext: Blob,
    encryption_algorithm: EncryptionAlgorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for Decrypt {
    const NAME: &'static str = "Decrypt";
    const MEMBERS: &'static [Member] = &[
        optional("CiphertextBlob", &shapes::CIPHERTEXT),
        optional("EncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("KeyId", &shapes::KEY_ID),
        defaulted("EncryptionAlgorithm", &shapes::ENCRYPTION_ALGORITHM, SYMMETRIC_DEFAULT),
        optional("Recipient", &shapes::RECIPIENT_INFO),
        optional("DryRun", &shapes::BOOLEAN),
        optional("DryRunModifiers", &shapes::DRY_RUN_MODIFIER_LIST),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let terms = Terms::of(self.encryption_algorithm, self.encryption_context.as_ref())?;
        check_recipient(self.recipient.as_ref())?;
        if self.ignores_ciphertext() {
            return self.dry_run_without_ciphertext(cx, terms);
        }
        let ciphertext = self.ciphertext_blob.as_ref().ok_or_else(ciphertext_missing)?.expose();
        let key = terms.key_of(cx, Self::NAME, ("KeyId", self.key_id.as_deref()), ciphertext)?;
        let key = cx.authorize::<Self>(key, &terms.facts(self.grant_tokens.as_deref()))?;
        terms.check_named(key.thing(), ciphertext)?;
        let cipher = terms.cipher(key, Self::NAME)?;
        let Decrypted { plaintext, key_material_id } = cipher.decrypt(cx, ciphertext).await?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let encryption_algorithm = cipher.algorithm();
        Ok(Output { key_id: cipher.arn(), plaintext: Blob(plaintext), encryption_algorithm, key_material_id })
    }
}

impl Decrypt {
    fn ignores_ciphertext(&self) -> bool {
        self.dry_run == Some(true) && self.dry_run_modifiers.as_ref().is_some_and(|modifiers| !modifiers.is_empty())
    }

    /// `IGNORE_CIPHERTEXT` makes the ciphertext optional and the key id mandatory.
    fn dry_run_without_ciphertext(&self, cx: &Context, terms: Terms) -> Result<Output, Error> {
        let key_id = self.key_id.as_deref().ok_or_else(|| Error::Validation("KeyId is required.".into()))?;
        let key = cx.authorize::<Self>(cx.key(key_id)?, &terms.facts(self.grant_tokens.as_deref()))?;
        terms.cipher(key, Self::NAME)?;
        Err(Error::DryRun)
    }
}

/// The model has the member optional since it may be left out with `IGNORE_CIPHERTEXT`.
pub(super) fn ciphertext_missing() -> Error {
    Error::Validation(
        "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: \
         Member must not be null"
            .into(),
    )
}
