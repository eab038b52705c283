//! A policy document: read strictly, so that what is stored is something that can be evaluated.

use std::collections::BTreeMap;
use std::fmt;

use super::principal::{How, Principal};
use super::request::{Request, Subject};
use super::statement::Statement;
use crate::model::Document;

/// What a policy is attached to, which decides the elements that it must and must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A key's policy: who may use the key.
    KeyPolicy,
    /// A role's trust policy: who may assume the role.
    TrustPolicy,
    /// A user's or role's own policy: what it may do.
    IdentityPolicy,
    /// The most that a user's or role's own policies can allow.
    Boundary,
    /// The most that one session can do.
    SessionPolicy,
}

/// A compiled policy.
pub struct Policy {
    kind: Kind,
    text: Box<str>,
    statements: Box<[Statement]>,
}

/// Why a text is not a policy document; for the caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Policy {
    /// Reads and compiles a policy of at most 131,072 bytes: no name twice, no unknown element, effect, principal
    /// form, condition operator or variable syntax, and nothing that a policy of this kind does not have.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        if text.len() > MAX_LEN {
            return Err(malformed(format!("a policy is at most {MAX_LEN} bytes long")));
        }
        let document = Document::parse(text.as_bytes()).map_err(|error| malformed(format!("not JSON: {error}")))?;
        known_names(&document, &["Version", "Id", "Statement"])?;
        if question_marks(&document) > MAX_QUESTION_MARKS {
            return Err(malformed(format!("a policy has at most {MAX_QUESTION_MARKS} question marks")));
        }
        let version = document.member("Version").map(|version| one_of(version, VERSIONS, "Version")).transpose()?;
        document.member("Id").map(|id| text_of(id, "Id")).transpose()?;
        let statements = document.member("Statement").ok_or_else(|| malformed("there is no Statement"))?;
        // Without a version, a policy is of the older one, which has no variables.
        let variables = version == Some(WITH_VARIABLES);
        let statements = elements(statements).iter().map(|statement| Statement::read(statement, kind, variables));
        Ok(Policy { kind, text: text.into(), statements: statements.collect::<Result<_, _>>()? })
    }

    /// What the policy is attached to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The document as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The principals named, in Principal and in NotPrincipal.
    pub fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.statements.iter().flat_map(Statement::named_principals)
    }

    /// Binds the users and roles named to the unique ids that they had when the policy was written, by ARN, so that one
    /// who gets such a name later is not meant.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
    #[must_use]
    pub fn bound(mut self, unique_ids: &BTreeMap<String, String>) -> Self {
        self.statements.iter_mut().for_each(|statement| statement.bind(unique_ids));
        self
    }

    /// Whether `subject` may call PutKeyPolicy on `resource`, its own account's key, under this key policy.
    ///
    /// An Allow that depends on a condition does not count, and a Deny counts whether its condition holds or not.
    /// Delegation to the account does count: the subject's own policies are not of this key.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>
    pub fn keeps_way_back(&self, subject: Subject<'_>, resource: &str) -> bool {
        let (account, action) = (subject.account, "kms:PutKeyPolicy");
        let request = Request { subject, action, resource, owner: account, conditions: &() };
        let denied = self.statements.iter().any(|statement| statement.may_deny(&request));
        !denied && self.statements.iter().any(|statement| statement.surely_allows(&request))
    }

    /// Whether a Deny of this policy applies; `bounded` if the subject has a permissions boundary.
    pub(super) fn denies(&self, request: &Request<'_>, bounded: bool) -> bool {
        self.statements.iter().any(|statement| statement.denies(request, bounded))
    }

    /// The strongest way in which an Allow of this policy names the subject.
    pub(super) fn allows(&self, request: &Request<'_>) -> Option<How> {
        self.statements.iter().filter_map(|statement| statement.allows(request)).max()
    }
}

/// The kind and the size; the text may be long, and is there to be asked for.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("kind", &self.kind).field("statements", &self.statements.len()).finish()
    }
}

impl Kind {
    /// Whether the statements say whom they are about.
    pub(in crate::auth) fn has_principals(self) -> bool {
        matches!(self, Kind::KeyPolicy | Kind::TrustPolicy)
    }
}

/// The word that refusals use for a policy of this kind.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::KeyPolicy | Kind::TrustPolicy => "resource-based policy",
            Kind::IdentityPolicy => "identity-based policy",
            Kind::Boundary => "permissions boundary",
            Kind::SessionPolicy => "session policy",
        })
    }
}

