//! One at a time, for calls that a vendor's library cannot make at once.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Whose turn it is to search, make or destroy token objects.
pub(super) struct Turn(Option<(Sender<()>, Receiver<()>)>);

/// Held during such a call.
pub(super) struct Held<'a>(Option<&'a Receiver<()>>);

impl Turn {
    /// One at a time if `needed`, else all at once.
    pub fn new(needed: bool) -> Self {
        Turn(needed.then(|| bounded(1)))
    }

    /// Waits for the turn, `patience` at most: whoever holds it longer hangs, and then nobody must wait for him.
    pub fn take(&self, patience: Duration) -> Held<'_> {
        let free = |(takers, _): &(Sender<()>, Receiver<()>)| takers.send_timeout((), patience).is_ok();
        Held(self.0.as_ref().filter(|turn| free(turn)).map(|(_, held)| held))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.0 {
            let _ = held.try_recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_is_one_s_until_he_drops_it_or_patience_ends() {
        let (turn, moment) = (Turn::new(true), Duration::from_millis(1));
        let first = turn.take(moment);
        assert!(turn.take(moment).0.is_none(), "somebody has it");
        assert!(first.0.is_some());
        drop(first);
        assert!(turn.take(moment).0.is_some(), "a turn that was not had is not given back");
        assert!(Turn::new(false).take(moment).0.is_none());
    }
}
