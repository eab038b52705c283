//! Texts and ARNs with wildcards and variables, matched without a regular expression.

use std::borrow::Cow;
use std::ops::Range;

use super::document::{Malformed, malformed};
use super::request::Request;
use super::variable::{Piece, Syntax, pieces, variable_len};

/// A text that may have wildcards and variables.
///
/// Matching takes time of the product of the lengths at most: a run of pieces between two stars is put at the first
/// place that fits, which is never a wrong one.
pub(super) struct Pattern {
    pieces: Box<[Piece]>,
    has_variables: bool,
}

/// Whether ASCII letters of both cases are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Exact,
    Ignored,
}

/// A pattern of an ARN, each of whose six fields is matched by itself: `*` does not go past a colon, except in the
/// last field, to which all further colons belong.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>
pub(super) enum ArnPattern {
    /// `*`.
    Any,
    /// A single variable, which stands for the whole.
    Whole(Pattern),
    Fields(Box<[Pattern; 6]>),
}

impl Pattern {
    /// Takes a text apart.
    pub(super) fn read(text: &str, syntax: Syntax) -> Result<Self, Malformed> {
        let pieces = pieces(text, syntax)?;
        let has_variables = pieces.iter().any(|piece| matches!(piece, Piece::Variable { .. }));
        Ok(Pattern { pieces, has_variables })
    }

    /// Whether this is `text`; `None` if a variable has no value.
    pub(super) fn matches(&self, text: &str, case: Case, request: &Request<'_>) -> Option<bool> {
        let values = self.values(request)?;
        Some(Bound { pieces: &self.pieces, values: &values, case }.matches(text))
    }

    /// Whether this is `text`, upper and lower case of all letters being the same.
    pub(super) fn matches_ignoring_case(&self, text: &str, request: &Request<'_>) -> Option<bool> {
        let values = self.values(request)?;
        let bound = Bound { pieces: &self.pieces, values: &values, case: Case::Ignored };
        let letters = (0..self.pieces.len()).flat_map(|at| bound.text(at).chars());
        Some(letters.flat_map(char::to_lowercase).eq(text.chars().flat_map(char::to_lowercase)))
    }

    /// Whether a variable has no value.
    pub(super) fn is_unresolved(&self, request: &Request<'_>) -> bool {
        self.has_variables && self.values(request).is_none()
    }

    /// The text, if nothing in it depends on a request.
    pub(super) fn constant(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value of each piece that is a variable; none at all for a pattern without.
    fn values<'r>(&'r self, request: &'r Request<'_>) -> Option<Vec<Cow<'r, str>>> {
        if !self.has_variables {
            return Some(Vec::new());
        }
        let value = |piece: &'r Piece| match piece {
            Piece::Variable { key, default } => request.variable(key, default.as_deref()),
            _ => Some(Cow::Borrowed("")),
        };
        self.pieces.iter().map(value).collect()
    }
}

impl ArnPattern {
    /// Reads an element of Resource: `*`, or an ARN; fields left out at its end are `*`.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
    pub(super) fn read_resource(text: &str, variables: bool) -> Result<Self, Malformed> {
        if text == "*" {
            return Ok(ArnPattern::Any);
        }
        let mut fields = fields(text, variables);
        if fields[0] != "arn" {
            return Err(malformed(format!("`{text}` is not an ARN")));
        }
        fields.resize(6, "*");
        Self::read_fields(&fields, variables)
    }

    /// Reads a value of an ARN operator: `*`, a variable, or six fields.
    pub(super) fn read_value(text: &str, variables: bool) -> Result<Self, Malformed> {
        if text == "*" {
            return Ok(ArnPattern::Any);
        }
        let fields = fields(text, variables);
        if fields.len() == 6 {
            return Self::read_fields(&fields, variables);
        }
        let whole = Pattern::read(text, Syntax { variables, wildcards: true })?;
        match &*whole.pieces {
            [Piece::Variable { .. }] => Ok(ArnPattern::Whole(whole)),
            _ => Err(malformed(format!("`{text}` is not an ARN"))),
        }
    }

