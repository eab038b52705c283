//! Pauses between tries to rotate a key: what fails once would fail in every round.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{KeyId, Region};

/// The keys that wait for their next try.
#[derive(Default)]
pub struct Pauses(Mutex<HashMap<Place, Pause>>);

/// Which key.
type Place = (Region, KeyId);

struct Pause {
    until: Instant,
    length: Duration,
}

impl Pauses {
    /// Whether a key is not to be tried yet.
    pub(super) fn holds(&self, key: &Place, now: Instant) -> bool {
        self.all().get(key).is_some_and(|pause| now < pause.until)
    }

    /// Holds a key for a second, and for twice as long each time that it fails again, up to ten minutes.
    pub(super) fn lengthen(&self, key: &Place, now: Instant) {
        let mut all = self.all();
        let last = all.get(key).map_or(Duration::ZERO, |pause| pause.length);
        let length = (last * 2).clamp(SHORTEST, LONGEST);
        all.insert(key.clone(), Pause { until: now + length, length });
    }

    /// Holds a key for a second, since a token is out: that is over at any moment.
    pub(super) fn hold(&self, key: &Place, now: Instant) {
        self.all().insert(key.clone(), Pause { until: now + SHORTEST, length: Duration::ZERO });
    }

    /// Holds a key no more: it has rotated.
    pub(super) fn end(&self, key: &Place) {
        self.all().remove(key);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Place, Pause>> {
        // Changes in single steps, so that a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_ten_minutes_and_ends_with_a_rotation() {
        let place = |byte: u8| ("us-east-1".parse().unwrap(), KeyId::from_random([byte; 16]));
        let (pauses, key, now) = (Pauses::default(), place(7), Instant::now());
        assert!(!pauses.holds(&key, now));
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            pauses.lengthen(&key, now);
            let end = now + Duration::from_secs(seconds);
            assert!(pauses.holds(&key, end - Duration::from_millis(1)) && !pauses.holds(&key, end), "{seconds}");
        }
        assert!(!pauses.holds(&place(8), now));
        pauses.end(&key);
        assert!(!pauses.holds(&key, now));
    }
}
