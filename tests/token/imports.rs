//! Imports of material that the OpenSSL command has made and wrapped.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use hsm_kms::crypto::{self, Message, PublicKey};
use hsm_kms::model::{
    EncryptionAlgorithm, HmacSpec, KeyId, KeyPairSpec, ObjectName, Purpose, Secret, SigningAlgorithm, WrappingAlgorithm,
};
use hsm_kms::token::{Error, Import, KeyKind, Place, Token};

use super::kinds::{later, openssl, openssl_encrypts, openssl_verifies};
use super::process::*;

#[test]
fn every_material_comes_in_by_every_way() {
    in_own_process("imports::every_material_comes_in_by_every_way", |dir| {
        let token = new_token(dir);
        for spec in WRAPPING {
            make_wrapping_key(&token, dir, spec);
            for (number, (kind, material)) in (1..).zip(materials(dir)) {
                let mut fingerprints = Vec::new();
                for algorithm in ways(kind, spec) {
                    let import = import(dir, number, kind, spec, algorithm, &material);
                    let unwrapped = block_on(token.unwrap_key(&import, soon())).unwrap();
                    let what = format!("{kind:?} by {algorithm} under {spec}");
                    assert_eq!(unwrapped.place, place(kind, algorithm), "{what}");
                    assert!(block_on(token.has_key(&import.name, kind, soon())).unwrap(), "{what}");
                    is_the_material(&token, dir, &import.name, kind, &material, unwrapped.public_key.as_ref());
                    fingerprints.push(unwrapped.fingerprint);
                    block_on(token.destroy(&import.name, soon())).unwrap();
                }
                assert!(fingerprints.windows(2).all(|two| two[0] == two[1]), "{kind:?}");
            }
            block_on(token.destroy(&wrapping_name(), soon())).unwrap();
        }
        assert_eq!(block_on(token.objects(soon())).unwrap().ours, []);
        assert_eq!(token.counts().recoveries, 0);
    });
}

/// Larger RSA keys, by one way.
#[test]
fn large_rsa_keys_come_in() {
    in_own_process("imports::large_rsa_keys_come_in", |dir| {
        let token = new_token(dir);
        make_wrapping_key(&token, dir, KeyPairSpec::Rsa4096);
        for (number, spec) in [(1, KeyPairSpec::Rsa3072), (2, KeyPairSpec::Rsa4096)] {
            let material =
                pair(dir, spec, &["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{}", bits(spec))]);
            for kind in [KeyKind::Sign(spec), KeyKind::Decrypt(spec)] {
                let algorithm = WrappingAlgorithm::RsaAesKeyWrapSha256;
                let import = import(dir, number, kind, KeyPairSpec::Rsa4096, algorithm, &material);
                let unwrapped = block_on(token.unwrap_key(&import, soon())).unwrap();
                is_the_material(&token, dir, &import.name, kind, &material, unwrapped.public_key.as_ref());
                block_on(token.destroy(&import.name, soon())).unwrap();
            }
        }
    });
}

