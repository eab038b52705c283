//! Decapsulate: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decapsulate.html>

use serde::{Deserialize, Serialize};

use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Facts, Operation, UsableKey, shapes};
use crate::model::{EncapsulationAlgorithm, KeyUsage};

/// Recovers the secret that was encapsulated with a public key of ML-KEM, by the private key on the token.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Decapsulate {
    key_id: String,
    shared_secret_ciphertext_blob: Blob,
    encapsulation_algorithm: EncapsulationAlgorithm,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// The secret, 32 bytes. Of what was not encapsulated with this key, one that nobody knows: the answer never tells.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    shared_secret: Blob,
    encapsulation_algorithm: EncapsulationAlgorithm,
}

impl Operation for Decapsulate {
    const NAME: &'static str = "Decapsulate";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("SharedSecretCiphertextBlob", &shapes::CIPHERTEXT),
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
        let ciphertext = self.shared_secret_ciphertext_blob.expose();
        if key.public_key()?.spec().encapsulated_len() != Some(ciphertext.len()) {
            return Err(Error::InvalidCiphertext);
        }
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let shared_secret = Blob(cx.recover_secret(&key, ciphertext).await?);
        Ok(Output { key_id: key.arn(), shared_secret, encapsulation_algorithm: self.encapsulation_algorithm })
    }
}
