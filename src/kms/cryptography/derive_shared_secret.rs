//! DeriveSharedSecret: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeriveSharedSecret.html>

use serde::{Deserialize, Serialize};

use super::check_recipient;
use crate::crypto::PublicKey;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Blob, Context, Error, Facts, Operation, UsableKey, shapes};
use crate::model::{KeyAgreementAlgorithm, KeyUsage, Origin};

/// Agrees on a secret with whoever has the private half of a public key: the x coordinate of ECDH.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeriveSharedSecret {
    key_id: String,
    key_agreement_algorithm: KeyAgreementAlgorithm,
    public_key: Blob,
    grant_tokens: Option<Vec<String>>,
    dry_run: Option<bool>,
    recipient: Option<serde_json::Value>,
}

/// The secret as it is agreed on, from which keys are still to be derived.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    shared_secret: Blob,
    key_agreement_algorithm: KeyAgreementAlgorithm,
    key_origin: Origin,
}

impl Operation for DeriveSharedSecret {
    const NAME: &'static str = "DeriveSharedSecret";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("KeyAgreementAlgorithm", &shapes::KEY_AGREEMENT_ALGORITHM),
        required("PublicKey", &shapes::PUBLIC_KEY),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("DryRun", &shapes::BOOLEAN),
        optional("Recipient", &shapes::RECIPIENT_INFO),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        check_recipient(self.recipient.as_ref())?;
        let algorithm = self.key_agreement_algorithm;
        let grant_tokens = self.grant_tokens.as_deref().unwrap_or_default();
        let facts = Facts { grant_tokens, ..Facts::default() };
        let facts = facts.with("kms:keyagreementalgorithm", Some(algorithm.as_str()));
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let key = UsableKey::new(key, Self::NAME, KeyUsage::KeyAgreement)?;
        let peer = peer(&key, &self.public_key)?;
        if self.dry_run == Some(true) {
            return Err(Error::DryRun);
        }
        let shared_secret = Blob(cx.agree(&key, &peer).await?);
        let key_origin = key.record().origin;
        Ok(Output { key_id: key.arn(), shared_secret, key_agreement_algorithm: algorithm, key_origin })
    }
}

/// The peer's public key, which must be a point on the key's own curve.
fn peer(key: &UsableKey, public_key: &Blob) -> Result<PublicKey, Error> {
    let own = key.public_key()?.spec();
    // AWS's wording is not known.
    PublicKey::from_spki(own, public_key.expose()).map_err(|_| {
        Error::Validation(format!("The public key is not a DER-encoded X.509 public key for key spec {own}."))
    })
}
