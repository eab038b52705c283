//! GenerateDataKeyWithoutPlaintext:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyWithoutPlaintext.html>

use serde::{Deserialize, Serialize};

use super::data_key::{DataKey, DataKeyRequest};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, shapes};
use crate::model::EncryptionContext;

/// Makes a data key of 1 to 1,024 bytes, and gives it encrypted only.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyWithoutPlaintext {
    key_id: String,
    encryption_context: Option<EncryptionContext>,
    key_spec: Option<String>,
    number_of_bytes: Option<u16>,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// The encrypted data key, and what encrypted it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    ciphertext_blob: Blob,
    key_id: String,
    key_material_id: String,
}

impl Operation for GenerateDataKeyWithoutPlaintext {
    const NAME: &'static str = "GenerateDataKeyWithoutPlaintext";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        optional("EncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        optional("KeySpec", &shapes::DATA_KEY_SPEC),
        optional("NumberOfBytes", &shapes::NUMBER_OF_BYTES),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let request = DataKeyRequest {
            key_id: self.key_id,
            encryption_context: self.encryption_context,
            key_spec: self.key_spec,
            number_of_bytes: self.number_of_bytes,
            grant_tokens: self.grant_tokens,
            dry_run: self.dry_run,
        };
        let DataKey { plaintext: _, ciphertext_blob, key_id, key_material_id } = request.serve::<Self>(cx).await?;
        Ok(Output { ciphertext_blob, key_id, key_material_id })
    }
}
