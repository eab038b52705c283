//! GetKeyLastUsage: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html>

use serde::{Deserialize, Serialize};

use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Facts, Operation, arn_of, epoch_seconds, shapes};
use crate::model::Timestamp;
use crate::store::Usage;

/// Tells the last cryptographic use of a key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyLastUsage {
    key_id: String,
}

/// The last use; an empty object if there was none.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    key_last_usage: KeyLastUsage,
    #[serde(serialize_with = "epoch_seconds")]
    tracking_start_date: Timestamp,
    #[serde(serialize_with = "epoch_seconds")]
    key_creation_date: Timestamp,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyLastUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_trail_event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_request_id: Option<String>,
}

impl Operation for GetKeyLastUsage {
    const NAME: &'static str = "GetKeyLastUsage";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
        // What is older was a use of another replica of the same id, which is gone.
        let usage = cx.kms.store.usage(&key.record.region, &key.record.key_id);
        let usage = usage.filter(|usage| usage.at >= key.record.created);
        Ok(Output {
            key_id: arn_of(&key.record).to_string(),
            key_last_usage: usage.map(KeyLastUsage::from).unwrap_or_default(),
            // Every key is tracked since it was made.
            tracking_start_date: key.record.created,
            key_creation_date: key.record.created,
        })
    }
}

impl From<Usage> for KeyLastUsage {
    fn from(usage: Usage) -> Self {
        KeyLastUsage {
            operation: Some(usage.operation),
            timestamp: Some(usage.at.as_epoch_seconds()),
            cloud_trail_event_id: Some(usage.event_id),
            kms_request_id: Some(usage.request_id),
        }
    }
}
