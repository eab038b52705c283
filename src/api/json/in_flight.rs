//! How many requests of one principal are served at a time: he who floods the service waits for himself, not everyone
//! for him.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The requests in flight, by the unique id of who sent them: the sessions of a role share one count.
pub struct InFlight {
    max: usize,
    counts: Mutex<HashMap<Arc<str>, usize>>,
}

/// One request in flight, until this is dropped, however the request ends.
pub struct Place<'a> {
    all: &'a InFlight,
    principal: Arc<str>,
}

impl InFlight {
    /// At most `max` of each principal, at least 1.
    pub fn new(max: usize) -> Self {
        InFlight { max: max.max(1), counts: Mutex::default() }
    }

    /// A place for one more request of this principal; none if all of his are taken.
    pub fn enter(&self, principal: &str) -> Option<Place<'_>> {
        let principal: Arc<str> = principal.into();
        let mut counts = self.counts();
        let count = counts.entry(principal.clone()).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { all: self, principal })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        // Who has no request in flight takes no memory.
        match counts.get_mut(&self.principal) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.principal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_principal_has_places_of_his_own_and_gets_them_back() {
        let all = InFlight::new(2);
        let (first, second) = (all.enter("AIDAANN"), all.enter("AIDAANN"));
        assert!(first.is_some() && second.is_some() && all.enter("AIDAANN").is_none());
        assert!(all.enter("AIDABOB").is_some());
        drop(first);
        let third = all.enter("AIDAANN");
        assert!(third.is_some() && all.enter("AIDAANN").is_none());
        drop((second, third));
        assert!(all.counts().is_empty(), "nothing is kept of those who have gone");
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let all = InFlight::new(0);
        let panicked = std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _place = all.enter("AIDAANN");
                panic!("a mistake in an operation");
            });
            panicking.join().is_err()
        });
        assert!(panicked && all.enter("AIDAANN").is_some(), "one place at least, and it is free");
    }

    #[test]
    fn no_place_is_lost_among_threads() {
        let all = InFlight::new(3);
        let most = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let Some(_place) = all.enter("AIDAANN") else { continue };
                        let now = {
                            let mut most = most.lock().unwrap();
                            most.0 += 1;
                            most.1 = most.1.max(most.0);
                            most.0
                        };
                        assert!(now <= 3, "{now} at once");
                        most.lock().unwrap().0 -= 1;
                    }
                });
            }
        });
        assert!(most.lock().unwrap().1 >= 1 && all.counts().is_empty());
    }
}
