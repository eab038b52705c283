//! The files of a SQLite database: their names, and what tells that someone else has been at them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::store::Error;

/// Device and inode of a file; a replaced file has another one. `None` for a file that is not there.
pub(super) type Identity = Option<(u64, u64)>;

/// Length, modification and change time (seconds and nanoseconds) of a file.
pub(super) type FileStamp = Option<(u64, [i64; 4])>;

/// Creates an empty file that only its owner may read, in the place of what an unfinished creation left behind.
pub(super) fn start(new: &Path) -> Result<(), Error> {
    for suffix in FILES.into_iter().chain(["-journal"]) {
        remove_if_present(&beside(new, suffix))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new);
    file.map(drop).map_err(|source| file_error("create", new, source))
}

/// Gives the finished file its name, unless the name was taken meanwhile.
pub(super) fn publish(new: &Path, path: &Path) -> Result<(), Error> {
    let synced = File::open(new).and_then(|file| file.sync_all());
    synced.map_err(|source| file_error("sync", new, source))?;
    fs::hard_link(new, path).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => file_error("name", path, source),
    })?;
    remove_if_present(new)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| file_error("sync", folder, source))
}

pub(super) fn identities(path: &Path) -> [Identity; 3] {
    FILES.map(|suffix| fs::metadata(beside(path, suffix)).ok().map(|data| (data.dev(), data.ino())))
}

pub(super) fn stamps(path: &Path) -> [FileStamp; 2] {
    // Not of the log's index: readers write to it.
    ["", "-wal"].map(|suffix| {
        let data = fs::metadata(beside(path, suffix)).ok()?;
        Some((data.len(), [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()]))
    })
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_if_present(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(file_error("remove", path, source)),
        _ => Ok(()),
    }
}

fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { doing, path: path.to_owned(), source }
}

/// The suffixes of the three files of a database.
pub(super) const FILES: [&str; 3] = ["", "-wal", "-shm"];
