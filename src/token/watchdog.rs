//! Watches the threads that are inside calls, because a PKCS#11 call cannot be cancelled.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::error::Error;
use super::sessions::{Control, Crew, LaneName, Shared};
use super::worker::hire;

/// Starts the watchdog. It calls `on_hopeless` once, when the token has had no worker for as long as the profile says.
pub(super) fn start(
    shared: Arc<Shared>,
    max_sessions: Option<u64>,
    on_hopeless: Box<dyn FnOnce() + Send>,
) -> Result<(), Error> {
    let watchdog = Watchdog { shared, max_sessions, on_hopeless: Some(on_hopeless), stuck_since: None };
    let thread = std::thread::Builder::new().name("token-watchdog".to_owned()).spawn(move || watchdog.run());
    thread.map(drop).map_err(|error| Error::System(format!("a thread for the token: {error}")))
}

struct Watchdog {
    shared: Arc<Shared>,
    max_sessions: Option<u64>,
    on_hopeless: Option<Box<dyn FnOnce() + Send>>,
    stuck_since: Option<Instant>,
}

impl Watchdog {
    fn run(mut self) {
        while !self.shared.stopped.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
            let stuck = self.look();
            self.shared.stuck.store(stuck, Ordering::Relaxed);
            if stuck {
                self.shared.drain();
                self.despair();
            } else {
                self.stuck_since = None;
            }
        }
    }

    /// Writes off who is overdue, and hires replacements. Returns whether the token is stuck all the same.
    fn look(&self) -> bool {
        let mut crew = self.shared.crew();
        if self.shared.stopped.load(Ordering::Acquire) {
            return false;
        }
        write_off(&mut crew);
        for lane in LaneName::ALL {
            self.replace(&mut crew, lane, self.shared.workers(lane));
        }
        !crew.serves_all_lanes() || self.shared.keeper_busy.is_overdue()
    }

    fn replace(&self, crew: &mut Crew, lane: LaneName, wanted: usize) {
        while crew.hands.iter().filter(|hand| hand.lane == lane).count() < wanted && self.has_room(crew, lane) {
            let hand = match hire(&self.shared, lane) {
                Ok(hand) => hand,
                Err(error) => return tracing::warn!(reason = %error, "no replacement for a worker"),
            };
            if let Some(serving) = &crew.serving {
                // Nobody waits for this answer: a worker that cannot open a session reports that as a loss.
                let (done, _) = bounded(1);
                hand.order(Control::Enter(serving.clone(), done));
            }
            crew.hands.push(hand);
        }
    }

    /// Whether one more session fits into the token's limit, one kept for the anchor, and into patience.
    fn has_room(&self, crew: &Crew, lane: LaneName) -> bool {
        let open = crew.hands.len() + crew.lost.len() + 1;
        let fits = self.max_sessions.is_none_or(|max| u64::try_from(open).is_ok_and(|open| open < max));
        fits && crew.lost.iter().filter(|hand| hand.lane == lane).count() <= REPLACEMENTS_MAX
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
        } else if hand.busy.is_overdue() {
            tracing::error!(lane = ?hand.lane, "a session of the token is inside a call that does not return");
            hand.busy.written_off.store(true, Ordering::Release);
            let lost = crew.hands.swap_remove(index);
            crew.lost.push(lost);
        } else {
            index += 1;
        }
    }
}

const TICK: Duration = Duration::from_millis(250);
/// Replacements for one lane while those written off have not come back.
const REPLACEMENTS_MAX: usize = 3;
