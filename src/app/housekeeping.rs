//! What is done every second, and what of it less often.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::kms::{Error, Kms, TrustedTime, Verdict, rotation};
use crate::model::Timestamp;
use crate::store::{self, Change, KeyRecord};

/// The service's own work, a round at a time.
pub struct Housekeeping {
    kms: Arc<Kms>,
    trusted_time: Mutex<TrustedTime>,
    watches: AtomicU64,
    works: AtomicU64,
    tampering_recorded: AtomicBool,
}

impl Housekeeping {
    /// Work for this service.
    pub fn new(kms: Arc<Kms>, trusted_time: TrustedTime) -> Self {
        Housekeeping {
            kms,
            trusted_time: Mutex::new(trusted_time),
            watches: AtomicU64::new(0),
            works: AtomicU64::new(0),
            tampering_recorded: AtomicBool::new(false),
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
        self.kms.rotate_spent_keys().await;
        if round.is_multiple_of(10) {
            log("do what has its time", self.do_what_is_due().await);
            self.kms.destroy_expired_wrapping_keys().await;
        }
        if round.is_multiple_of(60) {
            self.undo_creations().await;
        }
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

    /// What only a trusted time of day begins: rotations by date, and the destruction of keys and imported material.
    async fn do_what_is_due(&self) -> Result<(), Error> {
        let verdict = self.observe();
        match verdict {
            Verdict::Trusted(now) => {
                self.kms.rotate_due_keys(now).await;
                self.kms.destroy_due_keys(now).await?;
                self.kms.destroy_expired_material(now).await.map(drop)
            }
            Verdict::Waiting(left) => {
                self.kms.finish_destructions().await;
                self.kms.finish_removals().await;
                if self.is_due() {
                    let hours = left.as_secs() / 3_600;
                    tracing::warn!(
                        hours,
                        "a deletion or rotation waits: the time of day is not trusted yet (--accept-clock)"
                    );
                }
                Ok(())
            }
            Verdict::Jumped => {
                tracing::warn!(
                    "the time of day jumped; nothing is destroyed or rotated by its date for 24 hours (--accept-clock)"
                );
                self.kms.record_act("ClockJumped", serde_json::json!({})).await
            }
        }
    }

    /// Whether some key or material waits for nothing but the time.
    fn is_due(&self) -> bool {
        let now = self.kms.clock().now();
        let is_due = |key: &KeyRecord| key.deletion_date.is_some_and(|date| date <= now);
        let is_due = |key: &KeyRecord| is_due(key) || rotation::is_due(key, now);
        self.kms.store.all_keys().iter().any(|key| is_due(&key.record)) || self.kms.has_expired_material(now)
    }

    async fn undo_creations(&self) {
        let age = i64::try_from(CREATION_AGE.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.kms.now().as_millis() - age);
        self.kms.undo_creations(before).await;
    }

    fn observe(&self) -> Verdict {
        self.trusted_time.lock().unwrap_or_else(PoisonError::into_inner).observe(self.kms.clock())
    }
}

fn log(what: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::error!(%error, "could not {what}; trying again");
    }
}

/// No creation takes longer: a key generation that does is written off by the token.
const CREATION_AGE: Duration = Duration::from_secs(180);
