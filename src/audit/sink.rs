//! The writer's thread: drains what waits, writes it, syncs once, wakes everyone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::chain::{Break, Cut, Head, Kind};
use super::disk::{Disk, LogFile, unpublished};
use super::refused::{self, Refusals};
use super::room::{Permit, Room};
use super::segment::Segment;
use super::verify::{End, MAX_UNFINISHED, Tail, walk};
use super::{Appended, Error, Settings};
use crate::crypto;
use crate::model::{Clock, SystemClock};

/// What the writer's thread is asked to do.
pub(super) enum Job {
    /// To append an event.
    Append(Append),
    /// To reserve more space.
    Wake,
    /// To write what waits, and end.
    Stop,
}

/// One event, and who waits for it.
pub(super) struct Append {
    pub event: Vec<u8>,
    pub epoch: u64,
    pub permit: Permit,
    pub done: oneshot::Sender<Result<Appended, Error>>,
}

/// What the writer's thread and its callers share.
pub(super) struct Shared {
    pub room: Arc<Room>,
    pub durable_seq: AtomicU64,
    pub refusals: Refusals,
}

/// The writer.
pub(super) struct Sink {
    disk: Box<dyn Disk>,
    shared: Arc<Shared>,
    settings: Settings,
    /// The last durable line.
    head: Head,
    target: Target,
    /// The last try to get space or a segment failed.
    short: bool,
    retry_at: Instant,
    flush_at: Instant,
    stopping: bool,
    buffer: Vec<u8>,
}

enum Target {
    Writing(Current),
    Broken { segment: String, reason: String },
}

/// The segment that is written.
struct Current {
    file: Box<dyn LogFile>,
    name: String,
    position: u64,
}

impl Sink {
    /// Continues the log in the folder, or begins it; tells whether an unfinished line was cut.
    pub fn open(disk: Box<dyn Disk>, settings: &Settings, shared: Arc<Shared>) -> Result<(Self, bool), Error> {
        let (head, current, cut) = match Segment::list(&settings.dir)?.as_slice() {
            [] => (Head::START, first_segment(&*disk, &settings.dir)?, None),
            [.., before, last] => resume(&*disk, &settings.dir, &[before.clone(), last.clone()])?,
            [only] => resume(&*disk, &settings.dir, std::slice::from_ref(only))?,
        };
        let now = Instant::now();
        let mut sink = Sink {
            disk,
            shared,
            settings: settings.clone(),
            head,
            target: Target::Writing(current),
            short: false,
            retry_at: now,
            flush_at: now + FLUSH_EVERY,
            stopping: false,
            buffer: Vec::new(),
        };
        sink.shared.durable_seq.store(head.seq, Ordering::Release);
        sink.heal(false);
        if let Some(cut) = &cut {
            sink.own_lines(Kind::Cut, &[to_json(cut)])?;
        }
        Ok((sink, cut.is_some()))
    }

