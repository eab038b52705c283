//! Signature Version 4: the published vectors, requests signed by AWS's own signer, and what becomes of them when one
//! thing is changed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hsm_kms::auth::sigv4::{
    Authorization, Claim, Door, Error, Kind, Paths, Request, SigningKey, SigningKeys, canonical_request, read,
    string_to_sign,
};
use hsm_kms::model::{Secret, Timestamp};
use proptest::prelude::*;

/// A request as a client holds it.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn new(body: &[u8], headers: &[(&str, &str)]) -> Self {
        let mut sent =
            Sent { method: "POST".into(), path: "/".into(), query: None, headers: vec![], body: body.into() };
        sent.headers.push(("host".into(), "kms.us-east-1.localhost:8443".into()));
        sent.headers.push(("content-type".into(), "application/x-amz-json-1.1".into()));
        sent.headers.push(("x-amz-target".into(), "TrentService.Encrypt".into()));
        sent.headers.extend(headers.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        sent
    }

    fn signed(self) -> Self {
        self.signed_with(None, SigningSettings::default())
    }

    /// Signs as the AWS SDK for Rust does.
    fn signed_with(mut self, token: Option<&str>, settings: SigningSettings) -> Self {
        let identity = Credentials::new(ACCESS_KEY, SECRET, token.map(str::to_owned), None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("kms")
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW as u64))
            .settings(settings)
            .build()
            .unwrap();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let uri = format!("http://{}{}", self.value("host"), self.path);
        let request = SignableRequest::new(&self.method, uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn value(&self, name: &str) -> &str {
        &self.headers.iter().find(|(known, _)| known == name).unwrap().1
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        let before = self.headers.len();
        self.headers.retain(|(known, _)| known != name);
        assert_ne!(self.headers.len(), before, "there was a header {name}");
    }

    fn repeat_authorization(&mut self) {
        let value = self.value("authorization").to_owned();
        self.add("authorization", &value);
    }

    /// Replaces the first `from` in a header's value.
    fn edit(&mut self, name: &str, from: &str, to: &str) {
        let value = &mut self.headers.iter_mut().find(|(known, _)| known == name).unwrap().1;
        assert!(value.contains(from), "{value} has {from}");
        *value = value.replacen(from, to, 1);
    }

    fn signature(&self) -> String {
        self.value("authorization").split_once("Signature=").unwrap().1.to_owned()
    }

    fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn read_at(&self, now: i64, door: &Door<'_>, authority: Option<&str>) -> Result<Claim, Error> {
        let headers = self.header_map();
        let (method, path, query) = (&self.method, &self.path, self.query.as_deref());
        let request = Request { method, path, query, authority, headers: &headers, body: &self.body };
        read(&request, Timestamp::from_millis(now), door)
    }

    fn outcome(&self) -> Result<(), Error> {
        self.outcome_at(NOW)
    }

    fn outcome_at(&self, now: i64) -> Result<(), Error> {
        self.read_at(now, &DOOR, None)?.verify(&secret(SECRET), &SigningKeys::default())
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

// ---- the published vectors ----

/// A vector's request: its lines end with LF, and a line that begins with a space continues the value before it.
fn parse_vector(text: &str) -> Sent {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap().trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match line.strip_prefix(' ') {
            Some(more) => {
                let name = headers.last().unwrap().0.clone();
                headers.push((name, more.to_owned()));
            }
            None => {
                let (name, value) = line.split_once(':').unwrap();
                headers.push((name.to_lowercase(), value.to_owned()));
            }
        }
    }
    Sent { method: method.into(), path: path.into(), query, headers, body: body.into() }
}

fn run_vector(folder: &Path) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let file = |ending: &str| std::fs::read_to_string(folder.join(format!("{name}.{ending}"))).unwrap();
    let sent = parse_vector(&file("req"));
    let authorization = Authorization::parse(file("authz").as_bytes()).unwrap();
    let headers = sent.header_map();
    let (method, path, query) = (&sent.method, &sent.path, sent.query.as_deref());
    let request = Request { method, path, query, authority: None, headers: &headers, body: &sent.body };

    let body_hash = hex::encode(hsm_kms::crypto::sha256(&[&sent.body]));
    let canonical = canonical_request(&request, &authorization.signed_headers, &body_hash);
    assert_eq!(String::from_utf8(canonical.clone()).unwrap(), file("creq"), "{name}");

    let Authorization { date, region, service, signature, .. } = authorization;
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let string_to_sign = string_to_sign(sent.value("x-amz-date"), &scope, &canonical);
    assert_eq!(string_to_sign, file("sts"), "{name}");

    let key = SigningKey::derive(&secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), &date, &region, &service);
    assert_eq!(key.sign(&string_to_sign).as_bytes(), signature.expose(), "{name}");
}

