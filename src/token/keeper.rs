//! The keeper of a token: one thread that holds the anchor session, recovers what is lost, and ends it all.
//!
//! A recovery is a barrier: every worker drops its handles and its session, then there is at most one login, then every
//! worker opens a session in the new epoch. What a worker reports of an old epoch is old news.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use cryptoki::slot::Slot;

use super::error::Error;
use super::login::{Anchor, Door, close, is_logged_in};
use super::schemes::Schemes;
use super::sessions::{Control, Crew, LaneName, Notice, Pending, Request, Serving, Shared};
use super::worker::hire;
use super::{Status, probe};

/// Keeps one token.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    door: Door,
    notices: Receiver<Notice>,
    anchor: Option<Anchor>,
    epoch: u64,
    /// When to try to connect again; `None` while connected, or when trying is of no use.
    next_try: Option<Instant>,
    /// When to have every kind of key tried, in the background.
    try_all_at: Option<Instant>,
    /// The last pause after a login of no use: the next one is twice as long.
    login_pause: Duration,
    /// How many logins there had been when a pause was last chosen.
    logins: u64,
    /// When the last recovery ended.
    recovered_at: Option<Instant>,
    /// Failed tries of this recovery, one after the other, in which the token was out of order.
    failures: u32,
    /// Since when nothing has helped, neither a new login nor the module's restart.
    helpless_since: Option<Instant>,
    /// Why the last try failed, so that the log has it once.
    given_up: Option<String>,
}

impl Keeper {
    /// Hires the workers, opens their sessions, and starts the keeper's thread.
    pub fn start(shared: Arc<Shared>, door: Door, notices: Receiver<Notice>, anchor: Anchor) -> Result<(), Error> {
        let mut keeper = Keeper {
            shared,
            door,
            notices,
            anchor: Some(anchor),
            epoch: 0,
            next_try: None,
            try_all_at: None,
            login_pause: Duration::ZERO,
            logins: 0,
            recovered_at: None,
            failures: 0,
            helpless_since: None,
            given_up: None,
        };
        if let Err(error) = keeper.hire_all().and_then(|()| keeper.admit_all()) {
            keeper.shut_down(FAILED_START_PATIENCE);
            return Err(error);
        }
        keeper.shared.set_connection(Status::Ready);
        let thread = std::thread::Builder::new().name("token-keeper".to_owned()).spawn(move || keeper.run());
        thread.map(drop).map_err(|error| Error::System(format!("a thread for the token: {error}")))
    }

    fn hire_all(&mut self) -> Result<(), Error> {
        for lane in LaneName::ALL {
            for _ in 0..self.shared.workers(lane) {
                let hand = hire(&self.shared, lane)?;
                self.shared.crew().hands.push(hand);
            }
        }
        Ok(())
    }

    fn run(mut self) {
        loop {
            let next = self.next_try.into_iter().chain(self.try_all_at).min();
            let patience = next.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
            let patience = if self.next_try.is_some() { patience.min(PAUSE_MIN) } else { patience };
            match self.notices.recv_timeout(patience) {
                Ok(Notice::Lost(epoch, why)) if epoch == self.epoch && self.is_connected() => self.begin(&why),
                Ok(Notice::Lost(..)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Notice::Shutdown(patience, done)) => {
                    let clean = self.shut_down(patience);
                    // Who asked may have lost patience before this.
                    let _ = done.send(clean);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.shut_down(FAILED_START_PATIENCE);
                    return;
                }
            }
            match self.next_try {
                Some(at) if at <= Instant::now() => self.recover(),
                Some(_) => self.look(),
                None => {}
            }
            if self.try_all_at.is_some_and(|at| at <= Instant::now()) {
                self.try_all_at = None;
                probe::try_all(&self.shared);
            }
        }
    }

    /// Whether a recovery is not already under way, or over and given up.
    fn is_connected(&self) -> bool {
        self.next_try.is_none() && self.shared.is_connected()
    }

    /// Begins a recovery: everybody leaves, and the first try is now, unless the last recovery was of no use.
    fn begin(&mut self, why: &str) {
        tracing::warn!(epoch = self.epoch, reason = why, "the token's sessions are lost; recovering");
        self.shared.counters.recoveries.fetch_add(1, Ordering::Relaxed);
        let (mut pause, _) = self.pause();
        if self.recovered_at.is_none_or(|at| at.elapsed() >= PAUSE_MIN) {
            (pause, self.login_pause) = (Duration::ZERO, Duration::ZERO);
        }
        let status = if pause > PAUSE_MIN { Status::Unavailable } else { Status::Recovering };
        self.shared.set_connection(status(why.to_owned()));
        self.dismiss_all();
        self.next_try = Some(Instant::now() + pause);
    }

