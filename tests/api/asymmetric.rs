//! Asymmetric and HMAC keys: what each is told, and what is refused in which words.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};

use super::*;

const USAGE: &str = "InvalidKeyUsageException";
const VALIDATION: &str = "ValidationException";
const SIGNATURE: &str = "KMSInvalidSignatureException";
const MAC: &str = "KMSInvalidMacException";
const CIPHERTEXT: &str = "InvalidCiphertextException";
const DRY: &str = "DryRunOperationException";
const WOULD_SUCCEED: &str = "The request would have succeeded, but the DryRun option is set.";

/// Every spec and usage, with the list of algorithms that DescribeKey and GetPublicKey have of it.
const KINDS: &[(&str, &str, &str, &[&str])] = &[
    ("RSA_2048", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", OAEP),
    ("RSA_2048", "SIGN_VERIFY", "SigningAlgorithms", RSASSA),
    ("RSA_3072", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", OAEP),
    ("RSA_3072", "SIGN_VERIFY", "SigningAlgorithms", RSASSA),
    ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", &["ECDSA_SHA_256"]),
    ("ECC_NIST_P256", "KEY_AGREEMENT", "KeyAgreementAlgorithms", &["ECDH"]),
    ("ECC_NIST_P384", "SIGN_VERIFY", "SigningAlgorithms", &["ECDSA_SHA_384"]),
    ("ECC_NIST_P384", "KEY_AGREEMENT", "KeyAgreementAlgorithms", &["ECDH"]),
    ("ECC_NIST_P521", "SIGN_VERIFY", "SigningAlgorithms", &["ECDSA_SHA_512"]),
    ("ECC_NIST_P521", "KEY_AGREEMENT", "KeyAgreementAlgorithms", &["ECDH"]),
    ("ECC_SECG_P256K1", "SIGN_VERIFY", "SigningAlgorithms", &["ECDSA_SHA_256"]),
    // Not ED25519_PH_SHA_512: SoftHSM signs something else by that name.
    ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "SigningAlgorithms", &["ED25519_SHA_512"]),
    ("HMAC_224", "GENERATE_VERIFY_MAC", "MacAlgorithms", &["HMAC_SHA_224"]),
    ("HMAC_256", "GENERATE_VERIFY_MAC", "MacAlgorithms", &["HMAC_SHA_256"]),
    ("HMAC_384", "GENERATE_VERIFY_MAC", "MacAlgorithms", &["HMAC_SHA_384"]),
    ("HMAC_512", "GENERATE_VERIFY_MAC", "MacAlgorithms", &["HMAC_SHA_512"]),
];
const OAEP: &[&str] = &["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];
const RSASSA: &[&str] = &[
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
];

#[test]
fn every_spec_and_usage_is_described_as_aws_does() {
    let service = shared();
    for (spec, usage, list, algorithms) in KINDS {
        let answer = ok(&service, "CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage }));
        let metadata = &answer["KeyMetadata"];
        let (id, arn) = (&metadata["KeyId"], &metadata["Arn"]);
        let expected = json!({
            "AWSAccountId": "111122223333",
            "KeyId": id,
            "Arn": format!("arn:aws:kms:us-east-1:111122223333:key/{}", id.as_str().unwrap()),
            "CreationDate": metadata["CreationDate"],
            "Enabled": true,
            "Description": "",
            "KeyUsage": usage,
            "KeyState": "Enabled",
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": spec,
            "KeySpec": spec,
            *list: algorithms,
            "MultiRegion": false,
        });
        assert_eq!(metadata, &expected, "{spec} {usage}");
        assert_eq!(ok(&service, "DescribeKey", &json!({ "KeyId": id })), answer);
        let got = call(&service, "GetPublicKey", &json!({ "KeyId": arn }));
        if spec.starts_with("HMAC") {
            is_refusal(&got, "UnsupportedOperationException", "");
            continue;
        }
        let got = succeeded(&got, "GetPublicKey");
        let expected = json!({
            "KeyId": arn,
            "PublicKey": got["PublicKey"],
            "CustomerMasterKeySpec": spec,
            "KeySpec": spec,
            "KeyUsage": usage,
            *list: algorithms,
        });
        assert_eq!(got, expected, "{spec} {usage}");
    }
    refused(&service, "GetPublicKey", &json!({ "KeyId": new_key(&service).id }), "UnsupportedOperationException", "");
}

/// The deprecated name of the member makes the same key.
#[test]
fn the_old_name_of_the_spec_is_taken() {
    let service = shared();
    let body = json!({ "CustomerMasterKeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" });
    assert_eq!(ok(&service, "CreateKey", &body)["KeyMetadata"]["KeySpec"], "ECC_NIST_P256");
}

#[test]
fn a_signature_is_valid_for_its_message_key_and_algorithm_alone() {
    let service = shared();
    let key = signing(&service);
    let sign = |body: &[(&str, Value)]| with(json!({ "KeyId": key.id, "Message": "AA==" }), body);
    let algorithm = |name: &str| ("SigningAlgorithm", json!(name));
    let made = ok(&service, "Sign", &sign(&[algorithm("RSASSA_PSS_SHA_256")]));
    assert_eq!(names(&made), ["KeyId", "Signature", "SigningAlgorithm"]);
    assert_eq!((&made["KeyId"], &made["SigningAlgorithm"]), (&json!(key.arn), &json!("RSASSA_PSS_SHA_256")));
    let signature = bytes(&made["Signature"]);
    assert_eq!(signature.len(), 256);
    let verify = sign(&[algorithm("RSASSA_PSS_SHA_256"), ("Signature", made["Signature"].clone())]);
    let answer = json!({ "KeyId": key.arn, "SignatureValid": true, "SigningAlgorithm": "RSASSA_PSS_SHA_256" });
    assert_eq!(ok(&service, "Verify", &verify), answer);

    let mut forged = signature.clone();
    forged[128] ^= 1;
    let other = new_key_of(&service, "RSA_2048", "SIGN_VERIFY");
    for wrong in [
        ("Message", json!("AQ==")),
        ("Message", json!("AAA=")),
        ("Signature", json!(base64(&forged))),
        ("Signature", json!(base64(&signature[..255]))),
        ("Signature", json!(base64(&[&signature[..], &[0]].concat()))),
        ("Signature", json!(base64(&[0; 256]))),
        ("Signature", json!(base64(&[0xff; 256]))),
        ("Signature", json!("AA==")),
        ("SigningAlgorithm", json!("RSASSA_PSS_SHA_384")),
        ("SigningAlgorithm", json!("RSASSA_PKCS1_V1_5_SHA_256")),
        ("KeyId", json!(other.id)),
    ] {
        let answer = call(&service, "Verify", &with(verify.clone(), std::slice::from_ref(&wrong)));
        is_refusal(&answer, SIGNATURE, "");
        assert_eq!(event(&service, &answer)["errorCode"], SIGNATURE, "{wrong:?}");
    }
    // The hash of the message is the message, if that is said.
    let digest = ("Message", json!(base64(&hsm_kms::crypto::sha256(&[&[0]]))));
    refused(&service, "Verify", &with(verify.clone(), std::slice::from_ref(&digest)), SIGNATURE, "");
    ok(&service, "Verify", &with(verify.clone(), &[digest, ("MessageType", json!("DIGEST"))]));
}

#[test]
fn ecdsa_signatures_are_der_and_no_other_form_is_taken() {
    let service = shared();
    let key = new_key_of(&service, "ECC_NIST_P256", "SIGN_VERIFY");
    let body = json!({ "KeyId": key.id, "Message": "AA==", "SigningAlgorithm": "ECDSA_SHA_256" });
    for _ in 0..8 {
        let signature = bytes(&ok(&service, "Sign", &body)["Signature"]);
        assert_eq!((signature[0], usize::from(signature[1])), (0x30, signature.len() - 2));
        let raw = hsm_kms::crypto::ecdsa_raw(hsm_kms::model::KeyPairSpec::EccNistP256, &signature).unwrap();
        ok(&service, "Verify", &with(body.clone(), &[("Signature", json!(base64(&signature)))]));
        let longer = [&signature[..], &[0]].concat();
        for other in [raw, longer] {
            refused(&service, "Verify", &with(body.clone(), &[("Signature", json!(base64(&other)))]), SIGNATURE, "");
        }
    }
}

#[test]
fn what_a_key_does_not_sign_is_refused_in_awss_words() {
    let service = shared();
    let rsa = &signing(&service);
    let p256 = new_key_of(&service, "ECC_NIST_P256", "SIGN_VERIFY");
    let edwards = new_key_of(&service, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY");
    let with_key = |algorithm: &str, spec: &str| format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
    let length = |algorithm: &str| format!("Digest is invalid length for algorithm {algorithm}.");
    let pss = "RSASSA_PSS_SHA_384";
    let cases = [
        (rsa, "ECDSA_SHA_256", "RAW", 1, USAGE, with_key("ECDSA_SHA_256", "RSA_2048")),
        (rsa, "SM2DSA", "RAW", 1, USAGE, with_key("SM2DSA", "RSA_2048")),
        (&p256, "ECDSA_SHA_384", "RAW", 1, USAGE, with_key("ECDSA_SHA_384", "ECC_NIST_P256")),
        (&p256, "ED25519_SHA_512", "RAW", 1, USAGE, with_key("ED25519_SHA_512", "ECC_NIST_P256")),
        (&edwards, "ECDSA_SHA_512", "RAW", 1, USAGE, with_key("ECDSA_SHA_512", "ECC_NIST_EDWARDS25519")),
        // The algorithm is looked at before the message.
        (&p256, "ECDSA_SHA_384", "DIGEST", 20, USAGE, with_key("ECDSA_SHA_384", "ECC_NIST_P256")),
        (rsa, pss, "DIGEST", 47, VALIDATION, length(pss)),
        (rsa, pss, "DIGEST", 49, VALIDATION, length(pss)),
        (rsa, pss, "DIGEST", 4096, VALIDATION, length(pss)),
        (&p256, "ECDSA_SHA_256", "DIGEST", 48, VALIDATION, length("ECDSA_SHA_256")),
        (
            rsa,
            pss,
            "EXTERNAL_MU",
            64,
            VALIDATION,
            "Message type EXTERNAL_MU is incompatible with key spec RSA_2048.".into(),
        ),
        (
            &edwards,
            "ED25519_SHA_512",
            "DIGEST",
            64,
            VALIDATION,
            "Message type DIGEST is incompatible with algorithm ED25519_SHA_512.".into(),
        ),
        (
            &edwards,
            "ED25519_PH_SHA_512",
            "RAW",
            64,
            VALIDATION,
            "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512.".into(),
        ),
        (&edwards, "ED25519_PH_SHA_512", "DIGEST", 63, VALIDATION, length("ED25519_PH_SHA_512")),
        (
            &edwards,
            "ED25519_PH_SHA_512",
            "DIGEST",
            64,
            USAGE,
            "Algorithm ED25519_PH_SHA_512 is not offered by this service's token: the token does it wrongly: it signs, but not \
             by Ed25519ph"
                .into(),
        ),
    ];
    for (key, algorithm, kind, len, error, message) in cases {
        let message_of = base64(&vec![7; len]);
        let body =
            json!({ "KeyId": key.id, "Message": message_of, "MessageType": kind, "SigningAlgorithm": algorithm });
        refused(&service, "Sign", &body, error, &message);
        // Before the signature is looked at, and before the dry run.
        let verify = with(body, &[("Signature", json!("AA==")), ("DryRun", json!(true))]);
        refused(&service, "Verify", &verify, error, &message);
    }
}

#[test]
fn messages_and_algorithms_are_bounded() {
    let service = shared();
    let key = new_key_of(&service, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY");
    let body = json!({ "KeyId": key.id, "Message": base64(&[1; 4096]), "SigningAlgorithm": "ED25519_SHA_512" });
    let signature = ok(&service, "Sign", &body)["Signature"].clone();
    assert_eq!(bytes(&signature).len(), 64);
    ok(&service, "Verify", &with(body.clone(), &[("Signature", signature)]));
    let constraint = "failed to satisfy constraint: Member must";
    for (member, value, message) in [
        (
            "Message",
            json!(base64(&[1; 4097])),
            format!("Value at 'message' {constraint} have length less than or equal to 4096"),
        ),
        ("Message", json!(""), format!("Value at 'message' {constraint} have length greater than or equal to 1")),
        (
            "MessageType",
            json!("HASH"),
            format!("Value 'HASH' at 'messageType' {constraint} satisfy enum value set: [RAW, DIGEST, EXTERNAL_MU]"),
        ),
    ] {
        refused(&service, "Sign", &with(body.clone(), &[(member, value)]), VALIDATION, &violation(&message));
    }
    let answer = call(&service, "Sign", &with(body, &[("SigningAlgorithm", json!("RS256"))]));
    assert!(answer.message().starts_with("1 validation error detected: Value 'RS256' at 'signingAlgorithm'"));
}

#[test]
fn a_code_is_valid_for_its_message_and_key_alone() {
    let service = shared();
    for (spec, algorithm, len) in [
        ("HMAC_224", "HMAC_SHA_224", 28),
        ("HMAC_256", "HMAC_SHA_256", 32),
        ("HMAC_384", "HMAC_SHA_384", 48),
        ("HMAC_512", "HMAC_SHA_512", 64),
    ] {
        let (key, other) = (mac_key(&service, spec), mac_key(&service, spec));
        let body = json!({ "KeyId": key.id, "Message": "AA==", "MacAlgorithm": algorithm });
        let made = ok(&service, "GenerateMac", &body);
        assert_eq!(made, json!({ "KeyId": key.arn, "Mac": made["Mac"], "MacAlgorithm": algorithm }));
        let code = bytes(&made["Mac"]);
        assert_eq!(code.len(), len);
        assert_eq!(ok(&service, "GenerateMac", &body)["Mac"], made["Mac"], "the same message has the same code");
        let verify = with(body.clone(), &[("Mac", made["Mac"].clone())]);
        let valid = json!({ "KeyId": key.arn, "MacValid": true, "MacAlgorithm": algorithm });
        assert_eq!(ok(&service, "VerifyMac", &verify), valid);
        let mut forged = code.clone();
        forged[len - 1] ^= 0x80;
        for wrong in [
            ("Message", json!("AQ==")),
            ("KeyId", json!(other.id)),
            ("Mac", json!(base64(&forged))),
            ("Mac", json!(base64(&code[..len - 1]))),
            ("Mac", json!(base64(&code[..1]))),
            ("Mac", json!(base64(&[&code[..], &[0]].concat()))),
        ] {
            for dry_run in [false, true] {
                let body = with(verify.clone(), &[wrong.clone(), ("DryRun", json!(dry_run))]);
                refused(&service, "VerifyMac", &body, MAC, "");
            }
        }
        let unfit = if spec == "HMAC_512" { "HMAC_SHA_384" } else { "HMAC_SHA_512" };
        for operation in ["GenerateMac", "VerifyMac"] {
            let body = with(verify.clone(), &[("MacAlgorithm", json!(unfit))]);
            let body = if operation == "GenerateMac" { without(body, "Mac") } else { body };
            let message = format!("Algorithm {unfit} is incompatible with key spec {spec}.");
            refused(&service, operation, &body, USAGE, &message);
        }
    }
}

#[test]
fn two_keys_agree_and_no_other_public_key_is_taken() {
    let service = shared();
    for (spec, width) in [("ECC_NIST_P256", 32), ("ECC_NIST_P384", 48), ("ECC_NIST_P521", 66)] {
        let [one, other] = [(); 2].map(|()| new_key_of(&service, spec, "KEY_AGREEMENT"));
        let public = |key: &Key| bytes(&ok(&service, "GetPublicKey", &json!({ "KeyId": key.id }))["PublicKey"]);
        let derive = |key: &Key, peer: &[u8]| json!({ "KeyId": key.id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(peer) });
        let made = ok(&service, "DeriveSharedSecret", &derive(&one, &public(&other)));
        let expected = json!({
            "KeyId": one.arn, "SharedSecret": made["SharedSecret"], "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS",
        });
        assert_eq!(made, expected);
        assert_eq!(bytes(&made["SharedSecret"]).len(), width);
        assert_eq!(
            ok(&service, "DeriveSharedSecret", &derive(&other, &public(&one)))["SharedSecret"],
            made["SharedSecret"]
        );

        let stranger = if spec == "ECC_NIST_P256" { "ECC_NIST_P384" } else { "ECC_NIST_P256" };
        let stranger = public(&new_key_of(&service, stranger, "KEY_AGREEMENT"));
        let good = public(&other);
        let changed = |at: usize, to: u8| {
            let mut spki = good.clone();
            spki[at] ^= to;
            spki
        };
        let compressed = [&good[..good.len() - 2 * width - 1], &[2], &good[good.len() - 2 * width..][..width]].concat();
        let wrong = [
            stranger,
            // Not on the curve, by one bit of y, of x, and with both zero: what an invalid-curve attack sends.
            changed(good.len() - 1, 1),
            changed(good.len() - width - 1, 1),
            [&good[..good.len() - 2 * width], &vec![0; 2 * width][..]].concat(),
            // The point at infinity, a compressed one, the bare point, another algorithm, something after it.
            [&good[..good.len() - 2 * width - 1], &[0]].concat(),
            compressed,
            good[good.len() - 2 * width - 1..].to_vec(),
            changed(8, 1),
            [&good[..], &[0]].concat(),
            vec![0],
        ];
        let message = format!("The public key is not a DER-encoded X.509 public key for key spec {spec}.");
        for (number, peer) in wrong.iter().enumerate() {
            for dry_run in [false, true] {
                let body = with(derive(&one, peer), &[("DryRun", json!(dry_run))]);
                let answer = call(&service, "DeriveSharedSecret", &body);
                assert_eq!(answer.message(), message, "{spec} {number}");
                is_refusal(&answer, VALIDATION, &message);
            }
        }
        let recipient = with(derive(&one, &good), &[("Recipient", json!({ "AttestationDocument": "AA==" }))]);
        let message = "Recipient is not supported by this service.";
        refused(&service, "DeriveSharedSecret", &recipient, "UnsupportedOperationException", message);
    }
}

#[test]
fn rsa_encrypts_as_much_as_the_padding_leaves_room_for() {
    let service = shared();
    let key = &encrypting(&service);
    for (algorithm, max) in [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)] {
        for len in [1, max] {
            let body = to_rsa(key, algorithm, &vec![7; len]);
            let (one, other) = (ok(&service, "Encrypt", &body), ok(&service, "Encrypt", &body));
            assert_ne!(one["CiphertextBlob"], other["CiphertextBlob"]);
            let expected =
                json!({ "CiphertextBlob": one["CiphertextBlob"], "KeyId": key.arn, "EncryptionAlgorithm": algorithm });
            assert_eq!(one, expected);
            assert_eq!(bytes(&one["CiphertextBlob"]).len(), 256);
            let back = ok(&service, "Decrypt", &of_rsa(key, algorithm, &one["CiphertextBlob"]));
            let expected =
                json!({ "KeyId": key.arn, "Plaintext": base64(&vec![7; len]), "EncryptionAlgorithm": algorithm });
            assert_eq!(back, expected);
        }
        let message =
            format!("Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {max} bytes.");
        for dry_run in [false, true] {
            let body = with(to_rsa(key, algorithm, &vec![7; max + 1]), &[("DryRun", json!(dry_run))]);
            refused(&service, "Encrypt", &body, VALIDATION, &message);
        }
    }
}

/// There is one answer to every ciphertext that cannot be decrypted, whatever is wrong with it: no byte of the answer
/// tells what.
#[test]
fn every_ciphertext_that_rsa_cannot_decrypt_has_the_same_answer() {
    let service = shared();
    let key = &encrypting(&service);
    let other = new_key_of(&service, "RSA_2048", "ENCRYPT_DECRYPT");
    let mut answers = Vec::new();
    for algorithm in OAEP {
        let good = bytes(&ok(&service, "Encrypt", &to_rsa(key, algorithm, b"secret"))["CiphertextBlob"]);
        let mut changed = good.clone();
        changed[255] ^= 1;
        let of_other = bytes(&ok(&service, "Encrypt", &to_rsa(&other, algorithm, b"secret"))["CiphertextBlob"]);
        let otherwise = if *algorithm == OAEP[0] { OAEP[1] } else { OAEP[0] };
        let by_other = bytes(&ok(&service, "Encrypt", &to_rsa(key, otherwise, b"secret"))["CiphertextBlob"]);
        let one = [&[0; 255][..], &[1]].concat();
        let shorter = good[..255].to_vec();
        let longer = [&[0], &good[..]].concat();
        let symmetric = STANDARD.decode(encrypted(&service, &new_key(&service), b"secret")).unwrap();
        let ciphertexts = [
            changed,
            of_other,
            by_other,
            one,
            shorter,
            longer,
            symmetric,
            vec![0; 256],
            vec![0xff; 256],
            vec![7; 256],
            vec![7; 1],
            vec![7; 6144],
        ];
        for ciphertext in ciphertexts {
            let answer = call(&service, "Decrypt", &of_rsa(key, algorithm, &json!(base64(&ciphertext))));
            is_refusal(&answer, CIPHERTEXT, "");
            let headers: Vec<_> =
                answer.headers.iter().filter(|(name, _)| name != "x-amzn-requestid" && name != "date").collect();
            let event = event(&service, &answer);
            let told = json!({ "code": event["errorCode"], "message": event["errorMessage"] });
            answers.push((answer.status, answer.body.clone(), format!("{headers:?}"), told.to_string()));
        }
        let good = of_rsa(key, algorithm, &json!(base64(&good)));
        assert_eq!(bytes(&ok(&service, "Decrypt", &good)["Plaintext"]), b"secret");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn the_key_and_the_algorithm_of_an_asymmetric_ciphertext_must_be_named() {
    let service = shared();
    let (key, symmetric) = (&encrypting(&service), new_key(&service));
    let rsa_blob = ok(&service, "Encrypt", &to_rsa(key, OAEP[1], b"x"))["CiphertextBlob"].clone();
    let blob = encrypted(&service, &symmetric, b"x");
    let incompatible =
        |algorithm: &str, spec: &str| format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
    let default = incompatible("SYMMETRIC_DEFAULT", "RSA_2048");
    let incorrect = "The key ID in the request does not identify a CMK that can perform this operation.";
    for (operation, body, error, message) in [
        ("Encrypt", json!({ "KeyId": key.id, "Plaintext": "AA==" }), USAGE, default.clone()),
        ("Encrypt", to_rsa(key, "SM2PKE", b"x"), USAGE, incompatible("SM2PKE", "RSA_2048")),
        ("Encrypt", to_rsa(&symmetric, OAEP[0], b"x"), USAGE, incompatible(OAEP[0], "SYMMETRIC_DEFAULT")),
        ("Decrypt", json!({ "KeyId": key.id, "CiphertextBlob": rsa_blob }), USAGE, default.clone()),
        ("Decrypt", json!({ "CiphertextBlob": rsa_blob }), CIPHERTEXT, String::new()),
        ("Decrypt", without(of_rsa(key, OAEP[1], &rsa_blob), "KeyId"), VALIDATION, "KeyId is required.".into()),
        ("Decrypt", of_rsa(&symmetric, OAEP[1], &rsa_blob), USAGE, incompatible(OAEP[1], "SYMMETRIC_DEFAULT")),
        (
            "Decrypt",
            json!({ "CiphertextBlob": blob, "EncryptionAlgorithm": OAEP[1] }),
            USAGE,
            incompatible(OAEP[1], "SYMMETRIC_DEFAULT"),
        ),
        // The ciphertext's own word about its key comes first.
        ("Decrypt", json!({ "KeyId": key.id, "CiphertextBlob": blob }), "IncorrectKeyException", incorrect.into()),
        (
            "Decrypt",
            json!({ "KeyId": signing(&service).id, "CiphertextBlob": blob }),
            "IncorrectKeyException",
            incorrect.into(),
        ),
        (
            "Decrypt",
            with(
                of_rsa(key, OAEP[1], &rsa_blob),
                &[("DryRun", json!(true)), ("DryRunModifiers", json!(["IGNORE_CIPHERTEXT"]))],
            ),
            DRY,
            WOULD_SUCCEED.into(),
        ),
        (
            "Decrypt",
            json!({ "KeyId": key.id, "DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"] }),
            USAGE,
            default.clone(),
        ),
        (
            "ReEncrypt",
            json!({ "CiphertextBlob": rsa_blob, "SourceEncryptionAlgorithm": OAEP[1], "DestinationKeyId": symmetric.id }),
            VALIDATION,
            "SourceKeyId is required.".into(),
        ),
        ("ReEncrypt", json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id }), USAGE, default.clone()),
        (
            "GenerateDataKey",
            json!({ "KeyId": key.id, "KeySpec": "AES_256" }),
            USAGE,
            "You cannot generate a data key with an asymmetric CMK".into(),
        ),
    ] {
        refused(&service, operation, &body, error, &message);
    }
}

#[test]
fn an_asymmetric_key_takes_no_encryption_context() {
    let service = shared();
    let (key, symmetric) = (&encrypting(&service), new_key(&service));
    let rsa_blob = ok(&service, "Encrypt", &to_rsa(key, OAEP[1], b"x"))["CiphertextBlob"].clone();
    let context = json!({ "a": "b" });
    let to_symmetric = json!({
        "CiphertextBlob": rsa_blob, "SourceKeyId": key.id, "SourceEncryptionAlgorithm": OAEP[1], "DestinationKeyId": symmetric.id,
    });
    let message = "An encryption context is not supported for key spec RSA_2048.";
    for (operation, member, body) in [
        ("Encrypt", "EncryptionContext", to_rsa(key, OAEP[1], b"x")),
        ("Decrypt", "EncryptionContext", of_rsa(key, OAEP[1], &rsa_blob)),
        ("ReEncrypt", "SourceEncryptionContext", to_symmetric.clone()),
    ] {
        refused(&service, operation, &with(body.clone(), &[(member, context.clone())]), VALIDATION, message);
        ok(&service, operation, &with(body, &[(member, json!({}))]));
    }
    ok(&service, "ReEncrypt", &with(to_symmetric, &[("DestinationEncryptionContext", context)]));
}

/// From symmetric and from RSA, to symmetric and to RSA; the answer tells the materials of symmetric keys only.
#[test]
fn re_encrypt_goes_all_four_ways() {
    let service = shared();
    let symmetric = [(); 2].map(|()| new_key(&service));
    let rsa = [encrypting(&service), new_key_of(&service, "RSA_3072", "ENCRYPT_DECRYPT")];
    let material = |key: &Key| {
        ok(&service, "DescribeKey", &json!({ "KeyId": key.id }))["KeyMetadata"]["CurrentKeyMaterialId"].clone()
    };
    for (from, source_algorithm) in [(&symmetric[0], "SYMMETRIC_DEFAULT"), (&rsa[0], OAEP[0])] {
        for (to, algorithm) in [(&symmetric[1], "SYMMETRIC_DEFAULT"), (&rsa[1], OAEP[1])] {
            let blob = ok(&service, "Encrypt", &to_rsa(from, source_algorithm, b"plaintext"))["CiphertextBlob"].clone();
            let body = json!({
                "CiphertextBlob": blob,
                "SourceKeyId": from.id,
                "SourceEncryptionAlgorithm": source_algorithm,
                "DestinationKeyId": to.id,
                "DestinationEncryptionAlgorithm": algorithm,
            });
            refused(&service, "ReEncrypt", &with(body.clone(), &[("DryRun", json!(true))]), DRY, WOULD_SUCCEED);
            let moved = ok(&service, "ReEncrypt", &body);
            let mut expected = json!({
                "CiphertextBlob": moved["CiphertextBlob"],
                "SourceKeyId": from.arn,
                "KeyId": to.arn,
                "SourceEncryptionAlgorithm": source_algorithm,
                "DestinationEncryptionAlgorithm": algorithm,
            });
            for (key, name, algorithm) in
                [(from, "SourceKeyMaterialId", source_algorithm), (to, "DestinationKeyMaterialId", algorithm)]
            {
                if algorithm == "SYMMETRIC_DEFAULT" {
                    expected[name] = material(key);
                }
            }
            assert_eq!(moved, expected);
            let back = ok(&service, "Decrypt", &of_rsa(to, algorithm, &moved["CiphertextBlob"]));
            assert_eq!(bytes(&back["Plaintext"]), b"plaintext");
        }
    }
    let long = encrypted(&service, &symmetric[0], &[7; 319]);
    let body =
        json!({ "CiphertextBlob": long, "DestinationKeyId": rsa[1].id, "DestinationEncryptionAlgorithm": OAEP[1] });
    let message = "Algorithm RSAES_OAEP_SHA_256 and key spec RSA_3072 cannot encrypt data larger than 318 bytes.";
    refused(&service, "ReEncrypt", &body, VALIDATION, message);
}

#[test]
fn a_key_is_used_for_what_it_is_for_alone() {
    let service = shared();
    let keys = [
        ("ENCRYPT_DECRYPT", new_key(&service)),
        ("ENCRYPT_DECRYPT", encrypting(&service)),
        ("SIGN_VERIFY", new_key_of(&service, "ECC_NIST_P256", "SIGN_VERIFY")),
        ("KEY_AGREEMENT", new_key_of(&service, "ECC_NIST_P256", "KEY_AGREEMENT")),
        ("GENERATE_VERIFY_MAC", mac_key(&service, "HMAC_256")),
    ];
    for (usage, key) in &keys {
        for (wanted, operation, body) in requests(key) {
            if wanted == *usage {
                continue;
            }
            let message = format!("{} key usage is {usage} which is not valid for {operation}.", key.arn);
            refused(&service, operation, &with(body.clone(), &[("DryRun", json!(true))]), USAGE, &message);
            refused(&service, operation, &body, USAGE, &message);
        }
    }
}

#[test]
fn a_dry_run_does_everything_but_the_work() {
    let service = shared();
    for (operation, key, body) in good_requests(&service) {
        let before = ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id }));
        let answer = call(&service, operation, &with(body.clone(), &[("DryRun", json!(true))]));
        is_refusal(&answer, DRY, WOULD_SUCCEED);
        let event = event(&service, &answer);
        assert_eq!((&event["errorCode"], &event["requestParameters"]["dryRun"]), (&json!(DRY), &json!(true)));
        assert_eq!(ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id })), before, "{operation}");
        for wrong in [("KeyId", json!("fake-key-id")), ("GrantTokens", json!(["token"])), ("GrantTokens", json!([""]))]
        {
            let wet = with(body.clone(), &[wrong]);
            let (wet, dry) =
                (call(&service, operation, &wet), call(&service, operation, &with(wet, &[("DryRun", json!(true))])));
            assert_ne!(wet.status, 200);
            assert_eq!(dry.json(), wet.json(), "{operation}");
        }
    }
}

