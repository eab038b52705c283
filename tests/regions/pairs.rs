//! Multi-Region keys over two tokens: nothing goes between tokens that nobody has paired, and what goes is wrapped.

use std::path::Path;

use super::*;

#[path = "../support/clients.rs"]
mod clients;

/// The fingerprints that `token pair` shows, which must not be paired yet.
fn fingerprints(machine: &Machine) -> [String; 2] {
    let (code, told, log) = machine.run(&["token", "pair", "token", "pacific", "--config", "settings.toml"]);
    assert_eq!(code, 0, "{log}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["Paired"], false);
    [0, 1].map(|at| told["Tokens"][at]["Fingerprint"].as_str().unwrap().to_owned())
}

fn confirm(machine: &Machine, [one, other]: [&str; 2]) -> (i32, String, String) {
    let pair = ["token", "pair", "token", "pacific", "--config", "settings.toml"];
    machine.run(&[&pair[..], &["--confirm", one, "--confirm", other]].concat())
}

#[test]
fn only_paired_tokens_exchange_material_and_a_rotation_waits_for_both() {
    let machine = Machine::new(&["west"]);
    let settings = machine.settings(&[EAST, WEST], &[machine.token("pacific", "west", &[WEST])]);
    let service = machine.serve(&settings);
    let made = ok(&service, EAST, "CreateKey", json!({ "MultiRegion": true }))["KeyMetadata"]["KeyId"].clone();
    let key = made.as_str().unwrap();
    let replicate = json!({ "KeyId": key, "ReplicaRegion": WEST });
    let (error, message) = refused(&service, EAST, "ReplicateKey", replicate.clone());
    assert!(error == "UnsupportedOperationException" && message.contains("hsm-kms token pair"), "{error}: {message}");

    let [east, west] = fingerprints(&machine);
    assert!(east != west && east.len() == 64, "{east} {west}");
    let swapped = confirm(&machine, [&west, &east]);
    assert!(swapped.0 == 1 && swapped.2.contains("is not the fingerprint of the token `token`"), "{swapped:?}");
    assert_eq!(
        machine.run(&["token", "pair", "token", "pacific", "--config", "settings.toml", "--confirm", &east]).0,
        2
    );
    assert_eq!(refused(&service, EAST, "ReplicateKey", replicate.clone()).0, "UnsupportedOperationException");
    let confirmed = confirm(&machine, [&east, &west]);
    assert!(confirmed.0 == 0 && confirmed.1.contains("\"Paired\": true"), "{confirmed:?}");
    let paired = service.audit().into_iter().rfind(|line| line["event"]["eventName"] == "PairTokens").unwrap();
    let event = &paired["event"];
    assert_eq!(event["responseElements"]["tokens"][1]["Fingerprint"], west.as_str(), "{event}");
    assert_eq!(event["requestParameters"]["confirm"][0], east.as_str(), "{event}");

    taken_back(&machine, &service, &replicate);
    assert!(service.terminate().0.success());
    taken_back_of_a_lost_token(&machine, &paired["event"]["responseElements"]["tokens"]);
    assert_eq!(confirm(&machine, [&east, &west]).0, 0);
    let service = machine.serve(&settings);

    // From here on it goes, through a restart, too.
    ok(&service, EAST, "ReplicateKey", replicate);
    kept_by(&machine, key);
    let event = last_unpairing(&service);
    assert!(event["errorCode"] == "DeleteConflict" && event["responseElements"].is_null(), "{event}");
    let blob = encrypt(&service, EAST, key, "over two tokens");
    assert_eq!(decrypt(&service, WEST, &blob), "over two tokens");
    assert!(service.terminate().0.success());
    assert_eq!(machine.objects("west").iter().filter(|label| label.contains("multi-region")).count(), 1);
    let service = machine.serve(&settings);
    assert_eq!(decrypt(&service, WEST, &blob), "over two tokens");
    unmodified_clients(&machine, &service);

    // While one token is out, nothing is made current that it could not open.
    assert!(service.terminate().0.success());
    let folder = machine.folder_of("west");
    std::fs::rename(&folder, machine.path("away")).unwrap();
    let service = machine.serve(&settings);
    assert_eq!(refused(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key })).0, "KeyUnavailableException");
    let alone = encrypt(&service, EAST, key, "meanwhile");
    assert!(service.terminate().0.success());
    std::fs::rename(machine.path("away"), &folder).unwrap();
    let service = machine.serve(&settings);
    assert_eq!(decrypt(&service, WEST, &alone), "meanwhile");
    ok(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key }));
    assert_eq!(decrypt(&service, WEST, &encrypt(&service, EAST, key, "after")), "after");
    // What it gave up, and between which tokens it went, is on record.
    let details = |name: &str| -> Vec<Value> {
        let events = service.audit().into_iter().map(|mut line| line["event"].take());
        let told = events.filter(|event| {
            let of_key =
                event["resources"].to_string().contains(key) || event["responseElements"].to_string().contains(key);
            event["eventName"] == name && event["errorCode"].is_null() && of_key
        });
        told.map(|mut event| event["additionalEventData"].take()).collect()
    };
    let kept = |name: &str| details(name).iter().filter(|told| told["materialKeptWrapped"] == true).count();
    let told = ["CreateKey", "ReplicateKey", "RotateKeyOnDemand", "SynchronizeMultiRegionKey"].map(kept);
    assert_eq!(told, [1, 1, 1, 2]);
    for told in [details("ReplicateKey"), details("SynchronizeMultiRegionKey")].concat() {
        let tokens = &told["materialPassedBetween"];
        assert_eq!([0, 1].map(|at| tokens[at]["replicationKey"].as_str().unwrap()), [&east[..], &west], "{told}");
        assert!(tokens[0]["serial"] != tokens[1]["serial"], "{told}");
    }
    assert!(service.terminate().0.success());
    another_scheme(&machine, key);
    // Offline, the same is told of the same tokens.
    let (code, told, log) = machine.run(&["token", "pair", "pacific", "token", "--config", "settings.toml"]);
    assert!(code == 0 && told.contains("\"Paired\": true"), "{told} {log}");
    kept_by(&machine, key);
    // Both tokens' own tool calls the objects closed.
    for label in ["east", "west"] {
        assert_eq!(machine.objects(label).iter().filter(|label| label.contains("replication")).count(), 1);
    }
}

