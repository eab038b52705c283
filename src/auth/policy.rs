//! Policy documents: read strictly, so that what is stored is something that can be evaluated.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use crate::model::{AccountId, Arn, Document};

/// A policy document that keeps the grammar.
#[derive(Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// Why a text is not a policy document; for the caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

#[derive(Debug)]
struct Statement {
    allows: bool,
    principals: Principals,
    actions: Words,
    has_resource: bool,
    conditional: bool,
}

#[derive(Debug)]
enum Principals {
    Everyone,
    These(Vec<(String, String)>),
    AllBut(Vec<(String, String)>),
}

#[derive(Debug)]
enum Words {
    None,
    These(Vec<String>),
    AllBut(Vec<String>),
}

impl Policy {
    /// Reads a key policy: no name twice, no unknown element, effect, principal type or condition operator.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let document = Document::parse(text.as_bytes()).map_err(|error| malformed(format!("not JSON: {error}")))?;
        known_names(&document, &["Version", "Id", "Statement"])?;
        if let Some(version) = document.member("Version") {
            one_of(version, &["2012-10-17", "2008-10-17"], "Version")?;
        }
        document.member("Id").map(|id| text_of(id, "Id")).transpose()?;
        let statements = document.member("Statement").ok_or_else(|| malformed("there is no Statement"))?;
        Ok(Policy { statements: elements(statements).iter().map(Statement::read).collect::<Result<_, _>>()? })
    }

    /// Whether every AWS principal named exists, as far as accounts go: `*`, an account, or its root user.
    pub fn names_only(&self, account: &AccountId) -> bool {
        self.statements.iter().flat_map(Statement::named_principals).all(|(kind, name)| match kind.as_str() {
            "AWS" => name == "*" || is_account(name, account),
            _ => true,
        })
    }

    /// Whether the root user of `account` may call PutKeyPolicy again under this policy: an Allow without a
    /// condition says so, and no Deny may say otherwise.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>
    pub fn lets_root_user_put_policy(&self, account: &AccountId) -> bool {
        let applies = |statement: &&Statement| {
            statement.covers_root_user(account) && statement.covers_action("kms:PutKeyPolicy") && statement.has_resource
        };
        let mut applying = self.statements.iter().filter(applies);
        let denied = self.statements.iter().filter(applies).any(|statement| !statement.allows);
        !denied && applying.any(|statement| statement.allows && !statement.conditional)
    }
}

impl Statement {
    fn read(document: &Document<'_>) -> Result<Self, Malformed> {
        known_names(document, STATEMENT)?;
        document.member("Sid").map(|sid| text_of(sid, "Sid")).transpose()?;
        let effect = document.member("Effect").ok_or_else(|| malformed("a statement has no Effect"))?;
        let allows = one_of(effect, &["Allow", "Deny"], "Effect")? == "Allow";
        let resource = read_words(document, "Resource")?;
        Ok(Statement {
            allows,
            principals: Principals::read(document)?,
            actions: read_actions(document)?,
            // Accepted by AWS, and without effect.
            has_resource: !matches!(resource, Words::None),
            conditional: check_condition(document.member("Condition"))?,
        })
    }

    fn named_principals(&self) -> &[(String, String)] {
        match &self.principals {
            Principals::Everyone => &[],
            Principals::These(named) | Principals::AllBut(named) => named,
        }
    }

    fn covers_root_user(&self, account: &AccountId) -> bool {
        let named = |list: &[(String, String)]| {
            list.iter().any(|(kind, name)| kind == "AWS" && (name == "*" || is_account(name, account)))
        };
        match &self.principals {
            Principals::Everyone => true,
            Principals::These(list) => named(list),
            Principals::AllBut(list) => !named(list),
        }
    }

    fn covers_action(&self, action: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, action));
        match &self.actions {
            Words::None => false,
            Words::These(patterns) => matches(patterns),
            Words::AllBut(patterns) => !matches(patterns),
        }
    }
}

impl Principals {
    fn read(statement: &Document<'_>) -> Result<Self, Malformed> {
        match (statement.member("Principal"), statement.member("NotPrincipal")) {
            (Some(Document::String(star)), None) if star == "*" => Ok(Principals::Everyone),
            (Some(named), None) => Ok(Principals::These(read_principals(named)?)),
            (None, Some(named)) => Ok(Principals::AllBut(read_principals(named)?)),
            _ => Err(malformed("a statement needs either Principal or NotPrincipal")),
        }
    }
}

fn read_principals(named: &Document<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let Document::Map(kinds) = named else { return Err(malformed("a Principal is \"*\" or an object")) };
    known_names(named, &["AWS", "Service", "Federated", "CanonicalUser"])?;
    let mut principals = Vec::new();
    for (kind, names) in kinds {
        for name in texts(names, "Principal")? {
            principals.push((kind.to_string(), name));
        }
    }
    Ok(principals)
}

fn read_actions(statement: &Document<'_>) -> Result<Words, Malformed> {
    let actions = read_words(statement, "Action")?;
    if let Words::These(patterns) | Words::AllBut(patterns) = &actions {
        let well_formed = |pattern: &String| {
            pattern == "*" || pattern.split_once(':').is_some_and(|(s, a)| !s.is_empty() && !a.is_empty())
        };
        if let Some(bad) = patterns.iter().find(|pattern| !well_formed(pattern)) {
            return Err(malformed(format!("`{bad}` is not an action")));
        }
    }
    Ok(actions)
}

