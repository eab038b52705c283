//! The store in one SQLite file.
//!
//! One connection writes, for as long as the store is open. Every scan is made through a new connection, which shows
//! what is in the files and not what the writer remembers of them.

mod files;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;

use super::Error;
use super::backend::{After, Answer, Backend, Batch, Ends, Fingerprint, LooseRow, RawRow, RootRow, RowChange, Visit};
use crate::crypto;
use files::{FILES, FileStamp, Identity, beside, identities, stamps};

/// A SQLite database: WAL, `synchronous=FULL`, mode 0600.
pub struct Embedded {
    path: PathBuf,
    writer: Mutex<Option<Writer>>,
}

struct Writer {
    connection: SqliteConnection,
    files: [Identity; 3],
    stamp: Stamp,
}

/// What changes when anyone else writes: SQLite's `data_version` if it was done by SQLite, else the files themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    version: i64,
    files: [FileStamp; 2],
}

impl Embedded {
    /// Creates a database file with these two rows. It is made under another name, so that `path` is whole or absent
    /// whenever the power goes.
    pub async fn create(path: &Path, meta: &[u8], root: &RootRow) -> Result<(), Error> {
        if path.exists() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let new = beside(path, ".new");
        files::start(&new)?;
        fill(&new, meta, root).await?;
        files::publish(&new, path)
    }

    /// Opens the writing connection to the database file `path`.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::Absent { path: path.to_owned() });
        }
        let fault = |error| failure(path, "open it", error);
        let options = options(path).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.map_err(fault)?;
        // The first read makes the write-ahead log and its index, whose identities are taken next.
        let version = data_version(&mut connection).await.map_err(fault)?;
        let writer = Writer { connection, files: identities(path), stamp: Stamp { version, files: stamps(path) } };
        Ok(Embedded { path: path.to_owned(), writer: Mutex::new(Some(writer)) })
    }

    /// The meta row of the database file `path`; `None` if there is no such file.
    pub async fn read_meta(path: &Path) -> Result<Option<Vec<u8>>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let mut reader = read_only(path).await?;
        let meta = read_ends(path, &mut reader).await?.meta;
        reader.close().await.map_err(|error| failure(path, "close it", error))?;
        Ok(Some(meta))
    }

    async fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().await
    }

    fn fault(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
        move |error| failure(&self.path, doing, error)
    }

    async fn scan_all(&self, visit: Visit<'_>) -> Result<Ends, Error> {
        let mut lock = self.writer().await;
        let writer = lock.as_mut().ok_or(Error::Closed)?;
        let mut reader = read_only(&self.path).await?;
        data_version(&mut reader).await.map_err(self.fault("read it"))?;
        // Taken before the scan, because what is written while it runs counts as written after it; and after a first
        // read, because SQLite run by root sets the owner of the log whenever it opens it, which moves its ctime.
        let stamp = writer.stamp_now(&self.path).await?;
        let ends = self.scan_through(&mut reader, visit).await;
        let closed = reader.close().await.map_err(self.fault("close it"));
        let ends = ends?;
        closed?;
        // Only now: a scan that failed has cleared nobody.
        writer.stamp = stamp;
        Ok(ends)
    }

    async fn scan_through(&self, reader: &mut SqliteConnection, visit: Visit<'_>) -> Result<Ends, Error> {
        let fault = self.fault("read it");
        sqlx::query("BEGIN").execute(&mut *reader).await.map_err(&fault)?;
        let ends = read_ends(&self.path, reader).await?;
        let mut last: Option<(String, String)> = None;
        loop {
            let page = read_page(reader, last.as_ref()).await.map_err(&fault)?;
            if page.is_empty() {
                return Ok(ends);
            }
            for (table, key, revision, sealed) in page {
                // A damaged index could show a row twice or not at all; one that ascends strictly cannot show it twice.
                if last.as_ref().is_some_and(|last| (&last.0, &last.1) >= (&table, &key)) {
                    return Err(Error::tampered(format!("the row {table} {key} is out of order")));
                }
                last = Some((table.clone(), key.clone()));
                visit(RawRow { revision: natural(&table, &key, revision)?, table, key, sealed })?;
            }
        }
    }

    async fn apply_batch(&self, batch: &Batch) -> Result<(), Error> {
        let mut lock = self.writer().await;
        let writer = lock.as_mut().ok_or(Error::Closed)?;
        let result = match write(&self.path, &mut writer.connection, batch).await {
            Ok(()) => match sqlx::query("COMMIT").execute(&mut writer.connection).await {
                Ok(_) => Ok(()),
                Err(error) => self.settle(&mut writer.connection, batch, error).await,
            },
            Err(error) => {
                roll_back(&mut writer.connection).await;
                Err(error)
            }
        };
        // Read while we hold the lock: the files changed by our own hand.
        writer.stamp.files = stamps(&self.path);
        result
    }

    /// Finds out what became of a commit that failed.
    async fn settle(&self, connection: &mut SqliteConnection, batch: &Batch, error: sqlx::Error) -> Result<(), Error> {
        roll_back(connection).await;
        let unknown = |why: String| Error::Unknown { why };
        let root = match read_only(&self.path).await {
            Ok(mut reader) => read_ends(&self.path, &mut reader).await.map(|ends| ends.root),
            Err(error) => Err(error),
        };
        match root {
            Ok(root) if root == batch.root => return Ok(()),
            Ok(root) if root == batch.believed => {}
            Ok(_) => return Err(Error::tampered("the root row changed during a commit")),
            Err(second) => return Err(unknown(format!("{error}, and then {second}"))),
        }
        let failure = failure(&self.path, "commit a change", error);
        // A log that was full never got the frame that ends the commit. After any other failure the log may hold the
        // whole commit, which the next start would find valid: empty the log, so that it stays undone.
        if !matches!(failure, Error::Full { .. }) {
            empty_log(connection).await.map_err(|second| unknown(format!("{failure}, and then {second}")))?;
        }
        Err(failure)
    }

    async fn replace_loose(&self, rows: &[LooseRow]) -> Result<(), Error> {
        let mut lock = self.writer().await;
        let writer = lock.as_mut().ok_or(Error::Closed)?;
        let result = write_loose(&mut writer.connection, rows).await;
        if result.is_err() {
            roll_back(&mut writer.connection).await;
        }
        writer.stamp.files = stamps(&self.path);
        result.map_err(self.fault("write the last uses"))
    }
}

