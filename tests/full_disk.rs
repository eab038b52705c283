//! Full disks: nothing is done without its record, nothing is given out, and the service recovers by itself.
//! The disks are small tmpfs, so these tests run as root.

#[path = "support/noise.rs"]
mod noise;
mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use noise::Noise;
use serde_json::{Value, json};
use support::wire::{Answer, Request, exchange};
use support::{PROGRAM, Service};

#[test]
fn a_full_audit_disk_stops_everything_until_there_is_room() {
    let place = Place::with_disk_at("audit", "2m");
    let service = place.serve();
    let (key, sealed) = key_and_blob(&service);
    let before = listed(&service);

    let filler = fill(&place.data.join("audit"));
    let mut answered = until_refused(&service, &key);
    assert_eq!(ready(&service), 503);
    for (operation, body) in [
        ("CreateKey", json!({})),
        ("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256" })),
        ("Decrypt", json!({ "CiphertextBlob": sealed })),
        ("TagResource", json!({ "KeyId": key, "Tags": [{ "TagKey": "t", "TagValue": "1" }] })),
        ("ScheduleKeyDeletion", json!({ "KeyId": key })),
        ("ListKeys", json!({})),
    ] {
        let told = request(&service, operation, &body);
        assert_eq!((told.status, told.error().as_str()), (500, "KMSInternalException"), "{operation}");
        assert!(told.json().get("Plaintext").is_none());
    }
    for operation in ["CreateUser", "GetUser"] {
        assert_eq!(operate(&service, operation)["error"]["code"], "ServiceFailure");
    }

    std::fs::remove_file(filler).unwrap();
    let (noise, freed) = (Noise::around(service.pid()), Instant::now());
    until("it recovers", || ready(&service) == 200);
    assert!(!noise.has_passed(Duration::from_secs(3), freed), "{:?}", freed.elapsed());
    let told = request(&service, "GenerateDataKey", &json!({ "KeyId": key, "KeySpec": "AES_256" }));
    answered.push(id(&told));
    assert_eq!(told.status, 200);
    assert_eq!(listed(&service), before, "no key was made");
    assert_eq!(operate(&service, "GetUser")["error"]["code"], "NoSuchEntity", "no user was made");
    let tags = request(&service, "ListResourceTags", &json!({ "KeyId": key })).json();
    assert_eq!(tags["Tags"], json!([]), "nothing was changed");
    let state = request(&service, "DescribeKey", &json!({ "KeyId": key })).json();
    assert_eq!(state["KeyMetadata"]["KeyState"], "Enabled");
    assert_recorded(&service, &answered);
    assert_eq!(objects(&service), 2, "the key and the store's root");
    assert!(service.terminate().0.success());
    assert_eq!(hsm_kms::audit::verify(&place.data.join("audit")).unwrap().breaks, 0);
}

#[test]
fn a_full_store_disk_refuses_changes_and_serves_what_changes_nothing() {
    let place = Place::with_disk_at("", "6m");
    let service = place.serve();
    let (key, sealed) = key_and_blob(&service);
    let before = listed(&service);

    let filler = fill(&place.data);
    let mut answered = Vec::new();
    let mut refused = 0;
    // SQLite still finds room in the pages that it has; then every change is refused.
    until("changes are refused", || {
        let tags = json!([{ "TagKey": "t", "TagValue": "x".repeat(200) }]);
        let told = request(&service, "TagResource", &json!({ "KeyId": key, "Tags": tags }));
        match told.status {
            200 => answered.push(id(&told)),
            _ => {
                assert_eq!((told.status, told.error().as_str()), (500, "KMSInternalException"));
                refused += 1;
            }
        }
        refused >= 3
    });
    let told = request(&service, "CreateKey", &json!({}));
    assert_eq!((told.status, told.error().as_str()), (500, "KMSInternalException"));
    assert_eq!(operate(&service, "CreateUser")["error"]["code"], "ServiceFailure");
    let told = request(&service, "Decrypt", &json!({ "CiphertextBlob": sealed }));
    match told.status {
        200 => answered.push(id(&told)),
        _ => assert_eq!(told.error(), "KMSInternalException", "the audit log has no room either"),
    }

    std::fs::remove_file(filler).unwrap();
    let new = json!({ "KeyId": key, "Description": "there is room again" });
    until("it recovers", || request(&service, "UpdateKeyDescription", &new).status == 200);
    until("it is ready", || ready(&service) == 200);
    let told = request(&service, "Decrypt", &json!({ "CiphertextBlob": sealed }));
    assert_eq!(told.json()["Plaintext"], "eHk=");
    answered.push(id(&told));
    assert_eq!(listed(&service), before, "no key was made");
    assert_eq!(operate(&service, "GetUser")["error"]["code"], "NoSuchEntity", "no user was made");
    assert_recorded(&service, &answered);
    assert!(service.terminate().0.success());

    let service = place.serve();
    assert_eq!(listed(&service), before);
    let state = request(&service, "DescribeKey", &json!({ "KeyId": key })).json();
    assert_eq!(state["KeyMetadata"]["Description"], "there is room again");
    assert!(service.terminate().0.success());
    hsm_kms::audit::verify(&place.data.join("audit")).unwrap();
}

