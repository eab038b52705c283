//! ReEncrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html>

use serde::{Deserialize, Serialize};

use super::decrypt::{ciphertext_missing, material_id};
use super::{SYMMETRIC_DEFAULT, check_algorithm, check_context, check_named, facts, key_of_blob, parse_blob};
use crate::blob;
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Blob, Context, Error, Facts, Operation, Target, UsableKey, shapes};
use crate::model::{EncryptionContext, KeyUsage};

/// Decrypts a ciphertext and encrypts it again under another key or context, without showing the plaintext.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReEncrypt {
    ciphertext_blob: Option<Blob>,
    source_encryption_context: Option<EncryptionContext>,
    source_key_id: Option<String>,
    destination_key_id: String,
    destination_encryption_context: Option<EncryptionContext>,
    source_encryption_algorithm: Option<String>,
    destination_encryption_algorithm: Option<String>,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
    dry_run_modifiers: Option<Vec<String>>,
}

/// The new ciphertext, and both keys.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    ciphertext_blob: Blob,
    source_key_id: String,
    key_id: String,
    source_encryption_algorithm: &'static str,
    destination_encryption_algorithm: &'static str,
    source_key_material_id: String,
    destination_key_material_id: String,
}

impl Operation for ReEncrypt {
    const NAME: &'static str = "ReEncrypt";
    const MEMBERS: &'static [Member] = &[
        optional("CiphertextBlob", &shapes::CIPHERTEXT),
        optional("SourceEncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        optional("SourceKeyId", &shapes::KEY_ID),
        required("DestinationKeyId", &shapes::KEY_ID),
        optional("DestinationEncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        defaulted("SourceEncryptionAlgorithm", &shapes::ENCRYPTION_ALGORITHM, SYMMETRIC_DEFAULT),
        defaulted("DestinationEncryptionAlgorithm", &shapes::ENCRYPTION_ALGORITHM, SYMMETRIC_DEFAULT),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
        optional("DryRunModifiers", &shapes::DRY_RUN_MODIFIER_LIST),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let source_context = self.source_encryption_context.clone().unwrap_or_default();
        let destination_context = self.destination_encryption_context.clone().unwrap_or_default();
        check_context(&source_context)?;
        check_context(&destination_context)?;
        if self.ignores_ciphertext() {
            return self.dry_run_without_ciphertext(cx, &source_context, &destination_context);
        }
        let ciphertext = self.ciphertext_blob.as_ref().ok_or_else(ciphertext_missing)?;
        let blob = parse_blob(ciphertext.expose())?;
        // Whoever may not use the source is not told whether the destination exists.
        let destination = cx.key_for(TO, &self.destination_key_id);
        let same = destination.as_ref().is_ok_and(|target| target.key.record.key_id == blob.header().key_id);
        let source = self.source(cx, &blob, self.facts(&source_context, same))?;
        let destination = self.destination(cx, destination?, self.facts(&destination_context, same))?;
        let plaintext = cx.open(&source, &blob, &source_context).await?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        Ok(Output {
            ciphertext_blob: cx.seal(&destination, &destination_context, plaintext.expose()).await?.into(),
            source_key_id: source.arn(),
            key_id: destination.arn(),
            source_encryption_algorithm: SYMMETRIC_DEFAULT,
            destination_encryption_algorithm: SYMMETRIC_DEFAULT,
            source_key_material_id: material_id(&source, blob.header().material),
            destination_key_material_id: destination.current_material()?.key_material_id.clone(),
        })
    }
}

impl ReEncrypt {
    fn source(&self, cx: &Context, blob: &blob::Blob<'_>, facts: Facts<'_>) -> Result<UsableKey, Error> {
        let named = key_of_blob(cx, FROM, blob, self.source_key_id.as_deref())?;
        let key = cx.authorize_action::<Self>(FROM, named, &facts)?;
        check_named(key.thing(), blob)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::EncryptDecrypt)?;
        check_algorithm(self.source_encryption_algorithm.as_deref())?;
        Ok(key)
    }

    fn destination(&self, cx: &Context, target: Target, facts: Facts<'_>) -> Result<UsableKey, Error> {
        let key = cx.authorize_action::<Self>(TO, target, &facts)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::EncryptDecrypt)?;
        check_algorithm(self.destination_encryption_algorithm.as_deref())?;
        Ok(key)
    }

    /// What policies can ask of one side; `same` if the key of both sides is the same.
    fn facts<'f>(&'f self, context: &'f EncryptionContext, same: bool) -> Facts<'f> {
        facts(context, self.grant_tokens.as_deref()).with("kms:reencryptonsamekey", Some(same.to_string()))
    }

    fn ignores_ciphertext(&self) -> bool {
        self.dry_run == Some(true) && self.dry_run_modifiers.as_ref().is_some_and(|modifiers| !modifiers.is_empty())
    }

    /// `IGNORE_CIPHERTEXT` makes the ciphertext optional and the source key id mandatory.
    fn dry_run_without_ciphertext(
        &self,
        cx: &Context,
        source_context: &EncryptionContext,
        destination_context: &EncryptionContext,
    ) -> Result<Output, Error> {
        let missing = || Error::Validation("SourceKeyId is required.".into());
        let source = cx.key_for(FROM, self.source_key_id.as_deref().ok_or_else(missing)?)?;
        let destination = cx.key_for(TO, &self.destination_key_id);
        let same = destination.as_ref().is_ok_and(|target| target.key.record.key_id == source.key.record.key_id);
        let source = cx.authorize_action::<Self>(FROM, source, &self.facts(source_context, same))?;
        UsableKey::new(source, Self::NAME, KeyUsage::EncryptDecrypt)?;
        check_algorithm(self.source_encryption_algorithm.as_deref())?;
        self.destination(cx, destination?, self.facts(destination_context, same))?;
        Err(Error::DryRun)
    }
}

/// The permissions of the two sides.
const FROM: &str = "ReEncryptFrom";
const TO: &str = "ReEncryptTo";
