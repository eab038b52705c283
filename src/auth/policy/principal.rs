//! Whom a statement is about.

use std::collections::BTreeMap;

use super::document::{Malformed, known_names, malformed, texts};
use super::request::{Subject, Who};
use crate::model::{AccountId, Arn, Document};

/// A principal as a policy names it.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// `*`: everyone, in every account.
    Everyone,
    /// An account, by its id or its root user's ARN.
    Account(AccountId),
    /// A user, a role with all its sessions, or one session, by its whole ARN.
    Arn(Box<str>),
    /// The same, bound to the one who had the ARN when the policy was written.
    Bound {
        /// The ARN.
        arn: Box<str>,
        /// The unique id of the user or role, which another one of the same name does not have.
        unique_id: Box<str>,
    },
    /// An AWS service, which is never the caller here.
    Service(Box<str>),
    /// An identity provider, which is never the caller here.
    Federated(Box<str>),
}

/// How a statement names the subject, the weakest first.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// By its account, which leaves it to the account's own policies.
    ByAccount,
    /// By the role that it is a session of: within the role's boundary and the session's policies.
    ByRole,
    /// By itself or by `*`: allowed, whatever its own policies leave out.
    Directly,
}

/// The principals of a statement.
pub(super) enum Principals {
    These(Box<[Principal]>),
    AllBut(Box<[Principal]>),
}

impl Principals {
    pub(super) fn read(named: &Document<'_>) -> Result<Self, Malformed> {
        read_all(named).map(Principals::These)
    }

    pub(super) fn read_all_but(named: &Document<'_>) -> Result<Self, Malformed> {
        read_all(named).map(Principals::AllBut)
    }

    pub(super) fn named(&self) -> &[Principal] {
        match self {
            Principals::These(named) | Principals::AllBut(named) => named,
        }
    }

    pub(super) fn bind(&mut self, unique_ids: &BTreeMap<String, String>) {
        let (Principals::These(named) | Principals::AllBut(named)) = self;
        for principal in named {
            if let Principal::Arn(arn) = principal
                && let Some(unique_id) = unique_ids.get(&**arn)
            {
                *principal = Principal::Bound { arn: arn.clone(), unique_id: unique_id.as_str().into() };
            }
        }
    }

    /// How an Allow names the subject. No Allow has a NotPrincipal.
    pub(super) fn how_named(&self, subject: &Subject<'_>) -> Option<How> {
        match self {
            Principals::These(named) => named.iter().filter_map(|principal| principal.how_names(subject)).max(),
            Principals::AllBut(_) => None,
        }
    }

    /// Whether a Deny is about the subject: it is by any of its names, and is left out only by all of them.
    ///
    /// To be left out, a user needs itself and its account in the list, a session its role and its account; a
    /// principal with a permissions boundary (`bounded`) is never left out.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>
    pub(super) fn covers(&self, subject: &Subject<'_>, bounded: bool) -> bool {
        match self {
            Principals::These(named) => named.iter().any(|principal| principal.how_names(subject).is_some()),
            Principals::AllBut(named) if named.contains(&Principal::Everyone) => false,
            Principals::AllBut(named) => {
                let lists = |arn: &str| named.iter().any(|principal| principal.is(arn, subject));
                let account = named.iter().any(|principal| principal.is_account(subject.account));
                let itself = match subject.who {
                    Who::Root => true,
                    Who::User { .. } => lists(subject.arn),
                    Who::Session { role_arn } => lists(role_arn),
                };
                bounded || !(account && itself)
            }
        }
    }
}

