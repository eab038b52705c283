//! A second evaluator: slow, obvious, straight from the documentation, and sharing no code with the first.
//!
//! It works on the JSON documents as they are, and takes for granted that they are well-formed.
//!
//! Sources, under <https://docs.aws.amazon.com/IAM/latest/UserGuide/>: `reference_policies_elements_*.html`,
//! `reference_policies_variables.html`, `reference_policies_evaluation-logic_policy-eval-denyallow.html`.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;

/// What the documentation says, in the words of the first evaluator.
pub fn decide(case: &Value) -> String {
    let asked = Asked::read(case);
    let resource_policy = case.get("resource_policy").or(case.get("trust_policy"));
    let resource_kind = if case.get("trust_policy").is_some() { "TrustPolicy" } else { "KeyPolicy" };
    let identity = list(case, "identity_policies");
    let boundary: Vec<Value> = case.get("boundary").cloned().into_iter().collect();
    let session = list(case, "session_policies");
    let resource: Vec<Value> = resource_policy.cloned().into_iter().collect();

    // An explicit deny in any policy.
    for (kind, policies) in [
        (resource_kind, &resource),
        ("IdentityPolicy", &identity),
        ("Boundary", &boundary),
        ("SessionPolicy", &session),
    ] {
        if policies.iter().any(|policy| asked.statements(policy, "Deny").next().is_some()) {
            return format!("Denied(ExplicitDeny({kind}))");
        }
    }

    let some_allow =
        |policies: &[Value]| policies.iter().any(|policy| asked.statements(policy, "Allow").next().is_some());
    let limit = if !boundary.is_empty() && !some_allow(&boundary) {
        Some("Denied(NoAllow(Boundary))")
    } else if !session.is_empty() && !some_allow(&session) {
        Some("Denied(NoAllow(SessionPolicy))")
    } else {
        None
    };
    // What the principal's own account says: nothing limits its root user.
    let own = if asked.is_root {
        None
    } else if !some_allow(&identity) {
        Some("Denied(NoAllow(IdentityPolicy))")
    } else {
        limit
    };
    let unless = |refusal: Option<&str>, allowed: &str| refusal.unwrap_or(allowed).to_owned();

    let Some(policy) = resource_policy else {
        if asked.account != asked.owner {
            return "Denied(OtherAccount)".into();
        }
        return unless(own, if asked.is_root { "Allowed(RootUser)" } else { "Allowed(IdentityPolicy)" });
    };

    let named: Vec<&str> =
        asked.statements(policy, "Allow").flat_map(|statement| asked.names_in(&statement["Principal"])).collect();
    let named_as = |what: &str| named.contains(&what);
    let grant_to = |arn: &str| {
        let grants = list(case, "grants");
        let grant = grants.iter().find(|grant| grant["grantee"] == arn);
        grant.map(|grant| format!("Allowed(Grant({}))", grant["id"]))
    };
    let account_arn = format!("arn:aws:iam::{}:root", asked.account);
    let by_itself = grant_to(&asked.arn);
    let by_role = asked.role.as_deref().and_then(grant_to);
    let by_account = grant_to(&account_arn);

    if asked.account != asked.owner {
        // Both sides must allow.
        let any_grant = by_itself.or(by_role).or(by_account);
        return match (named.is_empty(), any_grant) {
            (false, _) => unless(own, "Allowed(ResourcePolicy)"),
            (true, Some(grant)) => unless(own, &grant),
            (true, None) => format!("Denied(NoAllow({resource_kind}))"),
        };
    }
    if named_as("itself") {
        return "Allowed(ResourcePolicy)".into();
    }
    if let Some(grant) = by_itself {
        return grant;
    }
    if named_as("role") {
        return unless(limit, "Allowed(ResourcePolicy)");
    }
    if let Some(grant) = by_role {
        return unless(limit, &grant);
    }
    if named_as("account") {
        return unless(own, "Allowed(IdentityPolicy)");
    }
    match by_account {
        Some(grant) => unless(own, &grant),
        None => format!("Denied(NoAllow({resource_kind}))"),
    }
}

struct Asked {
    account: String,
    owner: String,
    arn: String,
    role: Option<String>,
    is_root: bool,
    has_boundary: bool,
    action: String,
    resource: String,
    /// By lower-case name.
    context: HashMap<String, Vec<String>>,
    several: Vec<String>,
}

/// A character of a pattern.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mark {
    Char(char),
    /// Of a variable's value: never a wildcard, never the end of a field.
    OfValue(char),
    AnyOne,
    AnyMany,
}

