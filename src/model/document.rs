//! A JSON document as it came, borrowed from the request's bytes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// One JSON value. Texts without escapes point into the body, so that a plaintext is not copied here.
#[derive(Debug, Clone, PartialEq)]
pub enum Document<'a> {
    /// `null`, which counts as absent.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A number that is not an integer of 64 bits.
    Number(f64),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    List(Vec<Document<'a>>),
    /// An object, without duplicate names.
    Map(Vec<(Cow<'a, str>, Document<'a>)>),
}

impl<'a> Document<'a> {
    /// Reads a whole body: one object, no name twice, nothing after it. An empty body is an empty object.
    pub fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        if body.is_empty() {
            return Ok(Document::Map(Vec::new()));
        }
        match serde_json::from_slice(body)? {
            map @ Document::Map(_) => Ok(map),
            other => Err(serde_json::Error::custom(format!("{} is not an object", other.kind()))),
        }
    }

    /// The member of this object with this name; `null` and absent are both `None`.
    pub fn member(&self, name: &str) -> Option<&Document<'a>> {
        let Document::Map(members) = self else { return None };
        members.iter().find(|(key, value)| key == name && *value != Document::Null).map(|(_, value)| value)
    }

    /// The word that AWS uses for this kind of value.
    pub fn kind(&self) -> &'static str {
        match self {
            Document::Null => "NULL_VALUE",
            Document::Boolean(true) => "TRUE_VALUE",
            Document::Boolean(false) => "FALSE_VALUE",
            Document::Integer(_) => "NUMBER_VALUE",
            Document::Number(_) => "DECIMAL_VALUE",
            Document::String(_) => "STRING_VALUE",
            Document::List(_) => "Start of list",
            Document::Map(_) => "Start of structure or map",
        }
    }
}

/// The names of an object stay in their order.
impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Null => serializer.serialize_unit(),
            Document::Boolean(value) => serializer.serialize_bool(*value),
            Document::Integer(value) => serializer.serialize_i64(*value),
            Document::Number(value) => serializer.serialize_f64(*value),
            Document::String(text) => serializer.serialize_str(text),
            Document::List(elements) => serializer.collect_seq(elements),
            Document::Map(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Document<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(std::marker::PhantomData))
    }
}

struct Reader<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
    type Value = Document<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Document::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Document::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Document::Number(value as f64), Document::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Document::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Document::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Document::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Document::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'a, str>, Document<'a>)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((Name(name), value)) = entries.next_entry::<Name<'a>, _>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("an object has the same name twice"));
            }
            members.push((name, value));
        }
        Ok(Document::Map(members))
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_name_twice_and_what_is_no_object() {
        assert!(Document::parse(br#"{"a":1,"a":2}"#).is_err());
        assert!(Document::parse(br#"{"a":{"b":1,"b":1}}"#).is_err());
        assert!(Document::parse(b"[]").is_err());
        assert!(Document::parse(b"{} x").is_err());
        assert_eq!(Document::parse(b"").unwrap(), Document::Map(Vec::new()));
    }

    #[test]
    fn is_written_as_it_was_read() {
        let text = r#"{"b":[1,-2,0.5,true,null,"ä \"x\""],"a":{}}"#;
        assert_eq!(serde_json::to_string(&Document::parse(text.as_bytes()).unwrap()).unwrap(), text);
    }

    #[test]
    fn null_counts_as_absent() {
        let document = Document::parse(br#"{"KeyId":null,"Limit":3}"#).unwrap();
        assert_eq!(document.member("KeyId"), None);
        assert_eq!(document.member("Limit"), Some(&Document::Integer(3)));
    }
}
