//! The command line: what starts, what is refused at start and how, and how a service ends.

mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Permissions;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::wire::{Request, read_answer};
use support::{PROGRAM, SOFTHSM, Service, signal};

/// A folder with SoftHSM's configuration, PIN files, and settings made of the documented example.
struct Machine {
    folder: tempfile::TempDir,
    /// What the first start of `serve` told.
    env: RefCell<Option<HashMap<String, String>>>,
}

impl Machine {
    /// Without a token.
    fn empty() -> Self {
        let machine = Machine { folder: tempfile::tempdir().unwrap(), env: RefCell::new(None) };
        std::fs::create_dir(machine.path("tokens")).unwrap();
        let configuration = format!("directories.tokendir = {}\n", machine.path("tokens").display());
        std::fs::write(machine.path("softhsm2.conf"), configuration).unwrap();
        machine.write("pin", "001199\n");
        machine.write("so-pin", "002288\n");
        machine.write("settings.toml", &machine.settings());
        machine
    }

    /// With the token of the settings.
    fn new() -> Self {
        let machine = Machine::empty();
        machine.init_token("hsm-kms");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    /// The example, with the paths of this folder and a free port.
    fn settings(&self) -> String {
        let folder = self.folder.path().display().to_string();
        let text = EXAMPLE.replace("/var/lib/hsm-kms", &folder);
        assert_eq!(text.matches(&folder).count(), 2, "{text}");
        text + "\n[server]\nlisten = \"127.0.0.1:0\"\n"
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path()).env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    fn serve(&self) -> Service {
        let mut command = self.command(&["serve", "--config", "settings.toml"]);
        let data = self.path("data");
        match &mut *self.env.borrow_mut() {
            Some(env) => Service::spawn_again(&data, &mut command, env).unwrap(),
            unknown => {
                let service = Service::spawn(&data, &mut command).unwrap();
                *unknown = Some(service.env().clone());
                service
            }
        }
    }

    fn init_token(&self, label: &str) -> Value {
        let arguments = ["token", "init", "--module", SOFTHSM, "--label", label];
        let files = ["--pin-file", "pin", "--so-pin-file", "so-pin", "--output", "json"];
        let ended = self.run(&[&arguments[..], &files].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str::<Value>(&ended.stdout).unwrap()["tokens"][0].clone()
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments))
    }

    /// What `serve` says of these settings, which it must refuse.
    fn refusal_of(&self, settings: &str) -> Refusal {
        self.write("settings.toml", settings);
        self.run(&["serve", "--config", "settings.toml"]).refusal()
    }

    /// The token's flags, as `pkcs11-tool` names them.
    fn token_flags(&self) -> String {
        let mut command = Command::new("pkcs11-tool");
        command.args(["--module", SOFTHSM, "--list-token-slots"]);
        let output = command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find(|line| line.contains("token flags")).expect("flags").to_owned()
    }
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// An exit code and the one line that goes with it.
type Refusal = (i32, String);

impl Ended {
    /// The one line for the operator; everything else on standard error is the log, in JSON.
    #[track_caller]
    fn refusal(self) -> Refusal {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let (last, log) = lines.split_last().unwrap_or_else(|| panic!("nothing on standard error: {self:?}"));
        for line in log {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "more than one line: {}", self.stderr);
        }
        assert_eq!(self.stdout, "");
        (self.code, last.strip_prefix("hsm-kms: ").unwrap_or_else(|| panic!("{last}")).to_owned())
    }
}

/// Runs a program that ends by itself.
#[track_caller]
fn end(command: &mut Command) -> Ended {
    let (stdout, stderr) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let files = (stdout.reopen().unwrap(), stderr.reopen().unwrap());
    let mut child = command.stdin(Stdio::null()).stdout(files.0).stderr(files.1).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end: {}", std::fs::read_to_string(stderr.path()).unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
    Ended { code: status.code().expect("no signal"), stdout: read(&stdout), stderr: read(&stderr) }
}

