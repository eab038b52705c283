//! GenerateDataKeyPair: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyPair.html>

use serde::{Deserialize, Serialize};

use super::check_recipient;
use super::data_key_pair::{DataKeyPair, DataKeyPairRequest};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, shapes};
use crate::model::KeyPairSpec;

/// Makes an asymmetric key pair; its private key is given in the clear and encrypted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyPair {
    #[serde(flatten)]
    request: DataKeyPairRequest,
    recipient: Option<serde_json::Value>,
}

/// The pair, the private key as PKCS#8 and the public key as SPKI, and what encrypted the private key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    private_key_ciphertext_blob: Blob,
    private_key_plaintext: Blob,
    public_key: Blob,
    key_id: String,
    key_pair_spec: KeyPairSpec,
    key_material_id: String,
}

impl Operation for GenerateDataKeyPair {
    const NAME: &'static str = "GenerateDataKeyPair";
    const MEMBERS: &'static [Member] = &[
        optional("EncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        required("KeyId", &shapes::KEY_ID),
        required("KeyPairSpec", &shapes::DATA_KEY_PAIR_SPEC),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("Recipient", &shapes::RECIPIENT_INFO),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        check_recipient(self.recipient.as_ref())?;
        let DataKeyPair { pair, private_key_ciphertext_blob, key_id, key_material_id } =
            self.request.serve::<Self>(cx).await?;
        Ok(Output {
            private_key_ciphertext_blob,
            public_key: pair.public_key.spki().to_vec().into(),
            key_pair_spec: pair.public_key.spec(),
            private_key_plaintext: Blob(pair.private_key),
            key_id,
            key_material_id,
        })
    }
}
