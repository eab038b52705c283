//! GenerateDataKeyWithoutPlaintext:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyWithoutPlaintext.html>

use serde::{Deserialize, Serialize};

use super::data_key::{DataKey, DataKeyRequest};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, shapes};

/// Makes a data key of 1 to 1,024 bytes, and gives it encrypted only.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct GenerateDataKeyWithoutPlaintext(DataKeyRequest);

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
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let DataKey { plaintext: _, ciphertext_blob, key_id, key_material_id } = self.0.serve::<Self>(cx).await?;
        Ok(Output { ciphertext_blob, key_id, key_material_id })
    }
}
