//! Custom key stores: passwords that are tried once, connections that come back, outages that stay where they are.

mod crash;
#[path = "../support/in_process.rs"]
mod in_process;
mod life;
mod objects;
mod outage;
mod passwords;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod settings;
#[path = "../support/shim.rs"]
mod shim;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_kms::token::{TokenFlags, init_token};
use in_process::{CERTIFICATE, CLUSTER, CLUSTER_LABEL, InProcess, MovedClock};
use process::{MODULE, pin};
use serde_json::{Value, json};

const PASSWORD: &str = "the-password";

/// Makes the token that the settings of these tests call a cluster; its folder.
fn make_cluster(dir: &Path) -> PathBuf {
    let folders = || -> Vec<PathBuf> {
        std::fs::read_dir(dir.join("tokens")).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let before = folders();
    init_token(Path::new(MODULE), CLUSTER_LABEL, &pin("12345678"), &pin(PASSWORD)).unwrap();
    folders().into_iter().find(|folder| !before.contains(folder)).unwrap()
}

/// A new service beside a cluster.
async fn start(dir: &Path, clock: Arc<MovedClock>) -> InProcess {
    make_cluster(dir);
    InProcess::start(dir, clock).await
}

/// A custom key store of the test's own.
struct KeyStore<'s> {
    service: &'s InProcess,
    id: String,
}

impl<'s> KeyStore<'s> {
    async fn create(service: &'s InProcess, password: &str) -> Self {
        let made = service.call("CreateCustomKeyStore", creation("ours", password)).await;
        KeyStore::named(service, made["CustomKeyStoreId"].as_str().unwrap())
    }

    fn named(service: &'s InProcess, id: &str) -> Self {
        KeyStore { service, id: id.to_owned() }
    }

    fn with(&self, mut body: Value) -> Value {
        body["CustomKeyStoreId"] = json!(self.id);
        body
    }

    async fn call(&self, operation: &str) -> Value {
        self.service.call(operation, self.with(json!({}))).await
    }

    async fn describe(&self) -> Value {
        self.call("DescribeCustomKeyStores").await["CustomKeyStores"][0].clone()
    }

    async fn state(&self) -> String {
        self.describe().await["ConnectionState"].as_str().unwrap().to_owned()
    }

    /// Waits until nothing is under way, and gives the state and the code of the error.
    async fn settled(&self) -> (String, Value) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.describe().await;
            let state = now["ConnectionState"].as_str().unwrap();
            if !["CONNECTING", "DISCONNECTING"].contains(&state) {
                return (state.to_owned(), now["ConnectionErrorCode"].clone());
            }
            assert!(Instant::now() < deadline, "{now}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn connect(&self) -> (String, Value) {
        self.call("ConnectCustomKeyStore").await;
        self.settled().await
    }

    async fn connected(&self) {
        assert_eq!(self.connect().await, ("CONNECTED".to_owned(), Value::Null));
    }

    async fn disconnected(&self) {
        self.call("DisconnectCustomKeyStore").await;
        assert_eq!(self.settled().await.0, "DISCONNECTED");
    }

    async fn update(&self, changes: Value) {
        self.service.call("UpdateCustomKeyStore", self.with(changes)).await;
    }

    async fn create_key(&self, body: Value) -> String {
        let made = self.service.call("CreateKey", self.with(body)).await;
        assert_eq!(made["KeyMetadata"]["CustomKeyStoreId"], self.id);
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// Waits until the service has connected it by itself.
    async fn comes_back(&self) {
        let id = self.id.parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.service.app.kms().is_available(&id) {
            assert!(Instant::now() < deadline, "{}", self.describe().await);
            self.service.app.housekeep().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn creation(name: &str, password: &str) -> Value {
    json!({
        "CustomKeyStoreName": name, "CloudHsmClusterId": CLUSTER, "KeyStorePassword": password,
        "TrustAnchorCertificate": CERTIFICATE,
    })
}

async fn encrypt(service: &InProcess, key: &str) -> Value {
    service.call("Encrypt", json!({ "KeyId": key, "Plaintext": "c2VjcmV0" })).await["CiphertextBlob"].clone()
}

async fn decrypts(service: &InProcess, blob: &Value) {
    assert_eq!(service.call("Decrypt", json!({ "CiphertextBlob": blob })).await["Plaintext"], "c2VjcmV0");
}

async fn key_state(service: &InProcess, key: &str) -> String {
    let described = service.call("DescribeKey", json!({ "KeyId": key })).await;
    described["KeyMetadata"]["KeyState"].as_str().unwrap().to_owned()
}

/// What the cluster's token says of itself.
fn flags() -> TokenFlags {
    let tokens = hsm_kms::token::tokens(Path::new(MODULE), None).unwrap();
    tokens.into_iter().find(|token| token.label == CLUSTER_LABEL).unwrap().flags
}

/// Logs in to the cluster's token in another process, which clears the flag that a wrong PIN sets.
fn log_in_elsewhere() {
    let output = std::process::Command::new("pkcs11-tool")
        .args(["--module", MODULE, "--token-label", CLUSTER_LABEL, "--login", "--pin", PASSWORD, "--list-objects"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn events(dir: &Path, name: &str) -> Vec<Value> {
    let lines = support::audit_lines(&dir.join("data"));
    let events = lines.into_iter().map(|mut line| line["event"].take());
    events.filter(|event| event["eventName"] == name).collect()
}
