//! Project Wycheproof's vectors: what is valid is accepted, and what is not is refused.

use hsm_kms::crypto::{Message, PublicKey, ecdsa_raw, oaep_sha256_unpad, verify_hmac};
use hsm_kms::model::{KeyPairSpec, MacAlgorithm, Secret, SigningAlgorithm};
use wycheproof::{TestResult, ecdh, ecdsa, eddsa, mac, rsa_oaep, rsa_pkcs1_verify, rsa_pss_verify};

use crate::openssl::OpenSsl;

/// How many vectors were accepted and refused.
#[derive(Default, Debug, PartialEq)]
struct Count {
    accepted: usize,
    refused: usize,
}

impl Count {
    fn note(&mut self, accepted: bool) {
        *if accepted { &mut self.accepted } else { &mut self.refused } += 1;
    }
}

#[test]
fn ecdsa_signatures() {
    use ecdsa::TestName;
    let sets = [
        (TestName::EcdsaSecp256r1Sha256, KeyPairSpec::EccNistP256, SigningAlgorithm::EcdsaSha256),
        (TestName::EcdsaSecp256k1Sha256, KeyPairSpec::EccSecgP256k1, SigningAlgorithm::EcdsaSha256),
        (TestName::EcdsaSecp384r1Sha384, KeyPairSpec::EccNistP384, SigningAlgorithm::EcdsaSha384),
        (TestName::EcdsaSecp521r1Sha512, KeyPairSpec::EccNistP521, SigningAlgorithm::EcdsaSha512),
    ];
    let mut count = Count::default();
    for (name, spec, algorithm) in sets {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki(spec, &group.der).unwrap();
            assert_eq!(PublicKey::from_point(spec, &group.key.key).unwrap().spki(), key.spki());
            for test in group.tests {
                let valid = key.verify(algorithm, Message::Raw(&test.msg), &test.sig).is_ok();
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {} {}", test.tc_id, test.comment);
                assert!(!valid || ecdsa_raw(spec, &test.sig).is_ok());
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 768, refused: 1238 });
}

#[test]
fn rsa_pkcs1_signatures() {
    use rsa_pkcs1_verify::TestName;
    use {KeyPairSpec::*, SigningAlgorithm::*};
    let sets = [
        (TestName::Rsa2048Sha256, Rsa2048, RsassaPkcs1V15Sha256),
        (TestName::Rsa2048Sha384, Rsa2048, RsassaPkcs1V15Sha384),
        (TestName::Rsa2048Sha512, Rsa2048, RsassaPkcs1V15Sha512),
        (TestName::Rsa3072Sha256, Rsa3072, RsassaPkcs1V15Sha256),
        (TestName::Rsa3072Sha384, Rsa3072, RsassaPkcs1V15Sha384),
        (TestName::Rsa3072Sha512, Rsa3072, RsassaPkcs1V15Sha512),
        (TestName::Rsa4096Sha256, Rsa4096, RsassaPkcs1V15Sha256),
        (TestName::Rsa4096Sha384, Rsa4096, RsassaPkcs1V15Sha384),
        (TestName::Rsa4096Sha512, Rsa4096, RsassaPkcs1V15Sha512),
    ];
    let mut count = Count::default();
    for (name, spec, algorithm) in sets {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki(spec, &group.der).unwrap();
            assert_eq!(PublicKey::from_rsa(spec, &group.key.n, &group.key.e).unwrap().spki(), key.spki());
            for test in group.tests {
                let valid = key.verify(algorithm, Message::Raw(&test.msg), &test.sig).is_ok();
                // Only a signature whose padding lacks the NULL is left to choice: it is refused here.
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {} {}", test.tc_id, test.comment);
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 68, refused: 2262 });
}

