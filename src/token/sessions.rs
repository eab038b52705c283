//! What is asked of the token's sessions, and the crew of threads that serve it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use cryptoki::slot::Slot;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::Error;
use super::import::{Import, Place, Unwrapped};
use super::index::Index;
use super::iv::HostIv;
use super::kind::KeyKind;
use super::lane::Lane;
use super::mechanism::Scheme;
use super::module::Module;
use super::private::Task;
use super::probe::{Offer, ProbeRow};
use super::profile::Profile;
use super::random::{Order, Pool};
use super::schemes::Schemes;
use super::softhsm_files::Directory;
use super::transfer::{Done, Step};
use super::turn::Turn;
use super::{Counts, Objects, Status};
use crate::crypto::PublicKey;
use crate::model::{EncryptionAlgorithm, ObjectName, Secret};

/// What a worker is asked to do. Everything is a value, so that the module can move to another process one day.
pub(super) enum Request {
    /// Wrap a seed by this scheme, with this IV where it is ours.
    Wrap { name: ObjectName, scheme: Scheme, iv: HostIv, associated: Vec<u8>, seed: Secret },
    /// Unwrap what `Wrap` made.
    Unwrap { name: ObjectName, scheme: Scheme, associated: Vec<u8>, wrapped: Vec<u8> },
    /// So many random bytes of the token.
    Random { len: usize },
    /// Random bytes into the pool; nobody waits.
    Refill(Order),
    /// What one private or HMAC key does.
    Use { name: ObjectName, kind: KeyKind, task: Task },
    /// Make a key.
    Generate { name: ObjectName, kind: KeyKind },
    /// Make a key of wrapped material, at this place.
    Import(Box<Import>, Place),
    /// One step of a transfer between tokens.
    Transfer(Box<Step>),
    /// Destroy a key and every copy of it.
    Destroy { name: ObjectName },
    /// Whether the key is there, and proved.
    Exists { name: ObjectName, kind: KeyKind },
    /// Whether the token can do what such keys are for.
    Offers(KeyKind),
    /// Whether material of such keys can be transferred.
    OffersTransfer(KeyKind),
    /// Whether the token signs by Ed25519ph.
    Prehashes,
    /// Find out which material the token unwraps by itself.
    TryImports,
    /// All objects with our labels.
    Objects,
    /// Take note of where all objects are; nobody waits.
    Index,
    /// Try every mechanism that is needed.
    SelfTest,
}

/// What a worker answers.
pub(super) enum Answer {
    /// Done.
    Done,
    /// Wrapped bytes, a signature or a MAC.
    Bytes(Vec<u8>),
    /// The key is made; a pair has a public half.
    Made(Option<PublicKey>),
    /// What became of an import.
    Unwrapped(Unwrapped),
    /// What a step of a transfer came to.
    Transferred(Done),
    /// Whether the token can do it.
    Offer(Offer),
    /// A seed, a plaintext, a shared secret or random bytes.
    Secret(Secret),
    /// Whether it is there.
    Exists(bool),
    /// Objects with our labels, and how many others there are.
    Objects(Objects),
    /// A row for each mechanism.
    SelfTest(Vec<ProbeRow>),
}

/// A request on its way.
pub(super) struct Job {
    pub request: Request,
    pub deadline: Instant,
    /// `None` if nobody waits.
    pub reply: Option<oneshot::Sender<Result<Answer, Error>>>,
    /// The place in the queue, given back when a worker takes the job.
    pub place: Option<OwnedSemaphorePermit>,
    /// Whether this is the second try.
    pub retried: bool,
}

/// Which queue a request waits in, so that key generation never delays data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneName {
    /// What takes microseconds.
    Fast,
    /// What private keys do: up to ten milliseconds.
    Private,
    /// What searches, destroys and imports.
    Slow,
    /// What takes seconds: making key pairs, and trying what the token can do.
    Making,
}

