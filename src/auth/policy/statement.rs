//! One statement: whom, what, on what, when.

use super::condition::{Condition, read_conditions};
use super::document::{Kind, Malformed, known_names, malformed, one_of, text_of, texts};
use super::pattern::{ArnPattern, Case, Pattern};
use super::principal::{How, Principal, Principals};
use super::request::Request;
use super::variable::Syntax;
use crate::model::Document;

/// A compiled statement.
pub(super) struct Statement {
    allows: bool,
    principals: Option<Principals>,
    actions: Choice<Pattern>,
    resources: Choice<ArnPattern>,
    conditions: Box<[Condition]>,
}

/// An element, or its negation.
enum Choice<T> {
    Any,
    None,
    These(Box<[T]>),
    AllBut(Box<[T]>),
}

impl Statement {
    /// Reads a statement of a policy of this kind; `variables` if `${…}` means something in it.
    pub(super) fn read(document: &Document<'_>, kind: Kind, variables: bool) -> Result<Self, Malformed> {
        known_names(document, STATEMENT)?;
        document.member("Sid").map(|sid| text_of(sid, "Sid")).transpose()?;
        let effect = document.member("Effect").ok_or_else(|| malformed("a statement has no Effect"))?;
        let allows = one_of(effect, &["Allow", "Deny"], "Effect")? == "Allow";
        Ok(Statement {
            allows,
            principals: read_principals(document, kind, allows)?,
            actions: read_actions(document, kind)?,
            resources: read_resources(document, kind, variables)?,
            conditions: read_conditions(document.member("Condition"), variables)?,
        })
    }

    pub(super) fn bind(&mut self, unique_ids: &std::collections::BTreeMap<String, String>) {
        self.principals.iter_mut().for_each(|principals| principals.bind(unique_ids));
    }

    pub(super) fn named_principals(&self) -> &[Principal] {
        self.principals.as_ref().map_or(&[], Principals::named)
    }

    /// Whether this is a Deny that applies.
    pub(super) fn denies(&self, request: &Request<'_>, bounded: bool) -> bool {
        !self.allows && self.is_about(request) && self.covers_all(request, bounded) && self.conditions_hold(request)
    }

    /// How the subject is named, if this is an Allow that applies; the subject of a policy of its own is named by it.
    pub(super) fn allows(&self, request: &Request<'_>) -> Option<How> {
        if !self.allows {
            return None;
        }
        let how = self.how_named(request)?;
        (self.is_about(request) && self.conditions_hold(request)).then_some(how)
    }

    /// Whether this is a Deny that applies under some condition.
    pub(super) fn may_deny(&self, request: &Request<'_>) -> bool {
        !self.allows && self.is_about(request) && self.covers_all(request, false)
    }

    /// Whether this is an Allow that applies under any condition.
    pub(super) fn surely_allows(&self, request: &Request<'_>) -> bool {
        self.allows && self.conditions.is_empty() && self.is_about(request) && self.how_named(request).is_some()
    }

    fn how_named(&self, request: &Request<'_>) -> Option<How> {
        match &self.principals {
            Some(principals) => principals.how_named(&request.subject),
            None => Some(How::Directly),
        }
    }

    fn covers_all(&self, request: &Request<'_>, bounded: bool) -> bool {
        self.principals.as_ref().is_none_or(|principals| principals.covers(&request.subject, bounded))
    }

    fn is_about(&self, request: &Request<'_>) -> bool {
        self.actions.covers(self.allows, |pattern| pattern.matches(request.action, Case::Ignored, request))
            && self.resources.covers(self.allows, |pattern| pattern.matches(request.resource, request))
    }

    fn conditions_hold(&self, request: &Request<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(request, self.allows))
    }
}

impl<T> Choice<T> {
    /// Whether the element covers what `matches` looks for; that is `None` where a variable has no value.
    ///
    /// What cannot be compared is never in a list. An Allow of all but such a list might allow what its writer
    /// meant to leave out, so that it allows nothing.
    fn covers(&self, allows: bool, matches: impl Fn(&T) -> Option<bool>) -> bool {
        match self {
            Choice::Any => true,
            Choice::None => false,
            Choice::These(patterns) => patterns.iter().any(|pattern| matches(pattern) == Some(true)),
            Choice::AllBut(patterns) => patterns.iter().all(|pattern| matches(pattern).map_or(!allows, |found| !found)),
        }
    }
}

fn read_principals(document: &Document<'_>, kind: Kind, allows: bool) -> Result<Option<Principals>, Malformed> {
    match (document.member("Principal"), document.member("NotPrincipal")) {
        (None, None) if !kind.has_principals() => Ok(None),
        (Some(named), None) if kind.has_principals() => Principals::read(named).map(Some),
        // Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>
        (None, Some(named)) if kind == Kind::KeyPolicy && !allows => Principals::read_all_but(named).map(Some),
        (None, Some(_)) => Err(malformed("NotPrincipal is for the Deny statements of a key policy")),
        (Some(_), None) => Err(malformed(format!("Principal is not an element of this kind of policy: {kind}"))),
        _ => Err(malformed("a statement needs either Principal or NotPrincipal")),
    }
}

fn read_actions(document: &Document<'_>, kind: Kind) -> Result<Choice<Pattern>, Malformed> {
    let actions = choice(document, "Action", "NotAction", |text| {
        let named = text.split_once(':').is_some_and(|(service, action)| !service.is_empty() && !action.is_empty());
        if !named && text != "*" {
            return Err(malformed(format!("`{text}` is not an action")));
        }
        Pattern::read(text, Syntax { variables: false, wildcards: true })
    })?;
    match actions {
        // A key policy's statement without it is accepted by AWS, and has no effect.
        Choice::None if kind != Kind::KeyPolicy => Err(malformed("a statement has neither Action nor NotAction")),
        actions => Ok(actions),
    }
}

fn read_resources(document: &Document<'_>, kind: Kind, variables: bool) -> Result<Choice<ArnPattern>, Malformed> {
    let resources = choice(document, "Resource", "NotResource", |text| ArnPattern::read_resource(text, variables))?;
    match (resources, kind) {
        (Choice::None, Kind::TrustPolicy) => Ok(Choice::Any),
        (_, Kind::TrustPolicy) => Err(malformed("a trust policy is about its role and has no Resource")),
        // As for actions.
        (Choice::None, Kind::KeyPolicy) => Ok(Choice::None),
        (Choice::None, _) => Err(malformed("a statement has neither Resource nor NotResource")),
        (resources, _) => Ok(resources),
    }
}

fn choice<T>(
    document: &Document<'_>,
    name: &str,
    negated: &str,
    read: impl Fn(&str) -> Result<T, Malformed>,
) -> Result<Choice<T>, Malformed> {
    let read_all = |words, name| texts(words, name)?.into_iter().map(&read).collect::<Result<_, _>>();
    match (document.member(name), document.member(negated)) {
        (None, None) => Ok(Choice::None),
        (Some(words), None) => Ok(Choice::These(read_all(words, name)?)),
        (None, Some(words)) => Ok(Choice::AllBut(read_all(words, negated)?)),
        (Some(_), Some(_)) => Err(malformed(format!("a statement has both {name} and {negated}"))),
    }
}

const STATEMENT: &[&str] =
    &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
