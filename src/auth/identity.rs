//! Who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::policy::{Policy, Subject, Who};
use crate::model::{AccountId, Timestamp};

/// The principal whose signature a request carries, with what it may do at most.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account that the principal belongs to.
    pub account: AccountId,
    /// The principal's ARN, for example `arn:aws:iam::111122223333:root`; of a role's session
    /// `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
    pub arn: String,
    /// The principal's unique id; the account id for the root user, `AROA…:<session>` for a session.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    pub user_id: String,
    /// The access key that signed.
    pub access_key_id: String,
    /// What kind of principal it is.
    pub identity: Identity,
    /// Its tags, those of its session included.
    pub tags: Arc<BTreeMap<String, String>>,
    /// What its own policies say.
    pub permissions: Permissions,
    /// Its temporary credentials, if it signed with such.
    pub session: Option<Arc<Session>>,
}

/// The kind of a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The root user of its account.
    Root,
    /// A user.
    User {
        /// Its name, without the path.
        name: String,
    },
    /// A session of a role.
    Role {
        /// The role's ARN, with its path.
        arn: String,
        /// The role's name, without the path.
        name: String,
    },
}

/// The policies of a principal, compiled.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// Its own policies, inline and attached.
    pub identity_policies: Vec<Arc<Policy>>,
    /// Its permissions boundary.
    pub boundary: Option<Arc<Policy>>,
    /// The policies given with its session.
    pub session_policies: Vec<Arc<Policy>>,
}

/// What temporary credentials say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// When they were issued.
    pub issued: Timestamp,
    /// When they end.
    pub expires: Timestamp,
    /// Who the person behind the session is, as `sts:SourceIdentity` says and every session of it keeps.
    pub source_identity: Option<String>,
    /// The keys of session tags that sessions of this session keep.
    pub transitive_tag_keys: Vec<String>,
}

impl Caller {
    /// Whether this is the root user of its account.
    pub fn is_root_user(&self) -> bool {
        self.identity == Identity::Root
    }

    /// The unique id of the user or role; the account id for the root user.
    pub fn unique_id(&self) -> &str {
        self.subject().unique_id()
    }

    /// The caller as policies see him.
    pub fn subject(&self) -> Subject<'_> {
        let who = match &self.identity {
            Identity::Root => Who::Root,
            Identity::User { name } => Who::User { name },
            Identity::Role { arn, .. } => Who::Session { role_arn: arn },
        };
        Subject { account: &self.account, arn: &self.arn, user_id: &self.user_id, who, tags: &self.tags }
    }
}
