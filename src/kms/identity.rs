//! The caller as the record shows him.

use crate::audit::{IdentityType, SessionAttributes, SessionContext, SessionIssuer, UserIdentity};
use crate::auth::{Caller, Identity};

/// Who asked, in CloudTrail's words.
///
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
pub fn identity_of(caller: &Caller) -> UserIdentity {
    let (kind, user_name) = match &caller.identity {
        Identity::Root => (IdentityType::Root, None),
        Identity::User { name } => (IdentityType::IamUser, Some(name.clone())),
        Identity::Role { .. } => (IdentityType::AssumedRole, None),
    };
    UserIdentity {
        kind,
        principal_id: Some(caller.user_id.clone()),
        arn: Some(caller.arn.clone()),
        account_id: Some(caller.account.to_string()),
        access_key_id: Some(caller.access_key_id.clone()),
        user_name,
        session_context: session_context(caller),
        ..UserIdentity::default()
    }
}

fn session_context(caller: &Caller) -> Option<SessionContext> {
    let session = caller.session.as_deref()?;
    let session_issuer = match &caller.identity {
        Identity::Role { arn, name } => Some(SessionIssuer {
            kind: "Role".into(),
            principal_id: caller.unique_id().to_owned(),
            arn: arn.clone(),
            account_id: caller.account.to_string(),
            user_name: name.clone(),
        }),
        Identity::Root | Identity::User { .. } => None,
    };
    Some(SessionContext {
        session_issuer,
        attributes: SessionAttributes { creation_date: session.issued.to_string(), mfa_authenticated: "false".into() },
        source_identity: session.source_identity.clone(),
    })
}
