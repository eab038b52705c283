//! AssumeRole: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::credentials::{Credentials, end};
use super::session_tags::{SessionTags, Tag};
use super::{check_no_mfa, shapes};
use crate::auth::policy::{Kind, Policy};
use crate::auth::session::{Content, Holder};
use crate::auth::{Authorized, Named, Question};
use crate::kms::caller::own_policies;
use crate::kms::session::{assumed_role_arn, assumed_role_id};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, Operation};
use crate::model::{Arn, FriendlyName};
use crate::store::{PrincipalKind, PrincipalRecord, RoleDetails, Row};

/// Gives the caller temporary credentials of a role that trusts him.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRole {
    role_arn: String,
    role_session_name: String,
    #[serde(default)]
    policy_arns: Vec<PolicyDescriptor>,
    policy: Option<String>,
    duration_seconds: Option<u32>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    transitive_tag_keys: Vec<String>,
    external_id: Option<String>,
    serial_number: Option<String>,
    token_code: Option<String>,
    source_identity: Option<String>,
    #[serde(default)]
    provided_contexts: Vec<Value>,
    minimum_session_token_size: Option<usize>,
}

/// A policy of the role's account.
#[derive(Deserialize)]
struct PolicyDescriptor {
    arn: Option<String>,
}

/// The credentials, and whose they are.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    credentials: Credentials,
    assumed_role_user: AssumedRoleUser,
    #[serde(skip_serializing_if = "Option::is_none")]
    packed_policy_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_identity: Option<String>,
    session_token_utilization: usize,
    session_token_size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssumedRoleUser {
    assumed_role_id: String,
    arn: String,
}

/// A role as the store has it, and what only a role has.
type RoleRow = Arc<Row<PrincipalRecord>>;

impl Operation for AssumeRole {
    const NAME: &'static str = "AssumeRole";
    const MEMBERS: &'static [Member] = &[
        required("RoleArn", &shapes::ARN),
        required("RoleSessionName", &shapes::SESSION_NAME),
        optional("PolicyArns", &shapes::POLICY_DESCRIPTOR_LIST),
        optional("Policy", &shapes::SESSION_POLICY),
        optional("DurationSeconds", &shapes::ROLE_DURATION_SECONDS),
        optional("Tags", &shapes::TAG_LIST),
        optional("TransitiveTagKeys", &shapes::TAG_KEY_LIST),
        optional("ExternalId", &shapes::EXTERNAL_ID),
        optional("SerialNumber", &shapes::SERIAL_NUMBER),
        optional("TokenCode", &shapes::TOKEN_CODE),
        optional("SourceIdentity", &shapes::SESSION_NAME),
        optional("ProvidedContexts", &shapes::PROVIDED_CONTEXTS),
        optional("MinimumSessionTokenSize", &shapes::MINIMUM_SESSION_TOKEN_SIZE),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(mut self, cx: &Context) -> Result<Output, Error> {
        self.check_offered()?;
        self.check_policies()?;
        if cx.caller.is_root_user() {
            return Err(Error::AccessDenied("Roles may not be assumed by root accounts.".into()));
        }
        let (tags, keys) = (std::mem::take(&mut self.tags), std::mem::take(&mut self.transitive_tag_keys));
        let tags = SessionTags::new(&cx.caller, tags, keys)?;
        let source_identity = self.source_identity(cx)?;
        let role = self.authorize(cx, &tags, source_identity.as_deref())?.into_thing();
        let seconds = self.seconds(cx, &role)?;
        let content = self.content(cx, &role, tags, source_identity, seconds)?;
        let credentials = Credentials::issue(cx, &content, self.minimum_session_token_size.unwrap_or(0))?;
        let output = self.output(&role, &content, credentials);
        cx.note_response(output.shown());
        Ok(output)
    }
}

