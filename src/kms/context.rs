//! What an operation has at hand while it serves one request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use super::caller::key_policy;
use super::conditions::{Circumstances, Facts};
use super::grant::Search;
use super::janitor::Act;
use super::{CommitError, Error, Kms, Operation, identity_of};
use crate::audit::{self, Call, Event, EventSource};
use crate::auth::policy::{Grantee, Kind, Policy};
use crate::auth::{self, Authorized, Caller, Denied, Named, Permission, Question};
use crate::model::{AccountId, AliasName, Arn, KeyId, KeyRef, KeyRefError, Region, Timestamp, key_arn};
use crate::store::{AliasRecord, Change, KeyRecord, Row, Store};
use crate::token::Token;

/// A key as the store has it, with its revision.
pub type KeyRow = Arc<Row<KeyRecord>>;

/// A key that a request names, and how it does.
pub struct Target {
    /// The key.
    pub key: KeyRow,
    /// The alias by which it was named.
    pub alias: Option<AliasName>,
    /// Whether it was named at all, or found in a ciphertext.
    pub named: Named,
}

/// One request: who asked, for what, when, and what of it is on record.
pub struct Context {
    /// The service.
    pub kms: Arc<Kms>,
    /// Who asked.
    pub caller: Caller,
    /// What is known of the request.
    pub request: Request,
    trail: Mutex<Trail>,
}

/// What is known of a request before it is served.
#[derive(Clone, Debug)]
pub struct Request {
    /// The operation's name, for example `Encrypt`.
    pub operation: &'static str,
    /// The service asked.
    pub service: EventSource,
    /// Whether the operation changes nothing, as CloudTrail counts it.
    pub read_only: bool,
    /// The id in the answer's `x-amzn-RequestId`.
    pub id: String,
    /// The id of the record.
    pub event_id: String,
    /// The Region that the signature names.
    pub region: Region,
    /// The peer's address.
    pub source_ip: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// When it came.
    pub time: Timestamp,
    /// When its answer is due.
    pub deadline: Instant,
}

/// What a refused request was told.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exception's name.
    pub code: &'static str,
    /// The message that the caller saw.
    pub message: String,
}

struct Trail {
    permit: Option<audit::Permit>,
    parameters: Value,
    resources: Vec<Arn>,
    /// What was decided on the way, for the record.
    decisions: Vec<Value>,
    /// What else the record says that AWS's has no member for.
    details: serde_json::Map<String, Value>,
    /// What was answered, as far as the record shows it.
    response: Value,
    used: Vec<(Region, crate::model::KeyId)>,
    recorded: bool,
}

impl Context {
    /// Begins a request; `permit` is the space for its record.
    pub fn new(kms: Arc<Kms>, caller: Caller, request: Request, permit: audit::Permit) -> Self {
        let trail = Trail {
            permit: Some(permit),
            parameters: Value::Null,
            resources: Vec::new(),
            decisions: Vec::new(),
            details: serde_json::Map::new(),
            response: Value::Null,
            used: Vec::new(),
            recorded: false,
        };
        Context { kms, caller, request, trail: Mutex::new(trail) }
    }

    /// The token of the request's Region.
    pub fn token(&self) -> Result<Token, Error> {
        self.kms.token(&self.request.region, None)
    }

    /// Finds the key that `key_id` names by id, key ARN, alias name or alias ARN.
    pub fn key(&self, key_id: &str) -> Result<Target, Error> {
        self.key_for(self.request.operation, key_id)
    }

    /// As [`Context::key`], for the operations whose permission has another name (`ReEncryptFrom`).
    pub fn key_for(&self, action: &str, key_id: &str) -> Result<Target, Error> {
        match self.key_ref(key_id)? {
            KeyRef::Key { account, key_id } => self.key_by_id(action, account, key_id, None),
            KeyRef::Alias { account, name } => {
                let account = account.unwrap_or_else(|| self.caller.account.clone());
                let alias = self.alias_for(action, &account, &name)?;
                self.key_by_id(action, Some(account), alias.record.target, Some(name))
            }
        }
    }

    /// Finds the key that `key_id` names by id or key ARN; an alias is refused.
    pub fn key_without_alias(&self, key_id: &str) -> Result<Target, Error> {
        match self.key_ref(key_id)? {
            KeyRef::Key { account, key_id } => self.key_by_id(self.request.operation, account, key_id, None),
            // Seen for CreateGrant; unverified for the others.
            KeyRef::Alias { account: Some(_), .. } => {
                Err(Error::InvalidArn("Key Aliases are not supported for this operation.".into()))
            }
            KeyRef::Alias { account: None, .. } => Err(Error::NotFound(format!("Invalid keyId '{key_id}'"))),
        }
    }