#[test]
fn every_use_is_told_and_the_record_holds_no_secret() {
    let service = shared();
    for (operation, key, body) in good_requests(&service) {
        let answer = call(&service, operation, &body);
        let output = succeeded(&answer, operation);
        let usage = ok(&service, "GetKeyLastUsage", &json!({ "KeyId": key.id }))["KeyLastUsage"].clone();
        let event = event(&service, &answer);
        assert_eq!((&usage["Operation"], &usage["CloudTrailEventId"]), (&json!(operation), &event["eventID"]));
        assert_eq!(usage["KmsRequestId"], answer.header("x-amzn-requestid").unwrap());
        assert_eq!((&event["eventName"], &event["readOnly"]), (&json!(operation), &json!(true)));
        assert_eq!(event["resources"][0]["ARN"], key.arn.as_str());
        assert_eq!(event["responseElements"], Value::Null);
        let text = event.to_string();
        for (name, value) in body.as_object().unwrap().iter().chain(output.as_object().unwrap()) {
            let blob = ["Message", "Signature", "Mac", "PublicKey", "SharedSecret", "Plaintext", "CiphertextBlob"];
            assert!(!blob.contains(&name.as_str()) || !text.contains(value.as_str().unwrap()), "{operation}: {name}");
        }
        if operation == "Sign" || operation == "Verify" {
            let expected = json!({ "keyId": key.id, "messageType": "RAW", "signingAlgorithm": "ECDSA_SHA_256" });
            assert_eq!(event["requestParameters"], expected);
        }
    }
}