#[test]
fn imported_keys_stay_on_the_token_and_last() {
    in_own_process("imports::imported_keys_stay_on_the_token_and_last", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        let materials = materials(dir);
        for (number, (kind, material)) in (1..).zip(&materials) {
            let algorithm = ways(*kind, spec)[0];
            let import = import(dir, number, *kind, spec, algorithm, material);
            block_on(token.unwrap_key(&import, soon())).unwrap();
            let again = block_on(token.unwrap_key(&import, soon())).unwrap_err();
            assert!(matches!(again, Error::Exists(_)), "{again}");
        }
        let output = Command::new("pkcs11-tool")
            .args(["--module", MODULE, "--token-label", LABEL, "--login", "--pin", PIN, "--list-objects"])
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let accesses: Vec<&str> =
            listed.lines().filter_map(|line| line.trim().strip_prefix("Access:")).map(str::trim).collect();
        // Sensitive, and neither extractable nor claimed to have been so always; the last one is the wrapping key.
        let imported = accesses.iter().filter(|access| **access == "sensitive").count();
        let made = accesses.iter().filter(|access| access.ends_with("never extractable, local")).count();
        assert_eq!((imported, made, accesses.len()), (materials.len(), 1, materials.len() + 1), "{listed}");
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        for number in (1..).take(materials.len()) {
            let found = session.find_objects(&[Attribute::Id(imported_name(number).cka_id().to_vec())]).unwrap();
            let [key] = found[..] else { panic!("{found:?}") };
            for secret in [AttributeType::Value, AttributeType::PrivateExponent, AttributeType::Prime1] {
                assert_eq!(session.get_attributes(key, &[secret]).unwrap_or_default(), []);
            }
            for change in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
                assert!(session.update_attributes(key, &[change]).is_err());
            }
        }
        let session_objects = session.find_objects(&[Attribute::Token(false), Attribute::Private(true)]).unwrap();
        assert_eq!(session_objects.len(), 0, "nothing extractable is left in a session");

        assert!(token.shutdown(std::time::Duration::from_secs(10)));
        let token = open(dir);
        for (number, (kind, material)) in (1..).zip(&materials) {
            let public = kind_pair(*kind).map(|spec| public_of(dir, spec, material));
            is_the_material(&token, dir, &imported_name(number), *kind, material, public.as_ref());
        }
    });
}

#[test]
fn what_is_not_the_material_is_refused() {
    in_own_process("imports::what_is_not_the_material_is_refused", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa3072;
        make_wrapping_key(&token, dir, spec);
        let public = PublicKey::from_spki(spec, &std::fs::read(dir.join("ours.der")).unwrap()).unwrap();
        let refused = |kind: KeyKind, algorithm: WrappingAlgorithm, material: &[u8], what: &str| {
            let import = Import {
                name: imported_name(1),
                of_key: imported_name(1).key_id,
                kind,
                wrapping: wrapping_name(),
                wrapping_spec: spec,
                algorithm,
                encrypted: wrapped(&public, algorithm, material),
                allow_host: true,
            };
            let told = block_on(token.unwrap_key(&import, soon())).unwrap_err();
            assert!(
                matches!(told, Error::IncorrectMaterial(told) if told == kind),
                "{kind:?} {algorithm} {what}: {told}"
            );
        };
        for (kind, material) in secrets() {
            let right = material.len();
            for len in [1, 8, 15, 16, 24, 27, 28, 31, 32, 33, 40, 47, 48, 49, 56, 63, 64, 65, 128, 129] {
                for algorithm in ways(kind, spec).into_iter().filter(|_| len != right) {
                    refused(kind, algorithm, &vec![7; len], &format!("of {len} bytes"));
                }
            }
        }
        let keys = materials(dir);
        let by_kwp = WrappingAlgorithm::RsaAesKeyWrapSha256;
        for (kind, _) in keys.iter().filter(|(kind, _)| kind_pair(*kind).is_some()) {
            for (other, material) in keys.iter().filter(|(other, _)| kind_pair(*other) != kind_pair(*kind)) {
                refused(*kind, by_kwp, material, &format!("which is of {other:?}"));
            }
        }
        let p256 = KeyKind::Sign(KeyPairSpec::EccNistP256);
        let rsa = KeyKind::Sign(KeyPairSpec::Rsa2048);
        let (p256_key, rsa_key) = (material_of(&keys, p256), material_of(&keys, rsa));
        for (kind, good) in [(p256, &p256_key), (rsa, &rsa_key)] {
            refused(kind, by_kwp, &[&good[..], &[0]].concat(), "with a byte behind it");
            refused(kind, by_kwp, &good[..good.len() - 1], "with a byte less");
            refused(kind, by_kwp, b"-----BEGIN PRIVATE KEY-----", "in PEM");
            let mut wrong = good.to_vec();
            let last = wrong.len() - 1;
            wrong[last] ^= 1;
            refused(kind, by_kwp, &wrong, "whose numbers do not fit each other");
        }
        std::fs::write(dir.join("key.der"), &p256_key).unwrap();
        openssl(dir, &["ec", "-inform", "DER", "-in", "key.der", "-outform", "DER", "-out", "sec1.der"]);
        refused(p256, by_kwp, &std::fs::read(dir.join("sec1.der")).unwrap(), "in the form of SEC 1");
        openssl(
            dir,
            &[
                "pkcs8", "-topk8", "-inform", "DER", "-in", "key.der", "-outform", "DER", "-passout", "pass:x", "-out",
                "enc.der",
            ],
        );
        refused(p256, by_kwp, &std::fs::read(dir.join("enc.der")).unwrap(), "encrypted");
        let explicit = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"];
        refused(p256, by_kwp, &pair(dir, KeyPairSpec::EccNistP256, &explicit), "with explicit parameters");
        let primes = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_primes:3"];
        refused(rsa, by_kwp, &pair(dir, KeyPairSpec::Rsa2048, &primes), "with three primes");
        let odd = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2056"];
        refused(rsa, by_kwp, &pair(dir, KeyPairSpec::Rsa2048, &odd), "of another size");

        assert_eq!(block_on(token.objects(soon())).unwrap().ours.len(), 1, "only the wrapping key");
        assert_eq!((token.counts().recoveries, token.status().is_ready()), (0, true));
    });
}

