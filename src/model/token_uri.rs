//! A token named by a PKCS #11 URI.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `pkcs11:token=…;serial=…;manufacturer=…;model=…`: every attribute that is given must be the token's own.
///
/// At least one attribute, each at most once, percent-encoded, of at most as many bytes as `CK_TOKEN_INFO` has room for.
/// Attributes that name no token, queries and vendors' attributes are refused: nothing that was written there is ignored.
///
/// Source: RFC 7512 §2.3; PKCS#11 v3.0 §3.2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenUri {
    /// The label.
    pub token: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// The model.
    pub model: Option<String>,
}

/// Why a text names no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenUri {
    /// It begins otherwise, or has no attribute.
    #[error("it is not of the form pkcs11:token=my%20token;serial=0123")]
    Form,
    /// An attribute that names no token.
    #[error("`{0}` is none of token, serial, manufacturer and model, which name a token")]
    Unknown(String),
    /// An attribute is given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// A character that must be percent-encoded, a broken encoding, or bytes that are not UTF-8.
    #[error("the value of `{0}` is not percent-encoded UTF-8: a blank is %20, for example")]
    Encoding(String),
    /// No token has so long a text there.
    #[error("the value of `{name}` is empty or longer than {max} bytes")]
    Length {
        /// The attribute.
        name: String,
        /// Bytes that there is room for.
        max: usize,
    },
}

impl FromStr for TokenUri {
    type Err = InvalidTokenUri;

    fn from_str(text: &str) -> Result<Self, InvalidTokenUri> {
        let (scheme, path) = text.split_once(':').ok_or(InvalidTokenUri::Form)?;
        if !scheme.eq_ignore_ascii_case("pkcs11") || path.is_empty() {
            return Err(InvalidTokenUri::Form);
        }
        let mut uri = TokenUri::default();
        let mut seen = HashSet::new();
        for attribute in path.split(';') {
            let (name, value) = attribute.split_once('=').ok_or(InvalidTokenUri::Form)?;
            let (_, max) = *ATTRIBUTES.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(name))?;
            if !seen.insert(name) {
                return Err(InvalidTokenUri::Twice(name.to_owned()));
            }
            let value = decoded(value).ok_or_else(|| InvalidTokenUri::Encoding(name.to_owned()))?;
            if value.is_empty() || value.len() > max {
                return Err(InvalidTokenUri::Length { name: name.to_owned(), max });
            }
            *uri.attribute(name) = Some(value);
        }
        Ok(uri)
    }
}

impl TokenUri {
    /// Whether a token with these texts is the one that is meant, or one of those.
    pub fn fits(&self, token: &str, serial: &str, manufacturer: &str, model: &str) -> bool {
        let TokenUri { token: wanted_token, serial: wanted_serial, manufacturer: maker, model: wanted_model } = self;
        [(wanted_token, token), (wanted_serial, serial), (maker, manufacturer), (wanted_model, model)]
            .into_iter()
            .all(|(wanted, told)| wanted.as_ref().is_none_or(|wanted| wanted == told))
    }

    fn attribute(&mut self, name: &str) -> &mut Option<String> {
        match name {
            "token" => &mut self.token,
            "serial" => &mut self.serial,
            "manufacturer" => &mut self.manufacturer,
            _ => &mut self.model,
        }
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [&self.token, &self.serial, &self.manufacturer, &self.model];
        let given = ATTRIBUTES.iter().zip(all).filter_map(|((name, _), value)| Some((name, value.as_ref()?)));
        let attributes: Vec<String> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        write!(f, "pkcs11:{}", attributes.join(";"))
    }
}

impl TryFrom<String> for TokenUri {
    type Error = InvalidTokenUri;

    fn try_from(text: String) -> Result<Self, InvalidTokenUri> {
        text.parse()
    }
}

impl From<TokenUri> for String {
    fn from(uri: TokenUri) -> String {
        uri.to_string()
    }
}

fn unknown(name: &str) -> InvalidTokenUri {
    InvalidTokenUri::Unknown(name.escape_debug().to_string())
}

