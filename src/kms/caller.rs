//! Who asks: what the store says of the principal of an access key.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::{Error, Kms};
use crate::auth::policy::{Kind, Malformed, Policy, Principal};
use crate::auth::{Caller, Identity, Permissions};
use crate::crypto::PublicKey;
use crate::model::{AccountId, Arn, FriendlyName, Region, Secret, Timestamp};
use crate::store::{AccessKeyRecord, AccessKeyUsage, KeyRecord, PolicyRecord, PrincipalKind, PrincipalRecord, Row};

/// A caller, and the secret that his signature must have been made with.
pub struct Signer {
    /// Who it is, if the signature holds.
    pub caller: Caller,
    /// The secret access key.
    pub secret: Secret,
}

/// Nobody signs with this access key, or with this one and this session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSigner {
    /// It is not known, not active, of another token, or of somebody who is no more.
    Unknown,
    /// The session has ended.
    Expired,
}

/// The policies in a principal's own record, compiled.
pub(super) struct OwnPolicies {
    inline: Vec<Arc<Policy>>,
    /// The trust policy of a role.
    pub trust: Option<Policy>,
}

/// A policy that principals share, compiled for each of its uses.
struct SharedPolicy {
    identity: Arc<Policy>,
    boundary: Arc<Policy>,
    session: Arc<Policy>,
}

impl Kms {
    /// Whose access key this is, as the store says now: a long-term one, or with a session token a temporary one.
    pub fn signer(&self, access_key_id: &str, session_token: Option<&[u8]>) -> Result<Result<Signer, NoSigner>, Error> {
        match session_token {
            None => Ok(self.long_term_signer(access_key_id)?.ok_or(NoSigner::Unknown)),
            Some(token) => self.session_signer(access_key_id, token),
        }
    }

    /// Whose long-term access key this is; none if nobody's, or if it is not active.
    fn long_term_signer(&self, access_key_id: &str) -> Result<Option<Signer>, Error> {
        let found = self.store.access_key(access_key_id).filter(|key| key.record.active);
        let Some(key) = found else { return Ok(None) };
        let Some(caller) = self.holder(&key.record)? else { return Ok(None) };
        Ok(Some(Signer { caller, secret: Secret::new(key.record.secret.as_bytes().to_vec()) }))
    }

    fn holder(&self, key: &AccessKeyRecord) -> Result<Option<Caller>, Error> {
        if key.user_id == key.account.as_str() {
            return Ok(Some(root_user(&key.account, &key.access_key_id)));
        }
        let user = self.store.principal_by_id(&key.user_id);
        user.map(|user| self.user(&user, &key.access_key_id)).transpose()
    }

    /// A user who signs with this access key.
    pub(super) fn user(&self, user: &Row<PrincipalRecord>, access_key_id: &str) -> Result<Caller, Error> {
        Ok(Caller {
            account: user.record.account.clone(),
            arn: user.record.arn().to_string(),
            user_id: user.record.unique_id.clone(),
            access_key_id: access_key_id.to_owned(),
            identity: Identity::User { name: user.record.name.to_string() },
            tags: Arc::new(user.record.tags.clone()),
            permissions: self.permissions(user)?,
            session: None,
        })
    }

    /// What a user's or role's own policies say.
    pub(super) fn permissions(&self, principal: &Row<PrincipalRecord>) -> Result<Permissions, Error> {
        let mut identity_policies = own_policies(principal)?.inline.clone();
        let account = &principal.record.account;
        for name in &principal.record.attached_policies {
            identity_policies.push(self.shared_policy(account, name)?.identity.clone());
        }
        let boundary = principal.record.permissions_boundary.as_ref();
        let boundary = boundary.map(|name| self.shared_policy(account, name)).transpose()?;
        let boundary = boundary.map(|policy| policy.boundary.clone());
        Ok(Permissions { identity_policies, boundary, session_policies: Vec::new() })
    }

    /// The unique ids of the users and roles that a policy names, by ARN; none if one of its principals does not exist.
    pub fn unique_ids(&self, policy: &Policy) -> Option<BTreeMap<String, String>> {
        let mut unique_ids = BTreeMap::new();
        for principal in policy.principals() {
            match principal {
                Principal::Everyone | Principal::Service(_) | Principal::Federated(_) => {}
                Principal::Account(account) => drop(self.store.account(account)?),
                Principal::Arn(arn) | Principal::Bound { arn, .. } => {
                    let found = self.principal_of(arn)?.record.unique_id.clone();
                    unique_ids.insert(arn.to_string(), found);
                }
            }
        }
        Some(unique_ids)
    }