#[test]
fn what_does_not_unwrap_is_told_alike() {
    in_own_process("imports::what_does_not_unwrap_is_told_alike", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        let sessions = block_on(async {
            token.unwraps(KeyKind::Aes256, WrappingAlgorithm::RsaesOaepSha1, later()).await.unwrap();
            token.counts().sessions
        });
        let bad_data = |import: &Import, what: &str| {
            let told = block_on(token.unwrap_key(import, soon())).unwrap_err();
            assert!(matches!(told, Error::BadData), "{} {what}: {told}", import.algorithm);
        };
        for algorithm in ways(KeyKind::Aes256, spec) {
            let good = import(dir, 1, KeyKind::Aes256, spec, algorithm, &[7; 32]);
            let len = good.encrypted.len();
            for index in [0, 1, 100, 255, 256, 263, 270, len - 1].into_iter().filter(|index| *index < len) {
                let mut forged = good.clone();
                forged.encrypted[index] ^= 1;
                bad_data(&forged, &format!("byte {index}"));
            }
            for cut in [0, 1, 16, 255, 256, 264, len - 8, len - 1].into_iter().filter(|cut| *cut < len) {
                bad_data(
                    &Import { encrypted: good.encrypted[..cut].to_vec(), ..good.clone() },
                    &format!("cut to {cut}"),
                );
            }
            for more in [1, 8, 256] {
                let encrypted = [&good.encrypted[..], &vec![0; more]].concat();
                bad_data(&Import { encrypted, ..good.clone() }, &format!("{more} bytes more"));
            }
            // The number 0, and one above every modulus.
            for byte in [0, 0xff] {
                bad_data(&Import { encrypted: vec![byte; len], ..good.clone() }, "of one byte");
            }
            for other in ways(KeyKind::Aes256, spec).into_iter().filter(|other| *other != algorithm) {
                bad_data(&Import { algorithm: other, ..good.clone() }, &format!("wrapped by {algorithm}"));
            }
            let unwrapped = block_on(token.unwrap_key(&good, soon())).unwrap();
            assert_eq!(unwrapped.place, place(KeyKind::Aes256, algorithm));
            block_on(token.destroy(&good.name, soon())).unwrap();
        }
        // An AES key of a length that is none.
        for len in [0, 15, 24, 31, 33] {
            let rsa = openssl_encrypts(dir, "sha256", &vec![1; len]);
            let algorithm = WrappingAlgorithm::RsaAesKeyWrapSha256;
            let import = Import {
                encrypted: [rsa, vec![0; 40]].concat(),
                ..import(dir, 1, KeyKind::Aes256, spec, algorithm, &[7; 32])
            };
            bad_data(&import, &format!("an AES key of {len} bytes"));
        }
        // Wrapped for another key.
        let good = import(dir, 1, KeyKind::Aes256, spec, WrappingAlgorithm::RsaesOaepSha1, &[7; 32]);
        block_on(token.destroy(&wrapping_name(), soon())).unwrap();
        let gone = block_on(token.unwrap_key(&good, soon())).unwrap_err();
        assert!(matches!(gone, Error::NotFound(name) if name == wrapping_name()), "{gone}");
        make_wrapping_key(&token, dir, spec);
        bad_data(&good, "for another key");
        assert_eq!((token.counts().sessions, token.counts().recoveries), (sessions, 0), "no forgery costs a session");
        assert_eq!(block_on(token.objects(soon())).unwrap().ours.len(), 1);
    });
}