    /// Whether this is the ARN `text`; `None` if a variable has no value.
    pub(super) fn matches(&self, text: &str, request: &Request<'_>) -> Option<bool> {
        match self {
            ArnPattern::Any => Some(true),
            ArnPattern::Whole(pattern) => pattern.matches(text, Case::Exact, request),
            ArnPattern::Fields(patterns) => {
                if self.is_unresolved(request) {
                    return None;
                }
                let mut fields = text.splitn(6, ':');
                let matches = |pattern: &Pattern| {
                    fields.next().is_some_and(|field| pattern.matches(field, Case::Exact, request) == Some(true))
                };
                Some(patterns.iter().all(matches))
            }
        }
    }

    /// Whether a variable has no value.
    pub(super) fn is_unresolved(&self, request: &Request<'_>) -> bool {
        match self {
            ArnPattern::Any => false,
            ArnPattern::Whole(pattern) => pattern.is_unresolved(request),
            ArnPattern::Fields(patterns) => patterns.iter().any(|pattern| pattern.is_unresolved(request)),
        }
    }

    fn read_fields(fields: &[&str], variables: bool) -> Result<Self, Malformed> {
        let read = |field: &&str| Pattern::read(field, Syntax { variables, wildcards: true });
        let patterns = fields.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let patterns = <[Pattern; 6]>::try_from(patterns).map_err(|_| malformed("an ARN has six fields"))?;
        Ok(ArnPattern::Fields(Box::new(patterns)))
    }
}

/// A pattern and the values of its variables, in which nothing is a wildcard.
struct Bound<'a> {
    pieces: &'a [Piece],
    values: &'a [Cow<'a, str>],
    case: Case,
}

impl Bound<'_> {
    fn matches(&self, text: &str) -> bool {
        let (mut start, mut at, mut floating) = (0, 0, false);
        loop {
            let star = self.pieces[start..].iter().position(|piece| *piece == Piece::AnyMany).map(|len| start + len);
            let run = start..star.unwrap_or(self.pieces.len());
            match self.find(run, text, at, floating, star.is_none()) {
                Some(after) => at = after,
                None => return false,
            }
            match star {
                Some(star) => (start, floating) = (star + 1, true),
                None => return true,
            }
        }
    }

    /// The end of the first place for a run at or, if it is `floating`, after `from`; the `last` run ends the text.
    fn find(&self, run: Range<usize>, text: &str, from: usize, floating: bool, last: bool) -> Option<usize> {
        if floating && run.is_empty() {
            return Some(if last { text.len() } else { from });
        }
        // A policy may have thousands of these, and a text thousands of letters.
        if let Some(plain) = self.only_text(&run).filter(|_| floating) {
            let rest = &text[from..];
            return match last {
                true => rest.ends_with(plain).then_some(text.len()),
                false => rest.find(plain).map(|at| from + at + plain.len()),
            };
        }
        let mut starts = text[from..].char_indices().map(|(at, _)| from + at).chain([text.len()]);
        let fits = |start| self.run_at(run.clone(), text, start).filter(|end| !last || *end == text.len());
        if floating { starts.find_map(fits) } else { fits(from) }
    }

    /// The text of a run that is nothing else.
    fn only_text(&self, run: &Range<usize>) -> Option<&str> {
        let is_text = run.len() == 1 && self.pieces[run.start] != Piece::AnyOne && self.case == Case::Exact;
        is_text.then(|| self.text(run.start))
    }

    /// The end of a run that starts at `at`.
    fn run_at(&self, mut run: Range<usize>, text: &str, at: usize) -> Option<usize> {
        run.try_fold(at, |at, piece| match self.pieces[piece] {
            Piece::AnyOne => text[at..].chars().next().map(|letter| at + letter.len_utf8()),
            _ => self.is_at(self.text(piece), text, at),
        })
    }

    fn is_at(&self, plain: &str, text: &str, at: usize) -> Option<usize> {
        let end = at + plain.len();
        let there = text.as_bytes().get(at..end)?;
        let same = match self.case {
            Case::Exact => there == plain.as_bytes(),
            Case::Ignored => there.eq_ignore_ascii_case(plain.as_bytes()),
        };
        same.then_some(end)
    }

    fn text(&self, piece: usize) -> &str {
        match &self.pieces[piece] {
            Piece::Text(text) => text,
            Piece::Variable { .. } => &self.values[piece],
            Piece::AnyOne => "?",
            Piece::AnyMany => "*",
        }
    }
}

