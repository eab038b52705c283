//! GenerateDataKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html>

use serde::{Deserialize, Serialize};

use super::check_recipient;
use super::data_key::{DataKey, DataKeyRequest};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, shapes};

/// Makes a data key of 1 to 1,024 bytes, in the clear and encrypted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKey {
    #[serde(flatten)]
    request: DataKeyRequest,
    recipient: Option<serde_json::Value>,
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
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        check_recipient(self.recipient.as_ref())?;
        let DataKey { plaintext, ciphertext_blob, key_id, key_material_id } = self.request.serve::<Self>(cx).await?;
        Ok(Output { ciphertext_blob, plaintext: Blob(plaintext), key_id, key_material_id })
    }
}
