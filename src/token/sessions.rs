//! What is asked of the token's sessions, and the crew of threads that serve it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use cryptoki::slot::Slot;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::busy::Busy;
use super::error::Error;
use super::import::{Import, Place, Unwrapped};
use super::index::Index;
use super::iv::{ExtraIvs, HostIv};
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
use crate::model::{ObjectName, Secret, WrappingAlgorithm};

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
    /// Whether the token gave it no session; it is told to enter again until it gets one.
    pub shut_out: Arc<AtomicBool>,
    pub thread: JoinHandle<()>,
}

/// An order that was given to one worker.
pub(super) struct Pending<T> {
    pub busy: Arc<Busy>,
    answer: Receiver<T>,
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
    pub prehashes: Mutex<Option<Offer>>,
    /// Which material the token unwraps by itself, once that was tried.
    pub unwraps: Mutex<Option<HashSet<(KeyKind, WrappingAlgorithm)>>>,
    pub pool: Arc<Pool>,
    pub extra_ivs: ExtraIvs,
    pub counters: Counters,
    /// How the connection is, as the keeper knows it.
    pub connection: Mutex<Status>,
    /// Whether the keeper is inside a call.
    pub keeper_busy: Arc<Busy>,
    /// Set by the watchdog for each lane that has no worker that answers, and for all while the keeper does not come back.
    pub stuck: [AtomicBool; LaneName::ALL.len()],
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

impl Hand {
    /// Gives an order. A worker that has ended needs none, and drops it.
    pub fn order(&self, order: Control) {
        let _ = self.control.send(order);
        self.thread.thread().unpark();
    }

