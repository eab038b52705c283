//! Every kind of keys, checked by OpenSSL and Python's own HMAC: others than what the service itself checks with.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use hsm_kms::crypto::{Message, PublicKey, digest, ecdsa_raw, verify_hmac};
use hsm_kms::model::{EncryptionAlgorithm, HmacSpec, KeyPairSpec, SigningAlgorithm, WrappingAlgorithm};
use hsm_kms::token::{Error, KeyKind, Offer, Token};

use super::process::*;

#[test]
fn signatures_of_every_kind_verify_elsewhere() {
    in_own_process("kinds::signatures_of_every_kind_verify_elsewhere", |dir| {
        let token = new_token(dir);
        let message = b"what is signed".as_slice();
        for (number, spec) in (1..).zip(KeyPairSpec::ALL.iter().filter(|spec| !spec.is_lattice())) {
            let public = block_on(token.generate_key(&name(number), KeyKind::Sign(*spec), later())).unwrap().unwrap();
            for algorithm in SigningAlgorithm::ALL {
                let sign = |message| block_on(token.sign(&name(number), *spec, *algorithm, message, soon()));
                let raw = sign(Message::Raw(message));
                if *algorithm == PREHASHED {
                    assert!(matches!(raw, Err(Error::NotOffered(..))), "{spec}");
                    continue;
                }
                if !spec.signing_algorithms().contains(algorithm) {
                    assert!(matches!(raw, Err(Error::Unfit(_))), "{spec} {algorithm}");
                    continue;
                }
                let digest = digest(*algorithm, message);
                let digested = digest.as_ref().map(|digest| sign(Message::Digest(digest)).unwrap());
                for signature in [Some(raw.unwrap()), digested].into_iter().flatten() {
                    assert!(openssl_verifies(dir, &public, *algorithm, message, &signature), "{spec} {algorithm}");
                    assert!(!openssl_verifies(dir, &public, *algorithm, b"another", &signature), "{spec} {algorithm}");
                    assert_eq!(public.verify(*algorithm, Message::Raw(message), &signature), Ok(()));
                }
                for wrong in [&[][..], &[7; 20], &[7; 31], &[7; 33], &[7; 65]] {
                    assert!(matches!(sign(Message::Digest(wrong)), Err(Error::Unfit(_))), "{spec} {algorithm}");
                }
            }
        }
        // A use that a key is not for reaches no token.
        let before = token.counts().operations;
        let pss = SigningAlgorithm::RsassaPssSha256;
        let refused = block_on(token.sign(&name(4), KeyPairSpec::EccNistP256, pss, Message::Digest(&[7; 32]), soon()));
        assert!(matches!(refused, Err(Error::Unfit(KeyKind::Sign(KeyPairSpec::EccNistP256)))));
        for kind in [KeyKind::Decrypt(KeyPairSpec::EccNistP256), KeyKind::Agree(KeyPairSpec::Rsa2048)] {
            assert!(matches!(block_on(token.generate_key(&name(99), kind, soon())), Err(Error::Unfit(_))));
            assert!(matches!(block_on(token.offers(kind, soon())), Err(Error::Unfit(_))));
        }
        assert_eq!(token.counts().operations, before);
        assert_eq!(block_on(token.objects(soon())).unwrap().ours.len(), 8, "no public key stays on the token");
    });
}