impl Asked {
    fn read(case: &Value) -> Self {
        let request = &case["request"];
        let arn = request["principal"].as_str().unwrap().to_owned();
        let role = request["role"].as_str().map(str::to_owned);
        let account = arn.split(':').nth(4).unwrap().to_owned();
        let is_root = arn.ends_with(":root");
        let mut context = HashMap::new();
        let mut several = Vec::new();
        for (key, value) in request["conditions"].as_object().into_iter().flatten() {
            let values = match value {
                Value::Array(values) => {
                    several.push(key.to_lowercase());
                    values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
                }
                value => vec![value.as_str().unwrap().to_owned()],
            };
            context.insert(key.to_lowercase(), values);
        }
        let mut set = |key: &str, value: &str| context.insert(key.to_lowercase(), vec![value.to_owned()]);
        set("aws:PrincipalArn", role.as_deref().unwrap_or(&arn));
        set("aws:PrincipalAccount", &account);
        set("kms:CallerAccount", &account);
        set("aws:userid", request["user_id"].as_str().unwrap_or("AIDACKCEVSQ6C2EXAMPLE"));
        match (&role, is_root) {
            (Some(_), _) => set("aws:PrincipalType", "AssumedRole"),
            (None, true) => set("aws:PrincipalType", "Account"),
            (None, false) => {
                set("aws:username", arn.rsplit('/').next().unwrap());
                set("aws:PrincipalType", "User")
            }
        };
        for (key, value) in request["tags"].as_object().into_iter().flatten() {
            set(&format!("aws:PrincipalTag/{key}"), value.as_str().unwrap());
        }
        Asked {
            owner: request["owner"].as_str().unwrap_or("111122223333").to_owned(),
            has_boundary: case.get("boundary").is_some(),
            action: request["action"].as_str().unwrap().to_owned(),
            resource: request["resource"].as_str().unwrap_or(super::case::KEY).to_owned(),
            account,
            arn,
            role,
            is_root,
            context,
            several,
        }
    }

