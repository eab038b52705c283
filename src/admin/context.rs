//! What an operation has at hand, and what it decides.

use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{Error, Nothing};
use crate::audit::UserIdentity;
use crate::kms::Kms;
use crate::model::{AccountId, Timestamp};
use crate::store::{Change, Store};

/// One request while it is decided.
pub struct Context<'a> {
    /// The service.
    pub kms: &'a Kms,
    /// The account that the request is about.
    pub account: AccountId,
    /// When it is decided.
    pub now: Timestamp,
}

/// A request as the record has it, for what follows from it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// Of its event.
    #[serde(rename = "eventID")]
    pub event_id: String,
    /// The operator.
    pub user_identity: UserIdentity,
}

/// A future on the heap.
pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// What is done when the request is durably on record, and gives the answer.
pub(super) type Work<T> = Box<dyn FnOnce(Arc<Kms>, Act) -> BoxFuture<'static, Result<T, Error>> + Send>;

/// The answer of an operation.
pub(super) enum Answer<T> {
    Now(T),
    AfterWork(Work<T>),
}

/// What an operation decided: the change to make, if any, and the answer.
pub struct Plan<T> {
    pub(super) change: Option<Change>,
    pub(super) answer: Answer<T>,
    /// What of the answer is on record.
    pub(super) response: Value,
}

impl Context<'_> {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.kms.store
    }

    /// A change at this request's time that does nothing yet.
    pub fn change(&self) -> Change {
        Change::new(self.now)
    }
}

impl<T> Plan<T> {
    /// Only an answer.
    pub fn read(output: T) -> Self {
        Plan { change: None, answer: Answer::Now(output), response: Value::Null }
    }

    /// A change and its answer; `response` is what the record shows of the answer, without anything secret.
    pub fn change(change: Change, output: T, response: Value) -> Self {
        Plan { change: Some(change), answer: Answer::Now(output), response }
    }

    /// Work that must not begin before the request is durably on record, together with `response`. Its own changes are
    /// recorded one by one.
    pub fn work<F>(response: Value, work: impl FnOnce(Arc<Kms>, Act) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let work: Work<T> = Box::new(move |kms, act| Box::pin(work(kms, act)));
        Plan { change: None, answer: Answer::AfterWork(work), response }
    }
}

impl Plan<Nothing> {
    /// A change without an answer.
    pub fn silent(change: Change) -> Self {
        Plan::change(change, Nothing {}, Value::Null)
    }
}