fn unpair(machine: &Machine, tokens: [&str; 2]) -> (i32, String, String) {
    machine.run(&[&["token", "unpair"], &tokens[..], &["--config", "settings.toml"]].concat())
}

/// The last record of a request to take back a pairing.
fn last_unpairing(service: &Service) -> Value {
    service.audit().into_iter().rfind(|line| line["event"]["eventName"] == "UnpairTokens").unwrap()["event"].take()
}

/// A pairing is taken back, and on record; nothing goes until there is a new one.
fn taken_back(machine: &Machine, service: &Service, replicate: &Value) {
    let [east, west] = [0, 1].map(|at| fingerprint_of_paired(machine, at));
    let (code, told, log) = unpair(machine, ["pacific", "token"]);
    assert!(code == 0 && told.contains("\"Paired\": false"), "{told} {log}");
    let event = last_unpairing(service);
    assert_eq!(
        (&event["requestParameters"]["tokens"], &event["errorCode"]),
        (&json!(["pacific", "token"]), &Value::Null)
    );
    let told = [0, 1].map(|at| event["responseElements"]["tokens"][at]["Fingerprint"].as_str().unwrap().to_owned());
    assert!(told.contains(&east) && told.contains(&west), "{event}");
    assert_eq!(refused(service, EAST, "ReplicateKey", replicate.clone()).0, "UnsupportedOperationException");
    let (code, _, told) = unpair(machine, ["token", "pacific"]);
    assert!(code == 1 && told.contains("NoSuchEntity"), "{code} {told}");
    assert_eq!(confirm(machine, [&east, &west]).0, 0);
}

fn fingerprint_of_paired(machine: &Machine, at: usize) -> String {
    let (_, told, log) = machine.run(&["token", "pair", "token", "pacific", "--config", "settings.toml"]);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert_eq!(told["Paired"], true);
    told["Tokens"][at]["Fingerprint"].as_str().unwrap().to_owned()
}

/// Where no service runs, and one of the tokens is not there, which has no name in the settings then.
fn taken_back_of_a_lost_token(machine: &Machine, tokens: &Value) {
    let [east, west] = [0, 1].map(|at| tokens[at]["Serial"].as_str().unwrap());
    let folder = machine.folder_of("west");
    std::fs::rename(&folder, machine.path("away")).unwrap();
    let (code, told, log) = unpair(machine, [west, east]);
    assert!(code == 0 && told.contains(east) && told.contains(west), "{told} {log}");
    std::fs::rename(machine.path("away"), &folder).unwrap();
}

/// The pairing stays while one token has the primary key and the other a replica.
fn kept_by(machine: &Machine, key: &str) {
    let (code, _, told) = unpair(machine, ["token", "pacific"]);
    assert!(code == 1 && told.contains("DeleteConflict") && told.contains(&format!(":key/{key}")), "{code} {told}");
}