#[test]
fn the_published_vectors_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sigv4");
    let folders: Vec<_> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    assert_eq!(folders.len(), 29);
    folders.iter().for_each(|folder| run_vector(folder));
}

// ---- what AWS's signer signs is accepted ----

prop_compose! {
    fn any_sent()(
        body in prop::collection::vec(any::<u8>(), 0..300),
        headers in prop::collection::btree_map("x-amz-[a-z]{1,6}(-[a-z0-9]{1,6})?", "[ -~]{0,30}", 0..8),
        spaced in " {0,3}[a-z\"]{1,5}( {1,4}[a-z\"]{1,5}){0,4} {0,3}",
    ) -> Sent {
        let mut sent = Sent::new(&body, &[("x-amz-a-spaced-value", &spaced)]);
        for (name, value) in headers.iter().filter(|(name, _)| !["x-amz-target", "x-amz-date"].contains(&name.as_str())) {
            sent.add(name, value);
        }
        sent
    }
}

proptest! {
    #[test]
    fn what_the_sdk_signs_is_accepted(sent in any_sent()) {
        prop_assert_eq!(sent.signed().outcome(), Ok(()));
    }

    #[test]
    fn with_one_thing_changed_it_is_refused(sent in any_sent()) {
        let sent = sent.signed();
        for (what, change, expected) in changes() {
            let mut changed = sent.clone();
            change(&mut changed);
            let error = changed.outcome().expect_err(what);
            prop_assert_eq!(&error, &expected, "{}", what);
            prop_assert!(!error.to_string().contains(&sent.signature()), "{}", what);
        }
    }

    #[test]
    fn another_signature_is_refused(position in 0_usize..64, digit in 0_u8..16) {
        let mut sent = Sent::new(b"{}", &[]).signed();
        let mut signature = sent.signature().into_bytes();
        let other = char::from_digit(digit.into(), 16).unwrap() as u8;
        prop_assume!(signature[position] != other);
        let good = sent.signature();
        signature[position] = other;
        sent.edit("authorization", &good, std::str::from_utf8(&signature).unwrap());
        prop_assert_eq!(sent.outcome(), Err(Error::SignatureMismatch));
    }
}