#[test]
fn macs_are_the_ones_of_the_key() {
    in_own_process("kinds::macs_are_the_ones_of_the_key", |dir| {
        let token = new_token(dir);
        for (number, spec) in (1..).zip(HmacSpec::ALL) {
            let public = block_on(token.generate_key(&name(number), KeyKind::Mac(*spec), soon())).unwrap();
            assert!(public.is_none());
            let mac = async |message: &[u8]| token.mac(&name(number), *spec, message, soon()).await.unwrap();
            block_on(async {
                let one = mac(b"message").await;
                assert_eq!(one.len(), spec.algorithm().mac_len());
                assert_eq!(one, mac(b"message").await);
                assert_ne!(one, mac(b"Message").await);
                mac(&[7; 4096]).await;
            });
        }
        // The key of a MAC never leaves the token, so its value is checked with one whose bytes are known.
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        for (spec, mechanism, python) in [
            (HmacSpec::Hmac224, Mechanism::Sha224Hmac, "sha224"),
            (HmacSpec::Hmac256, Mechanism::Sha256Hmac, "sha256"),
            (HmacSpec::Hmac384, Mechanism::Sha384Hmac, "sha384"),
            (HmacSpec::Hmac512, Mechanism::Sha512Hmac, "sha512"),
        ] {
            let bytes = vec![9; spec.algorithm().mac_len()];
            let known = session
                .create_object(&[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::Token(false),
                    Attribute::Sign(true),
                    Attribute::Value(bytes.clone()),
                ])
                .unwrap();
            let told = session.sign(&mechanism, known, b"message").unwrap();
            let script = format!(
                "import hmac,hashlib; print(hmac.new(bytes([9])*{}, b'message', '{python}').hexdigest(), end='')",
                bytes.len()
            );
            let output = Command::new("python3").args(["-c", &script]).output().unwrap();
            assert_eq!(hex::encode(&told), String::from_utf8(output.stdout).unwrap(), "{python}");
            assert!(verify_hmac(spec.algorithm(), &bytes, b"message", &told), "{python}");
        }
    });
}

#[test]
fn both_sides_of_an_agreement_come_to_the_same() {
    in_own_process("kinds::both_sides_of_an_agreement_come_to_the_same", |dir| {
        let token = new_token(dir);
        let curves = [
            (KeyPairSpec::EccNistP256, "P-256"),
            (KeyPairSpec::EccNistP384, "P-384"),
            (KeyPairSpec::EccNistP521, "P-521"),
        ];
        for (number, (spec, openssl_name)) in (1..).zip(curves) {
            let kind = KeyKind::Agree(spec);
            let public = block_on(token.generate_key(&name(number), kind, soon())).unwrap().unwrap();
            std::fs::write(dir.join("ours.der"), public.spki()).unwrap();
            openssl(
                dir,
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    &format!("ec_paramgen_curve:{openssl_name}"),
                    "-out",
                    "peer.pem",
                ],
            );
            openssl(dir, &["pkey", "-in", "peer.pem", "-pubout", "-outform", "DER", "-out", "peer.der"]);
            openssl(dir, &["pkeyutl", "-derive", "-inkey", "peer.pem", "-peerkey", "ours.der", "-out", "shared"]);
            let peer = std::fs::read(dir.join("peer.der")).unwrap();
            let peer = PublicKey::from_spki(spec, &peer).unwrap();
            let secret = block_on(token.derive(&name(number), spec, &peer, soon())).unwrap();
            assert_eq!(secret.expose(), std::fs::read(dir.join("shared")).unwrap(), "{openssl_name}");

            let point = peer.point().unwrap();
            let (mut off, mut hybrid) = (point.to_vec(), point.to_vec());
            off[point.len() - 1] ^= 1;
            hybrid[0] = 6 + (point[point.len() - 1] & 1);
            let infinity = vec![0];
            let zeros = [vec![4], vec![0; point.len() - 1]].concat();
            for wrong in [off, hybrid, infinity, zeros, vec![], point[..point.len() - 1].to_vec()] {
                // No other point is a public key, and nothing else reaches the private one.
                assert!(PublicKey::from_point(spec, &wrong).is_err(), "{wrong:02x?}");
            }
            let before = token.counts();
            for (stranger, _) in curves.into_iter().filter(|(stranger, _)| *stranger != spec) {
                let refused = block_on(token.derive(&name(number), stranger, &peer, soon())).unwrap_err();
                assert!(matches!(refused, Error::Unfit(_)), "{refused}");
            }
            assert_eq!(token.counts(), before);
        }
        // What is derived is read and gone.
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let left = session.find_objects(&[Attribute::KeyType(KeyType::GENERIC_SECRET)]).unwrap();
        assert_eq!(left.len(), 0);
    });
}

