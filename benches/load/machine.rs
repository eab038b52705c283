//! What the numbers were measured on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// One line: processor, kernel, and how long the disk under `folder` takes to make 1 KiB durable.
pub fn describe(folder: &Path) -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |m| m.1);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let [median, p99] = fdatasync(folder).map(|time| time.as_micros());
    format!(
        "{cpus} × {model}, Linux {}, load {load} at the start; `fdatasync` of 1 KiB: {median} µs (p99 {p99} µs)",
        kernel.trim()
    )
}

/// Median and 99th percentile of writing 1 KiB into space that is allocated, and syncing it, as the audit log does.
fn fdatasync(folder: &Path) -> [Duration; 2] {
    let file = File::create(folder.join("fdatasync")).expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 1024 * SYNCS).expect("space");
    file.sync_all().expect("a sync");
    let mut times: Vec<Duration> = (0..SYNCS)
        .map(|number| {
            let begun = Instant::now();
            file.write_all_at(&[b'x'; 1024], number * 1024).and_then(|()| file.sync_data()).expect("a write");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

const SYNCS: u64 = 500;
