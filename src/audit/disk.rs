//! The file system, as far as the writer needs it: small, so that tests can put a failing one in its place.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

use super::Error;

/// The folder of a log.
pub(super) trait Disk: Send {
    /// A new empty file; an unpublished one of that name is replaced.
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// A file that exists.
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Renames a file, replacing what has that name, durably.
    fn publish(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file that was not published.
    fn discard(&self, name: &str) -> io::Result<()>;
}

/// A file that is written at positions.
pub(super) trait LogFile: Send {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()>;
    /// `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    /// Allocates blocks without changing the length, so that writing there needs no space.
    fn reserve(&self, position: u64, len: u64) -> io::Result<()>;
    /// Shortens the file, and gives back what was reserved behind it.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Gives back what was reserved behind the end; changes no byte.
    fn release(&self) -> io::Result<()>;
}

/// A folder of the operating system, locked against other writers as long as this lives.
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Makes the folder if there is none (0700), locks it, and removes files that were never published.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            create_durably(path).map_err(Error::io("create", path))?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(Error::io("protect", path))?;
        let handle = File::open(path).map_err(Error::io("open", path))?;
        flock(&handle, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => Error::InUse(path.to_owned()),
            other => Error::io("lock", path)(other.into()),
        })?;
        for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
            let file = entry.map_err(Error::io("list", path))?.path();
            if file.extension().is_some_and(|extension| extension == UNPUBLISHED) {
                fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        // A name that a killed process had no time to sync.
        handle.sync_all().map_err(Error::io("sync", path))?;
        Ok(Folder { path: path.to_owned(), handle })
    }
}

impl Disk for Folder {
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.handle.sync_all()
    }

    fn discard(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

impl LogFile for File {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_at(bytes, position)
    }

    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        self.read_exact_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        Ok(fallocate(self, FallocateFlags::KEEP_SIZE, position, len)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn release(&self) -> io::Result<()> {
        File::set_len(self, self.metadata()?.len())
    }
}

/// The name of a segment until it is published, in full.
pub(super) fn unpublished(name: &str) -> String {
    format!("{name}.{UNPUBLISHED}")
}

/// Makes the folder and syncs its parent, which holds its name.
fn create_durably(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

const UNPUBLISHED: &str = "new";
