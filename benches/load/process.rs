//! What the operating system says of a process.

use std::time::Duration;

/// What a process has used until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time of all its threads, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Wall time; filled in by whoever measured it.
    pub time: Duration,
}

impl Usage {
    /// Of the process with this id. `man 5 proc`, `/proc/pid/stat` and `/proc/pid/status`.
    pub fn of(pid: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
        // The name in parentheses may hold anything; what follows is numbers.
        let (_, numbers) = stat.rsplit_once(") ").expect("a name in parentheses");
        let number = |field: usize| -> u64 {
            numbers.split(' ').nth(field - 3).and_then(|number| number.parse().ok()).expect("a number")
        };
        Usage {
            cpu: Duration::from_millis((number(14) + number(15)) * 1000 / TICKS_PER_SECOND),
            resident_kib: status(pid, "VmRSS:"),
            threads: number(20),
            time: Duration::ZERO,
        }
    }
}

fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// `USER_HZ`, which is 100 on every architecture of Linux that we know.
const TICKS_PER_SECOND: u64 = 100;