type Change = (&'static str, fn(&mut Sent), Error);

/// One change to a signed request, and the one error that it must give.
fn changes() -> Vec<Change> {
    let scope_date = |scope: &str, date_time: &str| Error::ScopeDate {
        scope: scope.into(),
        date: date_time[..8].into(),
        date_time: date_time.into(),
    };
    vec![
        ("body longer", |s| s.body.push(0), Error::SignatureMismatch),
        ("body byte", |s| s.body = s.body.iter().map(|b| b ^ 1).chain(*b"x").collect(), Error::SignatureMismatch),
        ("signed value", |s| s.edit("x-amz-target", "Encrypt", "Decrypt"), Error::SignatureMismatch),
        ("signed value's case", |s| s.edit("x-amz-target", "E", "e"), Error::SignatureMismatch),
        ("host", |s| s.edit("host", "kms", "sts"), Error::SignatureMismatch),
        ("content type", |s| s.edit("content-type", "1.1", "1.0"), Error::SignatureMismatch),
        ("signed header gone", |s| s.remove("x-amz-target"), Error::SignedHeaderAbsent("x-amz-target".into())),
        ("host gone", |s| s.remove("host"), Error::SignedHeaderAbsent("host".into())),
        ("content type gone", |s| s.remove("content-type"), Error::SignedHeaderAbsent("content-type".into())),
        ("target no longer signed", |s| s.edit("authorization", ";x-amz-target", ""), not_signed("x-amz-target")),
        ("date no longer signed", |s| s.edit("authorization", ";x-amz-date", ""), not_signed("x-amz-date")),
        ("type no longer signed", |s| s.edit("authorization", "=content-type;", "="), not_signed("content-type")),
        ("host no longer signed", |s| s.edit("authorization", ";host", ""), Error::HostNotSigned),
        ("unsigned header added", |s| s.add("x-amz-zzz-added", "1"), not_signed("x-amz-zzz-added")),
        ("header twice", |s| s.add("x-amz-target", "TrentService.Encrypt"), repeated("x-amz-target")),
        ("host twice", |s| s.add("host", "kms.us-east-1.localhost:8443"), repeated("host")),
        ("date twice", |s| s.add("x-amz-date", "20261122T001500Z"), repeated("x-amz-date")),
        ("date gone", |s| s.remove("x-amz-date"), Error::MissingDate),
        ("date by a second", |s| s.edit("x-amz-date", "1500Z", "1501Z"), Error::SignatureMismatch),
        ("date's day", |s| s.edit("x-amz-date", "1122T", "1123T"), scope_date("20261122", "20261123T001500Z")),
        ("date's form", |s| s.edit("x-amz-date", "20261122T", "2026-11-22T"), Error::MalformedDate),
        (
            "scope's day",
            |s| s.edit("authorization", "/20261122/", "/20261121/"),
            scope_date("20261121", "20261122T001500Z"),
        ),
        ("scope's region", |s| s.edit("authorization", "us-east-1", "us-west-2"), Error::SignatureMismatch),
        ("no region", |s| s.edit("authorization", "us-east-1", "moon"), Error::InvalidRegion),
        ("the door's other service", |s| s.edit("authorization", "/kms/", "/sts/"), Error::SignatureMismatch),
        (
            "another service",
            |s| s.edit("authorization", "/kms/", "/s3/"),
            Error::WrongService { expected: "kms".into() },
        ),
        ("terminator", |s| s.edit("authorization", "aws4_request", "aws4_reques"), Error::WrongTerminator),
        ("a scope of six", |s| s.edit("authorization", "/kms/", "/kms/x/"), Error::MalformedCredential),
        ("algorithm", |s| s.edit("authorization", "SHA256", "SHA512"), Error::UnsupportedAlgorithm),
        (
            "signature's case",
            |s| s.edit("authorization", &s.signature(), &s.signature().to_uppercase()),
            Error::SignatureMismatch,
        ),
        ("signature cut", |s| s.edit("authorization", &s.signature(), &s.signature()[..63]), Error::SignatureMismatch),
        ("signature empty", |s| s.edit("authorization", &s.signature(), ""), Error::SignatureMismatch),
        (
            "signature longer",
            |s| s.edit("authorization", &s.signature(), &(s.signature() + "0")),
            Error::SignatureMismatch,
        ),
        ("no authorization", |s| s.remove("authorization"), Error::MissingAuthenticationToken),
        ("authorization twice", Sent::repeat_authorization, Error::SeveralAuthorizations),
        (
            "parameter twice",
            |s| s.edit("authorization", "Sig", "Signature=0, Sig"),
            Error::RepeatedParameter("Signature"),
        ),
        ("unknown parameter", |s| s.edit("authorization", "Sig", "X=0, Sig"), Error::MalformedAuthorization),
        ("upper-case name", |s| s.edit("authorization", "x-amz-target", "X-amz-target"), Error::MalformedSignedHeaders),
        (
            "unsorted names",
            |s| s.edit("authorization", "content-type;host", "host;content-type"),
            Error::MalformedSignedHeaders,
        ),
        ("name twice", |s| s.edit("authorization", ";host;", ";host;host;"), Error::MalformedSignedHeaders),
        ("method", |s| s.method = "PUT".into(), Error::NotServed),
        ("path", |s| s.path = "/x".into(), Error::NotServed),
        ("query", |s| s.query = Some("a=b".into()), Error::NotServed),
        ("presigned", |s| s.query = Some("a=b&x-amz-signature=0".into()), Error::Presigned),
        ("chunked", |s| s.add("content-encoding", "gzip, AWS-chunked"), Error::Chunked),
    ]
}

fn not_signed(name: &str) -> Error {
    Error::NotSigned(name.to_owned())
}

fn repeated(name: &str) -> Error {
    Error::RepeatedHeader(name.to_owned())
}

// ---- time ----

#[test]
fn five_minutes_to_either_side_and_not_one_second_more() {
    let sent = Sent::new(b"{}", &[]).signed();
    for accepted in [NOW, NOW + 300_000, NOW + 300_999, NOW - 300_000, NOW - 1] {
        assert_eq!(sent.outcome_at(accepted), Ok(()), "{}", accepted - NOW);
    }
    assert_eq!(
        sent.outcome_at(NOW + 301_000).unwrap_err().to_string(),
        "Signature expired: 20261122T001500Z is now earlier than 20261122T001501Z (20261122T002001Z - 5 min.)"
    );
    assert_eq!(
        sent.outcome_at(NOW - 301_000).unwrap_err().to_string(),
        "Signature not yet current: 20261122T001500Z is still later than 20261122T001459Z (20261122T000959Z + 5 min.)"
    );
    assert_eq!(sent.outcome_at(NOW - 300_001).unwrap_err().kind(), Kind::InvalidSignature);
    for far in [i64::MIN, i64::MAX, 0] {
        assert_eq!(sent.outcome_at(far).unwrap_err().code(), "InvalidSignatureException", "{far}");
    }
}

// ---- the body's hash, tokens, other doors ----

#[test]
fn a_claimed_hash_must_be_that_of_the_body() {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let mut sent = Sent::new(b"{}", &[]).signed_with(None, settings);
    assert_eq!(sent.value("x-amz-content-sha256").len(), 64);
    assert_eq!(sent.outcome(), Ok(()));
    sent.body = b"{ }".to_vec();
    assert_eq!(sent.outcome(), Err(Error::ContentHash));
    for instead in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", ""]
    {
        let sent = Sent::new(b"{}", &[("x-amz-content-sha256", instead)]).signed();
        assert_eq!(sent.outcome(), Err(Error::ContentHash), "{instead}");
    }
}

#[test]
fn a_session_token_is_signed_and_there_once() {
    let with = |token: &str| Sent::new(b"{}", &[]).signed_with(Some(token), SigningSettings::default());
    let sent = with("token");
    assert_eq!(sent.outcome(), Ok(()));
    assert_eq!(sent.read_at(NOW, &DOOR, None).unwrap().session_token.unwrap().expose(), b"token");
    assert_eq!(Sent::new(b"{}", &[]).signed().read_at(NOW, &DOOR, None).unwrap().session_token.map(drop), None);
    assert_eq!(with(&"x".repeat(8192)).outcome(), Ok(()));
    for token in ["", &"x".repeat(8193)] {
        let error = with(token).outcome().unwrap_err();
        assert_eq!(error, Error::SecurityToken, "{}", token.len());
        assert_eq!(error.code(), "UnrecognizedClientException");
        assert_eq!(error.to_string(), "The security token included in the request is invalid.");
    }
    let mut other = with("token");
    other.edit("x-amz-security-token", "token", "taken");
    assert_eq!(other.outcome(), Err(Error::SignatureMismatch));
    let mut unsigned = with("token");
    unsigned.edit("authorization", ";x-amz-security-token", "");
    assert_eq!(unsigned.outcome(), Err(Error::NotSigned("x-amz-security-token".into())));
    let mut twice = with("token");
    twice.add("x-amz-security-token", "token");
    assert_eq!(twice.outcome(), Err(Error::RepeatedHeader("x-amz-security-token".into())));
}

#[test]
fn an_authority_stands_for_the_host() {
    let mut sent = Sent::new(b"{}", &[]).signed();
    let host = sent.value("host").to_owned();
    sent.remove("host");
    let verified =
        |authority: &str| sent.read_at(NOW, &DOOR, Some(authority))?.verify(&secret(SECRET), &SigningKeys::default());
    assert_eq!(verified(&host), Ok(()));
    assert_eq!(verified("elsewhere"), Err(Error::SignatureMismatch));
}

#[test]
fn a_door_may_serve_any_path_and_signs_it() {
    let door = Door { paths: Paths::Any, ..DOOR };
    let mut sent = Sent::new(b"{}", &[]);
    sent.path = "/kms/xks/v1/keys/one/encrypt".into();
    let mut sent = sent.signed();
    let verified = |sent: &Sent| sent.read_at(NOW, &door, None)?.verify(&secret(SECRET), &SigningKeys::default());
    assert_eq!(verified(&sent), Ok(()));
    sent.path = "/kms/xks/v1/keys/two/encrypt".into();
    assert_eq!(verified(&sent), Err(Error::SignatureMismatch));
    sent.query = Some("x".into());
    assert_eq!(verified(&sent), Err(Error::NotServed));
}

// ---- who ----

#[test]
fn a_claim_says_who_and_shows_no_signature() {
    let sent = Sent::new(b"{}", &[]).signed();
    let claim = sent.read_at(NOW, &DOOR, None).unwrap();
    assert_eq!((claim.access_key_id.as_str(), claim.date.as_str()), (ACCESS_KEY, "20261122"));
    assert_eq!((claim.region.as_str(), claim.service.as_str()), ("us-east-1", "kms"));
    assert_eq!(claim.signed_at.as_millis(), NOW);
    assert!(!format!("{claim:?}").contains(&sent.signature()));
}

#[test]
fn only_a_good_signature_is_remembered() {
    let keys = SigningKeys::default();
    let claim = Sent::new(b"{}", &[]).signed().read_at(NOW, &DOOR, None).unwrap();
    assert_eq!(claim.verify(&secret("another secret"), &keys), Err(Error::SignatureMismatch));
    assert_eq!(claim.unknown_access_key(), Error::UnknownAccessKey);
    assert!(keys.is_empty());
    for _ in 0..2 {
        assert_eq!(claim.verify(&secret(SECRET), &keys), Ok(()));
        assert_eq!(keys.len(), 1);
    }
    assert_eq!(claim.verify(&secret("a new secret"), &keys), Err(Error::SignatureMismatch));
    let mut forged = Sent::new(b"{}", &[]).signed();
    forged.body.push(b' ');
    let forged = forged.read_at(NOW, &DOOR, None).unwrap();
    assert_eq!(forged.verify(&secret(SECRET), &keys), Err(Error::SignatureMismatch));
}

#[test]
fn errors_speak_as_aws_does() {
    let mut sent = Sent::new(b"{}", &[]).signed();
    sent.remove("authorization");
    let error = sent.outcome().unwrap_err();
    assert_eq!(error.code(), "MissingAuthenticationTokenException");
    assert_eq!(error.to_string(), "Missing Authentication Token");
    sent.add("authorization", "AWS4-HMAC-SHA256 Signature=0123");
    let error = sent.outcome().unwrap_err();
    assert_eq!(error.code(), "IncompleteSignatureException");
    assert_eq!(
        error.to_string(),
        "Authorization header requires 'Credential' parameter. Authorization header requires 'SignedHeaders' \
         parameter. Authorization=AWS4-HMAC-SHA256"
    );
}

const DOOR: Door<'static> = Door { services: &["kms", "sts"], paths: Paths::Root, max_skew: Duration::from_secs(300) };
/// 2026-11-22T00:15:00Z.
const NOW: i64 = 1_795_306_500_000;
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
