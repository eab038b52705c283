//! Every record in memory, by primary key and by what requests ask for: the authority once the store is open.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::backend::{Fingerprint, RawRow};
use super::seal::{Keys, Kind, Place};
use super::{AccessKeyRecord, AliasRecord, Error, IntentRecord, KeyRecord, OutboxRecord, Record, Row};
use crate::model::{AccountId, AliasName, KeyId, Region};

/// All live records.
#[derive(Default)]
pub struct Index {
    pub(super) keys: Table<KeyRecord>,
    pub(super) aliases: Table<AliasRecord>,
    pub(super) access_keys: Table<AccessKeyRecord>,
    pub(super) intents: Table<IntentRecord>,
    pub(super) outbox: Table<OutboxRecord>,
    keys_of: Nested<(Region, AccountId), KeyId, KeyRecord>,
    aliases_of: Nested<(Region, AccountId), AliasName, AliasRecord>,
    aliases_of_key: Nested<(Region, KeyId), String, AliasRecord>,
}

/// The live records of one type by primary key, with what their rows in the database are compared by.
pub struct Table<T>(BTreeMap<String, Entry<T>>);

/// The rows of each owner, in order.
type Nested<O, K, T> = BTreeMap<O, BTreeMap<K, Arc<Row<T>>>>;

struct Entry<T> {
    row: Arc<Row<T>>,
    fingerprint: Fingerprint,
}

/// Where the index keeps a type of record. Not to be implemented outside of the store.
pub trait Indexed: Sized {
    #[doc(hidden)]
    fn table(index: &Index) -> &Table<Self>;

    #[doc(hidden)]
    fn table_mut(index: &mut Index) -> &mut Table<Self>;

    /// Enters a new row into the indices beside the primary key.
    #[doc(hidden)]
    fn link(_index: &mut Index, _row: &Arc<Row<Self>>) {}

    /// Takes an old row out of them.
    #[doc(hidden)]
    fn unlink(_index: &mut Index, _row: &Arc<Row<Self>>) {}
}

impl Index {
    /// Enters a row; answers whether there was none under its primary key.
    pub(super) fn put<R: Record>(&mut self, row: Row<R>, digest: [u8; 32]) -> bool {
        let key = row.record.primary_key();
        let fresh = !self.remove::<R>(&key);
        let fingerprint = Fingerprint { revision: row.revision, digest };
        let row = Arc::new(row);
        R::link(self, &row);
        R::table_mut(self).0.insert(key, Entry { row, fingerprint });
        fresh
    }

    /// Takes a row out; answers whether there was one.
    pub(super) fn remove<R: Record>(&mut self, key: &str) -> bool {
        match R::table_mut(self).0.remove(key) {
            Some(entry) => {
                R::unlink(self, &entry.row);
                true
            }
            None => false,
        }
    }

    /// Opens a row of the database and enters it.
    pub(super) fn admit(&mut self, keys: &Keys, raw: &RawRow, digest: [u8; 32]) -> Result<(), Error> {
        match raw.table.as_str() {
            KeyRecord::TABLE => self.admit_as::<KeyRecord>(keys, raw, digest),
            AliasRecord::TABLE => self.admit_as::<AliasRecord>(keys, raw, digest),
            AccessKeyRecord::TABLE => self.admit_as::<AccessKeyRecord>(keys, raw, digest),
            IntentRecord::TABLE => self.admit_as::<IntentRecord>(keys, raw, digest),
            OutboxRecord::TABLE => self.admit_as::<OutboxRecord>(keys, raw, digest),
            _ => Err(raw.refused("is of no known table")),
        }
    }

    /// What the row in the database must be like; `None` if there must be none.
    pub(super) fn fingerprint(&self, table: &str, key: &str) -> Option<Fingerprint> {
        match table {
            KeyRecord::TABLE => self.keys.fingerprint(key),
            AliasRecord::TABLE => self.aliases.fingerprint(key),
            AccessKeyRecord::TABLE => self.access_keys.fingerprint(key),
            IntentRecord::TABLE => self.intents.fingerprint(key),
            OutboxRecord::TABLE => self.outbox.fingerprint(key),
            _ => None,
        }
    }