    /// Whether there is the account, user or role that a policy names.
    pub fn has_principal(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Everyone | Principal::Service(_) | Principal::Federated(_) => true,
            Principal::Account(account) => self.store.account(account).is_some(),
            Principal::Arn(arn) | Principal::Bound { arn, .. } => self.principal_of(arn).is_some(),
        }
    }

    /// Notes that a long-term access key was used, for GetAccessKeyLastUsed.
    pub fn note_access_key(&self, caller: &Caller, service: &str, region: &Region) {
        if caller.session.is_none() {
            let usage = AccessKeyUsage { at: self.now(), service: service.to_owned(), region: region.clone() };
            self.store.note_access_key_usage(&caller.access_key_id, usage);
        }
    }

    /// The user or role with this ARN, or the role of a session with this ARN.
    pub fn principal_of(&self, arn: &str) -> Option<Arc<Row<PrincipalRecord>>> {
        let Arn { service, account, resource, .. } = arn.parse::<Arn>().ok()?;
        let (kind, rest) = resource.split_once('/')?;
        let (kind, name) = match (service.as_str(), kind) {
            ("iam", "user") => (PrincipalKind::User, rest.rsplit('/').next()?),
            ("iam", "role") => (PrincipalKind::Role, rest.rsplit('/').next()?),
            ("sts", "assumed-role") => (PrincipalKind::Role, rest.split('/').next()?),
            _ => return None,
        };
        let found = self.store.principal(&account, kind, &name.parse().ok()?)?;
        // The whole ARN must be right, path and case too; a session's has its role's name without the path.
        let right = match service.as_str() {
            "sts" => found.record.name.as_str() == name,
            _ => found.record.arn().to_string() == arn,
        };
        right.then_some(found)
    }

    /// A policy of an account as the session policy that it was at `issued`; none if it is gone, though there be another
    /// one of its name.
    pub(super) fn shared_session_policy(
        &self,
        account: &AccountId,
        name: &FriendlyName,
        issued: Timestamp,
    ) -> Result<Option<Arc<Policy>>, Error> {
        let row = self.store.policy(account, name).filter(|row| row.record.created <= issued);
        row.map(|row| compiled(&row).map(|policy| policy.session.clone())).transpose()
    }

    fn shared_policy(&self, account: &AccountId, name: &FriendlyName) -> Result<Arc<SharedPolicy>, Error> {
        // Attached policies cannot be deleted: without one that might deny, nothing can be decided.
        let row = self.store.policy(account, name);
        let row = row.ok_or_else(|| Error::Internal(format!("the policy {account}/{name} is attached and missing")))?;
        compiled(&row)
    }
}

/// A policy that principals share, compiled when it was written.
fn compiled(row: &Row<PolicyRecord>) -> Result<Arc<SharedPolicy>, Error> {
    let compile = |record: &PolicyRecord| {
        let parse = |kind| Policy::parse(&record.document, kind).map(Arc::new);
        let (identity, boundary) = (parse(Kind::IdentityPolicy)?, parse(Kind::Boundary)?);
        Ok(Arc::new(SharedPolicy { identity, boundary, session: parse(Kind::SessionPolicy)? }))
    };
    whole(row.derived::<Compiled<Arc<SharedPolicy>>>(compile), row.record.arn())
}

/// The policies in a principal's record, compiled when it was written.
pub(super) fn own_policies(row: &Row<PrincipalRecord>) -> Result<Arc<OwnPolicies>, Error> {
    let compile = |record: &PrincipalRecord| {
        let inline = record.inline_policies.values();
        let inline = inline.map(|text| Policy::parse(text, Kind::IdentityPolicy).map(Arc::new));
        let trust = record.role.as_ref().map(|role| {
            let policy = Policy::parse(&role.trust_policy, Kind::TrustPolicy)?;
            Ok(policy.bound(&role.trusted))
        });
        Ok(Arc::new(OwnPolicies { inline: inline.collect::<Result<_, _>>()?, trust: trust.transpose()? }))
    };
    whole(row.derived::<Compiled<Arc<OwnPolicies>>>(compile), row.record.arn())
}

/// What follows from the record of a key, each when it is first asked for.
#[derive(Default)]
pub(super) struct OfKey {
    policy: OnceLock<Arc<Compiled<Arc<Policy>>>>,
    /// The public half of an asymmetric key.
    pub public_key: OnceLock<Option<Arc<PublicKey>>>,
}

impl OfKey {
    /// Of this revision of the record.
    pub fn of(row: &Row<KeyRecord>) -> Arc<Self> {
        row.derived(|_| OfKey::default())
    }
}

/// The key policy, compiled when it is first asked for.
pub(super) fn key_policy(row: &Row<KeyRecord>) -> Result<Arc<Policy>, Error> {
    let compile = || {
        let policy = Policy::parse(&row.record.policy, Kind::KeyPolicy);
        Arc::new(policy.map(|policy| Arc::new(policy.bound(&row.record.policy_principals))))
    };
    let compiled = OfKey::of(row).policy.get_or_init(compile).clone();
    if compiled.is_ok() { whole(compiled, "") } else { whole(compiled, super::arn_of(&row.record)) }
}

pub(super) fn root_user(account: &AccountId, access_key_id: &str) -> Caller {
    Caller {
        account: account.clone(),
        arn: Arn::root_user(account).to_string(),
        user_id: account.to_string(),
        access_key_id: access_key_id.to_owned(),
        identity: Identity::Root,
        tags: Arc::new(BTreeMap::new()),
        permissions: Permissions::default(),
        session: None,
    }
}

type Compiled<T> = Result<T, Malformed>;

/// Only policies that compile are written; one that an older version took and this one does not is no reason to guess.
fn whole<T: Clone>(compiled: Arc<Compiled<T>>, of: impl std::fmt::Display) -> Result<T, Error> {
    match compiled.as_ref() {
        Ok(policies) => Ok(policies.clone()),
        Err(error) => Err(Error::Internal(format!("a policy of {of}: {error}"))),
    }
}
