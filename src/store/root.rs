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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::sha256;
    use crate::model::{ConnectionError, KeyState, Origin, Purpose};
    use crate::store::backend::RawRow;
    use crate::store::index::Index;
    use crate::store::seal::tests::{fixed_keys, seal_fixed};
    use crate::store::{
        AccessKeyRecord, AccountRecord, AliasRecord, Connection, CustomKeyStoreRecord, GrantRecord, IntentKind,
        IntentRecord, KeyRecord, OutboxRecord, PairingRecord, PasswordStanding, PolicyRecord, PrincipalRecord, Record,
        RegionTokenRecord, ReplicationKeyRecord, RunsRecord, TokenTriesRecord, WrapCountRecord, WrappingKeyRecord,
        meta, samples,
    };

    #[derive(Deserialize)]
    struct Vectors {
        rows: Vec<GoldenRow>,
        meta: String,
        root: GoldenRoot,
    }

    /// The rows that came later; the root over them is nothing new.
    #[derive(Deserialize)]
    struct MoreVectors {
        rows: Vec<GoldenRow>,
    }

    #[derive(Deserialize)]
    struct GoldenRow {
        table: String,
        key: String,
        revision: u64,
        plaintext: String,
        #[serde(with = "as_hex")]
        sealed: Vec<u8>,
        #[serde(with = "as_hex")]
        member: [u8; 32],
    }

    #[derive(Deserialize)]
    struct GoldenRoot {
        epoch: u64,
        plaintext: String,
        #[serde(with = "as_hex")]
        sealed: Vec<u8>,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../tests/vectors/store/v1.json")).unwrap()
    }

    fn more_rows() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-principals.json"))
    }

    fn rows_of_materials() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-materials.json"))
    }

    fn rows_of_rotations() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-rotations.json"))
    }

    fn rows_of_custom_key_stores() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-custom-key-stores.json"))
    }

    fn rows_of_regions() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-regions.json"))
    }

    fn rows_of_region_tokens() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-region-tokens.json"))
    }

    fn rows_of_password_tries() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-password-tries.json"))
    }

    fn rows_of_token_tries() -> Vec<GoldenRow> {
        rows_of(include_str!("../../tests/vectors/store/v1-token-tries.json"))
    }

    fn rows_of(text: &str) -> Vec<GoldenRow> {
        serde_json::from_str::<MoreVectors>(text).unwrap().rows
    }

    #[test]
    fn golden_rows_are_sealed_and_opened_to_the_byte() {
        let keys = fixed_keys();
        let of_regions =
            rows_of_regions().into_iter().chain(rows_of_custom_key_stores()).chain(rows_of_region_tokens());
        let of_regions = of_regions.chain(rows_of_password_tries()).chain(rows_of_token_tries());
        let later = more_rows().into_iter().chain(rows_of_materials()).chain(rows_of_rotations()).chain(of_regions);
        for row in vectors().rows.into_iter().chain(later) {
            let place = Place { table: &row.table, key: &row.key, revision: row.revision };
            assert_eq!(hex::encode(seal_fixed(Kind::Row, place, row.plaintext.as_bytes())), hex::encode(&row.sealed));
            assert_eq!(keys.open(Kind::Row, place, &row.sealed).unwrap().expose(), row.plaintext.as_bytes());
            assert_eq!(keys.member(place, &sha256(&[&row.sealed])), row.member);
        }
    }

    #[test]
    fn golden_rows_are_the_sample_records() {
        let mut index = Index::default();
        for row in vectors().rows {
            let GoldenRow { table, key, revision, sealed, .. } = row;
            index.admit(&fixed_keys(), &RawRow { table, key, revision, sealed }, [0; 32]).unwrap();
        }
        let region = samples::region();
        let find = |record: AccessKeyRecord| {
            index.table::<AccessKeyRecord>().find(&record.primary_key()).unwrap().record == record
        };
        assert!(find(samples::access_key("AKIAEXAMPLE")));
        assert_eq!(index.table::<KeyRecord>().all()[0].record, samples::key(&region, 7));
        assert_eq!(index.table::<AliasRecord>().all()[0].record, samples::alias(&region, "alias/a/b", 7));
        assert_eq!(index.table::<IntentRecord>().all()[0].record, samples::intent(&region, 7, 2));
        assert_eq!(index.table::<OutboxRecord>().all()[0].record, samples::outbox("e-1"));
    }

    #[test]
    fn golden_rows_of_principals_are_the_sample_records() {
        let mut index = Index::default();
        for row in more_rows() {
            let GoldenRow { table, key, revision, sealed, .. } = row;
            index.admit(&fixed_keys(), &RawRow { table, key, revision, sealed }, [0; 32]).unwrap();
        }
        let region = samples::region();
        assert_eq!(index.table::<AccountRecord>().all()[0].record, samples::account_record("111122223333"));
        let principals = index.table::<PrincipalRecord>().all();
        assert_eq!(principals[0].record, samples::role("Reader"));
        assert_eq!(principals[1].record, samples::user("Ann"));
        assert_eq!(index.table::<PolicyRecord>().all()[0].record, samples::policy("Shared"));
        assert_eq!(index.table::<GrantRecord>().all()[0].record, samples::grant(&region, 7, 'a'));
        assert_eq!(index.table::<KeyRecord>().all()[0].record, samples::shared_key(&region, 8));
    }

    #[test]
    fn golden_rows_of_materials_are_the_sample_records_and_written_so_again() {
        let mut index = Index::default();
        let region = samples::region();
        for row in rows_of_materials() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            index
                .admit(&fixed_keys(), &RawRow { table: table.clone(), key: key.clone(), revision, sealed }, [0; 32])
                .unwrap();
            let written = match table.as_str() {
                KeyRecord::TABLE => serde_json::to_string(&index.table::<KeyRecord>().find(&key).unwrap().record),
                IntentRecord::TABLE => serde_json::to_string(&index.table::<IntentRecord>().find(&key).unwrap().record),
                _ => serde_json::to_string(&index.table::<WrappingKeyRecord>().find(&key).unwrap().record),
            };
            assert_eq!(written.unwrap(), plaintext);
        }
        let keys: Vec<_> = index.table::<KeyRecord>().all().iter().map(|row| row.record.clone()).collect();
        let waiting = KeyRecord {
            origin: Origin::External,
            state: KeyState::PendingImport,
            materials: Vec::new(),
            next_material: 1,
            ..samples::key(&region, 9)
        };
        assert_eq!(keys, [samples::key_pair(&region, 7), samples::imported_key(&region, 8), waiting]);
        assert_eq!(index.table::<WrappingKeyRecord>().all()[0].record, samples::wrapping_key(&region, 8));
        let intents = index.table::<IntentRecord>().by_revision();
        let intents: Vec<_> =
            intents.iter().map(|row| (row.record.kind, row.record.name.purpose, row.record.name.material)).collect();
        use IntentKind::*;
        assert_eq!(
            intents,
            [
                (Create, Purpose::Imported, 5),
                (Destroy, Purpose::Imported, 3),
                (DestroyExpired, Purpose::Imported, 4),
                (DestroyReplaced, Purpose::Imported, 2),
                (Create, Purpose::ImportWrapping, 1),
            ]
        );
    }

    #[test]
    fn golden_rows_of_custom_key_stores_are_the_sample_records_and_written_so_again() {
        let mut index = Index::default();
        for row in rows_of_custom_key_stores() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            let raw = RawRow { table: table.clone(), key: key.clone(), revision, sealed };
            index.admit(&fixed_keys(), &raw, [0; 32]).unwrap();
            let written = match table.as_str() {
                KeyRecord::TABLE => serde_json::to_string(&index.table::<KeyRecord>().find(&key).unwrap().record),
                _ => serde_json::to_string(&index.table::<CustomKeyStoreRecord>().find(&key).unwrap().record),
            };
            assert_eq!(written.unwrap(), plaintext);
        }
        let in_store = KeyRecord {
            origin: Origin::AwsCloudHsm,
            custom_key_store: Some("cks-1234567890abcdef0".parse().unwrap()),
            ..samples::key(&samples::region(), 7)
        };
        assert_eq!(index.table::<KeyRecord>().all()[0].record, in_store);
        let records = index.table::<CustomKeyStoreRecord>().all();
        assert_eq!(records[0].record, samples::custom_key_store(&samples::region()));
        assert!(!format!("{:?}", records[0]).contains("kmsPswd"), "the password is not in Debug");
        let connections: Vec<_> = records.iter().map(|row| (row.record.connection, row.record.standing)).collect();
        use PasswordStanding::*;
        assert_eq!(
            connections,
            [
                (Connection::Connected, Proven),
                (Connection::Failed(ConnectionError::InvalidCredentials), Refused),
                (Connection::Disconnected, Unproven),
                (Connection::Connecting, Unproven),
            ]
        );
    }

    #[test]
    fn a_golden_row_of_tried_passwords_is_the_sample_record_and_written_so_again() {
        let mut index = Index::default();
        for row in rows_of_password_tries() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            let raw = RawRow { table, key: key.clone(), revision, sealed };
            index.admit(&fixed_keys(), &raw, [0; 32]).unwrap();
            let record = &index.table::<CustomKeyStoreRecord>().find(&key).unwrap().record;
            assert_eq!(serde_json::to_string(record).unwrap(), plaintext);
            assert!(*record == samples::tried_key_store(&samples::region()) && record.is_unclear());
        }
        assert_eq!(index.table::<CustomKeyStoreRecord>().all().len(), 1);
    }

    #[test]
    fn a_golden_row_of_a_regions_token_is_the_sample_record_and_written_so_again() {
        let mut index = Index::default();
        for row in rows_of_region_tokens() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            let raw = RawRow { table, key: key.clone(), revision, sealed };
            index.admit(&fixed_keys(), &raw, [0; 32]).unwrap();
            let record = &index.table::<RegionTokenRecord>().find(&key).unwrap().record;
            assert_eq!((serde_json::to_string(record).unwrap(), record), (plaintext, &samples::region_token()));
        }
        assert_eq!(index.table::<RegionTokenRecord>().all().len(), 1);
    }

    #[test]
    fn a_golden_row_of_a_tokens_tries_is_the_sample_record_and_written_so_again() {
        let mut index = Index::default();
        for row in rows_of_token_tries() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            let raw = RawRow { table, key: key.clone(), revision, sealed };
            index.admit(&fixed_keys(), &raw, [0; 32]).unwrap();
            let record = &index.table::<TokenTriesRecord>().find(&key).unwrap().record;
            assert_eq!((serde_json::to_string(record).unwrap(), record), (plaintext, &samples::token_tries()));
        }
        assert_eq!(index.table::<TokenTriesRecord>().all().len(), 1);
    }

    #[test]
    fn golden_rows_of_rotations_are_the_sample_records_and_written_so_again() {
        let mut index = Index::default();
        for row in rows_of_rotations() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            index
                .admit(&fixed_keys(), &RawRow { table: table.clone(), key: key.clone(), revision, sealed }, [0; 32])
                .unwrap();
            let written = match table.as_str() {
                IntentRecord::TABLE => serde_json::to_string(&index.table::<IntentRecord>().find(&key).unwrap().record),
                RunsRecord::TABLE => serde_json::to_string(&index.table::<RunsRecord>().find(&key).unwrap().record),
                _ => serde_json::to_string(&index.table::<WrapCountRecord>().find(&key).unwrap().record),
            };
            assert_eq!(written.unwrap(), plaintext);
        }
        let (region, key_id) = (samples::region(), samples::key_id(7));
        let count = WrapCountRecord { region, key_id, material: 2, claimed: 1 << 32, run: 7 };
        assert_eq!(index.table::<WrapCountRecord>().all()[0].record, count);
        assert_eq!(index.table::<RunsRecord>().all()[0].record, RunsRecord { count: 7, audit_seq: 12_345 });
        let kinds: Vec<_> = index.table::<IntentRecord>().by_revision().iter().map(|row| row.record.kind).collect();
        assert_eq!(kinds, [IntentKind::RotateOnDemand, IntentKind::RotateAutomatically]);
    }

    #[test]
    fn golden_rows_of_regions_are_the_sample_records_and_written_so_again() {
        let mut index = Index::default();
        for row in rows_of_regions() {
            let GoldenRow { table, key, revision, sealed, plaintext, .. } = row;
            index
                .admit(&fixed_keys(), &RawRow { table: table.clone(), key: key.clone(), revision, sealed }, [0; 32])
                .unwrap();
            let written = match table.as_str() {
                KeyRecord::TABLE => serde_json::to_string(&index.table::<KeyRecord>().find(&key).unwrap().record),
                IntentRecord::TABLE => serde_json::to_string(&index.table::<IntentRecord>().find(&key).unwrap().record),
                PairingRecord::TABLE => {
                    serde_json::to_string(&index.table::<PairingRecord>().find(&key).unwrap().record)
                }
                _ => serde_json::to_string(&index.table::<ReplicationKeyRecord>().find(&key).unwrap().record),
            };
            assert_eq!(written.unwrap(), plaintext);
        }
        let primary = samples::multi_region_key(&samples::region(), 7, None);
        let replica = KeyRecord {
            state: KeyState::PendingReplicaDeletion,
            ..samples::multi_region_key(&"us-west-2".parse().unwrap(), 7, Some(samples::key_id(0xcc)))
        };
        let related: Vec<_> = index.multi_region(&primary.key_id).iter().map(|row| row.record.clone()).collect();
        assert_eq!(related, [primary.clone(), replica.clone()]);
        assert_eq!((primary.is_replica(), replica.is_replica()), (false, true));
        let names = [primary.objects()[1], replica.objects()[1]];
        assert_eq!(names.map(|name| (name.purpose, name.material)), [(Purpose::MultiRegion, 2); 2]);
        assert_eq!(names.map(|name| name.key_id), [primary.key_id, samples::key_id(0xcc)]);
        let intents = index.table::<IntentRecord>().by_revision();
        let intents: Vec<_> = intents.iter().map(|row| (row.record.name.purpose, row.record.key_id())).collect();
        assert_eq!(
            intents,
            [(Purpose::MultiRegion, primary.key_id), (Purpose::Replication, samples::key_id(0xbb))],
            "the KMS key, or the object's own id"
        );
        let replication_key = samples::replication_key("0123456789abcdef");
        assert_eq!(index.table::<ReplicationKeyRecord>().all()[0].record, replication_key);
        assert_eq!(index.table::<PairingRecord>().all()[0].record, samples::pairing());
    }

    #[test]
    fn the_golden_root_says_what_its_rows_give() {
        let golden = vectors();
        let row = RootRow { epoch: golden.root.epoch, sealed: golden.root.sealed.clone() };
        let root = Root::open(&fixed_keys(), &row).unwrap();
        let mut counted = Root::empty(samples::meta().store_id, meta::digest(golden.meta.as_bytes()));
        for row in &golden.rows {
            counted.add(&row.table, &row.member);
        }
        counted.epoch = golden.root.epoch;
        counted.highest_time = samples::now();
        assert_eq!(root, counted);
        assert_eq!(root.to_json(), golden.root.plaintext.as_bytes());
        assert_eq!(seal_fixed(Kind::Root, root_place(row.epoch), &root.to_json()), row.sealed);
        assert_eq!(samples::meta().to_bytes(), golden.meta.as_bytes());
    }

    #[test]
    fn a_root_of_another_epoch_or_for_newer_readers_is_refused() {
        let keys = fixed_keys();
        let root = Root::empty(samples::key_id(1), [1; 32]);
        let row = root.seal(&keys).unwrap();
        assert_eq!(Root::open(&keys, &row).unwrap(), root);
        assert!(matches!(Root::open(&keys, &RootRow { epoch: 1, ..row }), Err(Error::Tampered { .. })));

        let newer = br#"{"lowest_reader":2,"what this version":"cannot know"}"#;
        let row = RootRow { epoch: 3, sealed: seal_fixed(Kind::Root, root_place(3), newer) };
        assert!(matches!(Root::open(&keys, &row), Err(Error::Version { found: 2, ours: 1 })));
    }

    proptest! {
        /// Adding and removing rows in any order gives the root of the rows that are left, and of no others.
        #[test]
        fn only_the_rows_that_are_left_count(
            members in prop::collection::hash_map(any::<[u8; 32]>(), ("[ab]", any::<bool>()), 1..20)
        ) {
            let empty = Root::empty(samples::key_id(1), [1; 32]);
            let (mut walked, mut direct) = (empty.clone(), empty.clone());
            for (member, (table, _)) in &members {
                walked.add(table, member);
            }
            for (member, (table, stays)) in &members {
                if *stays { direct.add(table, member) } else { walked.remove(table, member) }
            }
            prop_assert_eq!(&walked, &direct);
            let (member, (table, _)) = members.iter().next().unwrap();
            direct.add(table, member);
            prop_assert_ne!(walked, direct);
        }

        #[test]
        fn time_never_runs_back(times in prop::collection::vec(0..1_000_i64, 1..10)) {
            let mut root = Root::empty(samples::key_id(1), [1; 32]);
            for time in &times {
                root = root.next(Timestamp::from_millis(*time));
            }
            prop_assert_eq!(root.highest_time.as_millis(), *times.iter().max().unwrap());
            prop_assert_eq!(root.epoch, times.len() as u64);
        }
    }
}
