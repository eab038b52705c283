//! The writer on a disk that fails, counts, and loses what was not synced.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::disk::{Disk, Folder, LogFile};
use super::segment::Segment;
use super::*;

/// What a test does to the disk, and learns from it.
#[derive(Default)]
struct Faults {
    syncs: AtomicU64,
    fail_syncs: AtomicBool,
    fail_writes: AtomicBool,
    fail_creates: AtomicBool,
    fail_publishes: AtomicBool,
    /// Set by a test to keep a sync from ending.
    hold_syncs: AtomicBool,
    /// Bytes of every published file that would be there after a power cut.
    synced: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

struct FaultyFolder(Folder, Arc<Faults>);

struct FaultyFile {
    file: Box<dyn LogFile>,
    faults: Arc<Faults>,
    written: AtomicU64,
    synced: Arc<AtomicU64>,
}

impl Faults {
    fn fail(flag: &AtomicBool, what: &str) -> io::Result<()> {
        if flag.load(Ordering::SeqCst) { Err(io::Error::other(what.to_owned())) } else { Ok(()) }
    }
}

impl FaultyFolder {
    fn wrap(&self, name: &str, file: Box<dyn LogFile>, len: u64) -> Box<dyn LogFile> {
        let synced = Arc::new(AtomicU64::new(len));
        self.1.synced.lock().unwrap().insert(name.to_owned(), synced.clone());
        Box::new(FaultyFile { file, faults: self.1.clone(), written: AtomicU64::new(len), synced })
    }
}

impl Disk for FaultyFolder {
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Faults::fail(&self.1.fail_creates, "create failed")?;
        Ok(self.wrap(name, self.0.create(name)?, 0))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(name, self.0.open(name)?, 0))
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        Faults::fail(&self.1.fail_publishes, "rename failed")?;
        self.0.publish(from, to)?;
        let mut synced = self.1.synced.lock().unwrap();
        let len = synced.remove(from).unwrap();
        synced.insert(to.to_owned(), len);
        Ok(())
    }

    fn discard(&self, name: &str) -> io::Result<()> {
        self.0.discard(name)
    }
}

impl LogFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if self.faults.fail_writes.load(Ordering::SeqCst) {
            self.file.write_at(&bytes[..bytes.len() / 2], position)?;
        }
        Faults::fail(&self.faults.fail_writes, "write failed")?;
        self.written.store(position + bytes.len() as u64, Ordering::SeqCst);
        self.file.write_at(bytes, position)
    }

    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        wait_until("the test lets go", || !self.faults.hold_syncs.load(Ordering::SeqCst));
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        Faults::fail(&self.faults.fail_syncs, "sync failed")?;
        self.file.sync()?;
        self.synced.store(self.written.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.reserve(position, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn release(&self) -> io::Result<()> {
        self.file.release()
    }
}

fn settings(dir: &Path) -> Settings {
    Settings { dir: dir.to_owned(), segment_bytes: 64 << 20, reserve_bytes: 4 << 20 }
}

fn open(settings: &Settings) -> (Audit, Recovered, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = FaultyFolder(Folder::open(&settings.dir).unwrap(), faults.clone());
    let (audit, recovered) = Audit::open_on(Box::new(disk), settings).unwrap();
    (audit, recovered, faults)
}

fn event(id: impl std::fmt::Display) -> Vec<u8> {
    format!(r#"{{"eventID":"{id}"}}"#).into_bytes()
}

fn ids(ids: &[&str]) -> HashSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

async fn append(audit: &Audit, id: impl std::fmt::Display) -> Result<Appended, Error> {
    audit.append(audit.begin()?, event(id), 1).await
}

/// Waits for what the writer's thread does by itself.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn what_waits_together_is_synced_together() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, faults) = open(&settings(dir.path()));
    let before = faults.syncs.load(Ordering::SeqCst);
    faults.hold_syncs.store(true, Ordering::SeqCst);
    // Sent at once: the futures only wait.
    let waiting: Vec<_> = (0..64).map(|id| audit.append(audit.begin().unwrap(), event(id), 1)).collect();
    faults.hold_syncs.store(false, Ordering::SeqCst);
    let mut seqs = Vec::new();
    for append in waiting {
        seqs.push(append.await.unwrap().seq);
    }
    assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
    let syncs = faults.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=2).contains(&syncs), "{syncs} syncs: one for what came first, one for the rest");
    assert_eq!(audit.durable_seq(), 64);
}