fn read_words(statement: &Document<'_>, name: &str) -> Result<Words, Malformed> {
    let negated = format!("Not{name}");
    match (statement.member(name), statement.member(&negated)) {
        (None, None) => Ok(Words::None),
        (Some(words), None) => Ok(Words::These(texts(words, name)?)),
        (None, Some(words)) => Ok(Words::AllBut(texts(words, &negated)?)),
        (Some(_), Some(_)) => Err(malformed(format!("a statement has both {name} and {negated}"))),
    }
}

/// Whether there is a condition; every operator must be known and every value be plain.
fn check_condition(condition: Option<&Document<'_>>) -> Result<bool, Malformed> {
    let Some(condition) = condition else { return Ok(false) };
    let Document::Map(operators) = condition else { return Err(malformed("a Condition is an object")) };
    for (operator, keys) in operators {
        if !is_operator(operator) {
            return Err(malformed(format!("`{operator}` is not a condition operator")));
        }
        let Document::Map(keys) = keys else { return Err(malformed(format!("{operator} is not an object"))) };
        for value in keys.iter().flat_map(|(_, values)| elements(values)) {
            if matches!(value, Document::Map(_) | Document::List(_) | Document::Null) {
                return Err(malformed(format!("a value of {operator} is not a string, number or boolean")));
            }
        }
    }
    Ok(!operators.is_empty())
}

fn is_operator(name: &str) -> bool {
    let name = name.strip_prefix("ForAllValues:").or_else(|| name.strip_prefix("ForAnyValue:")).unwrap_or(name);
    name == "Null" || OPERATORS.contains(&name.strip_suffix("IfExists").unwrap_or(name))
}

fn is_account(name: &str, account: &AccountId) -> bool {
    name == account.as_str() || name == Arn::root_user(account).to_string()
}

/// Matches an action against a pattern with `*` and `?`; case does not matter for actions.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase().into_bytes(), text.to_lowercase().into_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(from) {
            Some(b'*') => {
                star = Some((from, at));
                from += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[at] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_from, star_at)) = star else { return false };
                star = Some((star_from, star_at + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    pattern[from..].iter().all(|byte| *byte == b'*')
}

fn elements<'d, 'a>(document: &'d Document<'a>) -> &'d [Document<'a>] {
    match document {
        Document::List(elements) => elements,
        one => std::slice::from_ref(one),
    }
}

fn texts(document: &Document<'_>, what: &str) -> Result<Vec<String>, Malformed> {
    elements(document).iter().map(|element| text_of(element, what).map(str::to_owned)).collect()
}

fn text_of<'d>(document: &'d Document<'_>, what: &str) -> Result<&'d str, Malformed> {
    match document {
        Document::String(text) => Ok(text),
        _ => Err(malformed(format!("{what} is not a string"))),
    }
}

fn one_of<'d>(document: &'d Document<'_>, words: &[&str], what: &str) -> Result<&'d str, Malformed> {
    let text = text_of(document, what)?;
    if words.contains(&text) { Ok(text) } else { Err(malformed(format!("`{text}` is not a {what}"))) }
}

fn known_names(document: &Document<'_>, names: &[&str]) -> Result<(), Malformed> {
    let Document::Map(members) = document else { return Err(malformed("a policy element is not an object")) };
    match members.iter().find(|(name, _)| !names.contains(&name.as_ref())) {
        Some((name, _)) => Err(malformed(format!("`{name}` is not an element of a policy here"))),
        None => Ok(()),
    }
}

fn malformed(reason: impl Into<String>) -> Malformed {
    Malformed(reason.into())
}

const STATEMENT: &[&str] =
    &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

const OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountId {
        "111122223333".parse().unwrap()
    }

    fn with(statement: &str) -> Result<Policy, Malformed> {
        Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#))
    }

    fn safe(statement: &str) -> bool {
        with(statement).unwrap().lets_root_user_put_policy(&account())
    }

    #[test]
    fn refuses_what_is_no_policy() {
        for bad in [
            "",
            "[]",
            r#"{"Version":"2012-10-17"}"#,
            r#"{"Version":"2013-10-17","Statement":[]}"#,
            r#"{"Statement":[],"Statement":[]}"#,
            r#"{"Statement":[],"Effect":"Allow"}"#,
        ] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
        for bad in [
            r#"{"Principal":"*","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"allow","Principal":"*","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"x","Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","NotPrincipal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":{"Aws":"*"},"Action":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"everything","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","NotAction":"kms:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringIs":{"a":"b"}}}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"a":{"b":1}}}}"#,
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_unconditional_allow_for_the_account_keeps_the_way_back_open() {
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
               {{"Effect":"Deny","Principal":"*","Action":"kms:PutKeyPolicy","Resource":"*"}}"#
        )));
        assert!(!safe(
            r#"{"Effect":"Allow","Principal":{"Service":"x.amazonaws.com"},"Action":"kms:*","Resource":"*"}"#
        ));
    }

    #[test]
    fn tells_principals_that_do_not_exist() {
        let names_only = |principal: &str| {
            let statement = format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"kms:*","Resource":"*"}}"#);
            with(&statement).unwrap().names_only(&account())
        };
        assert!(names_only(r#""*""#));
        assert!(names_only(r#"{"AWS":["111122223333","arn:aws:iam::111122223333:root"]}"#));
        assert!(!names_only(r#"{"AWS":"arn:aws:iam::111122223333:user/nobody"}"#));
        assert!(!names_only(r#"{"AWS":"444455556666"}"#));
    }
}
