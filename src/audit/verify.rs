//! Checks a log: that every line follows the one before it.
//!
//! Without signatures a log proves only itself. Found is every byte changed in any line but the last; a line removed,
//! added, swapped or doubled; a segment removed, renamed or shortened, save at the end. Only a signed checkpoint, or a
//! copy of [`Report::head`], finds what is done to the end of the log: whole lines removed or added there; in the very
//! last line another event, or another epoch that is not below the one before; its newline removed (which looks like
//! an unfinished line); and a log that was written anew from some line on to its end.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::Error;
use super::chain::{Break, Cut, Head, Kind, Line, Refused};
use super::segment::{Lines, Next, Segment};

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Files.
    pub segments: u64,
    /// Lines that carry an event.
    pub records: u64,
    /// Of the first line; 0 if there is none.
    pub first_seq: u64,
    /// Of the last line; 0 if there is none.
    pub last_seq: u64,
    /// The store's epoch in the last line.
    pub last_epoch: u64,
    /// Segments that failed while they were written.
    pub breaks: u64,
    /// Unfinished lines that were cut at a start.
    pub cuts: u64,
    /// Requests refused before authentication.
    pub refusals: u64,
    /// Bytes without a newline at the end: a line that was never acknowledged; the next start cuts it.
    pub unfinished_bytes: u64,
    /// Bytes behind the last acknowledged line of segments that failed.
    pub leftover_bytes: u64,
    /// SHA-256 of the last line: note it elsewhere, and nobody changes what stands before it unseen.
    pub head: String,
}

/// Checks the whole log in `dir`, from its first line; reads every byte, so call it on a blocking thread.
///
/// Errors name the segment, the line and what is wrong. What only signatures can find is in this file's head.
pub fn verify(dir: &Path) -> Result<Report, Error> {
    let segments = Segment::list(dir)?;
    let first = segments.first().ok_or_else(|| Error::NoLog(dir.to_owned()))?;
    if first.first_seq != 1 {
        return Err(Error::damaged(&first.name(), 1, "the log begins with seq 1, and nothing before this is here"));
    }
    let mut totals = Totals::default();
    let end = walk(dir, &segments, Tail::Whole, &mut |line| totals.count(line))?;
    let Totals { records, breaks, cuts, refusals } = totals;
    Ok(Report {
        segments: segments.len() as u64,
        records,
        first_seq: end.head.seq.min(1),
        last_seq: end.head.seq,
        last_epoch: end.head.epoch,
        breaks,
        cuts,
        refusals,
        unfinished_bytes: end.unfinished,
        leftover_bytes: end.leftovers,
        head: hex::encode(end.head.hash),
    })
}

/// Which of these `eventID`s are in the log in `dir` at or after line `since_seq`; reads the files, so call it on a
/// blocking thread.
pub fn contains(dir: &Path, event_ids: &HashSet<String>, since_seq: u64) -> Result<HashSet<String>, Error> {
    find(dir, event_ids, since_seq, u64::MAX)
}

/// As [`contains`], but only in lines up to `until_seq`: what is behind may not be durable.
pub(super) fn find(dir: &Path, ids: &HashSet<String>, since: u64, until: u64) -> Result<HashSet<String>, Error> {
    let segments = Segment::list(dir)?;
    let from = segments.iter().rposition(|segment| segment.first_seq <= since).unwrap_or(0);
    let mut found = HashSet::new();
    if ids.is_empty() || segments.is_empty() {
        return Ok(found);
    }
    walk(dir, &segments[from..], Tail::Torn, &mut |line| {
        if line.kind == Kind::Event && (since..=until).contains(&line.seq) {
            found.extend(line.read::<EventId>()?.event_id.filter(|id| ids.contains(id)));
        }
        Ok(())
    })?;
    Ok(found)
}

/// How strictly the end of the last segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Only a line without its newline may be unfinished.
    Whole,
    /// As a power cut may leave the last write: blocks of it missing, which read as zeros. No line has a zero byte.
    Torn,
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// What the next line must follow.
    pub head: Head,
    /// Bytes of good lines in the last segment.
    pub good_len: u64,
    /// Bytes behind them.
    pub unfinished: u64,
    /// Bytes behind the last acknowledged line of segments that failed.
    pub leftovers: u64,
}

/// Goes through consecutive segments, and shows every line that follows to `visit`, whose text becomes an error.
///
/// The first line is taken on trust if it is not the first of the log.
pub(super) fn walk(dir: &Path, segments: &[Segment], tail: Tail, visit: &mut Visit<'_>) -> Result<End, Error> {
    let Some(first) = segments.first() else { return Err(Error::NoLog(dir.to_owned())) };
    let mut end = End { head: before(dir, first)?, good_len: 0, unfinished: 0, leftovers: 0 };
    for (index, segment) in segments.iter().enumerate() {
        let name = segment.name();
        let previous = index.checked_sub(1).map(|index| segments[index].name());
        let mut reader = Reader { dir, name: &name, previous, line: 0, lines: segment.lines(dir)? };
        match segments.get(index + 1) {
            Some(next) => reader.inner(segment, acknowledged(dir, &name, next)?, &mut end, visit)?,
            None => reader.last(segment, tail, &mut end, visit)?,
        }
    }
    Ok(end)
}

type Visit<'a> = dyn FnMut(&Line<'_>) -> Result<(), String> + 'a;

/// One segment on a walk.
struct Reader<'a> {
    dir: &'a Path,
    name: &'a str,
    previous: Option<String>,
    line: u64,
    lines: Lines,
}

