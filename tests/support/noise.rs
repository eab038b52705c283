//! How long this machine held up a service and its callers: what every bound on a single answer leaves out. A bound without
//! it would judge the machine.
#![allow(dead_code)] // every test uses its own part of this

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Looks at the machine all the time, until it is dropped.
pub struct Noise {
    looks: Arc<Mutex<Vec<Look>>>,
    stop: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

/// When it was looked, and the noise from the first look until then.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    so_far: Duration,
}

/// What was counted at the last look.
#[derive(Default)]
struct Counts {
    waited: HashMap<PathBuf, Duration>,
    stolen: Duration,
}

impl Noise {
    /// That around the process with this id.
    pub fn around(pid: u32) -> Noise {
        let (looks, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (told, ended) = (Arc::clone(&looks), Arc::clone(&stop));
        let watch = std::thread::spawn(move || {
            let mut counts = Counts::default();
            counts.grow(pid);
            let mut look = Look { at: Instant::now(), so_far: Duration::ZERO };
            while !ended.load(Ordering::Relaxed) {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(look);
                std::thread::sleep(TICK);
                let at = Instant::now();
                // Whoever sleeps too long was not alone with that. And nobody is held up for longer than it takes.
                let time = at - look.at;
                let noise = time.saturating_sub(TICK) + counts.grow(pid);
                look = Look { at, so_far: look.so_far + noise.min(time) };
            }
        });
        Noise { looks, stop, watch: Some(watch) }
    }

    /// How long at most, from the look before until the look after this time, which must have begun already.
    pub fn between(&self, from: Instant, to: Instant) -> Duration {
        loop {
            let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            let at = |moment| looks.partition_point(|look: &Look| look.at < moment);
            if let Some(after) = looks.get(at(to)) {
                let before = looks.get(at(from).saturating_sub(1)).unwrap_or(&looks[0]);
                return after.so_far.saturating_sub(before.so_far);
            }
            drop(looks);
            std::thread::sleep(TICK / 4);
        }
    }

    /// Whether this much time has passed since then, not counting the noise.
    pub fn has_passed(&self, time: Duration, since: Instant) -> bool {
        let now = Instant::now();
        now - since >= time && now - since >= time + self.between(since, now)
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.watch.take().map(JoinHandle::join);
    }
}

impl Counts {
    /// For how long threads of the process were ready to run and others had the processor, and for how long nobody here had
    /// one, since the last time.
    fn grow(&mut self, pid: u32) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let waited: HashMap<PathBuf, Duration> =
            threads.map(|thread| (thread.path(), waited_of(&thread.path()))).collect();
        let before = |thread| self.waited.get(thread).copied().unwrap_or_default();
        let more: Duration = waited.iter().map(|(thread, waited)| waited.saturating_sub(before(thread))).sum();
        let stolen = stolen();
        let more = more + stolen.saturating_sub(self.stolen);
        *self = Counts { waited, stolen };
        more
    }
}

/// How long this thread was ready to run and had no processor.
pub fn waited() -> Duration {
    waited_of(Path::new("/proc/thread-self"))
}

fn waited_of(thread: &Path) -> Duration {
    let times = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanos = times.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    nanos.map_or(Duration::ZERO, Duration::from_nanos)
}

/// What other machines on the same processors had of the time of this one.
fn stolen() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(ticks.unwrap_or(0) * 10)
}

/// From one look to the next.
const TICK: Duration = Duration::from_millis(20);