#[tokio::test]
async fn a_line_is_written_though_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, _) = open(&settings(dir.path()));
    drop(audit.append(audit.begin().unwrap(), event("dropped"), 1));
    append(&audit, "next").await.unwrap();
    assert_eq!(audit.contains(&ids(&["dropped", "next", "never"]), 0).unwrap(), ids(&["dropped", "next"]));
    assert_eq!(audit.contains(&ids(&["dropped", "next"]), 2).unwrap(), ids(&["next"]));
    assert_eq!(audit.status().permits, 0);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, faults) = open(&settings(dir.path()));
    faults.hold_syncs.store(true, Ordering::SeqCst);
    let mut waiting = std::pin::pin!(audit.append(audit.begin().unwrap(), event("a"), 1));
    let path = dir.path().join(Segment { first_seq: 1 }.name());
    wait_until("written", || fs::metadata(&path).unwrap().len() > 0);
    let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "acknowledged without a sync");
    assert_eq!(audit.durable_seq(), 0);
    assert!(audit.contains(&ids(&["a"]), 0).unwrap().is_empty());
    faults.hold_syncs.store(false, Ordering::SeqCst);
    assert_eq!(waiting.await.unwrap().seq, 1);
}

async fn survives(fault: impl Fn(&Faults) -> &AtomicBool, acknowledged_before: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, faults) = open(&settings(dir.path()));
    for id in 0..acknowledged_before {
        append(&audit, format_args!("before-{id}")).await.unwrap();
    }
    let held = audit.begin().unwrap();
    let permits: Vec<_> = (0..8).map(|_| audit.begin().unwrap()).collect();
    fault(&faults).store(true, Ordering::SeqCst);
    let failed: Vec<_> = (0..).zip(permits).map(|(id, permit)| audit.append(permit, event(id), 1)).collect();
    for append in failed {
        assert!(matches!(append.await, Err(Error::Broken { .. })));
    }
    assert!(matches!(audit.begin(), Err(Error::Broken { .. })), "no new segment while the disk fails");
    assert!(matches!(audit.append(held, event("held"), 1).await, Err(Error::Broken { .. })));
    let broken = dir.path().join(Segment { first_seq: 1 }.name());
    let left = fs::read(&broken).unwrap();

    fault(&faults).store(false, Ordering::SeqCst);
    wait_until("a new segment", || audit.status().writable);
    let after = append(&audit, "after").await.unwrap();
    assert_eq!(after.seq, acknowledged_before + 2, "behind the break, without a gap");
    let wanted = ids(&["0", "7", "held", "before-0", "after"]);
    let found = audit.contains(&wanted, 0).unwrap();
    audit.close();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.breaks, report.records, report.last_seq), (1, acknowledged_before + 1, after.seq));
    if acknowledged_before > 0 {
        assert_eq!(found, ids(&["before-0", "after"]));
        assert_eq!(fs::read(&broken).unwrap(), left, "a poisoned file is never written again");
        assert!(report.leftover_bytes > 0);
    } else {
        assert_eq!(found, ids(&["after"]));
        assert_eq!((report.segments, report.leftover_bytes), (1, 0), "nothing in it was acknowledged: replaced");
    }
    let (audit, recovered, _) = open(&settings(dir.path()));
    assert_eq!((recovered.last_seq, recovered.cut), (after.seq, false));
    append(&audit, "again").await.unwrap();
    audit.close();
    assert_eq!(verify(dir.path()).unwrap().last_seq, after.seq + 1);
}

