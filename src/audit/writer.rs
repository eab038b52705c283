//! The log as the service sees it.

use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde::Deserialize;
use tokio::sync::oneshot;

use super::chain::is_object;
use super::disk::{Disk, Folder};
use super::refused::Refusals;
use super::room::{Permit, Room, Status};
use super::sink::{Append, Job, Shared, Sink};
use super::verify::find;
use super::{Error, MAX_EVENT_LEN};

/// Where the log is, and how it grows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder; made (0700) if there is none. Its file system must know `fallocate` (ext4, XFS, tmpfs).
    pub dir: PathBuf,
    /// Bytes after which a new segment is begun; 64 MiB if not given.
    #[serde(default = "default_segment_bytes")]
    pub segment_bytes: u64,
    /// Bytes kept reserved beyond what running requests may write; 16 MiB if not given.
    #[serde(default = "default_reserve_bytes")]
    pub reserve_bytes: u64,
}

/// The log of this process. Dropping it writes what waits, and ends its thread.
pub struct Audit {
    dir: PathBuf,
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last line, 0 if there is none.
    pub last_seq: u64,
    /// The highest epoch of the store that the log has seen: a store below it was rolled back.
    pub last_epoch: u64,
    /// Whether an unfinished line was cut; if so, the last line says so.
    pub cut: bool,
}

/// A line that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: u64,
}

impl Settings {
    /// Defaults for a log in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (segment_bytes, reserve_bytes) = (default_segment_bytes(), default_reserve_bytes());
        Settings { dir: dir.into(), segment_bytes, reserve_bytes }
    }
}

impl Audit {
    /// Continues the log in the folder, or begins one: checks its newest two segments, cuts and records an unfinished
    /// last line, and starts the writer's thread. Blocks.
    ///
    /// Fails if a line is damaged, another process writes the log, or the folder cannot be written. A full disk is no
    /// failure, unless there is a cut to record: [`Audit::begin`] refuses until there is space.
    pub fn open(settings: &Settings) -> Result<(Audit, Recovered), Error> {
        Audit::open_on(Box::new(Folder::open(&settings.dir)?), settings)
    }

    /// As [`Audit::open`], on a folder of any kind.
    pub(super) fn open_on(disk: Box<dyn Disk>, settings: &Settings) -> Result<(Audit, Recovered), Error> {
        let room = Arc::new(Room::new(settings.dir.clone(), settings.reserve_bytes));
        let shared = Arc::new(Shared { room, durable_seq: AtomicU64::new(0), refusals: Refusals::default() });
        let (sink, cut) = Sink::open(disk, settings, shared.clone())?;
        let recovered = Recovered { last_seq: sink.head().seq, last_epoch: sink.head().epoch, cut };
        let (jobs, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name("audit".into()).spawn(move || sink.run(&receiver));
        let thread = Mutex::new(Some(thread.map_err(Error::io("start a thread for", &settings.dir))?));
        Ok((Audit { dir: settings.dir.clone(), shared, jobs, thread }, recovered))
    }

    /// The right to append one line later, to be taken before any side effect.
    ///
    /// Fails at once if the log cannot be written now, or no space can be promised. Does no I/O.
    pub fn begin(&self) -> Result<Permit, Error> {
        let (permit, space_is_low) = self.shared.room.permit();
        if space_is_low {
            // Without a receiver the writer has ended, and the permit says so.
            let _ = self.jobs.send(Job::Wake);
        }
        permit
    }

    /// Appends one event, as [`super::Event::to_json`] makes it, with the store's epoch as the caller knows it.
    ///
    /// It is on its way when this returns, and is written even if the future is dropped or never polled; the future
    /// resolves when the line is durable. On an error the line may be in the log or not: do not answer as if it were.
    pub fn append(
        &self,
        permit: Permit,
        event_json: Vec<u8>,
        epoch: u64,
    ) -> impl Future<Output = Result<Appended, Error>> + Send + use<> {
        let answer = self.submit(permit, event_json, epoch);
        async move { answer?.await.unwrap_or(Err(Error::Closed)) }
    }

    /// Counts a request that was refused before authentication: one line per source, reason and 10 s, and for the
    /// sources beyond 64 one line together. `reason` is one of a few constants.
    pub fn refused(&self, source: IpAddr, reason: &'static str) {
        self.shared.refusals.count(source, reason);
    }

    /// Which of these `eventID`s are durable in the log at or after line `since_seq`. Reads files: blocks.
    pub fn contains(&self, event_ids: &HashSet<String>, since_seq: u64) -> Result<HashSet<String>, Error> {
        find(&self.dir, event_ids, since_seq, self.durable_seq())
    }

    /// The last durable line.
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable_seq.load(Ordering::Acquire)
    }

    /// How the log is.
    pub fn status(&self) -> Status {
        self.shared.room.status(self.durable_seq())
    }

    /// Writes what waits, and ends the thread; later calls find it done. Blocks.
    pub fn shutdown(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // Without a receiver, or after a panic there, the thread has ended: that is all that is wanted here.
            let _ = self.jobs.send(Job::Stop);
            let _ = thread.join();
        }
    }

    /// [`Audit::shutdown`] for an owner.
    pub fn close(self) {
        self.shutdown();
    }

    fn submit(&self, permit: Permit, event: Vec<u8>, epoch: u64) -> Result<Answer, Error> {
        check(&event)?;
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Append(Append { event, epoch, permit, done })).map_err(|_| Error::Closed)?;
        Ok(answer)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.shutdown();
    }
}

type Answer = oneshot::Receiver<Result<Appended, Error>>;

/// A line that is not one JSON object would make the log unreadable from there on.
fn check(event: &[u8]) -> Result<(), Error> {
    if event.len() > MAX_EVENT_LEN {
        return Err(Error::NotAnEvent("is too long"));
    }
    if event.contains(&b'\n') {
        return Err(Error::NotAnEvent("has a line break"));
    }
    match std::str::from_utf8(event) {
        Ok(text) if is_object(text) => Ok(()),
        _ => Err(Error::NotAnEvent("is not one JSON object")),
    }
}

fn default_segment_bytes() -> u64 {
    64 << 20
}

fn default_reserve_bytes() -> u64 {
    16 << 20
}
