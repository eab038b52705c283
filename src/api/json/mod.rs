//! The AWS JSON 1.1 protocol, once for all operations, and the door for both protocols.
//!
//! Source: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>

mod error;
mod in_flight;
mod operations;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use axum::routing::any;

pub use error::Answer;
use in_flight::InFlight;
pub use operations::{OPERATIONS, Route};

use crate::api::http::Peer;
use crate::api::query::{self, Form};
use crate::audit::EventSource;
use crate::auth::Caller;
use crate::auth::sigv4::{self, Door, Paths, SigningKeys};
use crate::crypto;
use crate::kms::{Context, Error, Failure, Kms, NoSigner, Request};
use crate::model::{Region, Secret};

/// The door through which AWS clients come.
pub struct Gate {
    kms: Arc<Kms>,
    signing_keys: SigningKeys,
    deadline: Duration,
    in_flight: InFlight,
}

impl Gate {
    /// A door to this service; every request has its answer within `deadline`, and each principal at most `max_in_flight`
    /// requests at a time.
    pub fn new(kms: Arc<Kms>, deadline: Duration, max_in_flight: usize) -> Self {
        Gate { kms, signing_keys: SigningKeys::default(), deadline, in_flight: InFlight::new(max_in_flight) }
    }
}

/// Every path leads here, so that a wrong one is refused in AWS's form.
pub fn router(gate: Arc<Gate>) -> Router {
    Router::new().fallback(any(serve)).with_state(gate)
}

/// Serves one request. The listener runs this in a task of its own, which ends, and writes its record, though the
/// client hang up.
async fn serve(
    State(gate): State<Arc<Gate>>,
    Extension(Peer(peer)): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let arrival = Arrival { peer, method, uri, headers, body, id: uuid::Uuid::new_v4().to_string() };
    let protocol = Protocol::of(&arrival.headers);
    let id = arrival.id.clone();
    protocol.respond(arrival.serve(&gate, protocol).await, &id)
}

/// A request as it arrived.
struct Arrival {
    peer: SocketAddr,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    id: String,
}

/// What was answered, and by which operation.
struct Served {
    operation: &'static str,
    body: Vec<u8>,
}

/// How the request and its answer are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// AWS JSON 1.1, which KMS speaks.
    Json,
    /// AWS query, which STS speaks.
    Query,
}

impl Protocol {
    fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let form = content_type.starts_with("application/x-www-form-urlencoded");
        if form && !headers.contains_key(TARGET) { Protocol::Query } else { Protocol::Json }
    }

    /// The name of the service in a credential scope.
    fn service(self) -> &'static str {
        match self {
            Protocol::Json => "kms",
            Protocol::Query => "sts",
        }
    }

    fn source(self) -> EventSource {
        match self {
            Protocol::Json => EventSource::Kms,
            Protocol::Query => EventSource::Sts,
        }
    }

    /// The name that the service asked has for an error.
    fn code(self, answer: &Answer) -> &'static str {
        match self {
            Protocol::Json => answer.code,
            Protocol::Query => query::code(answer),
        }
    }

    fn respond(self, answer: Result<Served, Answer>, id: &str) -> Response<Body> {
        let (status, body) = match (answer, self) {
            (Ok(served), Protocol::Json) => (200, served.body),
            (Ok(served), Protocol::Query) => (200, query::envelop(served.operation, &served.body, id)),
            (Err(answer), Protocol::Json) => (answer.status, answer.json()),
            (Err(answer), Protocol::Query) => (query::status(&answer), query::error(&answer, id)),
        };
        let content_type = if self == Protocol::Json { "application/x-amz-json-1.1" } else { "text/xml" };
        let response = Response::builder()
            .status(status)
            .header("x-amzn-RequestId", id)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate, private");
        // The id and the content type are ours and are header values.
        response.body(Body::from(body)).expect("a response of our own parts")
    }
}

