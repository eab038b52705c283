//! What is asked, and by whom.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::model::AccountId;

/// One request to decide on.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub subject: Subject<'a>,
    /// The action, for example `kms:Encrypt`.
    pub action: &'a str,
    /// The ARN of what it is done to; `*` for an action on no resource.
    pub resource: &'a str,
    /// The account that owns the resource.
    pub owner: &'a AccountId,
    /// The condition keys that do not follow from the subject.
    pub conditions: &'a dyn Conditions,
}

/// The principal that asks.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its account.
    pub account: &'a AccountId,
    /// Its ARN; of a role's session, `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
    pub arn: &'a str,
    /// Its unique id, for `aws:userid`.
    pub user_id: &'a str,
    /// What kind of principal it is.
    pub who: Who<'a>,
    /// Its tags, those of its session included.
    pub tags: &'a BTreeMap<String, String>,
}

/// The kind of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// The root user of its account.
    Root,
    /// A user.
    User {
        /// Its name, without the path.
        name: &'a str,
    },
    /// A session of a role.
    Session {
        /// The ARN of the role, with its path.
        role_arn: &'a str,
    },
}

/// The values of condition keys, as the request has them.
pub trait Conditions {
    /// The value of a key, whose name comes in lower case as a whole: `kms:encryptioncontext:appname` too.
    ///
    /// Names are not case-sensitive; values are given as they are.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html>
    fn value(&self, key: &str) -> Value<'_>;
}

/// What the request has for a condition key; numbers, dates and booleans are written as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Nothing.
    Absent,
    /// The value of a key that has one.
    One(Cow<'a, str>),
    /// The values of a key that can have several; with none of them, it is absent.
    Many(Vec<Cow<'a, str>>),
}

/// No condition key has a value.
impl Conditions for () {
    fn value(&self, _key: &str) -> Value<'_> {
        Value::Absent
    }
}

/// By lower-case name.
impl Conditions for BTreeMap<String, Value<'_>> {
    fn value(&self, key: &str) -> Value<'_> {
        self.get(key).map_or(Value::Absent, |value| match value {
            Value::Absent => Value::Absent,
            Value::One(text) => Value::One(Cow::Borrowed(text)),
            Value::Many(texts) => Value::Many(texts.iter().map(|text| Cow::Borrowed(text.as_ref())).collect()),
        })
    }
}

impl Request<'_> {
    /// The value of a condition key, by its lower-case name.
    pub(super) fn value(&self, key: &str) -> Value<'_> {
        match self.subject.value(key) {
            Value::Absent => self.conditions.value(key),
            value => value,
        }
    }

    /// The value that a variable stands for. A key with several values cannot be a variable.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
    pub(super) fn variable<'v>(&'v self, key: &str, default: Option<&'v str>) -> Option<Cow<'v, str>> {
        match self.value(key) {
            Value::Absent => default.map(Cow::Borrowed),
            Value::One(text) => Some(text),
            Value::Many(_) => None,
        }
    }
}

impl<'a> Subject<'a> {
    /// The unique id of the user or role itself: of a session, the part of its id before the colon.
    pub fn unique_id(&self) -> &'a str {
        self.user_id.split(':').next().unwrap_or_default()
    }

    /// The keys that follow from who asks.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principal-properties>
    fn value(&self, key: &str) -> Value<'a> {
        match key {
            "aws:principalarn" => one(self.principal_arn()),
            "aws:principalaccount" | "kms:calleraccount" => one(self.account.as_str()),
            "aws:principaltype" => one(self.principal_type()),
            "aws:userid" => one(self.user_id),
            "aws:username" => match self.who {
                Who::User { name } => one(name),
                Who::Root | Who::Session { .. } => Value::Absent,
            },
            _ => key.strip_prefix("aws:principaltag/").map_or(Value::Absent, |tag| self.tag(tag)),
        }
    }

    /// The ARN that stands for the principal in `aws:PrincipalArn`: of a session, its role's.
    fn principal_arn(&self) -> &'a str {
        match self.who {
            Who::Session { role_arn } => role_arn,
            Who::Root | Who::User { .. } => self.arn,
        }
    }

    fn principal_type(&self) -> &'static str {
        match self.who {
            Who::Root => "Account",
            Who::User { .. } => "User",
            Who::Session { .. } => "AssumedRole",
        }
    }

    /// IAM keeps no two tags on a principal whose keys differ by case alone.
    fn tag(&self, name: &str) -> Value<'a> {
        let found = self.tags.iter().find(|(key, _)| key.chars().flat_map(char::to_lowercase).eq(name.chars()));
        found.map_or(Value::Absent, |(_, value)| one(value))
    }
}

fn one(text: &str) -> Value<'_> {
    Value::One(Cow::Borrowed(text))
}