    /// The last durable line.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Serves until it is told to stop, or nobody is left who could.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let mut batch = Vec::new();
        loop {
            self.collect(jobs, &mut batch);
            self.heal(!batch.is_empty());
            let done = self.stopping && batch.is_empty();
            self.write(&mut batch);
            if done || Instant::now() >= self.flush_at {
                self.flush_refusals();
            }
            if done {
                return;
            }
        }
    }

    /// Waits for a job, and takes all that wait with it, as far as one write goes.
    fn collect(&mut self, jobs: &Receiver<Job>, batch: &mut Vec<Append>) {
        let patience = if self.stopping { Duration::ZERO } else { self.patience() };
        let mut next = match jobs.recv_timeout(patience) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Job::Stop),
        };
        let mut bytes = 0;
        while let Some(job) = next {
            match job {
                Job::Append(append) => {
                    bytes += append.event.len() + 256;
                    batch.push(append);
                }
                Job::Wake => {}
                Job::Stop => self.stopping = true,
            }
            next = if bytes < BATCH_BYTES { jobs.try_recv().ok() } else { None };
        }
    }

    fn patience(&self) -> Duration {
        let trouble = self.short || matches!(self.target, Target::Broken { .. });
        let until = if trouble { self.retry_at.min(self.flush_at) } else { self.flush_at };
        until.saturating_duration_since(Instant::now())
    }

    fn write(&mut self, batch: &mut Vec<Append>) {
        if batch.is_empty() {
            return;
        }
        let result = self.append(batch.iter().map(|append| (append.epoch, Kind::Event, append.event.as_slice())));
        for (index, Append { event: _, epoch: _, permit, done }) in (0..).zip(batch.drain(..)) {
            drop(permit);
            // Nobody waits if the request was dropped; its line is written all the same.
            let _ = done.send(result.clone().map(|first| Appended { seq: first + index }));
        }
    }

    /// Writes the lines durably; the number of the first. On failure nothing of it counts.
    fn append<'a>(&mut self, lines: impl Iterator<Item = (u64, Kind, &'a [u8])>) -> Result<u64, Error> {
        let current = match &mut self.target {
            Target::Writing(current) => current,
            Target::Broken { segment, reason } => return Err(broken(segment, reason)),
        };
        let mut head = self.head;
        self.buffer.clear();
        for (epoch, kind, body) in lines {
            head.push(&mut self.buffer, epoch, kind, body);
        }
        if let Err(error) = current.file.write_at(&self.buffer, current.position).and_then(|()| current.file.sync()) {
            return Err(self.poison(&error.to_string()));
        }
        current.position += self.buffer.len() as u64;
        let first = self.head.seq + 1;
        self.head = head;
        self.shared.room.written(self.buffer.len() as u64);
        self.shared.durable_seq.store(head.seq, Ordering::Release);
        Ok(first)
    }

    /// Writes lines of the writer's own, for which no permit stands.
    fn own_lines(&mut self, kind: Kind, bodies: &[Vec<u8>]) -> Result<(), Error> {
        let len: usize = bodies.iter().map(|body| body.len() + 256).sum();
        if !self.shared.room.has_own(len as u64) {
            return Err(Error::NoSpace(self.settings.dir.clone()));
        }
        let epoch = self.head.epoch;
        self.append(bodies.iter().map(|body| (epoch, kind, body.as_slice()))).map(|_| ())
    }

    /// Gives the current segment up: what the system lost of it is unknown, and a later sync may succeed without it.
    fn poison(&mut self, reason: &str) -> Error {
        let segment = self.current_name();
        let error = broken(&segment, reason);
        self.shared.room.broken(error.clone());
        tracing::error!(segment, reason, "an audit segment failed; the service answers when a new one is begun");
        let failed = std::mem::replace(&mut self.target, Target::Broken { segment, reason: reason.to_owned() });
        if let Target::Writing(current) = failed {
            // Best effort on a failing file: without it every failure would keep a window of the disk.
            let _ = current.file.release();
        }
        error
    }

    fn current_name(&self) -> String {
        match &self.target {
            Target::Writing(current) => current.name.clone(),
            Target::Broken { segment, reason: _ } => segment.clone(),
        }
    }

    /// Begins a new segment where one is due, and keeps space reserved; at most every [`RETRY_EVERY`] once it failed.
    ///
    /// A full segment is due for another one only when there is something to write.
    fn heal(&mut self, writes: bool) {
        if Instant::now() < self.retry_at {
            return;
        }
        let healed = match self.target {
            Target::Broken { .. } => self.begin_after_break(),
            Target::Writing(_) if writes => self.rotate().and(self.extend()),
            Target::Writing(_) => self.extend(),
        };
        if let Err(error) = &healed {
            self.retry_at = Instant::now() + RETRY_EVERY;
            if !self.short {
                tracing::warn!(%error, "the audit log cannot grow; trying again");
            }
        }
        self.short = healed.is_err();
    }

    /// Begins the next segment with a line that names the one that failed.
    fn begin_after_break(&mut self) -> Result<(), Error> {
        let Target::Broken { segment, reason } = &self.target else { return Ok(()) };
        let body = to_json(&Break { segment: segment.clone(), last_seq: self.head.seq, reason: reason.clone() });
        // A disk that fails again and again must not fill up with segments.
        self.retry_at = Instant::now() + RETRY_EVERY;
        let (mut head, mut line) = (self.head, Vec::new());
        head.push(&mut line, head.epoch, Kind::Break, &body);
        // Nothing is promised while it is broken, so what is needed now stays enough.
        let room = self.shared.room.needed(self.settings.reserve_bytes);
        let next = self.next_segment(&line, room)?;
        self.publish(&next)?;
        self.head = head;
        self.shared.durable_seq.store(head.seq, Ordering::Release);
        self.target = Target::Writing(next);
        self.shared.room.allocated(room);
        Ok(())
    }

    /// Begins the next segment if this one is full. If that fails for want of space, this one grows on.
    fn rotate(&mut self) -> Result<(), Error> {
        let Target::Writing(full) = &self.target else { return Ok(()) };
        if full.position < self.settings.segment_bytes {
            return Ok(());
        }
        let room = self.shared.room.needed(self.settings.reserve_bytes);
        let next = self.next_segment(b"", room)?;
        if !self.shared.room.allocated(room) {
            self.discard(&next.name);
            return Err(Error::NoSpace(self.settings.dir.clone()));
        }
        if let Err(error) = self.publish(&next) {
            // Which of the two names would be found after a power cut is unknown.
            return Err(self.poison(&error.to_string()));
        }
        if let Target::Writing(full) = std::mem::replace(&mut self.target, Target::Writing(next)) {
            // Best effort: costs only space.
            let _ = full.file.release();
        }
        Ok(())
    }

    /// An unpublished segment for the next line: `bytes`, synced, and `room` bytes reserved behind them.
    fn next_segment(&self, bytes: &[u8], room: u64) -> Result<Current, Error> {
        let name = Segment { first_seq: self.head.seq + 1 }.name();
        let path = self.settings.dir.join(&name);
        let file = self.disk.create(&unpublished(&name)).map_err(Error::io("create", &path))?;
        let position = bytes.len() as u64;
        let reserved = file.reserve(0, position + room).map_err(Error::io("reserve space in", &path));
        let written = reserved
            .and_then(|()| file.write_at(bytes, 0).and_then(|()| file.sync()).map_err(Error::io("write", &path)));
        match written {
            Ok(()) => Ok(Current { file, name, position }),
            Err(error) => {
                self.discard(&name);
                Err(error)
            }
        }
    }

    fn publish(&self, next: &Current) -> Result<(), Error> {
        let published = self.disk.publish(&unpublished(&next.name), &next.name);
        published.map_err(Error::io("publish", &self.settings.dir.join(&next.name)))
    }

    /// Gives the space of an unpublished segment back: a reservation that failed may hold a part.
    fn discard(&self, name: &str) {
        // Best effort: the next try replaces the file, and the next start removes it.
        let _ = self.disk.discard(&unpublished(name));
    }

    /// Reserves a full window again if half of it is used.
    fn extend(&mut self) -> Result<(), Error> {
        let Target::Writing(current) = &self.target else { return Ok(()) };
        let Some(wanted) = self.shared.room.wanted(self.settings.reserve_bytes) else { return Ok(()) };
        let path = self.settings.dir.join(&current.name);
        current.file.reserve(current.position, wanted).map_err(Error::io("reserve space in", &path))?;
        // If more was promised meanwhile than fits, the next promise asks again.
        self.shared.room.allocated(wanted);
        Ok(())
    }

    /// Writes a line for every count of refused requests; keeps counting if it cannot.
    fn flush_refusals(&mut self) {
        self.flush_at = Instant::now() + FLUSH_EVERY;
        if self.shared.refusals.is_empty() {
            return;
        }
        let counts = self.shared.refusals.take();
        // The time is for people to read, and decides nothing: the machine's clock will do.
        let bodies: Vec<Vec<u8>> = refused::lines(&counts, SystemClock.now()).iter().map(to_json).collect();
        if self.own_lines(Kind::Refused, &bodies).is_err() {
            self.shared.refusals.put_back(counts);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.room.close();
        if let Target::Writing(current) = &self.target {
            // Best effort: costs only space, and the next start does it again.
            let _ = current.file.release();
        }
    }
}