impl Backend for Embedded {
    fn scan<'a>(&'a self, visit: Visit<'a>) -> Answer<'a, Ends> {
        Box::pin(self.scan_all(visit))
    }

    fn ends(&self) -> Answer<'_, Ends> {
        Box::pin(async {
            let mut reader = read_only(&self.path).await?;
            let ends = read_ends(&self.path, &mut reader).await;
            reader.close().await.map_err(self.fault("close it"))?;
            ends
        })
    }

    fn apply(&self, batch: Batch) -> Answer<'_, ()> {
        Box::pin(async move { self.apply_batch(&batch).await })
    }

    fn changed(&self) -> Answer<'_, bool> {
        Box::pin(async {
            let mut lock = self.writer().await;
            let writer = lock.as_mut().ok_or(Error::Closed)?;
            Ok(writer.stamp_now(&self.path).await? != writer.stamp)
        })
    }

    fn loose(&self) -> Answer<'_, Vec<LooseRow>> {
        Box::pin(async {
            let mut reader = read_only(&self.path).await?;
            let rows = read_loose(&self.path, &mut reader).await;
            reader.close().await.map_err(self.fault("close it"))?;
            rows
        })
    }

    fn put_loose(&self, rows: Vec<LooseRow>) -> Answer<'_, ()> {
        Box::pin(async move { self.replace_loose(&rows).await })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            match self.writer().await.take() {
                Some(writer) => writer.connection.close().await.map_err(self.fault("close it")),
                None => Ok(()),
            }
        })
    }
}

impl Writer {
    /// The stamp as it is now, of the files that were opened.
    async fn stamp_now(&mut self, path: &Path) -> Result<Stamp, Error> {
        let found = identities(path);
        if let Some(at) = (0..FILES.len()).find(|&at| found[at] != self.files[at]) {
            let file = beside(path, FILES[at]);
            return Err(Error::tampered(format!("the file {} was replaced or removed", file.display())));
        }
        let version = data_version(&mut self.connection).await.map_err(|error| failure(path, "look at it", error))?;
        Ok(Stamp { version, files: stamps(path) })
    }
}

async fn fill(new: &Path, meta: &[u8], root: &RootRow) -> Result<(), Error> {
    let fault = |error| failure(new, "create it", error);
    let mut connection = options(new).synchronous(SqliteSynchronous::Full).connect().await.map_err(fault)?;
    let mut transaction = connection.begin().await.map_err(fault)?;
    for (_, sql) in SCHEMA.into_iter().filter(|(_, sql)| !sql.is_empty()) {
        sqlx::query(sql).execute(&mut *transaction).await.map_err(fault)?;
    }
    let row = sqlx::query("INSERT INTO meta (id, body) VALUES (1, ?1)").bind(meta);
    row.execute(&mut *transaction).await.map_err(fault)?;
    let row = sqlx::query("INSERT INTO root (id, epoch, sealed) VALUES (1, ?1, ?2)");
    row.bind(integer(root.epoch)).bind(&root.sealed[..]).execute(&mut *transaction).await.map_err(fault)?;
    transaction.commit().await.map_err(fault)?;
    // Here and not at the first opening: that would journal the switch under the store's own name, and the next start
    // after a kill inside it would find a journal that no reader may roll back.
    let mode = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut connection);
    let mode: String = mode.await.map_err(fault)?;
    connection.close().await.map_err(fault)?;
    match mode.as_str() {
        "wal" => Ok(()),
        other => Err(Error::tampered(format!("SQLite keeps a journal of the mode {other} for a new database"))),
    }
}

