//! A form, and the request that it stands for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::kms::Error;
use crate::kms::shape::{self, Member, Shape};

/// The parameters of a form, decoded, none twice.
#[derive(Debug)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`: at most 1,024 parameters, percent-encoded UTF-8, no name twice.
    ///
    /// Source: <https://url.spec.whatwg.org/#application/x-www-form-urlencoded>
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut parameters = BTreeMap::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            let (name, value) = (decoded(name)?, decoded(value)?);
            if parameters.insert(name, value).is_some() || parameters.len() > MAX_PARAMETERS {
                return Err(unreadable());
            }
        }
        Ok(Form(parameters))
    }

    /// The `Action`; none if it is not of the one version that STS has.
    pub fn action(&self) -> Option<&str> {
        self.0.get("Version").filter(|version| *version == VERSION)?;
        self.0.get("Action").map(String::as_str)
    }

    /// The request as JSON with these members. Other parameters are passed over, as unknown members are, but not those
    /// below a known member that do not belong there.
    pub fn request(mut self, members: &[Member]) -> Result<Vec<u8>, Error> {
        let request = self.take_members("", members)?;
        let below_a_member = |name: &String| members.iter().any(|member| name.split('.').next() == Some(member.name));
        if self.0.keys().any(below_a_member) {
            return Err(unreadable());
        }
        Ok(request.to_string().into_bytes())
    }

    fn take_members(&mut self, prefix: &str, members: &[Member]) -> Result<Value, Error> {
        let mut taken = Map::new();
        for member in members {
            if let Some(value) = self.take(&format!("{prefix}{}", member.name), member.shape)? {
                taken.insert(member.name.to_owned(), value);
            }
        }
        Ok(Value::Object(taken))
    }

    fn take(&mut self, name: &str, shape: &Shape) -> Result<Option<Value>, Error> {
        match shape {
            Shape::List { of, .. } => self.take_list(name, of),
            Shape::Structure(members) if self.has_below(name) => {
                self.take_members(&format!("{name}."), members).map(Some)
            }
            Shape::Structure(_) => Ok(None),
            // No operation of STS has such a member.
            Shape::StringMap | Shape::Timestamp => Err(unreadable()),
            Shape::Integer { .. } => self.0.remove(name).map(|text| integer(&text)).transpose(),
            Shape::Boolean => self.0.remove(name).map(|text| boolean(&text)).transpose(),
            Shape::String { .. } | Shape::Token { .. } | Shape::Blob { .. } | Shape::Enum(_) => {
                Ok(self.0.remove(name).map(Value::String))
            }
        }
    }

    /// Elements are counted from 1 without a gap; an empty list is written as its name alone.
    fn take_list(&mut self, name: &str, of: &Shape) -> Result<Option<Value>, Error> {
        let empty = match self.0.remove(name).as_deref() {
            None => false,
            Some("") => true,
            Some(_) => return Err(unreadable()),
        };
        let mut elements = Vec::new();
        while let Some(element) = self.take(&format!("{name}.member.{}", elements.len() + 1), of)? {
            elements.push(element);
        }
        Ok((empty || !elements.is_empty()).then_some(Value::Array(elements)))
    }

    fn has_below(&self, name: &str) -> bool {
        let prefix = format!("{name}.");
        self.0.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }
}

/// `+` is a space, and what is behind a percent sign two hexadecimal digits.
fn decoded(text: &[u8]) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, others) = others.split_first_chunk::<2>().ok_or_else(unreadable)?;
                rest = others;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).map_err(|_| unreadable())?;
                byte[0]
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| unreadable())
}

fn integer(text: &str) -> Result<Value, Error> {
    text.parse::<i64>().map(Value::from).map_err(|_| unreadable())
}

fn boolean(text: &str) -> Result<Value, Error> {
    text.parse::<bool>().map(Value::from).map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::Serialization(shape::UNREADABLE.into())
}

const VERSION: &str = "2011-06-15";
const MAX_PARAMETERS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::shape::{optional, required};
    use crate::kms::sts::shapes;

    const MEMBERS: &[Member] = &[
        required("RoleArn", &shapes::ARN),
        optional("PolicyArns", &shapes::POLICY_DESCRIPTOR_LIST),
        optional("DurationSeconds", &shapes::ROLE_DURATION_SECONDS),
        optional("Tags", &shapes::TAG_LIST),
        optional("TransitiveTagKeys", &shapes::TAG_KEY_LIST),
    ];

    fn request(form: &str) -> Option<String> {
        let request = Form::parse(form.as_bytes()).ok()?.request(MEMBERS).ok()?;
        Some(String::from_utf8(request).unwrap())
    }

    #[test]
    fn becomes_the_request_in_json() {
        let form = "Action=AssumeRole&Version=2011-06-15&RoleArn=a%3Ab+%2B%c3%a9&DurationSeconds=900\
                    &Tags.member.2.Key=k2&Tags.member.2.Value=&Tags.member.1.Value=v1&Tags.member.1.Key=k1\
                    &PolicyArns.member.1.arn=p&TransitiveTagKeys.member.1=k1&TransitiveTagKeys.member.2=k2&Other=x&&";
        assert_eq!(
            request(form).unwrap(),
            r#"{"DurationSeconds":900,"PolicyArns":[{"arn":"p"}],"RoleArn":"a:b +é","Tags":[{"Key":"k1","Value":"v1"},{"Key":"k2","Value":""}],"TransitiveTagKeys":["k1","k2"]}"#
        );
        assert_eq!(request("Tags=&PolicyArns=").unwrap(), r#"{"PolicyArns":[],"Tags":[]}"#);
        assert_eq!(request("").unwrap(), "{}");
    }

    #[test]
    fn nothing_below_a_member_is_passed_over() {
        for bad in [
            "RoleArn=a&RoleArn=a",
            "RoleArn=a&RoleArn=b",
            "Role%41rn=a&RoleArn=b",
            "RoleArn=%",
            "RoleArn=%4",
            "RoleArn=%zz",
            "RoleArn=%ff",
            "RoleArn.member.1=a",
            "DurationSeconds=",
            "DurationSeconds=1e3",
            "DurationSeconds=99999999999999999999",
            "Tags=x",
            "Tags.member.2.Key=k",
            "Tags.member.0.Key=k",
            "Tags.member.01.Key=k",
            "Tags.1.Key=k",
            "Tags.member.1=k",
            "Tags.member.1.Key.x=k",
            "Tags.member.1.Key=k&Tags.member.3.Key=k",
            "Tags.member.1.Key=k&Tags.member.1.Nonsense=x",
            "TransitiveTagKeys.member.1.x=k",
            "PolicyArns.member.1=arn",
        ] {
            assert_eq!(request(bad), None, "{bad}");
        }
    }

    #[test]
    fn is_bounded() {
        let form = |count: usize| (0..count).map(|number| format!("&p{number}=x")).collect::<String>();
        assert!(Form::parse(form(MAX_PARAMETERS).as_bytes()).is_ok());
        assert!(Form::parse(form(MAX_PARAMETERS + 1).as_bytes()).is_err());
    }

    #[test]
    fn an_action_is_of_one_version() {
        let action = |form: &str| Form::parse(form.as_bytes()).unwrap().action().map(str::to_owned);
        assert_eq!(action("Version=2011-06-15&Action=GetSessionToken").as_deref(), Some("GetSessionToken"));
        assert_eq!(action("Version=2011-06-14&Action=GetSessionToken"), None);
        assert_eq!(action("Action=GetSessionToken"), None);
        assert_eq!(action("Version=2011-06-15"), None);
    }
}