    /// The statements of a policy with this effect that apply.
    fn statements<'v>(&'v self, policy: &'v Value, effect: &'v str) -> impl Iterator<Item = &'v Value> {
        // Without a Version, a policy is of 2008, when there were no variables.
        let variables = policy["Version"] == "2012-10-17";
        let all = match &policy["Statement"] {
            Value::Array(statements) => statements.iter().collect(),
            one => vec![one],
        };
        all.into_iter().filter(move |statement| {
            statement["Effect"] == effect
                && self.is_principal(statement)
                && self.is_action(statement)
                && self.is_resource(statement, variables)
                && self.is_condition(statement, variables)
        })
    }

    fn is_principal(&self, statement: &Value) -> bool {
        if let Some(principal) = statement.get("Principal") {
            return !self.names_in(principal).is_empty();
        }
        let Some(not) = statement.get("NotPrincipal") else { return true };
        // Deny with NotPrincipal: the account, and then the user or role, must be among those left out; and a
        // principal with a permissions boundary is always denied.
        let names = names(not);
        if names.contains(&"*".to_owned()) {
            return false;
        }
        let account = names.contains(&self.account) || names.contains(&format!("arn:aws:iam::{}:root", self.account));
        let itself = match &self.role {
            _ if self.is_root => true,
            Some(role) => names.contains(role),
            None => names.contains(&self.arn),
        };
        self.has_boundary || !(account && itself)
    }

    /// As what a Principal element names the principal: `itself`, its `role`, its `account`.
    fn names_in(&self, principal: &Value) -> Vec<&'static str> {
        let mut how = Vec::new();
        for name in names(principal) {
            if name == "*" || name == self.arn {
                how.push("itself");
            } else if Some(&name) == self.role.as_ref() {
                how.push("role");
            } else if name == self.account || name == format!("arn:aws:iam::{}:root", self.account) {
                how.push(if self.is_root { "itself" } else { "account" });
            }
        }
        how
    }

    fn is_action(&self, statement: &Value) -> bool {
        let matches = |text: &String| {
            let marks = marks(&text.to_lowercase(), true);
            like(&marks, &self.action.to_lowercase().chars().collect::<Vec<_>>())
        };
        match (statement.get("Action"), statement.get("NotAction")) {
            (Some(actions), _) => texts(actions).iter().any(matches),
            (_, Some(actions)) => !texts(actions).iter().any(matches),
            _ => false,
        }
    }

    fn is_resource(&self, statement: &Value, variables: bool) -> bool {
        let matches = |text: &String| match text.as_str() {
            "*" => Some(true),
            text => {
                let marks = self.expand(text, variables, true)?;
                let mut fields = fields(&marks);
                while fields.len() < 6 {
                    fields.push(vec![Mark::AnyMany]);
                }
                Some(is_arn(&fields, &self.resource))
            }
        };
        match (statement.get("Resource"), statement.get("NotResource")) {
            (Some(resources), _) => texts(resources).iter().any(|text| matches(text) == Some(true)),
            (_, Some(resources)) => {
                let found: Vec<_> = texts(resources).iter().map(matches).collect();
                // A variable without a value makes an Allow of "all but" nothing.
                let unknown = found.contains(&None) && statement["Effect"] == "Allow";
                !found.contains(&Some(true)) && !unknown
            }
            // A trust policy is about its role; a key policy's statement without it is of no effect.
            _ => self.action.starts_with("sts:"),
        }
    }

    fn is_condition(&self, statement: &Value, variables: bool) -> bool {
        let allows = statement["Effect"] == "Allow";
        let operators = statement.get("Condition").and_then(Value::as_object);
        operators.into_iter().flatten().all(|(operator, keys)| {
            keys.as_object()
                .unwrap()
                .iter()
                .all(|(key, values)| self.holds(operator, &key.to_lowercase(), &texts(values), variables, allows))
        })
    }

    fn holds(&self, operator: &str, key: &str, wanted: &[String], variables: bool, allows: bool) -> bool {
        let had = self.context.get(key).cloned().unwrap_or_default();
        if operator == "Null" {
            return wanted.iter().any(|text| text.eq_ignore_ascii_case(if had.is_empty() { "true" } else { "false" }));
        }
        let for_all = operator.starts_with("ForAllValues:");
        let for_any = operator.starts_with("ForAnyValue:");
        let operator = operator.trim_start_matches("ForAllValues:").trim_start_matches("ForAnyValue:");
        let if_exists = operator.ends_with("IfExists");
        let operator = operator.trim_end_matches("IfExists");
        let negated = operator.contains("Not");
        let positive = operator.replace("Not", "");

        let nothing = had.is_empty() || ((for_all || for_any) && had.iter().all(String::is_empty));
        if nothing {
            return if_exists || for_all || (negated && !for_any);
        }
        if negated
            && allows
            && wanted.iter().any(|text| self.expand(text, variables && text_operator(&positive), true).is_none())
        {
            return false;
        }
        let in_list = |value: &String| wanted.iter().any(|text| self.compare(&positive, value, text, variables));
        match (for_all, for_any, negated) {
            (true, _, false) => had.iter().all(in_list),
            (true, _, true) => !had.iter().any(in_list),
            (_, true, false) => had.iter().any(in_list),
            (_, true, true) => had.iter().any(|value| !in_list(value)),
            // Several values where one is meant: each must pass to allow, one suffices to deny.
            _ if allows => had.iter().all(|value| in_list(value) != negated),
            _ => had.iter().any(|value| in_list(value) != negated),
        }
    }

    fn compare(&self, operator: &str, had: &str, wanted: &str, variables: bool) -> bool {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        match operator {
            "StringEquals" => self.expand(wanted, variables, false).is_some_and(|marks| plain(&marks) == had),
            "StringEqualsIgnoreCase" | "Bool" => self
                .expand(wanted, variables, false)
                .is_some_and(|marks| plain(&marks).to_lowercase() == had.to_lowercase()),
            "StringLike" => self.expand(wanted, variables, true).is_some_and(|marks| like(&marks, &chars(had))),
            "BinaryEquals" => had == wanted,
            "IpAddress" => in_network(had, wanted),
            "ArnEquals" | "ArnLike" => self.expand(wanted, variables, true).is_some_and(|marks| {
                let whole_is_variable =
                    variables && wanted.starts_with("${") && wanted.find('}') == Some(wanted.len() - 1);
                if whole_is_variable { plain(&marks) == had } else { wanted == "*" || is_arn(&fields(&marks), had) }
            }),
            _ => {
                let (had, wanted) = if operator.starts_with("Date") {
                    (date(had), date(wanted))
                } else {
                    (had.parse().ok(), wanted.parse().ok())
                };
                let (Some(had), Some(wanted)): (Option<f64>, Option<f64>) = (had, wanted) else { return false };
                match operator.trim_start_matches("Numeric").trim_start_matches("Date") {
                    "Equals" => had == wanted,
                    "LessThan" => had < wanted,
                    "LessThanEquals" => had <= wanted,
                    "GreaterThan" => had > wanted,
                    "GreaterThanEquals" => had >= wanted,
                    other => panic!("{other}"),
                }
            }
        }
    }

    /// A text with its variables replaced; `None` if one has no value.
    fn expand(&self, text: &str, variables: bool, wildcards: bool) -> Option<Vec<Mark>> {
        let Some(start) = text.find("${").filter(|_| variables) else { return Some(marks(text, wildcards)) };
        let end = start + text[start..].find('}').expect("well-formed");
        let inner = &text[start + 2..end];
        let mut all = marks(&text[..start], wildcards);
        match inner {
            "*" | "?" | "$" => all.push(Mark::Char(inner.chars().next().unwrap())),
            _ => {
                let (name, default) = match inner.split_once(", '") {
                    Some((name, default)) => (name, Some(default.trim_end_matches('\'').to_owned())),
                    None => (inner, None),
                };
                let name = name.to_lowercase();
                let value = match self.context.get(&name) {
                    Some(_) if self.several.contains(&name) => None,
                    Some(values) => Some(values[0].clone()),
                    None => default,
                };
                all.extend(value?.chars().map(Mark::OfValue));
            }
        }
        all.extend(self.expand(&text[end + 1..], variables, wildcards)?);
        Some(all)
    }
}

