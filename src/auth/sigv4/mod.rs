//! Verification of AWS Signature Version 4 over the parts of a request: no store, no clock, no await.
//!
//! [`read`] checks everything but the signature and says who claims to have sent the request; whoever knows that access
//! key's secret then asks [`Claim::verify`]. A claim holds the text to be signed, made from the very bytes that were
//! read, so it cannot be verified against another request.
//!
//! There is no nonce in Signature Version 4: a captured request can be sent again inside the window.
//!
//! Source: IAM User Guide, "AWS Signature Version 4 for API requests".

mod authorization;
mod canonical;
mod error;
mod signing_key;

use std::time::Duration;

use axum::http::HeaderMap;

pub use authorization::Authorization;
pub use canonical::{canonical_request, string_to_sign};
pub use error::{Error, Kind};
pub use signing_key::{SigningKey, SigningKeys};

use self::authorization::TERMINATOR;
use super::session;
use crate::crypto;
use crate::model::{Region, Secret, Timestamp};

/// The parts of a request that a signature covers, as they were read.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, upper-case.
    pub method: &'a str,
    /// The path as sent, not decoded.
    pub path: &'a str,
    /// The query as sent, without its question mark.
    pub query: Option<&'a str>,
    /// HTTP/2's `:authority`, which stands for the Host header where there is none.
    pub authority: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// What a door lets in.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The services a scope may name; the first is named in the error for others.
    pub services: &'a [&'a str],
    /// Which paths are served.
    pub paths: Paths,
    /// How far `x-amz-date` may be from now, in whole minutes, to either side.
    pub max_skew: Duration,
}

/// Which paths a door serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Only `/`, as KMS and STS.
    Root,
    /// Any, as an XKS proxy, whose router knows its paths.
    Any,
}

/// Who says to have signed a request: the door's rules hold, the signature is not yet verified.
#[derive(Debug)]
pub struct Claim {
    /// The access key id, 1 to 128 letters, digits and underscores.
    pub access_key_id: String,
    /// The session token that came with it, 1 to [`session::MAX_LEN`] bytes; of temporary credentials.
    pub session_token: Option<Secret>,
    /// The scope's day, `YYYYMMDD`; that of `x-amz-date`.
    pub date: String,
    /// The scope's region: a well-formed name. Whether it is served, the caller says ([`Error::InvalidRegion`]).
    pub region: Region,
    /// The scope's service, one of the door's. Whether it is the operation's, the caller says ([`Error::WrongService`]).
    pub service: String,
    /// When the request says that it was signed.
    pub signed_at: Timestamp,
    string_to_sign: String,
    signature: Secret,
}

/// Checks a request against the door's rules and says who claims to have signed it. Hashes the body, and looks up
/// nothing.
pub fn read(request: &Request<'_>, now: Timestamp, door: &Door<'_>) -> Result<Claim, Error> {
    check_shape(request, door.paths)?;
    let authorization = Authorization::parse(only_authorization(request.headers)?)?;
    let (date_time, signed_at) = read_date(request.headers)?;
    let region = check_scope(&authorization, &date_time, door)?;
    check_signed_headers(request, &authorization.signed_headers)?;
    check_window(&date_time, signed_at, now, door.max_skew)?;
    let session_token = read_session_token(request.headers)?;
    let body_hash = crypto::hex(&crypto::sha256(&[request.body]));
    check_payload(request.headers, &body_hash)?;
    let canonical = canonical_request(request, &authorization.signed_headers, &body_hash);
    let Authorization { access_key_id, date, service, signature, region: _, signed_headers: _ } = authorization;
    let scope = format!("{date}/{region}/{service}/{TERMINATOR}");
    let string_to_sign = string_to_sign(&date_time, &scope, &canonical);
    Ok(Claim { access_key_id, session_token, date, region, service, signed_at, string_to_sign, signature })
}