#[test]
fn what_openssl_encrypts_is_decrypted_and_nothing_else() {
    in_own_process("kinds::what_openssl_encrypts_is_decrypted_and_nothing_else", |dir| {
        let token = new_token(dir);
        assert!(token.unpads_on_host(), "SoftHSM cannot do OAEP with SHA-256");
        for (number, spec) in (1..).zip([KeyPairSpec::Rsa2048, KeyPairSpec::Rsa3072, KeyPairSpec::Rsa4096]) {
            let kind = KeyKind::Decrypt(spec);
            let public = block_on(token.generate_key(&name(number), kind, later())).unwrap().unwrap();
            std::fs::write(dir.join("ours.der"), public.spki()).unwrap();
            for (padding, hash) in [(SHA_1, "sha1"), (SHA_256, "sha256")] {
                let decrypt =
                    |ciphertext: &[u8]| block_on(token.rsa_decrypt(&name(number), spec, padding, ciphertext, soon()));
                for plaintext in [&b""[..], b"plaintext", &[0; 100]] {
                    let ciphertext = openssl_encrypts(dir, hash, plaintext);
                    assert_eq!(decrypt(&ciphertext).unwrap().expose(), plaintext, "{spec} {hash}");
                }
                let ciphertext = openssl_encrypts(dir, hash, b"plaintext");
                let (before, mut cost) = (token.counts(), Cost::begin(PRIVATE_WORKERS));
                for index in [0, 1, 100, ciphertext.len() - 1] {
                    let operations = token.counts().operations;
                    let mut forged = ciphertext.clone();
                    forged[index] ^= 1;
                    assert!(matches!(decrypt(&forged), Err(Error::BadData)), "{hash} byte {index}");
                    let used = token.counts().operations - operations;
                    // A first byte so high is a number above the modulus, which the bare operation refuses, too.
                    assert!(used == 1 || padding == SHA_1 || index == 0, "{hash} byte {index}: {used} calls");
                    cost.add(used);
                }
                // Not a number below the modulus, and another padding.
                assert!(matches!(decrypt(&vec![0xff; ciphertext.len()]), Err(Error::BadData)));
                let other = openssl_encrypts(dir, if hash == "sha1" { "sha256" } else { "sha1" }, b"plaintext");
                assert!(matches!(decrypt(&other), Err(Error::BadData)));
                let operations = token.counts().operations;
                for length in [0, 1, ciphertext.len() - 1, ciphertext.len() + 1] {
                    assert!(matches!(decrypt(&vec![1; length]), Err(Error::BadData)));
                }
                let after = token.counts();
                assert_eq!(after.operations, operations, "a wrong length does not reach the token");
                assert_eq!((after.sessions, after.recoveries), (before.sessions, before.recoveries));
                assert_eq!(decrypt(&ciphertext).unwrap().expose(), b"plaintext");
            }
        }
    });
}

