//! The contract on SQLite, and what is particular to files.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::store::contract::{Edit, Fixture, contract};
use crate::store::samples::{self, now};
use crate::store::{Change, Meta, Store};

struct Sqlite(TempDir);

contract!(Sqlite);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }
}

impl Fixture for Sqlite {
    async fn new(meta: &[u8], root: &RootRow) -> Self {
        let fixture = Sqlite(tempfile::tempdir().unwrap());
        Embedded::create(&fixture.path(), meta, root).await.unwrap();
        fixture
    }

    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(Embedded::open(&self.path()).await.unwrap())
    }

    async fn edit(&self, edits: &[Edit]) {
        let mut editor = options(&self.path()).connect().await.unwrap();
        let mut transaction = editor.begin().await.unwrap();
        for edit in edits {
            let query = match edit {
                Edit::Put(row) => sqlx::query("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4)")
                    .bind(row.table.clone())
                    .bind(row.key.clone())
                    .bind(integer(row.revision))
                    .bind(row.sealed.clone()),
                Edit::Remove(row) => sqlx::query("DELETE FROM records WHERE tbl = ?1 AND pk = ?2")
                    .bind(row.table.clone())
                    .bind(row.key.clone()),
                Edit::Root(root) => sqlx::query("UPDATE root SET epoch = ?1, sealed = ?2")
                    .bind(integer(root.epoch))
                    .bind(root.sealed.clone()),
                Edit::Meta(body) => sqlx::query("UPDATE meta SET body = ?1").bind(body.clone()),
                Edit::Loose(row) => sqlx::query("INSERT OR REPLACE INTO loose VALUES (?1, ?2, ?3)")
                    .bind(row.table.clone())
                    .bind(row.key.clone())
                    .bind(row.sealed.clone()),
            };
            query.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        editor.close().await.unwrap();
    }
}

async fn store_in(folder: &TempDir) -> (PathBuf, Store) {
    let path = samples::file(folder.path());
    let store = samples::store(folder.path()).await;
    store.commit(Change::new(now()).insert(samples::outbox("e-1"))).await.unwrap();
    (path, store)
}

async fn commit(store: &Store, event_id: &str) -> Result<u64, Error> {
    store.commit(Change::new(now()).insert(samples::outbox(event_id))).await
}

/// Runs SQL as another program that holds the file would.
async fn meddle(path: &Path, sql: &'static str) {
    let mut other = options(path).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

/// From another process: closing a database file in this one would drop SQLite's own locks (POSIX).
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

async fn open(path: &Path) -> Result<Store, Error> {
    Store::open(path, &samples::store_key()).await
}

fn assert_tampered<T>(result: Result<T, Error>, expected: &str) {
    match result {
        Err(Error::Tampered { what }) => assert!(what.contains(expected), "{what}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not seen: {expected}"),
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _store) = store_in(&folder).await;
    for suffix in FILES {
        let mode = std::fs::metadata(beside(&path, suffix)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left in the folder");
}

#[tokio::test]
async fn every_commit_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _store) = store_in(&folder).await;
    let embedded = Embedded::open(&path).await.unwrap();
    let mut lock = embedded.writer().await;
    let connection = &mut lock.as_mut().unwrap().connection;
    let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&mut *connection).await.unwrap();
    let (journal,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(connection).await.unwrap();
    assert_eq!((synchronous, journal.as_str()), (2, "wal"));
}

#[tokio::test]
async fn a_store_is_created_once_and_read_by_its_own_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = samples::file(folder.path());
    assert!(Store::read_meta(&path).await.unwrap().is_none());
    assert!(matches!(open(&path).await, Err(Error::Absent { .. })));
    // What an interrupted creation leaves behind is not a store, and not in the way.
    for suffix in [".new", ".new-journal", ".new-wal", ".new-shm"] {
        std::fs::write(beside(&path, suffix), "a creation that did not end").unwrap();
    }

    let (path, store) = store_in(&folder).await;
    assert_eq!(Store::read_meta(&path).await.unwrap(), Some(samples::meta()));
    let again = Store::create(&path, &samples::meta(), &samples::store_key()).await;
    assert!(matches!(again, Err(Error::Exists { .. })));
    store.close().await.unwrap();

    assert_eq!(Store::read_meta(&path).await.unwrap(), Some(samples::meta()), "also while no one has it open");
    let other_key = crate::model::Secret::new(vec![7; 32]);
    assert_tampered(Store::open(&path, &other_key).await, "does not open under this store key");
    assert_eq!(open(&path).await.unwrap().outbox().len(), 1);
}

