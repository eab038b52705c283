//! The files of a log: their names, and their lines as bytes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::Error;
use super::chain::MAX_LINE;

/// One file of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The number of its first line, from its name.
    pub first_seq: u64,
}

/// The lines of a segment, one after the other.
pub(super) struct Lines {
    reader: BufReader<File>,
    bytes: Vec<u8>,
    /// Bytes of all lines before the current one.
    pub offset: u64,
}

/// What comes next in a segment.
pub(super) enum Next<'a> {
    /// A line, without its newline.
    Line(&'a [u8]),
    /// Bytes up to the end of the file, without a newline.
    Unfinished,
    /// More bytes without a newline than a line may have.
    TooLong,
    /// Nothing.
    End,
}

impl Segment {
    /// The segments in `dir`, oldest first; other files are ignored, strange segment names are not.
    pub fn list(dir: &Path) -> Result<Vec<Segment>, Error> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
            let name = entry.map_err(Error::io("list", dir))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
                let segment = Segment::parse(&name);
                segments.push(segment.ok_or_else(|| Error::damaged(&name, 0, "its name is not that of a segment"))?);
            }
        }
        segments.sort();
        Ok(segments)
    }

    /// `audit-<first seq, 20 digits>.jsonl`.
    pub fn name(&self) -> String {
        format!("{PREFIX}{:020}{SUFFIX}", self.first_seq)
    }

    fn parse(name: &str) -> Option<Self> {
        let first_seq = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
        Some(Segment { first_seq }).filter(|segment| first_seq > 0 && segment.name() == name)
    }

    /// Reads it from its beginning.
    pub fn lines(&self, dir: &Path) -> Result<Lines, Error> {
        let path = dir.join(self.name());
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        Ok(Lines { reader: BufReader::with_capacity(1 << 16, file), bytes: Vec::new(), offset: 0 })
    }
}

impl Lines {
    /// Moves on by one line.
    pub fn next(&mut self) -> io::Result<Next<'_>> {
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
        (&mut self.reader).take(MAX_LINE as u64).read_until(b'\n', &mut self.bytes)?;
        Ok(match self.bytes.split_last() {
            None => Next::End,
            Some((b'\n', line)) => Next::Line(line),
            Some(_) if self.bytes.len() < MAX_LINE => Next::Unfinished,
            Some(_) => Next::TooLong,
        })
    }

    /// What [`Lines::next`] read last, with its newline.
    pub fn current(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of all lines up to and with the current one.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Bytes in the file, at this moment.
    pub fn file_len(&self) -> io::Result<u64> {
        Ok(self.reader.get_ref().metadata()?.len())
    }
}

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_strictly() {
        let segment = Segment { first_seq: 42 };
        assert_eq!(segment.name(), "audit-00000000000000000042.jsonl");
        assert_eq!(Segment::parse(&segment.name()), Some(segment));
        for bad in ["audit-42.jsonl", "audit-00000000000000000000.jsonl", "audit-+0000000000000000042.jsonl"] {
            assert_eq!(Segment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_strange_segment_name_is_an_error_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "").unwrap();
        fs::write(dir.path().join(Segment { first_seq: 1 }.name() + ".new"), "").unwrap();
        assert_eq!(Segment::list(dir.path()).unwrap(), []);
        fs::write(dir.path().join("audit-1.jsonl"), "").unwrap();
        assert!(Segment::list(dir.path()).is_err());
    }
}