#[test]
fn every_operation_takes_all_four_forms_of_a_key_id() {
    let service = shared();
    for (operation, key, body) in good_requests(&service) {
        let alias = new_alias("asymmetric");
        ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
        let alias_arn = format!("arn:aws:kms:us-east-1:111122223333:{alias}");
        for form in [&key.id, &key.arn, &alias, &alias_arn] {
            let answer = ok(&service, operation, &with(body.clone(), &[("KeyId", json!(form))]));
            assert_eq!(answer["KeyId"], key.arn.as_str(), "{operation} by {form}");
        }
    }
}

#[test]
fn an_alias_moves_between_keys_of_one_type_and_usage_only() {
    let service = shared();
    let keys = [
        ("symmetric", new_key(&service)),
        ("symmetric", new_key(&service)),
        ("RSA to encrypt", encrypting(&service)),
        ("asymmetric to sign", signing(&service)),
        ("asymmetric to sign", new_key_of(&service, "ECC_NIST_P256", "SIGN_VERIFY")),
        ("to agree", new_key_of(&service, "ECC_NIST_P256", "KEY_AGREEMENT")),
        ("HMAC", mac_key(&service, "HMAC_256")),
        ("HMAC", mac_key(&service, "HMAC_512")),
    ];
    for (from_kind, from) in &keys {
        for (to_kind, to) in &keys {
            let alias = new_alias("typed");
            ok(&service, "CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": from.id }));
            let answer = call(&service, "UpdateAlias", &json!({ "AliasName": alias, "TargetKeyId": to.id }));
            let target = ok(&service, "DescribeKey", &json!({ "KeyId": alias }))["KeyMetadata"]["Arn"].clone();
            if from_kind == to_kind {
                assert_eq!((answer.status, &target), (200, &json!(to.arn)), "{from_kind} to {to_kind}");
            } else {
                assert_eq!(
                    (answer.error(), &target),
                    (VALIDATION.into(), &json!(from.arn)),
                    "{from_kind} to {to_kind}"
                );
                assert!(answer.message().starts_with("Alias cannot be changed from a key with KeySpec "));
            }
            ok(&service, "DeleteAlias", &json!({ "AliasName": alias }));
        }
    }
}

