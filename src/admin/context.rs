//! What an operation has at hand, and what it decides.

use serde_json::Value;

use super::Nothing;
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

/// What an operation decided: the change to make, if any, and the answer.
pub struct Plan<T> {
    pub(super) change: Option<Change>,
    pub(super) output: T,
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
        Plan { change: None, output, response: Value::Null }
    }

    /// A change and its answer; `response` is what the record shows of the answer, without anything secret.
    pub fn change(change: Change, output: T, response: Value) -> Self {
        Plan { change: Some(change), output, response }
    }
}

impl Plan<Nothing> {
    /// A change without an answer.
    pub fn silent(change: Change) -> Self {
        Plan::change(change, Nothing {}, Value::Null)
    }
}
