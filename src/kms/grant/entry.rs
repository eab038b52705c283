//! A page of grants, as both listings answer it.

use std::sync::Arc;

use serde::Serialize;

use super::constraints::Constraints;
use crate::kms::{Kms, epoch_seconds};
use crate::model::{Arn, GrantOperation, Timestamp, key_arn};
use crate::store::{GrantRecord, Row};

/// One page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    grants: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

/// The model's `GrantListEntry`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key_id: String,
    grant_id: String,
    name: String,
    #[serde(serialize_with = "epoch_seconds")]
    creation_date: Timestamp,
    grantee_principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_principal: Option<String>,
    issuing_account: String,
    operations: Vec<GrantOperation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constraints: Option<Constraints>,
}

impl Output {
    pub(super) fn of(kms: &Kms, grants: &[Arc<Row<GrantRecord>>], next_marker: Option<String>) -> Self {
        let grants = grants.iter().map(|grant| Entry::of(kms, &grant.record)).collect();
        Output { grants, truncated: next_marker.is_some(), next_marker }
    }
}

impl Entry {
    fn of(kms: &Kms, grant: &GrantRecord) -> Self {
        let retiring = grant.retiring.as_deref();
        // The account of the one who created it; of a creator that is not an ARN there is none.
        let issuing = grant.creator.parse().map_or_else(|()| grant.account.clone(), |creator: Arn| creator.account);
        Entry {
            key_id: key_arn(&grant.region, &grant.account, &grant.key_id).to_string(),
            grant_id: grant.grant_id.clone(),
            name: grant.name.clone(),
            creation_date: grant.created,
            grantee_principal: shown(kms, &grant.grantee, grant.grantee_id.as_deref()),
            retiring_principal: retiring.map(|retiring| shown(kms, retiring, grant.retiring_id.as_deref())),
            issuing_account: Arn::root_user(&issuing).to_string(),
            operations: grant.operations.clone(),
            constraints: Constraints::of(&grant.constraints),
        }
    }
}

/// A user or role that is not there any more is shown by its unique id, as AWS shows it: whoever has its name now is
/// not meant.
///
/// Source: <https://github.com/aws/aws-sdk-go/issues/1718>
fn shown(kms: &Kms, arn: &str, unique_id: Option<&str>) -> String {
    let Some(unique_id) = unique_id else { return arn.to_owned() };
    let is_meant = kms.principal_of(arn).is_some_and(|principal| principal.record.unique_id == unique_id);
    if is_meant { arn.to_owned() } else { unique_id.to_owned() }
}

/// At most `limit` of the grants that are `wanted`, behind `after`, out of those that `read` gives a part at a time.
pub(super) fn gather(
    read: impl Fn(Option<&String>) -> Vec<Arc<Row<GrantRecord>>>,
    name: impl Fn(&GrantRecord) -> String,
    wanted: impl Fn(&GrantRecord) -> bool,
    mut after: Option<String>,
    limit: usize,
) -> Vec<Arc<Row<GrantRecord>>> {
    let mut found = Vec::new();
    loop {
        let part = read(after.as_ref());
        let Some(last) = part.last() else { break };
        after = Some(name(&last.record));
        found.extend(part.into_iter().filter(|grant| wanted(&grant.record)));
        if found.len() >= limit {
            found.truncate(limit);
            break;
        }
    }
    found
}

/// How many grants are read at a time.
pub(super) const PART: usize = 1_000;
pub(super) const DEFAULT_LIMIT: usize = 50;
pub(super) const MAX_LIMIT: usize = 100;
