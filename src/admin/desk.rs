//! Where operators are served, one request at a time or many at once.

use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::context::{Act, Answer};
use super::operations::{OPERATIONS, Planned, Route};
use super::{Context, Error, Operator};
use crate::audit::{Call, Event, EventSource, Permit};
use crate::kms::shape;
use crate::kms::{self, CommitError, Kms};
use crate::model::{AccountId, Document, Timestamp};
use crate::store::Change;

/// The administration of one service.
pub struct Desk {
    kms: Arc<Kms>,
    account: AccountId,
}

/// What is known of a request before it is decided.
struct Request<'a> {
    operator: &'a Operator,
    route: Option<&'static Route>,
    account: AccountId,
    /// As the record shows them.
    parameters: Value,
    id: String,
    now: Timestamp,
}

impl Desk {
    /// For this service; `account` is meant where a request names none.
    pub fn new(kms: Arc<Kms>, account: AccountId) -> Self {
        Desk { kms, account }
    }

    /// Serves one request: the answer, JSON on one line, when the request and what it changed are durably on record.
    pub async fn serve(
        &self,
        operator: &Operator,
        operation: &str,
        parameters: &Document<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let permit = self.begin()?;
        let route = OPERATIONS.iter().find(|route| route.name == operation);
        let (account, rest) = taken_apart(parameters, &self.account);
        let mut request = self.request(operator, route);
        if let Ok(account) = &account {
            request.account = account.clone();
        }
        request.parameters = shown(parameters, route);
        let route = route.ok_or_else(|| Error::InvalidAction(format!("There is no operation {operation}.")));
        match account.and(route) {
            Ok(route) => match (route.prepare)(&self.kms, &request.account, &rest).await {
                Ok(()) => self.decide(&request, route, &rest, permit).await,
                Err(error) => Err(self.refused(&request, error, Some(permit)).await),
            },
            Err(error) => Err(self.refused(&request, error, Some(permit)).await),
        }
    }

    /// Records a request that could not be read.
    pub async fn unreadable(&self, operator: &Operator, why: String) -> Error {
        match self.begin() {
            Ok(permit) => self.refused(&self.request(operator, None), Error::ValidationError(why), Some(permit)).await,
            Err(error) => error,
        }
    }

    /// Counts somebody who may not come here at all.
    pub fn turned_away(&self) {
        self.kms.audit.refused(std::net::Ipv4Addr::LOCALHOST.into(), "ForeignUser");
    }

    async fn decide(
        &self,
        request: &Request<'_>,
        route: &Route,
        parameters: &Document<'_>,
        permit: Permit,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut permit = Some(permit);
        for _ in 0..DECISIONS {
            let planned = match self.plan(request, route, parameters) {
                Ok(planned) => planned,
                Err(error) => return Err(self.refused(request, error, permit).await),
            };
            let event = self.event(request).response(planned.response);
            let done = match planned.change {
                Some(change) => self.commit(change, request, event, &mut permit).await,
                None => self.record(event, permit.take()).await.map_err(CommitError::Failed),
            };
            match done {
                Ok(()) => return self.answer(request, planned.answer).await,
                Err(CommitError::Conflict) => {}
                Err(CommitError::Failed(error)) => return Err(self.refused(request, error.into(), permit).await),
            }
        }
        let error = Error::ServiceFailure("the same rows kept changing; nothing was done".into());
        Err(self.refused(request, error, permit).await)
    }

    /// Does what was decided and is on record now.
    async fn answer(
        &self,
        request: &Request<'_>,
        answer: Answer<Zeroizing<Vec<u8>>>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let work = match answer {
            Answer::Now(output) => return Ok(output),
            Answer::AfterWork(work) => work,
        };
        let act = Act { event_id: request.id.clone(), user_identity: request.operator.identity() };
        match work(self.kms.clone(), act).await {
            Err(error) => Err(self.refused(request, error, None).await),
            done => done,
        }
    }

