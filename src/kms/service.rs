//! The service behind all operations: its parts, and the order in which a change becomes durable.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::custom_key_store::CustomKeyStores;
use super::janitor::Act;
use super::rotation::{Budgets, Pauses, Turns};
use super::{Error, GrantTokens, Imports, KeyPairs, KeyStores, Markers, Sessions, TrustedTime};
use crate::audit::{Audit, Permit};
use crate::crash_point;
use crate::model::{Clock, Timestamp};
use crate::store::{self, Change, OutboxRecord, Store};

/// The service: its store, its record, its tokens, its clock.
pub struct Kms {
    /// Metadata.
    pub store: Store,
    /// The record.
    pub audit: Arc<Audit>,
    /// Makes and reads pagination markers.
    pub markers: Markers,
    /// Makes and reads grant tokens.
    pub grant_tokens: GrantTokens,
    /// Issues and opens session tokens.
    pub sessions: Sessions,
    /// Makes data key pairs.
    pub key_pairs: KeyPairs,
    /// What imports go by.
    pub imports: Imports,
    /// The id of this run of the service, which owns the intents that it makes.
    pub instance: String,
    /// How often each material may wrap yet.
    pub(super) budgets: Budgets,
    pub(super) rotation_pauses: Pauses,
    pub(super) rotation_turns: Turns,
    pub(super) key_stores: KeyStores,
    /// The custom key stores' clusters and connections.
    pub(super) custom_key_stores: CustomKeyStores,
    clock: Arc<dyn Clock>,
    trusted_time: Mutex<TrustedTime>,
    /// The latest time told, in milliseconds.
    told: AtomicI64,
    outbox: Mutex<Outbox>,
}

/// What some operations work with, each by settings and keys of its own.
pub struct Parts {
    /// Issues and opens pagination markers.
    pub markers: Markers,
    /// Issues and opens grant tokens.
    pub grant_tokens: GrantTokens,
    /// Issues and opens session tokens.
    pub sessions: Sessions,
    /// Makes data key pairs.
    pub key_pairs: KeyPairs,
    /// What imports go by.
    pub imports: Imports,
    /// How often each material may wrap.
    pub budgets: Budgets,
    /// The custom key stores' clusters.
    pub custom_key_stores: CustomKeyStores,
    /// Whether the time of day may decide over a destruction.
    pub trusted_time: TrustedTime,
}

