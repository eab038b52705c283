//! Operations on tags.

mod list_resource_tags;
mod tag_resource;
mod untag_resource;

pub use list_resource_tags::ListResourceTags;
pub use tag_resource::TagResource;
pub use untag_resource::UntagResource;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Error;

/// A tag on a key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// 1 to 128 characters.
    pub tag_key: String,
    /// 0 to 256 characters.
    pub tag_value: String,
}

/// Refuses tags that are there twice, and those that AWS keeps for itself.
pub fn check_tags(tags: &[Tag]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    if !tags.iter().all(|tag| seen.insert(&tag.tag_key)) {
        return Err(Error::Tag("Duplicate tag keys".into()));
    }
    if tags.iter().any(|tag| tag.tag_key.starts_with("aws:")) {
        return Err(Error::Tag("Tags beginning with aws: are reserved".into()));
    }
    Ok(())
}

/// `old` with `new` over it, at most 50 in all.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>
pub fn merged(mut old: BTreeMap<String, String>, new: Vec<Tag>) -> Result<BTreeMap<String, String>, Error> {
    old.extend(new.into_iter().map(|tag| (tag.tag_key, tag.tag_value)));
    if old.len() > TAGS_PER_KEY { Err(Error::Tag("Too many tags".into())) } else { Ok(old) }
}

/// Tags of a record as the model lists them.
pub fn tag_list<'t>(tags: impl IntoIterator<Item = (&'t String, &'t String)>) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { tag_key: key.clone(), tag_value: value.clone() }).collect()
}

const TAGS_PER_KEY: usize = 50;