impl Claim {
    /// Whether the request was signed with `secret`; a key that verifies is kept in `keys`.
    ///
    /// Takes constant time in the signature. Fails with [`Error::SignatureMismatch`] only.
    pub fn verify(&self, secret: &Secret, keys: &SigningKeys) -> Result<(), Error> {
        let credential = format!("{}/{}/{}/{}", self.access_key_id, self.date, self.region, self.service);
        if let Some(key) = keys.find(&credential, secret) {
            return self.check(&key);
        }
        let key = SigningKey::derive(secret, &self.date, self.region.as_str(), &self.service);
        self.check(&key)?;
        keys.keep(&credential, secret, key);
        Ok(())
    }

    /// The error for an access key or a session token that nobody has, after the work that a wrong secret would have
    /// cost.
    pub fn unknown_access_key(&self) -> Error {
        let dummy = Secret::new(b"no one signs with this secret; it costs time".to_vec());
        // Never kept, as a wrong secret's key is not; the result is not looked at, whatever it is.
        let _ = self.verify(&dummy, &SigningKeys::default());
        Error::UnknownAccessKey
    }

    fn check(&self, key: &SigningKey) -> Result<(), Error> {
        let expected = key.sign(&self.string_to_sign);
        if crypto::equal(expected.as_bytes(), self.signature.expose()) { Ok(()) } else { Err(Error::SignatureMismatch) }
    }
}

