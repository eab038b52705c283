//! VerifyMac: <https://docs.aws.amazon.com/kms/latest/APIReference/API_VerifyMac.html>

use serde::{Deserialize, Serialize};

use super::{facts, spec};
use crate::crypto;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, UsableKey, shapes};
use crate::model::{KeyUsage, MacAlgorithm};

/// Verifies the HMAC of a message, whole and not cut short, in constant time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VerifyMac {
    message: Blob,
    key_id: String,
    mac_algorithm: MacAlgorithm,
    mac: Blob,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// That the code is valid; one that is not is an error.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    mac_valid: bool,
    mac_algorithm: MacAlgorithm,
}

impl Operation for VerifyMac {
    const NAME: &'static str = "VerifyMac";
    const MEMBERS: &'static [Member] = &[
        required("Message", &shapes::PLAINTEXT),
        required("KeyId", &shapes::KEY_ID),
        required("MacAlgorithm", &shapes::MAC_ALGORITHM),
        required("Mac", &shapes::CIPHERTEXT),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let algorithm = self.mac_algorithm;
        let facts = facts(algorithm, self.grant_tokens.as_deref());
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::GenerateVerifyMac)?;
        let mac = cx.compute_mac(&key, spec(&key, algorithm)?, self.message.expose()).await?;
        if !crypto::equal(mac.expose(), self.mac.expose()) {
            return Err(Error::InvalidMac);
        }
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        Ok(Output { key_id: key.arn(), mac_valid: true, mac_algorithm: algorithm })
    }
}
