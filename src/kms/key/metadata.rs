//! What DescribeKey and CreateKey tell of a key.

use serde::Serialize;

use crate::kms::{arn_of, epoch_seconds};
use crate::model::{AccountId, KeyId, KeyManager, KeySpec, KeyState, KeyUsage, Origin, Timestamp};
use crate::store::KeyRecord;

/// The metadata of a KMS key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadata {
    #[serde(rename = "AWSAccountId")]
    aws_account_id: AccountId,
    key_id: KeyId,
    arn: String,
    #[serde(serialize_with = "epoch_seconds")]
    creation_date: Timestamp,
    enabled: bool,
    description: String,
    key_usage: KeyUsage,
    key_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_epoch_seconds")]
    deletion_date: Option<Timestamp>,
    origin: Origin,
    key_manager: KeyManager,
    customer_master_key_spec: KeySpec,
    key_spec: KeySpec,
    encryption_algorithms: [&'static str; 1],
    multi_region: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<String>,
}

impl KeyMetadata {
    /// What a record says.
    pub fn of(record: &KeyRecord) -> Self {
        KeyMetadata {
            aws_account_id: record.account.clone(),
            key_id: record.key_id,
            arn: arn_of(record).to_string(),
            creation_date: record.created,
            enabled: record.state == KeyState::Enabled,
            description: record.description.clone(),
            key_usage: record.usage,
            key_state: record.state.wire(),
            deletion_date: record.deletion_date,
            origin: record.origin,
            key_manager: KeyManager::Customer,
            customer_master_key_spec: record.spec,
            key_spec: record.spec,
            encryption_algorithms: ["SYMMETRIC_DEFAULT"],
            multi_region: record.key_id.is_multi_region(),
            current_key_material_id: record.materials.last().map(|material| material.key_material_id.clone()),
        }
    }
}

fn some_epoch_seconds<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => epoch_seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
