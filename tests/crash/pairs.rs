//! Kills amid the creation of keys that are not symmetric.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::wire::{Request, try_exchange};
use crate::support::{PROGRAM, Service};
use crate::truth::call;

/// Whatever is on the token by then: at the next start, nothing is, and that is on record.
#[test]
fn a_creation_that_was_killed_leaves_no_object_and_no_key() {
    for point in ["creation-begun", "creation-on-token"] {
        for (spec, usage) in [
            ("RSA_2048", "ENCRYPT_DECRYPT"),
            ("ECC_NIST_P256", "SIGN_VERIFY"),
            ("ECC_NIST_P521", "KEY_AGREEMENT"),
            ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
            ("HMAC_512", "GENERATE_VERIFY_MAC"),
        ] {
            let what = format!("{spec} at {point}");
            let folder = tempfile::tempdir().unwrap();
            let data = folder.path().join("data");
            let mut command = Command::new(PROGRAM);
            command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
            command.env(hsm_kms::crash_point::VARIABLE, point);
            let service = Service::spawn(&data, &mut command).unwrap();
            let request = Request::kms("CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage }));
            let answer = try_exchange(&service.address(), &request.signed(&service));
            assert!(answer.is_none(), "{what}: {answer:?}");
            drop(service);

            let service = Service::start_in(&data, &[]);
            assert_eq!(call(&service, "ListKeys", &json!({}))["Keys"], json!([]), "{what}");
            let listing = service.pkcs11_tool(&["--list-objects"]);
            assert!(listing.contains("hsm-kms/store-root/"), "{what}: {listing}");
            assert!(!listing.contains("hsm-kms/kms/"), "{what}: {listing}");
            let undone = service.audit().into_iter().filter(|line| named(line, "UndoCreateKey")).count();
            let made = service.audit().into_iter().filter(|line| named(line, "CreateKey")).count();
            assert_eq!((undone, made), (1, 0), "{what}");
        }
    }
}

fn named(line: &Value, name: &str) -> bool {
    line["event"]["eventName"] == name
}
