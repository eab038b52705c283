//! The command where no service runs.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::operator::{failure, principal};
use crate::support::{PROGRAM, SOFTHSM, Service};
use crate::{done, events};

#[test]
fn finds_what_the_service_was_started_with() {
    let arguments = ["--account", "777788889999", "--region", "eu-west-1", "--region", "us-east-1"];
    let service = Service::start_with(&arguments);
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    let output = principal(&data, &["create-user", "--user-name", "alice"]);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["User"]["Arn"], "arn:aws:iam::777788889999:user/alice");
    assert_eq!(events(&data, "CreateUser")[0]["awsRegion"], "eu-west-1");
    let service = Service::start_in(&data, &arguments);
    assert_eq!(done(&service, "ListAccounts", json!({}))["Accounts"].as_array().unwrap().len(), 1);
}

/// The folder is what is in it, wherever it was.
#[test]
fn works_in_a_folder_that_was_moved() {
    let service = Service::start();
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    let moved = data.with_file_name("moved folder");
    std::fs::rename(&data, &moved).unwrap();
    assert!(principal(&moved, &["create-user", "--user-name", "alice"]).status.success());
    assert!(!data.exists());
    let service = Service::start_in(&moved, &[]);
    done(&service, "GetUser", json!({ "UserName": "alice" }));
}

/// After a kill the socket file is still there, and nobody behind it.
#[test]
fn works_beside_a_stale_socket() {
    let service = Service::start();
    let data = service.data().to_owned();
    let _folder = service.kill9();
    assert!(data.join("admin.sock").exists());
    assert!(principal(&data, &["create-user", "--user-name", "alice"]).status.success());
    let service = Service::start_in(&data, &[]);
    done(&service, "GetUser", json!({ "UserName": "alice" }));
}

/// One line, without a service and before any folder is looked for.
#[test]
fn says_which_flag_or_file_is_wrong() {
    let nowhere = Path::new("/nonexistent");
    let tags = ["create-user", "--user-name", "alice", "--tags", "team"];
    let policy = ["put-user-policy", "--user-name", "a", "--policy-name", "p", "--policy-document", "/nonexistent/p"];
    let told = failure(&principal(nowhere, &tags));
    assert_eq!(told, (2, "hsm-kms: the tag `team` is not KEY=VALUE\n".into()));
    let (code, text) = failure(&principal(nowhere, &policy));
    assert_eq!(code, 2);
    assert_eq!(text, "hsm-kms: the document /nonexistent/p cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn says_what_to_do_if_it_can_do_nothing() {
    let service = Service::start();
    let data = service.data().to_owned();
    let (_, folder) = service.terminate();
    {
        let lock = std::fs::File::open(data.join("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        let (code, text) = failure(&principal(&data, &["list-users"]));
        assert!(code == 1 && text.contains("is in use") && text.contains("try again"), "{code} {text}");
    }
    assert!(principal(&data, &["list-users"]).status.success());
    // A folder that is none must not become one.
    let empty = folder.as_ref().unwrap().path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, text) = failure(&principal(&empty, &["list-users"]));
    assert!(code == 78 && text.contains("has no store"), "{code} {text}");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    std::fs::remove_file(data.join("dev.toml")).unwrap();
    let (code, text) = failure(&principal(&data, &["list-users"]));
    assert!(code == 78 && text.contains("dev.toml is missing"), "{code} {text}");
    std::fs::remove_file(data.join("store.db")).unwrap();
    assert_eq!(failure(&principal(&data, &["list-users"])).0, 78);
    assert!(!data.join("store.db").exists());
}

/// Files of another user would lock the service out of its own folder.
#[test]
fn leaves_no_files_of_another_user() {
    let service = Service::start();
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can give a folder away");
    }
    chown(&data, Some(65_534), None).unwrap();
    let (code, text) = failure(&principal(&data, &["list-users"]));
    assert!(code == 78 && text.contains("sudo -u '#65534'"), "{code} {text}");
}

#[test]
fn takes_the_settings_of_serve_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("tokens")).unwrap();
    std::fs::write(path("softhsm2.conf"), format!("directories.tokendir = {}\n", path("tokens").display())).unwrap();
    private(&path("pin"), "001199\n");
    private(&path("so-pin"), "002288\n");
    let settings = format!(
        "data = {:?}\naccount = \"111122223333\"\nregions = [\"us-east-1\"]\n[token]\nmodule = {SOFTHSM:?}\n\
         label = \"kms\"\npin_file = {:?}\n[server]\nlisten = \"127.0.0.1:0\"\n",
        path("data"),
        path("pin")
    );
    private(&path("settings.toml"), &settings);
    let command = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.current_dir(folder.path()).env("SOFTHSM2_CONF", path("softhsm2.conf")).args(arguments);
        command
    };
    let files = ["--pin-file", "pin", "--so-pin-file", "so-pin"];
    let init = ["token", "init", "--module", SOFTHSM, "--label", "kms"];
    assert!(command(&[&init[..], &files].concat()).output().unwrap().status.success());
    let create = ["principal", "create-user", "--user-name", "alice", "--config", "settings.toml"];
    let get = ["principal", "get-user", "--user-name", "alice", "--config", "settings.toml"];
    // Before the first start there is no store, and none is made.
    assert_eq!(failure(&command(&create).output().unwrap()).0, 78);
    let service = Service::spawn(&path("data"), &mut command(&["serve", "--config", "settings.toml"])).unwrap();
    // `serve` tells its credentials before it serves anybody.
    while !path("data").join("admin.sock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(command(&create).output().unwrap().status.success());
    service.terminate();
    assert!(command(&get).output().unwrap().status.success());
    assert_eq!(failure(&command(&create).output().unwrap()).0, 1);
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
