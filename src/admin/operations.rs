//! The table of operations; a new one is one row here.

use serde_json::Value;
use zeroize::Zeroizing;

use super::{Context, Error, Operation, access_key, account, policy, role, user};
use crate::kms::shape::{self, Member};
use crate::model::Document;
use crate::store::Change;

/// One operation of the table.
pub struct Route {
    /// Its name, for example `CreateUser`.
    pub name: &'static str,
    /// Its request's members and their constraints; each may name its account besides, as `AccountId`.
    pub members: &'static [Member],
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Reads a request and decides.
    pub(super) plan: for<'a> fn(&Context<'a>, &Document<'_>) -> Result<Planned, Error>,
}

/// What was decided, the answer written out.
pub(super) struct Planned {
    pub(super) change: Option<Change>,
    pub(super) output: Zeroizing<Vec<u8>>,
    pub(super) response: Value,
}

/// All operations.
pub const OPERATIONS: &[Route] = &[
    row::<role::AttachRolePolicy>(),
    row::<user::AttachUserPolicy>(),
    row::<access_key::CreateAccessKey>(),
    row::<account::CreateAccount>(),
    row::<policy::CreatePolicy>(),
    row::<role::CreateRole>(),
    row::<user::CreateUser>(),
    row::<access_key::DeleteAccessKey>(),
    row::<policy::DeletePolicy>(),
    row::<role::DeleteRole>(),
    row::<role::DeleteRolePermissionsBoundary>(),
    row::<role::DeleteRolePolicy>(),
    row::<user::DeleteUser>(),
    row::<user::DeleteUserPermissionsBoundary>(),
    row::<user::DeleteUserPolicy>(),
    row::<role::DetachRolePolicy>(),
    row::<user::DetachUserPolicy>(),
    row::<access_key::GetAccessKeyLastUsed>(),
    row::<policy::GetPolicy>(),
    row::<role::GetRole>(),
    row::<role::GetRolePolicy>(),
    row::<user::GetUser>(),
    row::<user::GetUserPolicy>(),
    row::<access_key::ListAccessKeys>(),
    row::<account::ListAccounts>(),
    row::<role::ListAttachedRolePolicies>(),
    row::<user::ListAttachedUserPolicies>(),
    row::<policy::ListPolicies>(),
    row::<role::ListRolePolicies>(),
    row::<role::ListRoles>(),
    row::<user::ListUserPolicies>(),
    row::<user::ListUsers>(),
    row::<role::PutRolePermissionsBoundary>(),
    row::<role::PutRolePolicy>(),
    row::<user::PutUserPermissionsBoundary>(),
    row::<user::PutUserPolicy>(),
    row::<role::RevokeRoleSessions>(),
    row::<user::RevokeUserSessions>(),
    row::<role::TagRole>(),
    row::<user::TagUser>(),
    row::<role::UntagRole>(),
    row::<user::UntagUser>(),
    row::<access_key::UpdateAccessKey>(),
    row::<role::UpdateAssumeRolePolicy>(),
    row::<policy::UpdatePolicy>(),
    row::<role::UpdateRole>(),
];

const fn row<O: Operation>() -> Route {
    Route { name: O::NAME, members: O::MEMBERS, read_only: O::READ_ONLY, plan: plan::<O> }
}

fn plan<O: Operation>(cx: &Context<'_>, parameters: &Document<'_>) -> Result<Planned, Error> {
    shape::check(parameters, O::MEMBERS)?;
    if O::IN_ACCOUNT && cx.store().account(&cx.account).is_none() {
        return Err(Error::NoSuchEntity(format!("The account with id {} cannot be found.", cx.account)));
    }
    let plan = read::<O>(parameters)?.plan(cx)?;
    // Room for an answer with a secret in it, so that writing it never moves it and leaves a copy behind.
    let mut output = Zeroizing::new(Vec::with_capacity(4096));
    let written = serde_json::to_writer(&mut *output, &plan.output);
    written.map_err(|error| Error::ServiceFailure(format!("an answer has no JSON: {error}")))?;
    Ok(Planned { change: plan.change, output, response: plan.response })
}

/// What serde says shows parts of the request; no operation takes a secret.
fn read<O: Operation>(parameters: &Document<'_>) -> Result<O, Error> {
    let bytes = serde_json::to_vec(parameters).map_err(|error| Error::ValidationError(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let text = error.to_string();
        Error::ValidationError(text.split(" at line ").next().unwrap_or_default().to_owned())
    })
}
