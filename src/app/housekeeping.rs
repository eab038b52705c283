//! What is done every second, and what of it less often.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{self, JoinSet};

use crate::kms::{End, Error, KeyStore, Kms, Verdict, rotation};
use crate::model::Timestamp;
use crate::store::{self, Change, KeyRecord};

/// The service's own work, a round at a time.
pub struct Housekeeping {
    kms: Arc<Kms>,
    watches: AtomicU64,
    works: AtomicU64,
    tampering_recorded: AtomicBool,
    chores: tokio::sync::Mutex<Chores>,
}

/// What is under way: an outage of one key store, whose calls take their time to fail, holds up no other.
#[derive(Default)]
struct Chores {
    tasks: JoinSet<()>,
    under_way: HashMap<task::Id, Chore>,
}

/// Work in one key store, a token call after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Chore {
    /// Rotations. Those of multi-Region keys wait for the tokens of other Regions, too.
    Rotate(KeyStore),
    /// What is over is destroyed, and what did not come to an end is undone, on the token of the key store alone.
    Remove(KeyStore),
}

/// What is to be done in a key store in a round.
#[derive(Clone, Copy)]
struct Due {
    /// Every tenth round.
    tenth: bool,
    /// Every sixtieth round.
    sixtieth: bool,
    /// The time of day, if it is trusted; known every tenth round.
    trusted: Option<Timestamp>,
}

impl Housekeeping {
    /// Work for this service.
    pub fn new(kms: Arc<Kms>) -> Self {
        Housekeeping {
            kms,
            watches: AtomicU64::new(0),
            works: AtomicU64::new(0),
            tampering_recorded: AtomicBool::new(false),
            chores: tokio::sync::Mutex::default(),
        }
    }

    /// One round of everything; failures are logged and tried again in a later one.
    pub async fn round(&self) {
        self.watch().await;
        self.work().await;
    }

    /// A round of what needs no token, and so never waits for one.
    pub async fn watch(&self) {
        let round = self.watches.fetch_add(1, Ordering::Relaxed);
        self.watch_store(round).await;
        if self.kms.store.guard().is_err() {
            return;
        }
        log("copy the outbox", self.kms.tend_outbox().await);
        if round.is_multiple_of(10) {
            log("write the last uses of keys", self.kms.store.flush_usage().await.map_err(Error::from));
        }
        if round % 3_600 == 3_599 {
            log("record the time", self.kms.commit(Change::new(self.kms.now())).await.map(drop).map_err(Error::from));
        }
    }

    /// A round of what is done on tokens.
    pub async fn work(&self) {
        let round = self.works.fetch_add(1, Ordering::Relaxed);
        if self.kms.store.guard().is_err() {
            return;
        }
        self.kms.tend_custom_key_stores();
        let mut due = Due { tenth: round.is_multiple_of(10), sixtieth: round.is_multiple_of(60), trusted: None };
        if due.tenth {
            due.trusted = self.trusted_time().await;
        }
        self.do_chores(due).await;
    }

    /// Somebody else's write to the store is found within a second, a change below the database within ten minutes.
    async fn watch_store(&self, round: u64) {
        let checked = match round % 600 {
            599 => self.kms.store.scrub().await,
            _ => self.kms.store.check().await,
        };
        if let Err(error) = checked {
            self.record_tampering(&error).await;
        }
    }

    /// Records once that the store was tampered with, whoever noticed it first: this watch, a change, a flush.
    async fn record_tampering(&self, error: &store::Error) {
        if self.kms.store.tampered().is_none() || self.tampering_recorded.load(Ordering::Relaxed) {
            return;
        }
        tracing::error!(%error, "the store was tampered with; every request is refused from now on");
        let recorded = self.kms.record_act("StoreTampered", serde_json::json!({ "what": error.to_string() })).await;
        self.tampering_recorded.store(recorded.is_ok(), Ordering::Relaxed);
        log("record that the store was tampered with", recorded);
    }

    /// Does in every key store what is due there, unless something is still under way, and waits for it for a while.
    async fn do_chores(&self, due: Due) {
        let mut chores = self.chores.lock().await;
        chores.forget_finished();
        let mut begun = HashSet::new();
        for key_store in self.kms.key_stores() {
            for chore in [Chore::Remove(key_store.clone()), Chore::Rotate(key_store)] {
                begun.extend(chores.begin(self.kms.clone(), chore, due));
            }
        }
        let all_done = async {
            while !begun.is_empty()
                && let Some(id) = chores.next_finished().await
            {
                begun.remove(&id);
            }
        };
        if tokio::time::timeout(PATIENCE, all_done).await.is_err() {
            tracing::warn!(under_way = ?chores.under_way.values(), "what is done in key stores takes long");
        }
    }

