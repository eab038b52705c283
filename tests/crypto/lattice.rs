//! Public keys, signatures and encapsulated secrets of lattices, against Python's `cryptography`.

use std::path::PathBuf;
use std::process::Command;

use hsm_kms::crypto::{KeyPair, Message, NotVerified, PublicKey, encapsulate};
use hsm_kms::model::{KeyPairSpec, SigningAlgorithm};

const MESSAGE: &[u8] = b"the message that is signed";
const ML_DSA: SigningAlgorithm = SigningAlgorithm::MlDsaShake256;

/// The words that a script prints, as bytes.
fn python(script: &str, arguments: &[&str]) -> Vec<Vec<u8>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv");
    let venv = std::env::var_os("HSM_KMS_TEST_VENV").map_or_else(|| default.into(), PathBuf::from);
    let output =
        Command::new(venv.join("bin/python")).args(["-c", script]).args(arguments).output().expect("scripts/test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = String::from_utf8(output.stdout).unwrap();
    words.split_whitespace().map(|word| hex::decode(word).unwrap()).collect()
}

/// A key of Python's, its signature of the message, another one of its representative, and that.
const SIGN: &str = "
import hashlib, sys
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
private = getattr(mldsa, sys.argv[1] + 'PrivateKey').generate()
public, message = private.public_key(), bytes.fromhex(sys.argv[2])
mu = hashlib.shake_256(hashlib.shake_256(public.public_bytes_raw()).digest(64) + bytes(2) + message).digest(64)
spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
print(spki.hex(), private.sign(message).hex(), private.sign_mu(mu).hex(), mu.hex())
";

#[test]
fn signatures_of_python_verify_and_altered_ones_do_not() {
    for spec in [KeyPairSpec::MlDsa44, KeyPairSpec::MlDsa65, KeyPairSpec::MlDsa87] {
        let class = spec.as_str().replace('_', "");
        let told = python(SIGN, &[&class, &hex::encode(MESSAGE)]);
        let [spki, of_message, of_mu, mu] = &told[..] else { panic!("{}", told.len()) };
        let key = PublicKey::from_spki(spec, spki).unwrap();
        assert_eq!((key.spki(), key.lattice().unwrap().len()), (&spki[..], spec.lattice_public_len().unwrap()));
        let verify = |message, signature: &[u8]| key.verify(ML_DSA, message, signature);
        // Both are signatures of the same, by either name of it.
        for signature in [of_message, of_mu] {
            for message in [Message::Raw(MESSAGE), Message::Mu(mu)] {
                assert_eq!(verify(message, signature), Ok(()), "{spec}");
                for at in (0..signature.len()).step_by(97) {
                    let mut forged = signature.clone();
                    forged[at] ^= 1;
                    assert_eq!(verify(message, &forged), Err(NotVerified::Invalid), "{spec}: byte {at}");
                }
                assert_eq!(verify(message, &signature[1..]), Err(NotVerified::Invalid));
            }
            assert_eq!(verify(Message::Raw(mu), signature), Err(NotVerified::Invalid));
            assert_eq!(verify(Message::Mu(&[7; 64]), signature), Err(NotVerified::Invalid));
            assert_eq!(verify(Message::Mu(&mu[1..]), signature), Err(NotVerified::DigestLength(64)));
            assert_eq!(verify(Message::Digest(mu), signature), Err(NotVerified::Unsupported));
        }
        for wrong in [&spki[1..], &spki[..spki.len() - 1], &[&spki[..], &[0]].concat()] {
            assert!(PublicKey::from_spki(spec, wrong).is_err(), "{spec}");
        }
        for other in KeyPairSpec::ALL.iter().filter(|other| **other != spec) {
            assert!(PublicKey::from_spki(*other, spki).is_err(), "{other}");
        }
    }
}

/// What comes out of a private key and an encapsulated secret.
const DECAPSULATE: &str = "
import sys
from cryptography.hazmat.primitives.serialization import load_der_private_key
private, blob = map(bytes.fromhex, sys.argv[1:])
print(load_der_private_key(private, None).decapsulate(blob).hex())
";

#[test]
fn python_recovers_what_was_encapsulated_here_to_a_pair_that_was_made_here() {
    // Python has no ML-KEM-512.
    for spec in [KeyPairSpec::MlKem768, KeyPairSpec::MlKem1024] {
        let pair = KeyPair::generate(spec).unwrap();
        let (made, other) = (encapsulate(&pair.public_key).unwrap(), encapsulate(&pair.public_key).unwrap());
        assert_ne!(made.secret.expose(), other.secret.expose());
        let told = python(DECAPSULATE, &[&hex::encode(pair.private_key.expose()), &hex::encode(&made.ciphertext)]);
        assert_eq!(told, [made.secret.expose()], "{spec}");
    }
}

#[test]
fn a_key_with_a_number_above_the_modulus_is_none() {
    for spec in [KeyPairSpec::MlKem512, KeyPairSpec::MlKem768, KeyPairSpec::MlKem1024] {
        let pair = KeyPair::generate(spec).unwrap();
        let raw = pair.public_key.lattice().unwrap().to_vec();
        assert_eq!(PublicKey::from_lattice(spec, &raw).unwrap().spki(), pair.public_key.spki());
        let mut above = raw.clone();
        above[..2].fill(0xff);
        for wrong in [&above[..], &raw[1..], &[&raw[..], &[0]].concat(), &[]] {
            assert!(PublicKey::from_lattice(spec, wrong).is_err(), "{spec}");
        }
        assert!(encapsulate(&KeyPair::generate(KeyPairSpec::EccNistP256).unwrap().public_key).is_err());
    }
    assert!(KeyPair::generate(KeyPairSpec::MlDsa44).is_err(), "there are no such data key pairs");
}
