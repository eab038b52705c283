//! What a supervisor or load balancer asks: is the process alive, and should it get requests.
//!
//! Without authentication, so nothing here may be secret: a part's reason is a text of ours that never changes, not the
//! message of an error.

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

/// Whether requests can be served now, part by part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether requests can be served.
    pub ready: bool,
    /// Everything that a request can need.
    pub parts: Vec<Part>,
}

/// One thing that a request needs, such as the token, the store or the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is: `store`, `audit`, `token`, or the name of a further token in the settings.
    pub name: String,
    /// Whether it works now.
    pub ready: bool,
    /// Why it does not, if there is a word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// `GET /healthz`, always 200 `ok` while the process answers at all, and `GET /readyz`, 200 or 503 with
/// `{"ready":…,"parts":[…]}`; `GET /readyz/eu-west-1` for the clients of one Region, 404 if it is not served.
///
/// `readiness` is asked at every `/readyz`: it must be cheap and not block.
pub fn routes(readiness: impl Fn(Option<&str>) -> Option<Readiness> + Clone + Send + Sync + 'static) -> Router {
    let of_region = readiness.clone();
    Router::new()
        .route("/healthz", get(|| async { ([(header::CACHE_CONTROL, "no-store")], "ok") }))
        .route("/readyz", get(move || async move { answer(readiness(None)) }))
        .route(
            "/readyz/{region}",
            get(move |Path(region): Path<String>| async move { answer(of_region(Some(&region))) }),
        )
}

fn answer(readiness: Option<Readiness>) -> Response {
    let status = match &readiness {
        Some(readiness) if readiness.ready => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        None => StatusCode::NOT_FOUND,
    };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, serde_json::json!(readiness).to_string()).into_response()
}