impl Kms {
    /// Puts the parts together. Call
    /// [`Kms::begin_run`] before the first request.
    pub fn new(
        store: Store,
        audit: Arc<Audit>,
        key_stores: KeyStores,
        clock: Arc<dyn Clock>,
        Parts { markers, grant_tokens, sessions, key_pairs, imports, budgets, custom_key_stores, trusted_time }: Parts,
    ) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        let (told, outbox) = (AtomicI64::new(i64::MIN), Mutex::default());
        Kms {
            store,
            audit,
            markers,
            grant_tokens,
            sessions,
            key_pairs,
            imports,
            instance,
            budgets,
            rotation_pauses: Pauses::default(),
            rotation_turns: Turns::default(),
            key_stores,
            custom_key_stores,
            clock,
            trusted_time: Mutex::new(trusted_time),
            told,
            outbox,
        }
    }

    /// Where time comes from.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(super) fn trusted_time(&self) -> MutexGuard<'_, TrustedTime> {
        self.trusted_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time now, never below the highest time recorded, nor below what was told before: what has ended does not
    /// begin again when a clock is set back.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now().max(self.store.highest_time());
        let told = self.told.fetch_max(now.as_millis(), Ordering::Relaxed);
        now.max(Timestamp::from_millis(told))
    }

    /// Makes a change durable: commits it in one transaction with its event, then copies the event to the log.
    /// An error after the commit means that the change is there and its event waits in the outbox.
    pub async fn commit_recorded(
        &self,
        change: Change,
        event_id: &str,
        event: Vec<u8>,
        permit: impl FnOnce() -> Result<Permit, Error>,
    ) -> Result<(), CommitError> {
        let record = OutboxRecord {
            event_id: event_id.to_owned(),
            event: String::from_utf8_lossy(&event).into_owned(),
            since: self.audit.durable_seq(),
        };
        let epoch = self.commit(change.insert(record)).await?;
        crash_point::reached("change-committed");
        let copied = match permit() {
            Ok(permit) => self.audit.append(permit, event, epoch).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        crash_point::reached("change-recorded");
        match copied {
            Ok(_) => self.outbox().copied.insert(event_id.to_owned()),
            Err(_) => self.outbox().failed.insert(event_id.to_owned()),
        };
        copied.map(drop).map_err(CommitError::Failed)
    }

    /// Adds to a change the records of acts that follow from it; gives their ids, for [`Kms::copy_acts`] once it is made.
    pub(super) fn with_acts(&self, change: Change, acts: Vec<Act>) -> (Change, Vec<String>) {
        let since = self.audit.durable_seq();
        let mut ids = Vec::new();
        let change = acts.into_iter().fold(change, |change, Act { name, region, account, resource, details }| {
            let (event_id, event) = self.act(name, &region, &account, details);
            let event = String::from_utf8_lossy(&event.resource(&resource).to_json()).into_owned();
            ids.push(event_id.clone());
            change.insert(OutboxRecord { event_id, event, since })
        });
        (change, ids)
    }

    /// Copies to the log the records of acts that a change has made durable; what cannot be copied now is later.
    pub(super) async fn copy_acts(&self, ids: Vec<String>) {
        if ids.is_empty() {
            return;
        }
        if let Err(error) = self.copy(|event_id| ids.iter().any(|id| id == event_id)).await {
            tracing::error!(%error, "the records of a change are copied to the log later");
            // Those that are there are found there.
            self.outbox().failed.extend(ids);
        }
    }

    /// Removes the outbox rows whose events are in the log, and copies those again whose copying failed.
    pub async fn tend_outbox(&self) -> Result<(), Error> {
        if !self.outbox().failed.is_empty() {
            let failed = self.outbox().failed.clone();
            self.copy(|event_id| failed.contains(event_id)).await?;
        }
        if !self.outbox().copied.is_empty() {
            crash_point::reached("outbox-copied");
            self.commit(Change::new(self.now())).await?;
        }
        Ok(())
    }

    /// Copies to the log what an earlier run committed and did not copy.
    pub async fn copy_outbox(&self) -> Result<(), Error> {
        self.copy(|_| true).await?;
        self.tend_outbox().await
    }

    async fn copy(&self, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
        let mut rows = self.store.outbox();
        rows.retain(|row| wanted(&row.record.event_id));
        rows.sort_by_key(|row| row.revision);
        let event_ids: HashSet<String> = rows.iter().map(|row| row.record.event_id.clone()).collect();
        let since = rows.iter().map(|row| row.record.since).min().unwrap_or(0);
        let there = self.recorded(event_ids, since).await?;
        for row in rows {
            let event_id = &row.record.event_id;
            if !there.contains(event_id) {
                let permit = self.audit.begin()?;
                self.audit.append(permit, row.record.event.clone().into_bytes(), self.store.epoch()).await?;
            }
            self.outbox().failed.remove(event_id);
            self.outbox().copied.insert(event_id.clone());
        }
        Ok(())
    }

    /// Which of these events the log has at or behind `since`. The log is read on a thread that may block.
    async fn recorded(&self, event_ids: HashSet<String>, since: u64) -> Result<HashSet<String>, Error> {
        let audit = self.audit.clone();
        let read = tokio::task::spawn_blocking(move || audit.contains(&event_ids, since));
        Ok(read.await.map_err(|error| Error::Internal(format!("reading the log panicked: {error}")))??)
    }

    /// Commits a change that needs no event of its own: an intent, a step towards an event that follows.
    pub async fn commit(&self, mut change: Change) -> Result<u64, store::Error> {
        let copied = std::mem::take(&mut self.outbox().copied);
        for row in self.store.outbox().iter().filter(|row| copied.contains(&row.record.event_id)) {
            change = change.delete(row);
        }
        let result = self.store.commit(change).await;
        if result.is_err() {
            self.outbox().copied.extend(copied);
        }
        result
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a change was not made durable.
#[derive(Debug)]
pub enum CommitError {
    /// Another change came first: decide again.
    Conflict,
    /// It failed.
    Failed(Error),
}

/// What is known of the outbox's rows, by event id.
#[derive(Default)]
struct Outbox {
    copied: HashSet<String>,
    failed: HashSet<String>,
}

impl From<store::Error> for CommitError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict { .. } => CommitError::Conflict,
            other => CommitError::Failed(other.into()),
        }
    }
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        CommitError::Failed(error)
    }
}

impl From<crate::audit::Error> for CommitError {
    fn from(error: crate::audit::Error) -> Self {
        CommitError::Failed(error.into())
    }
}

impl From<CommitError> for Error {
    /// For changes that nobody else competes for: the next round decides again.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Error::Internal("another change came first".into()),
            CommitError::Failed(error) => error,
        }
    }
}
