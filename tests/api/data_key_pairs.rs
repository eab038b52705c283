//! GenerateDataKeyPair and GenerateDataKeyPairWithoutPlaintext: pairs that OpenSSL uses, and nobody waits for RSA.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use hsm_kms::crypto::{PublicKey, encapsulate};
use hsm_kms::model::KeyPairSpec;
use serde_json::{Value, json};

use super::openssl::OpenSsl;
use super::support::wire::read_answer;
use super::*;

const OPERATIONS: [&str; 2] = ["GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"];
const THROTTLED: &str = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.";

#[test]
fn pairs_of_every_spec_are_openssls_and_their_private_keys_are_decrypted() {
    let service = shared();
    let key = new_key(&service);
    let context = json!({ "Project": "Alpha" });
    // The model has no ML-DSA here.
    let specs = KeyPairSpec::ALL.iter().filter(|spec| !spec.is_lattice() || spec.encapsulated_len().is_some());
    for spec in specs {
        let body = json!({ "KeyId": key.id, "KeyPairSpec": spec, "EncryptionContext": context });
        let made = ok(&service, "GenerateDataKeyPair", &body);
        let all =
            ["KeyId", "KeyMaterialId", "KeyPairSpec", "PrivateKeyCiphertextBlob", "PrivateKeyPlaintext", "PublicKey"];
        assert_eq!(names(&made), all);
        let private = opened(&service, &made, &context);
        assert_eq!(private["Plaintext"], made["PrivateKeyPlaintext"], "{spec}");
        Pair { spec: *spec, private: bytes(&private["Plaintext"]), public: bytes(&made["PublicKey"]) }.check();

        let sealed = ok(&service, "GenerateDataKeyPairWithoutPlaintext", &body);
        let without: Vec<&str> = all.into_iter().filter(|name| *name != "PrivateKeyPlaintext").collect();
        assert_eq!(names(&sealed), without);
        assert_ne!(sealed["PublicKey"], made["PublicKey"], "{spec}: a pair is made once");
        let private = bytes(&opened(&service, &sealed, &context)["Plaintext"]);
        Pair { spec: *spec, private, public: bytes(&sealed["PublicKey"]) }.check();

        for answer in [&made, &sealed] {
            assert_eq!((&answer["KeyId"], &answer["KeyPairSpec"]), (&json!(key.arn), &json!(spec)));
            assert_eq!(answer["KeyMaterialId"], private_key_material(&service, answer, &context));
            let blob = bytes(&answer["PrivateKeyCiphertextBlob"]);
            assert!(blob.len() <= 6144, "{spec}: {} bytes", blob.len());
        }
    }
}

#[test]
fn a_private_key_opens_only_under_its_context() {
    let service = shared();
    let key = new_key(&service);
    let body = json!({ "KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": { "a": "b" } });
    for operation in OPERATIONS {
        let blob = ok(&service, operation, &body)["PrivateKeyCiphertextBlob"].clone();
        for context in [Value::Null, json!({}), json!({ "a": "c" }), json!({ "a": "b", "c": "d" })] {
            let body = json!({ "CiphertextBlob": blob, "EncryptionContext": context });
            refused(&service, "Decrypt", &body, "InvalidCiphertextException", "");
        }
        ok(&service, "Decrypt", &json!({ "CiphertextBlob": blob, "EncryptionContext": { "a": "b" } }));
    }
}

#[test]
fn what_cannot_be_made_is_refused_and_changes_nothing() {
    let service = shared();
    let key = new_key(&service);
    let before = ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id }));
    for operation in OPERATIONS {
        {
            let spec = "SM2";
            let message = format!("KeyPairSpec {spec} is not offered by this service.");
            let body = json!({ "KeyId": key.id, "KeyPairSpec": spec });
            refused(&service, operation, &body, "UnsupportedOperationException", &message);
        }
        let message = violation(
            "Value 'RSA_1024' at 'keyPairSpec' failed to satisfy constraint: Member must satisfy enum value set: \
             [RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1, SM2, \
             ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024]",
        );
        let body = json!({ "KeyId": key.id, "KeyPairSpec": "RSA_1024" });
        refused(&service, operation, &body, "ValidationException", &message);
        let message = violation("Value null at 'keyPairSpec' failed to satisfy constraint: Member must not be null");
        refused(&service, operation, &json!({ "KeyId": key.id }), "ValidationException", &message);
    }
    let message = "Recipient is not supported by this service.";
    let body = json!({ "KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256", "Recipient": {} });
    refused(&service, "GenerateDataKeyPair", &body, "UnsupportedOperationException", message);
    assert_eq!(ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id })), before);
}