impl AssumeRole {
    /// Refuses what does not exist here, and would be wrong to pass over.
    fn check_offered(&self) -> Result<(), Error> {
        check_no_mfa(self.serial_number.as_ref(), self.token_code.as_ref())?;
        match self.provided_contexts.is_empty() {
            true => Ok(()),
            false => Err(Error::InvalidParameterValue("ProvidedContexts are not supported.".into())),
        }
    }

    /// The limits of session policies are in the documentation alone.
    fn check_policies(&self) -> Result<(), Error> {
        let text = self.policy.as_deref().unwrap_or_default();
        let arns = self.policy_arns.iter().filter_map(|policy| policy.arn.as_ref());
        let length = text.chars().count() + arns.map(|arn| arn.chars().count()).sum::<usize>();
        let too_many = |name, max: usize| {
            Err(Error::Validation(format!(
                "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must have length \
                 less than or equal to {max}"
            )))
        };
        if self.policy_arns.len() > MAX_POLICY_ARNS {
            return too_many("policyArns", MAX_POLICY_ARNS);
        }
        if length > MAX_POLICY_LEN {
            return too_many("policy", MAX_POLICY_LEN);
        }
        if let Some(text) = &self.policy {
            Policy::parse(text, Kind::SessionPolicy)
                .map_err(|error| Error::MalformedPolicyDocument(error.to_string()))?;
        }
        Ok(())
    }

    /// The source identity of the new session: once set, it goes through the whole chain.
    fn source_identity(&self, cx: &Context) -> Result<Option<String>, Error> {
        let kept = cx.caller.session.as_ref().and_then(|session| session.source_identity.clone());
        match (&self.source_identity, kept) {
            (Some(new), Some(kept)) if *new != kept => {
                Err(Error::Validation("The source identity is already set for this assume role session".into()))
            }
            (new, kept) => Ok(kept.or_else(|| new.clone())),
        }
    }

    /// Asks whether the role trusts the caller, and whether he may hand on these tags and this source identity.
    fn authorize(
        &self,
        cx: &Context,
        tags: &SessionTags,
        source_identity: Option<&str>,
    ) -> Result<Authorized<RoleRow>, Error> {
        let arn: Arn =
            self.role_arn.parse().map_err(|()| Error::Validation(format!("{} is invalid", self.role_arn)))?;
        let role = cx.kms.principal_of(&self.role_arn).filter(|_| arn.service == "iam");
        let Some(role) = role.filter(|role| role.record.kind == PrincipalKind::Role) else {
            return Err(self.refused(cx, Self::NAME));
        };
        cx.note_arn(arn);
        let facts = Facts { tags: &tags.requested, resource_tags: Some(&role.record.tags), ..Facts::default() }
            .with("sts:externalid", self.external_id.as_deref())
            .with("sts:rolesessionname", Some(self.role_session_name.as_str()))
            .with("sts:sourceidentity", self.source_identity.as_deref())
            .with_all("sts:transitivetagkeys", tags.transitive.iter().map(String::as_str))
            .with("aws:resourceaccount", Some(role.record.account.as_str()));
        let proof = self.ask(cx, Self::NAME, &role, &facts)?;
        if !tags.all.is_empty() {
            self.ask(cx, "TagSession", &role, &facts)?;
        }
        if source_identity.is_some() {
            self.ask(cx, "SetSourceIdentity", &role, &facts)?;
        }
        Ok(proof)
    }

    fn ask(&self, cx: &Context, action: &str, role: &RoleRow, facts: &Facts<'_>) -> Result<Authorized<RoleRow>, Error> {
        let policies = own_policies(role)?;
        // Every role has one; without it, nobody is trusted.
        let trust = policies.trust.as_ref().ok_or_else(|| self.refused(cx, action))?;
        let question = Question {
            caller: &cx.caller,
            action: &format!("sts:{action}"),
            resource: &self.role_arn,
            owner: &role.record.account,
            resource_policy: Some(trust),
            conditions: &cx.circumstances(facts),
            grants: &|_| None,
            named: Named::Explicitly,
        };
        cx.ask(&question, role.clone()).map_err(|error| match error {
            Error::AccessDenied(_) => self.refused(cx, action),
            other => other,
        })
    }