/// One value and a list of one are the same.
pub(super) fn elements<'d, 'a>(document: &'d Document<'a>) -> &'d [Document<'a>] {
    match document {
        Document::List(elements) => elements,
        one => std::slice::from_ref(one),
    }
}

/// The texts of a text or a list of texts; an empty list names nothing and is refused.
pub(super) fn texts<'d>(document: &'d Document<'_>, what: &str) -> Result<Vec<&'d str>, Malformed> {
    let texts = elements(document).iter().map(|element| text_of(element, what)).collect::<Result<Vec<_>, _>>()?;
    if texts.is_empty() { Err(malformed(format!("{what} is an empty list"))) } else { Ok(texts) }
}

pub(super) fn text_of<'d>(document: &'d Document<'_>, what: &str) -> Result<&'d str, Malformed> {
    match document {
        Document::String(text) => Ok(text),
        _ => Err(malformed(format!("{what} is not a string"))),
    }
}

pub(super) fn one_of<'d>(document: &'d Document<'_>, words: &[&str], what: &str) -> Result<&'d str, Malformed> {
    let text = text_of(document, what)?;
    if words.contains(&text) { Ok(text) } else { Err(malformed(format!("`{text}` is not a {what}"))) }
}

fn question_marks(document: &Document<'_>) -> usize {
    let of_text = |text: &str| text.matches('?').count();
    match document {
        Document::String(text) => of_text(text),
        Document::List(elements) => elements.iter().map(question_marks).sum(),
        Document::Map(members) => members.iter().map(|(name, value)| of_text(name) + question_marks(value)).sum(),
        Document::Null | Document::Boolean(_) | Document::Integer(_) | Document::Number(_) => 0,
    }
}

/// Refuses what is no object, members that are not of `names`, and members without a value.
pub(super) fn known_names(document: &Document<'_>, names: &[&str]) -> Result<(), Malformed> {
    let Document::Map(members) = document else { return Err(malformed("a policy element is not an object")) };
    if let Some((name, _)) = members.iter().find(|(name, _)| !names.contains(&name.as_ref())) {
        return Err(malformed(format!("`{name}` is not an element of a policy here")));
    }
    match members.iter().find(|(_, value)| *value == Document::Null) {
        Some((name, _)) => Err(malformed(format!("{name} is null"))),
        None => Ok(()),
    }
}

pub(super) fn malformed(reason: impl Into<String>) -> Malformed {
    Malformed(reason.into())
}

const VERSIONS: &[&str] = &[WITH_VARIABLES, "2008-10-17"];
const WITH_VARIABLES: &str = "2012-10-17";

