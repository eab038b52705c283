//! The decision, and its proof.

use std::fmt::Display;

use super::Caller;
use crate::model::AccountId;

/// Proof that the caller may do `action` to the thing inside; made by [`authorize`] alone.
#[derive(Debug)]
pub struct Authorized<T> {
    thing: T,
}

impl<T> Authorized<T> {
    /// What the caller may act on.
    pub fn thing(&self) -> &T {
        &self.thing
    }

    /// Gives the thing up together with the proof.
    pub fn into_thing(self) -> T {
        self.thing
    }
}

/// The caller may not.
///
/// Source for the text: <https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html>
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("User: {caller} is not authorized to perform: {action} on resource: {resource} because {reason}")]
pub struct Denied {
    caller: String,
    action: String,
    resource: String,
    reason: String,
}

/// Asks whether `caller` may do `action` (for example `kms:Encrypt`) to `thing`, which `owner` owns and which is
/// called `resource` in the refusal; the two are written out only there.
///
/// Until policies are evaluated, the root user of the owning account may do everything and nobody else anything.
pub fn authorize<T>(
    caller: &Caller,
    action: impl Display,
    owner: &AccountId,
    resource: impl Display,
    thing: T,
) -> Result<Authorized<T>, Denied> {
    if caller.is_root_user() && caller.account == *owner {
        return Ok(Authorized { thing });
    }
    let kind = if caller.account == *owner { "identity-based" } else { "resource-based" };
    Err(Denied {
        caller: caller.arn.clone(),
        action: action.to_string(),
        resource: resource.to_string(),
        reason: format!("no {kind} policy allows the {action} action"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(arn: &str) -> Caller {
        Caller {
            account: "111122223333".parse().unwrap(),
            arn: arn.into(),
            user_id: "111122223333".into(),
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        }
    }

    fn ask(arn: &str, owner: &str) -> Result<Authorized<()>, Denied> {
        authorize(&caller(arn), "kms:Encrypt", &owner.parse().unwrap(), "the key", ())
    }

    #[test]
    fn only_the_root_user_of_the_owning_account_is_served() {
        assert!(ask("arn:aws:iam::111122223333:root", "111122223333").is_ok());
        assert!(ask("arn:aws:iam::111122223333:user/root", "111122223333").is_err());
        assert!(ask("arn:aws:iam::444455556666:root", "111122223333").is_err());
        assert_eq!(
            ask("arn:aws:iam::111122223333:root", "444455556666").unwrap_err().to_string(),
            "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:Encrypt on resource: the key \
             because no resource-based policy allows the kms:Encrypt action"
        );
    }
}
