//! The records of who there is: accounts, users, roles, and the policies that they share.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Record;
use crate::model::{AccountId, Arn, FriendlyName, IamPath, Timestamp};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRecord {
    /// Its id.
    pub account: AccountId,
    /// When it was created.
    pub created: Timestamp,
}

/// Whether a principal is a user or a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrincipalKind {
    /// A user, who has access keys.
    User,
    /// A role, which is assumed.
    Role,
}

/// A user or a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalRecord {
    /// Whose it is.
    pub account: AccountId,
    /// What it is.
    pub kind: PrincipalKind,
    /// The path in its ARN.
    pub path: IamPath,
    /// Its name, unique among those of its kind in the account whatever the case.
    pub name: FriendlyName,
    /// `AIDA…` or `AROA…`: never given to another one, so that one of the same name is not the same.
    pub unique_id: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its own policies by name, the JSON texts as they were given.
    pub inline_policies: BTreeMap<FriendlyName, String>,
    /// The names of the account's policies that are attached.
    pub attached_policies: BTreeSet<FriendlyName>,
    /// The name of the account's policy that bounds it.
    pub permissions_boundary: Option<FriendlyName>,
    /// What only a role has.
    pub role: Option<RoleDetails>,
    /// Sessions that were issued at this time or before have ended.
    pub sessions_revoked_before: Option<Timestamp>,
}

/// What only a role has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleDetails {
    /// Who may assume it, the JSON text as it was given.
    pub trust_policy: String,
    /// The unique ids of the users and roles that the trust policy named when it was written, by ARN.
    pub trusted: BTreeMap<String, String>,
    /// The longest session, in seconds: 3,600 to 43,200.
    pub max_session_seconds: u32,
    /// Free text.
    pub description: String,
}

/// A policy that users and roles of an account share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    /// Whose it is.
    pub account: AccountId,
    /// The path in its ARN.
    pub path: IamPath,
    /// Its name, unique in the account whatever the case.
    pub name: FriendlyName,
    /// The JSON text as it was given.
    pub document: String,
    /// When it was created.
    pub created: Timestamp,
    /// When its document was last set.
    pub updated: Timestamp,
}

impl PrincipalKind {
    /// As in ARNs.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::User => "user",
            PrincipalKind::Role => "role",
        }
    }
}

impl PrincipalRecord {
    /// `arn:aws:iam::<account>:user/<path><name>`, or `role/`.
    pub fn arn(&self) -> Arn {
        iam_arn(&self.account, self.kind.as_str(), &self.path, &self.name)
    }
}

impl PolicyRecord {
    /// `arn:aws:iam::<account>:policy/<path><name>`.
    pub fn arn(&self) -> Arn {
        iam_arn(&self.account, "policy", &self.path, &self.name)
    }
}

impl Record for AccountRecord {
    const TABLE: &'static str = "accounts";

    fn primary_key(&self) -> String {
        self.account.to_string()
    }
}

impl Record for PrincipalRecord {
    const TABLE: &'static str = "principals";

    fn primary_key(&self) -> String {
        principal_row(&self.account, self.kind, &self.name)
    }
}

impl Record for PolicyRecord {
    const TABLE: &'static str = "policies";

    fn primary_key(&self) -> String {
        policy_row(&self.account, &self.name)
    }
}

/// The primary key of a [`PrincipalRecord`].
pub(super) fn principal_row(account: &AccountId, kind: PrincipalKind, name: &FriendlyName) -> String {
    principals_of(account, kind) + &name.folded()
}

/// How the primary keys of an account's users or roles begin.
pub(super) fn principals_of(account: &AccountId, kind: PrincipalKind) -> String {
    format!("{account}/{}/", kind.as_str())
}

/// The primary key of a [`PolicyRecord`].
pub(super) fn policy_row(account: &AccountId, name: &FriendlyName) -> String {
    format!("{account}/{}", name.folded())
}

fn iam_arn(account: &AccountId, kind: &str, path: &IamPath, name: &FriendlyName) -> Arn {
    let resource = format!("{kind}{path}{name}");
    Arn { service: "iam".into(), region: String::new(), account: account.clone(), resource }
}