impl Principal {
    /// Reads a name under `AWS`: `*`, an account id, or the ARN of a root user, user, role or session; without
    /// wildcards.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "*" {
            return Some(Principal::Everyone);
        }
        if let Ok(account) = name.parse() {
            return Some(Principal::Account(account));
        }
        let arn: Arn = name.parse().ok()?;
        let (kind, rest) = arn.resource.split_once('/').unwrap_or((&arn.resource, ""));
        let plain = !name.contains(['*', '?', '$', ' ']) && !rest.contains(':');
        let named = plain && !rest.is_empty() && !rest.starts_with('/') && !rest.ends_with('/');
        match (arn.service.as_str(), arn.region.as_str(), kind) {
            ("iam", "", "root") if arn.resource == "root" => Some(Principal::Account(arn.account)),
            ("iam", "", "user" | "role") if named => Some(Principal::Arn(name.into())),
            ("sts", "", "assumed-role") if named && rest.matches('/').count() == 1 => Some(Principal::Arn(name.into())),
            ("sts", "", "federated-user") if named => Some(Principal::Arn(name.into())),
            _ => None,
        }
    }

    fn how_names(&self, subject: &Subject<'_>) -> Option<How> {
        match (self, subject.who) {
            (Principal::Everyone, _) => Some(How::Directly),
            (Principal::Account(account), who) if account == subject.account => {
                Some(if who == Who::Root { How::Directly } else { How::ByAccount })
            }
            (principal, _) if principal.is(subject.arn, subject) => Some(How::Directly),
            (principal, Who::Session { role_arn }) if principal.is(role_arn, subject) => Some(How::ByRole),
            _ => None,
        }
    }

    /// Whether this is `arn`, which is one of the subject's own.
    fn is(&self, arn: &str, subject: &Subject<'_>) -> bool {
        match self {
            Principal::Arn(named) => **named == *arn,
            Principal::Bound { arn: named, unique_id } => **named == *arn && **unique_id == *subject.unique_id(),
            _ => false,
        }
    }

    fn is_account(&self, account: &AccountId) -> bool {
        matches!(self, Principal::Account(named) if named == account)
    }
}

fn read_all(named: &Document<'_>) -> Result<Box<[Principal]>, Malformed> {
    if *named == Document::String("*".into()) {
        return Ok(Box::new([Principal::Everyone]));
    }
    let Document::Map(kinds) = named else { return Err(malformed("a Principal is \"*\" or an object")) };
    known_names(named, &["AWS", "Service", "Federated"])?;
    let mut principals = Vec::new();
    for (kind, names) in kinds {
        for name in texts(names, "Principal")? {
            let read = read_one(kind, name);
            principals.push(read.ok_or_else(|| malformed(format!("`{name}` is not a principal under {kind}")))?);
        }
    }
    if principals.is_empty() {
        return Err(malformed("a Principal names nobody"));
    }
    Ok(principals.into())
}

fn read_one(kind: &str, name: &str) -> Option<Principal> {
    let plain = !name.is_empty() && !name.contains(['*', '?', '$', ' ']);
    match kind {
        "AWS" => Principal::parse(name),
        "Service" if plain && name.contains('.') => Some(Principal::Service(name.into())),
        "Federated" if plain => Some(Principal::Federated(name.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_a_principal() {
        let account = Some(Principal::Account("111122223333".parse().unwrap()));
        assert_eq!(Principal::parse("*"), Some(Principal::Everyone));
        assert_eq!(Principal::parse("111122223333"), account);
        assert_eq!(Principal::parse("arn:aws:iam::111122223333:root"), account);
        for arn in [
            "arn:aws:iam::111122223333:user/alice",
            "arn:aws:iam::111122223333:user/path/to/alice",
            "arn:aws:iam::111122223333:role/service-role/R",
            "arn:aws:sts::111122223333:assumed-role/R/session",
            "arn:aws:sts::111122223333:federated-user/bob",
        ] {
            assert_eq!(Principal::parse(arn), Some(Principal::Arn(arn.into())));
        }
    }

    #[test]
    fn refuses_what_names_nobody_or_too_many() {
        for bad in [
            "",
            "alice",
            "11112222333",
            "**",
            "arn:aws:iam::*:root",
            "arn:aws:iam::111122223333:*",
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam::111122223333:user/al?ce",
            "arn:aws:iam::111122223333:user/${aws:username}",
            "arn:aws:iam::111122223333:user/",
            "arn:aws:iam::111122223333:user",
            "arn:aws:iam::111122223333:root/x",
            "arn:aws:iam::111122223333:group/g",
            "arn:aws:iam:us-east-1:111122223333:user/alice",
            "arn:aws:sts::111122223333:assumed-role/R",
            "arn:aws:sts::111122223333:assumed-role/R/s/t",
            "arn:aws:sts::111122223333:user/alice",
            "arn:aws:kms::111122223333:user/alice",
            "AIDACKCEVSQ6C2EXAMPLE",
        ] {
            assert_eq!(Principal::parse(bad), None, "{bad}");
        }
    }
}
