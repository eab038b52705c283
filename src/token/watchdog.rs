//! Watches the threads that are inside calls, because a PKCS#11 call cannot be cancelled.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::Error;
use super::sessions::{Crew, LaneName, Shared};
use super::worker::hire;

/// Starts the watchdog. It calls `on_hopeless` once, when the token has had no worker for data keys for as long as the profile says.
pub(super) fn start(
    shared: Arc<Shared>,
    max_sessions: Option<u64>,
    on_hopeless: Box<dyn FnOnce() + Send>,
) -> Result<(), Error> {
    let watchdog = Watchdog { shared, max_sessions, on_hopeless: Some(on_hopeless), stuck_since: None, ticks: 0 };
    let thread = std::thread::Builder::new().name("token-watchdog".to_owned()).spawn(move || watchdog.run());
    thread.map(drop).map_err(|error| Error::System(format!("a thread for the token: {error}")))
}

struct Watchdog {
    shared: Arc<Shared>,
    max_sessions: Option<u64>,
    on_hopeless: Option<Box<dyn FnOnce() + Send>>,
    stuck_since: Option<Instant>,
    ticks: u32,
}

impl Watchdog {
    fn run(mut self) {
        while !self.shared.stopped.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
            let keeper_hangs = self.shared.keeper_busy.is_overdue();
            let served = self.look();
            self.ticks = self.ticks.wrapping_add(1);
            for lane in LaneName::ALL {
                self.shared.set_stuck(lane, keeper_hangs || !served.contains(&lane));
            }
            // Without data keys there is nothing that an end of the process would spoil.
            if self.shared.is_stuck(LaneName::Fast) {
                self.despair();
            } else {
                self.stuck_since = None;
            }
        }
    }

    /// Writes off who is overdue, hires replacements, and has those try again that got no session. Returns the lanes that have workers.
    fn look(&self) -> Vec<LaneName> {
        let mut crew = self.shared.crew();
        if self.shared.stopped.load(Ordering::Acquire) {
            return LaneName::ALL.to_vec();
        }
        write_off(&mut crew);
        if self.ticks.is_multiple_of(TICKS_OF_A_TRY) {
            crew.let_in();
        }
        for lane in LaneName::ALL {
            self.replace(&mut crew, lane, self.shared.workers(lane));
        }
        LaneName::ALL.into_iter().filter(|lane| crew.serves(*lane)).collect()
    }

    fn replace(&self, crew: &mut Crew, lane: LaneName, wanted: usize) {
        while crew.hands.iter().filter(|hand| hand.lane == lane).count() < wanted && self.has_room(crew, lane) {
            let hand = match hire(&self.shared, lane) {
                Ok(hand) => hand,
                Err(error) => return tracing::warn!(reason = %error, "no replacement for a worker"),
            };
            hand.enter(crew.serving.as_ref());
            crew.hands.push(hand);
        }
    }

    /// Whether one more session fits into the token's limit, one kept for the anchor, and into patience.
    fn has_room(&self, crew: &Crew, lane: LaneName) -> bool {
        let open = crew.hands.len() + crew.lost.len() + 1;
        let fits = self.max_sessions.is_none_or(|max| u64::try_from(open).is_ok_and(|open| open < max));
        let lost = crew.lost.iter().filter(|hand| hand.lane == lane).count();
        fits && lost <= REPLACEMENTS_MAX * self.shared.workers(lane)
    }

    fn despair(&mut self) {
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.shared.profile.limits.hopeless()
            && let Some(on_hopeless) = self.on_hopeless.take()
        {
            tracing::error!("no session of the token has come back; the process should end");
            on_hopeless();
        }
    }
}

fn write_off(crew: &mut Crew) {
    // Whoever came back after having been written off has ended.
    crew.lost.retain(|hand| !hand.thread.is_finished());
    let mut index = 0;
    while let Some(hand) = crew.hands.get(index) {
        if hand.thread.is_finished() {
            crew.hands.swap_remove(index);
        } else if hand.busy.write_off_if_overdue() {
            tracing::error!(lane = ?hand.lane, "a session of the token is inside a call that does not return");
            let lost = crew.hands.swap_remove(index);
            crew.lost.push(lost);
        } else {
            index += 1;
        }
    }
}

const TICK: Duration = Duration::from_millis(250);
/// Who got no session tries again once a second.
const TICKS_OF_A_TRY: u32 = 4;
/// Replacements for each worker of a lane while those written off have not come back.
const REPLACEMENTS_MAX: usize = 3;
