//! Named points at which a test ends the process as `kill -9` would.
//!
//! Only builds with debug assertions have them, which test builds do and release builds do not: there,
//! [`reached`] is empty, and the variable is not read.

/// The variable that names the point: `change-committed`, or `change-committed:3` for the third time it is reached.
pub const VARIABLE: &str = "HSM_KMS_CRASH_POINT";

/// Ends the process here if [`VARIABLE`] names this point.
#[cfg(not(debug_assertions))]
pub fn reached(_point: &str) {}

/// Ends the process here if [`VARIABLE`] names this point.
#[cfg(debug_assertions)]
pub fn reached(point: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static TIMES: AtomicU64 = AtomicU64::new(0);

    let wanted = WANTED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| parse(&text)));
    let Some((name, nth)) = wanted else { return };
    if name == point && TIMES.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(debug_assertions)]
fn parse(text: &str) -> (String, u64) {
    match text.split_once(':') {
        Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
        None => (text.to_owned(), 1),
    }
}
