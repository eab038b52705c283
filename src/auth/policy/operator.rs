//! The condition operators, and the values that they compare with.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use super::document::{Malformed, malformed};
use super::pattern::{ArnPattern, Case, Pattern};
use super::request::Request;
use super::scalar::{Decimal, Instant, Network, is_base64};
use super::variable::Syntax;

/// An operator's name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) of_values: OfValues,
    pub(super) family: Family,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
}

/// Which of a key's values must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfValues {
    /// No prefix: the key has one value.
    TheOne,
    /// `ForAnyValue:`
    Any,
    /// `ForAllValues:`
    All,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// The order that two values must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// The values of a condition, one of which must match.
pub(super) enum Values {
    Equals(Vec<Pattern>),
    EqualsIgnoreCase(Vec<Pattern>),
    Like(Vec<Pattern>),
    Number(Order, Vec<Decimal>),
    Date(Order, Vec<Instant>),
    Binary(Vec<Box<str>>),
    Ip(Vec<Network>),
    Arn(Vec<ArnPattern>),
    Null(Vec<bool>),
}

impl Operator {
    /// Reads an operator's name, for example `ForAnyValue:StringNotLikeIfExists`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (of_values, name) = match name.split_once(':') {
            Some(("ForAnyValue", name)) => (OfValues::Any, name),
            Some(("ForAllValues", name)) => (OfValues::All, name),
            Some(_) => return None,
            None => (OfValues::TheOne, name),
        };
        let (if_exists, base) = match name.strip_suffix("IfExists") {
            Some(base) => (true, base),
            None => (false, name),
        };
        let (_, family, negated) = *OPERATORS.iter().find(|(known, _, _)| *known == base)?;
        // Whether a key is there has nothing to do with its values.
        let plain = of_values == OfValues::TheOne && !if_exists;
        (family != Family::Null || plain).then_some(Operator { of_values, family, negated, if_exists })
    }
}

impl Values {
    /// Reads the values of an operator's key.
    pub(super) fn read(family: Family, texts: &[Cow<'_, str>], variables: bool) -> Result<Self, Malformed> {
        let patterns = |wildcards| {
            texts.iter().map(|text| Pattern::read(text, Syntax { variables, wildcards })).collect::<Result<Vec<_>, _>>()
        };
        Ok(match family {
            Family::Equals => Values::Equals(patterns(false)?),
            Family::EqualsIgnoreCase => Values::EqualsIgnoreCase(patterns(false)?),
            Family::Bool => Values::EqualsIgnoreCase(booleans(patterns(false)?)?),
            Family::Like => Values::Like(patterns(true)?),
            Family::Number(order) => Values::Number(order, all(texts, "number", Decimal::parse)?),
            Family::Date(order) => Values::Date(order, all(texts, "date", Instant::parse)?),
            Family::Binary => Values::Binary(all(texts, "base64 text", |text| is_base64(text).then(|| text.into()))?),
            Family::Ip => Values::Ip(all(texts, "IP address or network", Network::parse)?),
            Family::Arn => {
                Values::Arn(texts.iter().map(|text| ArnPattern::read_value(text, variables)).collect::<Result<_, _>>()?)
            }
            Family::Null => Values::Null(all(texts, "boolean", boolean)?),
        })
    }

    /// Whether one of the values is what the request has. A variable without a value is no value.
    pub(super) fn contain(&self, value: &str, request: &Request<'_>) -> bool {
        let any = |patterns: &[Pattern], matches: &dyn Fn(&Pattern) -> Option<bool>| {
            patterns.iter().any(|pattern| matches(pattern) == Some(true))
        };
        match self {
            Values::Equals(patterns) | Values::Like(patterns) => {
                any(patterns, &|pattern| pattern.matches(value, Case::Exact, request))
            }
            Values::EqualsIgnoreCase(patterns) => {
                any(patterns, &|pattern| pattern.matches_ignoring_case(value, request))
            }
            Values::Number(order, numbers) => holds_for_any(*order, Decimal::parse(value), numbers),
            Values::Date(order, dates) => holds_for_any(*order, Instant::parse(value), dates),
            Values::Binary(texts) => texts.iter().any(|text| **text == *value),
            Values::Ip(networks) => {
                value.parse::<IpAddr>().is_ok_and(|address| networks.iter().any(|network| network.contains(address)))
            }
            Values::Arn(patterns) => patterns.iter().any(|pattern| pattern.matches(value, request) == Some(true)),
            // Asked of the key, not of a value.
            Values::Null(_) => false,
        }
    }

    /// Whether a variable in one of the values has no value.
    pub(super) fn are_unresolved(&self, request: &Request<'_>) -> bool {
        match self {
            Values::Equals(patterns) | Values::EqualsIgnoreCase(patterns) | Values::Like(patterns) => {
                patterns.iter().any(|pattern| pattern.is_unresolved(request))
            }
            Values::Arn(patterns) => patterns.iter().any(|pattern| pattern.is_unresolved(request)),
            Values::Number(..) | Values::Date(..) | Values::Binary(_) | Values::Ip(_) | Values::Null(_) => false,
        }
    }
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Order::Equal => ordering.is_eq(),
            Order::Less => ordering.is_lt(),
            Order::AtMost => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::AtLeast => ordering.is_ge(),
        }
    }
}

