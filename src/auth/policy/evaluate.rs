//! The decision.
//!
//! Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html>,
//! <https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html>

use std::fmt;

use super::document::{Kind, Policy};
use super::principal::How;
use super::request::{Request, Who};

/// Everything that was written about a request.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The key's policy, or the role's trust policy; `None` for what identity policies alone decide: ListKeys,
    /// CreateKey, everything on an alias.
    pub resource_policy: Option<&'a Policy>,
    /// The policies of the user or role.
    pub identity_policies: &'a [&'a Policy],
    /// The permissions boundary of the user or role.
    pub boundary: Option<&'a Policy>,
    /// The policies given with the session; one of them must allow if there are any.
    pub session_policies: &'a [&'a Policy],
    /// The id of a grant for this request, its constraints kept, to exactly the grantee asked for.
    pub grants: &'a dyn Fn(Grantee) -> Option<&'a str>,
}

/// For whom a grant is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// The subject by its own ARN: user, session or root user.
    Itself,
    /// The role that it is a session of.
    Role,
    /// The account that it belongs to.
    Account,
}

/// May it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It may, by this.
    Allowed(By<'a>),
    /// It may not, because of this.
    Denied(Reason),
}

/// The permission that allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// The key policy or trust policy itself.
    ResourcePolicy,
    /// An identity policy, to which the resource policy delegates if there is one.
    IdentityPolicy,
    /// The grant with this id.
    Grant(&'a str),
    /// The root user needs no policy for what identity policies alone decide.
    RootUser,
}

/// Why it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A policy of this kind says so.
    ExplicitDeny(Kind),
    /// No policy of this kind allows it, and one must.
    NoAllow(Kind),
    /// It is of another account, and nothing there can be shared.
    OtherAccount,
}

/// Decides on a request.
///
/// 1. A Deny that applies, in any policy, refuses.
/// 2. Without a resource policy, the identity policies of the owning account decide, and its root user may.
/// 3. Otherwise the resource policy or a grant must name the subject. Naming it itself, or `*`, suffices; naming its
///    role does within the boundary and the session policies; naming its account leaves it to its identity policies,
///    within boundary and session policies.
/// 4. A subject of another account needs both: to be named in any of these ways, and its identity policies.
pub fn decide<'a>(request: &Request<'_>, evidence: &Evidence<'a>) -> Decision<'a> {
    if let Some(kind) = evidence.denied_by(request) {
        return Decision::Denied(Reason::ExplicitDeny(kind));
    }
    let decided = match evidence.resource_policy {
        None => evidence.without_resource_policy(request),
        Some(policy) if *request.subject.account == *request.owner => evidence.within_account(request, policy),
        Some(policy) => evidence.across_accounts(request, policy),
    };
    decided.map_or_else(Decision::Denied, Decision::Allowed)
}

impl Decision<'_> {
    /// Whether it may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allowed(_))
    }
}

impl Reason {
    /// The end of AWS's message, for an action such as `kms:Encrypt`: `because no identity-based policy allows the
    /// kms:Encrypt action`.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    pub fn clause(self, action: &str) -> String {
        match self {
            Reason::ExplicitDeny(kind) if kind == Kind::IdentityPolicy => format!("with an explicit deny in an {kind}"),
            Reason::ExplicitDeny(kind) => format!("with an explicit deny in a {kind}"),
            Reason::NoAllow(kind) => format!("because no {kind} allows the {action} action"),
            Reason::OtherAccount => format!("because no resource-based policy allows the {action} action"),
        }
    }
}

impl<'a> Evidence<'a> {
    fn denied_by(&self, request: &Request<'_>) -> Option<Kind> {
        let layers = [self.identity_policies, self.boundary.as_slice(), self.session_policies];
        let bounded = self.boundary.is_some();
        let mut policies = self.resource_policy.iter().chain(layers.into_iter().flatten());
        policies.find(|policy| policy.denies(request, bounded)).map(|policy| policy.kind())
    }

    fn without_resource_policy(&self, request: &Request<'_>) -> Result<By<'a>, Reason> {
        if *request.subject.account != *request.owner {
            return Err(Reason::OtherAccount);
        }
        self.own_policies_allow(request)?;
        Ok(if request.subject.who == Who::Root { By::RootUser } else { By::IdentityPolicy })
    }

    fn within_account(&self, request: &Request<'_>, policy: &Policy) -> Result<By<'a>, Reason> {
        let named = policy.allows(request);
        if named == Some(How::Directly) {
            return Ok(By::ResourcePolicy);
        }
        if let Some(id) = (self.grants)(Grantee::Itself) {
            return Ok(By::Grant(id));
        }
        if named == Some(How::ByRole) {
            return self.limits_allow(request).map(|()| By::ResourcePolicy);
        }
        if let Some(id) = self.grant_to_role(request) {
            return self.limits_allow(request).map(|()| By::Grant(id));
        }
        if named == Some(How::ByAccount) {
            return self.own_policies_allow(request).map(|()| By::IdentityPolicy);
        }
        match self.grant_to_account(request) {
            Some(id) => self.own_policies_allow(request).map(|()| By::Grant(id)),
            None => Err(Reason::NoAllow(policy.kind())),
        }
    }

    fn across_accounts(&self, request: &Request<'_>, policy: &Policy) -> Result<By<'a>, Reason> {
        let grant = || {
            let to_itself = (self.grants)(Grantee::Itself);
            to_itself.or_else(|| self.grant_to_role(request)).or_else(|| self.grant_to_account(request))
        };
        let by = match policy.allows(request) {
            Some(_) => Some(By::ResourcePolicy),
            None => grant().map(By::Grant),
        };
        let by = by.ok_or(Reason::NoAllow(policy.kind()))?;
        self.own_policies_allow(request).map(|()| by)
    }

    /// What the subject's own account says. Its root user is under no policy.
    fn own_policies_allow(&self, request: &Request<'_>) -> Result<(), Reason> {
        if request.subject.who == Who::Root {
            return Ok(());
        }
        if !any_allows(self.identity_policies, request) {
            return Err(Reason::NoAllow(Kind::IdentityPolicy));
        }
        self.limits_allow(request)
    }

    fn limits_allow(&self, request: &Request<'_>) -> Result<(), Reason> {
        if self.boundary.is_some_and(|boundary| boundary.allows(request).is_none()) {
            return Err(Reason::NoAllow(Kind::Boundary));
        }
        if !self.session_policies.is_empty() && !any_allows(self.session_policies, request) {
            return Err(Reason::NoAllow(Kind::SessionPolicy));
        }
        Ok(())
    }

    fn grant_to_role(&self, request: &Request<'_>) -> Option<&'a str> {
        let is_session = matches!(request.subject.who, Who::Session { .. });
        if is_session { (self.grants)(Grantee::Role) } else { None }
    }

    fn grant_to_account(&self, request: &Request<'_>) -> Option<&'a str> {
        if request.subject.who == Who::Root { None } else { (self.grants)(Grantee::Account) }
    }
}

fn any_allows(policies: &[&Policy], request: &Request<'_>) -> bool {
    policies.iter().any(|policy| policy.allows(request).is_some())
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::ResourcePolicy => f.write_str("resource policy"),
            By::IdentityPolicy => f.write_str("identity policy"),
            By::Grant(id) => write!(f, "grant {id}"),
            By::RootUser => f.write_str("root user"),
        }
    }
}
