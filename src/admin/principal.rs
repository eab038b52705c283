//! What users and roles have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::rules::{self, Tag, Text};
use super::{Context, Error, Nothing, Plan, policy};
use crate::auth::policy::Kind;
use crate::kms::new_unique_id;
use crate::model::{FriendlyName, IamPath};
use crate::store::{Change, PrincipalKind, PrincipalRecord, RoleDetails, Row};

/// What a new user or role is made of.
pub struct New {
    /// What it is.
    pub kind: PrincipalKind,
    /// Its name.
    pub name: FriendlyName,
    /// The path in its ARN.
    pub path: Option<IamPath>,
    /// Its tags.
    pub tags: Option<Vec<Tag>>,
    /// The ARN of the policy that bounds it.
    pub permissions_boundary: Option<String>,
    /// What only a role has.
    pub role: Option<RoleDetails>,
}

/// A permissions boundary, as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Boundary {
    permissions_boundary_type: &'static str,
    permissions_boundary_arn: String,
}

/// A policy of a user's or role's own.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InlinePolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_name: Option<String>,
    policy_name: String,
    policy_document: Text,
}

/// The names of all policies of a user's or role's own.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InlinePolicies {
    policy_names: Vec<String>,
}

/// The policies that a user or role shares with others.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedPolicies {
    attached_policies: Vec<AttachedPolicy>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedPolicy {
    policy_name: String,
    policy_arn: String,
}

/// The change that creates a user or role, and the record.
pub fn create(cx: &Context<'_>, new: New) -> Result<(Change, PrincipalRecord), Error> {
    if cx.store().principal(&cx.account, new.kind, &new.name).is_some() {
        let text = format!("{} with name {} already exists.", capital(new.kind), new.name);
        return Err(Error::EntityAlreadyExists(text));
    }
    let mut change = cx.change();
    let boundary = new.permissions_boundary.map(|arn| policy::attachable(cx, &arn)).transpose()?;
    if let Some(policy) = &boundary {
        // Whoever deletes it meanwhile has to decide again.
        change = change.touch(policy);
    }
    let record = PrincipalRecord {
        account: cx.account.clone(),
        kind: new.kind,
        path: new.path.unwrap_or_default(),
        name: new.name,
        unique_id: new_unique_id(if new.kind == PrincipalKind::User { "AIDA" } else { "AROA" })?,
        created: cx.now,
        tags: rules::tagged(BTreeMap::new(), &new.tags.unwrap_or_default())?,
        inline_policies: BTreeMap::new(),
        attached_policies: Default::default(),
        permissions_boundary: boundary.map(|policy| policy.record.name.clone()),
        role: new.role,
        sessions_revoked_before: None,
    };
    Ok((change.insert(record.clone()), record))
}

/// The user or role of this name.
pub fn find(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName) -> Result<Arc<Row<PrincipalRecord>>, Error> {
    let missing = || Error::NoSuchEntity(format!("The {} with name {name} cannot be found.", kind.as_str()));
    cx.store().principal(&cx.account, kind, name).ok_or_else(missing)
}

/// All users or roles of the account whose path begins with `prefix`, by name.
pub fn list<T>(
    cx: &Context<'_>,
    kind: PrincipalKind,
    prefix: Option<&str>,
    view: impl Fn(&Context<'_>, &PrincipalRecord) -> T,
) -> Vec<T> {
    let rows = cx.store().principals_of(&cx.account, kind);
    let wanted = rows.iter().filter(|row| row.record.path.as_str().starts_with(prefix.unwrap_or_default()));
    wanted.map(|row| view(cx, &row.record)).collect()
}

/// Deletes a user or role on which nothing hangs any more.
pub fn delete(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName) -> Result<Plan<Nothing>, Error> {
    let row = find(cx, kind, name)?;
    let conflict = |what: &str| Err(Error::DeleteConflict(format!("Cannot delete entity, must {what} first.")));
    if !cx.store().access_keys_of(&row.record.unique_id).is_empty() {
        return conflict("delete access keys");
    }
    if !row.record.attached_policies.is_empty() {
        return conflict("detach all policies");
    }
    if !row.record.inline_policies.is_empty() {
        return conflict("delete policies");
    }
    Ok(Plan::silent(cx.change().delete(&row)))
}

/// Changes a user's or role's record and nothing else.
pub fn update(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
    change: impl FnOnce(&mut PrincipalRecord) -> Result<(), Error>,
) -> Result<Plan<Nothing>, Error> {
    let row = find(cx, kind, name)?;
    let mut record = row.record.clone();
    change(&mut record)?;
    Ok(Plan::silent(cx.change().update(&row, record)))
}

/// Adds tags over those with the same keys.
pub fn tag(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName, tags: &[Tag]) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        record.tags = rules::tagged(std::mem::take(&mut record.tags), tags)?;
        Ok(())
    })
}

/// Removes tags; keys that are not there are passed over.
pub fn untag(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
    keys: &[String],
) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        record.tags = rules::untagged(std::mem::take(&mut record.tags), keys);
        Ok(())
    })
}

/// Ends all sessions that were issued until now, those of this millisecond too.
pub fn revoke_sessions(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        record.sessions_revoked_before = Some(cx.now);
        Ok(())
    })
}