#[test]
fn rsa_pss_signatures() {
    use rsa_pss_verify::TestName;
    use {KeyPairSpec::*, SigningAlgorithm::*};
    // The last three have a salt that is not the hash's length, or another hash in MGF1: good elsewhere, but not AWS's algorithms.
    let sets = [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Rsa2048, RsassaPssSha256, true),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Rsa2048, RsassaPssSha384, true),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Rsa3072, RsassaPssSha256, true),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, Rsa4096, RsassaPssSha256, true),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, Rsa4096, RsassaPssSha384, true),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Rsa4096, RsassaPssSha512, true),
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Rsa2048, RsassaPssSha256, false),
        (TestName::RsaPss2048Sha256Mgf1Sha1_20, Rsa2048, RsassaPssSha256, false),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Rsa4096, RsassaPssSha512, false),
    ];
    let mut count = Count::default();
    for (name, spec, algorithm, ours) in sets {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki(spec, &group.der).unwrap();
            for test in group.tests {
                let valid = key.verify(algorithm, Message::Raw(&test.msg), &test.sig).is_ok();
                // Their salt of another length may be the one that is right here.
                let salt = format!("s_len changed to {}", algorithm.digest_len().unwrap());
                let by_chance = group.mgf_hash == Some(group.hash) && test.comment == salt;
                let expected = if ours { test.result == TestResult::Valid } else { by_chance };
                assert_eq!(valid, expected, "{name:?} {} {}", test.tc_id, test.comment);
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 512, refused: 661 });
}

#[test]
fn ed25519_signatures() {
    let mut count = Count::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = PublicKey::from_spki(KeyPairSpec::EccNistEdwards25519, &group.der).unwrap();
        for test in group.tests {
            let valid = key.verify(SigningAlgorithm::Ed25519Sha512, Message::Raw(&test.msg), &test.sig).is_ok();
            assert_eq!(valid, test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
            count.note(valid);
        }
    }
    assert_eq!(count, Count { accepted: 88, refused: 63 });
}

#[test]
fn public_keys_for_key_agreement() {
    use ecdh::TestName;
    let sets = [
        (TestName::EcdhSecp256r1, KeyPairSpec::EccNistP256),
        (TestName::EcdhSecp256k1, KeyPairSpec::EccSecgP256k1),
        (TestName::EcdhSecp384r1, KeyPairSpec::EccNistP384),
        (TestName::EcdhSecp521r1, KeyPairSpec::EccNistP521),
    ];
    let mut count = Count::default();
    for (name, spec) in sets {
        for group in ecdh::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let valid = PublicKey::from_spki(spec, &test.public_key).is_ok();
                // What is left to choice is no DER, an unnamed curve or a compressed point: refused here.
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {} {}", test.tc_id, test.comment);
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 2206, refused: 1121 });
}

#[test]
fn oaep_ciphertexts() {
    use rsa_oaep::TestName;
    let openssl = OpenSsl::new();
    let mut count = Count::default();
    for name in
        [TestName::Rsa2048Sha256Mgf1Sha256, TestName::Rsa3072Sha256Mgf1Sha256, TestName::Rsa4096Sha256Mgf1Sha256]
    {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let key = openssl.file("key.der", &group.pkcs8);
            for test in group.tests {
                let decrypt = ["pkeyutl", "-decrypt", "-keyform", "DER", "-inkey", &key];
                let bare = [&decrypt[..], &["-pkeyopt", "rsa_padding_mode:none"]].concat();
                // What is not below the modulus, or not of its length, is no matter of padding: a token refuses it too.
                let encoded = openssl.try_run(&bare, &test.ct).ok();
                let plaintext = encoded.and_then(|encoded| oaep_sha256_unpad(&Secret::new(encoded)).ok());
                // AWS has no labels.
                let valid = test.result == TestResult::Valid && test.label.is_empty();
                let expected = valid.then(|| test.pt.to_vec());
                let plaintext = plaintext.map(|plaintext| plaintext.expose().to_vec());
                assert_eq!(plaintext, expected, "{name:?} {} {}", test.tc_id, test.comment);
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 30, refused: 81 });
}

#[test]
fn codes() {
    use mac::TestName;
    let sets = [
        (TestName::HmacSha224, MacAlgorithm::HmacSha224),
        (TestName::HmacSha256, MacAlgorithm::HmacSha256),
        (TestName::HmacSha384, MacAlgorithm::HmacSha384),
        (TestName::HmacSha512, MacAlgorithm::HmacSha512),
    ];
    let mut count = Count::default();
    for (name, algorithm) in sets {
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let whole = test.tag.len() == algorithm.mac_len();
                let valid = verify_hmac(algorithm, &test.key, &test.msg, &test.tag);
                assert_eq!(
                    valid,
                    whole && test.result == TestResult::Valid,
                    "{name:?} {} {}",
                    test.tc_id,
                    test.comment
                );
                count.note(valid);
            }
        }
    }
    assert_eq!(count, Count { accepted: 132, refused: 562 });
}