#[test]
fn the_host_unwraps_only_if_it_may() {
    in_own_process("imports::the_host_unwraps_only_if_it_may", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        for (number, (kind, material)) in (1..).zip(materials(dir)) {
            for algorithm in ways(kind, spec) {
                let import = Import { allow_host: false, ..import(dir, number, kind, spec, algorithm, &material) };
                let before = (block_on(token.unwraps(kind, algorithm, later())).unwrap(), token.counts().operations);
                match block_on(token.unwrap_key(&import, soon())) {
                    Ok(unwrapped) => {
                        assert_eq!((unwrapped.place, before.0), (Place::Token, Place::Token));
                        block_on(token.destroy(&import.name, soon())).unwrap();
                    }
                    Err(told) => {
                        assert!(matches!(told, Error::HostUnwrapRefused), "{told}");
                        assert!(told.to_string().contains("import.host_unwrap"), "{told}");
                        assert_eq!(before, (Place::Host, token.counts().operations), "nothing was decrypted");
                    }
                }
            }
        }
        // A profile that expects less of the token has the host do it all, on token objects from the start.
        assert!(token.shutdown(std::time::Duration::from_secs(10)));
        let token = open_with(dir, "[rsa]\noaep_sha256 = \"host\"\n", 1024, || panic!("hopeless"));
        for (number, (kind, material)) in (1..).zip(materials(dir)) {
            let import = import(dir, number, kind, spec, ways(kind, spec)[0], &material);
            let not_here = Import { allow_host: false, ..import.clone() };
            let refused = block_on(token.unwrap_key(&not_here, soon())).unwrap_err();
            assert!(matches!(refused, Error::HostUnwrapRefused), "{refused}");
            let unwrapped = block_on(token.unwrap_key(&import, soon())).unwrap();
            assert_eq!(unwrapped.place, Place::Host);
            is_the_material(&token, dir, &import.name, kind, &material, unwrapped.public_key.as_ref());
        }
    });
}

#[test]
fn what_never_goes_together_reaches_no_token() {
    in_own_process("imports::what_never_goes_together_reaches_no_token", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        let good = import(dir, 1, KeyKind::Aes256, spec, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]);
        let before = token.counts().operations;
        let made_here = ObjectName { purpose: Purpose::Kms, ..good.name };
        for wrong in [
            Import { name: made_here, ..good.clone() },
            Import { wrapping: good.name, ..good.clone() },
            Import { wrapping_spec: KeyPairSpec::EccNistP256, ..good.clone() },
            Import { algorithm: WrappingAlgorithm::RsaesPkcs1V15, ..good.clone() },
            Import { algorithm: WrappingAlgorithm::Sm2Pke, ..good.clone() },
            Import { kind: KeyKind::ImportWrapping(spec), ..good.clone() },
            Import { kind: KeyKind::Sign(spec), ..good.clone() },
            Import { kind: KeyKind::Decrypt(spec), ..good.clone() },
            Import { kind: KeyKind::Agree(KeyPairSpec::EccSecgP256k1), ..good.clone() },
        ] {
            let told = block_on(token.unwrap_key(&wrong, soon())).unwrap_err();
            assert!(matches!(told, Error::Unfit(_)), "{wrong:?}: {told}");
        }
        for (name, kind) in [(wrapping_name(), KeyKind::Decrypt(spec)), (name(7), KeyKind::ImportWrapping(spec))] {
            let told = block_on(token.generate_key(&name, kind, soon())).unwrap_err();
            assert!(matches!(told, Error::Unfit(_)), "{told}");
        }
        assert_eq!(token.counts().operations, before);
    });
}

