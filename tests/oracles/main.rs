//! Every spec with every algorithm and kind of message, held against Python's `cryptography`: what keys of the token make
//! is checked there, and what keys of there make is checked here, by keys that were imported.

#[path = "../support/clients.rs"]
mod clients;
mod faults;
#[path = "../support/in_process.rs"]
mod in_process;
#[path = "../support/people.rs"]
mod people;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use clients::venv;
use support::Service;

#[test]
fn signatures_of_elliptic_curves() {
    check(
        "signatures",
        &["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"],
    );
}

#[test]
fn signatures_of_rsa() {
    check("signatures", &["RSA_2048", "RSA_3072", "RSA_4096"]);
}

#[test]
fn ciphertexts_of_rsa() {
    check("encryption", &["RSA_2048", "RSA_3072", "RSA_4096"]);
}

#[test]
fn message_authentication_codes() {
    check("codes", &["HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512"]);
}

#[test]
fn shared_secrets() {
    check("agreement", &["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"]);
}

/// Runs a family of the script beside this file for these specs, against a service of its own.
fn check(family: &str, specs: &[&str]) {
    let (service, folder) = (Service::start(), tempfile::tempdir().unwrap());
    let mut python = Command::new(venv().join("bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/oracles.py")).arg(family).args(specs);
    clients::run(&service, &mut python, &folder.path().join("home"), "us-east-1");
}
