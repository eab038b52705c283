//! The two texts that a signature is made over: the canonical request and the string to sign.
//!
//! Source: IAM User Guide, "Signature Version 4 for API requests", steps 1 to 3, for services other than S3: the path is
//! normalised and encoded once more than it was sent.

use super::Request;
use super::authorization::ALGORITHM;
use crate::crypto;

/// The canonical request: method, path, query, signed headers with their values, their names, hash of the body.
///
/// `signed_headers` are lower-case and sorted. A header sent several times gives its values joined by commas, one that is
/// absent gives an empty value; whoever minds looks before.
pub fn canonical_request(request: &Request<'_>, signed_headers: &[String], body_hash: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(request.method.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path(request.path).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(query(request.query.unwrap_or("")).as_bytes());
    text.push(b'\n');
    for name in signed_headers {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        values(request, name, &mut text);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.join(";").as_bytes());
    text.push(b'\n');
    text.extend_from_slice(body_hash.as_bytes());
    text
}

/// The string to sign: algorithm, time (`YYYYMMDDTHHMMSSZ`), `scope` (`date/region/service/aws4_request`), hash of the
/// canonical request.
pub fn string_to_sign(date_time: &str, scope: &str, canonical_request: &[u8]) -> String {
    format!("{ALGORITHM}\n{date_time}\n{scope}\n{}", crypto::hex(&crypto::sha256(&[canonical_request])))
}

fn values(request: &Request<'_>, name: &str, text: &mut Vec<u8>) {
    let mut found = false;
    for value in request.headers.get_all(name) {
        if found {
            text.push(b',');
        }
        collapsed(value.as_bytes(), text);
        found = true;
    }
    if let (false, "host", Some(authority)) = (found, name, request.authority) {
        collapsed(authority.as_bytes(), text);
    }
}

/// Without white space around it, and with every run of spaces in it as one.
fn collapsed(value: &[u8], text: &mut Vec<u8>) {
    let mut space = false;
    for &byte in value.trim_ascii() {
        if !(space && byte == b' ') {
            text.push(byte);
        }
        space = byte == b' ';
    }
}

/// Dot segments and doubled slashes removed (RFC 3986 §5.2.4), every segment percent-encoded.
fn path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) && !segments.is_empty();
    let encoded: String = segments.iter().flat_map(|segment| ["/".to_owned(), encoded(segment.as_bytes())]).collect();
    if folder || segments.is_empty() { encoded + "/" } else { encoded }
}

/// The parameters, each name and value encoded in one way, sorted as encoded.
fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(&decoded(name)), encoded(&decoded(value))))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encoded but for the unreserved characters of RFC 3986 §2.3, with upper-case digits.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Percent-decoded; a percent sign without two hexadecimal digits behind it stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, others)) = rest.split_first() {
        let escaped = others.get(..2).filter(|_| first == b'%').and_then(|digits| hex::decode(digits).ok());
        rest = if escaped.is_some() { &others[2..] } else { others };
        bytes.push(escaped.map_or(first, |escaped| escaped[0]));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapses_spaces() {
        for (value, expected) in [("", ""), ("  ", ""), (" a  b \t", "a b"), ("a\t b", "a\t b"), ("a   b  c", "a b c")]
        {
            let mut text = Vec::new();
            collapsed(value.as_bytes(), &mut text);
            assert_eq!(text, expected.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn normalises_paths() {
        for (sent, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/..", "/a/"),
            ("/..", "/"),
            ("/%2F", "/%252F"),
            ("/a/b", "/a/b"),
        ] {
            assert_eq!(path(sent), canonical, "{sent:?}");
        }
    }

    #[test]
    fn encodes_queries_in_one_way() {
        assert_eq!(query("b=2&a=%7e%2f&a=%2&&c"), "a=%252&a=~%2F&b=2&c=");
    }
}
