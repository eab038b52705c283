//! Keys and signatures between this service and OpenSSL, in both directions.

use hsm_kms::crypto::{KeyPair, Message, NotVerified, PublicKey, ecdsa_der, ecdsa_raw, oaep_sha256_unpad, verify_hmac};
use hsm_kms::model::{KeyPairSpec, MacAlgorithm, Secret, SigningAlgorithm};

use crate::openssl::OpenSsl;

const MESSAGE: &[u8] = b"the message that is signed";

/// All specs that OpenSSL 3.0 has.
fn of_openssl() -> impl Iterator<Item = &'static KeyPairSpec> {
    KeyPairSpec::ALL.iter().filter(|spec| !spec.is_lattice())
}

/// The options of `openssl pkeyutl` that make an RSA signature of this kind; none for the others.
fn options(algorithm: SigningAlgorithm) -> Vec<String> {
    let bits = algorithm.digest_len().map(|len| len * 8);
    let name = algorithm.as_str();
    match bits {
        Some(bits) if name.starts_with("RSASSA_PSS") => {
            let digest = format!("digest:sha{bits}");
            ["rsa_padding_mode:pss", "rsa_pss_saltlen:digest", &digest]
                .map(|option| format!("-pkeyopt={option}"))
                .into()
        }
        Some(bits) => vec![format!("-pkeyopt=digest:sha{bits}")],
        None => vec![],
    }
}

/// `openssl pkeyutl` takes each option and its value as two words.
fn words(options: &[String]) -> Vec<&str> {
    options.iter().flat_map(|option| option.split_once('=')).flat_map(|(name, value)| [name, value]).collect()
}

fn sign(openssl: &OpenSsl, key: &str, algorithm: SigningAlgorithm) -> Vec<u8> {
    let message = openssl.file("message", MESSAGE);
    let Some(digest) = digest(openssl, algorithm) else {
        return openssl.run(&["pkeyutl", "-sign", "-rawin", "-in", &message, "-inkey", key], b"");
    };
    let digest = openssl.file("digest", &digest);
    let options = options(algorithm);
    let arguments = ["pkeyutl", "-sign", "-in", &digest, "-inkey", key];
    openssl.run(&[&arguments[..], &words(&options)].concat(), b"")
}

fn digest(openssl: &OpenSsl, algorithm: SigningAlgorithm) -> Option<Vec<u8>> {
    let bits = algorithm.digest_len()? * 8;
    Some(openssl.run(&["dgst", &format!("-sha{bits}"), "-binary"], MESSAGE))
}

/// The algorithms that the host verifies.
fn verified(spec: KeyPairSpec) -> impl Iterator<Item = SigningAlgorithm> {
    let all = spec.signing_algorithms().iter().copied();
    all.filter(|algorithm| *algorithm != SigningAlgorithm::Ed25519PhSha512)
}

#[test]
fn signatures_of_openssl_verify_and_altered_ones_do_not() {
    let openssl = OpenSsl::new();
    for spec in of_openssl() {
        let key = PublicKey::from_spki(*spec, &openssl.generate(*spec, "key")).unwrap();
        openssl.generate(*spec, "other");
        for algorithm in verified(*spec) {
            let signature = sign(&openssl, "key", algorithm);
            assert_eq!(key.verify(algorithm, Message::Raw(MESSAGE), &signature), Ok(()), "{spec} {algorithm}");
            let foreign = sign(&openssl, "other", algorithm);
            let refused = |message, signature: &[u8]| {
                assert_eq!(key.verify(algorithm, message, signature), Err(NotVerified::Invalid), "{spec} {algorithm}");
            };
            refused(Message::Raw(MESSAGE), &foreign);
            refused(Message::Raw(b"another message"), &signature);
            refused(Message::Raw(MESSAGE), &signature[1..]);
            refused(Message::Raw(MESSAGE), &[&signature[..], &[0]].concat());
            refused(Message::Raw(MESSAGE), b"");
            for at in (0..signature.len()).step_by(7) {
                let mut forged = signature.clone();
                forged[at] ^= 1;
                refused(Message::Raw(MESSAGE), &forged);
            }
            match digest(&openssl, algorithm) {
                Some(digest) => {
                    assert_eq!(key.verify(algorithm, Message::Digest(&digest), &signature), Ok(()));
                    refused(Message::Raw(&digest), &signature);
                    refused(Message::Digest(&vec![7; digest.len()]), &signature);
                    for wrong in [&digest[1..], &[], &[&digest[..], &[0]].concat()] {
                        let length = Err(NotVerified::DigestLength(digest.len()));
                        assert_eq!(key.verify(algorithm, Message::Digest(wrong), &signature), length);
                    }
                }
                None => {
                    let answer = key.verify(algorithm, Message::Digest(&[7; 64]), &signature);
                    assert_eq!(answer, Err(NotVerified::Unsupported));
                }
            }
        }
    }
}

