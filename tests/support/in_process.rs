//! The service in the test's own process, with a clock that the test moves. SoftHSM's configuration is per process,
//! so such a test runs in a child of its own: see `tests/token/process.rs`.
#![allow(dead_code)] // every test uses its own part of this

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::body::{Body, to_bytes};
use hsm_kms::api::http::Peer;
use hsm_kms::app::{self, Accepted, App};
use hsm_kms::model::{Clock, Timestamp};
use hsm_kms::settings::Settings;
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::process::{LABEL, MODULE, PIN, make_token};

/// A service on the token of this process.
pub struct InProcess {
    pub app: App,
    pub clock: Arc<MovedClock>,
    router: axum::Router,
}

/// Both clocks, where the test puts them.
pub struct MovedClock(Mutex<(i64, Duration)>);

impl MovedClock {
    /// This time of day, an hour after boot.
    pub fn at(millis: i64) -> Arc<Self> {
        Arc::new(MovedClock(Mutex::new((millis, HOUR))))
    }

    /// Time passes, as it does.
    pub fn pass(&self, time: Duration) {
        self.jump(i64::try_from(time.as_millis()).unwrap());
        self.0.lock().unwrap().1 += time;
    }

    /// Somebody sets the time of day.
    pub fn jump(&self, millis: i64) {
        self.0.lock().unwrap().0 += millis;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.lock().unwrap().0)
    }

    fn since_boot(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

impl InProcess {
    /// A new token in `dir`, and a new service on it.
    pub async fn start(dir: &Path, clock: Arc<MovedClock>) -> Self {
        make_token(LABEL);
        InProcess::open(dir, clock).await
    }

    /// The service that was started in `dir` before.
    pub async fn open(dir: &Path, clock: Arc<MovedClock>) -> Self {
        InProcess::try_open(settings(dir), clock, Accepted::default()).await.unwrap()
    }

    /// As `open`; a refusal is an answer too.
    pub async fn try_open(settings: Settings, clock: Arc<MovedClock>, accepted: Accepted) -> Result<Self, app::Error> {
        let app = App::open(settings, SecretString::from(PIN), clock.clone(), accepted, |_| Ok(())).await?;
        Ok(InProcess { router: app.router(), app, clock })
    }

    /// Ends it as SIGTERM does.
    pub async fn close(self) {
        drop(self.router);
        assert!(self.app.close(Duration::from_secs(10)).await, "every call into the token came back");
    }

    /// A request of the root user; anything but 200 fails the test.
    pub async fn call(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.try_call(operation, &body).await;
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// A request of the root user that must be refused: the exception's name.
    pub async fn refused(&self, operation: &str, body: Value) -> String {
        let (status, answer) = self.try_call(operation, &body).await;
        assert_ne!(status, 200, "{operation} {body}: {answer}");
        answer["__type"].as_str().unwrap_or_default().to_owned()
    }

    /// A request of the root user, signed at the service's own time.
    pub async fn try_call(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.try_call_in("us-east-1", operation, body).await
    }

    /// The same in this Region.
    pub async fn try_call_in(&self, region: &str, operation: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut headers = vec![
            ("host".to_owned(), "localhost".to_owned()),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("TrentService.{operation}")),
        ];
        headers.extend(self.signature(region, &headers, body.as_bytes()));
        let mut request = axum::http::Request::post("/").extension(Peer(([127, 0, 0, 1], 1).into()));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    fn signature(&self, region: &str, headers: &[(String, String)], body: &[u8]) -> Vec<(String, String)> {
        let root = self.app.root_user().expect("the root user has an access key");
        let credentials = Credentials::from_keys(&root.access_key_id, root.secret_access_key.as_str(), None);
        self.signature_of(credentials, region, headers, body)
    }

    /// The headers that sign a request to KMS, at the service's own time.
    pub fn signature_of(
        &self,
        credentials: Credentials,
        region: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        let identity = credentials.into();
        let millis = u64::try_from(self.clock.now().as_millis()).unwrap();
        let time: SystemTime = UNIX_EPOCH + Duration::from_millis(millis);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("kms")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let named = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new("POST", "http://localhost/", named, SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A new key's id.
    pub async fn new_key(&self) -> String {
        let made = self.call("CreateKey", json!({})).await;
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }
}

/// Settings of a service in `dir/data`, on the token of this process.
pub fn settings(dir: &Path) -> Settings {
    let (pin_file, config) = (dir.join("pin"), dir.join("hsm-kms.toml"));
    write_private(&pin_file, PIN);
    let text = format!(
        "data = {:?}\naccount = \"111122223333\"\nregions = [\"us-east-1\", \"us-west-2\"]\n\
         [token]\nmodule = {MODULE:?}\nlabel = {LABEL:?}\npin_file = {pin_file:?}\n\
         [clusters.{CLUSTER}]\nmodule = {MODULE:?}\nlabel = {CLUSTER_LABEL:?}\n\
         accounts = [\"111122223333\", \"444455556666\", \"777788889999\"]\n",
        dir.join("data")
    );
    write_private(&config, &text);
    Settings::read(&config).unwrap()
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The cluster of custom key stores, and the label of the token that it is; no test needs to make that.
pub const CLUSTER: &str = "cluster-234567abcde";
pub const CLUSTER_LABEL: &str = "cluster";
/// A certificate, as far as anybody looks at it.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
pub const HOUR: Duration = Duration::from_secs(3_600);
/// 2026-11-22T00:00:00Z
pub const START: i64 = 1_795_305_600_000;
