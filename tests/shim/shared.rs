//! Files that a test and the shim share as memory, so that a call costs no call of the operating system.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::rules;

/// How often the rules were set; 0 without a control file.
pub fn generation() -> u64 {
    static MAPPED: OnceLock<Option<&'static [AtomicU64]>> = OnceLock::new();
    let mapped =
        MAPPED.get_or_init(|| rules::control_file().map(|control| map(&control.with_extension("generation"), 1)));
    mapped.map_or(0, |mapped| mapped[0].load(Ordering::Acquire))
}

/// One more call of this function on the token with this label.
pub fn count(label: &str, function: &'static str) {
    thread_local! {
        static KNOWN: RefCell<HashMap<&'static str, Vec<(String, &'static AtomicU64)>>> = RefCell::default();
    }
    let Some(counts) = counts() else { return };
    KNOWN.with_borrow_mut(|known| {
        let known = known.entry(function).or_default();
        if let Some((_, count)) = known.iter().find(|(of, _)| of == label) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let row = counts.row(label, function);
        row.fetch_add(1, Ordering::Relaxed);
        known.push((label.to_owned(), row));
    });
}

/// A row for each thread, function and token: the count, the function in 24 bytes, the label in 32. A free row has zeros.
struct Counts {
    words: &'static [AtomicU64],
    rows: AtomicUsize,
}

impl Counts {
    fn row(&self, label: &str, function: &str) -> &'static AtomicU64 {
        let row = self.rows.fetch_add(1, Ordering::Relaxed);
        let words = &self.words[row * ROW_WORDS..][..ROW_WORDS];
        let mut text = [0; 8 * (ROW_WORDS - 1)];
        text[..function.len()].copy_from_slice(function.as_bytes());
        text[24..24 + label.len()].copy_from_slice(label.as_bytes());
        for (word, bytes) in words[1..].iter().zip(text.chunks_exact(8)) {
            word.store(u64::from_ne_bytes(bytes.try_into().expect("8 bytes")), Ordering::Relaxed);
        }
        &words[0]
    }
}

fn counts() -> Option<&'static Counts> {
    static COUNTS: OnceLock<Option<Counts>> = OnceLock::new();
    let map = |control: &PathBuf| {
        let name = format!("{}.calls.{}", control.display(), std::process::id());
        Counts { words: map(Path::new(&name), ROWS * ROW_WORDS), rows: AtomicUsize::new(0) }
    };
    COUNTS.get_or_init(|| rules::control_file().map(map)).as_ref()
}

/// A file of so many words, made if it is missing.
fn map(path: &Path, words: usize) -> &'static [AtomicU64] {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file: File = open.expect("a file beside the control file");
    let len = (words * 8) as u64;
    if file.metadata().expect("its length").len() < len {
        file.set_len(len).expect("a longer file");
    }
    // SAFETY: the mapping is as long as the file, which nobody makes shorter, is never unmapped, and is read and written by
    // atomic words alone, for which any bytes are good.
    unsafe {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let start = mmap(std::ptr::null_mut(), words * 8, protection, MapFlags::SHARED, &file, 0).expect("a mapping");
        std::slice::from_raw_parts(start.cast(), words)
    }
}

const ROW_WORDS: usize = 8;
/// More than all threads of a test need: some functions, two or three tokens, a hundred threads.
const ROWS: usize = 8 * 1024;
