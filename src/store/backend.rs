//! What the store needs of a database: opaque rows, and one atomic change.

use std::pin::Pin;

use super::Error;

/// The answer of a backend, to be awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What a scan calls with each row; an error ends the scan.
pub type Visit<'a> = &'a mut (dyn FnMut(RawRow) -> Result<(), Error> + Send);

/// Sealed rows in some database. It is not trusted: it can lose, mix up and change rows, and the store notices.
///
/// Every implementation passes `store/contract.rs`.
pub trait Backend: Send + Sync {
    /// Visits every row of the complete set once, in ascending order of the bytes of table and key, and returns the
    /// rows beside it, all of one moment, and none of it from a cache of this process.
    ///
    /// After it has succeeded, [`Backend::changed`] counts from the moment of this scan.
    fn scan<'a>(&'a self, visit: Visit<'a>) -> Answer<'a, Ends>;

    /// The rows beside the complete set, as they are now.
    fn ends(&self) -> Answer<'_, Ends>;

    /// Makes one change, durably and wholly or not at all, if the root and every row named are byte for byte what the
    /// batch says, else fails with [`Error::Tampered`] that names the row.
    ///
    /// Every error but [`Error::Unknown`] means that nothing has changed and that this will stay so.
    fn apply(&self, batch: Batch) -> Answer<'_, ()>;

    /// Whether anyone else may have written since the last scan; cheap. [`Error::Tampered`] if the database is no
    /// longer the one that was opened.
    fn changed(&self) -> Answer<'_, bool>;

    /// All rows outside of the complete set.
    fn loose(&self) -> Answer<'_, Vec<LooseRow>>;

    /// Replaces rows outside of the complete set, all or none.
    fn put_loose(&self, rows: Vec<LooseRow>) -> Answer<'_, ()>;

    /// Ends all use of the database; later calls fail with [`Error::Closed`].
    fn close(&self) -> Answer<'_, ()>;
}

/// A row of the complete set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRow {
    /// The table.
    pub table: String,
    /// The primary key within the table.
    pub key: String,
    /// The epoch that wrote it.
    pub revision: u64,
    /// The sealed record.
    pub sealed: Vec<u8>,
}

/// The root row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRow {
    /// The epoch.
    pub epoch: u64,
    /// The sealed root.
    pub sealed: Vec<u8>,
}

/// The two rows beside the complete set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The meta row.
    pub meta: Vec<u8>,
    /// The root row.
    pub root: RootRow,
}

/// A row outside of the complete set; without sealed bytes it is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseRow {
    /// The table.
    pub table: String,
    /// The primary key within the table.
    pub key: String,
    /// The sealed value.
    pub sealed: Option<Vec<u8>>,
}

/// One atomic change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The root as it must be.
    pub believed: RootRow,
    /// The root as it will be.
    pub root: RootRow,
    /// The rows, each named once.
    pub rows: Vec<RowChange>,
}

/// What a change expects of one row, and does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The table.
    pub table: &'static str,
    /// The primary key within the table.
    pub key: String,
    /// The row as it must be; absent if `None`.
    pub before: Option<Fingerprint>,
    /// What becomes of it.
    pub after: After,
}

/// What a row is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The epoch that wrote it.
    pub revision: u64,
    /// SHA-256 of the sealed bytes.
    pub digest: [u8; 32],
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays; it was only compared.
    Kept,
    /// It is removed.
    Removed,
    /// It is written with the epoch of the new root as its revision.
    Sealed(Vec<u8>),
}

impl RawRow {
    /// What the row is compared by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { revision: self.revision, digest: crate::crypto::sha256(&[&self.sealed]) }
    }
}