    /// Has it enter alone, if the token is served. Nobody waits for its answer.
    pub fn enter(&self, serving: Option<&Serving>) {
        if let Some(serving) = serving {
            self.order(Control::Enter(serving.clone(), bounded(1).0));
        }
    }
}

impl Shared {
    /// Puts a request into its lane and waits for the answer, up to the deadline.
    pub async fn ask(&self, lane: LaneName, request: Request, deadline: Instant) -> Result<Answer, Error> {
        self.refuse_if_unavailable(lane)?;
        let until = tokio::time::Instant::from_std(deadline);
        let place = match self.lane(lane).place(until).await {
            Err(Error::Throttled) if !self.flows(lane) => return Err(self.late()),
            place => place?,
        };
        // It may have become so meanwhile.
        self.refuse_if_unavailable(lane)?;
        let (reply, answer) = oneshot::channel();
        self.lane(lane).put(Job { request, deadline, reply: Some(reply), place: Some(place), retried: false });
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
        if self.is_stuck(LaneName::Fast) && matches!(connection, Status::Ready | Status::Recovering(_)) {
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

    /// Whether nobody answers what is asked in this lane.
    pub fn is_stuck(&self, lane: LaneName) -> bool {
        self.stuck[lane as usize].load(Ordering::Relaxed)
    }

    /// Takes note of that; whatever waits there is answered at once.
    pub fn set_stuck(&self, lane: LaneName, stuck: bool) {
        let was = self.stuck[lane as usize].swap(stuck, Ordering::Relaxed);
        if stuck {
            self.drain_lane(lane, STUCK);
        }
        if stuck && !was {
            tracing::error!(?lane, "no session is left for this kind of work, which is refused until a call returns");
        }
    }

    /// Answers everything that waits with the reason why nobody will serve it.
    pub fn drain(&self) {
        let why = self.status().to_string();
        LaneName::ALL.into_iter().for_each(|lane| self.drain_lane(lane, &why));
    }

    fn drain_lane(&self, lane: LaneName, why: &str) {
        for job in self.lane(lane).drain() {
            job.answer(Err(Error::Unavailable(why.to_owned())));
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

    /// Whether the token signs by Ed25519ph, once that was tried; locked.
    pub fn prehashes(&self) -> MutexGuard<'_, Option<Offer>> {
        self.prehashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which material the token unwraps by itself, once that was tried; locked.
    pub fn unwraps(&self) -> MutexGuard<'_, Option<HashSet<(KeyKind, WrappingAlgorithm)>>> {
        self.unwraps.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub fn refuse_if_unavailable(&self, lane: LaneName) -> Result<(), Error> {
        if self.is_stuck(lane) {
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

    /// Whether a lane that stays full has too many requests, and not an outage.
    fn flows(&self, lane: LaneName) -> bool {
        let hangs = |hand: &Hand| hand.lane == lane && (hand.busy.is_overdue() || hand.busy.is_written_off());
        let crew = self.crew();
        self.status() == Status::Ready && !crew.hands.iter().chain(&crew.lost).any(hangs)
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

impl<T> Pending<T> {
    /// Waits for the answer, for as long as `patience` says. `None` from who has ended or was written off.
    pub fn wait(&self, patience: impl Fn(&Busy) -> bool) -> Option<T> {
        loop {
            match self.answer.recv_timeout(ANSWER_TICK) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !self.busy.is_written_off() && patience(&self.busy) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Crew {
    /// Gives an order to those workers.
    pub fn order<T>(&self, whom: impl Fn(&Hand) -> bool, order: impl Fn(Sender<T>) -> Control) -> Vec<Pending<T>> {
        let give = |hand: &Hand| {
            let (done, answer) = bounded(1);
            // A worker that has ended drops `done`, which ends the wait for it.
            hand.order(order(done));
            Pending { busy: Arc::clone(&hand.busy), answer }
        };
        self.hands.iter().filter(|hand| whom(hand)).map(give).collect()
    }

    /// Writes off a worker that does not come back to obey.
    pub fn write_off(&mut self, busy: &Arc<Busy>) {
        let Some(index) = self.hands.iter().position(|hand| Arc::ptr_eq(&hand.busy, busy)) else { return };
        let hand = self.hands.swap_remove(index);
        tracing::error!(lane = ?hand.lane, "a session of the token is inside a call for too long to be waited for");
        busy.write_off();
        // It may have come back just now, and wait.
        hand.order(Control::Stop);
        self.lost.push(hand);
    }

    /// Whether the lane has a worker that answers.
    pub fn serves(&self, lane: LaneName) -> bool {
        // While the token is not served, it is the keeper who tries.
        let shut_out = |hand: &Hand| self.serving.is_some() && hand.shut_out.load(Ordering::Acquire);
        self.hands.iter().any(|hand| hand.lane == lane && !shut_out(hand))
    }

    /// Has those enter that the token gave no session: there may be room now.
    pub fn let_in(&self) {
        let shut_out = self.hands.iter().filter(|hand| hand.shut_out.load(Ordering::Acquire));
        shut_out.for_each(|hand| hand.enter(self.serving.as_ref()));
    }

    /// Strikes a worker off the list that was written off, came back, and has nothing at the token any more.
    pub fn dismiss(&mut self, busy: &Arc<Busy>) {
        self.lost.retain(|hand| !Arc::ptr_eq(&hand.busy, busy));
    }
}

const ANSWER_TICK: Duration = Duration::from_millis(20);
/// How long one failed call makes others suspicious: as long as a recovery may take.
const TROUBLE_TIME: Duration = Duration::from_secs(2);
/// What is said of a token that ends.
pub(super) const STOPPED: &str = "it is being shut down";
const ENDED: &str = "the thread that had the request has ended";
const STUCK: &str = "every session is inside a call that does not return";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::profile::Limits;

    /// Who has no session, because the token is short of them, has not hung: the process must not end for that.
    #[test]
    fn a_lane_whose_worker_gets_no_session_is_stuck_only_while_the_token_is_served() {
        let hand = Hand {
            lane: LaneName::Fast,
            control: crossbeam_channel::unbounded().0,
            busy: Arc::new(Busy::new(&Limits::default())),
            shut_out: Arc::new(AtomicBool::new(true)),
            thread: std::thread::spawn(|| {}),
        };
        let mut crew = Crew { hands: vec![hand], ..Crew::default() };
        assert!(crew.serves(LaneName::Fast) && !crew.serves(LaneName::Slow));
        let slot = Slot::try_from(0_u64).unwrap();
        crew.serving = Some(Serving { slot, epoch: 1, schemes: Arc::default() });
        assert!(!crew.serves(LaneName::Fast));
        crew.hands[0].shut_out.store(false, Ordering::Release);
        assert!(crew.serves(LaneName::Fast));
    }
}
