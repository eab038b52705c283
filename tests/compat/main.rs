//! Unmodified clients of AWS, side by side at one service; then the search for what they must not leave behind.

#[path = "../support/mod.rs"]
mod support;

mod canary;
#[path = "../support/clients.rs"]
mod clients;

use std::path::{Path, PathBuf};
use std::process::Command;

use hsm_kms::api::json::OPERATIONS;
use serde_json::json;
use support::wire::Request;
use support::{PROGRAM, Service};

use canary::{Canaries, Canary};
use clients::venv;

#[test]
fn aws_clients_work_and_leave_no_secret_behind() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path());
    bench.makes_the_replication_key();
    // Side by side, each in a Region of its own, so that each can have `alias/key1`.
    std::thread::scope(|scope| {
        scope.spawn(|| bench.run_script("cli.sh", "us-east-1", &[("AWS_PROGRAM", Path::new("/usr/bin/aws"))]));
        scope.spawn(|| bench.run_script("cli.sh", "eu-west-1", &[("AWS_PROGRAM", &venv().join("bin/aws"))]));
        scope.spawn(|| {
            bench.run_script("encryption_cli.sh", "ap-south-1", &[("VENV", &venv())]);
            bench.run_sdk("sdk.py", &mut Command::new(venv().join("bin/python")), "ap-south-1");
        });
        scope.spawn(|| {
            let mut node = Command::new(venv().join("bin/node"));
            node.env("NODE_PATH", venv().join("javascript/node_modules"));
            bench.run_sdk("sdk.cjs", &mut node, "eu-north-1");
        });
    });
    bench.token_keeps_its_keys();
    bench.secrets_are_nowhere();
}

/// The example of a key manager and a key user, by both generations of `aws`, and the two ways to raise one's own rights.
#[test]
fn a_key_manager_and_a_key_user_keep_to_their_parts() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path());
    std::thread::scope(|scope| {
        for (region, aws) in [("us-east-1", PathBuf::from("/usr/bin/aws")), ("eu-west-1", venv().join("bin/aws"))] {
            let names = ["myKeyManager", "myKeyUser", "myOtherUser"].map(|name| format!("{name}-{region}"));
            let bench = &bench;
            scope.spawn(move || {
                let variables = [
                    ("AWS_PROGRAM", aws.as_path()),
                    ("HSM_KMS", Path::new(PROGRAM)),
                    ("DATA", bench.service.data()),
                    ("MANAGER", Path::new(&names[0])),
                    ("USER_NAME", Path::new(&names[1])),
                    ("OTHER", Path::new(&names[2])),
                ];
                bench.run_script("key_manager.sh", region, &variables);
            });
        }
    });
}

/// A new user copies what the program prints; Debian's aws is the one at hand.
#[test]
fn what_dev_prints_can_be_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, home) = (folder.path().join("it's my data"), folder.path().join("home"));
    std::fs::create_dir(&home).unwrap();
    let first = paste(&data, &home);
    assert!(first.contains("Plaintext") && first.contains("CiphertextBlob"), "{first}");
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap();
    assert!(first.ends_with(&hostname), "{first}");
    // The second run finds the key of the first and says what to do with it.
    let second = paste(&data, &home);
    assert!(second.contains("alias/key1") && second.contains("my first key"), "{second}");
}

