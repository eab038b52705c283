//! A real service for a test: the program itself, with its own token and data folder, on a port of its own.
#![allow(dead_code)] // every test uses its own part of this

pub mod wire;

use std::collections::HashMap;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Region};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hsm_kms::crypto::{PublicKey, oaep_encrypt};
use hsm_kms::model::{EncryptionAlgorithm, KeyPairSpec};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_hsm-kms");

/// A running service. Killed when dropped; its folder goes with it unless the test owns the folder.
pub struct Service {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    env: HashMap<String, String>,
    _folder: Option<tempfile::TempDir>,
}

impl Service {
    /// A new service in a folder of its own.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut service = Service::start_in(&folder.path().join("data"), &[]);
        service._folder = Some(folder);
        service
    }

    /// A new service in a folder of its own, started with these arguments besides.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut service = Service::start_in(&folder.path().join("data"), arguments);
        service._folder = Some(folder);
        service
    }

    /// A service in this data folder, which may hold what an earlier run left.
    pub fn start_in(data: &Path, arguments: &[&str]) -> Self {
        Service::try_start_in(data, arguments).unwrap_or_else(|failed| panic!("the service did not start: {failed:?}"))
    }

    /// As `start_in`; the program's end is an answer too.
    pub fn try_start_in(data: &Path, arguments: &[&str]) -> Result<Self, Failed> {
        Service::spawn(
            data,
            Command::new(PROGRAM).args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(arguments),
        )
    }

    /// Waits until a command that runs `hsm-kms dev` in `data` serves, or has ended.
    pub fn spawn(data: &Path, command: &mut Command) -> Result<Self, Failed> {
        let log = data.with_extension("log");
        std::fs::create_dir_all(data.parent().expect("the data folder has a parent")).expect("a folder");
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        // What an earlier run wrote names an address where nobody answers any more.
        let _ = std::fs::remove_file(data.join("env"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().expect("the program");
        let mut service = Service { child, data: data.to_owned(), log, env: HashMap::new(), _folder: None };
        service.wait_until_ready()?;
        Ok(service)
    }

    /// As `spawn`, for a program that told its credentials at an earlier start, in `env`, and now only its address.
    pub fn spawn_again(data: &Path, command: &mut Command, env: &HashMap<String, String>) -> Result<Self, Failed> {
        let log = data.with_extension("log");
        let before = std::fs::read_to_string(&log).expect("the log of the earlier start").len();
        let output = std::fs::OpenOptions::new().append(true).open(&log).expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().expect("the program");
        let mut service = Service { child, data: data.to_owned(), log, env: env.clone(), _folder: None };
        let deadline = Instant::now() + START_TIME;
        while Instant::now() < deadline {
            if let Some(status) = service.child.try_wait().expect("the program's status") {
                return Err(Failed { status, log: service.log() });
            }
            if let Some(address) = served_address(&service.log()[before..]) {
                service.env.insert("AWS_ENDPOINT_URL_KMS".into(), format!("http://{address}"));
                return Ok(service);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the service was not ready within {START_TIME:?}: {}", service.log());
    }

    fn wait_until_ready(&mut self) -> Result<(), Failed> {
        let deadline = Instant::now() + START_TIME;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the program's status") {
                return Err(Failed { status, log: self.log() });
            }
            if let Ok(text) = std::fs::read_to_string(self.data.join("env")) {
                self.env = read_env(&text);
                if self.env.contains_key("AWS_ACCOUNT_ID") && TcpStream::connect(self.address()).is_ok() {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the service was not ready within {START_TIME:?}: {}", self.log());
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> String {
        self.env["AWS_ENDPOINT_URL_KMS"].trim_start_matches("http://").to_owned()
    }

    /// The variables that the service wrote for shells.
    pub fn env(&self) -> &HashMap<String, String> {
        &self.env
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the program wrote to standard error in all runs in this folder.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An SDK client of the root user in the first Region, without retries.
    pub fn client(&self) -> aws_sdk_kms::Client {
        self.client_in(&self.env["AWS_REGION"])
    }

    /// As `client`, in another Region.
    pub fn client_in(&self, region: &str) -> aws_sdk_kms::Client {
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .endpoint_url(&self.env["AWS_ENDPOINT_URL_KMS"])
            .credentials_provider(self.credentials())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(30)).build());
        aws_sdk_kms::Client::from_conf(config.build())
    }

    /// The root user's credentials.
    pub fn credentials(&self) -> Credentials {
        Credentials::from_keys(&self.env["AWS_ACCESS_KEY_ID"], &self.env["AWS_SECRET_ACCESS_KEY"], None)
    }

    /// Ends the program as a power cut would, but for the page cache.
    pub fn kill9(mut self) -> Option<tempfile::TempDir> {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end");
        self._folder.take()
    }

    /// Ends the program as a supervisor would, and gives its status.
    pub fn terminate(self) -> (ExitStatus, Option<tempfile::TempDir>) {
        signal(self.pid(), "TERM");
        self.ended()
    }

    /// Waits for the end of a program that was told to end.
    pub fn ended(mut self) -> (ExitStatus, Option<tempfile::TempDir>) {
        let status = self.child.wait().expect("the end");
        (status, self._folder.take())
    }

    /// The lines of the audit log, in order.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        audit_lines(&self.data)
    }

    /// What `pkcs11-tool` says with these arguments, logged in to the service's token.
    pub fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let pin = std::fs::read_to_string(self.data.join("pin")).expect("the PIN");
        let output = Command::new("pkcs11-tool")
            .env("SOFTHSM2_CONF", self.data.join("softhsm2.conf"))
            .args(["--module", SOFTHSM, "--token-label", "hsm-kms", "--login", "--pin", pin.trim()])
            .args(arguments)
            .output()
            .expect("pkcs11-tool");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.child.try_wait();
            eprintln!("the service in {} ({ended:?}) said:\n{}", self.data.display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Key material as a caller wraps it by RSAES_OAEP_SHA_1, which SoftHSM unwraps by itself, under the RSA_2048 key of an
/// answer of GetParametersForImport.
pub fn wrapped(parameters: &serde_json::Value, material: &[u8]) -> String {
    let spki = STANDARD.decode(parameters["PublicKey"].as_str().expect("a public key")).expect("base64");
    let public_key = PublicKey::from_spki(KeyPairSpec::Rsa2048, &spki).expect("an RSA key");
    STANDARD.encode(oaep_encrypt(&public_key, EncryptionAlgorithm::RsaesOaepSha1, material).expect("short enough"))
}

/// The program ended instead of serving.
#[derive(Debug)]
pub struct Failed {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard error.
    pub log: String,
}

/// The lines of the audit log in a data folder, in order; an unfinished last line is left out.
pub fn audit_lines(data: &Path) -> Vec<serde_json::Value> {
    let mut segments: Vec<_> = std::fs::read_dir(data.join("audit"))
        .expect("the audit folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.sort();
    let mut lines = Vec::new();
    for segment in segments {
        let mut text = String::new();
        std::fs::File::open(segment).expect("a segment").read_to_string(&mut text).expect("text");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        lines
            .extend(whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON")));
    }
    lines
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill");
    assert!(status.success(), "kill -{name} {pid}");
}

/// The address in the line of the log that says that the port is served.
fn served_address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains(r#""message":"serving""#) && line.ends_with('}'))?;
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of the log is JSON");
    line["fields"]["address"].as_str().map(str::to_owned)
}

fn read_env(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// SoftHSM2's module.
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

const START_TIME: Duration = Duration::from_secs(60);
