//! Sign: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>

use serde::{Deserialize, Serialize};

use super::{facts, message};
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Blob, Context, Error, Operation, UsableKey, shapes};
use crate::model::{KeyUsage, MessageType, SigningAlgorithm};

/// Signs a message of up to 4,096 bytes, or the hash of one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Sign {
    key_id: String,
    message: Blob,
    message_type: Option<MessageType>,
    grant_tokens: Option<Vec<String>>,
    signing_algorithm: SigningAlgorithm,
    dry_run: Option<bool>,
}

/// The signature, and what made it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    signature: Blob,
    signing_algorithm: SigningAlgorithm,
}

impl Operation for Sign {
    const NAME: &'static str = "Sign";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("Message", &shapes::PLAINTEXT),
        defaulted("MessageType", &shapes::MESSAGE_TYPE, "RAW"),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        required("SigningAlgorithm", &shapes::SIGNING_ALGORITHM),
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
        refuse_mu(kind)?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let signature = cx.make_signature(&key, algorithm, message).await?.into();
        Ok(Output { key_id: key.arn(), signature, signing_algorithm: algorithm })
    }
}

/// Refuses to sign what represents a message, which no token does: PKCS#11 v3.2 has no mechanism for it.
fn refuse_mu(kind: MessageType) -> Result<(), Error> {
    // UnsupportedOperationException would say it better, but is none of the errors that the model has for this.
    match kind {
        MessageType::Raw | MessageType::Digest => Ok(()),
        MessageType::ExternalMu => Err(Error::InvalidKeyUsage(format!(
            "Message type {kind} is not offered by this service: its token signs whole messages."
        ))),
    }
}
