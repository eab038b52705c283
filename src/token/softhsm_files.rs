//! What SoftHSM's file back-end does not do for its own files: sync them, and survive a kill inside `C_Login`.
//!
//! SoftHSM 2.6.1 empties and rewrites `token.object` at every login and never syncs. A process killed in between
//! leaves an empty file, and from then on SoftHSM does not list the token at all. A copy of the file from before each
//! login, put back while SoftHSM is finalised, heals that. What a login changes in it is only the flags.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::busy::Busy;
use super::error::Error;
use super::module::Lease;
use super::slot::{self, Listed};

/// The folder of one SoftHSM token.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The folder of the token with this serial number, which is the end of the folder's name.
    pub fn of(serial: &str) -> Result<Directory, Error> {
        let tokens = tokens_dir()?;
        let found = folders(&tokens)?.into_iter().find(|path| serial_of(path).as_deref() == Some(serial));
        found.map(|path| Directory { path }).ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::NotFound, format!("no folder ends with {serial}"));
            Error::File { action: "finding the token's folder in", path: tokens, source }
        })
    }

    /// The names in the folder, to be compared with those after a change.
    pub fn names(&self) -> Result<BTreeSet<OsString>, Error> {
        let names = |entries: fs::ReadDir| entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
        fs::read_dir(&self.path).and_then(names).map_err(failed("listing", &self.path))
    }

    /// Claims the token for this process until all claims of the process are dropped: two that log in at once would take
    /// each other's unfinished `token.object` for broken, and neither would see what the other one makes.
    ///
    /// Fails with [`Error::InUse`] if another process has it. SoftHSM itself locks files in another way (fcntl), and does
    /// not notice.
    pub fn claim(&self) -> Result<Arc<File>, Error> {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|(_, claim)| claim.strong_count() > 0);
        if let Some(claim) = claims.iter().find(|(path, _)| *path == self.path).and_then(|(_, claim)| claim.upgrade()) {
            return Ok(claim);
        }
        let folder = File::open(&self.path).map_err(failed("opening", &self.path))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::InUse { path: self.path.clone() }),
            Err(error) => return Err(failed("locking", &self.path)(error.into())),
        }
        let claim = Arc::new(folder);
        claims.push((self.path.clone(), Arc::downgrade(&claim)));
        Ok(claim)
    }

    /// Makes durable what was created or removed since `before`: new files, `generation`, and the folder itself.
    pub fn sync_changes(&self, before: &BTreeSet<OsString>) -> Result<(), Error> {
        for name in self.names()?.difference(before) {
            // A file that is gone again needs no sync of its own.
            sync_file(&self.path.join(name)).or_else(ignore_missing)?;
        }
        sync_file(&self.path.join(GENERATION)).or_else(ignore_missing)?;
        sync_file(&self.path)
    }

    /// Makes the whole folder durable, and its name in the folder above.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.sync_changes(&BTreeSet::new())?;
        self.path.parent().map_or(Ok(()), sync_file)
    }

    /// Makes `token.object` durable, after a login.
    pub fn sync_token_object(&self) -> Result<(), Error> {
        sync_file(&self.path.join(TOKEN_OBJECT))
    }

    /// Keeps a copy of `token.object` in `copies`, which SoftHSM has just listed without trouble.
    ///
    /// Fails if another process is writing the file just now, or if there is no room for the copy: then a login, which
    /// needs room for the same file, would not end well either.
    pub fn keep_copy(&self, copies: &Path) -> Result<(), Error> {
        let bytes = read_whole(&self.path.join(TOKEN_OBJECT))?;
        if !copies.exists() {
            fs::create_dir_all(copies).map_err(failed("making", copies))?;
            copies.parent().map_or(Ok(()), sync_file)?;
        }
        write_durably(&copy_of(copies, &self.path), &bytes)
    }
}