#[test]
fn an_imported_key_passes_for_no_other_and_no_other_for_it() {
    in_own_process("imports::an_imported_key_passes_for_no_other_and_no_other_for_it", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        // Unwrapped on the host, after which SoftHSM tells the length: the label is what differs.
        let import = import(dir, 1, KeyKind::Aes256, spec, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]);
        block_on(token.unwrap_key(&import, soon())).unwrap();
        let not_proven = |told: Error, expected: &str| {
            assert!(matches!(told, Error::NotProven { .. }), "{told}");
            assert!(told.to_string().contains(expected), "{told}");
        };
        let made_here = ObjectName { purpose: Purpose::Kms, ..import.name };
        let wrap = |name: &ObjectName| block_on(token.wrap_seed(name, 1, b"", &[7; 32], soon())).unwrap_err();
        not_proven(wrap(&made_here), "CKA_LABEL is `hsm-kms/imported/");
        not_proven(block_on(token.destroy(&made_here, soon())).unwrap_err(), "CKA_LABEL");
        let algorithm = EncryptionAlgorithm::RsaesOaepSha1;
        let decrypts = block_on(token.rsa_decrypt(&wrapping_name(), spec, algorithm, &[0; 256], soon())).unwrap_err();
        not_proven(decrypts, "CKA_UNWRAP is true and must be false");
        // A wrapping key under its own name, but as the KMS key that an import was to be.
        let wrong =
            Import { wrapping: ObjectName { purpose: Purpose::ImportWrapping, ..import.name }, ..import.clone() };
        not_proven(block_on(token.unwrap_key(&wrong, soon())).unwrap_err(), "CKA_CLASS is ");

        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let plant = |number, wrong: &[Attribute], made: bool| {
            let name = imported_name(number);
            let mut template = vec![
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Id(name.cka_id().to_vec()),
                Attribute::Label(name.cka_label().into_bytes()),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Wrap(false),
                Attribute::Unwrap(false),
                Attribute::Derive(false),
                Attribute::Sign(false),
                Attribute::Verify(false),
            ];
            template.retain(|ours| wrong.iter().all(|wrong| ours.attribute_type() != wrong.attribute_type()));
            template.extend_from_slice(wrong);
            if made {
                template.push(Attribute::ValueLen(32.into()));
                session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
            } else {
                session.create_object(&template).unwrap();
            }
            wrap(&name)
        };
        not_proven(plant(2, &[], true), "CKA_LOCAL is true and must be false");
        let value = Attribute::Value(vec![7; 32]);
        not_proven(plant(3, &[value.clone(), Attribute::Extractable(true)], false), "CKA_EXTRACTABLE is true");
        not_proven(plant(4, &[value.clone(), Attribute::Sensitive(false)], false), "CKA_SENSITIVE is false");
        not_proven(plant(5, &[value.clone(), Attribute::Wrap(true)], false), "CKA_WRAP is true");
        not_proven(plant(6, &[Attribute::Value(vec![7; 16])], false), "CKA_VALUE_LEN is 16 and must be 32");
        not_proven(plant(7, &[value, Attribute::Label(b"hsm-kms/x".to_vec())], false), "must be `hsm-kms/imported/");
        assert_eq!(token.counts().recoveries, 0);
    });
}

#[test]
fn a_fingerprint_tells_materials_and_keys_apart() {
    in_own_process("imports::a_fingerprint_tells_materials_and_keys_apart", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        for kind in [KeyKind::Aes256, KeyKind::Mac(HmacSpec::Hmac256)] {
            let fingerprint = |name: ObjectName, byte| {
                let algorithm = WrappingAlgorithm::RsaesOaepSha1;
                let import = Import { name, of_key: name.key_id, ..import(dir, 1, kind, spec, algorithm, &[byte; 32]) };
                let unwrapped = block_on(token.unwrap_key(&import, soon())).unwrap();
                block_on(token.destroy(&name, soon())).unwrap();
                unwrapped.fingerprint
            };
            let same_key = ObjectName { material: 9, ..imported_name(1) };
            let other_key = ObjectName { key_id: KeyId::from_random([8; 16]), ..imported_name(1) };
            let one = fingerprint(imported_name(1), 7);
            assert_eq!(fingerprint(same_key, 7), one, "the number of the material does not count");
            assert_ne!(fingerprint(imported_name(1), 8), one);
            assert_ne!(fingerprint(other_key, 7), one, "it says nothing about another KMS key");
        }
    });
}

