//! IAM's rules on tags and on policy documents.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, ser};

use super::{Context, Error};
use crate::auth::policy::{Kind, Policy, Principal};
use crate::model::{Document, folded};

/// A tag of a user or role.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Tag {
    /// 1 to 128 characters; its case is kept and does not count.
    pub key: String,
    /// 0 to 256 characters.
    pub value: String,
}

/// A policy document in an answer: JSON, as it was given.
pub struct Text(pub String);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::parse(self.0.as_bytes()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

/// The tags of a record, as answers have them.
pub fn listed(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// `old` with `new` over it, at most 50 in all. Keys that differ by case alone are the same: the newer one stays.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html>
pub fn tagged(mut old: BTreeMap<String, String>, new: &[Tag]) -> Result<BTreeMap<String, String>, Error> {
    let mut seen = std::collections::HashSet::new();
    if !new.iter().all(|tag| seen.insert(folded(&tag.key))) {
        let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
        return Err(Error::InvalidInput(text.into()));
    }
    if let Some(reserved) = seen.iter().find(|key| key.starts_with("aws:")) {
        return Err(Error::InvalidInput(format!("The tag key {reserved} begins with aws:, which is reserved.")));
    }
    old.retain(|key, _| !seen.contains(&folded(key)));
    old.extend(new.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
    if old.len() <= MAX_TAGS { Ok(old) } else { Err(quota("TagsPerEntity", MAX_TAGS)) }
}

/// `old` without these keys, whatever their case.
pub fn untagged(mut old: BTreeMap<String, String>, keys: &[String]) -> BTreeMap<String, String> {
    old.retain(|key, _| keys.iter().all(|gone| folded(gone) != folded(key)));
    old
}

/// How long a policy is by IAM's count: characters that are not white space.
pub fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Refuses a text that is not a policy of this kind.
pub fn parsed(document: &str, kind: Kind) -> Result<Policy, Error> {
    Policy::parse(document, kind).map_err(|error| Error::MalformedPolicyDocument(error.to_string()))
}

/// Refuses what is no policy that users and roles can share, as their own or as their boundary.
pub fn check_shared(document: &str) -> Result<(), Error> {
    if size(document) > MAX_SHARED {
        return Err(quota("PolicySize", MAX_SHARED));
    }
    parsed(document, Kind::IdentityPolicy)?;
    parsed(document, Kind::Boundary)?;
    Ok(())
}

/// Refuses what is no trust policy; the unique ids of the users and roles that it names, by ARN.
pub fn check_trust(cx: &Context<'_>, document: &str) -> Result<BTreeMap<String, String>, Error> {
    if size(document) > MAX_TRUST {
        return Err(quota("ACLSizePerRole", MAX_TRUST));
    }
    let policy = parsed(document, Kind::TrustPolicy)?;
    cx.kms.unique_ids(&policy).ok_or_else(|| {
        let stranger = policy.principals().find(|principal| !cx.kms.has_principal(principal));
        let named = stranger.map(name_of).unwrap_or_default();
        Error::MalformedPolicyDocument(format!("Invalid principal in policy: \"AWS\":\"{named}\""))
    })
}

/// A quota is exceeded, in IAM's words.
pub fn quota(name: &str, limit: usize) -> Error {
    Error::LimitExceeded(format!("Cannot exceed quota for {name}: {limit}"))
}

fn name_of(principal: &Principal) -> String {
    match principal {
        Principal::Everyone => "*".into(),
        Principal::Account(account) => account.to_string(),
        Principal::Arn(name)
        | Principal::Bound { arn: name, .. }
        | Principal::Service(name)
        | Principal::Federated(name) => name.to_string(),
    }
}

const MAX_TAGS: usize = 50;
/// Characters of a managed policy.
const MAX_SHARED: usize = 6_144;
/// Characters of a trust policy; AWS starts at 2,048 and raises that on demand.
const MAX_TRUST: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Vec<Tag> {
        pairs.iter().map(|(key, value)| Tag { key: (*key).into(), value: (*value).into() }).collect()
    }

    fn record(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn a_tag_replaces_the_one_whose_key_differs_by_case() {
        let old = record(&[("Department", "foo"), ("team", "a")]);
        let new = tagged(old.clone(), &tags(&[("department", "bar")])).unwrap();
        assert_eq!(new, record(&[("department", "bar"), ("team", "a")]));
        assert_eq!(untagged(old, &["TEAM".into()]), record(&[("Department", "foo")]));
    }

    #[test]
    fn a_sigma_is_the_same_letter_wherever_it_stands() {
        let old = record(&[("ΟΔΟΣ", "a")]);
        assert_eq!(tagged(old.clone(), &tags(&[("οδοσ", "b")])).unwrap(), record(&[("οδοσ", "b")]));
        assert_eq!(untagged(old, &["οδοσ".into()]), record(&[]));
    }

    #[test]
    fn tags_have_their_limits() {
        let refused = |new: &[Tag]| tagged(record(&[("a", "b")]), new).unwrap_err().code();
        assert_eq!(refused(&tags(&[("x", "1"), ("X", "2")])), "InvalidInput");
        assert_eq!(refused(&tags(&[("AWS:x", "1")])), "InvalidInput");
        let many: Vec<Tag> = (0..50).map(|number| Tag { key: format!("k{number}"), value: String::new() }).collect();
        assert_eq!(refused(&many), "LimitExceeded");
        assert_eq!(tagged(record(&[("K7", "b")]), &many).unwrap().len(), 50);
    }

    #[test]
    fn white_space_does_not_count() {
        let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let longest = |filler: usize| format!("{{\"Id\":\"{}\",{}", "x".repeat(filler), &policy[1..]);
        let room = MAX_SHARED - size(&longest(0));
        assert!(check_shared(&(longest(room) + &" \n".repeat(5_000))).is_ok());
        assert_eq!(check_shared(&longest(room + 1)).unwrap_err().message(), "Cannot exceed quota for PolicySize: 6144");
    }
}
