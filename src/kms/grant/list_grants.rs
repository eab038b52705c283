//! ListGrants: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html>

use std::sync::Arc;

use serde::Deserialize;

use super::entry::{DEFAULT_LIMIT, MAX_LIMIT, Output, PART, gather};
use super::{check_grant_id, facts, principal_arn};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Operation, page_limit, shapes};
use crate::store::{GrantRecord, KeyRecord, Row};

/// Lists the grants on a key, or those of them that are asked for, a page at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListGrants {
    limit: Option<usize>,
    marker: Option<String>,
    key_id: String,
    grant_id: Option<String>,
    grantee_principal: Option<String>,
    grantee_service_principal: Option<String>,
}

impl Operation for ListGrants {
    const NAME: &'static str = "ListGrants";
    const MEMBERS: &'static [Member] = &[
        optional("Limit", &shapes::LIMIT),
        optional("Marker", &shapes::MARKER),
        required("KeyId", &shapes::KEY_ID),
        optional("GrantId", &shapes::GRANT_ID),
        optional("GranteePrincipal", &shapes::PRINCIPAL_ID),
        optional("GranteeServicePrincipal", &shapes::SERVICE_PRINCIPAL),
    ];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let limit = page_limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        self.grant_id.as_deref().map_or(Ok(()), check_grant_id)?;
        let grantee = self.grantee_principal.as_deref().map(principal_arn).transpose()?;
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts())?.into_thing();
        let list = self.list(&key.record, grantee.as_deref());
        let after = cx.kms.markers.read(cx, &list, self.marker.as_deref())?;
        let mut grants = self.grants(cx, &key.record, grantee.as_deref(), after, limit + 1);
        let next = cx.kms.markers.page(cx, &list, &mut grants, limit, |grant| grant.record.grant_id.clone());
        Ok(Output::of(&cx.kms, &grants, next))
    }
}

impl ListGrants {
    /// The name of the list, to which its markers are bound.
    fn list(&self, key: &KeyRecord, grantee: Option<&str>) -> String {
        let id = self.grant_id.as_deref().unwrap_or("*");
        format!("{}/{}/{id}/{}", Self::NAME, key.key_id, grantee.unwrap_or("*"))
    }

    fn grants(
        &self,
        cx: &Context,
        key: &KeyRecord,
        grantee: Option<&str>,
        after: Option<String>,
        limit: usize,
    ) -> Vec<Arc<Row<GrantRecord>>> {
        // No grant is to a service.
        if self.grantee_service_principal.is_some() {
            return Vec::new();
        }
        let wanted = |grant: &GrantRecord| grantee.is_none_or(|grantee| grant.grantee == grantee);
        if let Some(id) = &self.grant_id {
            let found = cx.kms.store.grant(&key.region, &key.key_id, id);
            return found.into_iter().filter(|grant| wanted(&grant.record)).collect();
        }
        let read = |after: Option<&String>| cx.kms.store.grants_on(&key.region, &key.key_id, after, PART);
        gather(read, |grant| grant.grant_id.clone(), wanted, after, limit)
    }
}
