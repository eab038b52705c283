//! Who is let in: Signature Version 4 over the real port, and what is no request of KMS at all.

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use support::Service;
use support::wire::{Answer, Request, exchange, read_answer};

type Headers = Vec<(String, String)>;

/// Asks from the refusals what they do to a signed request.
struct Door<'a> {
    service: &'a Service,
    /// The names of the errors so far, counted.
    refused: std::cell::RefCell<BTreeMap<String, u64>>,
}

impl<'a> Door<'a> {
    fn new(service: &'a Service) -> Self {
        Door { service, refused: Default::default() }
    }

    /// Sends a request with headers spoilt after signing, which must be refused so.
    #[track_caller]
    fn spoilt(&self, request: &Request, spoil: impl FnOnce(&mut Headers), error: &str, message: &str) {
        let mut headers = request.signed_headers(self.service);
        spoil(&mut headers);
        self.refuses(&request.bytes(&headers), error, message);
    }

    /// Sends a request that is signed as it is, which must be refused so.
    #[track_caller]
    fn signed(&self, request: &Request, error: &str, message: &str) {
        self.refuses(&request.signed(self.service), error, message);
    }

    /// An error must have exactly this body; `*` in the message is anything.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], error: &str, message: &str) {
        let answer = exchange(&self.service.address(), bytes);
        let body = answer.json();
        assert_eq!((answer.status, body["__type"].as_str().unwrap()), (400, error), "{body}");
        let told = body["message"].as_str().unwrap_or_default();
        match message.split_once('*') {
            Some((start, end)) => assert!(told.starts_with(start) && told.ends_with(end), "{told}"),
            None => assert_eq!(told, message),
        }
        has_id(&answer);
        *self.refused.borrow_mut().entry(error.to_owned()).or_default() += 1;
    }
}

const INVALID: &str = "InvalidSignatureException";
const INCOMPLETE: &str = "IncompleteSignatureException";
const UNRECOGNIZED: &str = "UnrecognizedClientException";
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

#[test]
fn every_bad_signature_is_refused_and_only_counted() {
    let service = Service::start();
    let before = events(&service.audit());
    let door = Door::new(&service);
    times(&door);
    signed_headers(&door);
    contents(&door);
    scopes(&door);
    credentials(&door);
    shapes(&door);
    let refused = door.refused.into_inner();
    let data = service.data().to_owned();
    let (status, _folder) = service.terminate();
    assert_eq!(status.code(), Some(0));
    let lines = support::audit_lines(&data);
    assert_eq!(events(&lines), before, "no event of a request that nobody is known to have sent");
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let mut number = 0;
    for line in lines.iter().map(|line| &line["refused"]).filter(|refused| refused.is_object()) {
        assert_eq!(line["source"], "127.0.0.1");
        *counted.entry(line["reason"].as_str().unwrap().to_owned()).or_default() += line["count"].as_u64().unwrap();
        number += 1;
    }
    assert_eq!(counted, refused);
    assert!(number < refused.values().sum::<u64>() / 2, "{number} lines: they are counted, not listed");
}

/// The window of five minutes.
fn times(door: &Door<'_>) {
    let at = |seconds: i64| {
        let shift = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        Request { time: if seconds < 0 { now - shift } else { now + shift }, ..list_keys() }
    };
    for seconds in [-290, 290] {
        assert_eq!(at(seconds).send(door.service).status, 200, "{seconds} s");
    }
    for seconds in [-303, -3_600, -400 * 86_400] {
        door.signed(&at(seconds), INVALID, "Signature expired: * - 5 min.)");
    }
    for seconds in [303, 3_600, 400 * 86_400] {
        door.signed(&at(seconds), INVALID, "Signature not yet current: * + 5 min.)");
    }
    let missing = "Authorization header requires existence of a 'X-Amz-Date' header. Authorization=AWS4-HMAC-SHA256";
    door.spoilt(&list_keys(), |headers| remove(headers, "x-amz-date"), INCOMPLETE, missing);
    let instead = |headers: &mut Headers| {
        remove(headers, "x-amz-date");
        headers.push(("date".into(), "Sun, 22 Nov 2026 00:15:00 GMT".into()));
    };
    door.spoilt(&list_keys(), instead, INCOMPLETE, missing);
    let malformed = |headers: &mut Headers| set(headers, "x-amz-date", "2026-11-22T00:15:00Z");
    let message = "Date must be in ISO-8601 'basic format', e.g. 20261122T000000Z.";
    door.spoilt(&list_keys(), malformed, INCOMPLETE, message);
}

