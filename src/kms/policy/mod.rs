//! Operations on key policies.

mod get_key_policy;
mod list_key_policies;
mod put_key_policy;

pub use get_key_policy::GetKeyPolicy;
pub use list_key_policies::ListKeyPolicies;
pub use put_key_policy::PutKeyPolicy;

use std::collections::BTreeMap;

use super::{Context, Error};
use crate::auth::policy::{Kind, Policy};
use crate::model::{AccountId, Arn};

/// The one name that a key policy has.
pub const POLICY_NAME: &str = "default";

/// The condition key of the parameter that leaves out the check against locking oneself out.
pub const BYPASS: &str = "kms:bypasspolicylockoutsafetycheck";

/// The policy of a key that is made without one: the account may delegate everything.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>; the Id and Sid are
/// those of keys made by the API.
pub fn default_policy(account: &AccountId) -> String {
    let root = Arn::root_user(account);
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "{root}"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}

/// Refuses a policy for the key `arn` that is too long, malformed, of principals that do not exist, or that would
/// keep its writer from writing another; `bypass` leaves out the last check. Gives the unique ids of the users and roles
/// that it names, by ARN.
pub fn check(cx: &Context, arn: &Arn, text: &str, bypass: bool) -> Result<BTreeMap<String, String>, Error> {
    // The model's shape admits four times as much.
    if text.len() > MAX_POLICY_LEN {
        return Err(Error::LimitExceeded(format!("The policy is longer than {MAX_POLICY_LEN} bytes.")));
    }
    let policy =
        Policy::parse(text, Kind::KeyPolicy).map_err(|error| Error::MalformedPolicyDocument(error.to_string()))?;
    let unique_ids = cx.kms.unique_ids(&policy).ok_or_else(|| {
        Error::MalformedPolicyDocument("Policy contains a statement with one or more invalid principals.".into())
    })?;
    if !bypass && !policy.keeps_way_back(cx.caller.subject(), &arn.to_string()) {
        return Err(Error::MalformedPolicyDocument(
            "The new key policy will not allow you to update the key policy in the future.".into(),
        ));
    }
    Ok(unique_ids)
}

/// Refuses a policy name that is not `default`.
fn check_name(name: Option<&str>) -> Result<(), Error> {
    match name {
        None | Some(POLICY_NAME) => Ok(()),
        // As for a policy that is not there.
        Some(_) => Err(Error::NotFound("No such policy exists".into())),
    }
}

const MAX_POLICY_LEN: usize = 32_768;