impl LaneName {
    /// All lanes.
    pub const ALL: [LaneName; 4] = [LaneName::Fast, LaneName::Private, LaneName::Slow, LaneName::Making];

    /// Whether its workers hold keys between requests.
    pub fn holds_keys(self) -> bool {
        matches!(self, LaneName::Fast | LaneName::Private)
    }
}

/// What the crew is told, beside its work.
pub(super) enum Control {
    /// Drop all handles, close the session, tell so, and wait.
    Leave(Sender<()>),
    /// Open a session there, tell whether that worked, and go on.
    Enter(Serving, Sender<Result<(), Error>>),
    /// Answer the job that waits for a second try: it will not get one soon.
    GiveUp,
    /// Drop every handle and copy of the key with this `CKA_ID`, and tell so.
    Forget([u8; 20], Sender<()>),
    /// Close the session and end.
    Stop,
}

/// A worker, as others see it.
pub(super) struct Hand {
    pub lane: LaneName,
    pub control: Sender<Control>,
    pub busy: Arc<Busy>,
    pub thread: JoinHandle<()>,
}

/// All workers. Who is told to enter or leave, and who is hired, changes only under its lock.
#[derive(Default)]
pub(super) struct Crew {
    /// Those that answer.
    pub hands: Vec<Hand>,
    /// Those written off inside a call that does not return.
    pub lost: Vec<Hand>,
    /// Where to enter, while the token is served.
    pub serving: Option<Serving>,
}

/// A token while its sessions last.
#[derive(Clone)]
pub(super) struct Serving {
    pub slot: Slot,
    pub epoch: u64,
    /// What it was seen to do in this epoch.
    pub schemes: Arc<Schemes>,
}

/// What the keeper is told.
pub(super) enum Notice {
    /// In this epoch, a session, the login or the device was lost.
    Lost(u64, String),
    /// End within this time, and tell whether everything ended.
    Shutdown(Duration, Sender<bool>),
}

/// What all threads of one token share.
pub(super) struct Shared {
    pub module: Arc<Module>,
    pub profile: Profile,
    pub files: Option<Directory>,
    pub objects_turn: Turn,
    pub fast: Lane,
    pub private: Lane,
    pub slow: Lane,
    pub making: Lane,
    pub crew: Mutex<Crew>,
    pub notices: Sender<Notice>,
    pub index: Index,
    /// The schemes of the last epoch.
    pub schemes: Mutex<Arc<Schemes>>,
    /// What was found out about kinds of keys.
    pub offers: Mutex<HashMap<KeyKind, Offer>>,
    /// What was found out about transfers of them.
    pub transfers: Mutex<HashMap<KeyKind, Offer>>,
    /// Whether the token signs by Ed25519ph, once that was tried.
    pub prehashes: OnceLock<Offer>,
    /// Which material the token unwraps by itself, once that was tried.
    pub unwraps: OnceLock<HashSet<(KeyKind, EncryptionAlgorithm)>>,
    pub pool: Arc<Pool>,
    pub counters: Counters,
    /// How the connection is, as the keeper knows it.
    pub connection: Mutex<Status>,
    /// Whether the keeper is inside a call.
    pub keeper_busy: Busy,
    /// Set by the watchdog while a lane has no worker that answers, or the keeper does not come back.
    pub stuck: AtomicBool,
    /// Ends the watchdog.
    pub stopped: AtomicBool,
    /// When a call last failed for what is no fault of its data.
    pub trouble: Mutex<Option<Instant>>,
}

/// Counters for metrics and tests.
#[derive(Default)]
pub(super) struct Counters {
    pub operations: AtomicU64,
    pub sessions: AtomicU64,
    pub recoveries: AtomicU64,
    pub logins: Arc<AtomicU64>,
}

/// Whether a worker is inside a call, and since when. Times are in milliseconds since the watchdog's start.
pub(super) struct Busy {
    start: Instant,
    since: AtomicU64,
    limit: AtomicU64,
    /// Set when the worker is written off: it ends as soon as its call returns.
    pub written_off: AtomicBool,
}

