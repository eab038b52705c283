//! Services on tokens that are not SoftHSM: the program on kryoptic, asked by the SDK for Python and held against Python's
//! `cryptography` for what no other token of the tests has, and one on a token without AES-GCM.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hsm_kms::app::Accepted;
use hsm_kms::settings::Settings;
use serde_json::json;

use crate::clients::{run, venv};
use crate::in_process::{InProcess, MovedClock, START, write_private};
use crate::process::{LABEL, PIN, block_on};
use crate::support::{PROGRAM, Service};
use crate::tokens::{self, Which, kryoptic, kryoptic_configuration};

#[test]
fn keys_of_lattices_serve_and_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let configuration = kryoptic_configuration(dir);
    for (name, text) in [("pin", PIN), ("so-pin", "12345678"), ("settings.toml", &settings(dir, &kryoptic()))] {
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

/// Without an AEAD on the token, ciphertexts are as authentic as with one: the blob sees to that.
#[test]
fn a_token_without_an_aead_serves_as_well() {
    tokens::on(Which::OpenCryptoki, "service::a_token_without_an_aead_serves_as_well", |place| {
        write_private(&place.dir.join("pin"), PIN);
        write_private(&place.dir.join("settings.toml"), &settings(place.dir, &place.which.module()));
        block_on(async {
            let service = open(place.dir).await;
            let key = service.new_key().await;
            let context = json!({ "purpose": "test" });
            let body = json!({ "KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context });
            let made = service.call("GenerateDataKey", body).await;
            let blob = STANDARD.decode(made["CiphertextBlob"].as_str().unwrap()).unwrap();
            let decrypt =
                |blob: &[u8]| json!({ "CiphertextBlob": STANDARD.encode(blob), "EncryptionContext": context });
            assert_eq!(service.call("Decrypt", decrypt(&blob)).await["Plaintext"], made["Plaintext"]);
            // Every byte: the IV, the two blocks, the commitment, and what is behind it.
            for at in 0..blob.len() {
                let mut forged = blob.clone();
                forged[at] ^= 1;
                let error = service.refused("Decrypt", decrypt(&forged)).await;
                assert!(
                    ["InvalidCiphertextException", "AccessDeniedException"].contains(&error.as_str()),
                    "{at}: {error}"
                );
            }
            let other =
                json!({ "CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": { "purpose": "other" } });
            assert_eq!(service.refused("Decrypt", other).await, "InvalidCiphertextException");
            let curve = json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" });
            assert_eq!(service.refused("CreateKey", curve).await, "UnsupportedOperationException");
            service.call("RotateKeyOnDemand", json!({ "KeyId": key })).await;
            service.close().await;

            let service = open(place.dir).await;
            assert_eq!(service.call("Decrypt", decrypt(&blob)).await["Plaintext"], made["Plaintext"]);
            service.close().await;
        });
    });
}

async fn open(dir: &Path) -> InProcess {
    let settings = Settings::read(&dir.join("settings.toml")).unwrap();
    InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap()
}

fn ask(service: &Service, dir: &Path, part: &str) {
    let mut python = Command::new(venv().join("bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/lattice.py")).arg(part).arg(dir.join("kept"));
    run(service, &mut python, &dir.join(format!("home-{part}")), "us-east-1");
}

fn settings(dir: &Path, module: &Path) -> String {
    format!(
        "data = {:?}\naccount = \"111122223333\"\nregions = [\"us-east-1\"]\n\
         [server]\nlisten = \"127.0.0.1:0\"\n\
         [token]\nmodule = {:?}\nlabel = {LABEL:?}\npin_file = {:?}\n",
        dir.join("data"),
        module,
        dir.join("pin")
    )
}
