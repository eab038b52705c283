//! Operations on grants, and the search for the grant that permits a request.

mod constraints;
mod create_grant;
mod entry;
mod list_grants;
mod list_retirable_grants;
mod retire_grant;
mod revoke_grant;
mod search;
mod token;

pub use create_grant::CreateGrant;
pub use list_grants::ListGrants;
pub use list_retirable_grants::ListRetirableGrants;
pub use retire_grant::RetireGrant;
pub use revoke_grant::RevokeGrant;
pub(super) use search::Search;
pub use token::GrantTokens;

use super::{Error, Facts, Kms};
use crate::auth::policy::Principal;
use crate::model::Arn;

/// Most grants on a key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>
const GRANTS_PER_KEY: usize = 50_000;

/// The ARN of the principal that `name` means, an account's being its root user's; whether there is one is not asked.
fn principal_arn(name: &str) -> Result<String, Error> {
    match Principal::parse(name) {
        Some(Principal::Account(account)) => Ok(Arn::root_user(&account).to_string()),
        Some(Principal::Arn(arn)) => Ok(arn.into()),
        _ => Err(invalid_principal(name)),
    }
}

/// The unique id of the user or role with this ARN, of a session its role's; none for an account. All must exist.
fn unique_id(kms: &Kms, arn: &str) -> Result<Option<String>, Error> {
    let found = match Principal::parse(arn) {
        Some(Principal::Account(account)) => kms.store.account(&account).map(|_| None),
        _ => kms.principal_of(arn).map(|row| Some(row.record.unique_id.clone())),
    };
    found.ok_or_else(|| invalid_principal(arn))
}

/// In the words that users of AWS KMS report. A principal without a name to be asked for, such as `*`, and one that is
/// not there are refused alike.
fn invalid_principal(name: &str) -> Error {
    Error::InvalidArn(format!("ARN does not refer to a valid principal: {name}"))
}

/// Refuses what no grant can have as its id: 64 hexadecimal digits.
fn check_grant_id(id: &str) -> Result<(), Error> {
    let is_one = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_one { Ok(()) } else { Err(Error::InvalidGrantId) }
}

fn no_such_grant(id: &str) -> Error {
    Error::NotFound(format!("Grant ID {id} not found."))
}

/// Services of AWS are not here to be given a grant, or to ask for one.
fn refuse_service(name: Option<&str>, member: &str) -> Result<(), Error> {
    match name {
        None => Ok(()),
        Some(_) => {
            Err(Error::Validation(format!("{member} is not supported by this service: no AWS service calls it.")))
        }
    }
}

/// What policies can ask of every request about grants: none is made by a service of AWS on somebody's behalf.
fn facts<'f>() -> Facts<'f> {
    Facts::default().with("kms:grantisforawsresource", Some("false"))
}