#[test]
fn destruction_and_imports_do_not_wait_for_rsa() {
    in_own_process("imports::destruction_and_imports_do_not_wait_for_rsa", |dir| {
        let token = new_token(dir);
        let spec = KeyPairSpec::Rsa2048;
        make_wrapping_key(&token, dir, spec);
        let kind = KeyKind::Sign(KeyPairSpec::Rsa4096);
        block_on(token.offers(kind, later())).unwrap();
        block_on(token.unwraps(KeyKind::Aes256, WrappingAlgorithm::RsaesOaepSha1, later())).unwrap();
        let import = import(dir, 1, KeyKind::Aes256, spec, WrappingAlgorithm::RsaesOaepSha1, &[7; 32]);
        block_on(async {
            // Four are always waiting or being made: where one ends, the next one begins.
            let (begun, enough) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicBool::new(false)));
            let making: Vec<_> = (0..4)
                .map(|_| {
                    let (token, begun, enough) = (token.clone(), Arc::clone(&begun), Arc::clone(&enough));
                    tokio::spawn(async move {
                        while !enough.load(Ordering::SeqCst) {
                            let number = begun.fetch_add(1, Ordering::SeqCst);
                            token.generate_key(&name(100 + number), kind, later()).await.unwrap();
                        }
                    })
                })
                .collect();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let mut meanwhile = Vec::new();
            for step in 0..4 {
                let before = begun.load(Ordering::SeqCst);
                match step {
                    0 => drop(token.unwrap_key(&import, soon()).await.unwrap()),
                    1 => token.generate(&name(50), soon()).await.unwrap(),
                    2 => token.destroy(&name(50), soon()).await.unwrap(),
                    _ => token.destroy(&import.name, soon()).await.unwrap(),
                }
                meanwhile.push(begun.load(Ordering::SeqCst) - before);
            }
            enough.store(true, Ordering::SeqCst);
            for making in making {
                making.await.unwrap();
            }
            // Who waits behind them waits for four each time.
            assert!(meanwhile.iter().filter(|begun| **begun == 0).count() >= 2, "{meanwhile:?} large pairs ended");
        });
    });
}

/// What every kind of key is, but for large RSA keys.
fn materials(dir: &Path) -> Vec<(KeyKind, Vec<u8>)> {
    let curves = [
        (KeyPairSpec::EccNistP256, "P-256"),
        (KeyPairSpec::EccNistP384, "P-384"),
        (KeyPairSpec::EccNistP521, "P-521"),
        (KeyPairSpec::EccSecgP256k1, "secp256k1"),
    ];
    let mut materials = secrets();
    for (spec, name) in curves {
        let key = pair(dir, spec, &["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{name}")]);
        materials.push((KeyKind::Sign(spec), key.clone()));
        if spec != KeyPairSpec::EccSecgP256k1 {
            materials.push((KeyKind::Agree(spec), key));
        }
    }
    let spec = KeyPairSpec::EccNistEdwards25519;
    materials.push((KeyKind::Sign(spec), pair(dir, spec, &["-algorithm", "ED25519"])));
    let spec = KeyPairSpec::Rsa2048;
    let rsa = pair(dir, spec, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    materials.extend([(KeyKind::Sign(spec), rsa.clone()), (KeyKind::Decrypt(spec), rsa)]);
    materials
}

fn secrets() -> Vec<(KeyKind, Vec<u8>)> {
    let random = |len: usize| crypto::random_array::<64>().unwrap()[..len].to_vec();
    let macs = HmacSpec::ALL.iter().map(|spec| (KeyKind::Mac(*spec), random(spec.algorithm().mac_len())));
    std::iter::once((KeyKind::Aes256, random(32))).chain(macs).collect()
}

fn material_of(materials: &[(KeyKind, Vec<u8>)], kind: KeyKind) -> Vec<u8> {
    materials.iter().find(|(other, _)| *other == kind).unwrap().1.clone()
}

