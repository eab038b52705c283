//! `hsm-kms serve` on SoftHSM tokens behind the quirk shim, in a folder of its own. Needs `tests/support/mod.rs` as
//! `support` and `tests/support/shim.rs` as `shim`.
#![allow(dead_code)] // every test uses its own part of this

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shim::{Shim, module};
use crate::support::{Failed, PROGRAM, Service};

/// Tokens, settings, and the shim's rules.
pub struct Rig {
    folder: tempfile::TempDir,
    labels: Vec<String>,
    /// The rules of the shim in the service.
    pub shim: Shim,
    /// A profile for all tokens, in place of the built-in one.
    pub profile: Option<String>,
    /// More settings: tables, such as `[kms]`.
    pub more: String,
    /// What the first start told.
    env: RefCell<Option<HashMap<String, String>>>,
}

impl Rig {
    /// New tokens with these labels. The first one has the keys of us-east-1, and the second one those of eu-west-1.
    pub fn new(labels: &[&str]) -> Rig {
        Rig::new_in(&std::env::temp_dir(), labels)
    }

    /// As `new`, in a folder of a folder.
    pub fn new_in(folder: &Path, labels: &[&str]) -> Rig {
        let folder = tempfile::tempdir_in(folder).expect("a temporary folder");
        let rig = Rig {
            shim: Shim::in_dir(folder.path()),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            profile: None,
            more: String::new(),
            env: RefCell::new(None),
            folder,
        };
        std::fs::create_dir(rig.path("tokens")).expect("a folder");
        let configuration = format!("directories.tokendir = {}\nlog.level = ERROR\n", rig.path("tokens").display());
        rig.write("softhsm2.conf", &configuration);
        rig.write("pin", PIN);
        rig.write("so-pin", "002288");
        labels.iter().for_each(|label| rig.make_token(label));
        rig
    }

    /// Writes `settings.toml` and the profile.
    pub fn configure(&self) {
        let mut text = format!("data = {:?}\naccount = \"111122223333\"\n", self.path("data"));
        text += "regions = [\"us-east-1\", \"eu-west-1\"]\n";
        for (number, label) in self.labels.iter().enumerate() {
            let first = number == 0;
            text += &if first { "[token]\n".to_owned() } else { format!("[tokens.{label}]\n") };
            text += if first { "" } else { "regions = [\"eu-west-1\"]\n" };
            text += &format!("module = {:?}\nlabel = {label:?}\npin_file = {:?}\n", module(), self.path("pin"));
            if let Some(profile) = &self.profile {
                self.write("profile.toml", profile);
                text += &format!("profile = {:?}\n", self.path("profile.toml"));
            }
        }
        let server = if self.more.contains("[server]") { "" } else { "[server]\nlisten = \"127.0.0.1:0\"\n" };
        self.write("settings.toml", &(text + server + &self.more));
    }

    /// A file's place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that nobody else may read.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file is written");
        std::fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).expect("a mode");
    }

    /// One more token, with the same PIN.
    pub fn make_token(&self, label: &str) {
        let module = module();
        let mut command =
            self.command(&["token", "init", "--label", label, "--pin-file", "pin", "--so-pin-file", "so-pin"]);
        let output = command.arg("--module").arg(module).output().expect("the program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The program, with these arguments, in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let (name, control) = self.shim.environment();
        command.args(arguments).current_dir(self.folder.path());
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).env(name, control);
        command
    }

    /// The service with these settings, for the first time or once more.
    pub fn serve(&self) -> Service {
        self.try_serve().unwrap_or_else(|failed| panic!("the service did not start: {failed:?}"))
    }

    /// As `serve`; the program's end is an answer too.
    pub fn try_serve(&self) -> Result<Service, Failed> {
        self.try_serve_with(&[])
    }

    /// As `try_serve`, with these arguments besides.
    pub fn try_serve_with(&self, arguments: &[&str]) -> Result<Service, Failed> {
        self.configure();
        self.try_serve_as_written(arguments)
    }

    /// As `try_serve_with`, by the settings that are there.
    pub fn try_serve_as_written(&self, arguments: &[&str]) -> Result<Service, Failed> {
        let mut command = self.command(&["serve", "--config", "settings.toml"]);
        command.args(arguments);
        let data = self.path("data");
        match &mut *self.env.borrow_mut() {
            Some(env) => Service::spawn_again(&data, &mut command, env),
            unknown => {
                let service = Service::spawn(&data, &mut command)?;
                *unknown = Some(service.env().clone());
                Ok(service)
            }
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The user PIN of every token.
pub const PIN: &str = "001199";
