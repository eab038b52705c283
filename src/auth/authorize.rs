//! The decision, and its proof.

use std::sync::LazyLock;

use super::Caller;
use super::policy::{By, Conditions, Decision, Evidence, Grantee, Kind, Policy, Reason, Request, decide};
use crate::model::AccountId;

/// Proof that the caller may do what was asked to the thing inside; made in this file alone.
///
/// ```
/// use hsm_kms::auth::{Authorized, Question, authorize};
///
/// fn key(question: &Question<'_>) -> Option<Authorized<&'static str>> {
///     authorize(question, "a key").ok()
/// }
/// ```
///
/// Not by hand:
///
/// ```compile_fail,E0451
/// use hsm_kms::auth::{Authorized, Permission};
///
/// fn key() -> Option<Authorized<&'static str>> {
///     Some(Authorized { thing: "a key", by: Permission::RootUser })
/// }
/// ```
///
/// Nor by putting another thing into it:
///
/// ```
/// fn read(key: &hsm_kms::auth::Authorized<String>) -> &String {
///     key.thing()
/// }
/// ```
///
/// ```compile_fail,E0616
/// fn exchange(key: &mut hsm_kms::auth::Authorized<String>) {
///     key.thing = "another key".into();
/// }
/// ```
#[derive(Debug)]
pub struct Authorized<T> {
    thing: T,
    by: Permission,
}

/// Which kind of permission allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The key policy, or the trust policy of a role.
    ResourcePolicy,
    /// The caller's identity policies.
    IdentityPolicy,
    /// The grant with this id.
    Grant(String),
    /// The root user needs no policy.
    RootUser,
}

/// What is asked: may `caller` do `action` to `resource`?
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// For example `kms:Encrypt`.
    pub action: &'a str,
    /// The ARN of what it is done to; `*` for an action on no resource.
    pub resource: &'a str,
    /// The account that owns the resource.
    pub owner: &'a AccountId,
    /// The resource's own policy; none for what identity policies alone decide.
    pub resource_policy: Option<&'a Policy>,
    /// The condition keys of the request and the resource.
    pub conditions: &'a dyn Conditions,
    /// The id of a grant for this request to exactly this grantee, its constraints kept.
    pub grants: &'a dyn Fn(Grantee) -> Option<&'a str>,
    /// Whether the resource was named, or found in a ciphertext.
    pub named: Named,
}

/// How the caller named the resource, which decides how much a refusal may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By its id, ARN or alias.
    Explicitly,
    /// By a ciphertext.
    ByCiphertext,
}

/// The caller may not.
///
/// The text is the caller's: of another account's resource it does not tell whether there is one.
/// Source for the wording: <https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html> and the
/// messages that users of AWS KMS report.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("User: {caller} is not authorized to perform: {action} {why}")]
pub struct Denied {
    caller: String,
    action: String,
    why: String,
    reason: Option<Reason>,
}

impl<T> Authorized<T> {
    /// What the caller may act on.
    pub fn thing(&self) -> &T {
        &self.thing
    }

    /// Which kind of permission allowed.
    pub fn by(&self) -> &Permission {
        &self.by
    }

    /// Gives the thing up together with the proof.
    pub fn into_thing(self) -> T {
        self.thing
    }
}

/// Asks whether the caller may, and proves it for `thing`.
pub fn authorize<T>(question: &Question<'_>, thing: T) -> Result<Authorized<T>, Denied> {
    match question.decide() {
        Ok(by) => Ok(Authorized { thing, by }),
        Err(reason) => Err(question.denied(reason)),
    }
}