/// Puts the copies back for all tokens that SoftHSM does not list because their `token.object` is empty or cut off, and
/// restarts the module. The broken files stay beside the copies. Returns whether any was healed: none is while others use
/// the module, so this is to be done before its first token is opened.
///
/// Fails with [`Error::InUse`] if another process has all of them.
pub(super) fn heal(lease: &Lease, copies: &Path, busy: &Busy) -> Result<bool, Error> {
    let broken = broken(&slot::list(lease.module(), busy)?.listed, copies)?;
    let (mut claims, mut in_use) = (Vec::new(), None);
    for folder in broken {
        match (Directory { path: folder.clone() }).claim() {
            Ok(claim) => claims.push((folder, claim)),
            Err(error @ Error::InUse { .. }) => in_use = Some(error),
            Err(error) => return Err(error),
        }
    }
    if claims.is_empty() {
        return in_use.map_or(Ok(false), Err);
    }
    lease.restart_around(|| claims.iter().try_for_each(|(folder, _)| put_back(folder, copies)))
}

/// The folders of tokens that are not listed, are not whole, and have a copy.
fn broken(listed: &[Listed], copies: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut broken = Vec::new();
    for folder in folders(&tokens_dir()?)? {
        let is_listed =
            serial_of(&folder).is_some_and(|serial| listed.iter().any(|token| token.entry.serial == serial));
        let file = folder.join(TOKEN_OBJECT);
        if is_listed || !file.exists() || !copy_of(copies, &folder).exists() {
            continue;
        }
        if !is_whole(&fs::read(&file).map_err(failed("reading", &file))?) {
            broken.push(folder);
        }
    }
    Ok(broken)
}

/// Reads a file that another process may be rewriting: a login there takes less than a millisecond.
fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    for _ in 0..READ_TRIES {
        let bytes = fs::read(path).map_err(failed("reading", path))?;
        if is_whole(&bytes) {
            return Ok(bytes);
        }
        std::thread::sleep(READ_PAUSE);
    }
    let reason = io::Error::new(io::ErrorKind::InvalidData, "it is not a whole object file");
    Err(failed("reading", path)(reason))
}

fn put_back(folder: &Path, copies: &Path) -> Result<(), Error> {
    let (file, copy) = (folder.join(TOKEN_OBJECT), copy_of(copies, folder));
    let good = fs::read(&copy).map_err(failed("reading", &copy))?;
    let bad = fs::read(&file).map_err(failed("reading", &file))?;
    if is_whole(&bad) {
        // Another process was writing it a moment ago.
        return Ok(());
    }
    write_durably(&copy.with_extension("object.broken"), &bad)?;
    // Beside the token, a temporary file would be in SoftHSM's sight; it skips names that do not end with `.object`.
    write_durably(&file, &good)?;
    tracing::warn!(
        file = %file.display(),
        bytes = bad.len(),
        "token.object was left unfinished by a process killed inside C_Login; the copy from before that login is back"
    );
    Ok(())
}

/// What this process has claimed: `flock` is of an open file, and would refuse the process its own token.
static CLAIMS: Mutex<Vec<(PathBuf, Weak<File>)>> = Mutex::new(Vec::new());

/// Where SoftHSM keeps its tokens: `directories.tokendir` of its configuration.
///
/// Source: softhsm2.conf(5).
fn tokens_dir() -> Result<PathBuf, Error> {
    let path = configuration();
    let text = fs::read_to_string(&path).map_err(failed("reading SoftHSM's configuration", &path))?;
    parse_tokens_dir(&text).ok_or_else(|| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it has no directories.tokendir");
        failed("reading SoftHSM's configuration", &path)(source)
    })
}

fn parse_tokens_dir(configuration: &str) -> Option<PathBuf> {
    let mut lines = configuration.lines().filter_map(|line| line.split('#').next()?.split_once('='));
    let (_, value) = lines.find(|(key, _)| key.trim() == "directories.tokendir")?;
    Some(PathBuf::from(value.trim()))
}

fn configuration() -> PathBuf {
    if let Some(path) = std::env::var_os("SOFTHSM2_CONF") {
        return path.into();
    }
    let of_user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/softhsm2/softhsm2.conf"));
    of_user.filter(|path| path.exists()).unwrap_or_else(|| "/etc/softhsm/softhsm2.conf".into())
}

