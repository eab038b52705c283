//! The audit log: one line of JSON for every request, chained by hash, durable before the answer.
//!
//! [`Event`] is CloudTrail's shape, [`Audit`] writes, [`verify`] checks a folder of segments.
//!
//! A line is `{"v":1,"seq":N,"epoch":E,"prev":"<64 hex>","event":{…}}` and a newline; instead of `event` it may carry
//! `break`, `cut` or `refused`. `prev` is the SHA-256 of the exact bytes of the line before, without its newline.
//! Lines are in files `audit-<first seq, 20 digits>.jsonl`.

mod chain;
mod disk;
mod event;
mod refused;
mod room;
mod segment;
mod sink;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use event::{
    Call, Event, EventSource, EventType, IdentityType, MAX_EVENT_LEN, Resource, SessionAttributes, SessionContext,
    SessionIssuer, UserIdentity,
};
pub use room::{Permit, Status};
pub use verify::{Report, contains, verify};
pub use writer::{Appended, Audit, Recovered, Settings};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the audit log cannot be written or is not what was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("audit log: cannot {action} {path}: {source}")]
    Io {
        /// What was tried, for example `create`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A line is not what was written.
    #[error("audit log: {segment}, line {line}: {what}; keep the folder as evidence and restore it from a copy")]
    Damaged {
        /// The file's name.
        segment: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// There is no segment in the folder.
    #[error("audit log: no audit-*.jsonl in {0}; name the folder that holds the log")]
    NoLog(PathBuf),
    /// Another process writes this log.
    #[error("audit log: {0} is in use by another process; stop that one first")]
    InUse(PathBuf),
    /// No more space can be reserved. Nothing was begun; tried again every 100 ms.
    #[error("audit log: no space left in {0} for another record; free some, the service goes on by itself")]
    NoSpace(PathBuf),
    /// The current segment failed and no new one could be begun yet; tried again every 100 ms.
    #[error("audit log: {segment} failed ({reason}) and is not written any more; look after the disk")]
    Broken {
        /// The file that failed.
        segment: String,
        /// What the operating system said.
        reason: String,
    },
    /// The writer has ended.
    #[error("audit log: closed")]
    Closed,
    /// What was to be appended is not one JSON object in at most [`MAX_EVENT_LEN`] bytes on one line.
    #[error("audit log: refused an event that {0}; this is a fault in the service")]
    NotAnEvent(&'static str),
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source: Arc::new(source) }
    }

    fn damaged(segment: &str, line: u64, what: impl Into<String>) -> Error {
        Error::Damaged { segment: segment.to_owned(), line, what: what.into() }
    }
}
