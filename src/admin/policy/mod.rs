//! Operations on policies that users and roles of an account share. They have no versions: an update replaces the
//! document.

mod create_policy;
mod delete_policy;
mod get_policy;
mod list_policies;
mod update_policy;

pub use create_policy::CreatePolicy;
pub use delete_policy::DeletePolicy;
pub use get_policy::GetPolicy;
pub use list_policies::ListPolicies;
pub use update_policy::UpdatePolicy;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::rules::Text;
use super::{Context, Error};
use crate::model::{Arn, FriendlyName};
use crate::store::{PolicyRecord, PrincipalKind, Row};

/// A policy, as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    policy_name: String,
    arn: String,
    path: String,
    attachment_count: usize,
    permissions_boundary_usage_count: usize,
    is_attachable: bool,
    create_date: String,
    update_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_document: Option<Text>,
}

/// How many users and roles have a policy.
#[derive(Clone, Copy, Default)]
struct Uses {
    attached: usize,
    as_boundary: usize,
}

impl Policy {
    fn of(record: &PolicyRecord, uses: Uses) -> Self {
        Policy {
            policy_name: record.name.to_string(),
            arn: record.arn().to_string(),
            path: record.path.to_string(),
            attachment_count: uses.attached,
            permissions_boundary_usage_count: uses.as_boundary,
            is_attachable: true,
            create_date: record.created.to_string(),
            update_date: record.updated.to_string(),
            policy_document: None,
        }
    }

    fn with_document(self, record: &PolicyRecord) -> Self {
        Policy { policy_document: Some(Text(record.document.clone())), ..self }
    }
}

/// The policy with this ARN.
pub(super) fn find(cx: &Context<'_>, arn: &str) -> Result<Arc<Row<PolicyRecord>>, Error> {
    by_arn(cx, arn)?.ok_or_else(|| Error::NoSuchEntity(format!("Policy {arn} was not found.")))
}

/// The policy with this ARN, to be attached.
pub(super) fn attachable(cx: &Context<'_>, arn: &str) -> Result<Arc<Row<PolicyRecord>>, Error> {
    let missing = || Error::NoSuchEntity(format!("Policy {arn} does not exist or is not attachable."));
    by_arn(cx, arn)?.ok_or_else(missing)
}

fn by_arn(cx: &Context<'_>, text: &str) -> Result<Option<Arc<Row<PolicyRecord>>>, Error> {
    // AWS's own policies, which are not here.
    if text.starts_with("arn:aws:iam::aws:policy/") {
        return Ok(None);
    }
    let name = text.parse::<Arn>().ok().filter(|arn| arn.service == "iam").and_then(|arn| {
        let rest = arn.resource.strip_prefix("policy/")?;
        rest.rsplit('/').next()?.parse::<FriendlyName>().ok()
    });
    let name = name.ok_or_else(|| Error::InvalidInput(format!("ARN {text} is not valid.")))?;
    // The whole ARN must be right, account, path and case too.
    Ok(cx.store().policy(&cx.account, &name).filter(|policy| policy.record.arn().to_string() == text))
}

/// The uses of all policies of the account, by name.
fn uses(cx: &Context<'_>) -> HashMap<FriendlyName, Uses> {
    let mut uses: HashMap<FriendlyName, Uses> = HashMap::new();
    for kind in [PrincipalKind::User, PrincipalKind::Role] {
        for principal in cx.store().principals_of(&cx.account, kind) {
            for name in &principal.record.attached_policies {
                uses.entry(name.clone()).or_default().attached += 1;
            }
            if let Some(name) = &principal.record.permissions_boundary {
                uses.entry(name.clone()).or_default().as_boundary += 1;
            }
        }
    }
    uses
}

fn uses_of(cx: &Context<'_>, name: &FriendlyName) -> Uses {
    uses(cx).remove(name).unwrap_or_default()
}