/// Everything of a change but its commit.
async fn write(path: &Path, connection: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let fault = |error| failure(path, "write a change", error);
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(fault)?;
    if read_root(path, connection).await? != batch.believed {
        return Err(Error::tampered("the root row is not as it was written"));
    }
    for change in &batch.rows {
        compare_row(path, connection, change).await?;
        write_row(connection, change, batch.root.epoch).await.map_err(fault)?;
    }
    let row = sqlx::query("UPDATE root SET epoch = ?1, sealed = ?2 WHERE id = 1");
    row.bind(integer(batch.root.epoch)).bind(&batch.root.sealed[..]).execute(connection).await.map_err(fault)?;
    Ok(())
}

async fn compare_row(path: &Path, connection: &mut SqliteConnection, change: &RowChange) -> Result<(), Error> {
    let row = sqlx::query_as("SELECT revision, sealed FROM records WHERE tbl = ?1 AND pk = ?2");
    let row: Option<(i64, Vec<u8>)> = row
        .bind(change.table)
        .bind(&change.key[..])
        .fetch_optional(connection)
        .await
        .map_err(|error| failure(path, "read a row", error))?;
    let found = row.map(|(revision, sealed)| (revision, crypto::sha256(&[&sealed])));
    let expected = change.before.map(|Fingerprint { revision, digest }| (integer(revision), digest));
    if found == expected {
        return Ok(());
    }
    Err(Error::tampered(format!("the row {} {} is not as it was written", change.table, change.key)))
}

async fn write_row(connection: &mut SqliteConnection, change: &RowChange, epoch: u64) -> Result<(), sqlx::Error> {
    let query = match &change.after {
        After::Kept => return Ok(()),
        After::Removed => sqlx::query("DELETE FROM records WHERE tbl = ?1 AND pk = ?2"),
        After::Sealed(_) => {
            sqlx::query("INSERT OR REPLACE INTO records (tbl, pk, revision, sealed) VALUES (?1, ?2, ?3, ?4)")
        }
    };
    let query = query.bind(change.table).bind(&change.key[..]);
    let query = match &change.after {
        After::Sealed(sealed) => query.bind(integer(epoch)).bind(&sealed[..]),
        After::Kept | After::Removed => query,
    };
    query.execute(connection).await.map(drop)
}

