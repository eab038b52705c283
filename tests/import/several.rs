//! Several materials of one symmetric key: one encrypts, all decrypt, and one at most waits for its rotation.

use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::*;

const STATE: &str = "KMSInvalidStateException";
const INCORRECT: &str = "IncorrectKeyMaterialException";

#[test]
fn a_second_material_waits_until_the_key_rotates_to_it() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let key = symmetric_key(&service);
    let [first, second, third] = [(); 3].map(|()| oracle.random(32));
    let parameters = parameters(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
    let mut bring = |material: &[u8], members: Value| {
        let mut body = parameters.import(&mut oracle, &key, material);
        members.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        body
    };
    let new = || json!({ "ImportType": "NEW_KEY_MATERIAL" });
    let existing = || json!({ "ImportType": "EXISTING_KEY_MATERIAL" });

    refused(&service, "ImportKeyMaterial", &bring(&first, existing()), INCORRECT, NOT_BEFORE);
    let id = |answer: Value| answer["KeyMaterialId"].as_str().unwrap().to_owned();
    let one = id(ok(&service, "ImportKeyMaterial", &bring(&first, json!({ "KeyMaterialDescription": "the first" }))));
    let old = encrypt(&service, &key, b"old");
    refused(&service, "ImportKeyMaterial", &bring(&second, json!({})), INCORRECT, NOT_BEFORE);
    refused(&service, "ImportKeyMaterial", &bring(&first, new()), INCORRECT, ALREADY);
    let two = id(ok(&service, "ImportKeyMaterial", &bring(&second, new())));
    assert_ne!(one, two);
    // It is no part of the key yet.
    assert_eq!(metadata(&service, &key)["CurrentKeyMaterialId"], one);
    assert_eq!(id(ok(&service, "Decrypt", &json!({ "CiphertextBlob": encrypt(&service, &key, b"x") }))), one);
    assert_eq!(states(&service, &key), [(one.clone(), "CURRENT", true), (two.clone(), "PENDING_ROTATION", true)]);
    let three = waiting_message(&service, &key, &bring(&third, new()), &two);
    // The same once more; its description stays, and the one that waits still waits.
    let named = json!({ "KeyMaterialId": two, "KeyMaterialDescription": "the second" });
    assert_eq!(id(ok(&service, "ImportKeyMaterial", &bring(&second, named))), two);
    let wrong = json!({ "KeyMaterialId": one });
    refused(&service, "ImportKeyMaterial", &bring(&second, wrong), INCORRECT, NOT_NAMED);
    ok(&service, "ImportKeyMaterial", &bring(&first, existing()));
    assert_eq!(descriptions(&service, &key), ["the first", "the second"]);
    // Without it, the key is as it was, and another may wait in its place.
    let gone = ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key, "KeyMaterialId": two }));
    assert_eq!(gone["KeyMaterialId"], two);
    assert_eq!(states(&service, &key), [(one.clone(), "CURRENT", true)]);
    assert_eq!(state(&service, &key), "Enabled");
    assert_eq!(id(ok(&service, "ImportKeyMaterial", &bring(&third, new()))), three);

    ok(&service, "RotateKeyOnDemand", &json!({ "KeyId": key }));
    assert_eq!(metadata(&service, &key)["CurrentKeyMaterialId"], three);
    assert_eq!(states(&service, &key), [(one.clone(), "NON_CURRENT", true), (three.clone(), "CURRENT", true)]);
    let recent = encrypt(&service, &key, b"recent");
    assert_eq!((decrypt(&service, &old), decrypt(&service, &recent)), (b"old".to_vec(), b"recent".to_vec()));
    let message = format!("No available key material pending rotation for the key: {}.", arn(&key));
    refused(&service, "RotateKeyOnDemand", &json!({ "KeyId": key }), STATE, &message);

    // Every material is needed: without an old one the key is of no use at all.
    ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key, "KeyMaterialId": one }));
    let waits = format!("{} is pending import.", arn(&key));
    for blob in [&old, &recent] {
        refused(&service, "Decrypt", &json!({ "CiphertextBlob": blob }), STATE, &waits);
    }
    refused(&service, "Encrypt", &json!({ "KeyId": key, "Plaintext": "AA==" }), STATE, &waits);
    refused(&service, "RotateKeyOnDemand", &json!({ "KeyId": key }), STATE, &message);
    assert_eq!(states(&service, &key), [(one.clone(), "NON_CURRENT", false), (three.clone(), "CURRENT", true)]);
    // Nothing is named, and the current one goes as well; one after the other comes back.
    ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key }));
    assert!(labels(&service, &format!("hsm-kms/imported/{key}/")).is_empty());
    assert_eq!(id(ok(&service, "ImportKeyMaterial", &bring(&third, json!({})))), three);
    assert_eq!(state(&service, &key), "PendingImport");
    ok(&service, "ImportKeyMaterial", &bring(&first, json!({})));
    assert_eq!(state(&service, &key), "Enabled");
    assert_eq!((decrypt(&service, &old), decrypt(&service, &recent)), (b"old".to_vec(), b"recent".to_vec()));
    assert_eq!(labels(&service, &format!("hsm-kms/imported/{key}/")).len(), 2);
}

