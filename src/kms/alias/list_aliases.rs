//! ListAliases: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html>

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::Named;
use crate::kms::shape::{Member, optional};
use crate::kms::{Context, Error, Facts, Operation, epoch_seconds, page_limit, shapes};
use crate::model::{AccountId, AliasName, Arn, KeyId, Timestamp};
use crate::store::{AliasRecord, Row};

/// Lists the aliases of the account in the Region, or those of one key, a page at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliases {
    key_id: Option<String>,
    limit: Option<usize>,
    marker: Option<String>,
}

/// One page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    aliases: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    alias_name: AliasName,
    alias_arn: String,
    target_key_id: KeyId,
    #[serde(serialize_with = "epoch_seconds")]
    creation_date: Timestamp,
    #[serde(serialize_with = "epoch_seconds")]
    last_updated_date: Timestamp,
}

impl Operation for ListAliases {
    const NAME: &'static str = "ListAliases";
    const MEMBERS: &'static [Member] =
        &[optional("KeyId", &shapes::KEY_ID), optional("Limit", &shapes::LIMIT), optional("Marker", &shapes::MARKER)];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let account = cx.authorize_account::<Self>(&Facts::default())?.into_thing();
        let limit = page_limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        let list = format!("{}/{}", Self::NAME, self.key_id.as_deref().unwrap_or("*"));
        let last = cx.kms.markers.read(cx, &list, self.marker.as_deref())?;
        let after = last.map(|last| last.parse::<AliasName>().map_err(|_| Error::InvalidMarker)).transpose()?;
        let mut aliases = self.aliases(cx, &account, after.as_ref(), limit + 1)?;
        let name = |alias: &Arc<Row<AliasRecord>>| alias.record.name.to_string();
        let next_marker = cx.kms.markers.page(cx, &list, &mut aliases, limit, name);
        let aliases = aliases.iter().map(|alias| Entry::of(&alias.record)).collect();
        Ok(Output { aliases, truncated: next_marker.is_some(), next_marker })
    }
}

impl ListAliases {
    fn aliases(
        &self,
        cx: &Context,
        account: &AccountId,
        after: Option<&AliasName>,
        limit: usize,
    ) -> Result<Vec<Arc<Row<AliasRecord>>>, Error> {
        let Some(key_id) = &self.key_id else {
            return Ok(cx.kms.store.aliases_of(&cx.request.region, account, after, limit));
        };
        let key = cx.key_without_alias(key_id)?.key;
        // Another account's aliases are not shown, whatever its key policy says.
        if key.record.account != *account {
            return Err(cx.unknown(Self::NAME, Named::Explicitly));
        }
        let mut aliases = cx.kms.store.aliases_of_key(&cx.request.region, &key.record.key_id);
        aliases.sort_by(|one, other| one.record.name.cmp(&other.record.name));
        aliases.retain(|alias| after.is_none_or(|after| alias.record.name > *after));
        aliases.truncate(limit);
        Ok(aliases)
    }
}

impl Entry {
    fn of(alias: &AliasRecord) -> Self {
        Entry {
            alias_name: alias.name.clone(),
            alias_arn: Arn::alias(&alias.region, &alias.account, &alias.name).to_string(),
            target_key_id: alias.target,
            creation_date: alias.created,
            last_updated_date: alias.updated,
        }
    }
}

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;