/// The text behind percent-encoding; `None` if it is none.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'%' => {
                let (digits, tail) = tail.split_at_checked(2)?;
                bytes.extend(hex::decode(digits).ok()?);
                tail
            }
            plain if is_plain(*plain) => {
                bytes.push(*plain);
                tail
            }
            _ => return None,
        };
    }
    String::from_utf8(bytes).ok()
}

fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What stands for itself in a path's value: `pk11-pchar`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=&".contains(&byte)
}

/// Each attribute, and the bytes that `CK_TOKEN_INFO` has for it.
const ATTRIBUTES: [(&str, usize); 4] = [("token", 32), ("serial", 16), ("manufacturer", 32), ("model", 16)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_decoded_and_must_all_fit() {
        let uri: TokenUri =
            "pkcs11:token=My%20token;serial=0123;manufacturer=Snake%20Oil%2C%20Inc.;model=1.0".parse().unwrap();
        assert_eq!(uri.token.as_deref(), Some("My token"));
        assert!(uri.fits("My token", "0123", "Snake Oil, Inc.", "1.0"));
        assert!(!uri.fits("My token", "0124", "Snake Oil, Inc.", "1.0"));
        let uri: TokenUri = "PKCS11:serial=01".parse().unwrap();
        assert!(uri.fits("any", "01", "", "") && !uri.fits("any", "", "", ""));
        let uri: TokenUri = "pkcs11:token=%e2%82%acuro".parse().unwrap();
        assert_eq!((uri.token.as_deref(), uri.to_string()), (Some("€uro"), "pkcs11:token=%E2%82%ACuro".to_owned()));
    }

    #[test]
    fn nothing_is_ignored() {
        use InvalidTokenUri::*;
        let told = |text: &str| text.parse::<TokenUri>().unwrap_err();
        for text in
            ["", "pkcs11", "pkcs11:", "token=x", "pkcs12:token=x", "pkcs11:token", "pkcs11:token=x;", "pkcs11:;"]
        {
            assert_eq!(told(text), Form, "{text}");
        }
        for (text, name) in [
            ("pkcs11:object=key", "object"),
            ("pkcs11:token=x;slot-id=1", "slot-id"),
            ("pkcs11:library-manufacturer=x", "library-manufacturer"),
            ("pkcs11:x-vendor=1", "x-vendor"),
            ("pkcs11:TOKEN=x", "TOKEN"),
        ] {
            assert_eq!(told(text), Unknown(name.to_owned()), "{text}");
        }
        assert_eq!(told("pkcs11:token=x;token=x"), Twice("token".to_owned()));
        for value in ["a b", "%", "%2", "%zz", "%ff", "x?pin-source=/etc/pin", "x/y", "é", "%+1"] {
            assert_eq!(told(&format!("pkcs11:token={value}")), Encoding("token".to_owned()), "{value}");
        }
        for (text, name, max) in
            [("pkcs11:serial=12345678901234567", "serial", 16), ("pkcs11:token=x;model=", "model", 16)]
        {
            assert_eq!(told(text), Length { name: name.to_owned(), max });
        }
    }

    prop_compose! {
        fn any_uri()(token in "\\PC{1,8}", serial in "[ -~]{1,16}", maker in "\\PC{1,8}", which in 1_u8..16) -> TokenUri {
            let given = |bit: u8, text: &String| (which & bit != 0).then(|| text.clone());
            TokenUri {
                token: given(1, &token),
                serial: given(2, &serial),
                manufacturer: given(4, &maker),
                model: given(8, &serial),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(uri in any_uri()) {
            prop_assert_eq!(uri.to_string().parse::<TokenUri>(), Ok(uri));
        }

        #[test]
        fn any_text_is_refused_or_means_what_it_says(text in "(pkcs11:)?[a-z=;%0-9A-F?é -]{0,40}") {
            if let Ok(uri) = text.parse::<TokenUri>() {
                prop_assert_eq!(uri.to_string().parse::<TokenUri>(), Ok(uri.clone()));
                prop_assert!(uri != TokenUri::default());
            }
        }
    }
}