#[test]
fn a_grant_permits_what_its_kind_of_key_does_and_no_more() {
    let service = shared();
    let of_every_key = ["CreateGrant", "DescribeKey", "RetireGrant"];
    let rsa = ["Decrypt", "Encrypt", "GetPublicKey", "ReEncryptFrom", "ReEncryptTo"];
    for (spec, usage, key, fitting) in [
        ("RSA_2048", "ENCRYPT_DECRYPT", encrypting(&service), &rsa[..]),
        ("RSA_2048", "SIGN_VERIFY", signing(&service), &["GetPublicKey", "Sign", "Verify"]),
        (
            "ECC_NIST_P384",
            "KEY_AGREEMENT",
            new_key_of(&service, "ECC_NIST_P384", "KEY_AGREEMENT"),
            &["DeriveSharedSecret", "GetPublicKey"],
        ),
        ("HMAC_384", "GENERATE_VERIFY_MAC", mac_key(&service, "HMAC_384"), &["GenerateMac", "VerifyMac"]),
    ] {
        let grant = |operations: Value| json!({ "KeyId": key.id, "GranteePrincipal": "111122223333", "Operations": operations });
        for operation in hsm_kms::model::GrantOperation::NAMES {
            let body = grant(json!([operation, "DescribeKey"]));
            if fitting.contains(operation) || of_every_key.contains(operation) {
                ok(&service, "CreateGrant", &body);
            } else {
                let message =
                    format!("Grant operation {operation} is not compatible with KeySpec {spec} and KeyUsage {usage}.");
                refused(&service, "CreateGrant", &body, VALIDATION, &message);
            }
        }
        for kind in ["EncryptionContextEquals", "EncryptionContextSubset"] {
            let body = with(grant(json!([fitting[0]])), &[("Constraints", json!({ kind: { "a": "b" } }))]);
            let message = format!("Encryption context grant constraints are not compatible with KeySpec {spec}.");
            refused(&service, "CreateGrant", &body, VALIDATION, &message);
        }
    }
}

