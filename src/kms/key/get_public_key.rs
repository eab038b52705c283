//! GetPublicKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html>

use serde::{Deserialize, Serialize};

use super::Algorithms;
use crate::kms::shape::{Member, optional, required};
use crate::kms::signature::learn_served;
use crate::kms::usable::enabled;
use crate::kms::{Blob, Context, Error, Facts, Operation, arn_of, public_key_of, shapes};
use crate::model::{KeySpec, KeyUsage};

/// Gives the public half of an asymmetric key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetPublicKey {
    key_id: String,
    grant_tokens: Option<Vec<String>>,
}

/// The public key, and what it is good for.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    public_key: Blob,
    customer_master_key_spec: KeySpec,
    key_spec: KeySpec,
    key_usage: KeyUsage,
    #[serde(flatten)]
    algorithms: Algorithms,
}

impl Operation for GetPublicKey {
    const NAME: &'static str = "GetPublicKey";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("GrantTokens", &shapes::GRANT_TOKEN_LIST)];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let facts = Facts { grant_tokens: self.grant_tokens.as_deref().unwrap_or_default(), ..Facts::default() };
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?.into_thing();
        enabled(&key)?;
        let spec = key.record.spec;
        if spec.key_pair().is_none() {
            // AWS says no more either.
            return Err(Error::UnsupportedOperation(String::new()));
        }
        learn_served(cx, &key.record).await;
        Ok(Output {
            key_id: arn_of(&key.record).to_string(),
            public_key: public_key_of(&key)?.spki().to_vec().into(),
            customer_master_key_spec: spec,
            key_spec: spec,
            key_usage: key.record.usage,
            algorithms: Algorithms::of(&cx.kms, &key.record),
        })
    }
}