#[track_caller]
fn says(refusal: Refusal, code: i32, parts: &[&str]) {
    assert_eq!(refusal.0, code, "{}", refusal.1);
    for part in parts {
        assert!(refusal.1.contains(part), "`{part}` is not in: {}", refusal.1);
    }
}

// ---- what is refused ----

#[test]
fn a_token_that_is_not_there() {
    let machine = Machine::new();
    let refusal = machine.refusal_of(&machine.settings().replace("label = \"hsm-kms\"", "label = \"other\""));
    says(refusal, 1, &["there is no token with label `other`", "`hsm-kms`"]);
    let refusal = machine.refusal_of(&machine.settings().replace("label = \"hsm-kms\"", "serial = \"0123\""));
    says(refusal, 1, &["there is no token with serial", "0123", "hsm-kms"]);
    let refusal = machine.refusal_of(&machine.settings().replace("label = \"hsm-kms\"", ""));
    says(refusal, 78, &["token.label, token.serial or token.uri", "hsm-kms token list"]);
    let by_uri = |uri: &str| {
        let settings = machine.settings().replace("label = \"hsm-kms\"", &format!("uri = \"{uri}\""));
        machine.refusal_of(&settings)
    };
    says(by_uri("pkcs11:token=other"), 1, &["there is no token with URI pkcs11:token=other", "`hsm-kms`"]);
    says(by_uri("pkcs11:token=hsm-kms;object=x"), 78, &["`object` is none of token, serial, manufacturer and model"]);
    let refusal = machine.refusal_of(&machine.settings().replace(SOFTHSM, "/nowhere.so"));
    says(refusal, 1, &["the PKCS#11 module /nowhere.so does not start"]);
    // No try at a PIN was spent.
    assert!(!machine.token_flags().contains("count low"));
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let machine = Machine::new();
    assert!(!machine.token_flags().contains("count low"));
    machine.write("pin", "999999");
    let refusal = machine.run(&["serve", "--config", "settings.toml"]).refusal();
    says(refusal, 78, &["the token refused the PIN", "never tries the same PIN again"]);
    let flags = machine.token_flags();
    assert!(flags.contains("user PIN count low") && !flags.contains("final") && !flags.contains("locked"), "{flags}");
    assert!(!machine.path("data/store.db").exists());
    machine.write("pin", "001199");
    let service = machine.serve();
    assert_eq!(list_keys(&service), json!([]));
    assert!(!machine.token_flags().contains("count low"));
}

#[test]
fn a_store_of_another_token() {
    let machine = Machine::new();
    // Its address answers before its access key is in the store: only an answer says that it is.
    let service = machine.serve();
    assert_eq!(list_keys(&service), json!([]));
    drop(service.terminate());
    let other = machine.init_token("other");
    let listed = machine.run(&["token", "list", "--module", SOFTHSM, "--output", "json"]).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let first = listed["tokens"].as_array().unwrap().iter().find(|token| token["label"] == "hsm-kms").unwrap().clone();
    let refusal = machine.refusal_of(&machine.settings().replace("label = \"hsm-kms\"", "label = \"other\""));
    let [first_serial, other_serial] = [&first, &other].map(|token| token["serial"].as_str().unwrap());
    says(refusal, 78, &["`hsm-kms`", first_serial, "`other`", other_serial, "not given the PIN"]);
    // One that is named by its serial number is the operator's choice, and shows whether it has the store's key.
    let by_serial = format!("serial = {other_serial:?}");
    let refusal = machine.refusal_of(&machine.settings().replace("label = \"hsm-kms\"", &by_serial));
    says(refusal, 78, &["`hsm-kms`", first_serial, "`other`", other_serial, "give the right token"]);
    machine.write("settings.toml", &machine.settings());
    assert_eq!(list_keys(&machine.serve()), json!([]));
}