fn check_shape(request: &Request<'_>, paths: Paths) -> Result<(), Error> {
    let query = request.query.unwrap_or("");
    let is_presigned =
        |pair: &str| PRESIGNED.iter().any(|name| pair.split('=').next().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    if query.split('&').any(is_presigned) {
        return Err(Error::Presigned);
    }
    let served = request.method == "POST" && query.is_empty() && (paths == Paths::Any || request.path == "/");
    if served { Ok(()) } else { Err(Error::NotServed) }
}

fn only_authorization(headers: &HeaderMap) -> Result<&[u8], Error> {
    let mut values = headers.get_all("authorization").iter();
    let first = values.next().ok_or(Error::MissingAuthenticationToken)?;
    if values.next().is_some() { Err(Error::SeveralAuthorizations) } else { Ok(first.as_bytes()) }
}

/// `x-amz-date` as sent and as an instant.
fn read_date(headers: &HeaderMap) -> Result<(String, Timestamp), Error> {
    let mut values = headers.get_all(DATE).iter();
    let text = values.next().ok_or(Error::MissingDate)?.to_str().map_err(|_| Error::MalformedDate)?;
    if values.next().is_some() {
        return Err(Error::RepeatedHeader(DATE.to_owned()));
    }
    let instant = parse_basic(text).ok_or(Error::MalformedDate)?;
    Ok((text.to_owned(), instant))
}

/// `x-amz-security-token`, which is signed and there once, as all that is signed.
fn read_session_token(headers: &HeaderMap) -> Result<Option<Secret>, Error> {
    let Some(token) = headers.get(SECURITY_TOKEN) else { return Ok(None) };
    match token.len() {
        1..=session::MAX_LEN => Ok(Some(Secret::new(token.as_bytes().to_vec()))),
        _ => Err(Error::SecurityToken),
    }
}

fn check_scope(authorization: &Authorization, date_time: &str, door: &Door<'_>) -> Result<Region, Error> {
    let date = &date_time[..8]; // `read_date` made sure of sixteen ASCII characters.
    if authorization.date != date {
        let (scope, date, date_time) = (authorization.date.clone(), date.to_owned(), date_time.to_owned());
        return Err(Error::ScopeDate { scope, date, date_time });
    }
    if !door.services.contains(&authorization.service.as_str()) {
        let expected = door.services.first().copied().unwrap_or_default().to_owned();
        return Err(Error::WrongService { expected });
    }
    authorization.region.parse().map_err(|_| Error::InvalidRegion)
}

/// What must be signed is, and what is signed is there exactly once.
fn check_signed_headers(request: &Request<'_>, signed: &[String]) -> Result<(), Error> {
    let is_signed = |name: &str| signed.iter().any(|signed| signed == name);
    if !is_signed("host") {
        return Err(Error::HostNotSigned);
    }
    for name in request.headers.keys().map(|name| name.as_str()) {
        if (name.starts_with("x-amz-") || name == "content-type") && !is_signed(name) {
            return Err(Error::NotSigned(name.to_owned()));
        }
    }
    for name in signed {
        let stands_in = usize::from(name == "host" && request.authority.is_some());
        match request.headers.get_all(name).iter().count() {
            0 if stands_in == 0 => return Err(Error::SignedHeaderAbsent(name.clone())),
            0 | 1 => {}
            _ => return Err(Error::RepeatedHeader(name.clone())),
        }
    }
    Ok(())
}

/// Counts in whole seconds, as `x-amz-date` does: exactly `max_skew` to either side is accepted.
fn check_window(date_time: &str, signed_at: Timestamp, now: Timestamp, max_skew: Duration) -> Result<(), Error> {
    let now = Timestamp::from_millis(now.as_millis().div_euclid(1000).saturating_mul(1000));
    let (signed, minutes) = (date_time.to_owned(), max_skew.as_secs() / 60);
    if now.since(signed_at) > max_skew {
        let earliest = now.as_millis().saturating_sub(i64::try_from(max_skew.as_millis()).unwrap_or(i64::MAX));
        let bound = basic(Timestamp::from_millis(earliest));
        return Err(Error::Expired { signed, bound, now: basic(now), minutes });
    }
    if signed_at.since(now) > max_skew {
        return Err(Error::NotYetCurrent { signed, bound: basic(now.plus(max_skew)), now: basic(now), minutes });
    }
    Ok(())
}

/// The signature covers the whole body or the request is refused.
fn check_payload(headers: &HeaderMap, body_hash: &str) -> Result<(), Error> {
    let chunked = |value: &[u8]| {
        value.split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked"))
    };
    if headers.get_all("content-encoding").iter().any(|value| chunked(value.as_bytes())) {
        return Err(Error::Chunked);
    }
    match headers.get(CONTENT_SHA256) {
        Some(claimed) if claimed.as_bytes() != body_hash.as_bytes() => Err(Error::ContentHash),
        _ => Ok(()),
    }
}

/// Reads `YYYYMMDDTHHMMSSZ`; only what [`basic`] would write in the same way is taken.
fn parse_basic(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime(BASIC, text).ok()?;
    let instant = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
    let instant = Timestamp::from_millis(instant.as_second() * 1000);
    (basic(instant) == text).then_some(instant)
}

fn basic(instant: Timestamp) -> String {
    match jiff::Timestamp::from_second(instant.as_millis().div_euclid(1000)) {
        Ok(instant) => instant.strftime(BASIC).to_string(),
        Err(_) => instant.to_string(),
    }
}

/// ISO 8601's basic format, as `strftime` has it.
const BASIC: &str = "%Y%m%dT%H%M%SZ";
const DATE: &str = "x-amz-date";
const SECURITY_TOKEN: &str = "x-amz-security-token";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const PRESIGNED: [&str; 4] = ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-SignedHeaders"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_strictly() {
        let instant = parse_basic("20261122T001500Z").unwrap();
        assert_eq!(instant.to_string(), "2026-11-22T00:15:00Z");
        assert_eq!(basic(instant), "20261122T001500Z");
        for bad in [
            "",
            "20261122T001500",
            "20261122T001500z",
            "20261122T001500Z ",
            " 20261122T001500Z",
            "20261122T001560Z",
            "20261322T001500Z",
            "20260230T001500Z",
            "2026-11-22T00:15:00Z",
            "+2026112T001500Z",
            "20261122T0 1500Z",
            "Sun, 22 Nov 2026 00:15:00 GMT",
        ] {
            assert!(parse_basic(bad).is_none(), "{bad:?}");
        }
    }
}
