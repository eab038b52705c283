//! The condition keys of a request: what policies can ask of it and of the key that it names.
//!
//! Sources: <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Context;
use super::multi_region::multi_region_key_type;
use super::tag::Tag;
use crate::auth::policy::{Conditions, Value};
use crate::model::{AliasName, EncryptionContext, Region};
use crate::store::{GrantRecord, KeyRecord};

/// What an operation says of its request for policies and grants to ask about.
#[derive(Clone, Default)]
pub struct Facts<'a> {
    /// The encryption context; none for operations that have no such thing.
    pub encryption_context: Option<&'a EncryptionContext>,
    /// The grant tokens.
    pub grant_tokens: &'a [String],
    /// The tags in the request.
    pub tags: &'a [Tag],
    /// The tag keys in a request that takes tags away.
    pub tag_keys: &'a [String],
    /// The grant to be created, which a grant that permits it must cover.
    pub new_grant: Option<&'a GrantRecord>,
    /// The tags of a resource that is not a key: of a role.
    pub resource_tags: Option<&'a BTreeMap<String, String>>,
    /// The Region in which the request does something, if that is not its own.
    pub region: Option<&'a Region>,
    /// All other condition keys, by lower-case name.
    pub values: Vec<(&'static str, Value<'a>)>,
}

/// A request with the key that it is about.
pub(super) struct Circumstances<'a> {
    pub cx: &'a Context,
    pub key: Option<&'a KeyRecord>,
    pub alias: Option<&'a AliasName>,
    pub facts: &'a Facts<'a>,
}

impl<'a> Facts<'a> {
    /// Adds the value of a condition key, if there is one.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Option<impl Into<Cow<'a, str>>>) -> Self {
        self.values.extend(value.map(|value| (key, Value::One(value.into()))));
        self
    }

    /// Adds the values of a condition key that can have several.
    #[must_use]
    pub fn with_all(mut self, key: &'static str, values: impl IntoIterator<Item = impl Into<Cow<'a, str>>>) -> Self {
        self.values.push((key, Value::Many(values.into_iter().map(Into::into).collect())));
        self
    }
}

impl Conditions for Circumstances<'_> {
    fn value(&self, key: &str) -> Value<'_> {
        match key.split_once('/') {
            Some(("aws:resourcetag" | "iam:resourcetag", name)) => self.resource_tag(name),
            Some(("aws:requesttag", name)) => self.request_tag(name),
            // The name of a key of an encryption context may have slashes.
            _ => or(self.of_request(key), || or(self.of_key(key), || self.of_facts(key))),
        }
    }
}

impl Circumstances<'_> {
    fn of_request(&self, key: &str) -> Value<'_> {
        let request = &self.cx.request;
        let session = self.cx.caller.session.as_deref();
        match key {
            "aws:sourceip" => one(&request.source_ip),
            // A listener without TLS is on loopback only, and there is no other yet.
            "aws:securetransport" | "aws:viaawsservice" | "aws:principalisawsservice" => one("false"),
            "aws:currenttime" => owned(request.time.to_string()),
            "aws:epochtime" => owned(request.time.as_millis().div_euclid(1_000).to_string()),
            "aws:useragent" if request.user_agent.is_empty() => Value::Absent,
            "aws:useragent" => one(&request.user_agent),
            "aws:requestedregion" => one(self.facts.region.unwrap_or(&request.region).as_str()),
            "aws:tokenissuetime" => session.map_or(Value::Absent, |session| owned(session.issued.to_string())),
            // Of long-term credentials it is not known, of temporary ones it is false: there is no such device here.
            "aws:multifactorauthpresent" => session.map_or(Value::Absent, |_| one("false")),
            "aws:sourceidentity" => {
                session.and_then(|session| session.source_identity.as_deref()).map_or(Value::Absent, one)
            }
            _ => Value::Absent,
        }
    }

    fn of_key(&self, name: &str) -> Value<'_> {
        let Some(key) = self.key else { return Value::Absent };
        match name {
            "kms:keyspec" | "kms:customermasterkeyspec" => one(key.spec.as_str()),
            "kms:keyusage" | "kms:customermasterkeyusage" => one(key.usage.as_str()),
            "kms:keyorigin" => one(key.origin.as_str()),
            "kms:multiregion" => one(if key.key_id.is_multi_region() { "true" } else { "false" }),
            "kms:multiregionkeytype" => multi_region_key_type(key).map_or(Value::Absent, one),
            "aws:resourceaccount" => one(key.account.as_str()),
            "kms:requestalias" => self.alias.map_or(Value::Absent, |alias| one(alias.as_str())),
            "kms:resourcealiases" => {
                let aliases = self.cx.kms.store.aliases_of_key(&key.region, &key.key_id);
                let own = aliases.iter().filter(|alias| alias.record.account == key.account);
                Value::Many(own.map(|alias| Cow::Owned(alias.record.name.to_string())).collect())
            }
            _ => Value::Absent,
        }
    }

    fn of_facts(&self, name: &str) -> Value<'_> {
        match name {
            "kms:encryptioncontextkeys" => {
                let pairs = self.facts.encryption_context.iter().flat_map(|context| context.pairs());
                Value::Many(pairs.map(|(key, _)| Cow::Borrowed(key)).collect())
            }
            "aws:tagkeys" => {
                let tags = self.facts.tags.iter().map(|tag| Cow::Borrowed(tag.tag_key.as_str()));
                let keys = self.facts.tag_keys.iter().map(|key| Cow::Borrowed(key.as_str()));
                Value::Many(tags.chain(keys).collect())
            }
            _ => match name.strip_prefix("kms:encryptioncontext:") {
                Some(key) => named(self.facts.encryption_context.iter().flat_map(|context| context.pairs()), key),
                None => self.of_operation(name),
            },
        }
    }

    fn of_operation(&self, name: &str) -> Value<'_> {
        let found = self.facts.values.iter().find(|(key, _)| *key == name);
        found.map_or(Value::Absent, |(_, value)| value.clone())
    }

    fn resource_tag(&self, name: &str) -> Value<'_> {
        let of_key = self.key.map(|key| &key.tags);
        let tags = of_key.into_iter().chain(self.facts.resource_tags).flatten();
        named(tags.map(|(key, value)| (key.as_str(), value.as_str())), name)
    }

    fn request_tag(&self, name: &str) -> Value<'_> {
        named(self.facts.tags.iter().map(|tag| (tag.tag_key.as_str(), tag.tag_value.as_str())), name)
    }
}

fn or<'a>(value: Value<'a>, other: impl FnOnce() -> Value<'a>) -> Value<'a> {
    if value == Value::Absent { other() } else { value }
}

/// The values of the pairs whose keys are `lower_case` but for the case: a condition cannot say which case it means, so
/// that a Deny about any of them holds.
fn named<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>, lower_case: &str) -> Value<'p> {
    let is_meant = |key: &str| key.chars().flat_map(char::to_lowercase).eq(lower_case.chars());
    let mut values: Vec<_> = pairs.filter(|(key, _)| is_meant(key)).map(|(_, value)| Cow::Borrowed(value)).collect();
    match values.len() {
        0 => Value::Absent,
        1 => Value::One(values.remove(0)),
        _ => Value::Many(values),
    }
}

fn one(text: &str) -> Value<'_> {
    Value::One(Cow::Borrowed(text))
}

fn owned(text: String) -> Value<'static> {
    Value::One(Cow::Owned(text))
}
