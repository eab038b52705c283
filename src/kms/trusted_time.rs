//! Whether the time of day may decide over a destruction.

use std::time::Duration;

use super::Kms;
use crate::model::{Clock, Timestamp};

/// Holds the time of day against the time since boot, which no one can set.
///
/// Time is trusted when the service started at most a day after its last record, and the time of day kept pace with
/// the boot clock since. Otherwise it is trusted again after a day of keeping pace, or when an operator accepts it.
#[derive(Debug)]
pub struct TrustedTime {
    wall: Timestamp,
    boot: Duration,
    /// The boot time from which on the time of day is trusted.
    from: Duration,
    /// Whether it jumped, and that is not on record yet.
    jumped: bool,
}

/// What [`TrustedTime::observe`] says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This is the time.
    Trusted(Timestamp),
    /// Nothing is destroyed for this long.
    Waiting(Duration),
    /// The time of day jumped, and nobody has said yet that it is told; nothing is destroyed for a day.
    Jumped,
}

impl TrustedTime {
    /// Begins to watch; `last_record` is the highest time that the store knows, `accepted` an operator's word.
    pub fn start(clock: &dyn Clock, last_record: Timestamp, accepted: bool) -> Self {
        let (wall, boot) = (clock.now(), clock.since_boot());
        let fresh = wall >= last_record && wall.since(last_record) <= DAY;
        let from = if fresh || accepted { boot } else { boot + DAY };
        TrustedTime { wall, boot, from, jumped: false }
    }

    /// Looks at the clocks once more.
    pub fn observe(&mut self, clock: &dyn Clock) -> Verdict {
        let (wall, boot) = (clock.now(), clock.since_boot());
        let elapsed = boot.saturating_sub(self.boot);
        let expected = self.wall.plus(elapsed);
        let apart = wall.since(expected).max(expected.since(wall));
        // A clock that is disciplined may drift 500 ppm (adjtimex); twice that, and a minute, is no jump.
        if apart > Duration::from_secs(60) + elapsed / 1_000 {
            *self = TrustedTime { wall, boot, from: boot + DAY, jumped: true };
        }
        if self.jumped {
            return Verdict::Jumped;
        }
        match self.from.checked_sub(boot) {
            None | Some(Duration::ZERO) => Verdict::Trusted(wall),
            Some(left) => Verdict::Waiting(left),
        }
    }

    /// Says that a jump is told.
    pub fn told(&mut self) {
        self.jumped = false;
    }
}

impl Kms {
    /// Whether the time of day may decide over a destruction now.
    pub fn observe_time(&self) -> Verdict {
        self.trusted_time().observe(self.clock())
    }

    /// Says that a jump of the time of day is on record.
    pub fn told_of_jump(&self) {
        self.trusted_time().told();
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(i64, u64);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0 * 1_000)
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    const HOUR: i64 = 3_600;

    #[test]
    fn a_fresh_start_is_trusted_and_a_late_one_waits_a_day() {
        let last = Timestamp::from_millis(0);
        let mut time = TrustedTime::start(&Fixed(HOUR, 10), last, false);
        assert_eq!(time.observe(&Fixed(HOUR + 5, 15)), Verdict::Trusted(Timestamp::from_millis((HOUR + 5) * 1_000)));
        let mut time = TrustedTime::start(&Fixed(25 * HOUR, 10), last, false);
        assert_eq!(time.observe(&Fixed(25 * HOUR, 10)), Verdict::Waiting(DAY));
        let after = Fixed(49 * HOUR, 10 + 24 * 3_600);
        assert_eq!(time.observe(&after), Verdict::Trusted(after.now()));
        let mut time = TrustedTime::start(&Fixed(25 * HOUR, 10), last, true);
        assert!(matches!(time.observe(&Fixed(25 * HOUR, 10)), Verdict::Trusted(_)));
    }

    #[test]
    fn a_clock_below_the_last_record_is_not_trusted() {
        let mut time = TrustedTime::start(&Fixed(0, 10), Timestamp::from_millis(HOUR * 1_000), false);
        assert!(matches!(time.observe(&Fixed(1, 11)), Verdict::Waiting(_)));
    }

    #[test]
    fn a_jump_in_either_direction_costs_a_day() {
        for jumped in [40 * 24 * HOUR, -HOUR] {
            let mut time = TrustedTime::start(&Fixed(0, 0), Timestamp::from_millis(0), false);
            assert!(matches!(time.observe(&Fixed(100, 100)), Verdict::Trusted(_)));
            assert_eq!(time.observe(&Fixed(jumped, 200)), Verdict::Jumped);
            assert_eq!(time.observe(&Fixed(jumped, 200)), Verdict::Jumped, "until it is told");
            time.told();
            assert!(matches!(time.observe(&Fixed(jumped + 10, 210)), Verdict::Waiting(_)));
            assert!(matches!(time.observe(&Fixed(jumped + 86_500, 200 + 86_500)), Verdict::Trusted(_)));
        }
    }
}
