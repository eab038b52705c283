//! The pieces of a text: wildcards, variables, and what stands for itself.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use super::document::{Malformed, malformed};
use crate::model::folded;

/// A piece of a text in a policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Itself.
    Text(Box<str>),
    /// `?`: any one character.
    AnyOne,
    /// `*`: any characters, or none.
    AnyMany,
    /// `${key}` or `${key, 'default'}`; the key in lower case.
    Variable { key: Box<str>, default: Option<Box<str>> },
}

/// What has a meaning in a text.
#[derive(Clone, Copy)]
pub(super) struct Syntax {
    pub(super) variables: bool,
    pub(super) wildcards: bool,
}

/// Takes a text apart; a `${` that begins no variable is an error where there are variables.
pub(super) fn pieces(mut text: &str, syntax: Syntax) -> Result<Box<[Piece]>, Malformed> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    while let Some(letter) = text.chars().next() {
        if syntax.variables && text.starts_with("${") {
            let end = variable_len(text).ok_or_else(|| malformed(format!("`{text}` is no policy variable")))?;
            match &text[2..end - 1] {
                // The three that stand for a letter.
                special @ ("*" | "?" | "$") => plain.push_str(special),
                inner => {
                    let variable =
                        read_variable(inner).ok_or_else(|| malformed(format!("`{inner}` is no policy variable")))?;
                    end_plain(&mut plain, &mut pieces);
                    pieces.push(variable);
                }
            }
            text = &text[end..];
            continue;
        }
        match letter {
            '*' if syntax.wildcards => {
                end_plain(&mut plain, &mut pieces);
                pieces.push(Piece::AnyMany);
            }
            '?' if syntax.wildcards => {
                end_plain(&mut plain, &mut pieces);
                pieces.push(Piece::AnyOne);
            }
            letter => plain.push(letter),
        }
        text = &text[letter.len_utf8()..];
    }
    end_plain(&mut plain, &mut pieces);
    Ok(pieces.into())
}

/// The length of the variable at the start of a text, with its braces; a brace may stand in its quoted default.
pub(super) fn variable_len(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            '}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn end_plain(plain: &mut String, pieces: &mut Vec<Piece>) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain).into()));
    }
}

fn read_variable(inner: &str) -> Option<Piece> {
    let (key, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((key, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (key.trim_end(), Some(default))
        }
    };
    let named = key.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty());
    let plain = !key.contains(['$', '{', '}', '*', '?', '\'']) && !default.is_some_and(|text| text.contains('\''));
    (named && plain).then(|| Piece::Variable { key: folded(key).into(), default: default.map(Into::into) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Box<[Piece]>, Malformed> {
        pieces(text, Syntax { variables: true, wildcards: true })
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn variable(key: &str, default: Option<&str>) -> Piece {
        Piece::Variable { key: key.into(), default: default.map(Into::into) }
    }

    #[test]
    fn reads_wildcards_and_variables() {
        assert_eq!(*read("a*b?").unwrap(), [text("a"), Piece::AnyMany, text("b"), Piece::AnyOne]);
        assert_eq!(*read("x${aws:UserName}y").unwrap(), [text("x"), variable("aws:username", None), text("y")]);
        assert_eq!(*read("${aws:username, 'a}n*'}").unwrap(), [variable("aws:username", Some("a}n*"))]);
        assert_eq!(*read("${aws:username,''}").unwrap(), [variable("aws:username", Some(""))]);
        assert_eq!(*read("a${*}${?}${$}b$c").unwrap(), [text("a*?$b$c")]);
        assert_eq!(*read("").unwrap(), []);
    }

    #[test]
    fn refuses_what_begins_as_a_variable_and_is_none() {
        for bad in ["${", "${}", "${aws}", "${aws:}", "${:x}", "${aws:x", "${aws:${x}}", "${aws:x, y}", "${aws:x, 'y}"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn leaves_alone_what_has_no_meaning_there() {
        let plain = Syntax { variables: false, wildcards: false };
        assert_eq!(*pieces("${aws:x}*?", plain).unwrap(), [text("${aws:x}*?")]);
    }
}