fn holds_for_any<T: Ord>(order: Order, value: Option<T>, others: &[T]) -> bool {
    value.is_some_and(|value| others.iter().any(|other| order.holds(value.cmp(other))))
}

fn all<T>(texts: &[Cow<'_, str>], what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Malformed> {
    let read = |text: &Cow<'_, str>| read(text).ok_or_else(|| malformed(format!("`{text}` is not a {what}")));
    texts.iter().map(read).collect()
}

fn booleans(patterns: Vec<Pattern>) -> Result<Vec<Pattern>, Malformed> {
    let wrong = patterns.iter().filter_map(Pattern::constant).find(|text| boolean(text).is_none());
    match wrong {
        Some(text) => Err(malformed(format!("`{text}` is not a boolean"))),
        None => Ok(patterns),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

const OPERATORS: &[(&str, Family, bool)] = &[
    ("StringEquals", Family::Equals, false),
    ("StringNotEquals", Family::Equals, true),
    ("StringEqualsIgnoreCase", Family::EqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Family::EqualsIgnoreCase, true),
    ("StringLike", Family::Like, false),
    ("StringNotLike", Family::Like, true),
    ("NumericEquals", Family::Number(Order::Equal), false),
    ("NumericNotEquals", Family::Number(Order::Equal), true),
    ("NumericLessThan", Family::Number(Order::Less), false),
    ("NumericLessThanEquals", Family::Number(Order::AtMost), false),
    ("NumericGreaterThan", Family::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Family::Number(Order::AtLeast), false),
    ("DateEquals", Family::Date(Order::Equal), false),
    ("DateNotEquals", Family::Date(Order::Equal), true),
    ("DateLessThan", Family::Date(Order::Less), false),
    ("DateLessThanEquals", Family::Date(Order::AtMost), false),
    ("DateGreaterThan", Family::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Family::Date(Order::AtLeast), false),
    ("Bool", Family::Bool, false),
    ("BinaryEquals", Family::Binary, false),
    ("IpAddress", Family::Ip, false),
    ("NotIpAddress", Family::Ip, true),
    ("ArnEquals", Family::Arn, false),
    ("ArnLike", Family::Arn, false),
    ("ArnNotEquals", Family::Arn, true),
    ("ArnNotLike", Family::Arn, true),
    ("Null", Family::Null, false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_apart() {
        let name = |of_values, family, negated, if_exists| Some(Operator { of_values, family, negated, if_exists });
        assert_eq!(Operator::parse("StringEquals"), name(OfValues::TheOne, Family::Equals, false, false));
        assert_eq!(Operator::parse("ForAllValues:ArnNotLikeIfExists"), name(OfValues::All, Family::Arn, true, true));
        assert_eq!(Operator::parse("Null"), name(OfValues::TheOne, Family::Null, false, false));
        for bad in [
            "",
            "stringequals",
            "StringIs",
            "NullIfExists",
            "ForAllValues:Null",
            "ForSome:Bool",
            "BoolIfExistsIfExists",
        ] {
            assert_eq!(Operator::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn refuses_values_that_can_never_be_compared() {
        for (family, bad) in [
            (Family::Number(Order::Less), "ten"),
            (Family::Date(Order::Less), "tomorrow"),
            (Family::Bool, "yes"),
            (Family::Binary, "QUJ"),
            (Family::Ip, "10.0.0.0/40"),
            (Family::Arn, "arn:aws:iam"),
            (Family::Null, "1"),
            (Family::Equals, "${aws:username"),
        ] {
            assert!(Values::read(family, &[bad.into()], true).is_err(), "{bad}");
        }
    }
}
