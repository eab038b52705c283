//! Keys used as people use them, through boto3, and what comes of it checked by programs that know nothing of KMS.

#[path = "../support/clients.rs"]
mod clients;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use clients::venv;
use support::Service;

#[test]
fn web_tokens_are_accepted_by_pyjwt() {
    run("tokens.py");
}

#[test]
fn certificates_and_requests_are_accepted_by_openssl() {
    run("certificates.py");
}

#[test]
fn signatures_of_files_are_accepted_by_openssl() {
    run("files.py");
}

/// Runs a script of the folder beside this file against a service of its own.
fn run(script: &str) {
    let (service, folder) = (Service::start(), tempfile::tempdir().unwrap());
    let mut python = Command::new(venv().join("bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/uses").join(script));
    clients::run(&service, &mut python, &folder.path().join("home"), "us-east-1");
}