/// The first segment of a new log, without a line.
fn first_segment(disk: &dyn Disk, dir: &Path) -> Result<Current, Error> {
    let name = Segment { first_seq: 1 }.name();
    let file = disk.create(&unpublished(&name)).map_err(Error::io("create", &dir.join(&name)))?;
    disk.publish(&unpublished(&name), &name).map_err(Error::io("publish", &dir.join(&name)))?;
    Ok(Current { file, name, position: 0 })
}

/// Checks the newest segments, and takes the last one up where its good lines end.
fn resume(disk: &dyn Disk, dir: &Path, newest: &[Segment]) -> Result<(Head, Current, Option<Cut>), Error> {
    let End { head, good_len, unfinished, leftovers: _ } = walk(dir, newest, Tail::Torn, &mut |_| Ok(()))?;
    let name = newest.last().map(Segment::name).unwrap_or_default();
    let path = dir.join(&name);
    let file = disk.open(&name).map_err(Error::io("open", &path))?;
    let cut = read(&*file, good_len, unfinished).map_err(Error::io("read", &path))?;
    // Cut before it is recorded: behind a recorded cut, torn bytes could not be told from changed ones.
    file.set_len(good_len).map_err(Error::io("cut", &path))?;
    // After a failed sync the system may show lines that the disk does not have. Written again, they are synced.
    let start = good_len.saturating_sub(MAX_UNFINISHED);
    let tail = read(&*file, start, good_len - start).map_err(Error::io("read", &path))?;
    file.write_at(&tail, start).and_then(|()| file.sync()).map_err(Error::io("sync", &path))?;
    let cut = (unfinished > 0).then(|| Cut {
        segment: name.clone(),
        bytes: unfinished,
        sha256: hex::encode(crypto::sha256(&[&cut])),
    });
    Ok((head, Current { file, name, position: good_len }, cut))
}

/// At most [`MAX_UNFINISHED`] bytes of a file.
fn read(file: &dyn LogFile, position: u64, len: u64) -> std::io::Result<Vec<u8>> {
    // A walk lets nothing longer pass.
    let mut bytes = vec![0; usize::try_from(len.min(MAX_UNFINISHED)).unwrap_or(0)];
    file.read_at(&mut bytes, position)?;
    Ok(bytes)
}

fn broken(segment: &str, reason: &str) -> Error {
    Error::Broken { segment: segment.to_owned(), reason: reason.to_owned() }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    // Strings and numbers only.
    serde_json::to_vec(value).expect("plain JSON")
}

/// Bytes of events after which a batch is closed; with one more event and what is around them it stays below
/// [`MAX_UNFINISHED`].
const BATCH_BYTES: usize = 1 << 19;
/// Between two tries to get space or a new segment.
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// Between two counts of refused requests.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
