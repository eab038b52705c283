//! Every record in memory, by primary key and by what requests ask for: the authority once the store is open.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::backend::{Fingerprint, RawRow};
use super::grants::GrantsTo;
use super::seal::{Keys, Kind, Place};
use super::{
    AccessKeyRecord, AccountRecord, AliasRecord, CustomKeyStoreRecord, Error, GrantRecord, IntentRecord, KeyRecord,
    OutboxRecord, PairingRecord, PolicyRecord, PrincipalRecord, Record, RegionTokenRecord, ReplicationKeyRecord, Row,
    RunsRecord, TokenTriesRecord, WrapCountRecord, WrappingKeyRecord,
};
use crate::model::{AccountId, AliasName, KeyId, Region};

/// All live records.
#[derive(Default)]
pub struct Index {
    tables: Tables,
    keys_of: Nested<(Region, AccountId), KeyId, KeyRecord>,
    /// Of multi-Region keys alone.
    regions_of: Nested<KeyId, Region, KeyRecord>,
    aliases_of: Nested<(Region, AccountId), AliasName, AliasRecord>,
    aliases_of_key: Nested<(Region, KeyId), String, AliasRecord>,
    access_keys_of: Nested<String, String, AccessKeyRecord>,
    principals_by_id: BTreeMap<String, Arc<Row<PrincipalRecord>>>,
    grants_on: Nested<(Region, KeyId), String, GrantRecord>,
    grants_to: BTreeMap<(Region, KeyId, String), GrantsTo>,
    grants_retired_by: Nested<(Region, String), String, GrantRecord>,
    grants_named: Nested<(Region, KeyId, String), String, GrantRecord>,
}

/// The live records of one type by primary key, with what their rows in the database are compared by.
pub struct Table<T>(BTreeMap<String, Entry<T>>);

/// The rows of each owner, in order.
type Nested<O, K, T> = BTreeMap<O, BTreeMap<K, Arc<Row<T>>>>;

struct Entry<T> {
    row: Arc<Row<T>>,
    fingerprint: Fingerprint,
}

/// Where the records of a type are.
pub trait Tabled: Sized {
    #[doc(hidden)]
    fn table(tables: &Tables) -> &Table<Self>;

    #[doc(hidden)]
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
}