fn text_operator(operator: &str) -> bool {
    operator.starts_with("String") || operator.starts_with("Arn") || operator == "Bool"
}

fn marks(text: &str, wildcards: bool) -> Vec<Mark> {
    let mark = |letter| match letter {
        '*' if wildcards => Mark::AnyMany,
        '?' if wildcards => Mark::AnyOne,
        letter => Mark::Char(letter),
    };
    text.chars().map(mark).collect()
}

fn plain(marks: &[Mark]) -> String {
    marks
        .iter()
        .filter_map(|mark| if let Mark::Char(letter) | Mark::OfValue(letter) = mark { Some(*letter) } else { None })
        .collect()
}

fn like(pattern: &[Mark], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(Mark::AnyMany), _) => like(&pattern[1..], text) || (!text.is_empty() && like(pattern, &text[1..])),
        (Some(Mark::AnyOne), Some(_)) => like(&pattern[1..], &text[1..]),
        (Some(Mark::Char(wanted) | Mark::OfValue(wanted)), Some(had)) => {
            wanted == had && like(&pattern[1..], &text[1..])
        }
        _ => false,
    }
}

/// At most six fields; the last has all further colons.
fn fields(marks: &[Mark]) -> Vec<Vec<Mark>> {
    marks.splitn(6, |mark| *mark == Mark::Char(':')).map(<[Mark]>::to_vec).collect()
}

fn is_arn(fields: &[Vec<Mark>], text: &str) -> bool {
    let had: Vec<Vec<char>> = text.splitn(6, ':').map(|field| field.chars().collect()).collect();
    had.len() == 6 && fields.len() == 6 && fields.iter().zip(&had).all(|(wanted, had)| like(wanted, had))
}

fn in_network(address: &str, network: &str) -> bool {
    let (base, len) = match network.split_once('/') {
        Some((base, len)) => (base, len.parse().unwrap()),
        None => (network, 128),
    };
    let bits = |text: &str| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Some(address.octets().iter().map(|byte| format!("{byte:08b}")).collect::<String>()),
        Ok(IpAddr::V6(address)) => Some(address.octets().iter().map(|byte| format!("{byte:08b}")).collect::<String>()),
        Err(_) => None,
    };
    match (bits(address), bits(base)) {
        (Some(had), Some(wanted)) if had.len() == wanted.len() => {
            had[..len.min(had.len())] == wanted[..len.min(had.len())]
        }
        _ => false,
    }
}

/// Seconds since the epoch.
fn date(text: &str) -> Option<f64> {
    let whole = match text.len() {
        4 => format!("{text}-01-01T00:00:00Z"),
        7 => format!("{text}-01T00:00:00Z"),
        10 if text.contains('-') => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    match whole.parse::<jiff::Timestamp>() {
        Ok(instant) => Some(instant.as_second() as f64),
        Err(_) => text.parse().ok(),
    }
}

fn names(principal: &Value) -> Vec<String> {
    match principal {
        Value::String(star) => vec![star.clone()],
        kinds => texts(&kinds["AWS"]),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

fn list(case: &Value, name: &str) -> Vec<Value> {
    case.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}
