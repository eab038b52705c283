//! When each key was last used: noted in memory, written now and then, never decided upon.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Error;
use super::backend::LooseRow;
use super::record::key_row;
use super::seal::{Keys, Kind, Place};
use crate::model::{KeyId, Region, Timestamp};

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

/// The last uses of all keys.
#[derive(Default)]
pub(super) struct Usages(Mutex<HashMap<Region, HashMap<KeyId, Noted>>>);

struct Noted {
    usage: Usage,
    written: bool,
}

/// A usage on its way to the database.
pub(super) struct Unwritten {
    region: Region,
    key_id: KeyId,
    usage: Usage,
}

impl Usages {
    /// Reads the loose rows; what does not open is as if it were not there.
    pub(super) fn load(keys: &Keys, rows: Vec<LooseRow>) -> Self {
        let usages = Usages::default();
        for row in rows {
            match open(keys, &row) {
                Some(noted) => usages.enter(noted.region, noted.key_id, noted.usage, true),
                None => warn!(table = row.table, key = row.key, "a row on the last use of a key is forged: ignored"),
            }
        }
        usages
    }

    /// The last use of a key.
    pub(super) fn find(&self, region: &Region, key_id: &KeyId) -> Option<Usage> {
        self.lock().get(region)?.get(key_id).map(|noted| noted.usage.clone())
    }

    /// Notes a use, unless a later one is noted.
    pub(super) fn note(&self, region: &Region, key_id: &KeyId, usage: Usage) {
        self.enter(region.clone(), *key_id, usage, false);
    }

    /// What is not in the database yet.
    pub(super) fn unwritten(&self) -> Vec<Unwritten> {
        let lock = self.lock();
        let all =
            lock.iter().flat_map(|(region, keys)| keys.iter().map(move |(key_id, noted)| (region, key_id, noted)));
        all.filter(|(.., noted)| !noted.written)
            .map(|(region, key_id, noted)| Unwritten {
                region: region.clone(),
                key_id: *key_id,
                usage: noted.usage.clone(),
            })
            .collect()
    }

    /// These have been written; one that was used again meanwhile stays unwritten.
    pub(super) fn written(&self, rows: Vec<Unwritten>) {
        let mut lock = self.lock();
        for Unwritten { region, key_id, usage } in rows {
            if let Some(noted) = lock.get_mut(&region).and_then(|keys| keys.get_mut(&key_id))
                && noted.usage == usage
            {
                noted.written = true;
            }
        }
    }

    fn enter(&self, region: Region, key_id: KeyId, usage: Usage, written: bool) {
        let mut lock = self.lock();
        let keys = lock.entry(region).or_default();
        if keys.get(&key_id).is_none_or(|noted| noted.usage.at <= usage.at) {
            keys.insert(key_id, Noted { usage, written });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Region, HashMap<KeyId, Noted>>> {
        // A panic under the lock leaves whole entries, and nothing is decided by them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unwritten {
    /// The row for the database.
    pub(super) fn seal(&self, keys: &Keys) -> Result<LooseRow, Error> {
        let key = key_row(&self.region, &self.key_id);
        // Strings and an integer only.
        let json = serde_json::to_vec(&self.usage).expect("a usage is JSON");
        let sealed = keys.seal(Kind::Loose, place(&key), &json)?;
        Ok(LooseRow { table: TABLE.to_owned(), key, sealed: Some(sealed) })
    }
}

fn open(keys: &Keys, row: &LooseRow) -> Option<Unwritten> {
    let json = keys.open(Kind::Loose, place(&row.key), row.sealed.as_deref()?).ok()?;
    let usage = serde_json::from_slice(json.expose()).ok()?;
    let (region, key_id) = row.key.split_once('/')?;
    Some(Unwritten { region: region.parse().ok()?, key_id: key_id.parse().ok()?, usage })
}

fn place(key: &str) -> Place<'_> {
    Place { table: TABLE, key, revision: 0 }
}

const TABLE: &str = "usage";