/// A data folder on disks of its own, beside a token that those do not touch.
struct Place {
    folder: tempfile::TempDir,
    data: PathBuf,
    env: String,
    disk: PathBuf,
}

impl Place {
    /// With what a first run of `dev` made, and a small disk at this folder of the data folder.
    fn with_disk_at(at: &str, size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (seed, data) = (folder.path().join("seed"), folder.path().join("data"));
        let service = Service::start_in(&seed, &[]);
        let env = std::fs::read_to_string(seed.join("env")).unwrap();
        let env = env.lines().filter(|line| !line.contains("ENDPOINT")).map(|line| format!("{line}\n")).collect();
        assert!(service.terminate().0.success());
        let disk = data.join(at);
        std::fs::create_dir_all(&disk).unwrap();
        let options = format!("size={size},mode=700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "hsm-kms-test"]).arg(&disk));
        let place = Place { folder, data, env, disk };
        for name in ["audit", "pin", "softhsm2.conf", "store.db"] {
            run(Command::new("cp").arg("-a").arg(seed.join(name)).arg(&place.data));
        }
        std::fs::set_permissions(&place.data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        place.write_settings();
        place
    }

    fn write_settings(&self) {
        let text = format!(
            "data = {:?}\naccount = \"111122223333\"\nregions = [\"us-east-1\"]\n\
             [token]\nmodule = {:?}\nlabel = \"hsm-kms\"\npin_file = {:?}\n\
             [server]\nlisten = \"127.0.0.1:0\"\n[audit]\nreserve_bytes = 262144\n",
            self.data,
            support::SOFTHSM,
            self.data.join("pin"),
        );
        std::fs::write(self.folder.path().join("hsm-kms.toml"), text).unwrap();
    }

    /// `hsm-kms serve` on a port that it picks.
    fn serve(&self) -> Service {
        let log = self.data.with_extension("log");
        let starts = addresses(&log).len();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // What `dev` does by itself: tell the tests where it serves.
                until("it serves", || addresses(&log).len() > starts);
                let endpoint = format!("AWS_ENDPOINT_URL_KMS=http://{}\n", addresses(&log)[starts]);
                std::fs::write(self.data.join("env.new"), endpoint + &self.env).unwrap();
                std::fs::rename(self.data.join("env.new"), self.data.join("env")).unwrap();
            });
            let mut command = Command::new(PROGRAM);
            command.env("SOFTHSM2_CONF", self.data.join("softhsm2.conf"));
            command.args(["serve", "--config"]).arg(self.folder.path().join("hsm-kms.toml"));
            Service::spawn(&self.data, &mut command).unwrap()
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Lazily, because a test that failed may still have its files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.disk).status();
    }
}

/// Where the runs in this log have served.
fn addresses(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["fields"]["address"].as_str().map(str::to_owned)).collect()
}

/// Fills the disk of this folder to its last page with a file.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    let full = (0..1_000_000).find_map(|_| file.write_all(&[0; 4096]).err()).expect("the disk is small");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    path
}

/// Asks for data keys until one is refused; the request ids of those that were answered.
fn until_refused(service: &Service, key: &str) -> Vec<String> {
    let mut answered = Vec::new();
    until("it is refused", || {
        let told = request(service, "GenerateDataKey", &json!({ "KeyId": key, "KeySpec": "AES_256" }));
        match told.status {
            200 => answered.push(id(&told)),
            _ => assert_eq!((told.status, told.error().as_str()), (500, "KMSInternalException")),
        }
        told.status != 200
    });
    answered
}

fn assert_recorded(service: &Service, answered: &[String]) {
    let lines = service.audit();
    for id in answered {
        let records = lines.iter().filter(|line| line["event"]["requestID"] == id.as_str()).count();
        assert_eq!(records, 1, "the record of the answer {id}");
    }
}

fn key_and_blob(service: &Service) -> (String, String) {
    let made = request(service, "CreateKey", &json!({})).json();
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let sealed = request(service, "Encrypt", &json!({ "KeyId": key, "Plaintext": "eHk=" })).json();
    (key, sealed["CiphertextBlob"].as_str().unwrap().to_owned())
}

fn listed(service: &Service) -> Value {
    let told = request(service, "ListKeys", &json!({}));
    assert_eq!(told.status, 200);
    told.json()["Keys"].clone()
}

fn objects(service: &Service) -> usize {
    let told = service.pkcs11_tool(&["--list-objects", "--type", "secrkey"]);
    told.lines().filter(|line| line.trim().starts_with("label:")).count()
}

fn request(service: &Service, operation: &str, body: &Value) -> Answer {
    Request::kms(operation, body).send(service)
}

/// What an operator is told who asks this of the user `alice`.
fn operate(service: &Service, operation: &str) -> Value {
    let mut stream = UnixStream::connect(service.data().join("admin.sock")).unwrap();
    let line = json!({ "operation": operation, "parameters": { "UserName": "alice" } });
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn id(answer: &Answer) -> String {
    answer.header("x-amzn-requestid").unwrap().to_owned()
}

fn ready(service: &Service) -> u16 {
    exchange(&service.address(), b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").status
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?} failed: this test runs as root");
}
