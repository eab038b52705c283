//! Whether a thread is inside a call, and since when: a PKCS#11 call cannot be cancelled, so it is watched.
//!
//! Every call into the module goes through [`Busy::watch`]. So each has its own time, however many of them a request
//! takes; and who was written off makes no other call than to close his session: by then his handles may be somebody else's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};

use super::profile::Limits;

/// What one thread does, as others see it. Times are in milliseconds since it was hired.
pub(super) struct Busy {
    start: Instant,
    /// Since when it has been inside a call, or beside one; or [`IDLE`], or [`WRITTEN_OFF`], which is for good.
    since: AtomicU64,
    /// For how long it may be.
    limit: AtomicU64,
    /// Whether it is to come back before its next call.
    recalled: AtomicBool,
    call: Duration,
    generation: Duration,
}

/// Whether who is recalled makes a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recalled {
    Calls,
    Stays,
}

impl Busy {
    /// For a thread that is idle.
    pub fn new(limits: &Limits) -> Busy {
        Busy {
            start: Instant::now(),
            since: AtomicU64::new(IDLE),
            limit: AtomicU64::new(millis(limits.call())),
            recalled: AtomicBool::new(false),
            call: limits.call(),
            generation: limits.generation(),
        }
    }

    /// Work begins. What it does between its calls may take as long as one of them.
    pub fn begin(&self) {
        // Whoever was written off hears of it from his first call.
        let _ = self.set(self.now(), self.call);
    }

    /// The work is done.
    pub fn end(&self) {
        let _ = self.set(IDLE, self.call);
    }

    /// Makes one call into the module.
    ///
    /// Fails without it if this thread was written off or recalled. If it was written off during the call, what that
    /// came to is not told: its handles may have been somebody else's.
    pub fn watch<T>(&self, call: impl FnOnce() -> Result<T, CryptokiError>) -> Result<T, CryptokiError> {
        self.watch_for(self.call, Recalled::Stays, call)
    }

    /// As [`Busy::watch`], for what `cryptoki` makes two calls of.
    pub fn watch_two<T>(&self, calls: impl FnOnce() -> Result<T, CryptokiError>) -> Result<T, CryptokiError> {
        self.watch_for(self.call * 2, Recalled::Stays, calls)
    }

    /// As [`Busy::watch`], for making a key pair.
    pub fn watch_generation<T>(&self, call: impl FnOnce() -> Result<T, CryptokiError>) -> Result<T, CryptokiError> {
        self.watch_for(self.generation, Recalled::Stays, call)
    }

    /// As [`Busy::watch`], for the calls that close a session: also after a recall, or it would stay open for ever.
    pub fn watch_closing<T>(&self, call: impl FnOnce() -> Result<T, CryptokiError>) -> Result<T, CryptokiError> {
        self.watch_for(self.call, Recalled::Calls, call)
    }

    fn watch_for<T>(
        &self,
        limit: Duration,
        recalled: Recalled,
        call: impl FnOnce() -> Result<T, CryptokiError>,
    ) -> Result<T, CryptokiError> {
        if recalled == Recalled::Stays && self.recalled.load(Ordering::Acquire) {
            return Err(not_called());
        }
        let idle = self.since.load(Ordering::Acquire) == IDLE;
        self.set(self.now(), limit)?;
        let result = call();
        self.set(if idle { IDLE } else { self.now() }, self.call)?;
        result
    }

    /// Has the thread come back before its next call.
    pub fn recall(&self) {
        self.recalled.store(true, Ordering::Release);
    }

    /// The thread has come back.
    pub fn heed(&self) {
        self.recalled.store(false, Ordering::Release);
    }

    /// Whether the call under way takes longer than it may.
    pub fn is_overdue(&self) -> bool {
        self.is_inside_for(self.since.load(Ordering::Acquire), self.limit.load(Ordering::Acquire))
    }

    /// As [`Busy::is_overdue`], by the limit for other calls if a key pair is being made.
    pub fn is_long_inside(&self) -> bool {
        let (since, limit) = (self.since.load(Ordering::Acquire), self.limit.load(Ordering::Acquire));
        let is_generation = limit == millis(self.generation);
        self.is_inside_for(since, if is_generation { millis(self.call) } else { limit })
    }

    fn is_inside_for(&self, since: u64, limit: u64) -> bool {
        !matches!(since, IDLE | WRITTEN_OFF) && self.now() > since.saturating_add(limit)
    }

    /// Writes the thread off if it is inside a call that is overdue: it makes no other call, and ends as soon as it is back.
    pub fn write_off_if_overdue(&self) -> bool {
        let since = self.since.load(Ordering::Acquire);
        let overdue = self.is_inside_for(since, self.limit.load(Ordering::Acquire));
        overdue && self.since.compare_exchange(since, WRITTEN_OFF, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Writes the thread off, whatever it does.
    pub fn write_off(&self) {
        self.since.store(WRITTEN_OFF, Ordering::Release);
    }

    /// Whether it was written off.
    pub fn is_written_off(&self) -> bool {
        self.since.load(Ordering::Acquire) == WRITTEN_OFF
    }

    /// Undoes that: the thread is back, to close its session and to end.
    pub fn take_back(&self) {
        self.since.store(self.now(), Ordering::Release);
    }

    /// Fails if the thread was written off.
    fn set(&self, since: u64, limit: Duration) -> Result<(), CryptokiError> {
        let changed = |known| (known != WRITTEN_OFF).then_some(since);
        self.since.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed).map_err(|_| not_called())?;
        self.limit.store(millis(limit), Ordering::Release);
        Ok(())
    }

    fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

/// As for a session that is gone: what must not be called any more says nothing about anything.
fn not_called() -> CryptokiError {
    CryptokiError::Pkcs11(RvError::SessionClosed, Function::GetSessionInfo)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const IDLE: u64 = u64::MAX;
const WRITTEN_OFF: u64 = u64::MAX - 1;