/// A good request of each operation that these keys have and that is a use, with its key.
fn good_requests(service: &Service) -> Vec<(&'static str, Key, Value)> {
    let sign = new_key_of(service, "ECC_NIST_P256", "SIGN_VERIFY");
    let agree = new_key_of(service, "ECC_NIST_P256", "KEY_AGREEMENT");
    let mac = mac_key(service, "HMAC_256");
    let rsa = &encrypting(service);
    let mut good = Vec::new();
    for (usage, operation, body) in [&sign, &agree, &mac].into_iter().flat_map(requests) {
        let key = match usage {
            "SIGN_VERIFY" => &sign,
            "KEY_AGREEMENT" => &agree,
            "GENERATE_VERIFY_MAC" => &mac,
            _ => continue,
        };
        if body["KeyId"] != key.id.as_str() {
            continue;
        }
        let body = match operation {
            "Verify" => with(
                body.clone(),
                &[("Signature", ok(service, "Sign", &without(body, "Signature"))["Signature"].clone())],
            ),
            "VerifyMac" => {
                with(body.clone(), &[("Mac", ok(service, "GenerateMac", &without(body, "Mac"))["Mac"].clone())])
            }
            "DeriveSharedSecret" => with(
                body,
                &[("PublicKey", ok(service, "GetPublicKey", &json!({ "KeyId": key.id }))["PublicKey"].clone())],
            ),
            _ => body,
        };
        good.push((operation, key.clone(), body));
    }
    let message = uuid::Uuid::new_v4().into_bytes();
    let blob = ok(service, "Encrypt", &to_rsa(rsa, OAEP[1], &message))["CiphertextBlob"].clone();
    // The other tests use this key too, so that its last use is not told here.
    let own = new_key_of(service, "RSA_2048", "ENCRYPT_DECRYPT");
    let own_blob = ok(service, "Encrypt", &to_rsa(&own, OAEP[0], &message))["CiphertextBlob"].clone();
    assert_ne!(own_blob, blob);
    good.push(("Encrypt", own.clone(), to_rsa(&own, OAEP[0], &message)));
    good.push(("Decrypt", own.clone(), of_rsa(&own, OAEP[0], &own_blob)));
    good
}

