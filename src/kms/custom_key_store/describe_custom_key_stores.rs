//! DescribeCustomKeyStores: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeCustomKeyStores.html>

use serde::{Deserialize, Serialize};

use super::CustomKeyStoreRow;
use crate::kms::shape::{Member, optional};
use crate::kms::{Context, Error, Kms, Operation, epoch_seconds, shapes};
use crate::model::{AccountId, ClusterId, ConnectionError, ConnectionState, CustomKeyStoreId, Timestamp};
use crate::store::{Connection, CustomKeyStoreRecord};

/// Tells of the custom key stores of the account in the Region, a page at a time, or of one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeCustomKeyStores {
    custom_key_store_id: Option<String>,
    custom_key_store_name: Option<String>,
    limit: Option<usize>,
    marker: Option<String>,
}

/// One page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    custom_key_stores: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    custom_key_store_id: CustomKeyStoreId,
    custom_key_store_name: String,
    cloud_hsm_cluster_id: ClusterId,
    trust_anchor_certificate: String,
    connection_state: ConnectionState,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_error_code: Option<ConnectionError>,
    #[serde(serialize_with = "epoch_seconds")]
    creation_date: Timestamp,
    custom_key_store_type: &'static str,
}

impl Operation for DescribeCustomKeyStores {
    const NAME: &'static str = "DescribeCustomKeyStores";
    const MEMBERS: &'static [Member] = &[
        optional("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID),
        optional("CustomKeyStoreName", &shapes::CUSTOM_KEY_STORE_NAME),
        optional("Limit", &shapes::LIMIT),
        optional("Marker", &shapes::MARKER),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let account = cx.authorize_key_store::<Self>()?;
        let after = cx.kms.markers.read(cx, Self::NAME, self.marker.as_deref())?;
        let mut rows = self.wanted(cx, &account)?;
        rows.retain(|row| after.as_ref().is_none_or(|after| row.record.id.as_str() > after.as_str()));
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let id = |row: &CustomKeyStoreRow| row.record.id.to_string();
        let next_marker = cx.kms.markers.page(cx, Self::NAME, &mut rows, limit, id);
        let custom_key_stores = rows.iter().map(|row| Entry::of(&cx.kms, &row.record)).collect();
        Ok(Output { custom_key_stores, truncated: next_marker.is_some(), next_marker })
    }
}

impl DescribeCustomKeyStores {
    /// Those that are asked for, by id.
    fn wanted(&self, cx: &Context, account: &AccountId) -> Result<Vec<CustomKeyStoreRow>, Error> {
        let mut rows = cx.kms.store.custom_key_stores_of(&cx.request.region, account);
        match (&self.custom_key_store_id, &self.custom_key_store_name) {
            (None, None) => Ok(rows),
            (Some(id), None) => Ok(vec![cx.custom_key_store(id)?]),
            (None, Some(name)) => {
                rows.retain(|row| row.record.name == *name);
                if rows.is_empty() { Err(Error::CustomKeyStoreNotFound(name.clone())) } else { Ok(rows) }
            }
            // AWS's wording is not known.
            (Some(_), Some(_)) => {
                Err(Error::Validation("Specify CustomKeyStoreId or CustomKeyStoreName, but not both.".into()))
            }
        }
    }
}

impl Entry {
    fn of(kms: &Kms, record: &CustomKeyStoreRecord) -> Self {
        Entry {
            custom_key_store_id: record.id.clone(),
            custom_key_store_name: record.name.clone(),
            cloud_hsm_cluster_id: record.cluster.clone(),
            trust_anchor_certificate: record.trust_anchor.clone(),
            connection_state: kms.connection_state(record),
            connection_error_code: match record.connection {
                Connection::Failed(why) => Some(why),
                _ => None,
            },
            creation_date: record.created,
            custom_key_store_type: "AWS_CLOUDHSM",
        }
    }
}

/// An account has ten at most.
const DEFAULT_LIMIT: usize = 100;
