//! One atomic change, put together before it is committed.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::backend::{After, Fingerprint, RowChange};
use super::index::Index;
use super::root::Root;
use super::seal::{Keys, Kind, Place};
use super::{Error, GrantRecord, Record, Row};
use crate::crypto;
use crate::model::Timestamp;

/// Rows that change together or not at all, each only if it is still as it was read.
pub struct Change {
    now: Timestamp,
    above: u64,
    steps: Vec<Box<dyn Step>>,
    new_grants: Vec<NewGrant>,
}

/// A grant that must be the only one of its kind, and not one too many.
struct NewGrant {
    grant: GrantRecord,
    limit: usize,
}

impl Change {
    /// A change at `now` that does nothing yet; the store never forgets the highest such time.
    pub fn new(now: Timestamp) -> Self {
        Change { now, above: 0, steps: Vec::new(), new_grants: Vec::new() }
    }

    /// Demands that the epoch after this change is above `epoch`, so that a store that was restored, on purpose, never
    /// uses again an epoch that its audit log has seen.
    #[must_use]
    pub fn above(self, epoch: u64) -> Self {
        Change { above: epoch, ..self }
    }

    /// Adds a record; its primary key must be free.
    #[must_use]
    pub fn insert<R: Record>(self, record: R) -> Self {
        self.with(Typed { key: record.primary_key(), expected: None, to: To::Put(record) })
    }

    /// Adds a grant; its key must have fewer than `limit` others, and no twin of it.
    #[must_use]
    pub fn insert_grant(self, grant: GrantRecord, limit: usize) -> Self {
        let mut change = self.insert(grant.clone());
        change.new_grants.push(NewGrant { grant, limit });
        change
    }

    /// Puts `record` in the place of `row`; their primary keys must be equal.
    #[must_use]
    pub fn update<R: Record>(self, row: &Row<R>, record: R) -> Self {
        self.with(Typed { key: row.record.primary_key(), expected: Some(row.revision), to: To::Put(record) })
    }

    /// Writes `row` once more as the store has it, whatever the one given says beside its key and revision. Of two changes that decide by rows which neither names, such as how many there are,
    /// one must come first: both touch a row that stands for them all, and the other one finds that it has moved.
    #[must_use]
    pub fn touch<R: Record>(self, row: &Row<R>) -> Self {
        self.with(Typed::<R> { key: row.record.primary_key(), expected: Some(row.revision), to: To::Touch })
    }

    /// Removes `row`.
    #[must_use]
    pub fn delete<R: Record>(self, row: &Row<R>) -> Self {
        let (key, expected) = (row.record.primary_key(), Some(row.revision));
        self.with(Typed::<R> { key, expected, to: To::Remove })
    }

    /// Demands that `row` is still as it was read, and leaves it so: for a change that nobody else who only expects the row
    /// has to know of.
    #[must_use]
    pub fn expect<R: Record>(self, row: &Row<R>) -> Self {
        let (key, expected) = (row.record.primary_key(), Some(row.revision));
        self.with(Typed::<R> { key, expected, to: To::Keep })
    }

    fn with(mut self, step: impl Step + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }
}

/// A change that holds against the index, sealed and ready for the database.
pub(super) struct Plan {
    /// The root after it.
    pub(super) root: Root,
    /// The rows for the database.
    pub(super) rows: Vec<RowChange>,
    /// What the index has to take, each with SHA-256 of the sealed row if there is one.
    steps: Vec<(Box<dyn Step>, [u8; 32])>,
}

impl Change {
    /// Holds the change against the index: the rows as they are now, or the first row that has moved.
    pub(super) fn judge(&mut self, index: &Index) -> Result<Vec<Option<Fingerprint>>, Error> {
        let mut named = BTreeSet::new();
        let mut live = Vec::with_capacity(self.steps.len());
        for step in &mut self.steps {
            if !named.insert((step.table(), step.key().to_owned())) {
                return Err(step.unsound("the row is named twice"));
            }
            live.push(step.judge(index)?);
        }
        self.new_grants.iter().try_for_each(|new| new.judge(index))?;
        Ok(live)
    }

    /// Seals the rows as they will be one epoch after `root`; `live` is what [`Change::judge`] found.
    pub(super) fn plan(self, keys: &Keys, root: &Root, live: Vec<Option<Fingerprint>>) -> Result<Plan, Error> {
        let mut plan = Plan { root: root.next(self.now), rows: Vec::new(), steps: Vec::new() };
        plan.root.epoch = plan.root.epoch.max(self.above.saturating_add(1));
        for (step, before) in self.steps.into_iter().zip(live) {
            plan.add(keys, step, before)?;
        }
        Ok(plan)
    }
}