/// A request of each cryptographic operation that these keys can or cannot have, and the usage that it needs.
fn requests(key: &Key) -> Vec<(&'static str, &'static str, Value)> {
    let message = base64(uuid::Uuid::new_v4().as_bytes());
    let sign = json!({ "KeyId": key.id, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256" });
    let mac = json!({ "KeyId": key.id, "Message": message, "MacAlgorithm": "HMAC_SHA_256" });
    vec![
        ("SIGN_VERIFY", "Sign", sign.clone()),
        ("SIGN_VERIFY", "Verify", with(sign, &[("Signature", json!("AA=="))])),
        ("GENERATE_VERIFY_MAC", "GenerateMac", mac.clone()),
        ("GENERATE_VERIFY_MAC", "VerifyMac", with(mac, &[("Mac", json!("AA=="))])),
        (
            "KEY_AGREEMENT",
            "DeriveSharedSecret",
            json!({ "KeyId": key.id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AA==" }),
        ),
        ("ENCAPSULATE_DECAPSULATE", "Encapsulate", json!({ "KeyId": key.id, "EncapsulationAlgorithm": "ML_KEM" })),
        (
            "ENCAPSULATE_DECAPSULATE",
            "Decapsulate",
            json!({ "KeyId": key.id, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": "AA==" }),
        ),
        ("ENCRYPT_DECRYPT", "Encrypt", json!({ "KeyId": key.id, "Plaintext": message })),
        ("ENCRYPT_DECRYPT", "GenerateDataKey", json!({ "KeyId": key.id, "KeySpec": "AES_256" })),
    ]
}

/// A key for signatures that the tests share, since RSA takes long to make.
fn signing(service: &Service) -> Key {
    of_all(service, "SIGN_VERIFY")
}

/// A key for encryption that the tests share.
fn encrypting(service: &Service) -> Key {
    of_all(service, "ENCRYPT_DECRYPT")
}

/// The one key with RSA-2048 and this usage that the tests of a service share.
fn of_all(service: &Service, usage: &'static str) -> Key {
    type Keys = HashMap<(u32, &'static str), Key>;
    static KEYS: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    keys.entry((service.pid(), usage)).or_insert_with(|| new_key_of(service, "RSA_2048", usage)).clone()
}

fn mac_key(service: &Service, spec: &str) -> Key {
    new_key_of(service, spec, "GENERATE_VERIFY_MAC")
}

fn to_rsa(key: &Key, algorithm: &str, plaintext: &[u8]) -> Value {
    json!({ "KeyId": key.id, "Plaintext": base64(plaintext), "EncryptionAlgorithm": algorithm })
}

fn of_rsa(key: &Key, algorithm: &str, ciphertext: &Value) -> Value {
    json!({ "KeyId": key.id, "CiphertextBlob": ciphertext, "EncryptionAlgorithm": algorithm })
}

fn with(mut body: Value, members: &[(&str, Value)]) -> Value {
    members.iter().for_each(|(name, value)| body[*name] = value.clone());
    body
}

fn without(mut body: Value, member: &str) -> Value {
    body.as_object_mut().unwrap().remove(member);
    body
}