async fn write_loose(connection: &mut SqliteConnection, rows: &[LooseRow]) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    for LooseRow { table, key, sealed } in rows {
        let query = match sealed {
            Some(sealed) => sqlx::query("INSERT OR REPLACE INTO loose (tbl, pk, sealed) VALUES (?1, ?2, ?3)")
                .bind(&table[..])
                .bind(&key[..])
                .bind(&sealed[..]),
            None => sqlx::query("DELETE FROM loose WHERE tbl = ?1 AND pk = ?2").bind(&table[..]).bind(&key[..]),
        };
        query.execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

async fn roll_back(connection: &mut SqliteConnection) {
    // It fails if SQLite has rolled back by itself, and then there is nothing left to do.
    if let Err(error) = sqlx::query("ROLLBACK").execute(connection).await {
        warn!(%error, "nothing to roll back");
    }
}

/// Moves everything from the write-ahead log into the database and truncates it.
async fn empty_log(connection: &mut SqliteConnection) -> Result<(), String> {
    let result: Result<(i64, i64, i64), _> =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await;
    match result {
        Ok((0, ..)) => Ok(()),
        Ok(_) => Err("the write-ahead log is in use".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The tables must be ours and nothing else: a trigger or a view could change what we read and write.
async fn check_schema(path: &Path, reader: &mut SqliteConnection) -> Result<(), Error> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as("SELECT name, sql FROM sqlite_schema ORDER BY name")
        .fetch_all(reader)
        .await
        .map_err(|error| failure(path, "read its schema", error))?;
    let found: Vec<(&str, &str)> = rows.iter().map(|(name, sql)| (&name[..], sql.as_deref().unwrap_or(""))).collect();
    if found == SCHEMA { Ok(()) } else { Err(Error::tampered("the tables of the database are not the store's")) }
}

async fn read_ends(path: &Path, reader: &mut SqliteConnection) -> Result<Ends, Error> {
    check_schema(path, reader).await?;
    let meta: Option<(Vec<u8>,)> = sqlx::query_as("SELECT body FROM meta WHERE id = 1")
        .fetch_optional(&mut *reader)
        .await
        .map_err(|error| failure(path, "read the meta row", error))?;
    let (meta,) = meta.ok_or_else(|| Error::tampered("the meta row is missing"))?;
    Ok(Ends { meta, root: read_root(path, reader).await? })
}

async fn read_root(path: &Path, reader: &mut SqliteConnection) -> Result<RootRow, Error> {
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT epoch, sealed FROM root WHERE id = 1")
        .fetch_optional(reader)
        .await
        .map_err(|error| failure(path, "read the root row", error))?;
    let (epoch, sealed) = row.ok_or_else(|| Error::tampered("the root row is missing"))?;
    Ok(RootRow { epoch: natural("root", "root", epoch)?, sealed })
}

type PageRow = (String, String, i64, Vec<u8>);

async fn read_page(
    reader: &mut SqliteConnection,
    after: Option<&(String, String)>,
) -> Result<Vec<PageRow>, sqlx::Error> {
    match after {
        None => sqlx::query_as("SELECT tbl, pk, revision, sealed FROM records ORDER BY tbl, pk LIMIT 1000")
            .fetch_all(reader),
        Some((table, key)) => sqlx::query_as(
            "SELECT tbl, pk, revision, sealed FROM records WHERE (tbl, pk) > (?1, ?2) ORDER BY tbl, pk LIMIT 1000",
        )
        .bind(&table[..])
        .bind(&key[..])
        .fetch_all(reader),
    }
    .await
}

async fn read_loose(path: &Path, reader: &mut SqliteConnection) -> Result<Vec<LooseRow>, Error> {
    check_schema(path, reader).await?;
    let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as("SELECT tbl, pk, sealed FROM loose")
        .fetch_all(reader)
        .await
        .map_err(|error| failure(path, "read the last uses", error))?;
    Ok(rows.into_iter().map(|(table, key, sealed)| LooseRow { table, key, sealed: Some(sealed) }).collect())
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (version,) = sqlx::query_as("PRAGMA data_version").fetch_one(connection).await?;
    Ok(version)
}

async fn read_only(path: &Path) -> Result<SqliteConnection, Error> {
    options(path).read_only(true).connect().await.map_err(|error| failure(path, "open it for reading", error))
}

fn options(path: &Path) -> SqliteConnectOptions {
    // The schema is not trusted: no function with side effects may run out of it.
    let options = SqliteConnectOptions::new().filename(path).pragma("trusted_schema", "OFF");
    options.pragma("cell_size_check", "ON").disable_statement_logging()
}

/// Tells a damaged file and a full disk from all other failures, by SQLite's result code.
fn failure(path: &Path, doing: &'static str, error: sqlx::Error) -> Error {
    let code = match &error {
        sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i32>().ok()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Some(SQLITE_CORRUPT),
        _ => None,
    };
    // The low byte is the primary code: <https://sqlite.org/rescode.html>.
    match code.map(|code| code & 0xff) {
        Some(SQLITE_FULL) => Error::Full { path: path.to_owned() },
        Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Error::tampered(format!("{} is damaged: {error}", path.display())),
        _ => Error::Database { doing, source: Box::new(error) },
    }
}

/// SQLite's integers are signed. An epoch takes longer than the sun to get there.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(table: &str, key: &str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::tampered(format!("the row {table} {key} has revision {number}")))
}

/// Everything in the schema by name, in the order of the names.
///
/// Not `WITHOUT ROWID`: such a table gives every row above a kilobyte, and so almost every key, a page of its own.
const SCHEMA: [(&str, &str); 6] = [
    (
        "loose",
        "CREATE TABLE loose (tbl TEXT NOT NULL, pk TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (tbl, pk)) STRICT",
    ),
    ("meta", "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL) STRICT"),
    (
        "records",
        "CREATE TABLE records (tbl TEXT NOT NULL, pk TEXT NOT NULL, revision INTEGER NOT NULL, sealed BLOB NOT NULL, \
         PRIMARY KEY (tbl, pk)) STRICT",
    ),
    (
        "root",
        "CREATE TABLE root (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT",
    ),
    // The primary keys: SQLite makes them, so they have no text.
    ("sqlite_autoindex_loose_1", ""),
    ("sqlite_autoindex_records_1", ""),
];

const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;