impl Reader<'_> {
    /// A segment that has a successor: no byte too few, none too many unless it failed after line `acknowledged`.
    fn inner(
        &mut self,
        segment: &Segment,
        acknowledged: Option<u64>,
        end: &mut End,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        loop {
            if acknowledged == Some(end.head.seq) {
                end.leftovers += self.len()?.saturating_sub(self.lines.end());
                break;
            }
            match self.step(&mut end.head, visit)? {
                Step::Line => {}
                Step::End => break,
                Step::Unfinished => return Err(self.damaged("the line has no end, and the log goes on")),
            }
        }
        if end.head.seq < segment.first_seq {
            return Err(self.damaged("there is no line in it, and the log goes on"));
        }
        Ok(())
    }

    /// The newest segment: its last write may be unfinished.
    fn last(&mut self, segment: &Segment, tail: Tail, end: &mut End, visit: &mut Visit<'_>) -> Result<(), Error> {
        if segment.first_seq != end.head.seq + 1 {
            return Err(self.damaged(&format!("it begins with another number than {}", end.head.seq + 1)));
        }
        loop {
            match self.step(&mut end.head, visit) {
                Ok(Step::Line) => {}
                Ok(Step::End | Step::Unfinished) => break,
                Err(Error::Damaged { .. }) if tail == Tail::Torn && self.lines.current().contains(&0) => break,
                Err(error) => return Err(error),
            }
        }
        end.good_len = self.lines.offset;
        end.unfinished = self.len()?.saturating_sub(end.good_len);
        if end.unfinished > MAX_UNFINISHED {
            return Err(self.damaged("more is unfinished than is ever written at once"));
        }
        Ok(())
    }

    fn step(&mut self, head: &mut Head, visit: &mut Visit<'_>) -> Result<Step, Error> {
        self.line += 1;
        let (name, line) = (self.name, self.line);
        let bytes = match self.lines.next().map_err(Error::io("read", &self.dir.join(name)))? {
            Next::Line(bytes) => bytes,
            Next::Unfinished => return Ok(Step::Unfinished),
            Next::TooLong => return Err(Error::damaged(name, line, "longer than any line that is written")),
            Next::End => return Ok(Step::End),
        };
        let mut check = || -> Result<(), String> {
            let parsed = Line::parse(bytes)?;
            if parsed.kind == Kind::Break {
                check_break(&parsed, line, name, self.previous.as_deref())?;
            }
            head.follow(&parsed, bytes)?;
            visit(&parsed)
        };
        check().map(|()| Step::Line).map_err(|what| Error::damaged(name, line, what))
    }

    fn len(&self) -> Result<u64, Error> {
        self.lines.file_len().map_err(Error::io("read", &self.dir.join(self.name)))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(self.name, self.line, what)
    }
}

enum Step {
    Line,
    Unfinished,
    End,
}

fn check_break(line: &Line<'_>, number: u64, name: &str, previous: Option<&str>) -> Result<(), String> {
    let broken: Break = line.read()?;
    if number != 1 {
        return Err("a break that is not the first line of its segment".into());
    }
    if broken.last_seq + 1 != line.seq {
        return Err(format!("a break after {} with seq {}", broken.last_seq, line.seq));
    }
    // Where a walk begins, the segment before is unknown.
    if broken.segment != name && previous.is_some_and(|previous| previous != broken.segment) {
        return Err(format!("a break that names {}, which is not the segment before", broken.segment));
    }
    Ok(())
}

/// What the first line of `segment` must follow: nothing, or what it says itself.
fn before(dir: &Path, segment: &Segment) -> Result<Head, Error> {
    if segment.first_seq == 1 {
        return Ok(Head::START);
    }
    let trusted = first_line(dir, segment, |line| line.prev)?;
    let hash = trusted.ok_or_else(|| Error::damaged(&segment.name(), 1, "no line to begin with"))?;
    Ok(Head { seq: segment.first_seq - 1, epoch: 0, hash })
}

/// The last acknowledged line of the segment `name`, if `next` begins with a break that says so.
fn acknowledged(dir: &Path, name: &str, next: &Segment) -> Result<Option<u64>, Error> {
    let broken = first_line(dir, next, |line| match line.kind {
        Kind::Break => line.read::<Break>().ok(),
        Kind::Event | Kind::Cut | Kind::Refused => None,
    })?;
    Ok(broken.flatten().filter(|broken| broken.segment == name).map(|broken| broken.last_seq))
}

/// `take` of the first line, if it can be read; that it can is checked when its turn comes.
fn first_line<T>(dir: &Path, segment: &Segment, take: impl FnOnce(&Line<'_>) -> T) -> Result<Option<T>, Error> {
    let mut lines = segment.lines(dir)?;
    Ok(match lines.next().map_err(Error::io("read", &dir.join(segment.name())))? {
        Next::Line(bytes) => Line::parse(bytes).ok().map(|line| take(&line)),
        Next::Unfinished | Next::TooLong | Next::End => None,
    })
}

#[derive(Default)]
struct Totals {
    records: u64,
    breaks: u64,
    cuts: u64,
    refusals: u64,
}

impl Totals {
    fn count(&mut self, line: &Line<'_>) -> Result<(), String> {
        match line.kind {
            Kind::Event => self.records += 1,
            // Read and checked already, to see what it is a break of.
            Kind::Break => self.breaks += 1,
            Kind::Cut => line.read::<Cut>().map(|_| self.cuts += 1)?,
            Kind::Refused => self.refusals += line.read::<Refused>()?.count,
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct EventId {
    #[serde(rename = "eventID")]
    event_id: Option<String>,
}

/// Bytes of one write at most: what is behind the last good line cannot be more.
pub(super) const MAX_UNFINISHED: u64 = 1 << 20;
