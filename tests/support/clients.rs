//! Programs of others against a service: the Python environment and the modules of JavaScript that `scripts/test` makes.
#![allow(dead_code)] // every test uses its own part of this

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::Service;

/// The Python environment with the clients of `tests/compat/requirements.txt`; `scripts/test` makes it.
pub fn venv() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    let venv = std::env::var_os("HSM_KMS_TEST_VENV").map_or_else(default, PathBuf::from);
    assert!(venv.join("bin/python").exists(), "{} is not there: run scripts/test, which makes it", venv.display());
    venv
}

/// Runs a client in an empty folder, with the service's variables and without those of whoever runs the test.
pub fn run(service: &Service, command: &mut Command, home: &Path, region: &str) {
    std::fs::create_dir(home).unwrap();
    let own: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(service.env());
    command.envs([("AWS_REGION", region), ("AWS_DEFAULT_REGION", region), ("LANG", "C.UTF-8")]).env("HOME", home);
    command.envs(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let output = command.current_dir(home).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (status, arguments) = (output.status, command.get_args().collect::<Vec<_>>());
    assert!(status.success(), "{arguments:?} in {region}: {status}\n{said}\n{complained}");
}
