//! The Authorization header, read strictly: whatever two readers could take differently is refused.

use super::Error;
use crate::model::Secret;

/// The Authorization header of one request, well-formed and not yet believed.
#[derive(Debug)]
pub struct Authorization {
    /// Who says to have signed: 1 to 128 letters, digits and underscores.
    pub access_key_id: String,
    /// The scope's day, eight digits.
    pub date: String,
    /// The scope's region, as sent.
    pub region: String,
    /// The scope's service, as sent.
    pub service: String,
    /// Lower-case header names, sorted, each once.
    pub signed_headers: Vec<String>,
    /// The signature as sent, at most 16 KiB; compare it in constant time.
    pub signature: Secret,
}

impl Authorization {
    /// Reads the header's value; the first rule broken is the error.
    ///
    /// Source: IAM User Guide, "Signature Version 4 for API requests", step 5.
    pub fn parse(value: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(value).map_err(|_| Error::MalformedAuthorization)?;
        let (algorithm, parameters) = text.split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(Error::UnsupportedAlgorithm);
        }
        let [credential, signed_headers, signature] = read_parameters(parameters)?;
        let [access_key_id, date, region, service] = read_credential(credential)?;
        Ok(Authorization {
            access_key_id,
            date,
            region,
            service,
            signed_headers: read_signed_headers(signed_headers)?,
            signature: Secret::new(signature.as_bytes().to_vec()),
        })
    }
}

/// The values of [`PARAMETERS`] in their order, whatever order they were sent in.
fn read_parameters(text: &str) -> Result<[&str; 3], Error> {
    let mut values = [None; 3];
    for pair in text.split(',').map(|pair| pair.trim_matches(' ')).filter(|_| !text.trim_matches(' ').is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(Error::MalformedAuthorization)?;
        let index = PARAMETERS.iter().position(|known| *known == name).ok_or(Error::MalformedAuthorization)?;
        if values[index].replace(value).is_some() {
            return Err(Error::RepeatedParameter(PARAMETERS[index]));
        }
    }
    match values {
        [Some(credential), Some(signed_headers), Some(signature)] => Ok([credential, signed_headers, signature]),
        _ => Err(Error::MissingParameters(absent(values))),
    }
}

fn absent(values: [Option<&str>; 3]) -> Vec<&'static str> {
    PARAMETERS.into_iter().zip(values).filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect()
}

fn read_credential(text: &str) -> Result<[String; 4], Error> {
    let parts: Vec<&str> = text.split('/').collect();
    let [access_key_id, date, region, service, terminator] = parts[..] else {
        return Err(Error::MalformedCredential);
    };
    if terminator != TERMINATOR {
        return Err(Error::WrongTerminator);
    }
    if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::MalformedCredential);
    }
    if !is_access_key_id(access_key_id) {
        return Err(Error::UnknownAccessKey);
    }
    Ok([access_key_id, date, region, service].map(str::to_owned))
}

/// What IAM's model allows (`accessKeyIdType`, `[\w]+`, at most 128), without its lower limit of 16.
fn is_access_key_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn read_signed_headers(text: &str) -> Result<Vec<String>, Error> {
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    if names.iter().all(|name| is_lower_case_name(name)) && names.is_sorted_by(|one, next| one < next) {
        Ok(names)
    } else {
        Err(Error::MalformedSignedHeaders)
    }
}

/// A `token` of RFC 9110 §5.6.2 without upper-case letters.
fn is_lower_case_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The one algorithm that is spoken here.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The end of every credential scope.
pub(super) const TERMINATOR: &str = "aws4_request";
const PARAMETERS: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CREDENTIAL: &str = "Credential=AKID/20261122/us-east-1/kms/aws4_request";

    fn refusal(text: &str) -> Error {
        Authorization::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn reads_its_three_parameters_in_any_order() {
        for text in [
            format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature=ab"),
            format!("AWS4-HMAC-SHA256  Signature=ab,SignedHeaders=host;x-amz-date  ,{CREDENTIAL}"),
        ] {
            let read = Authorization::parse(text.as_bytes()).unwrap();
            assert_eq!((read.access_key_id.as_str(), read.date.as_str()), ("AKID", "20261122"));
            assert_eq!((read.region.as_str(), read.service.as_str()), ("us-east-1", "kms"));
            assert_eq!(read.signed_headers, ["host", "x-amz-date"]);
            assert_eq!(read.signature.expose(), b"ab");
            assert!(!format!("{read:?}").contains("\"ab\""));
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let header = |rest: &str| refusal(&format!("AWS4-HMAC-SHA256 {rest}"));
        for other in ["", " ", "Basic abc", "AWS4-HMAC-SHA512 Credential=", "aws4-hmac-sha256 x", "AWS4-HMAC-SHA256,"] {
            assert_eq!(refusal(other), Error::UnsupportedAlgorithm, "{other}");
        }
        assert_eq!(header(""), Error::MissingParameters(vec!["Credential", "SignedHeaders", "Signature"]));
        assert_eq!(refusal("AWS4-HMAC-SHA256"), header(""));
        assert_eq!(header("SignedHeaders=host"), Error::MissingParameters(vec!["Credential", "Signature"]));
        for junk in ["x", ",", "Signature=a,", "Other=1", "credential=a", "Signature = a", "Signature"] {
            assert_eq!(header(junk), Error::MalformedAuthorization, "{junk}");
        }
        assert_eq!(header("Signature=a, Signature=a"), Error::RepeatedParameter("Signature"));
        assert_eq!(Authorization::parse(b"AWS4-HMAC-SHA256 \xff").unwrap_err(), Error::MalformedAuthorization);
    }

    #[test]
    fn a_credential_has_five_parts() {
        let credential =
            |text: &str| refusal(&format!("AWS4-HMAC-SHA256 Credential={text}, SignedHeaders=host, Signature=a"));
        for text in ["", "a", "a/20261122/r/kms", "a/20261122/r/kms/aws4_request/", "a/2026112/r/s/aws4_request"] {
            assert_eq!(credential(text), Error::MalformedCredential, "{text}");
        }
        assert_eq!(credential("a/2026112x/r/s/aws4_request"), Error::MalformedCredential);
        assert_eq!(credential("a/20261122/r/s/aws5_request"), Error::WrongTerminator);
        assert_eq!(credential("/20261122/r/s/aws4_request"), Error::UnknownAccessKey);
        assert_eq!(credential("a b/20261122/r/s/aws4_request"), Error::UnknownAccessKey);
    }

    #[test]
    fn signed_headers_are_a_sorted_set_of_lower_case_names() {
        for names in ["", "host;", ";host", "Host", "x;host", "host;host", "a:b", "a b", "hÖst", "host; x-amz-date"] {
            let error = refusal(&format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders={names}, Signature=a"));
            assert_eq!(error, Error::MalformedSignedHeaders, "{names}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Authorization::parse(&bytes);
        }

        #[test]
        fn what_is_read_was_there(text in "AWS4-HMAC-SHA256 ((Credential|Signature|SignedHeaders|x)=[a/0-9;=]{0,9}(aws4_request)?,? ?){0,4}") {
            if let Ok(read) = Authorization::parse(text.as_bytes()) {
                prop_assert!(text.contains(&read.signed_headers.join(";")));
                let scope = format!("{}/{}/{}/{}/aws4_request", read.access_key_id, read.date, read.region, read.service);
                prop_assert!(text.contains(&scope));
            }
        }
    }
}