    /// Finds the key that a ciphertext names, in whichever account; whether there is one is not told.
    pub fn key_of_ciphertext(&self, action: &str, key_id: &KeyId) -> Result<Target, Error> {
        let key = self.kms.store.key(&self.request.region, key_id);
        let key = key.ok_or_else(|| self.unknown(action, Named::ByCiphertext))?;
        Ok(Target { key: self.kms.as_of_now(key), alias: None, named: Named::ByCiphertext })
    }

    /// Finds an alias of an account in the request's Region.
    pub fn alias(&self, account: &AccountId, name: &AliasName) -> Result<Arc<Row<AliasRecord>>, Error> {
        self.alias_for(self.request.operation, account, name)
    }

    fn alias_for(&self, action: &str, account: &AccountId, name: &AliasName) -> Result<Arc<Row<AliasRecord>>, Error> {
        let found = self.kms.store.alias(&self.request.region, account, name);
        found.ok_or_else(|| match *account == self.caller.account {
            true => Error::NotFound(format!("Alias {} is not found.", Arn::alias(&self.request.region, account, name))),
            false => self.unknown(action, Named::Explicitly),
        })
    }

    /// Asks whether the caller may do this operation to the key, and notes both for the record.
    pub fn authorize<O: Operation>(&self, target: Target, facts: &Facts<'_>) -> Result<Authorized<KeyRow>, Error> {
        self.authorize_action::<O>(O::NAME, target, facts)
    }

    /// As [`Context::authorize`], for the operations whose permission has another name (`ReEncryptFrom`).
    pub fn authorize_action<O: Operation>(
        &self,
        action: &str,
        target: Target,
        facts: &Facts<'_>,
    ) -> Result<Authorized<KeyRow>, Error> {
        let Target { key, alias, named } = target;
        let (arn, owner) = (arn_of(&key.record), key.record.account.clone());
        if owner != self.caller.account && !O::CROSS_ACCOUNT {
            return Err(self.unknown(action, named));
        }
        let policy = key_policy(&key)?;
        let search = Search::new(self, action, &key.record, facts);
        let conditions = Circumstances { cx: self, key: Some(&key.record), alias: alias.as_ref(), facts };
        let decision = self.ask(
            &Question {
                caller: &self.caller,
                action: &format!("kms:{action}"),
                resource: &arn.to_string(),
                owner: &owner,
                resource_policy: Some(&policy),
                conditions: &conditions,
                grants: &|grantee| search.find(grantee),
                named,
            },
            key.clone(),
        );
        self.note_arn(arn);
        if let Some(id) = &key.record.custom_key_store {
            self.note_detail("customKeyStoreId", json!(id));
        }
        // Not sooner: whether there is a foreign key is not told.
        let decision = decision?;
        self.check_grant_tokens(facts.grant_tokens)?;
        Ok(decision)
    }

    /// Asks whether the caller may do this operation to a grant on the key, which only the grant itself can permit:
    /// `names` says whether it does to the caller by exactly this one of its names.
    pub fn authorize_by_grant<O: Operation, T>(
        &self,
        key: &KeyRow,
        names: &dyn Fn(Grantee) -> bool,
        (grant_id, grant): (&str, T),
    ) -> Result<Authorized<T>, Error> {
        let policy = key_policy(key)?;
        let question = Question {
            caller: &self.caller,
            action: &format!("kms:{}", O::NAME),
            resource: &arn_of(&key.record).to_string(),
            owner: &key.record.account,
            resource_policy: Some(&policy),
            conditions: &Circumstances { cx: self, key: Some(&key.record), alias: None, facts: &Facts::default() },
            grants: &|name| names(name).then_some(grant_id),
            named: Named::Explicitly,
        };
        let decision = auth::authorize_by_grant(&question, grant);
        self.note_decision(&question, decision.as_ref().map(Authorized::by));
        self.note_resource(&key.record);
        Ok(decision?)
    }

    /// Asks whether the caller may do this operation in its own account, where no key is involved.
    pub fn authorize_account<O: Operation>(&self, facts: &Facts<'_>) -> Result<Authorized<AccountId>, Error> {
        self.authorize_own(O::NAME, "*", facts)
    }

    /// Asks whether the caller's own policies permit `action` on what is its own account's: an alias by its ARN, or `*`.
    pub fn authorize_own(
        &self,
        action: &str,
        resource: &str,
        facts: &Facts<'_>,
    ) -> Result<Authorized<AccountId>, Error> {
        let account = self.caller.account.clone();
        let facts = &facts.clone().with("aws:resourceaccount", Some(account.as_str()));
        self.ask(
            &Question {
                caller: &self.caller,
                action: &format!("kms:{action}"),
                resource,
                owner: &account,
                resource_policy: None,
                conditions: &Circumstances { cx: self, key: None, alias: None, facts },
                grants: &|_| None,
                named: Named::Explicitly,
            },
            account.clone(),
        )
    }