#[test]
fn the_record_shows_the_request_and_neither_key() {
    let service = shared();
    let key = new_key(&service);
    let body = json!({ "KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": { "a": "b" } });
    for operation in OPERATIONS {
        let answer = call(&service, operation, &body);
        let event = event(&service, &answer);
        assert_eq!((&event["eventName"], &event["readOnly"]), (&json!(operation), &json!(true)));
        let parameters = json!({ "keyId": key.id, "keyPairSpec": "ECC_NIST_P256", "encryptionContext": { "a": "b" } });
        assert_eq!(event["requestParameters"], parameters);
        assert_eq!(event["responseElements"], Value::Null);
        assert_eq!(event["resources"][0]["ARN"], key.arn.as_str());
    }
}

/// RSA pairs are made until no more may wait: whoever asks for one more is throttled, and everything else is answered
/// while they are still being made.
#[test]
fn nobody_but_those_who_want_rsa_pairs_waits_for_them() {
    // Its places are not to be taken from other tests.
    let service = Service::start();
    let key = new_key(&service);
    let rsa = |spec: &str| json!({ "KeyId": key.id, "KeyPairSpec": spec });
    let mut waiting: Vec<TcpStream> = (0..24).map(|_| asking(&service, &rsa("RSA_4096"))).collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    let throttled = loop {
        let answer = call(&service, "GenerateDataKeyPairWithoutPlaintext", &rsa("RSA_2048"));
        if answer.status != 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "nobody was throttled");
    };
    is_refusal(&throttled, "ThrottlingException", THROTTLED);
    assert_eq!(event(&service, &throttled)["errorCode"], "ThrottlingException");
    assert!(waiting.iter().any(is_pending), "some are made still");
    for body in [json!({ "KeyId": key.id, "KeySpec": "AES_256" }), json!({ "KeyId": key.id, "NumberOfBytes": 8 })] {
        ok(&service, "GenerateDataKey", &body);
    }
    for spec in ["ECC_NIST_P521", "ECC_NIST_EDWARDS25519"] {
        ok(&service, "GenerateDataKeyPair", &rsa(spec));
    }
    let dry = json!({ "KeyId": key.id, "KeyPairSpec": "RSA_4096", "DryRun": true });
    assert_eq!(call(&service, "GenerateDataKeyPair", &dry).error(), "DryRunOperationException");
    assert!(waiting.iter().any(is_pending), "all this was answered while pairs were being made");

    let answers: Vec<Answer> = waiting.iter_mut().map(read_answer).collect();
    let errors: Vec<String> = answers.iter().filter(|answer| answer.status != 200).map(Answer::error).collect();
    assert!(errors.len() < answers.len(), "pairs were made: {errors:?}");
    let soon = ["ThrottlingException", "DependencyTimeoutException"];
    assert!(errors.iter().all(|error| soon.contains(&error.as_str())), "{errors:?}");
    assert!(errors.iter().any(|error| error == soon[0]), "{errors:?}");
    // The places are free again.
    ok(&service, "GenerateDataKeyPair", &rsa("RSA_2048"));
}

/// What makes RSA pairs gives way to everything else, and nothing else does.
#[test]
fn the_thread_that_makes_rsa_pairs_has_a_lower_priority_and_no_other() {
    let service = Service::start();
    let key = new_key(&service);
    let makers = |threads: &[(String, i32)]| threads.iter().filter(|(name, _)| name == "key-pairs").count();
    assert_eq!(makers(&threads(&service)), 0, "none is started before it is needed");
    for _ in 0..3 {
        ok(&service, "GenerateDataKeyPair", &json!({ "KeyId": key.id, "KeyPairSpec": "RSA_2048" }));
    }
    let threads = threads(&service);
    assert_eq!(makers(&threads), 1, "{threads:?}");
    let own = threads[0].1;
    for (name, niceness) in &threads {
        assert_eq!(*niceness - own, if name == "key-pairs" { 5 } else { 0 }, "{name}: {threads:?}");
    }
}

/// The names and nice values of a service's threads, the main one first. `man 5 proc`, `/proc/pid/task/tid/stat`.
fn threads(service: &Service) -> Vec<(String, i32)> {
    let folder = format!("/proc/{}/task", service.pid());
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut stats: Vec<(u32, String)> = entries
        // A thread may end meanwhile.
        .filter_map(|path| {
            Some((path.file_name()?.to_str()?.parse().ok()?, std::fs::read_to_string(path.join("stat")).ok()?))
        })
        .collect();
    stats.sort();
    let thread = |stat: &str| {
        let (name, numbers) = stat.split_once(" (")?.1.rsplit_once(") ")?;
        // Field 19; the numbers begin with field 3.
        Some((name.to_owned(), numbers.split(' ').nth(19 - 3)?.parse().ok()?))
    };
    stats.iter().map(|(_, stat)| thread(stat).unwrap()).collect()
}

/// A connection with a request for a pair on it, whose answer is not awaited.
fn asking(service: &Service, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&Request::kms("GenerateDataKeyPair", body).signed(service)).unwrap();
    stream
}

