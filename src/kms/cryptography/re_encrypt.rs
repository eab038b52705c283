//! ReEncrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html>

use serde::{Deserialize, Serialize};

use super::SYMMETRIC_DEFAULT;
use super::cipher::{Cipher, Decrypted, Terms};
use super::decrypt::ciphertext_missing;
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Blob, Context, Error, Facts, Operation, Target, shapes};
use crate::model::{EncryptionAlgorithm, EncryptionContext};

/// Decrypts a ciphertext and encrypts it again under another key or context, without showing the plaintext.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReEncrypt {
    ciphertext_blob: Option<Blob>,
    source_encryption_context: Option<EncryptionContext>,
    source_key_id: Option<String>,
    destination_key_id: String,
    destination_encryption_context: Option<EncryptionContext>,
    source_encryption_algorithm: Option<EncryptionAlgorithm>,
    destination_encryption_algorithm: Option<EncryptionAlgorithm>,
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
    source_encryption_algorithm: EncryptionAlgorithm,
    destination_encryption_algorithm: EncryptionAlgorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key_material_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_key_material_id: Option<String>,
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
        let from = Terms::of(self.source_encryption_algorithm, self.source_encryption_context.as_ref())?;
        let to = Terms::of(self.destination_encryption_algorithm, self.destination_encryption_context.as_ref())?;
        let ciphertext = self.ciphertext()?;
        let (source, destination) = self.ciphers(cx, (from, to), ciphertext)?;
        if self.ignores_ciphertext() {
            return Err(Error::DryRun);
        }
        let Decrypted { plaintext, key_material_id } = source.decrypt(cx, ciphertext).await?;
        destination.check_len(plaintext.expose())?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let ciphertext_blob = destination.encrypt(cx, plaintext.expose()).await?.into();
        output(ciphertext_blob, (&source, key_material_id), &destination)
    }
}

impl ReEncrypt {
    /// The ciphertext; none where it is ignored.
    fn ciphertext(&self) -> Result<&[u8], Error> {
        match &self.ciphertext_blob {
            _ if self.ignores_ciphertext() => Ok(&[]),
            ciphertext => Ok(ciphertext.as_ref().ok_or_else(ciphertext_missing)?.expose()),
        }
    }

    /// Both keys, each on its own terms.
    fn ciphers(&self, cx: &Context, (from, to): (Terms, Terms), ciphertext: &[u8]) -> Result<(Cipher, Cipher), Error> {
        // Whoever may not use the source is not told whether the destination exists.
        let destination = cx.key_for(TO, &self.destination_key_id);
        let source = self.source(cx, &from, ciphertext)?;
        let key_id = |target: &Target| target.key.record.key_id;
        let same = destination.as_ref().is_ok_and(|target| key_id(target) == key_id(&source));
        let key = cx.authorize_action::<Self>(FROM, source, &self.facts(&from, same))?;
        from.check_named(key.thing(), ciphertext)?;
        let source = from.cipher(key, Self::NAME)?;
        let key = cx.authorize_action::<Self>(TO, destination?, &self.facts(&to, same))?;
        Ok((source, to.cipher(key, Self::NAME)?))
    }

    /// The key of the ciphertext; without one, it must be named.
    fn source(&self, cx: &Context, from: &Terms, ciphertext: &[u8]) -> Result<Target, Error> {
        match self.source_key_id.as_deref() {
            None if self.ignores_ciphertext() => Err(Error::Validation("SourceKeyId is required.".into())),
            named => from.key_of(cx, FROM, ("SourceKeyId", named), ciphertext),
        }
    }

    /// What policies can ask of one side; `same` if the key of both sides is the same.
    fn facts<'f>(&'f self, terms: &'f Terms, same: bool) -> Facts<'f> {
        terms.facts(self.grant_tokens.as_deref()).with("kms:reencryptonsamekey", Some(same.to_string()))
    }

    /// `IGNORE_CIPHERTEXT` makes the ciphertext optional and the source key id mandatory.
    fn ignores_ciphertext(&self) -> bool {
        self.dry_run == Some(true) && self.dry_run_modifiers.as_ref().is_some_and(|modifiers| !modifiers.is_empty())
    }
}

fn output(
    ciphertext_blob: Blob,
    (source, source_key_material_id): (&Cipher, Option<String>),
    destination: &Cipher,
) -> Result<Output, Error> {
    Ok(Output {
        ciphertext_blob,
        source_key_id: source.arn(),
        key_id: destination.arn(),
        source_encryption_algorithm: source.algorithm(),
        destination_encryption_algorithm: destination.algorithm(),
        source_key_material_id,
        destination_key_material_id: destination.key_material_id()?,
    })
}

/// The permissions of the two sides.
const FROM: &str = "ReEncryptFrom";
const TO: &str = "ReEncryptTo";
