//! The `openssl` command as an oracle, in a folder of its own.
#![allow(dead_code)] // every test uses its own part of this

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hsm_kms::model::KeyPairSpec;
use tempfile::TempDir;

/// A folder in which `openssl` runs.
pub struct OpenSsl(TempDir);

impl OpenSsl {
    pub fn new() -> Self {
        OpenSsl(tempfile::tempdir().expect("a folder"))
    }

    /// Writes a file for the command to read; its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).expect("a file");
        name.to_owned()
    }

    /// What a command prints, or what it complains of.
    pub fn try_run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("openssl, which the tests need");
        // A command that reads no input closes it.
        let _ = child.stdin.take().expect("an input").write_all(input);
        let output = child.wait_with_output().expect("an end");
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What a command that must succeed prints.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        self.try_run(arguments, input).unwrap_or_else(|error| panic!("openssl {arguments:?}: {error}"))
    }

    /// A new private key in the file `name`; its public key as DER.
    pub fn generate(&self, spec: KeyPairSpec, name: &str) -> Vec<u8> {
        let mut arguments = vec!["genpkey", "-out", name];
        arguments.extend(generation(spec));
        self.run(&arguments, b"");
        self.run(&["pkey", "-in", name, "-pubout", "-outform", "DER"], b"")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The arguments of `openssl genpkey` for a spec.
fn generation(spec: KeyPairSpec) -> Vec<&'static str> {
    let curve = |name| vec!["-algorithm", "EC", "-pkeyopt", name];
    match spec {
        KeyPairSpec::Rsa2048 => vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        KeyPairSpec::Rsa3072 => vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
        KeyPairSpec::Rsa4096 => vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
        KeyPairSpec::EccNistP256 => curve("ec_paramgen_curve:P-256"),
        KeyPairSpec::EccNistP384 => curve("ec_paramgen_curve:P-384"),
        KeyPairSpec::EccNistP521 => curve("ec_paramgen_curve:P-521"),
        KeyPairSpec::EccSecgP256k1 => curve("ec_paramgen_curve:secp256k1"),
        KeyPairSpec::EccNistEdwards25519 => vec!["-algorithm", "ED25519"],
        other => panic!("OpenSSL 3.0 has no {other}"),
    }
}