/// What is kept of a multi-Region key is wrapped for the replication key of the token that it was made on.
#[test]
fn a_token_that_took_over_goes_on_with_the_replication_key_if_it_has_that_too() {
    let machine = Machine::new(&["west"]);
    let settings = machine.settings(&[EAST, WEST], &[machine.token("pacific", "west", &[WEST])]);
    let service = machine.serve(&settings);
    let [first, second] = [(); 2].map(|()| {
        let made = ok(&service, WEST, "CreateKey", json!({ "MultiRegion": true }));
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    });
    let replicate = |key: &str| json!({ "KeyId": key, "ReplicaRegion": EAST });
    assert!(service.terminate().0.success());
    let taken_over = |service: &Service| {
        let line = service.audit().into_iter().rfind(|line| line["event"]["eventName"] == "AssignToken").unwrap();
        line["event"]["additionalEventData"]["replicationKey"]["takenOver"].clone()
    };
    let accepted = || {
        let serial = machine.renumber("west");
        machine.serve_as(&mut machine.command(&["serve", "--config", "settings.toml", "--accept-token", &serial]))
    };

    let service = accepted();
    assert_eq!(taken_over(&service), true);
    let (_, message) = refused(&service, WEST, "ReplicateKey", replicate(&first));
    assert!(message.contains("not paired"), "a pairing is of a serial number: {message}");
    let [east, west] = fingerprints(&machine);
    assert_eq!(confirm(&machine, [&east, &west]).0, 0);
    ok(&service, WEST, "ReplicateKey", replicate(&first));
    assert_eq!(decrypt(&service, EAST, &encrypt(&service, WEST, &first, "taken over")), "taken over");
    assert!(service.terminate().0.success());

    let label = machine.objects("west").into_iter().find(|label| label.contains("replication")).unwrap();
    machine.pkcs11_tool("west", &["--delete-object", "--type", "privkey", "--label", &label]);
    let service = accepted();
    assert_eq!(taken_over(&service), false);
    assert_eq!(decrypt(&service, EAST, &encrypt(&service, WEST, &first, "used")), "used");
    let (error, message) = refused(&service, WEST, "ReplicateKey", replicate(&second));
    assert_eq!(error, "UnsupportedOperationException");
    assert!(message.contains("has not taken over") && message.contains("`west`"), "{message}");
    assert!(service.terminate().0.success());
}

/// A token whose new materials would be wrapped under by another scheme: what is there works, and the key gets no material
/// whose ciphertexts only one of the Regions could open.
fn another_scheme(machine: &Machine, key: &str) {
    let profile =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("hsm-config/softhsm2/profile.toml"));
    let gcm = "schemes = [\"aes_gcm_host_iv\"]";
    let profile = profile.unwrap();
    assert!(profile.contains(gcm));
    machine.write("cbc.toml", &profile.replace(gcm, "schemes = [\"aes_cbc_host_iv\", \"aes_gcm_host_iv\"]"));
    let section = machine.token("pacific", "west", &[WEST]) + "profile = \"cbc.toml\"\n";
    let service = machine.serve(&machine.settings(&[EAST, WEST], &[section]));
    let rotations = || ok(&service, EAST, "ListKeyRotations", json!({ "KeyId": key }))["Rotations"].clone();
    let before = rotations();
    assert_eq!(refused(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key })).0, "KMSInternalException");
    assert_eq!(rotations(), before);
    for (region, other) in [(EAST, WEST), (WEST, EAST)] {
        assert_eq!(decrypt(&service, other, &encrypt(&service, region, key, "as before")), "as before");
    }
    let made = ok(&service, EAST, "CreateKey", json!({ "MultiRegion": true }))["KeyMetadata"]["KeyId"].clone();
    let (error, message) = refused(&service, EAST, "ReplicateKey", json!({ "KeyId": made, "ReplicaRegion": WEST }));
    assert!(error == "UnsupportedOperationException" && message.contains("another scheme"), "{error}: {message}");
    assert!(service.terminate().0.success());
}

/// boto3, the AWS Encryption SDK in its multi-Region mode, and `aws`, over both Regions.
fn unmodified_clients(machine: &Machine, service: &Service) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regions/clients.py");
    let mut python = std::process::Command::new(clients::venv().join("bin/python"));
    python.arg(script).env("AWS_PROGRAM", clients::venv().join("bin/aws"));
    clients::run(service, &mut python, &machine.path("home"), EAST);
}
