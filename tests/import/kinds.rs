//! Every kind of material, wrapped in every way, does what the same key does outside.

use serde_json::{Value, json};

use crate::oracle::{Oracle, Pair};
use crate::*;

const ALGORITHMS: [&str; 4] =
    ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"];

#[test]
fn every_algorithm_with_rsa_2048() {
    every_algorithm("RSA_2048");
}

#[test]
fn every_algorithm_with_rsa_3072() {
    every_algorithm("RSA_3072");
}

#[test]
fn every_algorithm_with_rsa_4096() {
    every_algorithm("RSA_4096");
}

/// One of each family: symmetric, HMAC, elliptic curve and RSA.
fn every_algorithm(wrapping_key: &str) {
    let (service, mut oracle) = (shared(), Oracle::new());
    let kinds = [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("HMAC_384", "GENERATE_VERIFY_MAC"),
        ("ECC_NIST_P384", "SIGN_VERIFY"),
        ("RSA_2048", "SIGN_VERIFY"),
    ];
    let mut imported = 0;
    for (spec, usage) in kinds {
        let material = Material::new(&mut oracle, spec);
        for algorithm in ALGORITHMS {
            if spec == "RSA_2048" && algorithm.starts_with("RSAES") {
                continue;
            }
            check(&service, &mut oracle, (spec, usage), &material, (algorithm, wrapping_key));
            imported += 1;
        }
    }
    assert_eq!(imported, 14);
}

/// Every other key spec and usage, by an AES key, and directly where AWS admits it.
#[test]
fn every_key_spec_and_usage() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let kinds = [
        ("HMAC_224", "GENERATE_VERIFY_MAC"),
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("HMAC_512", "GENERATE_VERIFY_MAC"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
        ("RSA_3072", "SIGN_VERIFY"),
        ("RSA_3072", "ENCRYPT_DECRYPT"),
        ("RSA_4096", "SIGN_VERIFY"),
        ("RSA_4096", "ENCRYPT_DECRYPT"),
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "KEY_AGREEMENT"),
        ("ECC_NIST_P384", "KEY_AGREEMENT"),
        ("ECC_NIST_P521", "SIGN_VERIFY"),
        ("ECC_NIST_P521", "KEY_AGREEMENT"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
        ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    ];
    for (spec, usage) in kinds {
        let material = Material::new(&mut oracle, spec);
        check(&service, &mut oracle, (spec, usage), &material, ("RSA_AES_KEY_WRAP_SHA_256", "RSA_2048"));
        if !spec.starts_with("RSA") {
            check(&service, &mut oracle, (spec, usage), &material, ("RSAES_OAEP_SHA_256", "RSA_3072"));
        }
    }
}

/// AWS asks for 256; its importing clients of PKCS#11 choose.
#[test]
fn the_aes_key_in_between_may_have_128_or_256_bits() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let material = oracle.random(32);
    for bits in [128, 256] {
        let key = symmetric_key(&service);
        let parameters = parameters(&service, &key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048");
        let mut request = parameters.import(&mut oracle, &key, &material);
        let wrapped = oracle.wrap_by(bits, &parameters.algorithm, &parameters.public_key, &material);
        request["EncryptedKeyMaterial"] = json!(wrapped);
        ok(&service, "ImportKeyMaterial", &request);
        assert_eq!(oracle.open_blob(&material, &encrypt(&service, &key, b"secret")), b"secret");
    }
}

#[test]
fn no_imported_object_nor_wrapping_key_can_be_read() {
    let (service, mut oracle) = (Service::start(), Oracle::new());
    for (spec, usage) in [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "KEY_AGREEMENT"),
    ] {
        let material = Material::new(&mut oracle, spec);
        check(&service, &mut oracle, (spec, usage), &material, ("RSA_AES_KEY_WRAP_SHA_256", "RSA_2048"));
    }
    let listed = service.pkcs11_tool(&["--list-objects"]);
    let objects: Vec<&str> = listed.split_inclusive('\n').collect();
    let mut seen = 0;
    for (at, line) in objects.iter().enumerate() {
        let is_key = line.contains("Secret Key Object") || line.contains("Private Key Object");
        assert!(!line.contains("Public Key Object"), "the token keeps no public keys: {listed}");
        if !is_key {
            continue;
        }
        let rest = objects[at + 1..].iter();
        let about: String = rest.take_while(|line| !line.contains(" Object")).copied().collect();
        assert!(about.contains("sensitive"), "{about}");
        let access = about.lines().find(|line| line.contains("Access:")).unwrap_or_else(|| panic!("{about}"));
        assert!(!access.contains("extractable") || access.contains("never extractable"), "{about}");
        seen += 1;
    }
    // Four imported, a wrapping key for each, and the store's root.
    assert_eq!(seen, 9, "{listed}");
    assert_eq!(labels(&service, "hsm-kms/imported/").len(), 4);
    assert_eq!(labels(&service, "hsm-kms/import-wrapping/").len(), 4);
}

/// Key material that was made outside.
enum Material {
    Secret(Vec<u8>),
    Pair(Pair),
}