    /// The time of day, if anything may be begun by it.
    async fn trusted_time(&self) -> Option<Timestamp> {
        match self.kms.observe_time() {
            Verdict::Trusted(now) => return Some(now),
            Verdict::Waiting(left) => {
                if self.is_due() {
                    let hours = left.as_secs() / 3_600;
                    tracing::warn!(
                        hours,
                        "a deletion or rotation waits: the time of day is not trusted yet (--accept-clock)"
                    );
                }
            }
            Verdict::Jumped => {
                tracing::warn!(
                    "the time of day jumped; nothing is destroyed or rotated by its date for 24 hours (--accept-clock)"
                );
                let recorded = self.kms.record_act("ClockJumped", serde_json::json!({})).await;
                if recorded.is_ok() {
                    self.kms.told_of_jump();
                }
                log("record that the time of day jumped", recorded);
            }
        }
        None
    }

    /// Whether some key or material waits for nothing but the time.
    fn is_due(&self) -> bool {
        let now = self.kms.clock().now();
        let is_due = |key: &KeyRecord| key.deletion_date.is_some_and(|date| date <= now);
        let is_due = |key: &KeyRecord| is_due(key) || rotation::is_due(key, now);
        self.kms.store.all_keys().iter().any(|key| is_due(&key.record)) || self.kms.has_expired_material(now)
    }
}

impl Chores {
    /// Begins what is due, unless it is still under way.
    fn begin(&mut self, kms: Arc<Kms>, chore: Chore, due: Due) -> Option<task::Id> {
        if self.under_way.values().any(|busy| *busy == chore) {
            return None;
        }
        let todo = chore.clone();
        let id = self.tasks.spawn(async move { due.tend(&kms, &todo).await }).id();
        self.under_way.insert(id, chore);
        Some(id)
    }

    async fn next_finished(&mut self) -> Option<task::Id> {
        let finished = self.tasks.join_next_with_id().await?;
        Some(self.finished(finished))
    }

    fn forget_finished(&mut self) {
        while let Some(finished) = self.tasks.try_join_next_with_id() {
            self.finished(finished);
        }
    }

    fn finished(&mut self, finished: Result<(task::Id, ()), task::JoinError>) -> task::Id {
        let id = finished.map_or_else(|error| error.id(), |(id, ())| id);
        self.under_way.remove(&id);
        id
    }
}

impl Due {
    async fn tend(self, kms: &Arc<Kms>, chore: &Chore) {
        match chore {
            Chore::Rotate(key_store) => self.rotate(kms, key_store).await,
            Chore::Remove(key_store) => self.remove(kms, key_store).await,
        }
    }

    /// Only a trusted time of day begins rotations by date, and the destruction of keys and imported material.
    async fn rotate(self, kms: &Arc<Kms>, key_store: &KeyStore) {
        kms.rotate_spent_keys(key_store).await;
        if let Some(now) = self.trusted {
            kms.rotate_due_keys(key_store, now).await;
        }
    }

    async fn remove(self, kms: &Kms, key_store: &KeyStore) {
        if self.tenth {
            self.destroy(kms, key_store).await;
        }
        if self.sixtieth {
            let age = i64::try_from(CREATION_AGE.as_millis()).unwrap_or(i64::MAX);
            let before = Timestamp::from_millis(kms.now().as_millis() - age);
            kms.undo_creations(key_store, before).await;
        }
    }

    async fn destroy(self, kms: &Kms, key_store: &KeyStore) {
        match self.trusted {
            Some(now) => {
                log("destroy keys", kms.destroy_due_keys(key_store, now).await.map(drop));
                log("destroy imported material", kms.destroy_expired_material(key_store, now).await.map(drop));
            }
            None => {
                kms.finish_destructions(key_store, End::Destroyed).await;
                kms.finish_removals(key_store, End::Destroyed).await;
            }
        }
        kms.destroy_expired_wrapping_keys(key_store, End::Destroyed).await;
    }
}

fn log(what: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::error!(%error, "could not {what}; trying again");
    }
}

/// How long a round waits for what it began in the key stores.
const PATIENCE: Duration = Duration::from_secs(10);
/// No creation takes longer: a key generation that does is written off by the token.
const CREATION_AGE: Duration = Duration::from_secs(180);
