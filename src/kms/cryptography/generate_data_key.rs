//! GenerateDataKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html>

use serde::{Deserialize, Serialize};

use super::{check_context, check_grant_tokens, check_recipient, data_key_len};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, UsableKey, shapes};
use crate::model::{EncryptionContext, KeyUsage};

/// Makes a data key of 1 to 1,024 bytes, in the clear and encrypted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKey {
    key_id: String,
    encryption_context: Option<EncryptionContext>,
    number_of_bytes: Option<u16>,
    key_spec: Option<String>,
    grant_tokens: Option<Vec<String>>,
    recipient: Option<serde_json::Value>,
    dry_run: Option<bool>,
}

/// The data key, and what encrypted it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    ciphertext_blob: Blob,
    plaintext: Blob,
    key_id: String,
    key_material_id: String,
}

impl Operation for GenerateDataKey {
    const NAME: &'static str = "GenerateDataKey";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        optional("EncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        optional("NumberOfBytes", &shapes::NUMBER_OF_BYTES),
        optional("KeySpec", &shapes::DATA_KEY_SPEC),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("Recipient", &shapes::RECIPIENT_INFO),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let len = data_key_len(self.key_spec.as_deref(), self.number_of_bytes)?;
        let context = self.encryption_context.unwrap_or_default();
        check_context(&context)?;
        check_recipient(self.recipient.as_ref())?;
        check_grant_tokens(self.grant_tokens.as_deref().unwrap_or_default())?;
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?)?;
        let key = UsableKey::new(key, KeyUsage::EncryptDecrypt)?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let plaintext = cx.random(len).await?;
        let ciphertext_blob = cx.seal(&key, &context, plaintext.expose()).await?.into();
        let key_material_id = key.current_material()?.key_material_id.clone();
        Ok(Output { ciphertext_blob, plaintext: Blob(plaintext), key_id: key.arn(), key_material_id })
    }
}
