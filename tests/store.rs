//! The store under what a machine does to it: a killed process, a full disk, a disk that fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hsm_kms::crypto;
use hsm_kms::model::{KeyId, Secret, Timestamp};
use hsm_kms::store::{AccessKeyRecord, Change, Error, Meta, OutboxRecord, Store, Usage};
use tempfile::TempDir;

/// Twenty times a process is killed amid its commits. What it acknowledged is there, in whole changes, and no more
/// than one change that it did not come to acknowledge.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    if let Some(path) = role("kill") {
        return acknowledge_for_ever(&path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = create(folder.path()).await;
    let mut committed = 0;
    for round in 0..20 {
        let [acknowledgements, delay] = crypto::random_array::<2>().unwrap();
        let mut child = child("what_was_acknowledged_survives_kill_9", "kill", &path, &[]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).filter_map(number);
        let mut last = lines.by_ref().nth(usize::from(acknowledgements % 40));
        wait(Duration::from_micros(u64::from(delay) * 10));
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.last().or(last);

        let store = open(&path).await.unwrap();
        let last = last.expect("a child that lives acknowledges");
        let count = store.outbox().len();
        assert!((last..=last + 1).contains(&count), "round {round}: {count} changes, {last} acknowledged");
        assert_eq!(counter(&store), count, "round {round}: both rows of a change");
        assert_eq!(store.epoch(), 1 + count as u64, "round {round}");
        assert!((0..count).all(|n| store.outbox().iter().any(|row| row.record.event_id == event_id(n))));
        assert!(count > committed, "round {round} did nothing");
        committed = count;
        store.scrub().await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_works_again_with_room() {
    let disk = SmallDisk::mount("1m");
    let path = create(disk.0.path()).await;
    let store = open(&path).await.unwrap();
    let mut done = 0;
    let error = loop {
        match store.commit(large(done)).await {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Full { path: told } if *told == path), "{error}");
    assert!(done > 3, "the disk was full at once");
    for _ in 0..3 {
        assert!(matches!(store.commit(large(done)).await, Err(Error::Full { .. })));
        assert_eq!((store.epoch(), store.outbox().len()), (1 + done as u64, done));
        store.check().await.unwrap();
        store.scrub().await.unwrap();
    }
    store.note_usage(&region(), &KeyId::from_bytes([1; 16]), usage(&"x".repeat(1 << 20)));
    assert!(matches!(store.flush_usage().await, Err(Error::Full { .. })));

    disk.resize("16m");
    store.commit(large(done)).await.unwrap();
    store.flush_usage().await.unwrap();
    store.close().await.unwrap();
    let again = open(&path).await.unwrap();
    assert_eq!(again.outbox().len(), done + 1);
    assert!(again.usage(&region(), &KeyId::from_bytes([1; 16])).is_some());
    again.close().await.unwrap();
}

/// Here writing fails with another error than a full disk, in the middle of the write-ahead log.
#[tokio::test]
async fn a_failing_disk_changes_nothing_and_the_store_goes_on() {
    if let Some(path) = role("limit") {
        return meet_the_limit(&path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = create(folder.path()).await;
    // Files end at 400 blocks of 512 bytes, and the signal that would tell of it is ignored.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\""];
    let mut child = child("a_failing_disk_changes_nothing_and_the_store_goes_on", "limit", &path, &limited);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let last = lines.filter_map(number).last();
    assert!(child.wait().unwrap().success());
    let store = open(&path).await.unwrap();
    assert_eq!(Some(counter(&store)), last);
    assert_eq!(store.epoch(), 1 + counter(&store) as u64);
    store.close().await.unwrap();
}

async fn acknowledge_for_ever(path: &Path) {
    let store = open(path).await.unwrap();
    loop {
        let n = counter(&store);
        let change = counted(&store, n + 1).insert(event(n, 100));
        store.commit(change).await.unwrap();
        acknowledge(n + 1);
    }
}

async fn meet_the_limit(path: &Path) {
    let store = open(path).await.unwrap();
    let mut failures = 0;
    while failures < 3 {
        let n = counter(&store);
        match store.commit(counted(&store, n + 1)).await {
            Ok(_) => acknowledge(n + 1),
            Err(error) => {
                assert!(matches!(error, Error::Database { .. }), "{error}");
                assert_eq!((counter(&store), store.epoch()), (n, 1 + n as u64));
                store.check().await.unwrap();
                store.scrub().await.unwrap();
                failures += 1;
            }
        }
        assert!(n < 10_000, "the limit was not met");
    }
    store.close().await.unwrap();
}

/// This process is a child of the test, which said so by the environment.
fn role(expected: &str) -> Option<PathBuf> {
    (std::env::var(ROLE).ok()? == expected).then(|| std::env::var_os(PATH).unwrap().into())
}

fn child(test: &str, role: &str, path: &Path, through: &[&str]) -> Child {
    let me = std::env::current_exe().unwrap();
    let mut words = through.iter().map(std::ffi::OsString::from).chain([me.into()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", test, "--nocapture"]).env(ROLE, role).env(PATH, path);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn acknowledge(n: usize) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nacknowledged {n}").and_then(|()| out.flush()).unwrap();
}

/// The number of an acknowledgement; the test harness of the child writes other lines, and the last one may be cut.
fn number(line: String) -> Option<usize> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}

/// A random moment is what is wanted here, so it is spun: a sleep is never shorter than a commit.
fn wait(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

async fn create(folder: &Path) -> PathBuf {
    let path = folder.join("store.db");
    let meta = Meta {
        store_id: KeyId::from_bytes([1; 16]),
        wrapped_key: vec![1],
        scheme: 1,
        token_label: "kms".into(),
        token_serial: "1".into(),
    };
    let store = Store::create(&path, &meta, &store_key()).await.unwrap();
    store.commit(Change::new(now()).insert(counter_record(0))).await.unwrap();
    store.close().await.unwrap();
    path
}

async fn open(path: &Path) -> Result<Store, Error> {
    Store::open(path, &store_key()).await
}

fn store_key() -> Secret {
    Secret::new(vec![9; 32])
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_763_763_600_000)
}

fn region() -> hsm_kms::model::Region {
    "eu-west-1".parse().unwrap()
}

/// A record that counts in its user id, and fills half a page.
fn counter_record(n: usize) -> AccessKeyRecord {
    AccessKeyRecord {
        access_key_id: "counter".into(),
        account: "111122223333".parse().unwrap(),
        principal: "x".repeat(2000),
        user_id: n.to_string(),
        secret: String::new(),
        active: true,
        created: now(),
    }
}

fn counter(store: &Store) -> usize {
    store.access_key("counter").unwrap().record.user_id.parse().unwrap()
}

fn counted(store: &Store, n: usize) -> Change {
    Change::new(now()).update(&store.access_key("counter").unwrap(), counter_record(n))
}

fn event_id(n: usize) -> String {
    format!("e-{n}")
}

fn event(n: usize, len: usize) -> OutboxRecord {
    OutboxRecord { event_id: event_id(n), event: "x".repeat(len), since: 0 }
}

fn large(n: usize) -> Change {
    Change::new(now()).insert(event(n, 60_000))
}

fn usage(request_id: &str) -> Usage {
    Usage { operation: "Decrypt".into(), at: now(), event_id: "e".into(), request_id: request_id.into() }
}

/// A file system of its own, gone with the test however that ends.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        let options = format!("size={size},mode=700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "hsm-kms-test"]).arg(disk.0.path()));
        disk
    }

    fn resize(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a test that failed may still have its files open.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?} failed: this test runs as root");
}

const ROLE: &str = "HSM_KMS_TEST_STORE_ROLE";
const PATH: &str = "HSM_KMS_TEST_STORE_PATH";