    /// While a login waits for its time, as earlier ones were of no use: a token that has gone meanwhile is tried as soon
    /// as it is back, and to look for it needs no login.
    fn look(&mut self) {
        self.shared.keeper_busy.begin();
        let is_there = self.door.is_there();
        self.shared.keeper_busy.end();
        if !is_there {
            self.next_try = Some(Instant::now() + PAUSE_MIN);
        }
    }

    fn recover(&mut self) {
        match self.connect().and_then(|()| self.admit_all()) {
            Ok(()) => {
                tracing::info!(epoch = self.epoch, "the token is back");
                self.recovered_at = Some(Instant::now());
                (self.next_try, self.given_up) = (None, None);
                (self.failures, self.helpless_since) = (0, None);
                self.shared.set_connection(Status::Ready);
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &Error) {
        self.note_failure(error);
        self.dismiss_all();
        let (pause, has_tried) = self.pause();
        let (status, next_try) = match error {
            Error::PinIncorrect => (Status::PinRefused, None),
            Error::PinLocked if has_tried => (Status::PinLocked, Some(PAUSE_MAX)),
            Error::PinLocked => (Status::PinLocked, Some(pause)),
            other => (Status::Unavailable(other.to_string()), Some(pause)),
        };
        let reason = error.to_string();
        if self.given_up.as_ref() != Some(&reason) {
            let next_try_seconds = next_try.map(|pause| pause.as_secs());
            tracing::warn!(reason, next_try_seconds, "the token does not come back");
            self.given_up = Some(reason);
        }
        self.shared.set_connection(status);
        self.next_try = next_try.map(|pause| Instant::now() + pause);
        for hand in &self.shared.crew().hands {
            hand.order(Control::GiveUp);
        }
        self.shared.drain();
    }

    /// What the token refuses, a new login would not change; and where sessions are short, the anchor's is not given away.
    fn note_failure(&mut self, error: &Error) {
        if matches!(error, Error::Unavailable(_) | Error::TokenMissing { .. }) {
            self.failures += 1;
            self.helpless_since.get_or_insert_with(Instant::now);
        } else {
            (self.failures, self.helpless_since) = (0, None);
        }
    }

    /// How long to wait before the next try, and whether there was a login since the last time: after one it is longer
    /// every time; to see whether the token is there again costs nothing.
    fn pause(&mut self) -> (Duration, bool) {
        let before = std::mem::replace(&mut self.logins, self.shared.counters.logins.load(Ordering::Relaxed));
        if before == self.logins {
            return (PAUSE_MIN, false);
        }
        self.login_pause = (self.login_pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        (self.login_pause, true)
    }

    /// Uses the anchor if it is still logged in, else logs in once.
    fn connect(&mut self) -> Result<(), Error> {
        self.shared.keeper_busy.begin();
        let result = self.reopen();
        self.shared.keeper_busy.end();
        result
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let logged_in = self.anchor.as_ref().is_some_and(|anchor| is_logged_in(&anchor.session));
        let helpless = self.helpless_since.is_some_and(|since| since.elapsed() >= self.door.profile.limits.hopeless());
        if logged_in && !helpless && !doubts_login(self.failures) {
            return Ok(());
        }
        if let Some(anchor) = self.anchor.take() {
            close(anchor.session);
        }
        if helpless {
            self.restart_module()?;
        }
        // Somebody else in the process may have finalised the module.
        self.shared.module.initialise()?;
        self.anchor = Some(self.door.open()?);
        if logged_in {
            // It went well, and is no reason for a longer pause.
            self.logins = self.shared.counters.logins.load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Some libraries come back only so. Not while others use the module, or a thread may be inside it.
    fn restart_module(&mut self) -> Result<(), Error> {
        self.helpless_since = Some(Instant::now());
        let all_are_out = self.shared.crew().lost.is_empty();
        let restarted = all_are_out && self.door.lease.restart_around(|| Ok(()))?;
        tracing::warn!(restarted, "no login has helped; if the module could not be restarted, restart the service");
        Ok(())
    }

    /// Opens the next epoch: every worker opens a session.
    fn admit_all(&mut self) -> Result<(), Error> {
        let slot = self.anchor.as_ref().ok_or(Error::Unavailable("there is no login".to_owned()))?.token.slot;
        let schemes = Arc::new(self.find_schemes(slot)?);
        self.shared.set_schemes(&schemes);
        probe::forget_refusals(&self.shared);
        self.epoch += 1;
        self.shared.index.begin(self.epoch);
        let serving = Serving { slot, epoch: self.epoch, schemes };
        let entered = serving.clone();
        let opened = self.tell_all(|crew| crew.serving = Some(entered), |done| Control::Enter(serving.clone(), done));
        // Calls that hang keep their sessions: who gets none for that is let in when there is room.
        let short = !self.shared.crew().lost.is_empty();
        let opened = opened.into_iter().filter(|answer| !(short && answer.as_ref().is_err_and(Error::is_refusal)));
        opened.collect::<Result<(), Error>>()?;
        self.shared.tell(LaneName::Slow, Request::Index, Instant::now() + INDEX_TIME);
        self.try_all_at = Some(Instant::now() + SETTLING_TIME);
        Ok(())
    }

    /// What the token does now: another one may stand in its place, or its mode was changed.
    fn find_schemes(&self, slot: Slot) -> Result<Schemes, Error> {
        let Shared { module, profile, keeper_busy, .. } = &*self.shared;
        keeper_busy.begin();
        let found = Schemes::find(module, profile, slot, keeper_busy, &self.shared.schemes());
        keeper_busy.end();
        found
    }

    /// Has every worker drop its handles and its session, before any other call that it has to make.
    fn dismiss_all(&self) {
        let dismiss = |crew: &mut Crew| {
            crew.serving = None;
            crew.hands.iter().for_each(|hand| hand.busy.recall());
        };
        self.tell_all(dismiss, Control::Leave);
    }

    /// Gives an order to every worker, and waits for those that can answer. Whoever makes a key pair for longer than any
    /// other call takes is not waited for: he is written off.
    fn tell_all<T>(&self, change: impl FnOnce(&mut Crew), order: impl Fn(Sender<T>) -> Control) -> Vec<T> {
        let pending = {
            let mut crew = self.shared.crew();
            change(&mut crew);
            crew.order(|_| true, order)
        };
        let answer = |pending: &Pending<T>| {
            let answer = pending.wait(|busy| !busy.is_long_inside());
            if answer.is_none() {
                self.shared.crew().write_off(&pending.busy);
            }
            answer
        };
        pending.iter().filter_map(answer).collect()
    }

    /// Ends the crew, closes the anchor, and gives the module back. Returns false if a worker is still inside a call.
    fn shut_down(mut self, patience: Duration) -> bool {
        self.shared.set_connection(Status::Stopped);
        self.shared.stopped.store(true, Ordering::Release);
        let crew = std::mem::take(&mut *self.shared.crew());
        for hand in &crew.hands {
            hand.order(Control::Stop);
        }
        self.shared.drain();
        let deadline = Instant::now() + patience;
        let mut all_ended = true;
        for hand in crew.hands {
            while !hand.thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(JOIN_TICK);
            }
            all_ended &= hand.thread.is_finished();
        }
        // For those written off nobody waits any more.
        all_ended &= crew.lost.iter().all(|hand| hand.thread.is_finished());
        if all_ended && let Some(anchor) = self.anchor.take() {
            close(anchor.session);
        }
        if !all_ended {
            tracing::warn!("a session is still inside a call; the module is not finalised");
        }
        self.door.lease.release(!all_ended);
        all_ended
    }
}

/// Whether to log in anew after so many failures, although the library says that the session is logged in: it may only
/// remember so. More and more seldom, as a login is not free; at last about once a minute.
fn doubts_login(failures: u32) -> bool {
    failures >= 2 && (failures.is_power_of_two() || failures.is_multiple_of(64))
}

/// After a login, the requests that wait come before what nobody has asked for.
const SETTLING_TIME: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the index may wait for its turn.
const INDEX_TIME: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(3600);
const JOIN_TICK: Duration = Duration::from_millis(2);
const FAILED_START_PATIENCE: Duration = Duration::from_secs(10);
