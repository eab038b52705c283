//! The store over a backend that fails on purpose.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::sync::Notify;

use super::samples::{self, now};
use super::*;

/// What the next commit comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    Full,
    Broken,
    Unknown,
    Panics,
    /// The database has taken it, and the answer waits for the gate.
    Held,
}

struct Failing {
    inner: Embedded,
    scans: AtomicUsize,
    taken: Notify,
    gate: Notify,
    fate: StdMutex<Fate>,
}

impl Backend for Failing {
    fn scan<'a>(&'a self, visit: Visit<'a>) -> Answer<'a, Ends> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.inner.scan(visit)
    }

    fn ends(&self) -> Answer<'_, Ends> {
        self.inner.ends()
    }

    fn apply(&self, batch: Batch) -> Answer<'_, ()> {
        let fate = *self.fate.lock().unwrap();
        match fate {
            Fate::Fine => self.inner.apply(batch),
            Fate::Full => Box::pin(async { Err(Error::Full { path: "store.db".into() }) }),
            Fate::Broken => {
                Box::pin(async { Err(Error::Database { doing: "commit a change", source: "gone".into() }) })
            }
            Fate::Unknown => Box::pin(async { Err(Error::Unknown { why: "gone".into() }) }),
            Fate::Panics => panic!("a mistake in a backend"),
            Fate::Held => Box::pin(async {
                let result = self.inner.apply(batch).await;
                self.taken.notify_one();
                self.gate.notified().await;
                result
            }),
        }
    }

    fn changed(&self) -> Answer<'_, bool> {
        self.inner.changed()
    }

    fn loose(&self) -> Answer<'_, Vec<LooseRow>> {
        self.inner.loose()
    }

    fn put_loose(&self, rows: Vec<LooseRow>) -> Answer<'_, ()> {
        match *self.fate.lock().unwrap() {
            Fate::Fine => self.inner.put_loose(rows),
            _ => Box::pin(async { Err(Error::Full { path: "store.db".into() }) }),
        }
    }

    fn close(&self) -> Answer<'_, ()> {
        self.inner.close()
    }
}

async fn failing(folder: &TempDir) -> (Arc<Failing>, Store) {
    samples::store(folder.path()).await.close().await.unwrap();
    let inner = Embedded::open(&samples::file(folder.path())).await.unwrap();
    let backend = Arc::new(Failing {
        inner,
        scans: AtomicUsize::new(0),
        taken: Notify::new(),
        gate: Notify::new(),
        fate: StdMutex::new(Fate::Fine),
    });
    let store = Store::open_on(backend.clone(), &samples::store_key()).await.unwrap();
    (backend, store)
}

fn insert(event_id: &str) -> Change {
    Change::new(now()).insert(samples::outbox(event_id))
}

#[tokio::test]
async fn nothing_is_scanned_again_while_no_one_else_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, store) = failing(&folder).await;
    for n in 0..20 {
        store.commit(insert(&format!("e-{n}"))).await.unwrap();
        let usage = Usage { operation: "Encrypt".into(), at: now(), event_id: "e".into(), request_id: "r".into() };
        store.note_usage(&samples::region(), &samples::key_id(n), usage);
        store.flush_usage().await.unwrap();
        store.check().await.unwrap();
    }
    assert_eq!(backend.scans.load(Ordering::SeqCst), 1);
    store.scrub().await.unwrap();
    store.check().await.unwrap();
    assert_eq!(backend.scans.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_commit_that_failed_is_as_if_it_had_not_been_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, store) = failing(&folder).await;
    for fate in [Fate::Full, Fate::Broken] {
        *backend.fate.lock().unwrap() = fate;
        let error = store.commit(insert("e-1")).await.unwrap_err();
        assert!(matches!((fate, &error), (Fate::Full, Error::Full { .. }) | (Fate::Broken, Error::Database { .. })));
        assert_eq!((store.epoch(), store.outbox().len()), (0, 0));
        store.guard().unwrap();
    }
    *backend.fate.lock().unwrap() = Fate::Fine;
    assert_eq!(store.commit(insert("e-1")).await.unwrap(), 1);
    store.scrub().await.unwrap();
}

#[tokio::test]
async fn a_commit_goes_on_when_its_caller_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, store) = failing(&folder).await;
    *backend.fate.lock().unwrap() = Fate::Held;
    tokio::select! {
        result = store.commit(insert("e-1")) => panic!("it did not wait: {result:?}"),
        () = backend.taken.notified() => {}
    }
    assert_eq!(store.epoch(), 0, "memory follows the database's answer");
    *backend.fate.lock().unwrap() = Fate::Fine;
    backend.gate.notify_one();
    assert_eq!(store.commit(insert("e-2")).await.unwrap(), 2);
    assert_eq!(store.outbox().len(), 2);
    store.scrub().await.unwrap();
}

#[tokio::test]
async fn an_unknown_outcome_stops_the_store() {
    for fate in [Fate::Unknown, Fate::Panics] {
        let folder = tempfile::tempdir().unwrap();
        let (backend, store) = failing(&folder).await;
        *backend.fate.lock().unwrap() = fate;
        assert!(matches!(store.commit(insert("e-1")).await, Err(Error::Poisoned { .. })));
        *backend.fate.lock().unwrap() = Fate::Fine;
        assert!(matches!(store.guard(), Err(Error::Poisoned { .. })));
        assert!(matches!(store.check().await, Err(Error::Poisoned { .. })));
        assert!(matches!(store.commit(insert("e-2")).await, Err(Error::Poisoned { .. })));
        assert_eq!((store.tampered(), store.epoch()), (None, 0));
    }
}

#[tokio::test]
async fn a_use_that_was_not_written_is_written_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, store) = failing(&folder).await;
    let (region, key_id) = (samples::region(), samples::key_id(7));
    let usage = Usage { operation: "Encrypt".into(), at: now(), event_id: "e".into(), request_id: "r".into() };
    store.note_usage(&region, &key_id, usage.clone());
    *backend.fate.lock().unwrap() = Fate::Full;
    assert!(matches!(store.flush_usage().await, Err(Error::Full { .. })));
    *backend.fate.lock().unwrap() = Fate::Fine;
    store.flush_usage().await.unwrap();
    store.close().await.unwrap();
    let again = Store::open(&samples::file(folder.path()), &samples::store_key()).await.unwrap();
    assert_eq!(again.usage(&region, &key_id), Some(usage));
}

#[test]
fn no_message_shows_more_than_names() {
    let error = Error::Conflict { table: "keys", key: "eu-west-1/x".into() };
    assert_eq!(
        error.to_string(),
        "keys eu-west-1/x was changed by someone else in the meantime: read it again and decide again"
    );
}
