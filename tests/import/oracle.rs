//! `oracle.py`, asked line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::{base64, bytes};

/// A Python process; it ends with its input.
pub struct Oracle {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A key pair that was made outside.
pub struct Pair {
    /// PKCS#8, DER.
    pub private: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub public: Vec<u8>,
}

impl Oracle {
    pub fn new() -> Self {
        let venv = std::env::var("HSM_KMS_TEST_VENV").unwrap_or_else(|_| "target/venv".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/oracle.py");
        let child = Command::new(Path::new(&venv).join("bin/python3"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{venv}: {error}; run scripts/test, which makes it"));
        let (questions, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Oracle { child, questions, answers }
    }

    pub fn wrap(&mut self, algorithm: &str, public_key: &str, material: &[u8]) -> String {
        let wrapped = self.ask(json!({
            "command": "wrap", "algorithm": algorithm, "public_key": public_key, "material": base64(material),
        }));
        wrapped.as_str().unwrap().to_owned()
    }

    /// As `wrap`, by an AES key of so many bits.
    pub fn wrap_by(&mut self, aes_bits: u32, algorithm: &str, public_key: &str, material: &[u8]) -> String {
        let wrapped = self.ask(json!({
            "command": "wrap", "algorithm": algorithm, "public_key": public_key, "material": base64(material),
            "aes_bits": aes_bits,
        }));
        wrapped.as_str().unwrap().to_owned()
    }

    pub fn random(&mut self, count: usize) -> Vec<u8> {
        bytes(&self.ask(json!({ "command": "random", "count": count })))
    }

    pub fn pair(&mut self, spec: &str) -> Pair {
        let pair = self.ask(json!({ "command": "pair", "spec": spec }));
        Pair { private: bytes(&pair["private"]), public: bytes(&pair["public"]) }
    }

    /// The private key on a curve that is this number, PKCS#8.
    pub fn of_number(&mut self, spec: &str, number: &[u8]) -> Vec<u8> {
        bytes(&self.ask(json!({ "command": "of_number", "spec": spec, "number": base64(number) })))
    }

    pub fn verify(&mut self, public: &[u8], algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let [public_key, message, signature] = [public, message, signature].map(base64);
        let answer = self.ask(json!({
            "command": "verify", "public_key": public_key, "algorithm": algorithm, "message": message,
            "signature": signature,
        }));
        answer.as_bool().unwrap()
    }

    pub fn encrypt(&mut self, public: &[u8], algorithm: &str, plaintext: &[u8]) -> Vec<u8> {
        let [public_key, plaintext] = [public, plaintext].map(base64);
        bytes(&self.ask(json!({
            "command": "encrypt", "public_key": public_key, "algorithm": algorithm, "plaintext": plaintext,
        })))
    }

    /// The public key of the other side of ECDH, and the shared secret.
    pub fn agree(&mut self, public: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let agreed = self.ask(json!({ "command": "agree", "public_key": base64(public) }));
        (bytes(&agreed["public"]), bytes(&agreed["secret"]))
    }

    pub fn mac(&mut self, bits: &str, key: &[u8], message: &[u8]) -> Vec<u8> {
        let [key, message] = [key, message].map(base64);
        bytes(&self.ask(json!({ "command": "mac", "bits": bits, "key": key, "message": message })))
    }

    /// What is in a ciphertext blob, opened by the imported key alone.
    pub fn open_blob(&mut self, key: &[u8], blob: &str) -> Vec<u8> {
        bytes(&self.ask(json!({ "command": "open_blob", "key": base64(key), "blob": blob })))
    }

    fn ask(&mut self, question: Value) -> Value {
        writeln!(self.questions.as_mut().unwrap(), "{question}").unwrap();
        let mut answer = String::new();
        assert!(self.answers.read_line(&mut answer).unwrap() > 0, "the oracle failed: {}", question["command"]);
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.questions.take();
        let _ = self.child.wait();
    }
}