#[test]
fn settings_that_cannot_be_used() {
    let machine = Machine::new();
    let settings = machine.settings();
    let missing = machine.run(&["serve", "--config", "nothing.toml"]).refusal();
    says(missing, 78, &["settings nothing.toml", "not found"]);
    for (text, parts) in [
        ("data = ".to_owned(), &["settings settings.toml"][..]),
        ("[token\n".into(), &["settings settings.toml"]),
        (settings.replace("[token]", "[token]\npin = 001199"), &["settings settings.toml", "line "]),
        (format!("dta = \"x\"\n{settings}"), &["unknown field", "`dta`"]),
        (settings.replace("[server]", "[server]\nlitsen = 5"), &["unknown field", "`litsen`"]),
        (settings.replace("[token]", "[token]\npin = \"001199\""), &["unknown field", "`pin`"]),
        (settings.replace("data = ", "# "), &["missing configuration field \"data\""]),
        (settings.replace("[\"us-east-1\"]", "[]"), &["`regions` is empty"]),
        (settings.replace("[\"us-east-1\"]", "[\"nowhere\"]"), &["`nowhere` is not a Region name"]),
        (settings.replace("111122223333", "1111"), &["`1111` is not an account id"]),
        (settings.replace("127.0.0.1:0", "localhost"), &["listen"]),
        (settings.replace("127.0.0.1:0", "0.0.0.0:0"), &["server.listen 0.0.0.0:0", "loopback"]),
        (settings.replace("/pin\"", "/no-pin\""), &["the PIN file", "no-pin", "put the user PIN there"]),
    ] {
        assert_ne!(text, settings);
        let (code, line) = machine.refusal_of(&text);
        says((code, line.clone()), 78, parts);
        assert!(!line.contains("001199"), "a PIN is not shown: {line}");
    }
    machine.write("settings.toml", &settings);
    let mut command = machine.command(&["serve", "--config", "settings.toml"]);
    let refusal = end(command.env("HSM_KMS__SERVER__MAX_CONNECTIONS", "many")).refusal();
    says(refusal, 78, &["max_connections"]);
    std::fs::set_permissions(machine.path("settings.toml"), Permissions::from_mode(0o600)).unwrap();
    assert!(!machine.path("data/store.db").exists() && !machine.token_flags().contains("count low"));
}

#[test]
fn files_that_others_can_read() {
    let machine = Machine::new();
    std::fs::create_dir(machine.path("data")).unwrap();
    let serve = || machine.run(&["serve", "--config", "settings.toml"]).refusal();
    for mode in [0o755, 0o750, 0o701, 0o770] {
        std::fs::set_permissions(machine.path("data"), Permissions::from_mode(mode)).unwrap();
        says(serve(), 78, &["data is open to other users", &format!("mode {mode:03o}"), "chmod 700"]);
        let data = machine.path("data").display().to_string();
        let dev = machine.run(&["dev", "--listen", "127.0.0.1:0", "--data", &data]).refusal();
        says(dev, 78, &["data is open to other users", "chmod 700"]);
    }
    std::fs::set_permissions(machine.path("data"), Permissions::from_mode(0o700)).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        std::fs::set_permissions(machine.path("pin"), Permissions::from_mode(mode)).unwrap();
        says(serve(), 78, &["pin is open to other users", &format!("mode {mode:03o}"), "chmod 600"]);
    }
    assert_eq!(std::fs::read_dir(machine.path("data")).unwrap().filter(|entry| name(entry) != "lock").count(), 0);
    std::fs::set_permissions(machine.path("pin"), Permissions::from_mode(0o400)).unwrap();
    assert_eq!(list_keys(&machine.serve()), json!([]));
}

#[test]
fn a_port_that_is_taken_costs_no_login() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    machine.write("pin", "999999");
    let refusal = machine.refusal_of(&machine.settings().replace("127.0.0.1:0", &address));
    says(refusal, 1, &[&format!("cannot listen on {address}: the port is in use")]);
    assert!(!machine.token_flags().contains("count low"));
}

