//! ListRetirableGrants: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html>

use serde::Deserialize;

use super::entry::{DEFAULT_LIMIT, MAX_LIMIT, Output, PART, gather};
use super::{invalid_principal, principal_arn, refuse_service, unique_id};
use crate::kms::shape::{Member, optional};
use crate::kms::{Context, Error, Facts, Operation, page_limit, shapes};
use crate::model::Arn;
use crate::store::{GrantRecord, Record};

/// Lists the grants in the Region that a principal of the caller's account may retire, whoever's keys they are on, a page
/// at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListRetirableGrants {
    limit: Option<usize>,
    marker: Option<String>,
    retiring_principal: Option<String>,
    retiring_service_principal: Option<String>,
}

impl Operation for ListRetirableGrants {
    const NAME: &'static str = "ListRetirableGrants";
    const MEMBERS: &'static [Member] = &[
        optional("Limit", &shapes::LIMIT),
        optional("Marker", &shapes::MARKER),
        optional("RetiringPrincipal", &shapes::PRINCIPAL_ID),
        optional("RetiringServicePrincipal", &shapes::SERVICE_PRINCIPAL),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let limit = page_limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        refuse_service(self.retiring_service_principal.as_deref(), "RetiringServicePrincipal")?;
        let name = self.retiring_principal.as_deref().ok_or_else(no_principal)?;
        let arn = principal_arn(name)?;
        cx.authorize_account::<Self>(&Facts::default())?;
        // Whether there is such a principal elsewhere is not told.
        let own = arn.parse().is_ok_and(|arn: Arn| arn.account == cx.caller.account);
        let id = if own { unique_id(&cx.kms, &arn)? } else { return Err(invalid_principal(name)) };

        let list = format!("{}/{arn}", Self::NAME);
        let after = cx.kms.markers.read(cx, &list, self.marker.as_deref())?;
        let read = |after: Option<&String>| cx.kms.store.grants_retired_by(&cx.request.region, &arn, after, PART);
        let wanted = |grant: &GrantRecord| grant.retiring_id == id;
        let mut grants = gather(read, Record::primary_key, wanted, after, limit + 1);
        let next = cx.kms.markers.page(cx, &list, &mut grants, limit, |grant| grant.record.primary_key());
        Ok(Output::of(&cx.kms, &grants, next))
    }
}

fn no_principal() -> Error {
    Error::Validation(
        "1 validation error detected: Value null at 'retiringPrincipal' failed to satisfy constraint: Member must not \
         be null"
            .into(),
    )
}
