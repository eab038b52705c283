//! GenerateDataKeyPairWithoutPlaintext:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyPairWithoutPlaintext.html>

use serde::{Deserialize, Serialize};

use super::data_key_pair::{DataKeyPair, DataKeyPairRequest};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, shapes};
use crate::model::KeyPairSpec;

/// Makes an asymmetric key pair; its private key is given encrypted only.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct GenerateDataKeyPairWithoutPlaintext(DataKeyPairRequest);

/// The public key as SPKI, the encrypted private key, and what encrypted it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    private_key_ciphertext_blob: Blob,
    public_key: Blob,
    key_id: String,
    key_pair_spec: KeyPairSpec,
    key_material_id: String,
}

impl Operation for GenerateDataKeyPairWithoutPlaintext {
    const NAME: &'static str = "GenerateDataKeyPairWithoutPlaintext";
    const MEMBERS: &'static [Member] = &[
        optional("EncryptionContext", &shapes::ENCRYPTION_CONTEXT),
        required("KeyId", &shapes::KEY_ID),
        required("KeyPairSpec", &shapes::DATA_KEY_PAIR_SPEC),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let DataKeyPair { pair, private_key_ciphertext_blob, key_id, key_material_id } =
            self.0.serve::<Self>(cx).await?;
        let (public_key, key_pair_spec) = (pair.public_key.spki().to_vec().into(), pair.public_key.spec());
        Ok(Output { private_key_ciphertext_blob, public_key, key_id, key_pair_spec, key_material_id })
    }
}
