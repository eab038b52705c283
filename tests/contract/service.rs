//! The program on kryoptic, asked by the SDK for Python and held against Python's `cryptography`: what no other token of the
//! tests has.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::clients::{run, venv};
use crate::process::{LABEL, PIN};
use crate::support::{PROGRAM, Service};
use crate::tokens::{kryoptic, kryoptic_configuration};

#[test]
fn keys_of_lattices_serve_and_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let configuration = kryoptic_configuration(dir);
    for (name, text) in [("pin", PIN), ("so-pin", "12345678"), ("settings.toml", &settings(dir))] {
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let program = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(dir).env("KRYOPTIC_CONF", &configuration);
        command
    };
    let mut init = program(&["token", "init", "--label", LABEL, "--pin-file", "pin", "--so-pin-file", "so-pin"]);
    let made = init.arg("--module").arg(kryoptic()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let data = dir.join("data");
    let service = Service::spawn(&data, &mut program(&["serve", "--config", "settings.toml"])).unwrap();
    let env = service.env().clone();
    ask(&service, dir, "first");
    assert!(service.terminate().0.success());
    let service = Service::spawn_again(&data, &mut program(&["serve", "--config", "settings.toml"]), &env).unwrap();
    ask(&service, dir, "again");
    assert!(service.terminate().0.success());
}

fn ask(service: &Service, dir: &Path, part: &str) {
    let mut python = Command::new(venv().join("bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/lattice.py")).arg(part).arg(dir.join("kept"));
    run(service, &mut python, &dir.join(format!("home-{part}")), "us-east-1");
}

fn settings(dir: &Path) -> String {
    format!(
        "data = {:?}\naccount = \"111122223333\"\nregions = [\"us-east-1\"]\n\
         [server]\nlisten = \"127.0.0.1:0\"\n\
         [token]\nmodule = {:?}\nlabel = {LABEL:?}\npin_file = {:?}\n",
        dir.join("data"),
        kryoptic(),
        dir.join("pin")
    )
}