/// Its first opening has nothing left to switch, and so no journal that a kill could leave behind.
#[tokio::test]
async fn a_new_file_has_its_write_ahead_log_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = samples::file(folder.path());
    Embedded::create(&path, &samples::meta().to_bytes(), &RootRow { epoch: 1, sealed: vec![1] }).await.unwrap();
    // Source: <https://www.sqlite.org/fileformat2.html#file_format_version_numbers>
    assert_eq!(std::fs::read(&path).unwrap()[18..20], [2, 2]);
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(files.map(|file| file.unwrap().path()).collect::<Vec<_>>(), [path]);
}

#[tokio::test]
async fn a_meta_row_of_another_store_is_refused() {
    let fixture = Sqlite(tempfile::tempdir().unwrap());
    let (path, store) = store_in(&fixture.0).await;
    let other = Meta { store_id: samples::key_id(1), ..samples::meta() };
    fixture.edit(&[Edit::Meta(other.to_bytes())]).await;
    assert_tampered(store.check().await, "the meta row");
    assert_tampered(open(&path).await, "the meta row");
    assert_eq!(Store::read_meta(&path).await.unwrap(), Some(other), "not trusted before opening");
}

#[tokio::test]
async fn readers_do_not_trip_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store) = store_in(&folder).await;
    let mut reader = read_only(&path).await.unwrap();
    let mut writable = options(&path).connect().await.unwrap();
    for (n, event) in ["e-2", "e-3", "e-4"].into_iter().enumerate() {
        for connection in [&mut reader, &mut writable] {
            let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM records").fetch_one(connection).await.unwrap();
            assert_eq!(count, n as i64 + 1);
        }
        store.check().await.unwrap();
        commit(&store, event).await.unwrap();
    }
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut writable).await.unwrap();
    reader.close().await.unwrap();
    writable.close().await.unwrap();
    store.check().await.unwrap();
    store.scrub().await.unwrap();
    assert_eq!(store.tampered(), None);
}

#[tokio::test]
async fn our_own_writes_need_no_scan() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store) = store_in(&folder).await;
    let backend = Embedded::open(&path).await.unwrap();
    backend.scan(&mut |_| Ok(())).await.unwrap();
    assert!(!backend.changed().await.unwrap());
    backend.put_loose(Vec::new()).await.unwrap();
    assert!(!backend.changed().await.unwrap());
    commit(&store, "e-2").await.unwrap();
    assert!(backend.changed().await.unwrap(), "of someone else");
    assert!(backend.scan(&mut |raw| Err(raw.refused("stops"))).await.is_err());
    assert!(backend.changed().await.unwrap(), "a scan that failed clears nobody");
}

/// The times of files are as coarse as the kernel's ticks; SQLite's own counter is not.
#[tokio::test]
async fn another_writer_within_one_tick_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store) = store_in(&folder).await;
    let backend = Embedded::open(&path).await.unwrap();
    backend.scan(&mut |_| Ok(())).await.unwrap();
    commit(&store, "e-2").await.unwrap();
    backend.writer().await.as_mut().unwrap().stamp.files = stamps(&path);
    assert!(backend.changed().await.unwrap());
}

#[tokio::test]
async fn triggers_views_and_more_tables_are_refused() {
    for sql in [
        "CREATE TRIGGER t AFTER UPDATE ON root BEGIN DELETE FROM records; END",
        "CREATE TABLE more (x)",
        "CREATE INDEX i ON records (pk)",
        "DROP TABLE loose",
        "DROP TABLE records",
        "ALTER TABLE records RENAME TO r; CREATE VIEW records AS SELECT * FROM r",
        "DELETE FROM root",
        "DELETE FROM meta",
        "UPDATE root SET epoch = -1",
        "UPDATE records SET revision = -1",
        "UPDATE records SET pk = CAST(x'ff' AS TEXT)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = store_in(&folder).await;
        meddle(&path, sql).await;
        assert_tampered(open(&path).await, "");
        assert_tampered(commit(&store, "e-2").await, "");
        assert!(store.tampered().is_some(), "{sql}");
    }
}

