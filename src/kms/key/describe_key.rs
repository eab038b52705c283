//! DescribeKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>

use serde::{Deserialize, Serialize};

use super::KeyMetadata;
use crate::kms::shape::{Member, optional, required};
use crate::kms::signature::learn_served;
use crate::kms::{Context, Error, Facts, Operation, shapes};

/// Tells what is known of a key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeKey {
    key_id: String,
    grant_tokens: Option<Vec<String>>,
}

/// The key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_metadata: KeyMetadata,
}

impl Operation for DescribeKey {
    const NAME: &'static str = "DescribeKey";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("GrantTokens", &shapes::GRANT_TOKEN_LIST)];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let facts = Facts { grant_tokens: self.grant_tokens.as_deref().unwrap_or_default(), ..Facts::default() };
        let key = cx.authorize::<Self>(cx.key(&self.key_id)?, &facts)?;
        let record = &key.thing().record;
        learn_served(cx, record).await;
        Ok(Output { key_metadata: KeyMetadata::of(&cx.kms, record).in_cluster(cx.kms.cluster_of(record)) })
    }
}