    /// The same words for a role that does not exist and for one that does not trust the caller, without a reason.
    fn refused(&self, cx: &Context, action: &str) -> Error {
        let (caller, role) = (&cx.caller.arn, &self.role_arn);
        Error::AccessDenied(format!("User: {caller} is not authorized to perform: sts:{action} on resource: {role}"))
    }

    fn seconds(&self, cx: &Context, role: &RoleRow) -> Result<u32, Error> {
        let seconds = self.duration_seconds.unwrap_or(DEFAULT_SECONDS);
        let longest = role.record.role.as_ref().map_or(0, |role: &RoleDetails| role.max_session_seconds);
        if cx.caller.session.is_some() && seconds > MAX_CHAINED_SECONDS {
            return Err(Error::Validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
                    .into(),
            ));
        }
        if seconds > longest {
            return Err(Error::Validation(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.".into(),
            ));
        }
        Ok(seconds)
    }

    fn content(
        &self,
        cx: &Context,
        role: &RoleRow,
        tags: SessionTags,
        source_identity: Option<String>,
        seconds: u32,
    ) -> Result<Content, Error> {
        // When it came, before anything was decided: a revocation meanwhile ends the session.
        let issued = cx.request.time;
        let (id, session) = (role.record.unique_id.clone(), self.role_session_name.clone());
        let arns = self.policy_arns.iter().filter_map(|policy| policy.arn.as_ref());
        Ok(Content {
            account: role.record.account.clone(),
            holder: Holder::Role { id, session },
            issued,
            expires: end(issued, seconds),
            policy: self.policy.clone(),
            policy_names: arns.map(|arn| policy_name(cx, role, arn)).collect::<Result<_, _>>()?,
            tags: tags.all,
            transitive_tag_keys: tags.transitive,
            source_identity,
        })
    }

    fn output(&self, role: &RoleRow, content: &Content, credentials: Credentials) -> Output {
        let packed = content.policy.is_some() || !content.policy_names.is_empty() || !content.tags.is_empty();
        Output {
            assumed_role_user: AssumedRoleUser {
                assumed_role_id: assumed_role_id(&role.record.unique_id, &self.role_session_name),
                arn: assumed_role_arn(&role.record, &self.role_session_name).to_string(),
            },
            packed_policy_size: packed.then_some(credentials.token_percent()),
            source_identity: content.source_identity.clone(),
            session_token_utilization: credentials.token_percent(),
            session_token_size: credentials.token_len(),
            credentials,
        }
    }
}

impl Output {
    /// What the record may show.
    fn shown(&self) -> Value {
        let AssumedRoleUser { assumed_role_id, arn } = &self.assumed_role_user;
        let mut shown = json!({
            "credentials": self.credentials.shown(),
            "assumedRoleUser": { "assumedRoleId": assumed_role_id, "arn": arn },
        });
        if let Some(size) = self.packed_policy_size {
            shown["packedPolicySize"] = size.into();
        }
        if let Some(identity) = &self.source_identity {
            shown["sourceIdentity"] = identity.as_str().into();
        }
        shown
    }
}

/// The name of a policy of the role's account.
fn policy_name(cx: &Context, role: &RoleRow, arn: &str) -> Result<FriendlyName, Error> {
    let name = arn.rsplit('/').next().and_then(|name| name.parse().ok());
    let found = name.and_then(|name| cx.kms.store.policy(&role.record.account, &name));
    let found = found.filter(|policy| policy.record.arn().to_string() == arn);
    let refusal = || Error::InvalidParameterValue(format!("Policy {arn} does not exist or is not attachable."));
    found.map(|policy| policy.record.name.clone()).ok_or_else(refusal)
}

const DEFAULT_SECONDS: u32 = 3_600;
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
const MAX_CHAINED_SECONDS: u32 = 3_600;
const MAX_POLICY_LEN: usize = 2_048;
const MAX_POLICY_ARNS: usize = 10;