#[tokio::test]
async fn another_file_under_the_same_name_is_refused() {
    for suffix in FILES {
        for remove in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let (path, store) = store_in(&folder).await;
            let file = beside(&path, suffix);
            if remove {
                std::fs::remove_file(&file).unwrap();
            } else {
                // The same bytes, so that only the file itself tells.
                let copied = folder.path().join("copy");
                copy(&file, &copied);
                std::fs::rename(&copied, &file).unwrap();
            }
            assert_tampered(commit(&store, "e-2").await, "was replaced or removed");
            assert_eq!(store.epoch(), 1);
        }
    }
}

#[tokio::test]
async fn a_file_put_back_in_its_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store) = store_in(&folder).await;
    meddle(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    store.check().await.unwrap();
    let old = folder.path().join("old");
    copy(&path, &old);
    commit(&store, "e-2").await.unwrap();
    meddle(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    store.check().await.unwrap();

    copy(&old, &path);
    assert_tampered(store.check().await, "");
    drop(store);
    assert_eq!(open(&path).await.unwrap().epoch(), 1, "whole in itself: the caller knows a later epoch");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store) = store_in(&folder).await;
    store.close().await.unwrap();
    let good = std::fs::read(&path).unwrap();
    for (bytes, what) in
        [(Vec::new(), "empty"), (vec![b'x'; 8192], "noise"), (good[..good.len() - 4096].to_vec(), "cut")]
    {
        std::fs::write(&path, bytes).unwrap();
        assert!(open(&path).await.is_err(), "{what}");
        assert!(Store::read_meta(&path).await.is_err() || what == "cut", "{what}");
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&path, suffix));
        }
    }
}

#[tokio::test]
async fn a_lock_of_another_process_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _store) = store_in(&folder).await;
    let backend = Embedded::open(&path).await.unwrap();
    let busy = sqlx::query("PRAGMA busy_timeout = 10");
    busy.execute(&mut backend.writer().await.as_mut().unwrap().connection).await.unwrap();
    let mut other = options(&path).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let ends = backend.scan(&mut |_| Ok(())).await.unwrap();
    let root = RootRow { epoch: 2, sealed: vec![1] };
    let batch = Batch { believed: ends.root.clone(), root: root.clone(), rows: Vec::new() };
    assert!(matches!(backend.apply(batch.clone()).await, Err(Error::Database { .. })));
    assert_eq!(backend.ends().await.unwrap(), ends);
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    backend.apply(batch).await.unwrap();
    assert_eq!(backend.ends().await.unwrap().root, root);
}

/// A commit that failed after its last frame was written: the log is emptied, so that it cannot come back.
#[tokio::test]
async fn what_became_of_a_failed_commit_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _store) = store_in(&folder).await;
    let backend = Embedded::open(&path).await.unwrap();
    let ends = backend.scan(&mut |_| Ok(())).await.unwrap();
    let batch =
        |believed: &RootRow, root: &RootRow| Batch { believed: believed.clone(), root: root.clone(), rows: Vec::new() };
    let other = RootRow { epoch: 7, sealed: vec![7] };
    let mut lock = backend.writer().await;
    let connection = &mut lock.as_mut().unwrap().connection;
    let failed = || sqlx::Error::Io(std::io::Error::other("the disk is gone"));

    let old = backend.settle(connection, &batch(&ends.root, &other), failed()).await;
    assert!(matches!(old, Err(Error::Database { .. })), "{old:?}");
    assert_eq!(std::fs::metadata(beside(&path, "-wal")).unwrap().len(), 0);
    backend.settle(connection, &batch(&other, &ends.root), failed()).await.unwrap();
    assert_tampered(backend.settle(connection, &batch(&other, &other), failed()).await, "root");

    // A reader in the log keeps it from being emptied, and so nobody knows what the next start would find.
    write(&path, connection, &batch(&ends.root, &other)).await.unwrap();
    sqlx::query("COMMIT").execute(&mut *connection).await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 10").execute(&mut *connection).await.unwrap();
    let mut reader = read_only(&path).await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    read_root(&path, &mut reader).await.unwrap();
    let stuck = backend.settle(connection, &batch(&other, &ends.root), failed()).await;
    assert!(matches!(stuck, Err(Error::Unknown { .. })), "{stuck:?}");
}