#[test]
fn algorithms_that_do_not_fit_the_key_are_told_apart_from_bad_signatures() {
    let openssl = OpenSsl::new();
    for spec in [KeyPairSpec::Rsa2048, KeyPairSpec::EccSecgP256k1, KeyPairSpec::EccNistEdwards25519] {
        let key = PublicKey::from_spki(spec, &openssl.generate(spec, "key")).unwrap();
        let fitting: Vec<SigningAlgorithm> = verified(spec).collect();
        for algorithm in SigningAlgorithm::ALL.iter().filter(|algorithm| !fitting.contains(algorithm)) {
            let answer = key.verify(*algorithm, Message::Raw(MESSAGE), b"signature");
            assert_eq!(answer, Err(NotVerified::Unsupported), "{spec} {algorithm}");
        }
    }
}

#[test]
fn a_salt_of_another_length_is_refused() {
    let openssl = OpenSsl::new();
    let key = PublicKey::from_spki(KeyPairSpec::Rsa2048, &openssl.generate(KeyPairSpec::Rsa2048, "key")).unwrap();
    let algorithm = SigningAlgorithm::RsassaPssSha256;
    let digest = openssl.file("digest", &digest(&openssl, algorithm).unwrap());
    for (salt, verified) in [("0", false), ("20", false), ("32", true), ("64", false), ("max", false)] {
        let salt = format!("rsa_pss_saltlen:{salt}");
        let options = ["-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", &salt];
        let arguments = [&["pkeyutl", "-sign", "-in", &digest, "-inkey", "key"][..], &options].concat();
        let signature = openssl.run(&arguments, b"");
        assert_eq!(key.verify(algorithm, Message::Raw(MESSAGE), &signature).is_ok(), verified, "{salt}");
    }
}

#[test]
fn key_pairs_made_here_are_openssls_and_sign_there_what_verifies_here() {
    let openssl = OpenSsl::new();
    for spec in of_openssl() {
        let pair = KeyPair::generate(*spec).unwrap();
        assert_eq!(pair.public_key.spec(), *spec);
        let private = openssl.file("key.der", pair.private_key.expose());
        let public = openssl.run(&["pkey", "-in", &private, "-inform", "DER", "-pubout", "-outform", "DER"], b"");
        assert_eq!(public, pair.public_key.spki(), "{spec}");
        openssl.run(&["pkey", "-in", &private, "-inform", "DER", "-check", "-noout"], b"");
        let again =
            openssl.run(&["pkcs8", "-topk8", "-nocrypt", "-in", &private, "-inform", "DER", "-outform", "DER"], b"");
        assert_eq!(again, pair.private_key.expose(), "{spec}: OpenSSL writes the same PKCS#8");
        for algorithm in verified(*spec) {
            let signature = sign(&openssl, &private, algorithm);
            assert_eq!(pair.public_key.verify(algorithm, Message::Raw(MESSAGE), &signature), Ok(()), "{algorithm}");
        }
        assert!(!format!("{pair:?}").contains(&hex::encode(&pair.private_key.expose()[..16])));
        let other = KeyPair::generate(if spec.modulus_len().is_some() { KeyPairSpec::Rsa2048 } else { *spec }).unwrap();
        assert_ne!(other.public_key.spki(), pair.public_key.spki());
    }
}