    fn plan(&self, request: &Request<'_>, route: &Route, parameters: &Document<'_>) -> Result<Planned, Error> {
        self.kms.store.guard().map_err(kms::Error::from)?;
        (route.plan)(&Context { kms: &self.kms, account: request.account.clone(), now: self.kms.now() }, parameters)
    }

    async fn commit(
        &self,
        change: Change,
        request: &Request<'_>,
        event: Event,
        permit: &mut Option<Permit>,
    ) -> Result<(), CommitError> {
        let once = || permit.take().ok_or_else(|| kms::Error::Internal("a request was recorded twice".into()));
        self.kms.commit_recorded(change, &request.id, event.to_json(), once).await
    }

    async fn record(&self, event: Event, permit: Option<Permit>) -> Result<(), kms::Error> {
        let permit = permit.ok_or_else(|| kms::Error::Internal("a request was recorded twice".into()))?;
        self.kms.audit.append(permit, event.to_json(), self.kms.store.epoch()).await?;
        Ok(())
    }

    /// Records the refusal and gives it back; without a permit the request is on record already, or waits for that.
    async fn refused(&self, request: &Request<'_>, error: Error, permit: Option<Permit>) -> Error {
        if let Error::ServiceFailure(reason) = &error {
            let operation = request.route.map(|route| route.name);
            tracing::error!(request_id = request.id, operation, reason, "an operator could not be served");
        }
        if permit.is_none() {
            return error;
        }
        match self.record(self.event(request).error(error.code(), error.message()), permit).await {
            Ok(()) => error,
            Err(unrecorded) => unrecorded.into(),
        }
    }

    fn begin(&self) -> Result<Permit, Error> {
        Ok(self.kms.audit.begin().map_err(kms::Error::from)?)
    }

    fn request<'a>(&self, operator: &'a Operator, route: Option<&'static Route>) -> Request<'a> {
        let (account, id) = (self.account.clone(), uuid::Uuid::new_v4().to_string());
        Request { operator, route, account, parameters: Value::Null, id, now: self.kms.now() }
    }

    fn event(&self, request: &Request<'_>) -> Event {
        let region = self.kms.regions().next().expect("settings without a Region are refused");
        let event = Event::call(Call {
            time: request.now,
            source: request.route.map_or(EventSource::Iam, |route| route.source),
            name: request.route.map_or("UnknownOperation", |route| route.name),
            region,
            account: &request.account,
            source_ip: "localhost",
            user_agent: concat!("hsm-kms/", env!("CARGO_PKG_VERSION")),
            request_id: &request.id,
            event_id: &request.id,
            read_only: request.route.is_none_or(|route| route.read_only),
        });
        event.by(request.operator.identity()).parameters(request.parameters.clone())
    }
}

/// The account that a request names, or `default`; and the request without it.
fn taken_apart<'a>(parameters: &Document<'a>, default: &AccountId) -> (Result<AccountId, Error>, Document<'a>) {
    let account = match parameters.member(ACCOUNT) {
        None => Ok(default.clone()),
        Some(Document::String(text)) => text.parse().map_err(Error::ValidationError),
        Some(_) => Err(Error::ValidationError(format!("{ACCOUNT} is not a string"))),
    };
    let mut rest = parameters.clone();
    if let Document::Map(members) = &mut rest {
        members.retain(|(name, _)| name != ACCOUNT);
    }
    (account, rest)
}

/// The parameters as CloudTrail has them; no operation takes a secret.
fn shown(parameters: &Document<'_>, route: Option<&Route>) -> Value {
    let Some(route) = route else { return Value::Null };
    let mut shown = shape::parameters(parameters, route.members);
    if let Some(Document::String(account)) = parameters.member(ACCOUNT) {
        shown["accountId"] = account.as_ref().into();
    }
    shown
}

/// The member that every request may have.
pub(super) const ACCOUNT: &str = "AccountId";
/// How often a change is decided again when another one came first.
const DECISIONS: usize = 64;
