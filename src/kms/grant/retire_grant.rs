//! RetireGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html>

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::{check_grant_id, no_such_grant};
use crate::auth::policy::Grantee;
use crate::auth::{Caller, Identity, Named};
use crate::kms::shape::{Member, optional};
use crate::kms::{Context, Error, KeyRow, Operation, arn_of, shapes};
use crate::store::{Change, GrantRecord, Row};

/// Ends a grant, for those who may by the grant itself: its retiring principal, its grantee if it says so, and the root
/// user of the key's account.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RetireGrant {
    grant_token: Option<String>,
    key_id: Option<String>,
    grant_id: Option<String>,
    dry_run: Option<bool>,
}

impl Operation for RetireGrant {
    const NAME: &'static str = "RetireGrant";
    const MEMBERS: &'static [Member] = &[
        optional("GrantToken", &shapes::GRANT_TOKEN),
        optional("KeyId", &shapes::KEY_ID),
        optional("GrantId", &shapes::GRANT_ID),
        optional("DryRun", &shapes::BOOLEAN),
    ];
    const READ_ONLY: bool = false;
    const CROSS_ACCOUNT: bool = true;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        cx.change(|_| {
            let (key, grant) = self.grant(cx)?;
            let permits = |name| permits(&grant.record, &cx.caller, name);
            let id = grant.record.grant_id.as_str();
            let grant = cx.authorize_by_grant::<Self, _>(&key, &permits, (id, grant.clone()))?.into_thing();
            if self.dry_run == Some(true) {
                return Err(Error::DryRun);
            }
            cx.note_response(json!({ "grantId": id, "keyId": arn_of(&key.record).to_string() }));
            Ok((Change::new(cx.kms.now()).expect(&key).delete(&grant), ()))
        })
        .await
    }
}

impl RetireGrant {
    fn grant(&self, cx: &Context) -> Result<(KeyRow, Arc<Row<GrantRecord>>), Error> {
        match (&self.grant_token, &self.key_id, &self.grant_id) {
            (Some(token), None, None) => by_token(cx, token),
            (None, Some(key_id), Some(grant_id)) => by_id(cx, key_id, grant_id),
            _ => Err(Error::Validation("Specify either GrantToken, or KeyId and GrantId.".into())),
        }
    }
}

fn by_token(cx: &Context, token: &str) -> Result<(KeyRow, Arc<Row<GrantRecord>>), Error> {
    let grant = cx.kms.grant_of_token(&cx.request.region, token)?;
    let key = cx.kms.store.key(&grant.record.region, &grant.record.key_id).ok_or(Error::InvalidGrantToken)?;
    Ok((key, grant))
}

fn by_id(cx: &Context, key_id: &str, grant_id: &str) -> Result<(KeyRow, Arc<Row<GrantRecord>>), Error> {
    check_grant_id(grant_id)?;
    let key = cx.key_without_alias(key_id)?.key;
    let found = cx.kms.store.grant(&key.record.region, &key.record.key_id, grant_id);
    // On another account's key, a grant that is not there is refused as one that the caller may not retire.
    let grant = found.ok_or_else(|| match key.record.account == cx.caller.account {
        true => no_such_grant(grant_id),
        false => cx.unknown(RetireGrant::NAME, Named::Explicitly),
    })?;
    Ok((key, grant))
}

/// Whether the grant lets the caller retire it, under exactly this one of his names. An account stands for its root user
/// alone: what its other principals may is not said in the grant.
fn permits(grant: &GrantRecord, caller: &Caller, name: Grantee) -> bool {
    let arn = match (name, &caller.identity) {
        (Grantee::Itself, _) => &caller.arn,
        (Grantee::Role, Identity::Role { arn, .. }) => arn,
        (Grantee::Role | Grantee::Account, _) => return false,
    };
    let is_caller = |named: &str, id: Option<&str>| named == arn && id.is_none_or(|id| id == caller.unique_id());
    let retires = grant.retiring.as_deref().is_some_and(|named| is_caller(named, grant.retiring_id.as_deref()));
    let grantee_may = grant.operations.iter().any(|operation| operation.as_str() == RetireGrant::NAME);
    retires || grantee_may && is_caller(&grant.grantee, grant.grantee_id.as_deref())
}