#[test]
fn keys_of_every_kind_stay_on_the_token() {
    in_own_process("kinds::keys_of_every_kind_stay_on_the_token", |dir| {
        let token = new_token(dir);
        for (number, (kind, _)) in (1..).zip(KINDS) {
            block_on(token.generate_key(&name(number), kind, later())).unwrap();
            assert!(block_on(token.has_key(&name(number), kind, soon())).unwrap());
            let again = block_on(token.generate_key(&name(number), kind, later())).unwrap_err();
            assert!(matches!(again, Error::Exists(_)), "{again}");
        }
        let output = Command::new("pkcs11-tool")
            .args(["--module", MODULE, "--token-label", LABEL, "--login", "--pin", PIN, "--list-objects"])
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(listed.matches("Public Key Object").count(), 0, "{listed}");
        let access = "Access:     sensitive, always sensitive, never extractable, local";
        assert_eq!(listed.matches(access).count(), KINDS.len(), "{listed}");
        let usages: Vec<&str> = listed.lines().filter_map(|line| line.trim().strip_prefix("Usage:")).collect();
        let mut usages: Vec<&str> = usages.into_iter().map(str::trim).collect();
        let mut expected: Vec<&str> = KINDS.iter().map(|(_, usage)| *usage).collect();
        usages.sort_unstable();
        expected.sort_unstable();
        assert_eq!(usages, expected, "{listed}");

        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        for number in (1..).take(KINDS.len()) {
            let keys = session.find_objects(&[Attribute::Id(name(number).cka_id().to_vec())]).unwrap();
            let [key] = keys[..] else { panic!("{keys:?}") };
            for secret in [AttributeType::Value, AttributeType::PrivateExponent, AttributeType::Prime1] {
                assert_eq!(session.get_attributes(key, &[secret]).unwrap_or_default(), []);
            }
            for change in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
                assert!(session.update_attributes(key, &[change]).is_err());
            }
            if KINDS[usize::from(number) - 1].1 != "encrypt, decrypt" && KINDS[usize::from(number) - 1].1 != "none" {
                assert!(session.update_attributes(key, &[Attribute::Derive(true)]).is_err(), "it is not modifiable");
            }
        }
        for number in (1..).take(KINDS.len()) {
            block_on(token.destroy(&name(number), soon())).unwrap();
        }
        assert_eq!(block_on(token.objects(soon())).unwrap().ours, []);
    });
}

/// With what `pkcs11-tool` calls its use; it has no word for a secret key that signs.
const KINDS: [(KeyKind, &str); 11] = [
    (KeyKind::Sign(KeyPairSpec::Rsa2048), "sign"),
    (KeyKind::Decrypt(KeyPairSpec::Rsa2048), "decrypt"),
    (KeyKind::Sign(KeyPairSpec::EccNistP256), "sign"),
    (KeyKind::Sign(KeyPairSpec::EccSecgP256k1), "sign"),
    (KeyKind::Agree(KeyPairSpec::EccNistP384), "derive"),
    (KeyKind::Agree(KeyPairSpec::EccNistP521), "derive"),
    (KeyKind::Sign(KeyPairSpec::EccNistEdwards25519), "sign"),
    (KeyKind::Mac(HmacSpec::Hmac224), "none"),
    (KeyKind::Mac(HmacSpec::Hmac256), "none"),
    (KeyKind::Mac(HmacSpec::Hmac512), "none"),
    (KeyKind::Aes256, "encrypt, decrypt"),
];

#[test]
fn a_key_of_one_kind_does_not_serve_as_another() {
    in_own_process("kinds::a_key_of_one_kind_does_not_serve_as_another", |dir| {
        let token = new_token(dir);
        let sign =
            |number, spec, algorithm| block_on(token.sign(&name(number), spec, algorithm, Message::Raw(b""), soon()));
        let pss = SigningAlgorithm::RsassaPssSha256;
        block_on(async {
            token.generate_key(&name(1), KeyKind::Sign(KeyPairSpec::Rsa2048), later()).await.unwrap();
            token.generate_key(&name(2), KeyKind::Sign(KeyPairSpec::EccNistP256), soon()).await.unwrap();
            token.generate_key(&name(3), KeyKind::Mac(HmacSpec::Hmac256), soon()).await.unwrap();
            token.generate_key(&name(4), KeyKind::Decrypt(KeyPairSpec::Rsa2048), later()).await.unwrap();
        });
        sign(1, KeyPairSpec::Rsa2048, pss).unwrap();
        sign(2, KeyPairSpec::EccNistP256, ECDSA).unwrap();
        let cases = [
            (sign(1, KeyPairSpec::Rsa3072, pss), "CKA_MODULUS is 2048 bits long and must be 3072"),
            (sign(4, KeyPairSpec::Rsa2048, pss), "CKA_SIGN is false and must be true"),
            (sign(2, KeyPairSpec::EccSecgP256k1, ECDSA), "CKA_EC_PARAMS is "),
            (sign(3, KeyPairSpec::EccNistP256, ECDSA), "CKA_CLASS is "),
            (block_on(token.mac(&name(3), HmacSpec::Hmac512, b"", soon())), "CKA_VALUE_LEN is 32 and must be 64"),
            (block_on(token.wrap_seed(&name(3), 1, b"", &[7; 32], soon())), "CKA_KEY_TYPE is "),
        ];
        for (refused, expected) in cases {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, Error::NotProven { .. }), "{refused}");
            assert!(refused.to_string().contains(expected), "{refused}");
        }
        assert_eq!(token.counts().recoveries, 0);
    });
}