/// A run of them behind a star is tried at every place of a text, which a caller may have made 8 KiB long.
const MAX_QUESTION_MARKS: usize = 1_024;
/// The longest that any request shape admits.
const MAX_LEN: usize = 131_072;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::auth::policy::Who;

    const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn account() -> crate::model::AccountId {
        "111122223333".parse().unwrap()
    }

    fn with(statement: &str) -> Result<Policy, Malformed> {
        parse(statement, Kind::KeyPolicy)
    }

    fn parse(statement: &str, kind: Kind) -> Result<Policy, Malformed> {
        Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#), kind)
    }

    /// However they are written, and wherever they stand.
    #[test]
    fn question_marks_are_bounded() {
        let policy = |count: usize, mark: &str| {
            let value = format!("*{}", mark.repeat(count));
            with(&format!(
                r#"{{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*",
                    "Condition":{{"StringLike":{{"aws:userid":["{value}"]}}}}}}"#
            ))
        };
        for mark in ["?", "\\u003f", "a?"] {
            assert!(policy(1_024, mark).is_ok(), "{mark}");
            let refused = policy(1_025, mark).unwrap_err().to_string();
            assert_eq!(refused, "a policy has at most 1024 question marks", "{mark}");
        }
    }

    fn safe_for(arn: &str, who: Who<'_>, statement: &str) -> bool {
        let (account, tags) = (account(), BTreeMap::new());
        let subject = Subject { account: &account, arn, user_id: "AIDA", who, tags: &tags };
        with(statement).unwrap().keeps_way_back(subject, KEY)
    }

    fn safe(statement: &str) -> bool {
        safe_for("arn:aws:iam::111122223333:root", Who::Root, statement)
    }

    #[test]
    fn refuses_what_is_no_policy() {
        for bad in [
            "",
            "[]",
            r#"{"Version":"2012-10-17"}"#,
            r#"{"Version":"2013-10-17","Statement":[]}"#,
            r#"{"Version":2012,"Statement":[]}"#,
            r#"{"Statement":[],"Statement":[]}"#,
            r#"{"Statement":[],"Effect":"Allow"}"#,
            r#"{"Statement":["Allow"]}"#,
            r#"{"Id":null,"Statement":[]}"#,
        ] {
            assert!(Policy::parse(bad, Kind::KeyPolicy).is_err(), "{bad}");
        }
        for bad in [
            r#"{"Principal":"*","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"allow","Principal":"*","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"x","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":{},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":{"AWS":[]},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Deny","Principal":"*","NotPrincipal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":{"Aws":"*"},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"everything","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":[],"Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":[1],"Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","NotAction":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"1234abcd"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","NotResource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":[]}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":null}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringIs":{"a":"b"}}}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"a":{"b":1}}}}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"a":[]}}}"#,
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_bombs() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(Policy::parse(&deep, Kind::KeyPolicy).is_err());
        let nested = format!(r#"{{"Statement":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        assert!(Policy::parse(&nested, Kind::KeyPolicy).is_err());
        let long = format!(r#"{{"Id":"{}","Statement":[]}}"#, "a".repeat(MAX_LEN));
        assert!(Policy::parse(&long, Kind::KeyPolicy).is_err());
    }

    #[test]
    fn each_kind_has_its_elements() {
        let whole = r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}"#;
        let no_principal = r#"{"Effect":"Allow","Action":"kms:*","Resource":"*"}"#;
        let no_resource = r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}"#;
        let no_action = r#"{"Effect":"Allow","Principal":"*","Resource":"*"}"#;
        let neither = r#"{"Effect":"Allow","Action":"kms:*"}"#;
        let all_but = r#"{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}"#;
        for (kind, good) in [
            (Kind::KeyPolicy, &[whole, no_resource, no_action, all_but][..]),
            (Kind::TrustPolicy, &[no_resource]),
            (Kind::IdentityPolicy, &[no_principal]),
            (Kind::Boundary, &[no_principal]),
            (Kind::SessionPolicy, &[no_principal]),
        ] {
            for statement in [whole, no_principal, no_resource, no_action, neither, all_but] {
                assert_eq!(parse(statement, kind).is_ok(), good.contains(&statement), "{kind:?} {statement}");
            }
        }
    }

    #[test]
    fn only_an_unconditional_allow_keeps_the_way_back_open() {
        let root = r#"{"AWS":"arn:aws:iam::111122223333:root"}"#;
        assert!(safe(&format!(r#"{{"Effect":"Allow","Principal":{root},"Action":"kms:*","Resource":"*"}}"#)));
        assert!(safe(r#"{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"KMS:Put*","Resource":"*"}"#));
        assert!(!safe(&format!(r#"{{"Effect":"Allow","Principal":{root},"Action":"kms:Get*","Resource":"*"}}"#)));
        assert!(!safe(&format!(r#"{{"Effect":"Allow","Principal":{root},"Action":"kms:*"}}"#)));
        assert!(!safe(&format!(
            r#"{{"Effect":"Allow","Principal":{root},"Action":"kms:*","Resource":"*","Condition":{{"Bool":{{"aws:SecureTransport":"true"}}}}}}"#
        )));
        assert!(!safe(&format!(
            r#"{{"Effect":"Allow","Principal":{root},"Action":"kms:*","Resource":"*"}},
               {{"Effect":"Deny","Principal":"*","Action":"kms:PutKeyPolicy","Resource":"*",
                 "Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}}"#
        )));
        assert!(!safe(&format!(
            r#"{{"Effect":"Allow","Principal":{root},"Action":"kms:*","Resource":"arn:aws:kms:us-east-1:111122223333:key/other"}}"#
        )));
        assert!(!safe(
            r#"{"Effect":"Allow","Principal":{"Service":"x.amazonaws.com"},"Action":"kms:*","Resource":"*"}"#
        ));
    }

    #[test]
    fn the_way_back_is_the_callers() {
        let alice =
            |statement: &str| safe_for("arn:aws:iam::111122223333:user/alice", Who::User { name: "alice" }, statement);
        let to = |user: &str| {
            format!(
                r#"{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::111122223333:user/{user}"}},"Action":"kms:*","Resource":"*"}}"#
            )
        };
        assert!(alice(&to("alice")));
        assert!(!alice(&to("bob")));
        assert!(!safe(&to("alice")));
        let account = r#"{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}"#;
        assert!(alice(account));
        let denied = account.replace("Allow", "Deny");
        assert!(!alice(&format!("{},{denied}", to("alice"))));
    }
}