#[tokio::test]
async fn survives_a_failed_sync() {
    survives(|faults| &faults.fail_syncs, 3).await;
}

#[tokio::test]
async fn survives_a_failed_sync_of_the_first_lines() {
    survives(|faults| &faults.fail_syncs, 0).await;
}

#[tokio::test]
async fn survives_half_a_write() {
    survives(|faults| &faults.fail_writes, 3).await;
}

#[tokio::test]
async fn leftovers_are_tolerated_only_before_a_break_that_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, faults) = open(&settings(dir.path()));
    append(&audit, "good").await.unwrap();
    faults.fail_syncs.store(true, Ordering::SeqCst);
    append(&audit, "lost").await.unwrap_err();
    faults.fail_syncs.store(false, Ordering::SeqCst);
    wait_until("a new segment", || audit.status().writable);
    append(&audit, "after").await.unwrap();
    audit.close();
    verify(dir.path()).unwrap();
    let second = dir.path().join(Segment { first_seq: 2 }.name());
    let good = fs::read_to_string(&second).unwrap();
    for (from, to) in [
        ("audit-00000000000000000001.jsonl", "audit-00000000000000000002.jsonl"),
        ("audit-00000000000000000001.jsonl", "audit-00000000000000000003.jsonl"),
        (r#""last_seq":1"#, r#""last_seq":0"#),
        (r#""last_seq":1"#, r#""last_seq":2"#),
        (r#""break""#, r#""cut""#),
    ] {
        // The line behind the break is dropped, so that only the break itself can give the change away.
        let line = good.lines().next().unwrap().replacen(from, to, 1) + "\n";
        assert!(!good.starts_with(&line), "{to}");
        fs::write(&second, line).unwrap();
        assert!(verify(dir.path()).is_err(), "{to}");
    }
    fs::remove_file(&second).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.records, 2, "without a break, what was left is part of the log");
}

#[tokio::test]
async fn a_rotation_that_fails_is_a_break() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { segment_bytes: 1, ..settings(dir.path()) };
    let (audit, _, faults) = open(&settings);
    append(&audit, "first").await.unwrap();
    faults.fail_publishes.store(true, Ordering::SeqCst);
    let second = append(&audit, "second").await;
    assert!(matches!(second, Err(Error::Broken { .. })), "{second:?}");
    faults.fail_publishes.store(false, Ordering::SeqCst);
    wait_until("a new segment", || audit.status().writable);
    append(&audit, "third").await.unwrap();
    audit.close();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.breaks, report.records), (1, 2));
}

#[tokio::test]
async fn a_segment_that_cannot_be_created_lets_the_last_one_grow() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { segment_bytes: 1, ..settings(dir.path()) };
    let (audit, _, faults) = open(&settings);
    faults.fail_creates.store(true, Ordering::SeqCst);
    for id in 0..5 {
        append(&audit, id).await.unwrap();
    }
    assert_eq!(Segment::list(dir.path()).unwrap().len(), 1);
    faults.fail_creates.store(false, Ordering::SeqCst);
    let mut records = 5;
    while Segment::list(dir.path()).unwrap().len() == 1 {
        append(&audit, records).await.unwrap();
        records += 1;
        assert!(records < 1_000_000, "no second segment");
    }
    audit.close();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.segments, report.records, report.breaks), (2, records, 0));
}

#[tokio::test]
async fn a_closed_log_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, _) = open(&settings(dir.path()));
    let permit = audit.begin().unwrap();
    let waiting = audit.append(audit.begin().unwrap(), event("last"), 1);
    audit.shutdown();
    assert_eq!(waiting.await.unwrap().seq, 1, "what waited is written");
    assert!(matches!(audit.begin(), Err(Error::Closed)));
    assert!(matches!(audit.append(permit, event("late"), 1).await, Err(Error::Closed)));
    audit.shutdown();
}

