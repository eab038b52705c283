//! A token of its own for each Region: what is where, what is refused, and what one token's outage does to the others.

use super::*;
use crate::noise::Noise;

#[test]
fn every_region_has_its_objects_on_its_own_token() {
    let machine = Machine::new(&["west"]);
    let settings = machine.settings(&[EAST, "eu-west-1", WEST], &[machine.token("pacific", "west", &[WEST])]);
    let service = machine.serve(&settings);
    let key =
        |region| ok(&service, region, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let keys = [EAST, "eu-west-1", WEST].map(|region| (region, key(region)));
    let blobs = keys.clone().map(|(region, key)| (region, encrypt(&service, region, &key, region)));
    let ready = get(&service, "/readyz");
    let parts = ["store", "audit", "token", "pacific"].map(|name| json!({ "name": name, "ready": true }));
    assert_eq!(ready.json(), json!({ "ready": true, "parts": parts }));
    for region in [EAST, WEST] {
        assert_eq!(get(&service, &format!("/readyz/{region}")).status, 200);
    }
    assert_eq!([get(&service, "/readyz/ap-east-1").status, get(&service, "/readyz/x").status], [404, 404]);
    assert!(service.terminate().0.success());
    let label = |key: &str| format!("hsm-kms/kms/{key}/1");
    let (east, west) = (machine.objects("east"), machine.objects("west"));
    assert!(keys[..2].iter().all(|(_, key)| east.contains(&label(key))), "{east:?}");
    assert_eq!((east.len(), west), (3, vec![label(&keys[2].1)]), "the third one is the store's");
    let service = machine.serve(&settings);
    for (region, blob) in blobs {
        assert_eq!(decrypt(&service, region, &blob), region);
    }
    let log = service.log();
    assert!(!log.contains("differ") && log.contains("a further token is open"), "{log}");
    assert!(!log.contains("do not serve"), "{log}");
    assert!(service.terminate().0.success());
    // Without a Region, its keys are named, and what to do.
    let service = machine.serve(&machine.settings(&[EAST, "eu-west-1"], &[]));
    let log = service.log();
    let line = log.lines().find(|line| line.contains("do not serve")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(WEST) && line.contains("put these Regions back into `regions`"), "{line}");
}

#[test]
fn a_token_that_no_start_can_mend_ends_the_service() {
    let machine = Machine::new(&["west"]);
    let refusal = |further: String| machine.refusal(&machine.settings(&[EAST, WEST], &[further]));
    let says = |(code, text): (i32, String), parts: &[&str]| {
        assert_eq!(code, 78, "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let serial = {
        let folder = machine.folder_of("east").display().to_string().replace('-', "");
        folder[folder.len() - 16..].to_owned()
    };
    let west = |name, label| machine.token(name, label, &[WEST]);
    says(refusal(west("pacific", "east")), &["token and tokens.pacific may be the same token"]);
    // What names alone do not show is seen when both are open.
    let by_serial = west("pacific", "east").replace("label = \"east\"", &format!("serial = {serial:?}"));
    says(refusal(by_serial), &["`pacific` and `token` are the same token", "`east`", &serial]);
    says(refusal(west("token", "west")), &["tokens.token", "another name"]);
    machine.write("bad-pin", "999999");
    says(refusal(west("pacific", "west").replace("/pin\"", "/bad-pin\"")), &["refused the PIN", "never tries"]);
    machine.write("profile.toml", "schema = 9");
    says(refusal(west("pacific", "west") + "profile = \"profile.toml\"\n"), &["profile.toml"]);
    says(refusal(west("pacific", "west").replace("/pin\"", "/no-pin\"")), &["no-pin", "cannot be read"]);
}

/// The other Regions are served, and this one's clients hear of an outage at once until the token is there.
#[test]
fn a_token_that_is_not_there_at_start_is_waited_for() {
    let machine = Machine::new(&["west"]);
    // Only a module that nobody else uses looks for tokens again.
    another_module(&machine.path("other.so"));
    let section = machine
        .token("pacific", "west", &[WEST])
        .replace(support::SOFTHSM, &machine.path("other.so").display().to_string());
    let settings = machine.settings(&[EAST, WEST], &[section]);
    let service = machine.serve(&settings);
    let key = ok(&service, WEST, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let blob = encrypt(&service, WEST, &key, "there");
    let of_east = ok(&service, EAST, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    assert!(service.terminate().0.success());
    // One that no record names, and one that is another token's.
    let [orphan, misplaced] =
        ["5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a", &of_east].map(|id| format!("hsm-kms/kms/{id}/1"));
    for label in [&orphan, &misplaced] {
        machine.pkcs11_tool("west", &["--keygen", "--key-type", "aes:32", "--label", label]);
    }
    let (folder, serial) = (machine.folder_of("west"), machine.serial_of("west"));
    std::fs::rename(&folder, machine.path("away")).unwrap();

    let service = machine.serve(&settings);
    let here = ok(&service, EAST, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    assert_eq!(decrypt(&service, EAST, &encrypt(&service, EAST, &here, "here")), "here");
    let (noise, begun) = (Noise::around(service.pid()), Instant::now());
    for (operation, body) in [
        ("Decrypt", json!({ "CiphertextBlob": blob })),
        ("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" })),
        ("CreateKey", json!({})),
        ("GenerateRandom", json!({ "NumberOfBytes": 8 })),
        ("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256" })),
    ] {
        assert_eq!(refused(&service, WEST, operation, body).0, "KeyUnavailableException", "{operation}");
    }
    assert!(!noise.has_passed(Duration::from_secs(2), begun), "{:?}", begun.elapsed());
    // What needs no token goes on.
    assert_eq!(ok(&service, WEST, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"]["KeyState"], "Enabled");
    let of = |path: &str| (get(&service, path).status, get(&service, path).json()["parts"][3].clone());
    let out = json!({ "name": "pacific", "ready": false, "reason": "unavailable" });
    assert_eq!(of("/readyz"), (200, out.clone()), "the other Region's clients are served");
    assert_eq!((of("/readyz/us-east-1").0, of("/readyz/us-west-2")), (200, (503, out)));
    let log = service.log();
    assert!(log.contains("there is no token with label `west`") && log.contains("pacific"), "{log}");
    assert!(!log.contains("missing"), "what was not looked at is not missing: {log}");

    std::fs::rename(machine.path("away"), &folder).unwrap();
    until("the token", || get(&service, "/readyz/us-west-2").status == 200);
    assert_eq!(decrypt(&service, WEST, &blob), "there");
    // What is on it is held against the store as at start.
    let told = || service.audit().into_iter().rfind(|line| line["event"]["eventName"] == "ReconcileTokenObjects");
    until("the comparison", || told().is_some());
    let found = told().unwrap()["event"]["additionalEventData"].take();
    let misplaced = json!([{ "object": misplaced, "token": serial }]);
    assert_eq!(found, json!({ "orphans": [orphan], "missing": [], "misplaced": misplaced }));
    assert!(service.terminate().0.success());
}
