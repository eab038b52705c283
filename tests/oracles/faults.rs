//! What does not fit together is told to nobody.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::in_process::{MovedClock, START, settings};
use crate::people::{Key, Served};
use crate::process::{LABEL, in_own_process, make_token};

/// A token that signs wrongly, or with another key, is caught here: from a faulty RSA signature, its private key follows.
#[test]
fn a_signature_that_does_not_verify_is_not_released() {
    in_own_process("faults::a_signature_that_does_not_verify_is_not_released", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        for (spec, algorithm) in [
            ("RSA_2048", "RSASSA_PSS_SHA_256"),
            ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512"),
            ("ECC_NIST_P384", "ECDSA_SHA_384"),
            ("ECC_SECG_P256K1", "ECDSA_SHA_256"),
            ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
        ] {
            let [key, other] = [(); 2].map(|()| new_key(&service, spec, "SIGN_VERIFY"));
            let sign = json!({ "KeyId": key.id, "Message": "eHk=", "SigningAlgorithm": algorithm });
            let good = service.ok(service.root(), "Sign", sign.clone());
            let used = last_use(&service, &key);
            let (record, stranger) = (service.key_record(&key), service.key_record(&other));
            // To the service, the token now signs with a key that is not the one on record.
            let mut wrong = record.clone();
            wrong.public_key = stranger.public_key;
            service.restore_key(&wrong);
            let answer = service.send(service.root(), "Sign", &sign);
            assert_eq!((answer.status, answer.error()), (500, "KMSInternalException".into()), "{spec}");
            assert_eq!(answer.json().get("Signature"), None);
            assert_eq!(last_use(&service, &key), used);
            service.restore_key(&record);
            let verify = json!({ "Signature": good["Signature"], "KeyId": key.id, "Message": "eHk=",
                "SigningAlgorithm": algorithm });
            service.ok(service.root(), "Verify", verify);
        }
        service.close();
    });
}

/// A record whose public key is no key of its spec is nobody's fault but ours, and serves nothing.
#[test]
fn a_record_without_its_public_key_serves_nothing() {
    in_own_process("faults::a_record_without_its_public_key_serves_nothing", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let rsa = new_key(&service, "RSA_2048", "ENCRYPT_DECRYPT");
        let (record, curve) = (service.key_record(&rsa), new_key(&service, "ECC_NIST_P256", "SIGN_VERIFY"));
        for public_key in [None, Some("00".to_owned()), Some("xyz".into()), service.key_record(&curve).public_key] {
            let mut wrong = record.clone();
            wrong.public_key = public_key;
            service.restore_key(&wrong);
            let algorithm = "RSAES_OAEP_SHA_256";
            for (operation, body) in [
                ("GetPublicKey", json!({ "KeyId": rsa.id })),
                ("Encrypt", json!({ "KeyId": rsa.id, "Plaintext": "eHk=", "EncryptionAlgorithm": algorithm })),
                ("Decrypt", json!({ "KeyId": rsa.id, "CiphertextBlob": "eHk=", "EncryptionAlgorithm": algorithm })),
            ] {
                let answer = service.send(service.root(), operation, &body);
                assert_eq!((answer.status, answer.error()), (500, "KMSInternalException".into()), "{operation}");
            }
            service.ok(service.root(), "DescribeKey", json!({ "KeyId": rsa.id }));
        }
        service.close();
    });
}

/// The deadline of other requests is not that of making a key.
#[test]
fn a_key_may_take_longer_to_make_than_an_answer_may() {
    in_own_process("faults::a_key_may_take_longer_to_make_than_an_answer_may", |dir| {
        make_token(LABEL);
        let mut settings = settings(dir);
        settings.kms.deadline_millis = 1;
        let service = Served::open(settings, MovedClock::at(START));
        let begun = Instant::now();
        let keys = ["RSA_2048", "RSA_3072", "ECC_NIST_P256"].map(|spec| new_key(&service, spec, "SIGN_VERIFY"));
        assert!(begun.elapsed() > Duration::from_millis(3), "{:?}", begun.elapsed());
        keys.iter().for_each(|key| drop(service.ok(service.root(), "GetPublicKey", json!({ "KeyId": key.id }))));
        service.close();
    });
}

fn new_key(service: &Served, spec: &str, usage: &str) -> Key {
    service.new_key(service.root(), json!({ "KeySpec": spec, "KeyUsage": usage }))
}

fn last_use(service: &Served, key: &Key) -> Value {
    service.ok(service.root(), "GetKeyLastUsage", json!({ "KeyId": key.id }))
}