impl NewGrant {
    fn judge(&self, index: &Index) -> Result<(), Error> {
        let NewGrant { grant, limit } = self;
        let has_room = index.count_grants(&grant.region, &grant.key_id) < *limit;
        if has_room && index.twin_of(grant).is_none() {
            return Ok(());
        }
        Err(Error::Conflict { table: GrantRecord::TABLE, key: grant.primary_key() })
    }
}

impl Plan {
    /// Enters into the index what the database has taken.
    pub(super) fn install(self, index: &mut Index) {
        for (step, digest) in self.steps {
            step.install(index, self.root.epoch, digest);
        }
    }

    fn add(&mut self, keys: &Keys, step: Box<dyn Step>, before: Option<Fingerprint>) -> Result<(), Error> {
        let place = |revision| Place { table: step.table(), key: step.key(), revision };
        let after = step.seal(keys, place(self.root.epoch))?;
        let mut digest = [0; 32];
        if let (Some(before), After::Removed | After::Sealed(_)) = (before, &after) {
            self.root.remove(step.table(), &keys.member(place(before.revision), &before.digest));
        }
        if let After::Sealed(sealed) = &after {
            digest = crypto::sha256(&[sealed]);
            self.root.add(step.table(), &keys.member(place(self.root.epoch), &digest));
        }
        self.rows.push(RowChange { table: step.table(), key: step.key().to_owned(), before, after });
        self.steps.push((step, digest));
        Ok(())
    }
}

/// One row of a change, whatever its type.
trait Step: Send {
    fn table(&self) -> &'static str;
    fn key(&self) -> &str;
    fn judge(&mut self, index: &Index) -> Result<Option<Fingerprint>, Error>;
    fn seal(&self, keys: &Keys, place: Place<'_>) -> Result<After, Error>;
    fn install(self: Box<Self>, index: &mut Index, epoch: u64, digest: [u8; 32]);
    fn unsound(&self, why: &'static str) -> Error;
}

struct Typed<R> {
    key: String,
    /// The revision that the row must have; `None` if there must be no row.
    expected: Option<u64>,
    to: To<R>,
}

enum To<R> {
    Put(R),
    /// To what it is; [`Step::judge`] makes it that.
    Touch,
    Remove,
    Keep,
}

impl<R: Record> Step for Typed<R> {
    fn table(&self) -> &'static str {
        R::TABLE
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn judge(&mut self, index: &Index) -> Result<Option<Fingerprint>, Error> {
        if let To::Put(record) = &self.to
            && record.primary_key() != self.key
        {
            return Err(self.unsound("the primary key changes"));
        }
        let live = index.table::<R>().fingerprint(&self.key);
        if live.map(|row| row.revision) != self.expected {
            return Err(Error::Conflict { table: R::TABLE, key: self.key.clone() });
        }
        if let (To::Touch, Some(row)) = (&self.to, index.table::<R>().find(&self.key)) {
            self.to = To::Put(row.record.clone());
        }
        Ok(live)
    }

    fn seal(&self, keys: &Keys, place: Place<'_>) -> Result<After, Error> {
        match &self.to {
            To::Put(record) => {
                let mut json = Zeroizing::new(Vec::with_capacity(JSON_CAPACITY));
                serde_json::to_writer(&mut *json, record).map_err(|_| self.unsound("the record is not JSON"))?;
                Ok(After::Sealed(keys.seal(Kind::Row, place, &json)?))
            }
            To::Remove => Ok(After::Removed),
            To::Keep => Ok(After::Kept),
            To::Touch => Err(self.unsound("the row that is touched is not there")),
        }
    }

    fn install(self: Box<Self>, index: &mut Index, epoch: u64, digest: [u8; 32]) {
        match self.to {
            To::Put(record) => {
                index.put(Row::new(epoch, record), digest);
            }
            To::Remove => {
                index.remove::<R>(&self.key);
            }
            To::Keep | To::Touch => {}
        }
    }

    fn unsound(&self, why: &'static str) -> Error {
        Error::Unsound { table: R::TABLE, key: self.key.clone(), why }
    }
}

/// Room for a record with a secret in it, so that writing it never moves it and leaves a copy behind.
const JSON_CAPACITY: usize = 16 << 10;
