//! When a statement applies.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html>

use std::borrow::Cow;

use super::document::{Malformed, elements, malformed};
use super::operator::{OfValues, Operator, Values};
use super::request::{Request, Value};
use crate::model::{Document, folded};

/// One operator, one key, and the values that it is compared with.
pub(super) struct Condition {
    operator: Operator,
    /// In lower case: names of keys are not case-sensitive.
    key: Box<str>,
    values: Values,
}

/// Reads the Condition element, all of whose conditions must hold.
pub(super) fn read_conditions(element: Option<&Document<'_>>, variables: bool) -> Result<Box<[Condition]>, Malformed> {
    let Some(element) = element else { return Ok(Box::new([])) };
    let Document::Map(operators) = element else { return Err(malformed("a Condition is not an object")) };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let operator =
            Operator::parse(name).ok_or_else(|| malformed(format!("`{name}` is not a condition operator")))?;
        let Document::Map(keys) = keys else { return Err(malformed(format!("{name} is not an object"))) };
        for (key, values) in keys {
            conditions.push(Condition::read(operator, key, values, variables)?);
        }
    }
    Ok(conditions.into())
}

impl Condition {
    fn read(operator: Operator, key: &str, values: &Document<'_>, variables: bool) -> Result<Self, Malformed> {
        let texts = elements(values).iter().map(|value| text(key, value)).collect::<Result<Vec<_>, _>>()?;
        if texts.is_empty() || key.is_empty() {
            return Err(malformed(format!("the condition on `{key}` has no values")));
        }
        let values = Values::read(operator.family, &texts, variables)?;
        Ok(Condition { operator, key: folded(key).into(), values })
    }

    /// Whether this holds for a request, in a statement that allows or denies.
    pub(super) fn holds(&self, request: &Request<'_>, allows: bool) -> bool {
        let value = request.value(&self.key);
        let held = match &value {
            Value::Absent => &[][..],
            Value::One(text) => std::slice::from_ref(text),
            Value::Many(texts) => texts,
        };
        if let Values::Null(wanted) = &self.values {
            return wanted.contains(&held.is_empty());
        }
        let Operator { of_values, negated, if_exists, .. } = self.operator;
        // For sets, a key of nothing but empty texts is as if it were not there.
        if held.is_empty() || (of_values != OfValues::TheOne && held.iter().all(|text| text.is_empty())) {
            return if_exists || self.holds_without_a_value();
        }
        // "Not what nobody knows" would hold for everyone: it must not allow, and may deny.
        if negated && allows && self.values.are_unresolved(request) {
            return false;
        }
        let passes = |text: &Cow<'_, str>| self.values.contain(text, request) != negated;
        match of_values {
            OfValues::Any => held.iter().any(passes),
            OfValues::All => held.iter().all(passes),
            // Several where one is meant, such as the tags `Team` and `team` of one key: what cannot be decided must not
            // allow, and may deny.
            OfValues::TheOne if allows => held.iter().all(passes),
            OfValues::TheOne => held.iter().any(passes),
        }
    }

    fn holds_without_a_value(&self) -> bool {
        match self.operator.of_values {
            OfValues::TheOne => self.operator.negated,
            OfValues::Any => false,
            OfValues::All => true,
        }
    }
}

/// Numbers and booleans may be written without quotes.
fn text<'d>(key: &str, value: &'d Document<'_>) -> Result<Cow<'d, str>, Malformed> {
    match value {
        Document::String(text) => Ok(Cow::Borrowed(text)),
        Document::Boolean(value) => Ok(value.to_string().into()),
        Document::Integer(value) => Ok(value.to_string().into()),
        Document::Number(value) => Ok(value.to_string().into()),
        Document::Null | Document::List(_) | Document::Map(_) => {
            Err(malformed(format!("a value of the condition on `{key}` is not a string, number or boolean")))
        }
    }
}
