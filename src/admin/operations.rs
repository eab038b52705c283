//! The table of operations; a new one is one row here.

use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::context::{Answer, BoxFuture};
use super::{Context, Error, Operation, access_key, account, policy, role, token, user};
use crate::audit::EventSource;
use crate::kms::Kms;
use crate::kms::shape::{self, Member};
use crate::model::{AccountId, Document};
use crate::store::Change;

/// One operation of the table.
pub struct Route {
    /// Its name, for example `CreateUser`.
    pub name: &'static str,
    /// Its request's members and their constraints; each may name its account besides, as `AccountId`.
    pub members: &'static [Member],
    /// The service that its records name: IAM's are those of principals.
    pub source: EventSource,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Does what has to be there before it is decided.
    pub(super) prepare: Prepare,
    /// Reads a request and decides.
    pub(super) plan: for<'a> fn(&Context<'a>, &Document<'_>) -> Result<Planned, Error>,
}

type Prepare = for<'a> fn(&'a Kms, &'a AccountId, &'a Document<'a>) -> BoxFuture<'a, Result<(), Error>>;

impl Route {
    /// Whether it is about principals, and not about tokens.
    pub fn is_of_principals(&self) -> bool {
        self.source == EventSource::Iam
    }
}

/// What was decided, the answer written out.
pub(super) struct Planned {
    pub(super) change: Option<Change>,
    pub(super) answer: Answer<Zeroizing<Vec<u8>>>,
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
    row::<token::GiveUpToken>(),
    row::<access_key::ListAccessKeys>(),
    row::<account::ListAccounts>(),
    row::<role::ListAttachedRolePolicies>(),
    row::<user::ListAttachedUserPolicies>(),
    row::<policy::ListPolicies>(),
    row::<role::ListRolePolicies>(),
    row::<role::ListRoles>(),
    row::<user::ListUserPolicies>(),
    row::<user::ListUsers>(),
    row::<token::PairTokens>(),
    row::<role::PutRolePermissionsBoundary>(),
    row::<role::PutRolePolicy>(),
    row::<user::PutUserPermissionsBoundary>(),
    row::<user::PutUserPolicy>(),
    row::<role::RevokeRoleSessions>(),
    row::<user::RevokeUserSessions>(),
    row::<role::TagRole>(),
    row::<user::TagUser>(),
    row::<token::UnpairTokens>(),
    row::<role::UntagRole>(),
    row::<user::UntagUser>(),
    row::<access_key::UpdateAccessKey>(),
    row::<role::UpdateAssumeRolePolicy>(),
    row::<policy::UpdatePolicy>(),
    row::<role::UpdateRole>(),
];

const fn row<O: Operation>() -> Route {
    Route {
        name: O::NAME,
        members: O::MEMBERS,
        source: O::SOURCE,
        read_only: O::READ_ONLY,
        prepare: prepare::<O>,
        plan: plan::<O>,
    }
}

/// What is wrong with the request is told when it is decided.
fn prepare<'a, O: Operation>(
    kms: &'a Kms,
    account: &'a AccountId,
    parameters: &'a Document<'a>,
) -> BoxFuture<'a, Result<(), Error>> {
    let request = shape::check(parameters, O::MEMBERS).ok().and_then(|()| read::<O>(parameters).ok());
    Box::pin(async move {
        match request {
            Some(request) if kms.store.account(account).is_some() => request.prepare(kms, account).await,
            _ => Ok(()),
        }
    })
}

fn plan<O: Operation>(cx: &Context<'_>, parameters: &Document<'_>) -> Result<Planned, Error> {
    shape::check(parameters, O::MEMBERS)?;
    if O::IN_ACCOUNT && cx.store().account(&cx.account).is_none() {
        return Err(Error::NoSuchEntity(format!("The account with id {} cannot be found.", cx.account)));
    }
    let plan = read::<O>(parameters)?.plan(cx)?;
    let answer = match plan.answer {
        Answer::Now(output) => Answer::Now(written(&output)?),
        Answer::AfterWork(work) => {
            Answer::AfterWork(Box::new(|kms, act| Box::pin(async { written(&work(kms, act).await?) })))
        }
    };
    Ok(Planned { change: plan.change, answer, response: plan.response })
}

fn written(output: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Room for an answer with a secret in it, so that writing it never moves it and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let written = serde_json::to_writer(&mut *bytes, output);
    written.map_err(|error| Error::ServiceFailure(format!("an answer has no JSON: {error}")))?;
    Ok(bytes)
}

/// What serde says shows parts of the request; no operation takes a secret.
fn read<O: Operation>(parameters: &Document<'_>) -> Result<O, Error> {
    let bytes = serde_json::to_vec(parameters).map_err(|error| Error::ValidationError(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let text = error.to_string();
        Error::ValidationError(text.split(" at line ").next().unwrap_or_default().to_owned())
    })
}
