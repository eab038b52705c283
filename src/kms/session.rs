//! Who asks with temporary credentials: what the token says, held against what the store says now.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::caller::{NoSigner, Signer, root_user};
use super::{Error, Kms};
use crate::auth::policy::{Kind, Policy};
use crate::auth::session::{Content, Credentials, Holder, Opened, Tokens, TooLong};
use crate::auth::{Caller, Identity, Session};
use crate::crypto;
use crate::model::{Arn, Secret, Timestamp, folded};
use crate::store::{PrincipalKind, PrincipalRecord, Row};

/// Issues session tokens, and keeps what is behind those that were shown, so that a policy is compiled once.
pub struct Sessions {
    tokens: Tokens,
    shown: RwLock<HashMap<[u8; 32], Arc<Shown>>>,
}

/// A token that was opened.
struct Shown {
    opened: Opened,
    policy: Option<Arc<Policy>>,
    session: Arc<Session>,
}

impl Sessions {
    /// How many opened tokens are kept.
    pub const CAPACITY: usize = 4096;

    /// Sessions whose tokens are sealed under a key that follows from `root`.
    pub fn new(root: Secret) -> Self {
        Sessions { tokens: Tokens::new(root), shown: RwLock::default() }
    }

    /// What is behind a token; none if it was not issued here.
    fn open(&self, token: &[u8], now: Timestamp) -> Result<Option<Arc<Shown>>, Error> {
        let hash = crypto::sha256(&[token]);
        // No write to the map can stop half-way, so a poisoned lock's map is as good as any.
        let kept = self.shown.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some(shown) = kept {
            return Ok(Some(shown));
        }
        let Ok(opened) = self.tokens.open(token) else { return Ok(None) };
        let shown = Arc::new(Shown::new(opened)?);
        self.keep(hash, &shown, now);
        Ok(Some(shown))
    }

    /// Only what was issued here comes here, and what is over does not stay.
    fn keep(&self, hash: [u8; 32], new: &Arc<Shown>, now: Timestamp) {
        if new.opened.content.expires <= now {
            return;
        }
        let mut kept = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= Self::CAPACITY {
            kept.retain(|_, shown| shown.opened.content.expires > now);
        }
        if kept.len() >= Self::CAPACITY {
            kept.clear();
        }
        kept.insert(hash, new.clone());
    }

    fn forget(&self, token: &[u8]) {
        self.shown.write().unwrap_or_else(PoisonError::into_inner).remove(&crypto::sha256(&[token]));
    }
}

impl Shown {
    fn new(opened: Opened) -> Result<Self, Error> {
        let Content { issued, expires, policy, transitive_tag_keys, source_identity, .. } = &opened.content;
        let session = Session {
            issued: *issued,
            expires: *expires,
            source_identity: source_identity.clone(),
            transitive_tag_keys: transitive_tag_keys.clone(),
        };
        let policy = policy.as_ref().map(|text| Policy::parse(text, Kind::SessionPolicy).map(Arc::new)).transpose();
        // Only policies that compile are sealed into a token.
        let policy = policy.map_err(|error| Error::Internal(format!("a session policy: {error}")))?;
        Ok(Shown { policy, session: Arc::new(session), opened })
    }
}

impl Kms {
    /// Issues the credentials of a session, whose token has at least `min_len` characters.
    pub(super) fn issue(&self, content: &Content, min_len: usize) -> Result<Result<Credentials, TooLong>, Error> {
        Ok(self.sessions.tokens.issue(content, &crypto::random_array()?, min_len))
    }

