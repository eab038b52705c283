//! The root: one sealed row that says what the whole store is, changed in every transaction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backend::RootRow;
use super::meta::as_hex;
use super::seal::{Keys, Kind, Place};
use super::{Error, FORMAT_VERSION};
use crate::model::{KeyId, Timestamp};

/// What is true of the store at one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    /// Which version wrote it.
    pub(super) format: u32,
    /// The lowest version that may read it.
    pub(super) lowest_reader: u32,
    /// The id of the store, as in the meta row.
    pub(super) store_id: KeyId,
    /// SHA-256 of the meta row.
    #[serde(with = "as_hex")]
    pub(super) meta: [u8; 32],
    /// One more with every transaction.
    pub(super) epoch: u64,
    /// The highest time that any change brought.
    pub(super) highest_time: Timestamp,
    /// How many live rows each table has; a table without rows is absent.
    pub(super) rows: BTreeMap<String, u64>,
    /// XOR of [`Keys::member`] over all live rows.
    #[serde(with = "as_hex")]
    pub(super) set: [u8; 32],
}

impl Root {
    /// The root of a store without rows, before its first change.
    pub(super) fn empty(store_id: KeyId, meta: [u8; 32]) -> Self {
        Root {
            format: FORMAT_VERSION,
            lowest_reader: FORMAT_VERSION,
            store_id,
            meta,
            epoch: 0,
            highest_time: Timestamp::from_millis(0),
            rows: BTreeMap::new(),
            set: [0; 32],
        }
    }

    /// This root one epoch later, at `now` or at the highest time so far.
    pub(super) fn next(&self, now: Timestamp) -> Self {
        let highest_time = self.highest_time.max(now);
        Root { format: FORMAT_VERSION, epoch: self.epoch + 1, highest_time, ..self.clone() }
    }

    /// A row came into the set.
    pub(super) fn add(&mut self, table: &str, member: &[u8; 32]) {
        *self.rows.entry(table.to_owned()).or_default() += 1;
        self.toggle(member);
    }

    /// A row left the set; it must have been in it.
    pub(super) fn remove(&mut self, table: &str, member: &[u8; 32]) {
        if let Some(count) = self.rows.get_mut(table) {
            *count = count.saturating_sub(1);
        }
        self.rows.retain(|_, count| *count > 0);
        self.toggle(member);
    }

    /// The root as it lies in the database.
    pub(super) fn seal(&self, keys: &Keys) -> Result<RootRow, Error> {
        let sealed = keys.seal(Kind::Root, root_place(self.epoch), &self.to_json())?;
        Ok(RootRow { epoch: self.epoch, sealed })
    }

    /// Opens a root row, of a version that this one may read.
    pub(super) fn open(keys: &Keys, row: &RootRow) -> Result<Self, Error> {
        let json = keys
            .open(Kind::Root, root_place(row.epoch), &row.sealed)
            .map_err(|_| Error::tampered("the root row does not open under this store key"))?;
        // The versions first: what else a newer root says, this version cannot know.
        let Versions { lowest_reader } = parse(json.expose())?;
        if lowest_reader > FORMAT_VERSION {
            return Err(Error::Version { found: lowest_reader, ours: FORMAT_VERSION });
        }
        let root: Root = parse(json.expose())?;
        if root.epoch == row.epoch { Ok(root) } else { Err(Error::tampered("the root row is of another epoch")) }
    }

    fn toggle(&mut self, member: &[u8; 32]) {
        self.set.iter_mut().zip(member).for_each(|(byte, other)| *byte ^= other);
    }

    fn to_json(&self) -> Vec<u8> {
        // Integers, strings and a map with string keys: nothing in it that JSON cannot say.
        serde_json::to_vec(self).expect("a root is JSON")
    }
}

#[derive(Deserialize)]
struct Versions {
    lowest_reader: u32,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| Error::tampered(format!("the root row is not readable: {error}")))
}

fn root_place(epoch: u64) -> Place<'static> {
    Place { table: "root", key: "root", revision: epoch }
}
