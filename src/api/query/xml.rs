//! JSON of an answer as XML.

use crate::model::Document;

/// The members of a JSON object as elements, in their order; nothing if it is none.
pub fn structure(json: &[u8]) -> String {
    let mut text = String::new();
    if let Ok(document) = Document::parse(json) {
        write(&document, &mut text);
    }
    text
}

/// A text as the content of an element. What XML 1.0 cannot have becomes a replacement character.
///
/// Source: <https://www.w3.org/TR/xml/#charsets>
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // A parser would read a bare one as a line feed.
            '\r' => escaped.push_str("&#xD;"),
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => escaped.push(letter),
            _ => escaped.push('\u{fffd}'),
        }
    }
    escaped
}

fn write(value: &Document<'_>, text: &mut String) {
    match value {
        Document::Null => {}
        Document::Boolean(value) => text.push_str(&value.to_string()),
        Document::Integer(value) => text.push_str(&value.to_string()),
        Document::Number(value) => text.push_str(&value.to_string()),
        Document::String(value) => text.push_str(&escaped(value)),
        Document::List(elements) => elements.iter().for_each(|element| write_element("member", element, text)),
        Document::Map(members) => members.iter().for_each(|(name, value)| write_element(name, value, text)),
    }
}

/// The names are those of our own answers.
fn write_element(name: &str, value: &Document<'_>, text: &mut String) {
    text.push_str(&format!("<{name}>"));
    write(value, text);
    text.push_str(&format!("</{name}>"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_and_lists_nest() {
        let json = br#"{"B":{"C":"<&\">"},"A":[1,{"D":true},null],"E":[]}"#;
        let expected = "<B><C>&lt;&amp;&quot;&gt;</C></B><A><member>1</member><member><D>true</D></member>\
                        <member></member></A><E></E>";
        assert_eq!(structure(json), expected);
        assert_eq!(structure(b"[]"), "");
    }

    #[test]
    fn what_xml_cannot_have_is_replaced() {
        assert_eq!(
            escaped("a\u{0}\u{1b}\r\n\t\u{fffe}\u{ffff}\u{1f600}z"),
            "a\u{fffd}\u{fffd}&#xD;\n\t\u{fffd}\u{fffd}\u{1f600}z"
        );
    }
}
