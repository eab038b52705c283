//! What DescribeKey and CreateKey tell of a key.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::kms::multi_region::multi_region_key_type;
use crate::kms::{Kms, arn_of, epoch_seconds, signature};
use crate::model::{
    AccountId, ClusterId, CustomKeyStoreId, EncapsulationAlgorithm, EncryptionAlgorithm, KeyAgreementAlgorithm, KeyId,
    KeyManager, KeySpec, KeyState, KeyUsage, MacAlgorithm, Origin, Region, SigningAlgorithm, Timestamp, key_arn,
};
use crate::store::{ImportedObject, KeyRecord, Material, Store};

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
    #[serde(flatten)]
    algorithms: Algorithms,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_epoch_seconds")]
    valid_to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<&'static str>,
    multi_region: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_key_store_id: Option<CustomKeyStoreId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_hsm_cluster_id: Option<ClusterId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_region_configuration: Option<MultiRegionConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_deletion_window_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<String>,
    /// Not AWS's: where imported material was unwrapped, `HOST` if any of it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    hsm_kms_import_unwrapped_on: Option<&'static str>,
    /// Not AWS's: whether the material exists beside its object, wrapped for its token, so that it can go to others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hsm_kms_material_kept_wrapped: bool,
}

/// The keys that are one multi-Region key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_MultiRegionConfiguration.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionConfiguration {
    multi_region_key_type: &'static str,
    primary_key: MultiRegionKey,
    replica_keys: Vec<MultiRegionKey>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionKey {
    arn: String,
    region: Region,
}

impl KeyMetadata {
    /// What a record says, and the store of the keys that it shares its id with; the record itself need not be there.
    pub fn of(kms: &Kms, record: &KeyRecord) -> Self {
        let imported = imported(record);
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
            algorithms: Algorithms::of(kms, record),
            valid_to: imported.clone().filter_map(|object| object.valid_to).min(),
            expiration_model: imported.clone().map(expiration_model).max(),
            multi_region: record.key_id.is_multi_region(),
            custom_key_store_id: record.custom_key_store.clone(),
            cloud_hsm_cluster_id: None,
            multi_region_configuration: MultiRegionConfiguration::of(&kms.store, record),
            pending_deletion_window_in_days: record
                .pending_window_days
                .filter(|_| record.state == KeyState::PendingReplicaDeletion),
            hsm_kms_material_kept_wrapped: record.materials.iter().any(|material| material.transfer.is_some()),
            current_key_material_id: current_key_material_id(record),
            hsm_kms_import_unwrapped_on: imported.map(unwrapped_on).min(),
        }
    }

    /// Says in which cluster the key's material is.
    pub fn in_cluster(self, cluster: Option<ClusterId>) -> Self {
        KeyMetadata { cloud_hsm_cluster_id: cluster, ..self }
    }
}

impl MultiRegionConfiguration {
    fn of(store: &Store, record: &KeyRecord) -> Option<Self> {
        let (primary, kind) = (record.primary_region.as_ref()?, multi_region_key_type(record)?);
        let mut regions: BTreeSet<Region> =
            store.multi_region(&record.key_id).iter().map(|row| row.record.region.clone()).collect();
        regions.insert(record.region.clone());
        regions.remove(primary);
        let key = |region: &Region| {
            let arn = key_arn(region, &record.account, &record.key_id).to_string();
            MultiRegionKey { arn, region: region.clone() }
        };
        let replica_keys = regions.iter().map(key).collect();
        Some(MultiRegionConfiguration { multi_region_key_type: kind, primary_key: key(primary), replica_keys })
    }
}

/// What a key of this spec and usage can do: the one list that its usage has.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Algorithms {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    encryption_algorithms: &'static [EncryptionAlgorithm],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    signing_algorithms: &'static [SigningAlgorithm],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    key_agreement_algorithms: &'static [KeyAgreementAlgorithm],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    encapsulation_algorithms: &'static [EncapsulationAlgorithm],
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_algorithms: Option<[MacAlgorithm; 1]>,
}

impl Algorithms {
    /// The lists of a key, by its spec, its usage, and what its token is known to do.
    pub fn of(kms: &Kms, record: &KeyRecord) -> Self {
        let (spec, usage) = (record.spec, record.usage);
        let none = Algorithms {
            encryption_algorithms: &[],
            signing_algorithms: &[],
            key_agreement_algorithms: &[],
            encapsulation_algorithms: &[],
            mac_algorithms: None,
        };
        match usage {
            KeyUsage::EncryptDecrypt => Algorithms { encryption_algorithms: spec.encryption_algorithms(), ..none },
            KeyUsage::SignVerify => {
                Algorithms { signing_algorithms: signature::served_algorithms(kms, record), ..none }
            }
            KeyUsage::KeyAgreement => Algorithms { key_agreement_algorithms: spec.key_agreement_algorithms(), ..none },
            KeyUsage::EncapsulateDecapsulate => {
                Algorithms { encapsulation_algorithms: spec.encapsulation_algorithms(), ..none }
            }
            KeyUsage::GenerateVerifyMac => {
                Algorithms { mac_algorithms: spec.mac_algorithm().map(|algorithm| [algorithm]), ..none }
            }
        }
    }
}

/// The objects of imported material that belongs to the key for good.
fn imported(record: &KeyRecord) -> impl Iterator<Item = &ImportedObject> + Clone {
    record.materials.iter().filter(|material| !material.is_pending_rotation()).filter_map(Material::imported)
}

/// Where imported material was while it was unwrapped.
pub(in crate::kms) fn unwrapped_on(object: &ImportedObject) -> &'static str {
    if object.unwrapped_on_host { "HOST" } else { "TOKEN" }
}

/// Symmetric keys alone have it, and AWS does not tell it of those in custom key stores.
fn current_key_material_id(record: &KeyRecord) -> Option<String> {
    let told = record.spec == KeySpec::SymmetricDefault && record.custom_key_store.is_none();
    let material = record.current().filter(|_| told)?;
    Some(material.key_material_id.clone())
}

/// The model's `ExpirationModelType` of an imported object.
pub(in crate::kms) fn expiration_model(object: &ImportedObject) -> &'static str {
    match object.valid_to {
        Some(_) => "KEY_MATERIAL_EXPIRES",
        None => "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

pub(super) fn some_epoch_seconds<S: serde::Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => epoch_seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