/// Starts `hsm-kms dev`, pastes the indented lines that it prints into a shell, and gives what they said.
fn paste(data: &Path, home: &Path) -> String {
    let greeting = home.join("greeting");
    let mut program = Command::new("bash");
    program.args(["-c", r#"exec "$0" dev --listen 127.0.0.1:0 --data "$1" >"$2""#, PROGRAM]).args([data, &greeting]);
    let _service = Service::spawn(data, &mut program).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") && std::time::Instant::now() < deadline {
        printed = std::fs::read_to_string(&greeting).unwrap();
    }
    let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(lines.len() > 3, "{printed}");
    let mut shell = Command::new("bash");
    shell.args(["-e", "-o", "pipefail", "-c", &lines.join("\n")]).current_dir(home);
    shell.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("AWS_SESSION_TOKEN", "of another account");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{printed}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The service under test, and the folder of the secrets that its clients saw.
struct Bench {
    folder: PathBuf,
    canaries: PathBuf,
    service: Service,
}

impl Bench {
    fn start(folder: &Path) -> Self {
        let (data, canaries) = (folder.join("data"), folder.join("canaries"));
        std::fs::create_dir(&canaries).unwrap();
        let mut program = Command::new(PROGRAM);
        program.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&data).env("HSM_KMS_LOG", "trace");
        program.args(REGIONS.iter().flat_map(|region| ["--region", region])).args(["--clusters", "3"]);
        let service = Service::spawn(&data, &mut program).unwrap();
        Bench { folder: folder.to_owned(), canaries, service }
    }

    /// With the first multi-Region key. On a busy machine this takes longer than clients wait, and they have no second try.
    fn makes_the_replication_key(&self) {
        let request =
            || Request { region: "sa-east-1".into(), ..Request::kms("CreateKey", &json!({ "MultiRegion": true })) };
        let answers = std::iter::repeat_with(|| request().send(&self.service).status).take(5);
        assert!(answers.into_iter().any(|status| status == 200), "the token makes no replication key");
    }

    fn run_script(&self, script: &str, region: &str, variables: &[(&str, &Path)]) {
        self.run(script, Command::new("bash").arg(scripts().join(script)).envs(variables.iter().copied()), region);
    }

    /// A program that must call every operation.
    fn run_sdk(&self, name: &str, program: &mut Command, region: &str) {
        // No key of SoftHSM does these: tests/contract/lattice.py asks for them on a token that has such keys.
        let elsewhere = ["Decapsulate", "Encapsulate"];
        let names = OPERATIONS.iter().map(|route| route.name);
        let operations: Vec<_> = names.filter(|name| !elsewhere.contains(name)).collect();
        program.arg(scripts().join(name)).env("OPERATIONS", operations.join(","));
        self.run(name, program.env("HSM_KMS", PROGRAM).env("DATA", self.service.data()), region);
    }

    fn run(&self, name: &str, command: &mut Command, region: &str) {
        let home = self.folder.join(format!("{name}-{region}"));
        clients::run(&self.service, command.env("CANARIES", &self.canaries), &home, region);
    }

    /// Every key of the clients is on the token, and the token's own tool calls each one closed for ever.
    fn token_keeps_its_keys(&self) {
        let list = |kind: &str| self.service.pkcs11_tool(&["--list-objects", "--type", kind]);
        let listing = list("secrkey") + &list("privkey").replace("Private Key Object", "Secret Key Object");
        let objects: Vec<_> = listing.split("Secret Key Object").skip(1).collect();
        let access =
            |object: &&str| object.lines().find(|line| line.trim_start().starts_with("Access:")).map(str::to_owned);
        for object in &objects {
            let access = access(object).unwrap_or_default();
            let words: Vec<_> = access.split(':').nth(1).unwrap_or_default().split(',').map(str::trim).collect();
            // What came from outside was extractable there, as what can go to another token is on its way.
            let elsewhere = |object: &str| {
                ["imported", "multi-region"]
                    .map(|purpose| format!("hsm-kms/{purpose}/"))
                    .iter()
                    .any(|label| object.contains(label))
            };
            let always: &[&str] = if elsewhere(object) { &[] } else { &["always sensitive", "never extractable"] };
            for word in always.iter().chain(&["sensitive"]) {
                assert!(words.contains(word), "not {word}: {object}");
            }
            assert!(!words.contains(&"extractable"), "{object}");
        }
        let mut made: Vec<_> = self.service.audit().iter().filter_map(created_key).collect();
        made.retain(|key_id| !key_id.starts_with("mrk-"));
        assert!(made.len() >= 18, "the clients made {} keys", made.len());
        for key_id in &made {
            let label = format!("hsm-kms/kms/{key_id}/1");
            assert!(objects.iter().any(|object| object.contains(&label)), "no object {label}: {listing}");
        }
        let count = |purpose: &str| objects.iter().filter(|object| object.contains(purpose)).count();
        let [imported, wrapping] = ["hsm-kms/imported/", "hsm-kms/import-wrapping/"].map(count);
        // sdk.py keeps the second of its two imports, and sdk.cjs deletes its one.
        assert!(imported == 1 && wrapping > imported, "{listing}");
        let log = self.service.audit();
        let rotated = log.iter().filter(|line| line["event"]["eventName"] == "RotateKeyOnDemand");
        let rotated = rotated.filter(|line| line["event"]["errorCode"].is_null()).count();
        let first = made.iter().filter(|key_id| count(&format!("hsm-kms/kms/{key_id}/1\n")) == 1).count();
        assert_eq!(first, made.len());
        // Both SDKs make a multi-Region key with one replica, which the token's one replication key serves, and there is the
        // one that came before them.
        assert_eq!(["hsm-kms/multi-region/", "hsm-kms/replication/"].map(count), [5, 1], "{listing}");
        let others = objects.len() - imported - wrapping - made.len() - 7;
        assert!(others <= rotated, "the keys, their rotations and the store's root, and nothing else: {listing}");
    }

    fn secrets_are_nowhere(&self) {
        let data = self.service.data();
        let mut canaries = Canaries::default();
        for entry in std::fs::read_dir(&self.canaries).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            canaries.add(Canary::of_bytes(&name, &std::fs::read(&path).unwrap()));
        }
        assert!(canaries.len() >= 2 * 4 + 1 + 8, "the clients kept only {} secrets", canaries.len());
        let log = data.with_extension("log");
        // Every refusal is logged at debug level: without one, this would not be the log that was asked for.
        assert!(self.service.log().contains(r#""level":"DEBUG""#), "{}", self.service.log());
        canaries.assert_absent_in(&[data, &log], &[]);

        let mut credentials = Canaries::default();
        credentials.add(Canary::of_text("secret access key", &self.service.env()["AWS_SECRET_ACCESS_KEY"]));
        for file in ["pin", "so-pin", "cluster-password"] {
            credentials.add(Canary::of_text(file, std::fs::read_to_string(data.join(file)).unwrap().trim()));
        }
        let own_files = ["env", "pin", "so-pin", "cluster-password"].map(|file| data.join(file));
        credentials.assert_absent_in(&[data, &log], &own_files);
    }
}

/// The id of the key that an event says was made.
fn created_key(event: &serde_json::Value) -> Option<String> {
    let event = if event["eventName"].is_null() { &event["event"] } else { event };
    let is_made = event["eventName"] == "CreateKey" && event["requestParameters"]["origin"] == "AWS_KMS";
    if !is_made || !event["errorCode"].is_null() {
        return None;
    }
    let arn = event["resources"][0]["ARN"].as_str()?;
    Some(arn.rsplit('/').next()?.to_owned())
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat")
}

const REGIONS: &[&str] = &["us-east-1", "eu-west-1", "ap-south-1", "eu-north-1", "sa-east-1"];
