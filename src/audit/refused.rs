//! Counts requests that were refused before anybody was authenticated.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::chain::Refused;
use crate::model::Timestamp;

/// Counts by source and reason since they were last taken: at most [`MAX_SOURCES`] of them, then by reason alone.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Counts>);

/// No source means all others.
pub(super) type Counts = HashMap<(Option<IpAddr>, &'static str), u64>;

impl Refusals {
    /// Counts one.
    pub fn count(&self, source: IpAddr, reason: &'static str) {
        let mut counts = self.lock();
        let known = counts.contains_key(&(Some(source), reason)) || counts.len() < MAX_SOURCES;
        *counts.entry((known.then_some(source), reason)).or_default() += 1;
    }

    /// Takes what was counted since the last time.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.lock())
    }

    /// Adds what could not be written.
    pub fn put_back(&self, counts: Counts) {
        let mut now = self.lock();
        for (who, count) in counts {
            *now.entry(who).or_default() += count;
        }
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line for each count, ordered.
pub(super) fn lines(counts: &Counts, until: Timestamp) -> Vec<Refused> {
    let mut lines: Vec<Refused> = counts.iter().map(|(who, count)| line(*who, *count, until)).collect();
    lines.sort_by(|one, other| (&one.source, &one.reason).cmp(&(&other.source, &other.reason)));
    lines
}

fn line((source, reason): (Option<IpAddr>, &'static str), count: u64, until: Timestamp) -> Refused {
    let source = source.map_or_else(|| "others".to_owned(), |address| address.to_string());
    Refused { source, reason: reason.to_owned(), count, until: until.to_string() }
}

/// Pairs of source and reason that get a line of their own; with one line of about 250 bytes each per 10 s, a flood
/// from everywhere writes some 140 MB a day.
pub(super) const MAX_SOURCES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stays_within_its_lines_and_none_is_lost() {
        let refusals = Refusals::default();
        for number in 0..100_000_u32 {
            refusals.count(IpAddr::from(number.to_be_bytes()), if number % 2 == 0 { "signature" } else { "clock" });
        }
        let lines = lines(&refusals.take(), Timestamp::from_millis(0));
        assert_eq!(lines.len(), MAX_SOURCES + 2);
        assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), 100_000);
        assert_eq!(lines.iter().filter(|line| line.source == "others").count(), 2);
        assert!(refusals.is_empty());
    }

    #[test]
    fn what_could_not_be_written_is_counted_on() {
        let refusals = Refusals::default();
        refusals.count(IpAddr::from([127, 0, 0, 1]), "signature");
        let taken = refusals.take();
        refusals.count(IpAddr::from([127, 0, 0, 1]), "signature");
        refusals.put_back(taken);
        assert_eq!(lines(&refusals.take(), Timestamp::from_millis(0))[0].count, 2);
    }

    #[test]
    fn a_known_source_keeps_its_line_in_a_flood() {
        let refusals = Refusals::default();
        let known = IpAddr::from([127, 0, 0, 1]);
        refusals.count(known, "signature");
        (0..1000_u32).for_each(|number| refusals.count(IpAddr::from(number.to_be_bytes()), "signature"));
        refusals.count(known, "signature");
        let lines = lines(&refusals.take(), Timestamp::from_millis(0));
        assert_eq!(lines.iter().find(|line| line.source == "127.0.0.1").unwrap().count, 2);
    }
}