/// What must be signed, and once.
fn signed_headers(door: &Door<'_>) {
    let unsigned = |name: &str| {
        let listed = format!("{name};");
        move |headers: &mut Headers| replace(headers, &listed, "")
    };
    let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
    door.spoilt(&list_keys(), unsigned("host"), INVALID, message);
    let message = "'content-type' must be a 'SignedHeader' in the AWS Authorization.";
    door.spoilt(&list_keys(), unsigned("content-type"), INVALID, message);
    let message = "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.";
    let target = |headers: &mut Headers| replace(headers, ";x-amz-target", "");
    door.spoilt(&list_keys(), target, INVALID, message);
    let other = |headers: &mut Headers| headers.push(("x-amz-more".into(), "x".into()));
    door.spoilt(&list_keys(), other, INVALID, "'x-amz-more' must be a 'SignedHeader' in the AWS Authorization.");
    let message = "'host' is a 'SignedHeader' in the AWS Authorization and is not in the request.";
    door.spoilt(&list_keys(), |headers| remove(headers, "host"), INVALID, message);
    for name in ["x-amz-target", "content-type", "host"] {
        let twice = |headers: &mut Headers| {
            let header = headers.iter().find(|header| header.0 == name).unwrap().clone();
            headers.push(header);
        };
        let message = format!("'{name}' must be in the request exactly once.");
        door.spoilt(&list_keys(), twice, INVALID, &message);
    }
    let other_target = |headers: &mut Headers| set(headers, "x-amz-target", "TrentService.CreateKey");
    door.spoilt(&list_keys(), other_target, INVALID, MISMATCH);
    let other_host = |headers: &mut Headers| set(headers, "host", "kms.us-east-1.amazonaws.com");
    door.spoilt(&list_keys(), other_host, INVALID, MISMATCH);
    for (from, to) in [("content-type;host", "host;content-type"), ("content-type;host", "content-type;Host")] {
        let message = "'SignedHeaders' must be lower-case header names, sorted, each once, separated by semicolons.";
        door.spoilt(&list_keys(), |headers| replace(headers, from, to), INVALID, message);
    }
}