/// The same material in two keys is two: neither decrypts what the other encrypted.
#[test]
fn the_same_material_in_another_key_is_another() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let material = oracle.random(32);
    let keys = [symmetric_key(&service), symmetric_key(&service)];
    let ids = keys.each_ref().map(|key| import(&service, &mut oracle, key, &material)["KeyMaterialId"].clone());
    assert_ne!(ids[0], ids[1]);
    let blob = encrypt(&service, &keys[0], b"x");
    let body = json!({ "CiphertextBlob": blob, "KeyId": keys[1] });
    assert_eq!(call(&service, "Decrypt", &body).error(), "IncorrectKeyException");
    assert_eq!(decrypt(&service, &blob), b"x");
}

/// HMAC keys and key pairs have one material for good.
#[test]
fn other_keys_take_the_same_material_only() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let hmac = new_key(&service, "HMAC_256", "GENERATE_VERIFY_MAC");
    let pair = new_key(&service, "ECC_NIST_P256", "SIGN_VERIFY");
    let mut materials = Vec::new();
    for _ in 0..2 {
        materials.push((oracle.random(32), oracle.pair("ECC_NIST_P256").private));
    }
    for (key, first, other) in [(&hmac, &materials[0].0, &materials[1].0), (&pair, &materials[0].1, &materials[1].1)] {
        let parameters = parameters(&service, key, "RSAES_OAEP_SHA_256", "RSA_2048");
        let [first, other] = [first, other].map(|material| parameters.import(&mut oracle, key, material));
        ok(&service, "ImportKeyMaterial", &first);
        refused(&service, "ImportKeyMaterial", &other, INCORRECT, NOT_BEFORE);
        let answer = ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key }));
        assert_eq!(answer, json!({ "KeyId": arn(key) }), "a material has no id there");
        refused(&service, "ImportKeyMaterial", &other, INCORRECT, NOT_BEFORE);
        assert_eq!(state(&service, key), "PendingImport");
        ok(&service, "ImportKeyMaterial", &first);
        assert_eq!(state(&service, key), "Enabled");
    }
}

/// A key that was disabled stays so when the same material is imported again.
#[test]
fn an_import_enables_no_disabled_key() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let (key, material) = (symmetric_key(&service), oracle.random(32));
    import(&service, &mut oracle, &key, &material);
    ok(&service, "DisableKey", &json!({ "KeyId": key }));
    import(&service, &mut oracle, &key, &material);
    assert_eq!(state(&service, &key), "Disabled");
    ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key }));
    assert_eq!(state(&service, &key), "PendingImport");
    import(&service, &mut oracle, &key, &material);
    assert_eq!(state(&service, &key), "Enabled", "as AWS documents it");
}