#[tokio::test]
async fn what_would_spoil_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, _) = open(&settings(dir.path()));
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_EVENT_LEN)).into_bytes();
    for bad in [b"".as_slice(), b"{}\n", b"{\n}", b"[]", b"{}{}", b"{},\"a\":{}", b"{\"a\":\"\xff\"}", b" {}", &long] {
        let refused = audit.append(audit.begin().unwrap(), bad.to_vec(), 1).await;
        assert!(matches!(refused, Err(Error::NotAnEvent(_))), "{:?}", String::from_utf8_lossy(bad));
    }
    assert_eq!(audit.status().permits, 0);
    assert_eq!(append(&audit, "good").await.unwrap().seq, 1);
}

#[tokio::test]
async fn more_permits_than_fit_are_refused_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _, _) = open(&settings(dir.path()));
    let mut permits = Vec::new();
    wait_until("a thousand permits: the window follows what is promised", || {
        permits.extend(audit.begin());
        permits.len() == 1000
    });
    assert_eq!(audit.status().permits, 1000);
    let path = dir.path().join(Segment { first_seq: 1 }.name());
    let allocated = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512;
    assert!(
        allocated >= 1000 * MAX_EVENT_LEN as u64,
        "{allocated} bytes are there for a thousand of the longest lines"
    );
    drop(permits);
    assert_eq!(audit.status().permits, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A power cut keeps what was synced, and of the rest any blocks.
    #[test]
    fn what_was_acknowledged_survives_a_power_cut(
        rounds in proptest::collection::vec(1_usize..40, 1..6),
        lost in proptest::collection::vec(any::<bool>(), 64),
        torn in 0_usize..5000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { segment_bytes: 4096, ..settings(dir.path()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (audit, _, faults) = open(&settings);
        let mut acknowledged = HashSet::new();
        runtime.block_on(async {
            for (round, count) in rounds.iter().enumerate() {
                let waiting: Vec<_> = (0..*count)
                    .map(|n| audit.append(audit.begin().unwrap(), event(format_args!("{round}-{n}")), round as u64))
                    .collect();
                for (n, append) in waiting.into_iter().enumerate() {
                    append.await.unwrap();
                    acknowledged.insert(format!("{round}-{n}"));
                }
            }
            // These reach the file, and are never acknowledged.
            faults.fail_syncs.store(true, Ordering::SeqCst);
            faults.fail_creates.store(true, Ordering::SeqCst);
            for n in 0..30 {
                drop(audit.begin().map(|permit| audit.append(permit, event(format_args!("lost-{n}")), 9)));
            }
        });
        audit.close();
        power_cut(dir.path(), &faults, &lost, torn);

        let (audit, recovered, _) = open(&settings);
        prop_assert_eq!(audit.contains(&acknowledged, 0).unwrap(), acknowledged);
        runtime.block_on(append(&audit, "after")).unwrap();
        audit.close();
        let report = verify(dir.path()).unwrap();
        prop_assert_eq!(report.last_seq, recovered.last_seq + 1);
        prop_assert_eq!(report.cuts, u64::from(recovered.cut));
    }
}

/// Shortens every file by `torn` bytes but to no less than was synced, and loses blocks behind that.
fn power_cut(dir: &Path, faults: &Faults, lost: &[bool], torn: usize) {
    for (name, synced) in faults.synced.lock().unwrap().iter() {
        let path = dir.join(name);
        let Ok(mut bytes) = fs::read(&path) else { continue };
        let synced = usize::try_from(synced.load(Ordering::SeqCst)).unwrap();
        bytes.truncate(bytes.len().saturating_sub(torn).max(synced));
        for (block, _) in lost.iter().enumerate().filter(|(_, lost)| **lost) {
            let start = (synced / 512 + block) * 512;
            for index in start.max(synced)..(start + 512).min(bytes.len()) {
                bytes[index] = 0;
            }
        }
        fs::write(path, bytes).unwrap();
    }
}
