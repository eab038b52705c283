//! Encapsulate: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encapsulate.html>

use serde::{Deserialize, Serialize};

use crate::crypto;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Facts, Operation, UsableKey, shapes};
use crate::model::{EncapsulationAlgorithm, KeyUsage};

/// Makes a secret for the holder of a private key of ML-KEM, with the public key, on the host.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Encapsulate {
    key_id: String,
    encapsulation_algorithm: EncapsulationAlgorithm,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// The secret, 32 bytes, and its encapsulated form.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    shared_secret: Blob,
    shared_secret_ciphertext_blob: Blob,
    encapsulation_algorithm: EncapsulationAlgorithm,
}

impl Operation for Encapsulate {
    const NAME: &'static str = "Encapsulate";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("EncapsulationAlgorithm", &shapes::ENCAPSULATION_ALGORITHM),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let facts = Facts { grant_tokens: self.grant_tokens.as_deref().unwrap_or_default(), ..Facts::default() };
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::EncapsulateDecapsulate)?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let public_key = key.public_key()?;
        let made = crypto::encapsulate(&public_key).map_err(|error| Error::Internal(error.to_string()))?;
        cx.note_use(key.record());
        Ok(Output {
            key_id: key.arn(),
            shared_secret: Blob(made.secret),
            shared_secret_ciphertext_blob: made.ciphertext.into(),
            encapsulation_algorithm: self.encapsulation_algorithm,
        })
    }
}
