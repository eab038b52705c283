//! When things were last used: noted in memory, written now and then, never decided upon.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Error;
use super::backend::LooseRow;
use super::seal::{Keys, Kind, Place};
use crate::model::{Region, Timestamp};

/// The last use of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The operation, for example `Decrypt`.
    pub operation: String,
    /// When.
    pub at: Timestamp,
    /// The id of the audit event.
    pub event_id: String,
    /// The id of the request.
    pub request_id: String,
}

/// The last request that an access key signed and that was authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyUsage {
    /// When.
    pub at: Timestamp,
    /// The service asked, for example `kms`.
    pub service: String,
    /// The Region asked.
    pub region: Region,
}

/// The last use of some kind of thing.
pub(super) trait LastUse: Clone + PartialEq + Serialize + DeserializeOwned {
    /// The table of its loose rows.
    const TABLE: &'static str;

    /// When it was.
    fn at(&self) -> Timestamp;
}

impl LastUse for Usage {
    const TABLE: &'static str = "usage";

    fn at(&self) -> Timestamp {
        self.at
    }
}

impl LastUse for AccessKeyUsage {
    const TABLE: &'static str = "access-key-usage";

    fn at(&self) -> Timestamp {
        self.at
    }
}

/// The last uses of all things of a kind, by the primary key of their records.
pub(super) struct Usages<U>(Mutex<HashMap<String, Noted<U>>>);

struct Noted<U> {
    usage: U,
    written: bool,
}

/// A usage on its way to the database.
pub(super) struct Unwritten<U> {
    key: String,
    usage: U,
}

impl<U: LastUse> Usages<U> {
    /// Reads the loose rows of this kind; what does not open is as if it were not there.
    pub(super) fn load(keys: &Keys, rows: &[LooseRow]) -> Self {
        let usages = Usages(Mutex::default());
        for row in rows.iter().filter(|row| row.table == U::TABLE) {
            match open(keys, row) {
                Some(usage) => usages.enter(row.key.clone(), usage, true),
                None => warn!(table = row.table, key = row.key, "a row on a last use is forged: ignored"),
            }
        }
        usages
    }

    /// The last use of a thing.
    pub(super) fn find(&self, key: &str) -> Option<U> {
        self.lock().get(key).map(|noted| noted.usage.clone())
    }

    /// Notes a use, unless a later one is noted.
    pub(super) fn note(&self, key: String, usage: U) {
        self.enter(key, usage, false);
    }

    /// What is not in the database yet.
    pub(super) fn unwritten(&self) -> Vec<Unwritten<U>> {
        let lock = self.lock();
        let unwritten = lock.iter().filter(|(_, noted)| !noted.written);
        unwritten.map(|(key, noted)| Unwritten { key: key.clone(), usage: noted.usage.clone() }).collect()
    }

    /// These have been written; one that was used again meanwhile stays unwritten.
    pub(super) fn written(&self, rows: Vec<Unwritten<U>>) {
        let mut lock = self.lock();
        for Unwritten { key, usage } in rows {
            if let Some(noted) = lock.get_mut(&key)
                && noted.usage == usage
            {
                noted.written = true;
            }
        }
    }

    fn enter(&self, key: String, usage: U, written: bool) {
        let mut lock = self.lock();
        if lock.get(&key).is_none_or(|noted| noted.usage.at() <= usage.at()) {
            lock.insert(key, Noted { usage, written });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Noted<U>>> {
        // A panic under the lock leaves whole entries, and nothing is decided by them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<U: LastUse> Unwritten<U> {
    /// The row for the database.
    pub(super) fn seal(&self, keys: &Keys) -> Result<LooseRow, Error> {
        // Strings and an integer only.
        let json = serde_json::to_vec(&self.usage).expect("a usage is JSON");
        let sealed = keys.seal(Kind::Loose, place(U::TABLE, &self.key), &json)?;
        Ok(LooseRow { table: U::TABLE.to_owned(), key: self.key.clone(), sealed: Some(sealed) })
    }
}

fn open<U: LastUse>(keys: &Keys, row: &LooseRow) -> Option<U> {
    let json = keys.open(Kind::Loose, place(U::TABLE, &row.key), row.sealed.as_deref()?).ok()?;
    serde_json::from_slice(json.expose()).ok()
}

fn place<'a>(table: &'static str, key: &'a str) -> Place<'a> {
    Place { table, key, revision: 0 }
}
