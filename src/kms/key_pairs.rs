//! Where data key pairs are made: those of RSA on a few threads of their own, since one takes a processor up to some
//! seconds, and nothing else must wait for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Error;
use crate::crypto::{KeyPair, NoKeyPair};
use crate::model::KeyPairSpec;

/// Makes data key pairs, not too many at a time.
pub struct KeyPairs {
    /// One for each pair that is being made or waited for.
    places: Arc<Semaphore>,
    threads: usize,
    hired: Arc<AtomicUsize>,
    jobs: Sender<Job>,
    waiting: Receiver<Job>,
}

struct Job {
    spec: KeyPairSpec,
    answer: oneshot::Sender<Result<KeyPair, NoKeyPair>>,
    place: OwnedSemaphorePermit,
}

impl KeyPairs {
    /// At most `threads` RSA pairs are made at a time, at least 1, and at most `queue` more wait. The threads are started
    /// when they are first needed.
    pub fn new(threads: usize, queue: usize) -> Self {
        let threads = threads.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = Arc::new(Semaphore::new(threads + queue.min(Semaphore::MAX_PERMITS / 2)));
        let (jobs, waiting) = unbounded();
        KeyPairs { places, threads, hired: Arc::default(), jobs, waiting }
    }

    /// A new key pair. Fails with `Throttling` if as many wait as may, and with `DependencyTimeout` if there is none at
    /// the deadline.
    ///
    /// A pair on a curve takes no longer than to verify a signature with it, and is made at once, here.
    pub async fn make(&self, spec: KeyPairSpec, deadline: Instant) -> Result<KeyPair, Error> {
        if spec.modulus_len().is_none() {
            return Ok(KeyPair::generate(spec)?);
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::Throttling)?;
        let (answer, made) = oneshot::channel();
        // The other end is held here too.
        let _ = self.jobs.send(Job { spec, answer, place });
        self.hire()?;
        match tokio::time::timeout_at(deadline.into(), made).await {
            Ok(Ok(pair)) => Ok(pair?),
            Ok(Err(_)) => Err(Error::Internal("a thread that makes key pairs has ended".into())),
            Err(_) => Err(Error::DependencyTimeout(format!("there was no {spec} key pair at the deadline"))),
        }
    }

    /// Starts one more thread, as long as there are not all.
    fn hire(&self) -> Result<(), Error> {
        let more = |hired| (hired < self.threads).then_some(hired + 1);
        if self.hired.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return Ok(());
        }
        let (waiting, place) = (self.waiting.clone(), Hired(self.hired.clone()));
        let started = thread::Builder::new().name("key-pairs".into()).spawn(move || work(&waiting, &place));
        started.map(drop).map_err(|error| Error::Internal(format!("a thread for key pairs: {error}")))
    }
}

/// A thread that was started, until it ends, however it does.
struct Hired(Arc<AtomicUsize>);

impl Drop for Hired {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Makes pairs for those who still wait for them, until the service is gone.
fn work(jobs: &Receiver<Job>, _place: &Hired) {
    if cfg!(target_os = "linux") {
        // Of this thread alone, as Linux takes it (man 2 setpriority); without it, others are only a little later.
        let _ = rustix::process::nice(NICENESS);
    }
    for Job { spec, answer, place } in jobs {
        let made = (!answer.is_closed()).then(|| KeyPair::generate(spec));
        // First, so that he who has his pair can ask for another.
        drop(place);
        // What is not taken, since nobody waits for it any more, is wiped.
        made.and_then(|made| answer.send(made).err());
    }
}

/// About a third of the share of a thread that serves requests: enough for those to come first, and not so much that a
/// busy machine makes no pair in time.
const NICENESS: i32 = 5;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn threads_are_started_when_they_are_needed_and_no_more_than_may() {
        let pairs = KeyPairs::new(2, 8);
        pairs.make(KeyPairSpec::EccNistP256, soon()).await.unwrap();
        assert_eq!(pairs.hired.load(Ordering::Acquire), 0, "a curve needs none");
        for started in [1, 2, 2] {
            pairs.make(KeyPairSpec::Rsa2048, soon()).await.unwrap();
            assert_eq!(pairs.hired.load(Ordering::Acquire), started);
        }
        let (hired, places) = (pairs.hired.clone(), pairs.places.clone());
        assert_eq!(places.available_permits(), 10, "every place is given back");
        drop(pairs);
        while hired.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_throttled_at_once() {
        let pairs = KeyPairs::new(1, 1);
        let taken: Vec<_> = (0..2).map(|_| pairs.places.clone().try_acquire_owned().unwrap()).collect();
        let refused = pairs.make(KeyPairSpec::Rsa2048, soon()).await;
        assert!(matches!(refused, Err(Error::Throttling)), "{refused:?}");
        pairs.make(KeyPairSpec::EccNistEdwards25519, soon()).await.unwrap();
        drop(taken);
        pairs.make(KeyPairSpec::Rsa2048, soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_pair_that_nobody_waits_for_any_more_is_not_made() {
        let pairs = KeyPairs::new(1, 2);
        // So that no thread is started.
        pairs.hired.store(1, Ordering::Release);
        for _ in 0..3 {
            let late = pairs.make(KeyPairSpec::Rsa4096, Instant::now()).await;
            assert!(matches!(late, Err(Error::DependencyTimeout(_))), "{late:?}");
        }
        let full = pairs.make(KeyPairSpec::Rsa4096, soon()).await;
        assert!(matches!(full, Err(Error::Throttling)), "they wait still: {full:?}");
        pairs.hired.store(0, Ordering::Release);
        pairs.hire().unwrap();
        while pairs.places.available_permits() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[test]
    fn settings_of_any_size_do_no_harm() {
        for (threads, queue) in [(0, 0), (usize::MAX, usize::MAX)] {
            let pairs = KeyPairs::new(threads, queue);
            assert!(pairs.threads >= 1 && pairs.places.available_permits() >= 1);
        }
    }
}
