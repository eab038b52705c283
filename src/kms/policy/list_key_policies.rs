//! ListKeyPolicies: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyPolicies.html>

use serde::{Deserialize, Serialize};

use super::POLICY_NAME;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, Operation, shapes};

/// Lists the names of a key's policies, which is always `default`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyPolicies {
    key_id: String,
    marker: Option<String>,
}

/// The one page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    policy_names: [&'static str; 1],
    truncated: bool,
}

impl Operation for ListKeyPolicies {
    const NAME: &'static str = "ListKeyPolicies";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("Limit", &shapes::LIMIT), optional("Marker", &shapes::MARKER)];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?;
        // One name never fills a page, so that no marker was ever given out.
        cx.kms.markers.read(cx, Self::NAME, self.marker.as_deref())?;
        Ok(Output { policy_names: [POLICY_NAME], truncated: false })
    }
}