/// The whole body is signed.
fn contents(door: &Door<'_>) {
    let request = Request::kms("ListKeys", &json!({ "Limit": 5 }));
    let headers = request.signed_headers(door.service);
    let tampered = Request { body: br#"{"Limit":6}"#.to_vec(), ..request.clone() };
    door.refuses(&tampered.bytes(&headers), INVALID, MISMATCH);
    let with = |name: &str, value: &str| {
        let mut request = list_keys();
        request.headers.push((name.into(), value.into()));
        request
    };
    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for hash in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", empty]
    {
        door.signed(&with("x-amz-content-sha256", hash), INVALID, message);
    }
    let right = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(with("x-amz-content-sha256", right).send(door.service).status, 200);
    let message = "The content encoding aws-chunked is not supported. Sign the whole body.";
    door.signed(&with("content-encoding", "aws-chunked"), INVALID, message);
}

/// Date, Region, service and terminator of the credential scope.
fn scopes(door: &Door<'_>) {
    let with_region = |region: &str| Request { region: region.into(), ..list_keys() };
    for region in ["us-west-2", "nowhere", "US-EAST-1"] {
        door.signed(&with_region(region), INVALID, "Credential should be scoped to a valid region.");
    }
    for name in ["s3", "sts", "KMS", "kms-xks-proxy"] {
        let request = Request { service: name.into(), ..list_keys() };
        door.signed(&request, INVALID, "Credential should be scoped to correct service: 'kms'.");
    }
    let day = |headers: &mut Headers| {
        let date = headers.iter().find(|header| header.0 == "x-amz-date").unwrap().1[..8].to_owned();
        replace(headers, &format!("/{date}/"), "/20200101/");
    };
    let message = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                   '20200101' != '*Z'.";
    door.spoilt(&list_keys(), day, INVALID, message);
    let terminator = |headers: &mut Headers| replace(headers, "/aws4_request", "/aws5_request");
    let message = "Credential should be scoped with a valid terminator: 'aws4_request'.";
    door.spoilt(&list_keys(), terminator, INVALID, message);
    let short = |headers: &mut Headers| replace(headers, "/kms/aws4_request", "/aws4_request");
    let message = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term. \
                   Authorization=AWS4-HMAC-SHA256";
    door.spoilt(&list_keys(), short, INCOMPLETE, message);
    // Signed for another service or Region: the scope is part of what is signed.
    let service = |headers: &mut Headers| replace(headers, "/s3/", "/kms/");
    door.spoilt(&Request { service: "s3".into(), ..list_keys() }, service, INVALID, MISMATCH);
    let region = |headers: &mut Headers| replace(headers, "/eu-west-1/", "/us-east-1/");
    door.spoilt(&with_region("eu-west-1"), region, INVALID, MISMATCH);
}

/// Who signs, and with what.
fn credentials(door: &Door<'_>) {
    let id = door.service.env()["AWS_ACCESS_KEY_ID"].clone();
    let other = |headers: &mut Headers| replace(headers, &id, "AKIAIOSFODNN7EXAMPLE");
    let invalid = "The security token included in the request is invalid.";
    door.spoilt(&list_keys(), other, UNRECOGNIZED, invalid);
    let lower = |headers: &mut Headers| replace(headers, &id, &id.to_lowercase());
    door.spoilt(&list_keys(), lower, UNRECOGNIZED, invalid);
    session_tokens(door);
    let missing = |headers: &mut Headers| remove(headers, "authorization");
    door.spoilt(&list_keys(), missing, "MissingAuthenticationTokenException", "Missing Authentication Token");
    let twice = |headers: &mut Headers| {
        let header = headers.iter().find(|header| header.0 == "authorization").unwrap().clone();
        headers.push(header);
    };
    let message = "The request must have exactly one Authorization header.";
    door.spoilt(&list_keys(), twice, INCOMPLETE, message);
    let unsupported = "Unsupported AWS 'algorithm'. Authorization requires AWS4-HMAC-SHA256.";
    for value in ["Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA512 Credential=x", "AWS4-ECDSA-P256-SHA256 Credential=x", "x"] {
        door.spoilt(&list_keys(), |headers| set(headers, "authorization", value), INCOMPLETE, unsupported);
    }
    let parameters = "Authorization header requires 'Credential' parameter. Authorization header requires \
                      'SignedHeaders' parameter. Authorization header requires 'Signature' parameter. \
                      Authorization=AWS4-HMAC-SHA256";
    let none = |headers: &mut Headers| set(headers, "authorization", "AWS4-HMAC-SHA256");
    door.spoilt(&list_keys(), none, INCOMPLETE, parameters);
    for (from, to) in [("Signature=", "Signature=0"), ("Signature=", "Signature=x, Nothing=")] {
        let spoil = |headers: &mut Headers| replace(headers, from, to);
        if to == "Signature=0" {
            door.spoilt(&list_keys(), spoil, INVALID, MISMATCH);
        } else {
            door.spoilt(&list_keys(), spoil, INCOMPLETE, "Authorization header holds something else than *");
        }
    }
    let upper = |headers: &mut Headers| {
        let value = &mut headers.iter_mut().find(|header| header.0 == "authorization").unwrap().1;
        let (start, signature) = value.rsplit_once('=').unwrap();
        *value = format!("{start}={}", signature.to_uppercase());
    };
    door.spoilt(&list_keys(), upper, INVALID, MISMATCH);
}

/// Session tokens that nobody was given, with an access key that somebody has and with one that nobody has.
fn session_tokens(door: &Door<'_>) {
    let invalid = "The security token included in the request is invalid.";
    let id = door.service.env()["AWS_ACCESS_KEY_ID"].clone();
    let with = |token: &str| {
        let mut request = list_keys();
        request.headers.push(("x-amz-security-token".into(), token.into()));
        request
    };
    // From the corpus of the fuzzer: sealed under another key, cut, longer, of other versions.
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session");
    let files = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
    let tokens = files.map(|path| std::fs::read_to_string(path).unwrap());
    // What headers cannot carry is no token either.
    let mut tokens: Vec<_> = tokens.filter(|token| token.trim_ascii() == *token && token.len() <= 8_192).collect();
    assert!(tokens.len() >= 25, "{}", tokens.len());
    tokens.extend(["A".repeat(8_192), "A".repeat(8_193), "=".repeat(8_192), "%".into(), "\u{e4}".into()]);
    for token in tokens {
        door.signed(&with(&token), UNRECOGNIZED, invalid);
        let temporary = |headers: &mut Headers| replace(headers, &id, "ASIAIOSFODNN7EXAMPLE");
        door.spoilt(&with(&token), temporary, UNRECOGNIZED, invalid);
    }
    let unsigned = |headers: &mut Headers| replace(headers, ";x-amz-security-token", "");
    let message = "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.";
    door.spoilt(&with("token"), unsigned, INVALID, message);
    let twice = |headers: &mut Headers| headers.push(("x-amz-security-token".into(), "token".into()));
    let message = "'x-amz-security-token' must be in the request exactly once.";
    door.spoilt(&with("token"), twice, INVALID, message);
}

/// Methods, paths and queries other than `POST /`.
fn shapes(door: &Door<'_>) {
    let unknown = "UnknownOperationException";
    let message = "Only POST / without a query string is served here.";
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = Request { method: method.into(), ..list_keys() };
        door.signed(&request, unknown, message);
        let unsigned = format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        door.refuses(unsigned.as_bytes(), unknown, message);
    }
    for target in ["/kms", "//", "/?a=b", "/?Action=ListKeys", "/%2f", "/healthz/", "/admin"] {
        door.signed(&Request { target: target.into(), ..list_keys() }, unknown, message);
    }
    let presigned = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261122%2Fus-east-1%2Fkms\
                     %2Faws4_request&X-Amz-Date=20261122T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    let message = "Signatures in the query string are not supported. Sign the request with an Authorization header.";
    for method in ["GET", "POST"] {
        let text = format!("{method} {presigned} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        door.refuses(text.as_bytes(), INCOMPLETE, message);
    }
    door.signed(&Request { target: "/?x-amz-signature=0".into(), ..list_keys() }, INCOMPLETE, message);
}

#[test]
fn a_request_may_be_sent_again_inside_its_window() {
    // SDKs send the same bytes again after a lost connection, so there is no replay cache; loopback keeps others out.
    let service = Service::start();
    let bytes = Request::kms("CreateKey", &json!({})).signed(&service);
    let answers = [exchange(&service.address(), &bytes), exchange(&service.address(), &bytes)];
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_ne!(answers[0].json()["KeyMetadata"]["KeyId"], answers[1].json()["KeyMetadata"]["KeyId"]);
    assert_ne!(answers[0].header("x-amzn-requestid"), answers[1].header("x-amzn-requestid"));
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let service = Service::start();
    let mut stream = TcpStream::connect(service.address()).unwrap();
    for _ in 0..3 {
        stream.write_all(&list_keys().signed(&service)).unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
        // A refusal does not cost the connection.
        let spoilt = Request { region: "us-west-2".into(), ..list_keys() };
        stream.write_all(&spoilt.signed(&service)).unwrap();
        assert_eq!(read_answer(&mut stream).error(), INVALID);
    }
}

#[test]
fn liveness_and_readiness_are_told_to_everybody() {
    let service = Service::start();
    let get = |path: &str| exchange(&service.address(), format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
    let alive = get("/healthz");
    assert_eq!((alive.status, alive.body.as_slice()), (200, &b"ok"[..]));
    let ready = get("/readyz");
    let expected = json!({ "ready": true, "parts": [
        { "name": "store", "ready": true }, { "name": "audit", "ready": true }, { "name": "token", "ready": true },
    ] });
    assert_eq!((ready.status, ready.json()), (200, expected));
    for answer in [alive, ready] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert!(service.audit().iter().all(|line| line.get("refused").is_none()));
}

#[test]
fn a_body_has_at_most_128_kib() {
    let service = Service::start();
    let padded = |len: usize| Request::kms_bytes("ListKeys", format!("{{{}}}", " ".repeat(len - 2)).as_bytes());
    assert_eq!(padded(128 * 1024).send(&service).status, 200);
    let before = events(&service.audit());
    let too_large = |answer: Answer| {
        assert_eq!((answer.status, answer.error().as_str()), (413, "RequestEntityTooLargeException"));
        assert_eq!(answer.message(), "The request body is too large.");
        has_id(&answer);
    };
    too_large(padded(128 * 1024 + 1).send(&service));
    // Refused by its announcement, with nothing sent.
    let announced = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
    too_large(exchange(&service.address(), announced));
    let mut chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..33 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b' '; 4096]);
        chunked.extend_from_slice(b"\r\n");
    }
    too_large(exchange(&service.address(), &chunked));
    assert_eq!(events(&service.audit()), before);
}

