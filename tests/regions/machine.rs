//! A service on several tokens, each with Regions of its own.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::wire::{Answer, exchange};
use crate::support::{PROGRAM, SOFTHSM, Service};

/// A folder with SoftHSM's configuration, PIN files, and settings.
pub struct Machine {
    folder: tempfile::TempDir,
    env: std::cell::RefCell<Option<HashMap<String, String>>>,
}

impl Machine {
    /// With the token `east`, which is the first one, and these further ones.
    pub fn new(further: &[&str]) -> Self {
        let machine = Machine { folder: tempfile::tempdir().unwrap(), env: None.into() };
        std::fs::create_dir(machine.path("tokens")).unwrap();
        let configuration = format!("directories.tokendir = {}\n", machine.path("tokens").display());
        std::fs::write(machine.path("softhsm2.conf"), configuration).unwrap();
        machine.write("pin", "001199\n");
        machine.write("so-pin", "002288\n");
        for label in ["east"].iter().chain(further) {
            machine.init_token(label);
        }
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    /// Settings with these Regions, and further tokens by their sections.
    pub fn settings(&self, regions: &[&str], further: &[String]) -> String {
        let folder = self.folder.path().display();
        format!(
            "data = \"{folder}/data\"\naccount = \"111122223333\"\nregions = {regions:?}\n[server]\nlisten = \
             \"127.0.0.1:0\"\n[import]\nhost_unwrap = true\n[token]\nmodule = {SOFTHSM:?}\nlabel = \"east\"\npin_file = \
             \"{folder}/pin\"\n{}",
            further.concat()
        )
    }

    /// The section of a further token.
    pub fn token(&self, name: &str, label: &str, regions: &[&str]) -> String {
        let folder = self.folder.path().display();
        format!(
            "[tokens.{name}]\nmodule = {SOFTHSM:?}\nlabel = {label:?}\npin_file = \"{folder}/pin\"\nregions = {regions:?}\n"
        )
    }

    /// The program with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path()).env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    /// The service with these settings, for the first time or again.
    pub fn serve(&self, settings: &str) -> Service {
        self.write("settings.toml", settings);
        self.serve_as(&mut self.command(&["serve", "--config", "settings.toml"]))
    }

    /// As `serve`, by a command of the test's own.
    pub fn serve_as(&self, command: &mut Command) -> Service {
        let data = self.path("data");
        let known = self.env.borrow().clone();
        match known {
            Some(env) => Service::spawn_again(&data, command, &env).unwrap(),
            None => {
                let service = Service::spawn(&data, command).unwrap();
                *self.env.borrow_mut() = Some(service.env().clone());
                service
            }
        }
    }

    /// What `serve` says of settings that it must refuse: its exit code and what it says behind its log.
    pub fn refusal(&self, settings: &str) -> (i32, String) {
        self.write("settings.toml", settings);
        let (code, _, log) = self.run(&["serve", "--config", "settings.toml"]);
        (code, log.split("hsm-kms: ").last().unwrap_or_default().to_owned())
    }

    /// A command that ends: its exit code, and what it wrote.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    }

    /// The serial number of a token.
    pub fn serial_of(&self, label: &str) -> String {
        let (_, tokens, _) = self.run(&["token", "list", "--module", SOFTHSM, "--output", "json"]);
        let tokens: Value = serde_json::from_str(&tokens).unwrap();
        let tokens = tokens["tokens"].as_array().unwrap();
        let token = tokens.iter().find(|token| token["label"] == label).unwrap_or_else(|| panic!("{tokens:?}"));
        token["serial"].as_str().unwrap().to_owned()
    }

    /// Gives a token another serial number, as one has that took over all of its objects: that number.
    pub fn renumber(&self, label: &str) -> String {
        let (old, folder) = (self.serial_of(label), self.folder_of(label));
        let new = old[1..].to_owned() + &old[..1];
        let path = folder.join("token.object");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        std::fs::write(path, bytes).unwrap();
        // SoftHSM names the folder by it: its last 16 digits, with a dash behind the first four.
        let name = folder.to_string_lossy();
        std::fs::rename(&folder, format!("{}{}-{}", &name[..name.len() - 17], &new[..4], &new[4..])).unwrap();
        assert!(old != new && self.serial_of(label) == new);
        new
    }

    /// The folder of a token, which it is without while it is moved away.
    pub fn folder_of(&self, label: &str) -> PathBuf {
        let serial = self.serial_of(label);
        let folders = std::fs::read_dir(self.path("tokens")).unwrap().map(|entry| entry.unwrap().path());
        let end = &serial[serial.len() - 8..];
        let mut found = folders.filter(|path| path.to_string_lossy().ends_with(end));
        found.next().unwrap_or_else(|| panic!("no folder for {serial}"))
    }

    /// The labels of this service's objects on a token.
    pub fn objects(&self, label: &str) -> Vec<String> {
        let text = self.pkcs11_tool(label, &["--list-objects"]);
        let labels = text.lines().filter_map(|line| line.trim().strip_prefix("label:"));
        let mut labels: Vec<_> = labels.map(|label| label.trim().to_owned()).collect();
        labels.sort();
        labels
    }

    /// What `pkcs11-tool` says with these arguments, logged in to a token.
    pub fn pkcs11_tool(&self, label: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("pkcs11-tool");
        command.args(["--module", SOFTHSM, "--token-label", label, "--login", "--pin", "001199"]).args(arguments);
        let output = command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn init_token(&self, label: &str) {
        let files = ["--pin-file", "pin", "--so-pin-file", "so-pin"];
        let arguments = ["token", "init", "--module", SOFTHSM, "--label", label];
        let (code, _, log) = self.run(&[&arguments[..], &files].concat());
        assert_eq!(code, 0, "{log}");
    }
}

/// `GET` without credentials.
pub fn get(service: &Service, path: &str) -> Answer {
    exchange(&service.address(), format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
}

/// Asks again and again until it is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Copies SoftHSM, so that it is a module of its own in the process that loads it.
pub fn another_module(path: &Path) {
    std::fs::copy(SOFTHSM, path).unwrap();
}