/// Puts a policy of its own into a user or role, in the place of one of the same name.
pub fn put_policy(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
    (policy, document): (FriendlyName, String),
) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        rules::parsed(&document, Kind::IdentityPolicy)?;
        record.inline_policies.insert(policy, document);
        let limit = if kind == PrincipalKind::User { MAX_INLINE_USER } else { MAX_INLINE_ROLE };
        if record.inline_policies.values().map(|text| rules::size(text)).sum::<usize>() <= limit {
            return Ok(());
        }
        let text = format!("Maximum policy size of {limit} bytes exceeded for {} {}", kind.as_str(), record.name);
        Err(Error::LimitExceeded(text))
    })
}

/// A policy of a user's or role's own.
pub fn get_policy(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
    policy: &FriendlyName,
) -> Result<Plan<InlinePolicy>, Error> {
    let row = find(cx, kind, name)?;
    let document = row.record.inline_policies.get(policy).ok_or_else(|| no_such_policy(kind, policy))?;
    let named = |wanted| (kind == wanted).then(|| row.record.name.to_string());
    Ok(Plan::read(InlinePolicy {
        user_name: named(PrincipalKind::User),
        role_name: named(PrincipalKind::Role),
        policy_name: policy.to_string(),
        policy_document: Text(document.clone()),
    }))
}

/// Deletes a policy of a user's or role's own.
pub fn delete_policy(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
    policy: &FriendlyName,
) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        record.inline_policies.remove(policy).map(drop).ok_or_else(|| no_such_policy(kind, policy))
    })
}

/// The names of all policies of a user's or role's own.
pub fn list_policies(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
) -> Result<Plan<InlinePolicies>, Error> {
    let row = find(cx, kind, name)?;
    let policy_names = row.record.inline_policies.keys().map(FriendlyName::to_string).collect();
    Ok(Plan::read(InlinePolicies { policy_names }))
}

/// Attaches a shared policy; one that is attached stays so.
pub fn attach(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName, arn: &str) -> Result<Plan<Nothing>, Error> {
    let row = find(cx, kind, name)?;
    let policy = policy::attachable(cx, arn)?;
    let mut record = row.record.clone();
    record.attached_policies.insert(policy.record.name.clone());
    if record.attached_policies.len() > MAX_ATTACHED {
        return Err(rules::quota(&format!("PoliciesPer{}", capital(kind)), MAX_ATTACHED));
    }
    // Whoever deletes the policy meanwhile has to decide again.
    Ok(Plan::silent(cx.change().update(&row, record).touch(&policy)))
}

/// Detaches a shared policy.
pub fn detach(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName, arn: &str) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        let policy = policy::find(cx, arn)?;
        let was_attached = record.attached_policies.remove(&policy.record.name);
        was_attached.then_some(()).ok_or_else(|| Error::NoSuchEntity(format!("Policy {arn} was not found.")))
    })
}

/// The shared policies that are attached.
pub fn list_attached(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
) -> Result<Plan<AttachedPolicies>, Error> {
    let row = find(cx, kind, name)?;
    let attached = row.record.attached_policies.iter().filter_map(|name| cx.store().policy(&cx.account, name));
    let attached = attached.map(|policy| AttachedPolicy {
        policy_name: policy.record.name.to_string(),
        policy_arn: policy.record.arn().to_string(),
    });
    Ok(Plan::read(AttachedPolicies { attached_policies: attached.collect() }))
}

/// Bounds a user or role by a shared policy.
pub fn put_boundary(
    cx: &Context<'_>,
    kind: PrincipalKind,
    name: &FriendlyName,
    arn: &str,
) -> Result<Plan<Nothing>, Error> {
    let row = find(cx, kind, name)?;
    let policy = policy::attachable(cx, arn)?;
    let mut record = row.record.clone();
    record.permissions_boundary = Some(policy.record.name.clone());
    // Whoever deletes the policy meanwhile has to decide again.
    Ok(Plan::silent(cx.change().update(&row, record).touch(&policy)))
}

/// Takes the boundary from a user or role.
pub fn delete_boundary(cx: &Context<'_>, kind: PrincipalKind, name: &FriendlyName) -> Result<Plan<Nothing>, Error> {
    update(cx, kind, name, |record| {
        let missing = || format!("The {} with name {name} has no permissions boundary.", kind.as_str());
        record.permissions_boundary.take().map(drop).ok_or_else(|| Error::NoSuchEntity(missing()))
    })
}

/// The boundary of a user or role, as answers have it.
pub fn boundary(cx: &Context<'_>, record: &PrincipalRecord) -> Option<Boundary> {
    let policy = cx.store().policy(&cx.account, record.permissions_boundary.as_ref()?)?;
    Some(Boundary { permissions_boundary_type: "Policy", permissions_boundary_arn: policy.record.arn().to_string() })
}

fn no_such_policy(kind: PrincipalKind, policy: &FriendlyName) -> Error {
    Error::NoSuchEntity(format!("The {} policy with name {policy} cannot be found.", kind.as_str()))
}

fn capital(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Role => "Role",
    }
}

/// Characters of all of a user's own policies, and of a role's.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MAX_INLINE_USER: usize = 2_048;
const MAX_INLINE_ROLE: usize = 10_240;
/// Shared policies of a user or role, from the same page.
const MAX_ATTACHED: usize = 10;