fn list_keys() -> Request {
    Request::kms("ListKeys", &json!({}))
}

fn has_id(answer: &Answer) {
    let id = answer.header("x-amzn-requestid").expect("a request id");
    uuid::Uuid::parse_str(id).expect("a UUID");
}

/// Replaces a part of the Authorization header, which must be there.
fn replace(headers: &mut Headers, from: &str, to: &str) {
    let value = &mut headers.iter_mut().find(|header| header.0 == "authorization").unwrap().1;
    assert!(value.contains(from), "{value} has no {from}");
    *value = value.replacen(from, to, 1);
}

fn set(headers: &mut Headers, name: &str, value: &str) {
    headers.iter_mut().find(|header| header.0 == name).unwrap().1 = value.to_owned();
}

fn remove(headers: &mut Headers, name: &str) {
    let before = headers.len();
    headers.retain(|header| header.0 != name);
    assert_eq!(headers.len(), before - 1);
}

/// The events of callers, but for those of `ListKeys` that were served.
fn events(lines: &[Value]) -> Vec<Value> {
    let events = lines.iter().map(|line| line["event"].clone()).filter(|event| event["eventType"] == "AwsApiCall");
    events.filter(|event| event["eventName"] != "ListKeys" || event.get("errorCode").is_some()).collect()
}
