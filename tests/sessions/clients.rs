//! The chains of roles in a configuration file, through unmodified clients.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

#[test]
fn clients_assume_roles_from_their_configuration() {
    in_own_process("clients::clients_assume_roles_from_their_configuration", |dir| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let service = Served::start(dir, MovedClock::at(i64::try_from(now).unwrap()));
        let account = service.root().account.clone();
        let alice = service.user(&account, "alice");
        let sts = json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }]);
        let mut trust = trusts(&alice.arn);
        trust[0]["Action"] = json!(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]);
        trust[0]["Condition"] = json!({ "StringEquals": { "sts:ExternalId": "ext-1" } });
        let hub = role(&service, &account, "Hub", trust, sts);
        let mut trust = trusts(&hub);
        trust[0]["Action"] = json!("sts:*");
        let own = json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }]);
        let step = role(&service, &account, "Step", trust, own);
        let mut trust = trusts(&step);
        trust[0]["Action"] = json!("sts:*");
        let app = role(&service, &account, "App", trust, all_of_kms());
        let key = service.new_key(service.root(), json!({}));

        let home = dir.join("home");
        std::fs::create_dir_all(home.join(".aws")).unwrap();
        let keys = &alice.credentials;
        let config = format!(
            "[profile alice]\naws_access_key_id = {}\naws_secret_access_key = {}\n\
             [profile hub]\nrole_arn = {hub}\nsource_profile = alice\nexternal_id = ext-1\n\
             [profile step]\nrole_arn = {step}\nsource_profile = hub\nrole_session_name = in-between\n\
             [profile app]\nrole_arn = {app}\nsource_profile = step\nrole_session_name = last\nduration_seconds = 900\n\
             [profile wrong]\nrole_arn = {hub}\nsource_profile = alice\nexternal_id = ext-2\n",
            keys.access_key_id(),
            keys.secret_access_key(),
        );
        std::fs::write(home.join(".aws/config"), config).unwrap();
        let run = |command: &mut Command| {
            let url = format!("http://{}", service.address);
            command
                .env_clear()
                .env("AWS", venv().join("bin/aws"))
                .env("PATH", "/usr/bin:/bin")
                .env("HOME", &home)
                .env("LANG", "C.UTF-8");
            command.env("AWS_REGION", "us-east-1").env("AWS_DEFAULT_REGION", "us-east-1").env("KEY", &key.arn);
            command.env("AWS_ENDPOINT_URL_STS", &url).env("AWS_ENDPOINT_URL_KMS", &url).env("ALICE", &alice.arn);
            command.env("APP", &app).env("HUB", &hub).env("AWS_EC2_METADATA_DISABLED", "true").current_dir(&home);
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
            said
        };
        let said = run(Command::new(venv().join("bin/python")).arg(script("chain.py")));
        assert!(said.ends_with("all good\n"), "{said}");
        // AWS's own command line, of today by its profiles, and Debian's by what AssumeRole gave.
        let said = run(Command::new("bash").arg(script("chain.sh")));
        assert!(said.ends_with("all good\n"), "{said}");
        let used = service.events().into_values().filter(|event| {
            event["eventName"] == "Encrypt" && event["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == app
        });
        assert!(used.count() >= 3);
        service.close();
    });
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions").join(name)
}

/// The Python environment with the clients; `scripts/test` makes it.
fn venv() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    std::env::var_os("HSM_KMS_TEST_VENV").map_or_else(default, PathBuf::from)
}