fn folders(tokens: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = |entries: fs::ReadDir| entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let paths: Vec<PathBuf> = fs::read_dir(tokens).and_then(paths).map_err(failed("listing", tokens))?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// SoftHSM's serial numbers are the last 16 digits of the folder's name, a UUID.
fn serial_of(folder: &Path) -> Option<String> {
    let digits: String = folder.file_name()?.to_str()?.chars().filter(|digit| *digit != '-').collect();
    digits.get(digits.len().checked_sub(SERIAL_DIGITS)?..).map(str::to_owned)
}

fn copy_of(copies: &Path, folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or(OsStr::new("token")).to_owned();
    name.push(".token.object");
    copies.join(name)
}

/// Whether the bytes are a whole object file: an 8-byte generation, then attributes of type, kind and value.
///
/// Source: SoftHSM 2.6.1, `ObjectFile::refresh`.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((_, mut rest)) = bytes.split_first_chunk::<8>() else { return false };
    let mut attributes = 0;
    while !rest.is_empty() {
        let Some(after) = after_attribute(rest) else { return false };
        rest = after;
        attributes += 1;
    }
    attributes > 0
}

fn after_attribute(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = bytes.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first_chunk::<8>()?;
    match u64::from_be_bytes(*kind) {
        BOOLEAN => rest.get(1..),
        ULONG => rest.get(8..),
        BYTES => {
            let (len, rest) = rest.split_first_chunk::<8>()?;
            rest.get(usize::try_from(u64::from_be_bytes(*len)).ok()?..)
        }
        _ => None,
    }
}

/// Replaces `path` by a file with these bytes: either all of the old or all of the new survives a power cut.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(failed("writing", path))
}

fn sync_file(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed("syncing", path))
}

fn ignore_missing(error: Error) -> Result<(), Error> {
    match error {
        Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Ok(()),
        error => Err(error),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

const TOKEN_OBJECT: &str = "token.object";
const GENERATION: &str = "generation";
const READ_TRIES: usize = 5;
const READ_PAUSE: Duration = Duration::from_millis(10);
const SERIAL_DIGITS: usize = 16;
const BOOLEAN: u64 = 1;
const ULONG: u64 = 2;
const BYTES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_object_cut_anywhere_is_not_whole() {
        let mut bytes = 9_u64.to_be_bytes().to_vec();
        for (kind, value) in [(BYTES, b"\0\0\0\0\0\0\0\x04kms ".as_slice()), (ULONG, &[0; 8]), (BOOLEAN, &[0xff])] {
            bytes.extend_from_slice(&0x8000_5349_u64.to_be_bytes());
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(value);
        }
        assert!(is_whole(&bytes));
        let ends_of_attributes = [bytes.len() - 17, bytes.len() - 17 - 24];
        for len in (0..bytes.len()).filter(|len| !ends_of_attributes.contains(len)) {
            assert!(!is_whole(&bytes[..len]), "{len}");
        }
        bytes.extend_from_slice(&u64::MAX.to_be_bytes());
        bytes.extend_from_slice(&BYTES.to_be_bytes());
        bytes.extend_from_slice(&u64::MAX.to_be_bytes());
        assert!(!is_whole(&bytes), "a length beyond the file");
    }

    #[test]
    fn finds_the_folder_in_softhsms_configuration() {
        let text =
            "# directories.tokendir = /no\n directories.tokendir = /var/lib/x/ # there\nobjectstore.backend=file\n";
        assert_eq!(parse_tokens_dir(text), Some(PathBuf::from("/var/lib/x/")));
        assert_eq!(parse_tokens_dir("objectstore.backend = file\n"), None);
    }

    #[test]
    fn the_serial_number_is_the_end_of_the_folders_name() {
        let folder = Path::new("/t/38200987-19fb-8267-953e-70d406a7ceb2");
        assert_eq!(serial_of(folder).as_deref(), Some("953e70d406a7ceb2"));
        assert_eq!(serial_of(Path::new("/t/short")), None);
    }
}
