//! ListKeys: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html>

use serde::{Deserialize, Serialize};

use crate::kms::shape::{Member, optional};
use crate::kms::{Context, Error, Facts, KeyRow, Operation, arn_of, shapes};
use crate::model::KeyId;

/// Lists the keys of the account in the Region, a page at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeys {
    limit: Option<usize>,
    marker: Option<String>,
    resource_owners: Option<Vec<String>>,
}

/// One page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    keys: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key_id: KeyId,
    key_arn: String,
}

impl Operation for ListKeys {
    const NAME: &'static str = "ListKeys";
    const MEMBERS: &'static [Member] = &[
        optional("Limit", &shapes::LIMIT),
        optional("Marker", &shapes::MARKER),
        optional("ResourceOwners", &shapes::RESOURCE_OWNERS_LIST),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let account = cx.authorize_account::<Self>(&Facts::default())?.into_thing();
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let last = cx.kms.markers.read(cx, Self::NAME, self.marker.as_deref())?;
        let after = last.map(|last| last.parse::<KeyId>().map_err(|_| Error::InvalidMarker)).transpose()?;
        let mut keys = match self.own_keys() {
            true => cx.kms.store.keys_of(&cx.request.region, &account, after.as_ref(), limit + 1),
            false => Vec::new(),
        };
        let key_id = |key: &KeyRow| key.record.key_id.to_string();
        let next_marker = cx.kms.markers.page(cx, Self::NAME, &mut keys, limit, key_id);
        let keys = keys.iter().map(|key| Entry { key_id: key.record.key_id, key_arn: arn_of(&key.record).to_string() });
        Ok(Output { keys: keys.collect(), truncated: next_marker.is_some(), next_marker })
    }
}

impl ListKeys {
    /// No other account shares keys with this one through Resource Access Manager, which is not here.
    fn own_keys(&self) -> bool {
        self.resource_owners.as_ref().is_none_or(|owners| owners.iter().any(|owner| owner == "SELF"))
    }
}

const DEFAULT_LIMIT: usize = 100;