impl Hand {
    /// Gives an order. A worker that has ended needs none, and drops it.
    pub fn order(&self, order: Control) {
        let _ = self.control.send(order);
        self.thread.thread().unpark();
    }
}

impl Shared {
    /// Puts a request into its lane and waits for the answer, up to the deadline.
    pub async fn ask(&self, lane: LaneName, request: Request, deadline: Instant) -> Result<Answer, Error> {
        self.refuse_if_unavailable()?;
        let until = tokio::time::Instant::from_std(deadline);
        let lane = self.lane(lane);
        let place = lane.place(until).await?;
        let (reply, answer) = oneshot::channel();
        lane.put(Job { request, deadline, reply: Some(reply), place: Some(place), retried: false });
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            // A worker that ended without answering.
            Ok(Err(_)) => Err(Error::Unavailable(ENDED.to_owned())),
            Err(_) => Err(self.late()),
        }
    }

    /// Puts a request into a lane that nobody waits for.
    pub fn tell(&self, lane: LaneName, request: Request, deadline: Instant) {
        self.lane(lane).put(Job { request, deadline, reply: None, place: None, retried: false });
    }

    /// How the token is.
    pub fn status(&self) -> Status {
        let connection = self.connection().clone();
        if self.stuck.load(Ordering::Relaxed) && matches!(connection, Status::Ready | Status::Recovering(_)) {
            return Status::Unavailable(STUCK.to_owned());
        }
        connection
    }

    /// Whether the keeper has nothing to recover.
    pub fn is_connected(&self) -> bool {
        matches!(*self.connection(), Status::Ready)
    }

    /// Sets how the connection is.
    pub fn set_connection(&self, status: Status) {
        *self.connection() = status;
    }

    /// The crew, locked; never hold it across a call into the module.
    pub fn crew(&self) -> MutexGuard<'_, Crew> {
        // Entries change in single steps, so that a panic elsewhere leaves nothing half done.
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane with this name.
    pub fn lane(&self, name: LaneName) -> &Lane {
        match name {
            LaneName::Fast => &self.fast,
            LaneName::Private => &self.private,
            LaneName::Slow => &self.slow,
            LaneName::Making => &self.making,
        }
    }

    /// Answers everything that waits with the reason why nobody will serve it.
    pub fn drain(&self) {
        let why = self.status().to_string();
        for job in LaneName::ALL.into_iter().flat_map(|lane| self.lane(lane).drain()) {
            job.answer(Err(Error::Unavailable(why.clone())));
        }
    }

    /// How many workers a lane has.
    pub fn workers(&self, name: LaneName) -> usize {
        let sessions = &self.profile.sessions;
        match name {
            LaneName::Fast => sessions.fast_workers,
            LaneName::Private => sessions.private_workers,
            LaneName::Slow => sessions.slow_workers,
            LaneName::Making => sessions.making_workers,
        }
    }

    /// The schemes that the token was last seen to do.
    pub fn schemes(&self) -> Arc<Schemes> {
        Arc::clone(&self.schemes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the schemes that the token was seen to do.
    pub fn set_schemes(&self, found: &Arc<Schemes>) {
        *self.schemes.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(found);
    }

    /// What was found out about kinds of keys, locked.
    pub fn offers(&self) -> MutexGuard<'_, HashMap<KeyKind, Offer>> {
        // Entries are put in whole.
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found out about transfers, locked.
    pub fn transfers(&self) -> MutexGuard<'_, HashMap<KeyKind, Offer>> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether keys that are gone soon are token objects, because there are no others.
    pub fn passing(&self) -> bool {
        !self.profile.objects.in_session
    }

    /// Tells the keeper that something was lost in this epoch.
    pub fn report_lost(&self, epoch: u64, why: String) {
        // Without a keeper the token is being shut down.
        let _ = self.notices.send(Notice::Lost(epoch, why));
    }

    /// Takes note of a call that failed for what is no fault of its data.
    pub fn note_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether calls failed a moment ago, so that the next failure may be one more of them.
    pub fn is_in_trouble(&self) -> bool {
        let last = *self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < TROUBLE_TIME)
    }

    /// The counters as they are now.
    pub fn counts(&self) -> Counts {
        Counts {
            operations: self.counters.operations.load(Ordering::Relaxed),
            sessions: self.counters.sessions.load(Ordering::Relaxed),
            recoveries: self.counters.recoveries.load(Ordering::Relaxed),
            logins: self.counters.logins.load(Ordering::Relaxed),
        }
    }

    /// Refuses what would have no answer soon.
    pub fn refuse_if_unavailable(&self) -> Result<(), Error> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(Error::Unavailable(STUCK.to_owned()));
        }
        match &*self.connection() {
            Status::Ready | Status::Recovering(_) => Ok(()),
            Status::PinRefused => Err(Error::PinIncorrect),
            Status::PinLocked => Err(Error::PinLocked),
            Status::Unavailable(why) => Err(Error::Unavailable(why.clone())),
            Status::Stopped => Err(Error::Unavailable(STOPPED.to_owned())),
        }
    }

    /// What a request hears whose deadline has passed: an outage is called by its name.
    fn late(&self) -> Error {
        match self.status() {
            Status::Ready => Error::DeadlineExceeded,
            other => Error::Unavailable(other.to_string()),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Status> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Answers, if someone still waits.
    pub fn answer(self, answer: Result<Answer, Error>) {
        if let Some(reply) = self.reply {
            // Who hung up needs no answer.
            let _ = reply.send(answer);
        }
    }

    /// Whether somebody waited for this and has gone.
    pub fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Whether the job may be tried once more: it makes nothing, was not tried twice, and has time left.
    pub fn may_retry(&self) -> bool {
        !self.retried
            && Instant::now() < self.deadline
            && !matches!(self.request, Request::Generate { .. } | Request::Import(..) | Request::Transfer(_))
    }
}

impl Crew {
    /// Whether each lane has a worker that answers.
    pub fn serves_all_lanes(&self) -> bool {
        LaneName::ALL.iter().all(|lane| self.hands.iter().any(|hand| hand.lane == *lane))
    }
}

impl Busy {
    /// For a worker that is not inside a call.
    pub fn new() -> Busy {
        Busy {
            start: Instant::now(),
            since: AtomicU64::new(IDLE),
            limit: AtomicU64::new(0),
            written_off: AtomicBool::new(false),
        }
    }

    /// A call begins that may take this long.
    pub fn begin(&self, limit: Duration) {
        self.limit.store(millis(limit), Ordering::Relaxed);
        self.since.store(millis(self.start.elapsed()), Ordering::Release);
    }

    /// One call has returned, and another one of the same kind begins.
    pub fn renew(&self) {
        if self.since.load(Ordering::Acquire) != IDLE {
            self.since.store(millis(self.start.elapsed()), Ordering::Release);
        }
    }

    /// The call has returned.
    pub fn end(&self) {
        self.since.store(IDLE, Ordering::Release);
    }

    /// Whether the worker has been inside one call for longer than it may.
    pub fn is_overdue(&self) -> bool {
        let since = self.since.load(Ordering::Acquire);
        let limit = self.limit.load(Ordering::Relaxed);
        since != IDLE && millis(self.start.elapsed()) > since.saturating_add(limit)
    }

    /// Whether the watchdog has given this worker up.
    pub fn is_written_off(&self) -> bool {
        self.written_off.load(Ordering::Acquire)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long one failed call makes others suspicious: as long as a recovery may take.
const TROUBLE_TIME: Duration = Duration::from_secs(2);
const IDLE: u64 = u64::MAX;
/// What is said of a token that ends.
pub(super) const STOPPED: &str = "it is being shut down";
const ENDED: &str = "the thread that had the request has ended";
const STUCK: &str = "every session is inside a call that does not return";