/// Whether no answer has come yet.
fn is_pending(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn opened(service: &Service, made: &Value, context: &Value) -> Value {
    let blob = &made["PrivateKeyCiphertextBlob"];
    ok(service, "Decrypt", &json!({ "CiphertextBlob": blob, "EncryptionContext": context }))
}

fn private_key_material(service: &Service, made: &Value, context: &Value) -> Value {
    opened(service, made, context)["KeyMaterialId"].clone()
}

/// What a caller got, as PKCS#8 and SPKI.
struct Pair {
    spec: KeyPairSpec,
    private: Vec<u8>,
    public: Vec<u8>,
}

impl Pair {
    /// OpenSSL takes both halves, and uses them for all that keys of the spec are for.
    fn check(&self) {
        if self.spec.is_lattice() {
            return self.encapsulate();
        }
        let openssl = OpenSsl::new();
        let der = openssl.file("private.der", &self.private);
        openssl.run(&["pkey", "-inform", "DER", "-in", &der, "-check", "-out", "private"], b"");
        openssl.run(&["pkey", "-pubin", "-inform", "DER", "-pubcheck", "-out", "public"], &self.public);
        let public = openssl.run(&["pkey", "-in", "private", "-pubout", "-outform", "DER"], b"");
        assert_eq!(public, self.public, "{}: the halves belong together", self.spec);
        let again = openssl.run(&["pkcs8", "-topk8", "-nocrypt", "-in", "private", "-outform", "DER"], b"");
        assert_eq!(again, self.private, "{}: OpenSSL writes the same PKCS#8", self.spec);
        self.sign(&openssl);
        if self.spec.modulus_len().is_some() {
            self.decrypt(&openssl);
        }
        if self.spec.coordinate_len().is_some() {
            self.agree(&openssl);
        }
    }

    /// Python reads ML-KEM-768 and ML-KEM-1024; the seed is as long for all, and its key is the one that was told.
    fn encapsulate(&self) {
        assert_eq!(self.private.len(), 86, "{}", self.spec);
        let public = PublicKey::from_spki(self.spec, &self.public).unwrap();
        let made = encapsulate(&public).unwrap();
        if self.spec == KeyPairSpec::MlKem512 {
            return;
        }
        let script = "import sys; from cryptography.hazmat.primitives import serialization as s; \
                      private = s.load_der_private_key(bytes.fromhex(sys.argv[1]), None); \
                      public = private.public_key().public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo); \
                      print(public.hex(), private.decapsulate(bytes.fromhex(sys.argv[2])).hex())";
        let venv = std::env::var("HSM_KMS_TEST_VENV").expect("scripts/test sets it");
        let mut python = Command::new(format!("{venv}/bin/python"));
        python.args(["-c", script, &hex::encode(&self.private), &hex::encode(&made.ciphertext)]);
        let output = python.output().unwrap();
        let expected = format!("{} {}\n", hex::encode(&self.public), hex::encode(made.secret.expose()));
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn sign(&self, openssl: &OpenSsl) {
        let message = openssl.file("message", b"a message");
        // Ed25519 takes the message itself.
        let of_message: &[&str] = if self.spec == KeyPairSpec::EccNistEdwards25519 { &["-rawin"] } else { &[] };
        let input = if of_message.is_empty() { &self.digest(openssl) } else { &message };
        let sign = [&["pkeyutl", "-sign", "-inkey", "private", "-in", input][..], of_message].concat();
        let signature = openssl.file("signature", &openssl.run(&sign, b""));
        let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "public", "-in", input, "-sigfile", &signature];
        openssl.run(&[&verify[..], of_message].concat(), b"");
    }

    fn digest(&self, openssl: &OpenSsl) -> String {
        openssl.file("digest", &openssl.run(&["dgst", "-sha256", "-binary"], b"a message"))
    }

    fn decrypt(&self, openssl: &OpenSsl) {
        let oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"];
        let encrypt = [&["pkeyutl", "-encrypt", "-pubin", "-inkey", "public"][..], &oaep].concat();
        let ciphertext = openssl.run(&encrypt, b"a secret");
        let decrypt = [&["pkeyutl", "-decrypt", "-inkey", "private"][..], &oaep].concat();
        assert_eq!(openssl.run(&decrypt, &ciphertext), b"a secret");
    }

    fn agree(&self, openssl: &OpenSsl) {
        openssl.generate(self.spec, "peer");
        openssl.run(&["pkey", "-in", "peer", "-pubout", "-out", "peer-public"], b"");
        let derive =
            |own: &str, other: &str| openssl.run(&["pkeyutl", "-derive", "-inkey", own, "-peerkey", other], b"");
        assert_eq!(derive("private", "peer-public"), derive("peer", "public"), "{}", self.spec);
    }
}