/// Of many imports at once into one key, each finds its place.
#[test]
fn imports_at_the_same_time_leave_one_object() {
    let (service, mut oracle) = (Service::start(), Oracle::new());
    let (key, material) = (symmetric_key(&service), oracle.random(32));
    let parameters = parameters(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
    let same = parameters.import(&mut oracle, &key, &material);
    let others: Vec<Value> = (0..4).map(|_| parameters.import(&mut oracle, &key, &[9; 32])).collect();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let requests = std::iter::repeat_n(&same, 4).chain(&others);
        let threads: Vec<_> = requests.map(|body| scope.spawn(|| call(&service, "ImportKeyMaterial", body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let succeeded = |answers: &[Answer]| answers.iter().filter(|answer| answer.status == 200).count();
    // Whichever material came first is the key's, and the other is refused.
    let counts = (succeeded(&answers[..4]), succeeded(&answers[4..]));
    assert!([(4, 0), (0, 4)].contains(&counts), "{counts:?}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.error() == INCORRECT));
    assert_eq!(state(&service, &key), "Enabled");
    let objects = labels(&service, "hsm-kms/imported/");
    assert_eq!(objects.len(), 1, "{objects:?}");
    assert_eq!(decrypt(&service, &encrypt(&service, &key, b"x")), b"x");
}

/// What AWS says of the material that waits; the id of the one that was refused.
fn waiting_message(service: &Service, key: &str, body: &Value, waiting: &str) -> String {
    let answer = call(service, "ImportKeyMaterial", body);
    assert_eq!((answer.status, answer.error().as_str()), (400, STATE));
    let message = answer.message();
    let refused = message.strip_prefix("New key material (id: ").and_then(|rest| rest.get(..64)).unwrap().to_owned();
    assert_eq!(
        message,
        format!(
            "New key material (id: {refused}) cannot be imported into KMS key {}, because another key material (id: \
             {waiting}) is pending rotation.",
            arn(key)
        )
    );
    refused
}

/// Id, state, and whether it is there, of all materials of a key.
fn states(service: &Service, key: &str) -> Vec<(String, &'static str, bool)> {
    let known = ["CURRENT", "NON_CURRENT", "PENDING_ROTATION"];
    let of = |entry: &Value| {
        let state = known.into_iter().find(|state| entry["KeyMaterialState"] == *state).unwrap();
        (entry["KeyMaterialId"].as_str().unwrap().to_owned(), state, entry["ImportState"] == "IMPORTED")
    };
    let mut states: Vec<_> = rotations(service, key).iter().map(of).collect();
    states.sort_by_key(|(id, ..)| order(service, key, id));
    states
}

fn descriptions(service: &Service, key: &str) -> Vec<String> {
    let mut found: Vec<String> = rotations(service, key)
        .iter()
        .map(|entry| entry["KeyMaterialDescription"].as_str().unwrap_or_default().to_owned())
        .collect();
    found.sort();
    found
}

fn rotations(service: &Service, key: &str) -> Vec<Value> {
    let body = json!({ "KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" });
    ok(service, "ListKeyRotations", &body)["Rotations"].as_array().unwrap().clone()
}

/// The first material first: it alone has no date.
fn order(service: &Service, key: &str, id: &str) -> u64 {
    let entries = rotations(service, key);
    let entry = entries.iter().find(|entry| entry["KeyMaterialId"] == id).unwrap();
    match entry["KeyMaterialState"].as_str() {
        Some("PENDING_ROTATION") => u64::MAX,
        _ => entry["RotationDate"].as_f64().map_or(0, |date| (date * 1_000.0) as u64),
    }
}

const NOT_BEFORE: &str = "The key material is not one that was imported into the KMS key before.";
const ALREADY: &str = "The key material is already associated with the KMS key.";
const NOT_NAMED: &str = "The key material is not the one that KeyMaterialId names.";