    /// Whose temporary credentials these are. Revocation, deletion and permissions are what the store says now.
    pub(super) fn session_signer(&self, access_key_id: &str, token: &[u8]) -> Result<Result<Signer, NoSigner>, Error> {
        let now = self.now();
        let shown = self.sessions.open(token, now)?;
        let Some(shown) = shown.filter(|shown| shown.opened.access_key_id == access_key_id) else {
            return Ok(Err(NoSigner::Unknown));
        };
        if shown.opened.content.expires <= now {
            self.sessions.forget(token);
            return Ok(Err(NoSigner::Expired));
        }
        let Some(caller) = self.session_caller(&shown)? else { return Ok(Err(NoSigner::Unknown)) };
        Ok(Ok(Signer { caller, secret: shown.opened.secret_access_key.clone() }))
    }

    fn session_caller(&self, shown: &Shown) -> Result<Option<Caller>, Error> {
        let (content, access_key_id) = (&shown.opened.content, &shown.opened.access_key_id);
        if self.store.account(&content.account).is_none() {
            return Ok(None);
        }
        let caller = match &content.holder {
            Holder::Root => Some(root_user(&content.account, access_key_id)),
            Holder::User(id) => match self.unrevoked(content, PrincipalKind::User, id) {
                Some(user) => Some(self.user(&user, access_key_id)?),
                None => None,
            },
            Holder::Role { id, session } => match self.unrevoked(content, PrincipalKind::Role, id) {
                Some(role) => self.role_session(&role, session, shown)?,
                None => None,
            },
        };
        Ok(caller.map(|caller| Caller { session: Some(shown.session.clone()), ..caller }))
    }

    /// The user or role with this unique id, if its sessions of that time have not been ended.
    fn unrevoked(&self, content: &Content, kind: PrincipalKind, id: &str) -> Option<Arc<Row<PrincipalRecord>>> {
        let found = self.store.principal_by_id(id)?;
        let PrincipalRecord { account, kind: found_kind, sessions_revoked_before, .. } = &found.record;
        let same = *found_kind == kind && *account == content.account;
        let ended = sessions_revoked_before.is_some_and(|before| content.issued <= before);
        (same && !ended).then_some(found)
    }

    /// None if one of the policies given with the session is gone: it might deny.
    fn role_session(&self, role: &Row<PrincipalRecord>, name: &str, shown: &Shown) -> Result<Option<Caller>, Error> {
        let PrincipalRecord { account, unique_id, name: role_name, tags, .. } = &role.record;
        let content = &shown.opened.content;
        let mut permissions = self.permissions(role)?;
        permissions.session_policies.extend(shown.policy.clone());
        for policy in &content.policy_names {
            let Some(policy) = self.shared_session_policy(account, policy, content.issued)? else { return Ok(None) };
            permissions.session_policies.push(policy);
        }
        Ok(Some(Caller {
            account: account.clone(),
            arn: assumed_role_arn(&role.record, name).to_string(),
            user_id: assumed_role_id(unique_id, name),
            access_key_id: shown.opened.access_key_id.clone(),
            identity: Identity::Role { arn: role.record.arn().to_string(), name: role_name.to_string() },
            tags: Arc::new(overlaid(tags, &content.tags)),
            permissions,
            session: None,
        }))
    }
}

/// `arn:aws:sts::<account>:assumed-role/<role>/<session>`, without the role's path.
pub(super) fn assumed_role_arn(role: &PrincipalRecord, session: &str) -> Arn {
    let resource = format!("assumed-role/{}/{session}", role.name);
    Arn { service: "sts".into(), region: String::new(), account: role.account.clone(), resource }
}

/// `AROA…:<session>`
pub(super) fn assumed_role_id(unique_id: &str, session: &str) -> String {
    format!("{unique_id}:{session}")
}

/// Whether two tag keys are the same one to IAM, which does not look at their case.
pub(super) fn same_tag_key(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// The role's tags with those of the session over them.
fn overlaid(role: &BTreeMap<String, String>, session: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let covered = |key: &str| session.keys().any(|over| same_tag_key(over, key));
    let mut tags = session.clone();
    tags.extend(role.iter().filter(|(key, _)| !covered(key)).map(|(key, value)| (key.clone(), value.clone())));
    tags
}