/// A private key as PKCS #8.
fn pair(dir: &Path, spec: KeyPairSpec, arguments: &[&str]) -> Vec<u8> {
    let (pem, der) = (format!("{spec}.pem"), format!("{spec}.der"));
    openssl(dir, &[&["genpkey", "-out", &pem], arguments].concat());
    openssl(dir, &["pkcs8", "-topk8", "-nocrypt", "-in", &pem, "-outform", "DER", "-out", &der]);
    std::fs::read(dir.join(der)).unwrap()
}

fn public_of(dir: &Path, spec: KeyPairSpec, private: &[u8]) -> PublicKey {
    std::fs::write(dir.join("private.der"), private).unwrap();
    openssl(dir, &["pkey", "-inform", "DER", "-in", "private.der", "-pubout", "-outform", "DER", "-out", "its.der"]);
    PublicKey::from_spki(spec, &std::fs::read(dir.join("its.der")).unwrap()).unwrap()
}

fn kind_pair(kind: KeyKind) -> Option<KeyPairSpec> {
    match kind {
        KeyKind::Sign(spec)
        | KeyKind::Decrypt(spec)
        | KeyKind::Agree(spec)
        | KeyKind::ImportWrapping(spec)
        | KeyKind::Replication(spec) => Some(spec),
        KeyKind::Aes256 | KeyKind::Mac(_) | KeyKind::Decapsulate(_) => None,
    }
}

fn bits(spec: KeyPairSpec) -> usize {
    spec.modulus_len().unwrap() * 8
}

/// The algorithms for this material, as far as it fits: P-521 is too long for OAEP with 2,048 bits.
fn ways(kind: KeyKind, wrapping: KeyPairSpec) -> Vec<WrappingAlgorithm> {
    let longest = |algorithm: WrappingAlgorithm| wrapping.max_plaintext(algorithm.encryption().unwrap()).unwrap();
    let len = match kind_pair(kind).map(|spec| (spec.modulus_len(), spec)) {
        Some((Some(_), _)) => usize::MAX,
        Some((_, KeyPairSpec::EccNistP521)) => 241,
        Some((_, KeyPairSpec::EccNistP384)) => 185,
        _ => 0,
    };
    use WrappingAlgorithm::*;
    let all = [RsaesOaepSha1, RsaesOaepSha256, RsaAesKeyWrapSha1, RsaAesKeyWrapSha256];
    all.into_iter().filter(|algorithm| algorithm.has_aes_key() || len <= longest(*algorithm)).collect()
}

/// Where SoftHSM's profile has the material unwrapped.
fn place(kind: KeyKind, algorithm: WrappingAlgorithm) -> Place {
    let secret = kind_pair(kind).is_none() && kind != KeyKind::Mac(HmacSpec::Hmac224);
    if secret && algorithm == WrappingAlgorithm::RsaesOaepSha1 { Place::Token } else { Place::Host }
}

fn make_wrapping_key(token: &Token, dir: &Path, spec: KeyPairSpec) {
    let kind = KeyKind::ImportWrapping(spec);
    let public = block_on(token.generate_key(&wrapping_name(), kind, later())).unwrap().unwrap();
    std::fs::write(dir.join("ours.der"), public.spki()).unwrap();
}

/// The import of `material`, wrapped by OpenSSL for the wrapping key as the AWS guide has it.
fn import(
    dir: &Path,
    number: u8,
    kind: KeyKind,
    wrapping_spec: KeyPairSpec,
    algorithm: WrappingAlgorithm,
    material: &[u8],
) -> Import {
    let hash = match algorithm.encryption() {
        Some(EncryptionAlgorithm::RsaesOaepSha256) => "sha256",
        _ => "sha1",
    };
    let encrypted = if algorithm.has_aes_key() {
        let aes_key: [u8; 32] = crypto::random_array().unwrap();
        [openssl_encrypts(dir, hash, &aes_key), openssl_wraps(dir, &aes_key, material)].concat()
    } else {
        openssl_encrypts(dir, hash, material)
    };
    let (name, wrapping) = (imported_name(number), wrapping_name());
    let of_key = name.key_id;
    Import { name, of_key, kind, wrapping, wrapping_spec, algorithm, encrypted, allow_host: true }
}