/// The fields of an ARN, six at most; a colon inside a variable ends none.
fn fields(text: &str, variables: bool) -> Vec<&str> {
    let (mut fields, mut start, mut at) = (Vec::with_capacity(6), 0, 0);
    while at < text.len() && fields.len() < 5 {
        if variables && text[at..].starts_with("${") {
            at += variable_len(&text[at..]).unwrap_or(text.len() - at);
        } else if text.as_bytes()[at] == b':' {
            fields.push(&text[start..at]);
            (start, at) = (at + 1, at + 1);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    fields.push(&text[start..]);
    fields
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::auth::policy::{Subject, Who};

    /// Calls `test` with a request by a user `name`.
    fn with_user<T>(name: &str, test: impl Fn(&Request<'_>) -> T) -> T {
        let (account, tags) = ("111122223333".parse().unwrap(), BTreeMap::new());
        let arn = format!("arn:aws:iam::111122223333:user/{name}");
        let subject = Subject { account: &account, arn: &arn, user_id: "AIDA", who: Who::User { name }, tags: &tags };
        test(&Request { subject, action: "kms:Encrypt", resource: "*", owner: &account, conditions: &() })
    }

    fn glob(pattern: &str, text: &str) -> Option<bool> {
        let pattern = Pattern::read(pattern, Syntax { variables: true, wildcards: true }).unwrap();
        with_user("a*b", |request| pattern.matches(text, Case::Exact, request))
    }

    fn arn(pattern: &str, name: &str, text: &str) -> Option<bool> {
        let pattern = ArnPattern::read_resource(pattern, true).unwrap();
        with_user(name, |request| pattern.matches(text, request))
    }

    #[test]
    fn globs() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "a\nb"),
            ("a*", "a"),
            ("*a", "ba"),
            ("a*b*c", "aXbYbc"),
            ("*ab", "aab"),
            ("*?b", "éb"),
            ("?", "é"),
            ("a**b", "ab"),
            ("*ab*ab*", "abab"),
            ("*a?", "aab"),
        ] {
            assert_eq!(glob(pattern, text), Some(true), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*", "ba"),
            ("*ab*ab*", "aba"),
            ("ab*ba", "aba"),
            ("A", "a"),
            ("??", "é"),
        ] {
            assert_eq!(glob(pattern, text), Some(false), "{pattern} {text}");
        }
    }

    #[test]
    fn a_value_has_no_wildcards() {
        assert_eq!(glob("x${aws:username}y*", "xa*byz"), Some(true));
        assert_eq!(glob("x${aws:username}y*", "xaXbyz"), Some(false));
        assert_eq!(glob("${aws:unknown}", ""), None);
        assert_eq!(glob("${aws:unknown, 'd*'}", "d*"), Some(true));
        assert_eq!(glob("${aws:unknown, 'd*'}", "dx"), Some(false));
    }

    #[test]
    fn takes_no_longer_than_the_product_of_the_lengths() {
        let (pattern, text) = ("*a".repeat(2_000) + "b", "a".repeat(8_000));
        assert_eq!(glob(&pattern, &text), Some(false));
    }

    #[test]
    fn a_star_stays_in_its_field() {
        assert_eq!(arn("arn:aws:kms:*:*:key/*", "x", "arn:aws:kms:us-east-1:111122223333:key/a/b:c"), Some(true));
        assert_eq!(arn("arn:aws:iam::*:role/Admin", "x", "arn:aws:iam::1:user/x:role/Admin"), Some(false));
        assert_eq!(arn("arn:aws:kms", "x", "arn:aws:kms:us-east-1:111122223333:key/a"), Some(true));
        assert_eq!(arn("arn:aws:s3", "x", "arn:aws:kms:us-east-1:111122223333:key/a"), Some(false));
        assert_eq!(arn("arn:aws:kms:*", "x", "*"), Some(false));
    }

    #[test]
    fn a_value_cannot_move_the_fields() {
        let pattern = "arn:aws:kms:us-east-1:${aws:username}:key/*";
        let text = "arn:aws:kms:us-east-1:111122223333:key/a";
        assert_eq!(arn(pattern, "111122223333", text), Some(true));
        assert_eq!(arn(pattern, "111122223333:key/a", text), Some(false));
        assert_eq!(arn("arn:aws:kms:*:*:key/${aws:username, 'a:b'}", "a", text), Some(true));
        assert_eq!(arn("arn:aws:kms:*:*:key/${aws:nobody}", "a", text), None);
    }
}