#[test]
fn public_keys_from_their_parts_are_openssls() {
    let openssl = OpenSsl::new();
    for spec in of_openssl() {
        let spki = openssl.generate(*spec, "key");
        let parsed = PublicKey::from_spki(*spec, &spki).unwrap();
        assert_eq!(parsed.spki(), spki);
        let made = match parsed.point() {
            Some(point) => PublicKey::from_point(*spec, point).unwrap(),
            None => {
                let text = openssl.run(&["rsa", "-in", "key", "-modulus", "-noout"], b"");
                let modulus = String::from_utf8(text).unwrap().trim().replace("Modulus=", "");
                let modulus = [vec![0], hex::decode(modulus).unwrap()].concat();
                PublicKey::from_rsa(*spec, &modulus, &[0, 0, 1, 0, 1]).unwrap()
            }
        };
        assert_eq!(made.spki(), spki, "{spec}");
        assert_eq!(made.spec(), *spec);
    }
}

#[test]
fn raw_signatures_become_openssls_der_and_back() {
    let openssl = OpenSsl::new();
    for spec in KeyPairSpec::ALL.iter().filter(|spec| spec.coordinate_len().is_some()) {
        let public = openssl.file("public", &openssl.generate(*spec, "key"));
        let algorithm = spec.signing_algorithms()[0];
        let digest = openssl.file("digest", &digest(&openssl, algorithm).unwrap());
        for _ in 0..20 {
            let signature = sign(&openssl, "key", algorithm);
            let raw = ecdsa_raw(*spec, &signature).unwrap();
            assert_eq!(raw.len(), 2 * spec.coordinate_len().unwrap());
            let der = openssl.file("signature", &ecdsa_der(*spec, &raw).unwrap());
            let arguments = [
                "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", &public, "-in", &digest, "-sigfile", &der,
            ];
            openssl.run(&arguments, b"");
        }
    }
}

#[test]
fn oaep_ciphertexts_of_openssl_are_unpadded() {
    let openssl = OpenSsl::new();
    for (spec, len) in [(KeyPairSpec::Rsa2048, 190), (KeyPairSpec::Rsa3072, 318), (KeyPairSpec::Rsa4096, 446)] {
        let public = openssl.file("public", &openssl.generate(spec, "key"));
        for message in [vec![], vec![0], vec![1; 32], vec![0; 100], vec![0xa5; len]] {
            let encrypt = |hash: &str, mgf: &str| {
                let (hash, mgf) = (format!("rsa_oaep_md:{hash}"), format!("rsa_mgf1_md:{mgf}"));
                let key = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", &public];
                let options = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", &hash, "-pkeyopt", &mgf];
                openssl.run(&[&key[..], &options].concat(), &message)
            };
            let bare = |ciphertext: &[u8]| {
                let arguments = ["pkeyutl", "-decrypt", "-inkey", "key", "-pkeyopt", "rsa_padding_mode:none"];
                Secret::new(openssl.run(&arguments, ciphertext))
            };
            assert_eq!(oaep_sha256_unpad(&bare(&encrypt("sha256", "sha256"))).unwrap().expose(), message);
            assert!(oaep_sha256_unpad(&bare(&encrypt("sha1", "sha1"))).is_err());
            assert!(oaep_sha256_unpad(&bare(&encrypt("sha256", "sha1"))).is_err());
        }
    }
}

#[test]
fn codes_of_openssl_verify_and_cut_ones_do_not() {
    let openssl = OpenSsl::new();
    for algorithm in MacAlgorithm::ALL {
        let hash = format!("-sha{}", algorithm.mac_len() * 8);
        let mac = openssl.run(&["dgst", &hash, "-mac", "HMAC", "-macopt", "key:secret", "-binary"], MESSAGE);
        assert!(verify_hmac(*algorithm, b"secret", MESSAGE, &mac), "{algorithm}");
        assert!(!verify_hmac(*algorithm, b"Secret", MESSAGE, &mac));
        assert!(!verify_hmac(*algorithm, b"secret", b"message", &mac));
        for cut in 0..mac.len() {
            assert!(!verify_hmac(*algorithm, b"secret", MESSAGE, &mac[..cut]));
        }
    }
}
