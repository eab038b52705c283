//! Space that is reserved for what has begun.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use super::chain::MAX_LINE;
use std::path::PathBuf;

/// What the writer's thread and its callers share about space.
#[derive(Debug)]
pub(super) struct Room {
    dir: PathBuf,
    /// Free space, beyond what is promised, below which the writer should reserve more.
    low: u64,
    space: Mutex<Space>,
}

#[derive(Debug)]
struct Space {
    state: State,
    /// Bytes allocated and not written.
    left: u64,
    /// Bytes promised to permits.
    promised: u64,
    /// The writer was told already that space is low.
    told: bool,
}

#[derive(Clone, Debug)]
enum State {
    Writing,
    Broken(Error),
    Closed,
}

/// The right to append one line, for which space is reserved; gives it back when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped gives its space back"]
pub struct Permit(Arc<Room>);

/// How the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether a request could begin now.
    pub writable: bool,
    /// If not, why.
    pub trouble: Option<String>,
    /// The last line that is durable.
    pub durable_seq: u64,
    /// Bytes allocated and not yet written.
    pub reserved_bytes: u64,
    /// Permits given out and not yet back.
    pub permits: u64,
}

impl Room {
    pub fn new(dir: PathBuf, window: u64) -> Self {
        let space = Space { state: State::Writing, left: 0, promised: 0, told: false };
        Room { dir, low: OWN_LINES + window / 2, space: Mutex::new(space) }
    }

    /// A permit, and whether the writer should be told that space is low.
    pub fn permit(self: &Arc<Self>) -> (Result<Permit, Error>, bool) {
        let mut space = self.lock();
        let result = self.refusal(&space).map_or_else(
            || {
                space.promised += MAX_LINE as u64;
                Ok(Permit(self.clone()))
            },
            Err,
        );
        let tell = !space.told && space.left < space.promised + self.low;
        space.told |= tell;
        (result, tell)
    }

    /// Whether the writer may put `len` bytes of its own behind its last line.
    pub fn has_own(&self, len: u64) -> bool {
        let space = self.lock();
        space.left >= space.promised + len
    }

    /// `len` bytes were written.
    pub fn written(&self, len: u64) {
        let mut space = self.lock();
        space.left = space.left.saturating_sub(len);
    }

    /// How many bytes should be allocated behind the last line, if more than there are.
    pub fn wanted(&self, window: u64) -> Option<u64> {
        let mut space = self.lock();
        space.told = false;
        (space.left < space.promised + self.low).then(|| space.promised + OWN_LINES + window)
    }

    /// Bytes that a new segment needs before it can take over.
    pub fn needed(&self, window: u64) -> u64 {
        self.lock().promised + OWN_LINES + window
    }

    /// `left` bytes are allocated in the file that is written from now on; false, and nothing changes, if that is less
    /// than what is promised by now.
    pub fn allocated(&self, left: u64) -> bool {
        let mut space = self.lock();
        let enough = left >= space.promised + OWN_LINES;
        if enough {
            space.left = left;
            space.state = State::Writing;
        }
        enough
    }

    /// Nothing can be written until [`Room::allocated`].
    pub fn broken(&self, error: Error) {
        let mut space = self.lock();
        space.left = 0;
        space.state = State::Broken(error);
    }

    /// Nothing will be written any more.
    pub fn close(&self) {
        self.lock().state = State::Closed;
    }

    pub fn status(&self, durable_seq: u64) -> Status {
        let space = self.lock();
        let trouble = self.refusal(&space).map(|error| error.to_string());
        Status {
            writable: trouble.is_none(),
            trouble,
            durable_seq,
            reserved_bytes: space.left,
            permits: space.promised / MAX_LINE as u64,
        }
    }

    fn refusal(&self, space: &Space) -> Option<Error> {
        match &space.state {
            State::Broken(error) => Some(error.clone()),
            State::Closed => Some(Error::Closed),
            State::Writing if space.left < space.promised + MAX_LINE as u64 + OWN_LINES => {
                Some(Error::NoSpace(self.dir.clone()))
            }
            State::Writing => None,
        }
    }

    /// No code panics while it holds the lock, and every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut space = self.0.lock();
        space.promised = space.promised.saturating_sub(MAX_LINE as u64);
    }
}

/// Bytes that no permit gets: for the lines that the writer adds itself.
pub(super) const OWN_LINES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_permits_than_fit_and_takes_them_back() {
        let room = Arc::new(Room::new("/log".into(), 1 << 20));
        assert!(matches!(room.permit().0, Err(Error::NoSpace(_))), "nothing is allocated");
        assert!(room.allocated(OWN_LINES + 2 * MAX_LINE as u64 + 1));
        let permits = [room.permit().0.unwrap(), room.permit().0.unwrap()];
        assert!(matches!(room.permit().0, Err(Error::NoSpace(_))));
        assert_eq!(room.status(0).permits, 2);
        assert!(!room.allocated(2 * MAX_LINE as u64), "less than promised");
        drop(permits);
        assert!(room.permit().0.is_ok());
        assert_eq!(room.status(0).permits, 0);
    }

    #[test]
    fn tells_the_writer_once_that_space_is_low() {
        let room = Arc::new(Room::new("/log".into(), 1 << 20));
        assert!(room.permit().1);
        assert!(!room.permit().1);
        assert_eq!(room.wanted(1 << 20), Some(OWN_LINES + (1 << 20)));
        assert!(room.allocated(OWN_LINES + (1 << 20)));
        assert!(!room.permit().1);
        assert_eq!(room.wanted(1 << 20), None);
    }

    #[test]
    fn what_is_broken_or_closed_refuses() {
        let room = Arc::new(Room::new("/log".into(), 1 << 20));
        assert!(room.allocated(1 << 20));
        room.broken(Error::Broken { segment: "s".into(), reason: "r".into() });
        assert!(matches!(room.permit().0, Err(Error::Broken { .. })));
        assert!(room.allocated(1 << 20));
        assert!(room.permit().0.is_ok());
        room.close();
        assert!(matches!(room.permit().0, Err(Error::Closed)));
    }
}