#[test]
fn two_processes_on_one_data_folder() {
    let machine = Machine::new();
    let service = machine.serve();
    let refusal = machine.run(&["serve", "--config", "settings.toml"]).refusal();
    says(refusal, 1, &["data is in use by another hsm-kms process"]);
    let data = machine.path("data").display().to_string();
    let refusal = machine.run(&["dev", "--listen", "127.0.0.1:0", "--data", &data]).refusal();
    says(refusal, 1, &["data is in use by another hsm-kms process"]);
    // The first one goes on undisturbed, and its `env` is still its own.
    assert_eq!(list_keys(&service), json!([]));
    let env = std::fs::read_to_string(machine.path("data/env")).unwrap();
    assert!(env.contains(&service.address()));
}

/// With data folders of their own, so that nothing but the token is in the way.
#[test]
fn two_processes_on_one_softhsm_token() {
    let machine = Machine::new();
    let service = machine.serve();
    let data = machine.path("data").display().to_string();
    let others = machine.settings().replace(&format!("data = {data:?}"), &format!("data = {:?}", data + "-of-another"));
    assert_ne!(others, machine.settings());
    says(machine.refusal_of(&others), 1, &["is in use by another hsm-kms process", "a SoftHSM token serves one"]);
    assert_eq!(list_keys(&service), json!([]));
    let probe = ["token", "probe", "--module", SOFTHSM, "--label", "hsm-kms", "--pin-file", "pin"];
    assert_eq!(machine.run(&probe).code, 0, "who only looks is no second service");
    service.kill9();
    machine.write("settings.toml", &machine.settings());
    assert_eq!(list_keys(&machine.serve()), json!([]), "who was killed has let go of it");
}

#[test]
fn dev_serves_on_loopback_only() {
    let machine = Machine::empty();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9911"] {
        let refusal = machine.run(&["dev", "--listen", address]).refusal();
        says(refusal, 78, &[address, "loopback"]);
    }
    let refusal = machine.run(&["dev", "--module", "/nowhere.so"]).refusal();
    says(refusal, 1, &["the PKCS#11 module /nowhere.so does not start"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let machine = Machine::empty();
    for arguments in [
        &["dev", "--nothing"][..],
        &["dev", "--account", "1"],
        &["dev", "--region", "nowhere"],
        &["serve"],
        &["token"],
        &["nothing"],
        &[],
    ] {
        let ended = machine.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?}");
        let told = ["error: ", "Usage: hsm-kms"].iter().any(|words| ended.stderr.contains(words));
        assert!(told, "{}", ended.stderr);
    }
}

// ---- the other commands ----

