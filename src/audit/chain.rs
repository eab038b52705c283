//! A line, and the chain that it is part of.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::event::MAX_EVENT_LEN;
use crate::crypto;

/// Bytes of the longest line with its newline: an event, and the 147 bytes around it at most.
pub(super) const MAX_LINE: usize = MAX_EVENT_LEN + 256;

/// The end of a chain: what the next line must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the last line; 0 before the first.
    pub seq: u64,
    /// The highest so far.
    pub epoch: u64,
    /// SHA-256 of the last line without its newline; zeros before the first.
    pub hash: [u8; 32],
}

/// What a line carries. Signed checkpoints will be one more kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An [`super::Event`].
    Event,
    /// A [`Break`]; only as the first line of a segment.
    Break,
    /// A [`Cut`].
    Cut,
    /// A [`Refused`].
    Refused,
}

/// The segment before this one failed, and what may stand in it behind `last_seq` was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Break {
    /// The file that failed; this segment's own name if no line of it was acknowledged and this one took its place.
    pub segment: String,
    /// The last acknowledged line.
    pub last_seq: u64,
    /// What the operating system said.
    pub reason: String,
}

/// A start found an unfinished line, which was never acknowledged, and this line took its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    /// The file.
    pub segment: String,
    /// How many bytes were there.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: String,
}

/// Requests from one source that were refused before anybody was authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refused {
    /// An address, or `others` when there were too many.
    pub source: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the count was taken; it covers the time since the count before, about 10 s.
    pub until: String,
}

/// A line as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub seq: u64,
    pub epoch: u64,
    pub prev: [u8; 32],
    pub kind: Kind,
    /// One JSON object.
    pub body: &'a str,
}

impl Head {
    /// Before the first line.
    pub const START: Head = Head { seq: 0, epoch: 0, hash: [0; 32] };