    /// The table and primary key of every row.
    pub(super) fn places(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let keys = self.keys.0.keys().map(|key| (KeyRecord::TABLE, key.as_str()));
        let aliases = self.aliases.0.keys().map(|key| (AliasRecord::TABLE, key.as_str()));
        let access_keys = self.access_keys.0.keys().map(|key| (AccessKeyRecord::TABLE, key.as_str()));
        let intents = self.intents.0.keys().map(|key| (IntentRecord::TABLE, key.as_str()));
        let outbox = self.outbox.0.keys().map(|key| (OutboxRecord::TABLE, key.as_str()));
        keys.chain(aliases).chain(access_keys).chain(intents).chain(outbox)
    }

    /// The keys of an account behind `after`, by id.
    pub(super) fn keys_of(
        &self,
        region: &Region,
        account: &AccountId,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Vec<Arc<Row<KeyRecord>>> {
        page(self.keys_of.get(&(region.clone(), account.clone())), after, limit)
    }

    /// The aliases of an account behind `after`, by name.
    pub(super) fn aliases_of(
        &self,
        region: &Region,
        account: &AccountId,
        after: Option<&AliasName>,
        limit: usize,
    ) -> Vec<Arc<Row<AliasRecord>>> {
        page(self.aliases_of.get(&(region.clone(), account.clone())), after, limit)
    }

    /// The aliases of a key, by account and name.
    pub(super) fn aliases_of_key(&self, region: &Region, key_id: &KeyId) -> Vec<Arc<Row<AliasRecord>>> {
        page(self.aliases_of_key.get(&(region.clone(), *key_id)), None, usize::MAX)
    }

    fn admit_as<R: Record>(&mut self, keys: &Keys, raw: &RawRow, digest: [u8; 32]) -> Result<(), Error> {
        let json = keys.open(Kind::Row, raw.place(), &raw.sealed).map_err(|_| raw.refused("does not open"))?;
        let record: R = serde_json::from_slice(json.expose()).map_err(|_| raw.refused("is not readable"))?;
        if record.primary_key() != raw.key {
            return Err(raw.refused("is another record"));
        }
        if self.put(Row { revision: raw.revision, record }, digest) {
            Ok(())
        } else {
            Err(raw.refused("is there twice"))
        }
    }
}

impl<T> Table<T> {
    /// The record with this primary key.
    pub(super) fn find(&self, key: &str) -> Option<Arc<Row<T>>> {
        self.0.get(key).map(|entry| entry.row.clone())
    }

    /// All records, by primary key.
    pub(super) fn all(&self) -> Vec<Arc<Row<T>>> {
        self.0.values().map(|entry| entry.row.clone()).collect()
    }

    /// All records, in the order in which they were last written.
    pub(super) fn by_revision(&self) -> Vec<Arc<Row<T>>> {
        let mut rows = self.all();
        rows.sort_by_key(|row| row.revision);
        rows
    }

    /// What the row with this primary key is compared by.
    pub(super) fn fingerprint(&self, key: &str) -> Option<Fingerprint> {
        self.0.get(key).map(|entry| entry.fingerprint)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(BTreeMap::new())
    }
}

impl RawRow {
    /// Where the row belongs.
    pub(super) fn place(&self) -> Place<'_> {
        Place { table: &self.table, key: &self.key, revision: self.revision }
    }

    /// The error for this row.
    pub(super) fn refused(&self, why: &str) -> Error {
        Error::tampered(format!("the row {} {} {why}", self.table, self.key))
    }
}

impl Indexed for KeyRecord {
    fn table(index: &Index) -> &Table<Self> {
        &index.keys
    }

    fn table_mut(index: &mut Index) -> &mut Table<Self> {
        &mut index.keys
    }

    fn link(index: &mut Index, row: &Arc<Row<Self>>) {
        index.keys_of.entry(row.record.owner()).or_default().insert(row.record.key_id, row.clone());
    }

    fn unlink(index: &mut Index, row: &Arc<Row<Self>>) {
        drop_from(&mut index.keys_of, &row.record.owner(), &row.record.key_id);
    }
}

impl Indexed for AliasRecord {
    fn table(index: &Index) -> &Table<Self> {
        &index.aliases
    }

    fn table_mut(index: &mut Index) -> &mut Table<Self> {
        &mut index.aliases
    }

