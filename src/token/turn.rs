//! One at a time, for calls that a vendor's library cannot make at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::busy::Busy;

/// Whose turn it is to search, make or destroy token objects.
pub(super) struct Turn(Option<Inner>);

#[derive(Default)]
struct Inner {
    holder: Mutex<Option<Arc<Busy>>>,
    given_back: Condvar,
}

/// Held during such a call.
pub(super) struct Held<'a>(Option<(&'a Inner, Arc<Busy>)>);

impl Turn {
    /// One at a time if `needed`, else all at once.
    pub fn new(needed: bool) -> Self {
        Turn(needed.then(Inner::default))
    }

    /// Waits for the turn, `patience` at most: whoever holds it longer hangs, and then nobody must wait for him. Once he is
    /// written off, it is the next one's.
    pub fn take(&self, busy: &Arc<Busy>, patience: Duration) -> Held<'_> {
        let until = Instant::now() + patience;
        Held(self.0.as_ref().filter(|turn| turn.wait(busy, until)).map(|turn| (turn, Arc::clone(busy))))
    }
}

impl Inner {
    fn wait(&self, busy: &Arc<Busy>, until: Instant) -> bool {
        let mut holder = self.holder();
        while holder.as_ref().is_some_and(|holder| !holder.is_written_off()) {
            if Instant::now() >= until {
                return false;
            }
            let waited = self.given_back.wait_timeout(holder, TICK);
            holder = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *holder = Some(Arc::clone(busy));
        true
    }

    fn holder(&self) -> MutexGuard<'_, Option<Arc<Busy>>> {
        // It changes in single steps, so that a panic elsewhere leaves nothing half done.
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Some((turn, busy)) = &self.0 else { return };
        let mut holder = turn.holder();
        // Of one who was written off it may be somebody else's.
        if holder.as_ref().is_some_and(|holder| Arc::ptr_eq(holder, busy)) {
            *holder = None;
            turn.given_back.notify_one();
        }
    }
}

/// How soon a holder that was written off is noticed.
const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::profile::Limits;

    #[test]
    fn the_turn_is_one_s_until_he_drops_it_or_patience_ends() {
        let (turn, moment) = (Turn::new(true), Duration::from_millis(1));
        let (one, other) = (busy(), busy());
        let first = turn.take(&one, moment);
        assert!(turn.take(&other, moment).0.is_none(), "somebody has it");
        assert!(first.0.is_some());
        drop(first);
        assert!(turn.take(&other, moment).0.is_some(), "a turn that was not had is not given back");
        assert!(Turn::new(false).take(&one, moment).0.is_none());
    }

    #[test]
    fn the_turn_of_one_who_was_written_off_is_the_next_one_s() {
        let (turn, moment) = (Turn::new(true), Duration::from_millis(1));
        let (hung, next, last) = (busy(), busy(), busy());
        let lost = turn.take(&hung, moment);
        hung.write_off();
        let held = turn.take(&next, moment);
        assert!(held.0.is_some());
        drop(lost);
        assert!(turn.take(&last, moment).0.is_none(), "who comes back late gives back nothing");
        drop(held);
        assert!(turn.take(&last, moment).0.is_some());
    }

    fn busy() -> Arc<Busy> {
        Arc::new(Busy::new(&Limits::default()))
    }
}