    /// Puts one more line behind the bytes in `buffer`. `body` is one JSON object on one line.
    ///
    /// An `epoch` lower than one written already is raised to it: requests overtake each other.
    pub fn push(&mut self, buffer: &mut Vec<u8>, epoch: u64, kind: Kind, body: &[u8]) {
        let start = buffer.len();
        let mut prev = [0; 64];
        // 32 bytes are 64 digits, and a Vec takes every byte.
        hex::encode_to_slice(self.hash, &mut prev).expect("two digits a byte");
        self.seq += 1;
        self.epoch = self.epoch.max(epoch);
        write!(buffer, r#"{{"v":1,"seq":{},"epoch":{},"prev":""#, self.seq, self.epoch).expect("a Vec grows");
        buffer.extend_from_slice(&prev);
        write!(buffer, r#"","{}":"#, kind.word()).expect("a Vec grows");
        buffer.extend_from_slice(body);
        buffer.push(b'}');
        self.hash = crypto::sha256(&[&buffer[start..]]);
        buffer.push(b'\n');
    }

    /// Moves on to `line`, whose bytes without the newline are `bytes`; the text says why it does not follow.
    pub fn follow(&mut self, line: &Line<'_>, bytes: &[u8]) -> Result<(), String> {
        let Line { seq, epoch, prev, kind: _, body: _ } = line;
        if *seq != self.seq + 1 {
            return Err(format!("seq {seq} follows {}", self.seq));
        }
        if *prev != self.hash {
            return Err("its prev is not the hash of the line before: one of the two was changed".into());
        }
        if *epoch < self.epoch {
            return Err(format!("epoch {epoch} follows {}", self.epoch));
        }
        *self = Head { seq: *seq, epoch: *epoch, hash: crypto::sha256(&[bytes]) };
        Ok(())
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Event => "event",
            Kind::Break => "break",
            Kind::Cut => "cut",
            Kind::Refused => "refused",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Kind::Event, Kind::Break, Kind::Cut, Kind::Refused].into_iter().find(|kind| kind.word() == word)
    }
}

impl<'a> Line<'a> {
    /// Reads a line without its newline: exactly the members, order and spacing that are written, nothing else.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        let rest = text.strip_prefix(r#"{"v":1,"seq":"#).ok_or("not a line of version 1")?;
        let (seq, rest) = rest.split_once(r#","epoch":"#).ok_or("no epoch")?;
        let (epoch, rest) = rest.split_once(r#","prev":""#).ok_or("no prev")?;
        let (prev, rest) = rest.split_once(r#"",""#).ok_or("no end of prev")?;
        let (word, rest) = rest.split_once(r#"":"#).ok_or("no member behind prev")?;
        let body = rest.strip_suffix('}').ok_or("no closing brace")?;
        if !is_object(body) {
            return Err("what it carries is not one JSON object");
        }
        Ok(Line {
            seq: number(seq).ok_or("seq is not a number")?,
            epoch: number(epoch).ok_or("epoch is not a number")?,
            prev: hash(prev).ok_or("prev is not 64 lower-case hex digits")?,
            kind: Kind::parse(word).ok_or("it carries something unknown")?,
            body,
        })
    }

    /// What a line of its kind carries.
    pub fn read<T: Deserialize<'a>>(&self) -> Result<T, String> {
        serde_json::from_str(self.body).map_err(|error| format!("what it carries cannot be read: {error}"))
    }
}

/// Whether `text` is one JSON object and nothing else.
pub(super) fn is_object(text: &str) -> bool {
    text.starts_with('{') && text.ends_with('}') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A decimal number as Rust prints it: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let plain = text == "0" || text.starts_with(|first: char| first.is_ascii_digit() && first != '0');
    text.parse().ok().filter(|_| plain)
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_lines() -> (Head, Vec<u8>, usize) {
        let (mut head, mut buffer) = (Head::START, Vec::new());
        head.push(&mut buffer, 7, Kind::Event, br#"{"a":"}"}"#);
        let first = buffer.len();
        head.push(&mut buffer, 5, Kind::Refused, b"{}");
        (head, buffer, first)
    }

    #[test]
    fn what_is_pushed_reads_back_and_follows() {
        let (head, buffer, first) = two_lines();
        let mut read = Head::START;
        for bytes in [&buffer[..first - 1], &buffer[first..buffer.len() - 1]] {
            read.follow(&Line::parse(bytes).unwrap(), bytes).unwrap();
        }
        assert_eq!(read, head);
        assert_eq!(read.epoch, 7, "an overtaken request does not turn the epoch back");
    }

    #[test]
    fn the_first_line_is_these_bytes() {
        let (_, buffer, first) = two_lines();
        let zeros = "0".repeat(64);
        let expected = format!("{{\"v\":1,\"seq\":1,\"epoch\":7,\"prev\":\"{zeros}\",\"event\":{{\"a\":\"}}\"}}}}\n");
        assert_eq!(std::str::from_utf8(&buffer[..first]).unwrap(), expected);
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = format!(r#"{{"v":1,"seq":1,"epoch":7,"prev":"{}","event":{{}}}}"#, "ab".repeat(32));
        assert!(Line::parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("\"seq\":1", "\"seq\":01"),
            ("\"seq\":1", "\"seq\":+1"),
            ("\"seq\":1", "\"seq\":-1"),
            ("\"seq\":1", "\"seq\":18446744073709551616"),
            ("\"epoch\":7", "\"epoch\": 7"),
            ("abab", "ABAB"),
            ("abab", "ab"),
            ("event", "evenT"),
            ("{}}", "{},\"x\":{}}"),
            ("{}}", "[]}"),
            ("{}}", "{}"),
            ("{}}", "{}} "),
            ("{}}", "{}}\r"),
        ] {
            assert!(Line::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(Line::parse(b"").is_err());
        assert!(Line::parse(&[0xff; 200]).is_err());
    }

    #[test]
    fn a_line_of_the_longest_event_fits() {
        let mut buffer = Vec::new();
        let mut head = Head { seq: u64::MAX - 1, epoch: u64::MAX, hash: [255; 32] };
        head.push(&mut buffer, 0, Kind::Event, &vec![b' '; MAX_EVENT_LEN]);
        assert!(buffer.len() <= MAX_LINE);
    }
}