/// As [`import`] wraps it, but by this service's own means: many are made.
fn wrapped(public: &PublicKey, algorithm: WrappingAlgorithm, material: &[u8]) -> Vec<u8> {
    let encrypt = |plaintext: &[u8]| crypto::oaep_encrypt(public, algorithm.encryption().unwrap(), plaintext).unwrap();
    let (aes_key, material) = (Secret::new(vec![9; 32]), Secret::new(material.to_vec()));
    match algorithm.has_aes_key() {
        true => [encrypt(aes_key.expose()), crypto::aes_wrap(&aes_key, &material).unwrap()].concat(),
        false => encrypt(material.expose()),
    }
}

fn openssl_wraps(dir: &Path, aes_key: &[u8; 32], material: &[u8]) -> Vec<u8> {
    std::fs::write(dir.join("material"), material).unwrap();
    let key = hex::encode(aes_key);
    let files = ["-in", "material", "-out", "wrapped"];
    openssl(dir, &[&["enc", "-id-aes256-wrap-pad", "-e", "-K", &key, "-iv", "A65959A6"], &files[..]].concat());
    std::fs::read(dir.join("wrapped")).unwrap()
}

/// The key on the token computes what the material does elsewhere.
fn is_the_material(
    token: &Token,
    dir: &Path,
    name: &ObjectName,
    kind: KeyKind,
    material: &[u8],
    public: Option<&PublicKey>,
) {
    let spec = kind_pair(kind);
    assert_eq!(
        public.map(PublicKey::spki),
        spec.map(|spec| public_of(dir, spec, material)).as_ref().map(PublicKey::spki)
    );
    match kind {
        KeyKind::Aes256 => {
            let wrapped = block_on(token.wrap_seed(name, 1, b"aad", &[9; 32], soon())).unwrap();
            let (iv, sealed) = wrapped.split_first_chunk::<12>().unwrap();
            let opened = crypto::open(material.try_into().unwrap(), iv, b"aad", sealed).unwrap();
            assert_eq!(opened.expose(), [9; 32]);
            let seed = block_on(token.unwrap_seed(name, 1, b"aad", &wrapped, soon())).unwrap();
            assert_eq!(*seed, [9; 32]);
        }
        KeyKind::Mac(spec) => {
            let mac = block_on(token.mac(name, spec, b"message", soon())).unwrap();
            assert!(crypto::verify_hmac(spec.algorithm(), material, b"message", &mac));
        }
        KeyKind::Sign(spec) => {
            for algorithm in spec.signing_algorithms() {
                if *algorithm != SigningAlgorithm::Ed25519PhSha512 {
                    let signature =
                        block_on(token.sign(name, spec, *algorithm, Message::Raw(b"message"), soon())).unwrap();
                    assert!(openssl_verifies(dir, public.unwrap(), *algorithm, b"message", &signature), "{algorithm}");
                }
            }
        }
        KeyKind::Decrypt(spec) => {
            for algorithm in spec.encryption_algorithms() {
                let ciphertext = crypto::oaep_encrypt(public.unwrap(), *algorithm, b"plaintext").unwrap();
                let plaintext = block_on(token.rsa_decrypt(name, spec, *algorithm, &ciphertext, soon())).unwrap();
                assert_eq!(plaintext.expose(), b"plaintext");
            }
        }
        KeyKind::Agree(spec) => {
            let peer = crypto::Agreement::new(spec).unwrap();
            let secret = block_on(token.derive(name, spec, &peer.public_key, soon())).unwrap();
            assert_eq!(secret.expose(), peer.agree(public.unwrap()).unwrap().expose());
        }
        KeyKind::Decapsulate(_) | KeyKind::ImportWrapping(_) | KeyKind::Replication(_) => {
            unreachable!("is not imported")
        }
    }
}

fn imported_name(number: u8) -> ObjectName {
    ObjectName { purpose: Purpose::Imported, ..name(number) }
}

fn wrapping_name() -> ObjectName {
    ObjectName { purpose: Purpose::ImportWrapping, ..name(200) }
}

const WRAPPING: [KeyPairSpec; 3] = [KeyPairSpec::Rsa2048, KeyPairSpec::Rsa3072, KeyPairSpec::Rsa4096];