impl Arrival {
    async fn serve(self, gate: &Gate, protocol: Protocol) -> Result<Served, Answer> {
        let caller = self.authenticate(gate, protocol);
        let (caller, region) = caller.inspect_err(|answer| gate.kms.audit.refused(self.peer.ip(), answer.code))?;
        let asked = self.asked(protocol);
        let permit = gate.kms.audit.begin().map_err(Error::from)?;
        let route = asked.as_ref().ok().map(|asked| asked.route);
        let cx = Context::new(gate.kms.clone(), caller, self.request(gate, protocol, region, route)?, permit);
        let result = run(gate, &cx, asked).await;
        let result = result.map_err(|error| {
            error::log(&error, &self.id, cx.request.operation);
            Answer::from(error)
        });
        let outcome = match &result {
            Ok(_) => Ok(()),
            Err(answer) => Err(Failure { code: protocol.code(answer), message: answer.message.clone() }),
        };
        // No record, no answer.
        cx.finish(outcome).await.inspect_err(|error| error::log(error, &self.id, cx.request.operation))?;
        result
    }

    fn authenticate(&self, gate: &Gate, protocol: Protocol) -> Result<(Caller, Region), Answer> {
        let request = sigv4::Request {
            method: self.method.as_str(),
            path: self.uri.path(),
            query: self.uri.query(),
            authority: None,
            headers: &self.headers,
            body: &self.body,
        };
        let door = Door { services: &[protocol.service()], paths: Paths::Root, max_skew: MAX_SKEW };
        let claim = sigv4::read(&request, gate.kms.clock().now(), &door)?;
        let token = claim.session_token.as_ref().map(Secret::expose);
        let signer = gate.kms.signer(&claim.access_key_id, token)?.map_err(|none| match none {
            NoSigner::Unknown => claim.unknown_access_key(),
            NoSigner::Expired => sigv4::Error::ExpiredToken,
        })?;
        claim.verify(&signer.secret, &gate.signing_keys)?;
        let region = served_region(gate, &claim.region, protocol)?;
        gate.kms.note_access_key(&signer.caller, protocol.service(), &region);
        Ok((signer.caller, region))
    }

    /// What is asked for, and the request in JSON.
    fn asked(&self, protocol: Protocol) -> Result<Asked<'_>, Error> {
        let find = |name: &str| OPERATIONS.iter().find(|route| route.name == name && route.source == protocol.source());
        match protocol {
            Protocol::Json => {
                let route = self.header(TARGET).strip_prefix("TrentService.").and_then(find);
                let route = route.ok_or(Error::UnknownOperation)?;
                Ok(Asked { route, body: Ok(Cow::Borrowed(&self.body)) })
            }
            Protocol::Query => {
                let form = Form::parse(&self.body)?;
                let route = form.action().and_then(find).ok_or(Error::UnknownOperation)?;
                Ok(Asked { route, body: form.request(route.members).map(Cow::Owned) })
            }
        }
    }

    fn request(
        &self,
        gate: &Gate,
        protocol: Protocol,
        region: Region,
        route: Option<&Route>,
    ) -> Result<Request, Error> {
        Ok(Request {
            operation: route.map_or("UnknownOperation", |route| route.name),
            service: protocol.source(),
            read_only: route.is_none_or(|route| route.read_only),
            id: self.id.clone(),
            event_id: uuid::Builder::from_random_bytes(crypto::random_array()?).into_uuid().to_string(),
            region,
            source_ip: self.peer.ip().to_string(),
            user_agent: self.header(header::USER_AGENT.as_str()).to_owned(),
            time: gate.kms.now(),
            deadline: Instant::now() + gate.deadline,
        })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An operation, and its request in JSON as far as it could be read.
struct Asked<'a> {
    route: &'static Route,
    body: Result<Cow<'a, [u8]>, Error>,
}

async fn run(gate: &Gate, cx: &Context, asked: Result<Asked<'_>, Error>) -> Result<Served, Error> {
    let _place = gate.in_flight.enter(cx.caller.unique_id()).ok_or(Error::Throttling)?;
    let Asked { route, body } = asked?;
    cx.kms.store.guard()?;
    Ok(Served { operation: route.name, body: (route.serve)(cx, &body?).await? })
}

/// The scope's Region chooses the Region; the global endpoint of STS is that of us-east-1.
fn served_region(gate: &Gate, named: &Region, protocol: Protocol) -> Result<Region, sigv4::Error> {
    let found = gate.kms.regions().find(|region| *region == named).cloned();
    let global = protocol == Protocol::Query && named.as_str() == "us-east-1";
    found.or_else(|| gate.kms.regions().next().filter(|_| global).cloned()).ok_or(sigv4::Error::InvalidRegion)
}

const TARGET: &str = "x-amz-target";
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);