    fn link(index: &mut Index, row: &Arc<Row<Self>>) {
        let alias = &row.record;
        index.aliases_of.entry(alias.owner()).or_default().insert(alias.name.clone(), row.clone());
        index.aliases_of_key.entry(alias.names()).or_default().insert(alias.primary_key(), row.clone());
    }

    fn unlink(index: &mut Index, row: &Arc<Row<Self>>) {
        drop_from(&mut index.aliases_of, &row.record.owner(), &row.record.name);
        drop_from(&mut index.aliases_of_key, &row.record.names(), &row.record.primary_key());
    }
}

impl Indexed for AccessKeyRecord {
    fn table(index: &Index) -> &Table<Self> {
        &index.access_keys
    }

    fn table_mut(index: &mut Index) -> &mut Table<Self> {
        &mut index.access_keys
    }
}

impl Indexed for IntentRecord {
    fn table(index: &Index) -> &Table<Self> {
        &index.intents
    }

    fn table_mut(index: &mut Index) -> &mut Table<Self> {
        &mut index.intents
    }
}

impl Indexed for OutboxRecord {
    fn table(index: &Index) -> &Table<Self> {
        &index.outbox
    }

    fn table_mut(index: &mut Index) -> &mut Table<Self> {
        &mut index.outbox
    }
}

impl KeyRecord {
    fn owner(&self) -> (Region, AccountId) {
        (self.region.clone(), self.account.clone())
    }
}

impl AliasRecord {
    fn owner(&self) -> (Region, AccountId) {
        (self.region.clone(), self.account.clone())
    }

    fn names(&self) -> (Region, KeyId) {
        (self.region.clone(), self.target)
    }
}

fn page<K: Ord, T>(rows: Option<&BTreeMap<K, Arc<T>>>, after: Option<&K>, limit: usize) -> Vec<Arc<T>> {
    let start = after.map_or(Unbounded, Excluded);
    rows.into_iter().flat_map(|rows| rows.range((start, Unbounded))).map(|(_, row)| row.clone()).take(limit).collect()
}

/// Drops one entry, and the map that held it if it was the last one.
fn drop_from<O: Ord, K: Ord, T>(maps: &mut BTreeMap<O, BTreeMap<K, T>>, outer: &O, inner: &K) {
    if let Some(map) = maps.get_mut(outer) {
        map.remove(inner);
        if map.is_empty() {
            maps.remove(outer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;
    use crate::store::seal::tests::{fixed_keys, seal_fixed};

    fn raw(table: &str, key: &str, json: &[u8]) -> RawRow {
        let sealed = seal_fixed(Kind::Row, Place { table, key, revision: 3 }, json);
        RawRow { table: table.into(), key: key.into(), revision: 3, sealed }
    }

    fn refusal(index: &mut Index, raw: &RawRow) -> String {
        index.admit(&fixed_keys(), raw, [0; 32]).unwrap_err().to_string()
    }

    /// Not what an editor without the key can do; a mistake of ours would look like this.
    #[test]
    fn a_row_under_our_own_seal_must_still_be_itself() {
        let mut index = Index::default();
        let json = serde_json::to_vec(&samples::outbox("e-1")).unwrap();
        assert!(refusal(&mut index, &raw("outbox", "e-2", &json)).contains("outbox e-2 is another record"));
        assert!(refusal(&mut index, &raw("others", "e-1", &json)).contains("others e-1 is of no known table"));
        assert!(refusal(&mut index, &raw("keys", "e-1", &json)).contains("keys e-1 is not readable"));
        index.admit(&fixed_keys(), &raw("outbox", "e-1", &json), [0; 32]).unwrap();
        assert!(refusal(&mut index, &raw("outbox", "e-1", &json)).contains("outbox e-1 is there twice"));
        assert_eq!(index.places().collect::<Vec<_>>(), [("outbox", "e-1")]);
    }

    #[test]
    fn no_empty_owner_is_kept() {
        let mut index = Index::default();
        let alias = samples::alias(&samples::region(), "alias/x", 1);
        index.put(Row { revision: 1, record: alias.clone() }, [0; 32]);
        assert!(index.remove::<AliasRecord>(&alias.primary_key()));
        assert!(!index.remove::<AliasRecord>(&alias.primary_key()));
        assert!(index.aliases_of.is_empty() && index.aliases_of_key.is_empty());
    }
}
