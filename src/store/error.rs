//! What can go wrong with the store.

use std::path::PathBuf;

use crate::crypto::NoRandom;

/// Why the store did not do what it was asked to; unless a variant says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row of the change is not as it was read: someone else was first. Read again, decide again, retry.
    #[error("{table} {key} was changed by someone else in the meantime: read it again and decide again")]
    Conflict {
        /// The table of the row.
        table: &'static str,
        /// Its primary key.
        key: String,
    },
    /// The database is not what this service wrote. It stays refused until an operator restores it.
    #[error("the store was tampered with: {what}. Nothing is served from it: restore a backup and look for the cause")]
    Tampered {
        /// Which row, table or file, and what is wrong with it.
        what: String,
    },
    /// It is not known whether the last change was made, so nothing is decided any more by this process.
    #[error("the store is stopped, because {why}: restart the service, which reads everything again")]
    Poisoned {
        /// What happened.
        why: String,
    },
    /// There is no room for the change; with room again, the store works again.
    #[error("no space is left for {}: make room and try again", path.display())]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The change may have been made or not, and the database does not tell. Only a backend answers this; the store
    /// turns it into [`Error::Poisoned`].
    #[error("it is not known whether the change was made: {why}")]
    Unknown {
        /// What happened.
        why: String,
    },
    /// The database failed or is held by another process.
    #[error("the store's database could not {doing}: {source}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// What the database says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file operation failed.
    #[error("could not {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// There is a store already where one was to be created.
    #[error("{} exists: open it, or choose another place", path.display())]
    Exists {
        /// The database file.
        path: PathBuf,
    },
    /// There is no store where one was to be opened.
    #[error("there is no store at {}: create it first", path.display())]
    Absent {
        /// The database file.
        path: PathBuf,
    },
    /// The store was written by a version that this one must not read.
    #[error("the store has format {found}, this version reads up to {ours}: use a newer version of the service")]
    Version {
        /// The lowest version that may read the store.
        found: u32,
        /// What this version reads.
        ours: u32,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The change contradicts itself: a mistake in the code that made it.
    #[error("the change of {table} {key} contradicts itself: {why}")]
    Unsound {
        /// The table of the row.
        table: &'static str,
        /// Its primary key.
        key: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The store key is not 32 bytes.
    #[error("the store key has {0} bytes instead of 32: it is not what the token wrapped")]
    KeyLength(usize),
    /// No random bytes for sealing.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

impl Error {
    /// Tampering with `what`.
    pub(super) fn tampered(what: impl Into<String>) -> Self {
        Error::Tampered { what: what.into() }
    }
}
