//! Project Wycheproof's vectors, whose keys come in by ImportKeyMaterial and are used on the token.

use std::collections::HashMap;

use serde_json::json;
use wycheproof::{HashFunction, TestResult, ecdh, mac, rsa_oaep};

use crate::oracle::Oracle;
use crate::*;

/// What became of the vectors.
#[derive(Debug, Default, PartialEq)]
struct Count {
    /// Valid, and served with the right answer.
    accepted: usize,
    /// Not valid, or only acceptable, and refused.
    refused: usize,
    /// Of a key or message that AWS does not take.
    passed_over: usize,
}

impl Count {
    fn note(&mut self, accepted: bool) {
        *if accepted { &mut self.accepted } else { &mut self.refused } += 1;
    }
}

/// Keys that were imported already, by their material.
struct Keys<'s> {
    service: &'s Service,
    oracle: Oracle,
    imported: HashMap<Vec<u8>, String>,
}

impl<'s> Keys<'s> {
    fn new(service: &'s Service) -> Self {
        Keys { service, oracle: Oracle::new(), imported: HashMap::new() }
    }

    /// The KMS key with this material.
    fn with(&mut self, spec: &str, usage: &str, material: &[u8]) -> String {
        if let Some(key) = self.imported.get(material) {
            return key.clone();
        }
        let key = new_key(self.service, spec, usage);
        let given = parameters(self.service, &key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048");
        ok(self.service, "ImportKeyMaterial", &given.import(&mut self.oracle, &key, material));
        self.imported.insert(material.to_vec(), key.clone());
        key
    }
}

/// AWS takes keys of exactly the length of the hash, messages of at least a byte, and no shortened codes.
#[test]
fn codes() {
    use mac::TestName;
    // One of its own: a service makes one RSA key at a time, and that is what takes the time here.
    let service = Service::start();
    let mut keys = Keys::new(&service);
    let mut count = Count::default();
    let sets = [
        (TestName::HmacSha224, 224),
        (TestName::HmacSha256, 256),
        (TestName::HmacSha384, 384),
        (TestName::HmacSha512, 512),
    ];
    for (name, bits) in sets {
        let (spec, algorithm) = (format!("HMAC_{bits}"), format!("HMAC_SHA_{bits}"));
        for test in mac::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            if test.key.len() * 8 != bits || test.msg.is_empty() {
                count.passed_over += 1;
                continue;
            }
            let key = keys.with(&spec, "GENERATE_VERIFY_MAC", &test.key);
            let mut body = json!({ "KeyId": key, "Message": base64(&test.msg), "MacAlgorithm": algorithm });
            let made = bytes(&ok(&service, "GenerateMac", &body)["Mac"]);
            let valid = test.result == TestResult::Valid && test.tag.len() * 8 == bits;
            assert_eq!(made == *test.tag, valid, "{name:?} {} {}", test.tc_id, test.comment);
            assert!(test.result != TestResult::Valid || made.starts_with(&test.tag), "{name:?} {}", test.tc_id);
            body["Mac"] = json!(base64(&test.tag));
            let answer = call(&service, "VerifyMac", &body);
            let expected = if valid { (200, "") } else { (400, "KMSInvalidMacException") };
            assert_eq!((answer.status, answer.error().as_str()), expected, "{name:?} {}", test.tc_id);
            count.note(valid);
        }
    }
    assert_eq!(count, Count { accepted: 104, refused: 319, passed_over: 271 });
}

/// What is left to choice is no DER, an unnamed curve or a compressed point: refused here.
#[test]
fn shared_secrets() {
    use ecdh::TestName;
    let service = Service::start();
    let mut keys = Keys::new(&service);
    let mut count = Count::default();
    let sets = [
        (TestName::EcdhSecp256r1, "ECC_NIST_P256"),
        (TestName::EcdhSecp384r1, "ECC_NIST_P384"),
        (TestName::EcdhSecp521r1, "ECC_NIST_P521"),
    ];
    for (name, spec) in sets {
        for test in ecdh::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let material = keys.oracle.of_number(spec, &test.private_key);
            let key = keys.with(spec, "KEY_AGREEMENT", &material);
            let body = json!({ "KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&test.public_key) });
            let answer = call(&service, "DeriveSharedSecret", &body);
            let valid = test.result == TestResult::Valid;
            assert_eq!(answer.status, if valid { 200 } else { 400 }, "{name:?} {} {}", test.tc_id, test.comment);
            if valid {
                assert_eq!(bytes(&answer.json()["SharedSecret"]), *test.shared_secret, "{name:?} {}", test.tc_id);
            }
            count.note(valid);
        }
    }
    assert_eq!(count, Count { accepted: 1733, refused: 842, passed_over: 0 });
}

/// AWS has OAEP with SHA-1 and SHA-256, the same hash in MGF1, and no labels.
#[test]
fn ciphertexts() {
    use rsa_oaep::TestName::*;
    let service = Service::start();
    let mut keys = Keys::new(&service);
    let mut count = Count::default();
    let sets =
        [Rsa2048Sha1Mgf1Sha1, Rsa2048Sha256Mgf1Sha256, Rsa3072Sha256Mgf1Sha256, Rsa4096Sha256Mgf1Sha256, RsaMisc];
    for name in sets {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let algorithm = match (group.hash, group.mgf_hash) {
                (HashFunction::Sha1, HashFunction::Sha1) => Some("RSAES_OAEP_SHA_1"),
                (HashFunction::Sha2_256, HashFunction::Sha2_256) => Some("RSAES_OAEP_SHA_256"),
                _ => None,
            };
            let Some(algorithm) = algorithm.filter(|_| [2048, 3072, 4096].contains(&group.key_size)) else {
                count.passed_over += group.tests.len();
                continue;
            };
            let key = keys.with(&format!("RSA_{}", group.key_size), "ENCRYPT_DECRYPT", &group.pkcs8);
            for test in group.tests {
                if test.ct.is_empty() {
                    count.passed_over += 1;
                    continue;
                }
                let body =
                    json!({ "KeyId": key, "CiphertextBlob": base64(&test.ct), "EncryptionAlgorithm": algorithm });
                let answer = call(&service, "Decrypt", &body);
                let valid = test.result == TestResult::Valid && test.label.is_empty();
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let expected = if valid { (200, "") } else { (400, "InvalidCiphertextException") };
                assert_eq!((answer.status, answer.error().as_str()), expected, "{what}");
                if valid {
                    assert_eq!(bytes(&answer.json()["Plaintext"]), *test.pt, "{what}");
                }
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 58, refused: 103, passed_over: 381 });
}
