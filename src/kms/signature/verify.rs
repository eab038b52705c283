//! Verify: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Verify.html>

use serde::{Deserialize, Serialize};

use super::{facts, message};
use crate::crypto::NotVerified;
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Blob, Context, Error, Operation, UsableKey, shapes};
use crate::model::{KeyUsage, MessageType, SigningAlgorithm};

/// Verifies a signature with the public key, on the host.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Verify {
    key_id: String,
    message: Blob,
    message_type: Option<MessageType>,
    signature: Blob,
    signing_algorithm: SigningAlgorithm,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// That the signature is valid; one that is not is an error.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    signature_valid: bool,
    signing_algorithm: SigningAlgorithm,
}

impl Operation for Verify {
    const NAME: &'static str = "Verify";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("Message", &shapes::PLAINTEXT),
        defaulted("MessageType", &shapes::MESSAGE_TYPE, "RAW"),
        required("Signature", &shapes::CIPHERTEXT),
        required("SigningAlgorithm", &shapes::SIGNING_ALGORITHM),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let (algorithm, kind) = (self.signing_algorithm, self.message_type.unwrap_or(MessageType::Raw));
        let facts = facts(algorithm, kind, self.grant_tokens.as_deref());
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::SignVerify)?;
        let message = message(cx, &key, algorithm, kind, &self.message).await?;
        let verified = key.public_key()?.verify(algorithm, message, self.signature.expose());
        verified.map_err(|error| match error {
            NotVerified::Invalid => Error::InvalidSignature,
            other => Error::Internal(other.to_string()),
        })?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        cx.note_use(key.record());
        Ok(Output { key_id: key.arn(), signature_valid: true, signing_algorithm: algorithm })
    }
}