#[test]
fn a_planted_private_key_is_refused_by_its_attribute() {
    in_own_process("kinds::a_planted_private_key_is_refused_by_its_attribute", |dir| {
        let token = new_token(dir);
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let cases = [
            (Attribute::Extractable(true), "CKA_EXTRACTABLE is true and must be false"),
            (Attribute::Sensitive(false), "CKA_SENSITIVE is false and must be true"),
            (Attribute::Private(false), "CKA_PRIVATE is false and must be true"),
            (Attribute::Derive(true), "CKA_DERIVE is true and must be false"),
            (Attribute::Decrypt(true), "CKA_DECRYPT is true and must be false"),
            (Attribute::Unwrap(true), "CKA_UNWRAP is true and must be false"),
            (Attribute::SignRecover(true), "CKA_SIGN_RECOVER is true and must be false"),
            (Attribute::Label(b"hsm-kms/x".to_vec()), "CKA_LABEL is `hsm-kms/x` and must be `hsm-kms/kms/"),
        ];
        for (number, (wrong, expected)) in (1..).zip(cases) {
            let name = name(number);
            let mut template = vec![
                Attribute::Id(name.cka_id().to_vec()),
                Attribute::Label(name.cka_label().into_bytes()),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                Attribute::SignRecover(false),
                Attribute::Decrypt(false),
                Attribute::Unwrap(false),
                Attribute::Derive(false),
            ];
            template.retain(|ours| ours.attribute_type() != wrong.attribute_type());
            template.push(wrong);
            let curve = Attribute::EcParams(P256.to_vec());
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &[curve, Attribute::Token(false)], &template).unwrap();
            let message = Message::Digest(&[7; 32]);
            let told = block_on(token.sign(&name, KeyPairSpec::EccNistP256, ECDSA, message, soon())).unwrap_err();
            assert!(matches!(told, Error::NotProven { .. }), "{told}");
            assert!(told.to_string().contains(expected), "{told}");
        }
        assert_eq!(token.counts().recoveries, 0);
    });
}

