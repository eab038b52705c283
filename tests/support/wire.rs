//! Requests byte by byte, signed by AWS's own signer and sent over a plain socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;

use super::Service;

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request that can be spoilt before or after it is signed.
#[derive(Clone)]
pub struct Request {
    /// Method, `POST` at first.
    pub method: String,
    /// Path and query, `/` at first.
    pub target: String,
    /// Headers without `host`, `authorization` and `x-amz-date`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The service of the credential scope.
    pub service: String,
    /// The Region of the credential scope.
    pub region: String,
    /// When it is signed.
    pub time: SystemTime,
}

impl Request {
    /// A request for an operation of KMS with this body.
    pub fn kms(operation: &str, body: &Value) -> Self {
        Request::kms_bytes(operation, body.to_string().as_bytes())
    }

    /// As `kms`, with a body that need not be JSON.
    pub fn kms_bytes(operation: &str, body: &[u8]) -> Self {
        Request {
            method: "POST".into(),
            target: "/".into(),
            headers: vec![
                ("content-type".into(), "application/x-amz-json-1.1".into()),
                ("x-amz-target".into(), format!("TrentService.{operation}")),
            ],
            body: body.to_vec(),
            service: "kms".into(),
            region: "us-east-1".into(),
            time: SystemTime::now(),
        }
    }

    /// The request's bytes, signed with the service's root access key.
    pub fn signed(&self, service: &Service) -> Vec<u8> {
        self.signed_as(&service.address(), &service.credentials())
    }

    /// The request's bytes for the service at this address, signed with these credentials.
    pub fn signed_as(&self, address: &str, credentials: &Credentials) -> Vec<u8> {
        self.bytes(&self.signed_headers_as(address, credentials))
    }

    /// All headers with the signature's, in the order in which they are sent.
    pub fn signed_headers(&self, service: &Service) -> Vec<(String, String)> {
        self.signed_headers_as(&service.address(), &service.credentials())
    }

    /// As `signed_headers`, for the service at this address, with these credentials.
    pub fn signed_headers_as(&self, address: &str, credentials: &Credentials) -> Vec<(String, String)> {
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.time)
            .settings(SigningSettings::default())
            .build()
            .expect("signing parameters")
            .into();
        let mut headers = vec![("host".to_owned(), address.to_owned())];
        headers.extend(self.headers.iter().cloned());
        let uri = format!("http://{address}{}", self.target);
        let named = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable =
            SignableRequest::new(&self.method, uri, named, SignableBody::Bytes(&self.body)).expect("a request");
        let (instructions, _) = sign(signable, &params).expect("a signature").into_parts();
        headers.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
        headers
    }

    /// The request's bytes with exactly these headers and a content-length.
    pub fn bytes(&self, headers: &[(String, String)]) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += &format!("content-length: {}\r\n\r\n", self.body.len());
        [text.as_bytes(), &self.body].concat()
    }

    /// Signs, sends, and reads the answer.
    pub fn send(&self, service: &Service) -> Answer {
        exchange(&service.address(), &self.signed(service))
    }
}

impl Answer {
    /// The body as JSON; null if it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).expect("a JSON body") }
    }

    /// `__type` of an error.
    pub fn error(&self) -> String {
        self.json()["__type"].as_str().unwrap_or_default().to_owned()
    }

    /// The message of an error; empty if it has none.
    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Sends bytes on a connection of their own and reads one answer.
pub fn exchange(address: &str, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(bytes).expect("the request is sent");
    read_answer(&mut stream)
}

/// As `exchange`, with a service that may be killed meanwhile: `None` unless a whole answer came.
pub fn try_exchange(address: &str, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(bytes).ok()?;
    try_read_answer(&mut stream)
}

/// Reads one answer with a content-length.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    read_whole_answer(stream).unwrap_or_else(|error| panic!("no whole answer: {error}"))
}

fn try_read_answer(stream: &mut TcpStream) -> Option<Answer> {
    read_whole_answer(stream).ok()
}

fn read_whole_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        read_some(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().expect("a length"));
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        read_some(stream, &mut body)?;
    }
    Ok(Answer { status, headers, body })
}

/// Reads what is there, at least a byte; a connection that ends is an error as much as one that breaks.
fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = loop {
        match stream.read(&mut buffer) {
            // Of a socket with a timeout, when the whole process was stopped meanwhile and went on: signal(7).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            count => break count?,
        }
    };
    if count == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the end after {} bytes", bytes.len())));
    }
    bytes.extend_from_slice(&buffer[..count]);
    Ok(())
}
