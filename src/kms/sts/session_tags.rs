//! Session tags: those of the request, and those that the caller's own session hands on.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::auth::Caller;
use crate::kms::Error;
use crate::kms::session::same_tag_key;
use crate::kms::tag;

/// A session tag of a request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    key: String,
    value: String,
}

/// The tags of a new session.
pub struct SessionTags {
    /// Those in the request.
    pub requested: Vec<tag::Tag>,
    /// All of them.
    pub all: BTreeMap<String, String>,
    /// The keys of those that sessions of the new session keep.
    pub transitive: Vec<String>,
}

impl SessionTags {
    /// What a request and its caller's session make together. Errors and their words: recorded answers of AWS STS.
    pub fn new(caller: &Caller, requested: Vec<Tag>, transitive: Vec<String>) -> Result<Self, Error> {
        let requested: Vec<_> =
            requested.into_iter().map(|Tag { key, value }| tag::Tag { tag_key: key, tag_value: value }).collect();
        check(&requested, &transitive)?;
        let inherited = inherited(caller);
        let named = |key: &str| requested.iter().any(|tag| same_tag_key(&tag.tag_key, key));
        if inherited.keys().any(|key| named(key)) {
            return Err(Error::InvalidParameterValue(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session."
                    .into(),
            ));
        }
        let mut all = inherited.clone();
        all.extend(requested.iter().map(|tag| (tag.tag_key.clone(), tag.tag_value.clone())));
        if all.len() > MAX_TAGS {
            return Err(Error::InvalidParameterValue(format!("A session has at most {MAX_TAGS} tags.")));
        }
        let transitive = inherited.into_keys().chain(spelled(&requested, &transitive)).collect();
        Ok(SessionTags { requested, all, transitive })
    }
}

fn check(requested: &[tag::Tag], transitive: &[String]) -> Result<(), Error> {
    let times = |key: &str| requested.iter().filter(|tag| same_tag_key(&tag.tag_key, key)).count();
    let refusal = if requested.iter().any(|tag| times(&tag.tag_key) > 1) {
        "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    } else if requested.iter().any(|tag| tag.tag_key.to_lowercase().starts_with("aws:")) {
        "Tags beginning with aws: are reserved."
    } else if !transitive.iter().all(|key| times(key) == 1) {
        "The specified transitive tag key must be included in the requested tags."
    } else {
        return Ok(());
    };
    Err(Error::InvalidParameterValue(refusal.into()))
}

/// The transitive tags of the caller's session, which wear the session's values among the caller's tags.
fn inherited(caller: &Caller) -> BTreeMap<String, String> {
    let keys = caller.session.iter().flat_map(|session| &session.transitive_tag_keys);
    keys.filter_map(|key| Some((key.clone(), caller.tags.get(key)?.clone()))).collect()
}

/// The requested keys that are transitive, each once, spelled as the tags are.
fn spelled(requested: &[tag::Tag], transitive: &[String]) -> Vec<String> {
    let keys = requested.iter().map(|tag| &tag.tag_key);
    keys.filter(|key| transitive.iter().any(|named| same_tag_key(named, key))).cloned().collect()
}

/// Source: the model's `tagListType`.
const MAX_TAGS: usize = 50;