#[test]
fn every_command_has_help_with_an_example() {
    let machine = Machine::empty();
    let version = machine.run(&["--version"]);
    assert_eq!((version.code, version.stdout), (0, format!("hsm-kms {}\n", env!("CARGO_PKG_VERSION"))));
    let help = machine.run(&["--help"]);
    assert_eq!(help.code, 0);
    for word in ["dev", "serve", "check-config", "token", "Exit codes: 0 done; 1 failed"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    let of_tokens = ["list", "init", "probe", "pair", "unpair"].map(|verb| ["token", verb]);
    let others = [&["dev"][..], &["serve"], &["check-config"]];
    for command in others.into_iter().chain(of_tokens.iter().map(|command| &command[..])) {
        let help = machine.run(&[command, &["--help"]].concat());
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        let example = format!("Example: hsm-kms {}", command.join(" "));
        assert!(help.stdout.contains(&example), "{example}: {}", help.stdout);
    }
}

#[test]
fn check_config_says_what_serve_would() {
    let machine = Machine::empty();
    let check = |settings: &str| {
        machine.write("settings.toml", settings);
        machine.run(&["check-config", "--config", "settings.toml"])
    };
    let settings = machine.settings();
    let good = check(&settings);
    assert_eq!((good.code, good.stdout.as_str(), good.stderr.as_str()), (0, "settings.toml is good\n", ""));
    assert!(!machine.path("data").exists(), "nothing is opened");
    says(check(&format!("x = 1\n{settings}")).refusal(), 78, &["unknown field", "`x`"]);
    says(check(&settings.replace(SOFTHSM, "/nowhere.so")).refusal(), 78, &["token.module /nowhere.so is not a file"]);
    says(check(&settings.replace("127.0.0.1:0", "0.0.0.0:0")).refusal(), 78, &["0.0.0.0:0", "loopback"]);
    std::fs::set_permissions(machine.path("pin"), Permissions::from_mode(0o644)).unwrap();
    says(check(&settings).refusal(), 78, &["chmod 600"]);
    std::fs::remove_file(machine.path("pin")).unwrap();
    says(check(&settings).refusal(), 78, &["the PIN file"]);
    let missing = machine.run(&["check-config", "--config", "nothing.toml"]).refusal();
    says(missing, 78, &["nothing.toml"]);
}

#[test]
fn tokens_are_made_listed_and_probed() {
    let machine = Machine::empty();
    let made = machine.init_token("first");
    assert_eq!(made["label"], "first");
    for fact in ["initialized", "pinInitialized"] {
        assert_eq!(made[fact], true, "{made}");
    }
    assert_eq!(made["pinLocked"], false);
    let list = |output: &str| machine.run(&["token", "list", "--module", SOFTHSM, "--output", output]);
    let json: Value = serde_json::from_str(&list("json").stdout).unwrap();
    let mut found = json["tokens"].as_array().unwrap().iter().find(|token| token["label"] == "first").unwrap().clone();
    // SoftHSM numbers its slots anew when it is loaded, which is why nobody is asked for a number.
    found["slot"] = made["slot"].clone();
    assert_eq!(found, made);
    let serial = made["serial"].as_str().unwrap();
    let table = list("table").stdout;
    let row = table.lines().find(|line| line.contains("first")).unwrap();
    assert!(row.contains(serial) && row.contains("SoftHSM") && row.trim_end().ends_with("ready"), "{row}");
    assert!(table.lines().next().unwrap().starts_with("slot"));
    let again =
        ["token", "init", "--module", SOFTHSM, "--label", "first", "--pin-file", "pin", "--so-pin-file", "so-pin"];
    says(machine.run(&again).refusal(), 1, &["no token can be made with label first"]);
    let unreadable =
        ["token", "init", "--module", SOFTHSM, "--label", "second", "--pin-file", "x", "--so-pin-file", "so-pin"];
    says(machine.run(&unreadable).refusal(), 78, &["the PIN file x cannot be read"]);
    let probe = |output: &str, label: &str| {
        let arguments =
            ["token", "probe", "--module", SOFTHSM, "--label", label, "--pin-file", "pin", "--output", output];
        machine.run(&arguments)
    };
    let probed = probe("json", "first");
    assert_eq!(probed.code, 0, "{probed:?}");
    let rows: Value = serde_json::from_str(&probed.stdout).unwrap();
    assert_eq!((rows["token"]["label"].as_str(), rows["profile"].as_str()), (Some("first"), Some("softhsm2")));
    assert_eq!(rows["scheme"], json!({ "number": 1, "name": "aes_gcm_host_iv" }));
    assert_eq!(rows["sessions"], json!({ "used": 6, "max": null }));
    assert!(rows["mechanisms"].as_array().unwrap().contains(&json!("0x00001087")), "CKM_AES_GCM");
    let rows = rows["probe"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["passed"] == true || row["needed"] == false), "{rows:?}");
    let row = |test: &str| rows.iter().find(|row| row["test"] == test).unwrap_or_else(|| panic!("{test}: {rows:?}"));
    let gives = row("multi-Region keys: HMAC with SHA-256");
    assert_eq!((&gives["passed"], &gives["needed"]), (&json!(true), &json!(false)));
    let gives_not = row("multi-Region keys: Ed25519");
    assert_eq!(
        (&gives_not["passed"], &gives_not["reason"]),
        (&json!(false), &json!("C_WrapKey answered KeyNotWrappable"))
    );
    let by_uri = |uri: &str, profile: &str| {
        let module = ["token", "probe", "--module", SOFTHSM, "--pin-file", "pin", "--profile", profile];
        machine.run(&[&module[..], &["--uri", uri]].concat())
    };
    let uri = format!("pkcs11:token=first;serial={serial};manufacturer=SoftHSM%20project;model=SoftHSM%20v2");
    let table = by_uri(&uri, "softhsm2");
    assert_eq!(
        table.stdout.lines().filter(|line| line.starts_with("pass")).count(),
        rows.iter().filter(|row| row["passed"] == true).count()
    );
    for fact in [
        "token     first, serial number ",
        "profile   softhsm2",
        "scheme    1, aes_gcm_host_iv",
        "sessions  6, no limit",
        "no    multi-Region keys: Ed25519",
    ] {
        assert!(table.stdout.contains(fact), "{}", table.stdout);
    }
    says(probe("json", "nothing").refusal(), 1, &["there is no token with label `nothing`", "`first`"]);
    says(by_uri("pkcs11:serial=0", "generic").refusal(), 1, &["there is no token with URI pkcs11:serial=0", "`first`"]);
    let unknown = by_uri("pkcs11:object=x", "generic");
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("`object` is none of token, serial, manufacturer and model"), "{}", unknown.stderr);
    says(by_uri(&uri, "yubihsm2").refusal(), 78, &["the PIN was not tried: with the profile yubihsm2 it is"]);
    let left = Command::new("pkcs11-tool")
        .args(["--module", SOFTHSM, "--token-label", "first", "--login", "--pin", "001199", "--list-objects"])
        .env("SOFTHSM2_CONF", machine.path("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(left.status.success() && left.stdout.is_empty(), "a probe leaves nothing: {left:?}");
    machine.write("pin", "999999");
    says(probe("json", "first").refusal(), 78, &["the token refused the PIN"]);
}

// ---- what starts ----

#[test]
fn the_example_settings_serve_from_nothing_to_a_key() {
    let machine = Machine::new();
    let service = machine.serve();
    let key = call(&service, "CreateKey", &json!({}))["KeyMetadata"].clone();
    let made = call(&service, "GenerateDataKey", &json!({ "KeyId": key["KeyId"], "KeySpec": "AES_256" }));
    let opened = call(&service, "Decrypt", &json!({ "CiphertextBlob": made["CiphertextBlob"] }));
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    let (status, _) = service.terminate();
    assert_eq!(status.code(), Some(0));
    let service = machine.serve();
    let opened = call(&service, "Decrypt", &json!({ "CiphertextBlob": made["CiphertextBlob"] }));
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    assert_eq!(service.env()["AWS_ACCOUNT_ID"], "111122223333");
    assert_eq!(mode(&machine.path("data/env")), 0o600);
}

#[test]
fn a_second_start_finds_everything_again() {
    let service = Service::start_with(&["--region", "eu-west-1", "--account", "444455556666"]);
    let key =
        call(&service, "CreateKey", &json!({ "Description": "kept", "Tags": [{ "TagKey": "a", "TagValue": "b" }] }));
    let id = key["KeyMetadata"]["KeyId"].clone();
    call(&service, "CreateAlias", &json!({ "AliasName": "alias/kept", "TargetKeyId": id }));
    let blob =
        call(&service, "Encrypt", &json!({ "KeyId": "alias/kept", "Plaintext": "AAEC" }))["CiphertextBlob"].clone();
    let deleted = call(&service, "CreateKey", &json!({}))["KeyMetadata"]["KeyId"].clone();
    call(&service, "ScheduleKeyDeletion", &json!({ "KeyId": deleted, "PendingWindowInDays": 7 }));
    let look = |service: &Service| {
        let of_key = ["DescribeKey", "GetKeyPolicy", "ListAliases", "ListResourceTags", "GetKeyLastUsage"];
        let mut seen = of_key.map(|operation| call(service, operation, &json!({ "KeyId": id }))).to_vec();
        seen.push(call(service, "DescribeKey", &json!({ "KeyId": deleted })));
        seen.push(call(service, "ListKeys", &json!({})));
        seen
    };
    let (before, env) = (look(&service), service.env().clone());
    assert_eq!((env["AWS_REGION"].as_str(), env["AWS_ACCOUNT_ID"].as_str()), ("eu-west-1", "444455556666"));
    let data = service.data().to_owned();
    let (status, _folder) = service.terminate();
    assert_eq!(status.code(), Some(0));
    let service = Service::start_in(&data, &["--region", "eu-west-1", "--account", "444455556666"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert_eq!(service.env()[name], env[name]);
    }
    assert_eq!(look(&service), before);
    assert_eq!(call(&service, "Decrypt", &json!({ "CiphertextBlob": blob }))["Plaintext"], "AAEC");
}

#[test]
fn a_shell_reads_the_env_file() {
    let service = Service::start();
    let path = service.data().join("env");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(service.data()), 0o700);
    let names = [
        "AWS_ENDPOINT_URL_KMS",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCOUNT_ID",
    ];
    // `env` sees what is exported, and nothing else.
    let output = Command::new("sh")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["-euc", ". \"$1\"; env", "sh"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let exported = String::from_utf8(output.stdout).unwrap();
    for name in names {
        let line = format!("{name}={}", service.env()[name]);
        assert!(exported.lines().any(|exported| exported == line), "{name} is not exported");
    }
    assert_eq!(service.env()["AWS_ENDPOINT_URL_KMS"], format!("http://{}", service.address()));
    assert_eq!(service.env()["AWS_ACCESS_KEY_ID"].len(), 20);
    assert_eq!(service.env()["AWS_SECRET_ACCESS_KEY"].len(), 40);
    assert_eq!(
        (service.env()["AWS_REGION"].as_str(), service.env()["AWS_DEFAULT_REGION"].as_str()),
        ("us-east-1", "us-east-1")
    );
    for secret in ["pin", "so-pin", "store.db"] {
        assert_eq!(mode(&service.data().join(secret)) & 0o077, 0, "{secret}");
    }
}

// ---- the end ----

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    for name in ["TERM", "INT"] {
        let service = Service::start();
        let request = Request::kms("CreateKey", &json!({ "Description": "in flight" })).signed(&service);
        let split = request.len() - 5;
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(&request[..split]).unwrap();
        let mut idle = TcpStream::connect(service.address()).unwrap();
        idle.write_all(&Request::kms("ListKeys", &json!({})).signed(&service)).unwrap();
        assert_eq!(read_answer(&mut idle).status, 200);
        let (address, data, began) = (service.address(), service.data().to_owned(), Instant::now());
        signal(service.pid(), name);
        wait_until(|| TcpStream::connect(&address).is_err(), "no new connection is taken");
        stream.write_all(&request[split..]).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(answer.status, 200, "{answer:?}");
        let (status, _folder) = service.ended();
        assert_eq!(status.code(), Some(0), "SIG{name}");
        assert!(began.elapsed() < Duration::from_secs(5), "an idle connection does not hold it up");
        let id = answer.header("x-amzn-requestid").unwrap();
        let recorded = support::audit_lines(&data).iter().filter(|line| line["event"]["requestID"] == id).count();
        assert_eq!(recorded, 1);
        let service = Service::start_in(&data, &[]);
        assert_eq!(list_keys(&service)[0]["KeyId"], answer.json()["KeyMetadata"]["KeyId"]);
    }
}

fn call(service: &Service, operation: &str, body: &Value) -> Value {
    let region = service.env()["AWS_REGION"].clone();
    let answer = Request { region, ..Request::kms(operation, body) }.send(service);
    assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn list_keys(service: &Service) -> Value {
    call(service, "ListKeys", &json!({}))["Keys"].clone()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn name(entry: &std::io::Result<std::fs::DirEntry>) -> String {
    entry.as_ref().unwrap().file_name().into_string().unwrap()
}

fn wait_until(condition: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const EXAMPLE: &str = include_str!("../hsm-config/softhsm2/hsm-kms.toml");
