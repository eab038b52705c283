//! Decrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>

use serde::{Deserialize, Serialize};

use super::{
    SYMMETRIC_DEFAULT, check_algorithm, check_context, check_named, check_recipient, facts, key_of_blob, parse_blob,
};
use crate::kms::shape::{Member, defaulted, optional};
use crate::kms::{Blob, Context, Error, Facts, Operation, UsableKey, shapes};
use crate::model::{EncryptionContext, KeyUsage};

/// Decrypts what a KMS key encrypted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Decrypt {
    ciphertext_blob: Option<Blob>,
    encryption_context: Option<EncryptionContext>,
    grant_tokens: Option<Vec<String>>,
    key_id: Option<String>,
    encryption_algorithm: Option<String>,
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
    encryption_algorithm: &'static str,
    key_material_id: String,
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
        let context = self.encryption_context.clone().unwrap_or_default();
        check_context(&context)?;
        check_recipient(self.recipient.as_ref())?;
        let facts = facts(&context, self.grant_tokens.as_deref());
        if self.ignores_ciphertext() {
            return self.dry_run_without_ciphertext(cx, &facts);
        }
        let ciphertext = self.ciphertext_blob.as_ref().ok_or_else(ciphertext_missing)?;
        let blob = parse_blob(ciphertext.expose())?;
        let key = cx.authorize::<Self>(key_of_blob(cx, Self::NAME, &blob, self.key_id.as_deref())?, &facts)?;
        check_named(key.thing(), &blob)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::EncryptDecrypt)?;
        check_algorithm(self.encryption_algorithm.as_deref())?;
        let plaintext = Blob(cx.open(&key, &blob, &context).await?);
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let key_material_id = material_id(&key, blob.header().material);
        Ok(Output { key_id: key.arn(), plaintext, encryption_algorithm: SYMMETRIC_DEFAULT, key_material_id })
    }
}

impl Decrypt {
    fn ignores_ciphertext(&self) -> bool {
        self.dry_run == Some(true) && self.dry_run_modifiers.as_ref().is_some_and(|modifiers| !modifiers.is_empty())
    }

    /// `IGNORE_CIPHERTEXT` makes the ciphertext optional and the key id mandatory.
    fn dry_run_without_ciphertext(&self, cx: &Context, facts: &Facts<'_>) -> Result<Output, Error> {
        let key_id = self.key_id.as_deref().ok_or_else(|| Error::Validation("KeyId is required.".into()))?;
        let key = cx.authorize::<Self>(cx.key(key_id)?, facts)?;
        UsableKey::new(key, Self::NAME, KeyUsage::EncryptDecrypt)?;
        check_algorithm(self.encryption_algorithm.as_deref())?;
        Err(Error::DryRun)
    }
}

/// The `KeyMaterialId` of one of the key's materials.
pub(super) fn material_id(key: &UsableKey, number: u32) -> String {
    key.record().material(number).map_or_else(String::new, |material| material.key_material_id.clone())
}

/// The model has the member optional since it may be left out with `IGNORE_CIPHERTEXT`.
pub(super) fn ciphertext_missing() -> Error {
    Error::Validation(
        "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: \
         Member must not be null"
            .into(),
    )
}