impl Material {
    fn new(oracle: &mut Oracle, spec: &str) -> Self {
        match spec.strip_prefix("HMAC_") {
            Some(bits) => Material::Secret(oracle.random(bits.parse::<usize>().unwrap() / 8)),
            None if spec == "SYMMETRIC_DEFAULT" => Material::Secret(oracle.random(32)),
            None => Material::Pair(oracle.pair(spec)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Material::Secret(bytes) => bytes,
            Material::Pair(pair) => &pair.private,
        }
    }
}

/// Imports the material into a new key, and uses the key together with what was made outside.
fn check(
    service: &Service,
    oracle: &mut Oracle,
    (spec, usage): (&str, &str),
    material: &Material,
    (algorithm, wrapping_key): (&str, &str),
) {
    let what = format!("{spec} for {usage} by {algorithm} with {wrapping_key}");
    let key = new_key(service, spec, usage);
    let parameters = parameters(service, &key, algorithm, wrapping_key);
    let request = parameters.import(oracle, &key, material.bytes());
    let answer = call(service, "ImportKeyMaterial", &request);
    assert_eq!(answer.status, 200, "{what}: {}", String::from_utf8_lossy(&answer.body));
    let told = answer.json();
    assert_eq!(told["KeyId"], arn(&key), "{what}");
    assert_eq!(told["KeyMaterialId"].is_string(), spec == "SYMMETRIC_DEFAULT", "{what}");
    let metadata = metadata(service, &key);
    assert_eq!((&metadata["KeyState"], &metadata["Origin"]), (&json!("Enabled"), &json!("EXTERNAL")), "{what}");
    assert_eq!(metadata["ExpirationModel"], "KEY_MATERIAL_DOES_NOT_EXPIRE", "{what}");
    assert_eq!(metadata.get("ValidTo"), None, "{what}");
    // SoftHSM unwraps secret keys by itself where OAEP has SHA-1.
    let on_token =
        ["SYMMETRIC_DEFAULT", "HMAC_256", "HMAC_384", "HMAC_512"].contains(&spec) && algorithm.ends_with("_1");
    recorded(service, &answer, &metadata, if on_token { "token" } else { "host" }, &what);
    match (usage, material) {
        ("ENCRYPT_DECRYPT", Material::Secret(secret)) => {
            assert_eq!(metadata["CurrentKeyMaterialId"], told["KeyMaterialId"], "{what}");
            assert_eq!(oracle.open_blob(secret, &encrypt(service, &key, b"secret")), b"secret", "{what}");
        }
        (_, Material::Secret(secret)) => {
            let (bits, message) = (&spec["HMAC_".len()..], b"message");
            let algorithm = format!("HMAC_SHA_{bits}");
            let body = json!({ "KeyId": key, "Message": base64(message), "MacAlgorithm": algorithm });
            let mac = bytes(&ok(service, "GenerateMac", &body)["Mac"]);
            assert_eq!(mac, oracle.mac(bits, secret, message), "{what}");
        }
        (_, Material::Pair(pair)) => use_pair(service, oracle, (&key, spec, usage), pair, &what),
    }
}

fn use_pair(service: &Service, oracle: &mut Oracle, (key, spec, usage): (&str, &str, &str), pair: &Pair, what: &str) {
    let public = ok(service, "GetPublicKey", &json!({ "KeyId": key }));
    assert_eq!(bytes(&public["PublicKey"]), pair.public, "{what}");
    match usage {
        "SIGN_VERIFY" => {
            let algorithms = public["SigningAlgorithms"].as_array().unwrap();
            let algorithm = algorithms[0].as_str().unwrap();
            let body = json!({ "KeyId": key, "Message": base64(b"message"), "SigningAlgorithm": algorithm });
            let signature = bytes(&ok(service, "Sign", &body)["Signature"]);
            assert!(oracle.verify(&pair.public, algorithm, b"message", &signature), "{what} {algorithm}");
            assert!(!oracle.verify(&pair.public, algorithm, b"messagE", &signature), "{what} {algorithm}");
        }
        "ENCRYPT_DECRYPT" => {
            for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"] {
                let blob = base64(&oracle.encrypt(&pair.public, algorithm, b"secret"));
                let body = json!({ "KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm });
                assert_eq!(bytes(&ok(service, "Decrypt", &body)["Plaintext"]), b"secret", "{what} {algorithm}");
            }
        }
        _ => {
            assert!(spec.starts_with("ECC_NIST_P"));
            let (peer, secret) = oracle.agree(&pair.public);
            let body = json!({ "KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&peer) });
            let answer = ok(service, "DeriveSharedSecret", &body);
            assert_eq!(bytes(&answer["SharedSecret"]), secret, "{what}");
            assert_eq!(answer["KeyOrigin"], "EXTERNAL", "{what}");
        }
    }
}

/// The record says what was done, and where; DescribeKey says the same.
fn recorded(service: &Service, answer: &Answer, metadata: &Value, place: &str, what: &str) {
    let id = answer.header("x-amzn-requestid").unwrap();
    let events: Vec<Value> = service.audit().into_iter().map(|line| line["event"].clone()).collect();
    let event = events.iter().find(|event| event["requestID"] == id).unwrap_or_else(|| panic!("{what}: no record"));
    assert_eq!(event["additionalEventData"]["unwrappedOn"], place, "{what}");
    assert_eq!(metadata["HsmKmsImportUnwrappedOn"], place.to_uppercase(), "{what}");
    assert_eq!(event["responseElements"]["keyId"], metadata["Arn"], "{what}");
    assert_eq!(event["requestParameters"]["expirationModel"], "KEY_MATERIAL_DOES_NOT_EXPIRE", "{what}");
    let told = event.to_string();
    assert!(!told.contains("importToken") && !told.contains("encryptedKeyMaterial"), "{told}");
}