    /// Refuses what needs no permission if a policy of the caller's forbids it.
    pub fn check_not_forbidden(&self, action: &str, resource: &str, facts: &Facts<'_>) -> Result<(), Error> {
        let question = Question {
            caller: &self.caller,
            action,
            resource,
            owner: &self.caller.account,
            resource_policy: None,
            conditions: &self.circumstances(facts),
            grants: &|_| None,
            named: Named::Explicitly,
        };
        let answer = question.forbidden();
        if let Err(denied) = &answer {
            self.note_decision(&question, Err(denied));
        }
        Ok(answer?)
    }

    /// The condition keys of a request that is not about a key.
    pub(super) fn circumstances<'a>(&'a self, facts: &'a Facts<'a>) -> Circumstances<'a> {
        Circumstances { cx: self, key: None, alias: None, facts }
    }

    /// Decides, and notes the decision for the record.
    pub fn ask<T>(&self, question: &Question<'_>, thing: T) -> Result<Authorized<T>, Error> {
        let decision = auth::authorize(question, thing);
        self.note_decision(question, decision.as_ref().map(Authorized::by));
        Ok(decision?)
    }

    /// Decides on what the store says now and commits the change together with this request's record; decides
    /// again if another change came first.
    pub async fn change<T>(&self, decide: impl Fn(&Store) -> Result<(Change, T), Error>) -> Result<T, Error> {
        let before = self.trail().decisions.len();
        for _ in 0..DECISIONS {
            // What an earlier round decided is overtaken.
            self.trail().decisions.truncate(before);
            let (change, outcome) = decide(&self.kms.store)?;
            let parameters = self.trail().parameters.clone();
            let event = self.event(parameters, Ok(())).to_json();
            match self.kms.commit_recorded(change, &self.request.event_id, event, || self.permit()).await {
                Ok(()) => {
                    self.trail().recorded = true;
                    return Ok(outcome);
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        Err(Error::Internal("the same rows kept changing; nothing was done".into()))
    }

    /// Decides as [`Context::change`] does, for a step before the change that has the request's record: this one has a
    /// record of its own, of an act of the service, or none.
    pub async fn prepare<T>(
        &self,
        decide: impl Fn(&Store) -> Result<(Change, Option<Act>, T), Error>,
    ) -> Result<T, Error> {
        let before = self.trail().decisions.len();
        for _ in 0..DECISIONS {
            self.trail().decisions.truncate(before);
            let (change, act, outcome) = decide(&self.kms.store)?;
            match self.kms.commit_step(change, act).await {
                Ok(()) => return Ok(outcome),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        Err(Error::Internal("the same rows kept changing; nothing was done".into()))
    }

    /// Writes the record of a request that changed nothing, or was refused; does nothing if it is written.
    pub async fn finish(&self, outcome: Result<(), Failure>) -> Result<(), Error> {
        if self.trail().recorded {
            return Ok(());
        }
        let succeeded = outcome.is_ok();
        let parameters = std::mem::take(&mut self.trail().parameters);
        self.record(self.event(parameters, outcome).to_json(), self.kms.store.epoch()).await?;
        if succeeded {
            self.note_usage();
        }
        Ok(())
    }

    /// Notes for the record what was decided: by which permission, or why not.
    pub fn note_decision(&self, question: &Question<'_>, decision: Result<&Permission, &Denied>) {
        let mut note = json!({ "action": question.action, "resource": question.resource });
        match decision {
            Ok(Permission::Grant(id)) => note["allowedBy"] = json!({ "grant": id }),
            Ok(Permission::ResourcePolicy) => note["allowedBy"] = resource_policy_of(question).into(),
            Ok(Permission::IdentityPolicy) => note["allowedBy"] = "identity policy".into(),
            Ok(Permission::RootUser) => note["allowedBy"] = "root user".into(),
            Err(denied) => note["refusedBecause"] = denied.because(question.action).into(),
        }
        self.trail().decisions.push(note);
    }

    /// Notes the request's parameters for the record.
    pub fn note_parameters(&self, parameters: Value) {
        self.trail().parameters = parameters;
    }

    /// Notes for the record what AWS's has no member for: it goes into `additionalEventData`.
    pub fn note_detail(&self, name: &str, value: Value) {
        self.trail().details.insert(name.to_owned(), value);
    }

    /// Notes for the record what will be answered if the request succeeds, without anything secret.
    pub fn note_response(&self, response: Value) {
        self.trail().response = response;
    }

    /// Notes for the record a key that the request touches.
    pub fn note_resource(&self, key: &KeyRecord) {
        self.note_arn(arn_of(key));
    }

    /// Notes for the record what the request touches, by its ARN.
    pub fn note_arn(&self, arn: Arn) {
        let mut trail = self.trail();
        if !trail.resources.contains(&arn) {
            trail.resources.push(arn);
        }
    }

    /// Notes that the key was used for cryptography, for GetKeyLastUsage.
    pub fn note_use(&self, key: &KeyRecord) {
        self.trail().used.push((key.region.clone(), key.key_id));
    }

    /// Refuses grant tokens that were not given out here, and those of grants that are gone. A good one adds nothing:
    /// grants hold from the moment that their creation is answered.
    fn check_grant_tokens(&self, tokens: &[String]) -> Result<(), Error> {
        tokens.iter().try_for_each(|token| self.kms.grant_of_token(&self.request.region, token).map(drop))
    }

    fn key_ref(&self, text: &str) -> Result<KeyRef, Error> {
        KeyRef::parse(text, &self.request.region).map_err(|error| match error {
            KeyRefError::InvalidArn => Error::InvalidArn(format!("Invalid arn {text}")),
            KeyRefError::OtherRegion(region) => Error::NotFound(format!("Invalid arn {region}")),
            KeyRefError::InvalidKeyId => Error::NotFound(format!("Invalid keyId '{text}'")),
        })
    }

    fn key_by_id(
        &self,
        action: &str,
        account: Option<AccountId>,
        key_id: KeyId,
        alias: Option<AliasName>,
    ) -> Result<Target, Error> {
        let account = account.unwrap_or_else(|| self.caller.account.clone());
        let found = self.kms.store.key(&self.request.region, &key_id).filter(|key| key.record.account == account);
        let key = found.ok_or_else(|| match account == self.caller.account {
            true => {
                Error::NotFound(format!("Key '{}' does not exist", key_arn(&self.request.region, &account, &key_id)))
            }
            false => self.unknown(action, Named::Explicitly),
        })?;
        Ok(Target { key: self.kms.as_of_now(key), alias, named: Named::Explicitly })
    }

    /// Whether a thing of another account exists is not told: it is refused as it would be if it did.
    pub(super) fn unknown(&self, action: &str, named: Named) -> Error {
        let action = format!("kms:{action}");
        self.trail().decisions.push(json!({ "action": action, "refusedBecause": "there is no such resource" }));
        Question::unknown(&self.caller, &action, named).into()
    }

    fn event(&self, parameters: Value, outcome: Result<(), Failure>) -> Event {
        let request = &self.request;
        let event = Event::call(Call {
            time: request.time,
            source: request.service,
            name: request.operation,
            region: &request.region,
            account: &self.caller.account,
            source_ip: &request.source_ip,
            user_agent: &request.user_agent,
            request_id: &request.id,
            event_id: &request.event_id,
            read_only: request.read_only,
        });
        let trail = self.trail();
        let event = event.by(identity_of(&self.caller));
        let mut details = trail.details.clone();
        if !trail.decisions.is_empty() {
            details.insert("authorization".into(), json!(trail.decisions));
        }
        let event = if details.is_empty() { event } else { event.additional(details.into()) };
        let event = trail.resources.iter().fold(event.parameters(parameters), Event::resource);
        match outcome {
            Ok(()) => event.response(trail.response.clone()),
            Err(Failure { code, message }) => event.error(code, &message),
        }
    }

    async fn record(&self, event: Vec<u8>, epoch: u64) -> Result<(), Error> {
        self.kms.audit.append(self.permit()?, event, epoch).await?;
        self.trail().recorded = true;
        Ok(())
    }

    fn permit(&self) -> Result<audit::Permit, Error> {
        self.trail().permit.take().ok_or_else(|| Error::Internal("a request was recorded twice".into()))
    }

    fn note_usage(&self) {
        for (region, key_id) in self.trail().used.drain(..) {
            let usage = crate::store::Usage {
                operation: self.request.operation.to_owned(),
                at: self.request.time,
                event_id: self.request.event_id.clone(),
                request_id: self.request.id.clone(),
            };
            self.kms.store.note_usage(&region, &key_id, usage);
        }
    }

    fn trail(&self) -> std::sync::MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ARN of a key.
pub fn arn_of(key: &KeyRecord) -> Arn {
    key_arn(&key.region, &key.account, &key.key_id)
}

/// The policy of the resource, by the name that its resource gives it.
fn resource_policy_of(question: &Question<'_>) -> &'static str {
    match question.resource_policy.map(Policy::kind) {
        Some(Kind::TrustPolicy) => "trust policy",
        _ => "key policy",
    }
}

/// How often a change is decided again when another one came first.
const DECISIONS: usize = 64;