/// As [`authorize`], for what a grant alone gives, whichever account its grantee is of, and policies can only take:
/// whatever the resource policy and identity policies allow counts for nothing. The root user of the owning account
/// needs no grant.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html>
pub fn authorize_by_grant<T>(question: &Question<'_>, thing: T) -> Result<Authorized<T>, Denied> {
    question.forbidden()?;
    let caller = question.caller;
    if caller.is_root_user() && caller.account == *question.owner {
        return Ok(Authorized { thing, by: Permission::RootUser });
    }
    let by_grant = Question { owner: &caller.account, resource_policy: Some(&NOBODY), ..*question };
    match by_grant.decide() {
        Ok(by) => Ok(Authorized { thing, by }),
        Err(_) => Err(question.refused()),
    }
}

impl Question<'_> {
    /// The refusal for a resource that does not exist, in the words for one that the caller may not use.
    pub fn unknown(caller: &Caller, action: &str, named: Named) -> Denied {
        Denied { caller: caller.arn.clone(), action: action.to_owned(), why: undisclosed(named), reason: None }
    }

    /// Why a policy forbids this explicitly, if one does; for what no policy can allow.
    pub fn forbidden(&self) -> Result<(), Denied> {
        match self.decide() {
            Err(reason @ Reason::ExplicitDeny(_)) => Err(self.denied(reason)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The refusal of what no policy was asked for.
    pub fn refused(&self) -> Denied {
        self.denied(Reason::NoAllow(Kind::KeyPolicy))
    }

    fn decide(&self) -> Result<Permission, Reason> {
        let subject = self.caller.subject();
        let Question { action, resource, owner, conditions, .. } = *self;
        let permissions = &self.caller.permissions;
        let identity_policies: Vec<&Policy> = permissions.identity_policies.iter().map(AsRef::as_ref).collect();
        let session_policies: Vec<&Policy> = permissions.session_policies.iter().map(AsRef::as_ref).collect();
        let evidence = Evidence {
            resource_policy: self.resource_policy,
            identity_policies: &identity_policies,
            boundary: permissions.boundary.as_deref(),
            session_policies: &session_policies,
            grants: &|grantee| (self.grants)(grantee),
        };
        match decide(&Request { subject, action, resource, owner, conditions }, &evidence) {
            Decision::Allowed(by) => Ok(by.into()),
            Decision::Denied(reason) => Err(reason),
        }
    }

    fn denied(&self, reason: Reason) -> Denied {
        let foreign = self.caller.account != *self.owner;
        let own_policies_lack = matches!(reason, Reason::NoAllow(kind) if !kind.has_principals());
        let why = if foreign && !own_policies_lack {
            undisclosed(self.named)
        } else {
            let clause = reason.clause(self.action);
            match self.named {
                Named::Explicitly => format!("on resource: {} {clause}", self.resource),
                Named::ByCiphertext => format!("on the resource associated with this ciphertext {clause}"),
            }
        };
        Denied { caller: self.caller.arn.clone(), action: self.action.to_owned(), why, reason: Some(reason) }
    }
}

impl Denied {
    /// Why, for the record, which may know more than the caller.
    pub fn because(&self, action: &str) -> String {
        let clause = self.reason.map_or_else(|| "there is no such resource".into(), |reason| reason.clause(action));
        clause.trim_start_matches("because ").trim_start_matches("with ").to_owned()
    }
}

fn undisclosed(named: Named) -> String {
    let resource = match named {
        Named::Explicitly => "this resource",
        Named::ByCiphertext => "the resource associated with this ciphertext",
    };
    format!(
        "on {resource} because the resource does not exist in this Region, no resource-based policies allow access, or \
         a resource-based policy explicitly denies access"
    )
}

impl From<By<'_>> for Permission {
    fn from(by: By<'_>) -> Self {
        match by {
            By::ResourcePolicy => Permission::ResourcePolicy,
            By::IdentityPolicy => Permission::IdentityPolicy,
            By::Grant(id) => Permission::Grant(id.to_owned()),
            By::RootUser => Permission::RootUser,
        }
    }
}

/// A resource policy that allows nobody anything.
static NOBODY: LazyLock<Policy> =
    LazyLock::new(|| Policy::parse(r#"{"Statement":[]}"#, Kind::KeyPolicy).expect("well-formed"));
