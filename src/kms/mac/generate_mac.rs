//! GenerateMac: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html>

use serde::{Deserialize, Serialize};

use super::{facts, spec};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Operation, UsableKey, shapes};
use crate::model::{KeyUsage, MacAlgorithm};

/// Computes the HMAC of a message of up to 4,096 bytes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateMac {
    message: Blob,
    key_id: String,
    mac_algorithm: MacAlgorithm,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
}

/// The code, and what made it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    mac: Blob,
    mac_algorithm: MacAlgorithm,
    key_id: String,
}

impl Operation for GenerateMac {
    const NAME: &'static str = "GenerateMac";
    const MEMBERS: &'static [Member] = &[
        required("Message", &shapes::PLAINTEXT),
        required("KeyId", &shapes::KEY_ID),
        required("MacAlgorithm", &shapes::MAC_ALGORITHM),
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
        let spec = spec(&key, algorithm)?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let mac = Blob(cx.compute_mac(&key, spec, self.message.expose()).await?);
        Ok(Output { mac, mac_algorithm: algorithm, key_id: key.arn() })
    }
}
