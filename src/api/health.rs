//! What a supervisor or load balancer asks: is the process alive, and should it get requests.
//!
//! Without authentication, so nothing here may be secret: a part's reason is a text of ours that never changes, not the
//! message of an error.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

/// Whether requests can be served now, part by part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Everything that a request needs.
    pub parts: Vec<Part>,
}

/// One thing that a request needs, such as the token, the store or the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is: a lower-case word, or a table of the settings.
    pub name: String,
    /// Whether it works now.
    pub ready: bool,
    /// Whether nothing can be served without it.
    #[serde(skip)]
    pub needed: bool,
    /// Why it does not, if there is a word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Readiness {
    /// Whether every part that is needed is ready; without parts nothing is known to be, so it is not.
    pub fn is_ready(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| part.ready || !part.needed)
    }
}

/// `GET /healthz`, always 200 `ok` while the process answers at all, and `GET /readyz`, 200 or 503 with
/// `{"ready":…,"parts":[…]}`.
///
/// `readiness` is asked at every `/readyz`: it must be cheap and not block.
pub fn routes(readiness: impl Fn() -> Readiness + Clone + Send + Sync + 'static) -> Router {
    Router::new()
        .route("/healthz", get(|| async { ([(header::CACHE_CONTROL, "no-store")], "ok") }))
        .route("/readyz", get(move || async move { answer(&readiness()) }))
}

fn answer(readiness: &Readiness) -> Response {
    let ready = readiness.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let body = serde_json::json!({ "ready": ready, "parts": readiness.parts }).to_string();
    (status, headers, body).into_response()
}