#[test]
fn others_use_keys_for_the_first_time_while_rsa_is_made() {
    in_own_process("kinds::others_use_keys_for_the_first_time_while_rsa_is_made", |dir| {
        let token = new_token(dir);
        block_on(async {
            for number in 1..=200 {
                token.generate(&name(number), soon()).await.unwrap();
            }
            let (made, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            let making = tokio::spawn({
                let (token, made, enough) = (token.clone(), Arc::clone(&made), Arc::clone(&enough));
                async move {
                    for number in (250..255).take_while(|_| !enough.load(Ordering::Relaxed)) {
                        token.generate_key(&name(number), KeyKind::Sign(KeyPairSpec::Rsa4096), later()).await.unwrap();
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            // Some pairs are made in no time, but not all.
            let (mut used, mut took) = ([0; 5], Vec::new());
            for number in 1..=200 {
                let (pair, asked) = (made.load(Ordering::Relaxed), Instant::now());
                token.wrap_seed(&name(number), 1, b"", &[7; 32], soon()).await.unwrap();
                took.push(asked.elapsed());
                if pair < used.len() && made.load(Ordering::Relaxed) == pair {
                    used[pair] += 1;
                }
                if used.contains(&20) {
                    break;
                }
            }
            enough.store(true, Ordering::Relaxed);
            making.await.unwrap();
            took.sort();
            assert!(used.iter().any(|used| *used >= 5), "{used:?} keys while each pair was made");
            assert!(took[took.len() / 2] < Duration::from_millis(500), "{took:?}");
        });
    });
}

#[test]
fn a_destroyed_pair_is_gone_for_everyone_at_once() {
    in_own_process("kinds::a_destroyed_pair_is_gone_for_everyone_at_once", |dir| {
        let token = new_token(dir);
        block_on(async {
            token.generate_key(&name(1), KeyKind::Sign(KeyPairSpec::EccNistP256), soon()).await.unwrap();
            token.generate_key(&name(2), KeyKind::Mac(HmacSpec::Hmac256), soon()).await.unwrap();
            let users: Vec<_> = (0..8).map(|_| tokio::spawn(sign_until_gone(token.clone()))).collect();
            token.mac(&name(2), HmacSpec::Hmac256, b"", soon()).await.unwrap();
            token.destroy(&name(1), soon()).await.unwrap();
            token.destroy(&name(2), soon()).await.unwrap();
            let refused = token.mac(&name(2), HmacSpec::Hmac256, b"", soon()).await.unwrap_err();
            assert!(matches!(refused, Error::NotFound(_)), "{refused}");
            for user in users {
                user.await.unwrap();
            }
            assert_eq!(token.objects(soon()).await.unwrap().ours, []);
        });
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let left = session.find_objects(&[Attribute::Private(true)]).unwrap();
        assert_eq!(left.len(), 0, "neither the keys nor session copies of them");
        assert_eq!(token.counts().recoveries, 0);
    });
}

async fn sign_until_gone(token: Token) {
    loop {
        match token.sign(&name(1), KeyPairSpec::EccNistP256, ECDSA, Message::Raw(b""), soon()).await {
            Ok(signature) => assert!(ecdsa_raw(KeyPairSpec::EccNistP256, &signature).is_ok()),
            Err(Error::NotFound(_)) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_the_token_offers_is_found_out_once() {
    in_own_process("kinds::what_the_token_offers_is_found_out_once", |dir| {
        let token = new_token(dir);
        for (kind, _) in KINDS {
            assert_eq!(block_on(token.offers(kind, later())).unwrap(), Offer::Yes, "{kind:?}");
        }
        let known = block_on(token.offers(KeyKind::Sign(KeyPairSpec::Rsa4096), Instant::now()));
        assert_eq!(known.unwrap(), Offer::Yes, "there is no time to try it, and no need to");
        // A profile that promises too much is found out.
        assert!(token.shutdown(Duration::from_secs(5)));
        let token = open_with(dir, "[rsa]\noaep_sha256 = \"token\"\n", 1024, || panic!("hopeless"));
        let offer = block_on(token.offers(KeyKind::Decrypt(KeyPairSpec::Rsa3072), later())).unwrap();
        assert!(matches!(&offer, Offer::No(why) if why.contains("ArgumentsBad")), "{offer:?}");
        let made = block_on(token.generate_key(&name(1), KeyKind::Decrypt(KeyPairSpec::Rsa2048), later())).unwrap_err();
        assert!(matches!(made, Error::Refused { .. }), "{made}");
        assert_eq!(block_on(token.objects(soon())).unwrap().ours, [], "nothing is left behind");
        assert_eq!(token.counts().recoveries, 0);
    });
}

/// The reason why Ed25519ph is not offered here.
#[test]
fn softhsm_signs_a_prehash_as_if_it_were_the_message() {
    in_own_process("kinds::softhsm_signs_a_prehash_as_if_it_were_the_message", |dir| {
        let token = new_token(dir);
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let curve = Attribute::EcParams(vec![0x06, 0x03, 0x2b, 0x65, 0x70]);
        let mechanism = Mechanism::EccEdwardsKeyPairGen;
        let (_, key) = session.generate_key_pair(&mechanism, &[curve], &[Attribute::Sign(true)]).unwrap();
        let sign = |scheme| session.sign(&Mechanism::Eddsa(EddsaParams::new(scheme)), key, &[7; 64]);
        let plain = sign(EddsaSignatureScheme::Ed25519).unwrap();
        assert_eq!(sign(EddsaSignatureScheme::Ed25519ph(&[])).unwrap(), plain);
        assert!(token.status().is_ready());
    });
}

#[test]
fn what_the_token_offers_is_found_out_unasked() {
    in_own_process("kinds::what_the_token_offers_is_found_out_unasked", |dir| {
        let token = new_token(dir);
        let known = |kind| block_on(token.offers(kind, Instant::now())).is_ok();
        // A deadline that has passed is answered only with what is known.
        for (kind, _) in KINDS.into_iter().filter(|(kind, _)| *kind != KeyKind::Aes256) {
            until("it is known", || known(kind));
        }
        let kind = KeyKind::Sign(KeyPairSpec::EccNistP384);
        let unwraps = || block_on(token.unwraps(KeyKind::Aes256, WrappingAlgorithm::RsaesOaepSha1, Instant::now()));
        until("it is known where material is unwrapped", || unwraps().is_ok());
        assert!(known(kind) && token.counts().recoveries == 0);
        assert_eq!(block_on(token.objects(soon())).unwrap().ours, []);
    });
}

/// For what makes RSA keys of 4,096 bits.
pub fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn openssl_encrypts(dir: &Path, hash: &str, plaintext: &[u8]) -> Vec<u8> {
    std::fs::write(dir.join("plaintext"), plaintext).unwrap();
    let (oaep, mgf1) = (format!("rsa_oaep_md:{hash}"), format!("rsa_mgf1_md:{hash}"));
    openssl(
        dir,
        &[
            "pkeyutl",
            "-encrypt",
            "-pubin",
            "-inkey",
            "ours.der",
            "-in",
            "plaintext",
            "-out",
            "ciphertext",
            "-pkeyopt",
            "rsa_padding_mode:oaep",
            "-pkeyopt",
            &oaep,
            "-pkeyopt",
            &mgf1,
        ],
    );
    std::fs::read(dir.join("ciphertext")).unwrap()
}

pub fn openssl_verifies(
    dir: &Path,
    public: &PublicKey,
    algorithm: SigningAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    std::fs::write(dir.join("public.der"), public.spki()).unwrap();
    std::fs::write(dir.join("message"), message).unwrap();
    std::fs::write(dir.join("signature"), signature).unwrap();
    let mut arguments = vec!["-verify", "-pubin", "-inkey", "public.der", "-in", "message", "-sigfile", "signature"];
    arguments.push("-rawin");
    match algorithm.digest_len() {
        Some(32) => arguments.extend(["-digest", "sha256"]),
        Some(48) => arguments.extend(["-digest", "sha384"]),
        Some(_) => arguments.extend(["-digest", "sha512"]),
        None => {}
    }
    if algorithm.as_str().contains("PSS") {
        arguments.extend(["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]);
    }
    Command::new("openssl").arg("pkeyutl").args(arguments).current_dir(dir).output().unwrap().status.success()
}

const ECDSA: SigningAlgorithm = SigningAlgorithm::EcdsaSha256;
const PREHASHED: SigningAlgorithm = SigningAlgorithm::Ed25519PhSha512;
const SHA_1: EncryptionAlgorithm = EncryptionAlgorithm::RsaesOaepSha1;
const SHA_256: EncryptionAlgorithm = EncryptionAlgorithm::RsaesOaepSha256;
/// The object identifier of P-256.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// As SoftHSM's profile has it.
const PRIVATE_WORKERS: u64 = 2;
