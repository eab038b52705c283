//! `hsm-kms serve` with the example settings, on a token that is there already.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{PROGRAM, Service};

#[tokio::test]
async fn the_access_key_is_told_at_the_first_start_only() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path());
    let data = folder.path().join("data");
    let service = Service::spawn(&data, &mut serve(folder.path(), &config)).unwrap();
    let made = service.client().create_key().send().await.unwrap().key_metadata.unwrap();
    let (env, credentials) = (service.env().clone(), service.credentials());
    assert!(service.terminate().0.success());
    std::fs::remove_file(data.join("env")).unwrap();

    let log = folder.path().join("second.log");
    let mut second = serve(folder.path(), &config).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let address = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains(r#""message":"serving""#)) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            break line["fields"]["address"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline && second.try_wait().unwrap().is_none(), "{text}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let config = aws_sdk_kms::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_kms::config::Region::new(env["AWS_REGION"].clone()))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(credentials);
    let kms = aws_sdk_kms::Client::from_conf(config.build());
    let found = kms.describe_key().key_id(made.key_id()).send().await;
    support::signal(second.id(), "TERM");
    assert!(second.wait().unwrap().success());
    assert_eq!(found.unwrap().key_metadata.unwrap(), made);
    assert!(!data.join("env").exists(), "the access key was told again");
}

/// Lets `dev` make a token, and adapts the example settings to it.
fn prepare(folder: &Path) -> std::path::PathBuf {
    let made = folder.join("made");
    assert!(Service::start_in(&made, &[]).terminate().0.success());
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let settings = include_str!("../hsm-config/softhsm2/hsm-kms.toml")
        .replace("/var/lib/hsm-kms/data", &path("data"))
        .replace("/var/lib/hsm-kms/pin", &path("made/pin"));
    let config = folder.join("hsm-kms.toml");
    std::fs::write(&config, settings).unwrap();
    config
}

fn serve(folder: &Path, config: &Path) -> Command {
    let mut program = Command::new(PROGRAM);
    program.args(["serve", "--config"]).arg(config).stdin(Stdio::null());
    program.env("HSM_KMS__SERVER__LISTEN", "127.0.0.1:0").env("SOFTHSM2_CONF", folder.join("made/softhsm2.conf"));
    program
}