/// Where the index keeps a type of record. Not to be implemented outside of the store.
pub trait Indexed: Tabled {
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
        R::table_mut(&mut self.tables).0.insert(key, Entry { row, fingerprint });
        fresh
    }

    /// Takes a row out; answers whether there was one.
    pub(super) fn remove<R: Record>(&mut self, key: &str) -> bool {
        match R::table_mut(&mut self.tables).0.remove(key) {
            Some(entry) => {
                R::unlink(self, &entry.row);
                true
            }
            None => false,
        }
    }

    /// The records of one type.
    pub(super) fn table<R: Record>(&self) -> &Table<R> {
        R::table(&self.tables)
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

    /// The primary key and the replicas that are one multi-Region key, by Region.
    pub(super) fn multi_region(&self, key_id: &KeyId) -> Vec<Arc<Row<KeyRecord>>> {
        page(self.regions_of.get(key_id), None, usize::MAX)
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

    /// The access keys of one principal, by id.
    pub(super) fn access_keys_of(&self, user_id: &str) -> Vec<Arc<Row<AccessKeyRecord>>> {
        page(self.access_keys_of.get(user_id), None, usize::MAX)
    }

    /// The user or role with this unique id.
    pub(super) fn principal_by_id(&self, unique_id: &str) -> Option<Arc<Row<PrincipalRecord>>> {
        self.principals_by_id.get(unique_id).cloned()
    }

    /// The grants on a key behind the id `after`, by id.
    pub(super) fn grants_on(
        &self,
        region: &Region,
        key_id: &KeyId,
        after: Option<&String>,
        limit: usize,
    ) -> Vec<Arc<Row<GrantRecord>>> {
        page(self.grants_on.get(&(region.clone(), *key_id)), after, limit)
    }

    /// The grants on a key to one grantee.
    pub(super) fn grants_to(&self, region: &Region, key_id: &KeyId, grantee: &str) -> Option<&GrantsTo> {
        // Most requests are of principals without any grant, and these keys are long.
        if self.grants_to.is_empty() {
            None
        } else {
            self.grants_to.get(&(region.clone(), *key_id, grantee.to_owned()))
        }
    }

    /// How many grants a key has.
    pub(super) fn count_grants(&self, region: &Region, key_id: &KeyId) -> usize {
        self.grants_on.get(&(region.clone(), *key_id)).map_or(0, BTreeMap::len)
    }

    /// The grant that a creation of `grant` would make once more.
    pub(super) fn twin_of(&self, grant: &GrantRecord) -> Option<&Arc<Row<GrantRecord>>> {
        let named = self.grants_named.get(&grant.on_for(&grant.name))?;
        named.values().find(|row| row.record.is_twin_of(grant))
    }

    /// The grants that this principal may retire, behind the primary key `after`.
    pub(super) fn grants_retired_by(
        &self,
        region: &Region,
        principal: &str,
        after: Option<&String>,
        limit: usize,
    ) -> Vec<Arc<Row<GrantRecord>>> {
        page(self.grants_retired_by.get(&(region.clone(), principal.to_owned())), after, limit)
    }

    fn admit_as<R: Record>(&mut self, keys: &Keys, raw: &RawRow, digest: [u8; 32]) -> Result<(), Error> {
        let json = keys.open(Kind::Row, raw.place(), &raw.sealed).map_err(|_| raw.refused("does not open"))?;
        let record: R = serde_json::from_slice(json.expose()).map_err(|_| raw.refused("is not readable"))?;
        if record.primary_key() != raw.key {
            return Err(raw.refused("is another record"));
        }
        if self.put(Row::new(raw.revision, record), digest) { Ok(()) } else { Err(raw.refused("is there twice")) }
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

    /// At most `limit` records whose primary keys begin with `prefix`, behind the primary key `after`.
    pub(super) fn beginning_with(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Arc<Row<T>>> {
        let start = after.map_or(Included(prefix), Excluded);
        let rows = self.0.range::<str, _>((start, Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        rows.map(|(_, entry)| entry.row.clone()).take(limit).collect()
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

/// Makes the tables, and what goes over all of them.
macro_rules! tables {
    ($($table:ident: $record:ty,)+) => {
        /// The live records of every type.
        #[derive(Default)]
        pub struct Tables {
            $($table: Table<$record>,)+
        }

        $(impl Tabled for $record {
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$table
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$table
            }
        })+

        impl Index {
            /// Opens a row of the database and enters it.
            pub(super) fn admit(&mut self, keys: &Keys, raw: &RawRow, digest: [u8; 32]) -> Result<(), Error> {
                match raw.table.as_str() {
                    $(<$record>::TABLE => self.admit_as::<$record>(keys, raw, digest),)+
                    _ => Err(raw.refused("is of no known table")),
                }
            }

            /// What the row in the database must be like; `None` if there must be none.
            pub(super) fn fingerprint(&self, table: &str, key: &str) -> Option<Fingerprint> {
                match table {
                    $(<$record>::TABLE => self.tables.$table.fingerprint(key),)+
                    _ => None,
                }
            }

            /// The table and primary key of every row.
            pub(super) fn places(&self) -> impl Iterator<Item = (&'static str, &str)> {
                let none = std::iter::empty();
                $(let none = none.chain(self.tables.$table.0.keys().map(|key| (<$record>::TABLE, key.as_str())));)+
                none
            }
        }
    };
}
tables! {
    keys: KeyRecord,
    aliases: AliasRecord,
    grants: GrantRecord,
    accounts: AccountRecord,
    principals: PrincipalRecord,
    policies: PolicyRecord,
    access_keys: AccessKeyRecord,
    wrapping_keys: WrappingKeyRecord,
    custom_key_stores: CustomKeyStoreRecord,
    intents: IntentRecord,
    outbox: OutboxRecord,
    wrap_counts: WrapCountRecord,
    runs: RunsRecord,
    replication_keys: ReplicationKeyRecord,
    pairings: PairingRecord,
    region_tokens: RegionTokenRecord,
    token_tries: TokenTriesRecord,
}

impl Indexed for KeyRecord {
    fn link(index: &mut Index, row: &Arc<Row<Self>>) {
        index.keys_of.entry(row.record.owner()).or_default().insert(row.record.key_id, row.clone());
        if row.record.key_id.is_multi_region() {
            let regions = index.regions_of.entry(row.record.key_id).or_default();
            regions.insert(row.record.region.clone(), row.clone());
        }
    }

    fn unlink(index: &mut Index, row: &Arc<Row<Self>>) {
        drop_from(&mut index.keys_of, &row.record.owner(), &row.record.key_id);
        drop_from(&mut index.regions_of, &row.record.key_id, &row.record.region);
    }
}

impl Indexed for AliasRecord {
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
    fn link(index: &mut Index, row: &Arc<Row<Self>>) {
        let (owner, id) = (row.record.user_id.clone(), row.record.access_key_id.clone());
        index.access_keys_of.entry(owner).or_default().insert(id, row.clone());
    }

    fn unlink(index: &mut Index, row: &Arc<Row<Self>>) {
        drop_from(&mut index.access_keys_of, &row.record.user_id, &row.record.access_key_id);
    }
}

impl Indexed for PrincipalRecord {
    fn link(index: &mut Index, row: &Arc<Row<Self>>) {
        index.principals_by_id.insert(row.record.unique_id.clone(), row.clone());
    }

    fn unlink(index: &mut Index, row: &Arc<Row<Self>>) {
        index.principals_by_id.remove(&row.record.unique_id);
    }
}

impl Indexed for GrantRecord {
    fn link(index: &mut Index, row: &Arc<Row<Self>>) {
        let grant = &row.record;
        index.grants_on.entry(grant.on()).or_default().insert(grant.grant_id.clone(), row.clone());
        index.grants_to.entry(grant.on_for(&grant.grantee)).or_default().insert(row);
        if let Some(place) = grant.retired_by() {
            index.grants_retired_by.entry(place).or_default().insert(grant.primary_key(), row.clone());
        }
        if !grant.name.is_empty() {
            let named = index.grants_named.entry(grant.on_for(&grant.name)).or_default();
            named.insert(grant.grant_id.clone(), row.clone());
        }
    }

    fn unlink(index: &mut Index, row: &Arc<Row<Self>>) {
        let grant = &row.record;
        drop_from(&mut index.grants_on, &grant.on(), &grant.grant_id);
        drop_from(&mut index.grants_named, &grant.on_for(&grant.name), &grant.grant_id);
        if let Some(place) = grant.retired_by() {
            drop_from(&mut index.grants_retired_by, &place, &grant.primary_key());
        }
        let place = grant.on_for(&grant.grantee);
        if let Some(grants) = index.grants_to.get_mut(&place) {
            grants.remove(row);
            if grants.is_empty() {
                index.grants_to.remove(&place);
            }
        }
    }
}

impl Indexed for AccountRecord {}
impl Indexed for PolicyRecord {}
impl Indexed for WrappingKeyRecord {}
impl Indexed for CustomKeyStoreRecord {}
impl Indexed for IntentRecord {}
impl Indexed for OutboxRecord {}
impl Indexed for WrapCountRecord {}
impl Indexed for RunsRecord {}

impl Indexed for ReplicationKeyRecord {}

impl Indexed for PairingRecord {}
impl Indexed for RegionTokenRecord {}
impl Indexed for TokenTriesRecord {}

impl GrantRecord {
    fn on(&self) -> (Region, KeyId) {
        (self.region.clone(), self.key_id)
    }

    fn on_for(&self, what: &str) -> (Region, KeyId, String) {
        (self.region.clone(), self.key_id, what.to_owned())
    }

    fn retired_by(&self) -> Option<(Region, String)> {
        Some((self.region.clone(), self.retiring.clone()?))
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
        index.put(Row::new(1, alias.clone()), [0; 32]);
        assert!(index.remove::<AliasRecord>(&alias.primary_key()));
        assert!(!index.remove::<AliasRecord>(&alias.primary_key()));
        assert!(index.aliases_of.is_empty() && index.aliases_of_key.is_empty());
    }

    #[test]
    fn principals_are_found_by_their_id_until_they_are_gone() {
        let mut index = Index::default();
        let (user, role) = (samples::user("Ann"), samples::role("Ann"));
        index.put(Row::new(1, user.clone()), [0; 32]);
        index.put(Row::new(2, role.clone()), [0; 32]);
        let found = |index: &Index, id: &str| index.principal_by_id(id).map(|row| (row.revision, row.record.kind));
        assert_eq!(found(&index, &user.unique_id), Some((1, user.kind)));
        assert_eq!(found(&index, &role.unique_id), Some((2, role.kind)));
        assert_eq!(found(&index, &user.unique_id.to_lowercase()), None);

        // Another one of the same name: the old id is nobody's.
        assert!(index.remove::<PrincipalRecord>(&user.primary_key()));
        let again = PrincipalRecord { unique_id: "AIDAAGAIN".into(), ..user.clone() };
        index.put(Row::new(3, again), [0; 32]);
        assert_eq!(found(&index, &user.unique_id), None);
        assert_eq!(found(&index, "AIDAAGAIN"), Some((3, user.kind)));
    }

    #[test]
    fn access_keys_are_found_by_their_owner() {
        let mut index = Index::default();
        let of = |id: &str, user_id: &str| {
            let mut record = samples::access_key(id);
            record.user_id = user_id.into();
            record
        };
        for (revision, record) in
            [of("AKIA2", "AIDAANN"), of("AKIA1", "AIDAANN"), of("AKIA3", "AIDABOB")].iter().enumerate()
        {
            index.put(Row::new(revision as u64, record.clone()), [0; 32]);
        }
        let ids = |index: &Index, owner: &str| -> Vec<String> {
            index.access_keys_of(owner).iter().map(|row| row.record.access_key_id.clone()).collect()
        };
        assert_eq!(
            (ids(&index, "AIDAANN"), ids(&index, "AIDABOB")),
            (vec!["AKIA1".into(), "AKIA2".into()], vec!["AKIA3".into()])
        );
        assert!(ids(&index, "111122223333").is_empty());
        for id in ["AKIA1", "AKIA2", "AKIA3"] {
            assert!(index.remove::<AccessKeyRecord>(id));
        }
        assert!(index.access_keys_of.is_empty());
    }

    #[test]
    fn grants_are_found_by_key_name_grantee_and_who_may_retire_them() {
        let mut index = Index::default();
        let region = samples::region();
        let (first, second) = (samples::grant(&region, 7, 'a'), samples::grant(&region, 7, 'b'));
        let nameless =
            GrantRecord { name: String::new(), retiring: None, retiring_id: None, ..samples::grant(&region, 8, 'c') };
        for (revision, grant) in [&second, &first, &nameless].into_iter().enumerate() {
            index.put(Row::new(revision as u64, grant.clone()), [0; 32]);
        }
        let ids = |rows: Vec<Arc<Row<GrantRecord>>>| -> Vec<char> {
            rows.iter().map(|row| row.record.grant_id.chars().next().unwrap()).collect()
        };
        let (seven, eight) = (samples::key_id(7), samples::key_id(8));
        assert_eq!(ids(index.grants_on(&region, &seven, None, 9)), ['a', 'b']);
        assert_eq!(ids(index.grants_on(&region, &seven, None, 1)), ['a']);
        assert_eq!(ids(index.grants_on(&region, &seven, Some(&first.grant_id), 9)), ['b']);
        assert_eq!(ids(index.grants_on(&region, &eight, None, 9)), ['c']);
        assert!(index.grants_on(&"us-east-1".parse().unwrap(), &seven, None, 9).is_empty());
        let twin = |grant: &GrantRecord| index.twin_of(grant).map(|row| row.record.grant_id.clone());
        assert_eq!(twin(&samples::grant(&region, 7, 'd')).as_ref(), Some(&first.grant_id), "made again, it is there");
        let others = GrantRecord { name: "weekly".into(), ..first.clone() };
        assert_eq!((twin(&others), twin(&nameless)), (None, None), "no name is no name");
        assert_eq!(twin(&samples::grant(&region, 8, 'a')), None, "on another key");
        let retiring = first.retiring.as_deref().unwrap();
        assert_eq!(ids(index.grants_retired_by(&region, retiring, None, 9)), ['a', 'b']);
        assert_eq!(ids(index.grants_retired_by(&region, retiring, Some(&first.primary_key()), 9)), ['b']);
        assert!(index.grants_to(&region, &seven, &first.grantee).is_some());
        assert!(index.grants_to(&region, &seven, retiring).is_none());

        for grant in [&first, &second, &nameless] {
            assert!(index.remove::<GrantRecord>(&grant.primary_key()));
        }
        assert!(index.grants_on.is_empty() && index.grants_to.is_empty());
        assert!(index.grants_named.is_empty() && index.grants_retired_by.is_empty());
    }

    /// A grant that is written again with another grantee is no longer the old one's.
    #[test]
    fn a_row_that_is_written_again_leaves_its_old_places() {
        let mut index = Index::default();
        let region = samples::region();
        let grant = samples::grant(&region, 7, 'a');
        index.put(Row::new(1, grant.clone()), [0; 32]);
        let other = GrantRecord {
            grantee: "arn:aws:iam::111122223333:root".into(),
            name: "other".into(),
            retiring: None,
            ..grant.clone()
        };
        assert!(!index.put(Row::new(2, other.clone()), [0; 32]));
        assert!(index.grants_to(&region, &grant.key_id, &grant.grantee).is_none());
        assert!(index.grants_to(&region, &grant.key_id, &other.grantee).is_some());
        assert!(index.twin_of(&grant).is_none() && index.twin_of(&other).is_some());
        assert!(index.grants_retired_by.is_empty());
        assert_eq!(index.grants_on(&region, &grant.key_id, None, 9).len(), 1);
    }
}
