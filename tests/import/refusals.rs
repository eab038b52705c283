//! What is refused, in which words, and that nothing of it stays on the token.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::*;

const UNSUPPORTED: &str = "UnsupportedOperationException";
const INCORRECT: &str = "IncorrectKeyMaterialException";
const INVALID_TOKEN: &str = "InvalidImportTokenException";
const NOT_FITTING: &str = "The key material does not fit the key spec of the KMS key.";

#[test]
fn wrapping_keys_that_aws_does_not_give() {
    let service = shared();
    let symmetric = symmetric_key(&service);
    let rsa = new_key(&service, "RSA_2048", "SIGN_VERIFY");
    let p521 = new_key(&service, "ECC_NIST_P521", "SIGN_VERIFY");
    let own = ok(&service, "CreateKey", &json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let pair = |algorithm: &str, spec: &str, key: &str| {
        format!("WrappingAlgorithm {algorithm} with WrappingKeySpec {spec} is not supported for KeySpec {key}.")
    };
    let [oaep1, oaep256] = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];
    let not_supported = |algorithm: &str| format!("WrappingAlgorithm {algorithm} is not supported.");
    let rows = [
        (&symmetric, "RSAES_PKCS1_V1_5", "RSA_2048", not_supported("RSAES_PKCS1_V1_5")),
        (&symmetric, "SM2PKE", "SM2", not_supported("SM2PKE")),
        (&symmetric, oaep256, "SM2", "WrappingKeySpec SM2 is not supported.".into()),
        (&rsa, oaep1, "RSA_4096", pair(oaep1, "RSA_4096", "RSA_2048")),
        (&rsa, oaep256, "RSA_2048", pair(oaep256, "RSA_2048", "RSA_2048")),
        (&p521, oaep1, "RSA_2048", pair(oaep1, "RSA_2048", "ECC_NIST_P521")),
        (&p521, oaep256, "RSA_2048", pair(oaep256, "RSA_2048", "ECC_NIST_P521")),
        (&own, oaep256, "RSA_2048", format!("{} origin is AWS_KMS which is not valid for this operation.", arn(&own))),
    ];
    for (key, algorithm, spec, message) in rows {
        let body = json!({ "KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": spec });
        refused(&service, "GetParametersForImport", &body, UNSUPPORTED, &message);
    }
    let body = json!({ "KeyId": symmetric, "WrappingAlgorithm": "RSA_OAEP", "WrappingKeySpec": "RSA_1024" });
    let answer = call(&service, "GetParametersForImport", &body);
    assert_eq!((answer.status, answer.error().as_str()), (400, "ValidationException"));
    assert!(answer.message().starts_with("2 validation errors detected: "), "{}", answer.message());
}

#[test]
fn dates_and_members_that_do_not_go_together() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let (key, hmac) = (symmetric_key(&service), new_key(&service, "HMAC_256", "GENERATE_VERIFY_MAC"));
    let material = oracle.random(32);
    let requests = [&key, &hmac]
        .map(|key| parameters(&service, key, "RSAES_OAEP_SHA_256", "RSA_2048").import(&mut oracle, key, &material));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let (model, expires) = ("ExpirationModel", json!("KEY_MATERIAL_EXPIRES"));
    let id = json!("0a".repeat(32));
    let only_symmetric = |name: &str| format!("{name} is only supported for symmetric encryption keys.");
    let future = "ValidTo must be in the future".to_owned();
    let rows: Vec<(usize, Vec<(&str, Value)>, String)> = vec![
        (0, vec![(model, expires.clone())], MISSING.into()),
        (0, vec![(model, Value::Null)], MISSING.into()),
        (0, vec![("ValidTo", json!(now + 60))], SUPERFLUOUS.into()),
        (0, vec![(model, expires.clone()), ("ValidTo", json!(now - 1))], future.clone()),
        (0, vec![(model, expires.clone()), ("ValidTo", json!(0))], future.clone()),
        (0, vec![(model, expires.clone()), ("ValidTo", json!(-1e300))], future),
        (0, vec![(model, expires.clone()), ("ValidTo", json!(now + 365 * 86_400 + 60))], TOO_LATE.into()),
        (0, vec![(model, expires), ("ValidTo", json!(1e300))], TOO_LATE.into()),
        (
            0,
            vec![("ImportType", json!("NEW_KEY_MATERIAL")), ("KeyMaterialId", id.clone())],
            "KeyMaterialId cannot be specified if the ImportType is NEW_KEY_MATERIAL".into(),
        ),
        (1, vec![("ImportType", json!("NEW_KEY_MATERIAL"))], only_symmetric("ImportType")),
        (1, vec![("KeyMaterialDescription", json!("ours"))], only_symmetric("KeyMaterialDescription")),
        (1, vec![("KeyMaterialId", id)], only_symmetric("KeyMaterialId")),
    ];
    for (which, members, message) in rows {
        let mut body = requests[which].clone();
        members.iter().for_each(|(name, value)| body[*name] = value.clone());
        refused(&service, "ImportKeyMaterial", &body, "ValidationException", &message);
    }
    assert_eq!((state(&service, &key), state(&service, &hmac)), ("PendingImport".into(), "PendingImport".into()));
    // As far ahead as it goes.
    let mut body = requests[0].clone();
    (body["ExpirationModel"], body["ValidTo"]) = (Value::Null, json!(now as f64 + 364.9 * 86_400.0));
    ok(&service, "ImportKeyMaterial", &body);
    assert_eq!(metadata(&service, &key)["ValidTo"].as_f64(), body["ValidTo"].as_f64());
    ok(&service, "ImportKeyMaterial", &requests[1]);
}

#[test]
fn import_tokens_of_something_else() {
    let service = Service::start_with(&["--region", "us-east-1", "--region", "eu-west-1"]);
    let mut oracle = Oracle::new();
    let material = oracle.random(32);
    let (key, other) = (symmetric_key(&service), symmetric_key(&service));
    let mine = parameters(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
    let theirs = parameters(&service, &other, "RSAES_OAEP_SHA_256", "RSA_2048");
    let request = mine.import(&mut oracle, &key, &material);
    let message = "The import token is invalid or is associated with a different KMS key.";
    let with_token = |token: &str| {
        let mut body = request.clone();
        body["ImportToken"] = json!(token);
        body
    };
    refused(&service, "ImportKeyMaterial", &with_token(&theirs.token), INVALID_TOKEN, message);
    let token = bytes(&json!(mine.token));
    for at in (0..token.len()).step_by(7) {
        let mut forged = token.clone();
        forged[at] ^= 1;
        refused(&service, "ImportKeyMaterial", &with_token(&base64(&forged)), INVALID_TOKEN, message);
    }
    for forged in [&token[..token.len() - 1], &token[..17], &token[..1], &[0; 6144]] {
        refused(&service, "ImportKeyMaterial", &with_token(&base64(forged)), INVALID_TOKEN, message);
    }
    // Another service's token, whose key has another store behind it.
    let stranger = Service::start();
    let foreign = parameters(&stranger, &symmetric_key(&stranger), "RSAES_OAEP_SHA_256", "RSA_2048");
    refused(&service, "ImportKeyMaterial", &with_token(&foreign.token), INVALID_TOKEN, message);
    // Another Region's.
    let abroad = |operation: &str, body: &Value| {
        Request { region: "eu-west-1".into(), ..Request::kms(operation, body) }.send(&service).json()
    };
    let made = abroad("CreateKey", &json!({ "Origin": "EXTERNAL" }));
    let body = json!({
        "KeyId": made["KeyMetadata"]["KeyId"], "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048",
    });
    let token = abroad("GetParametersForImport", &body)["ImportToken"].as_str().unwrap().to_owned();
    refused(&service, "ImportKeyMaterial", &with_token(&token), INVALID_TOKEN, message);
    // A public key and a token from two answers.
    let again = parameters(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
    refused(&service, "ImportKeyMaterial", &with_token(&again.token), "InvalidCiphertextException", "");
    assert_eq!(state(&service, &key), "PendingImport");
    assert!(labels(&service, "hsm-kms/imported/").is_empty());
    ok(&service, "ImportKeyMaterial", &request);
    // Good for a day, and for the same key: once more.
    ok(&service, "ImportKeyMaterial", &request);
    assert_eq!(labels(&service, "hsm-kms/imported/").len(), 1);
}

#[test]
fn ciphertexts_that_are_not_what_was_wrapped() {
    let (service, mut oracle) = (Service::start(), Oracle::new());
    let material = oracle.random(32);
    for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"] {
        let key = symmetric_key(&service);
        let parameters = parameters(&service, &key, algorithm, "RSA_2048");
        let request = parameters.import(&mut oracle, &key, &material);
        let wrapped = bytes(&request["EncryptedKeyMaterial"]);
        let with = |bytes: &[u8]| {
            let mut body = request.clone();
            body["EncryptedKeyMaterial"] = json!(base64(bytes));
            body
        };
        for at in [0, 100, 255, wrapped.len() - 20, wrapped.len() - 1] {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            refused(&service, "ImportKeyMaterial", &with(&changed), "InvalidCiphertextException", "");
        }
        let size = "Invalid encrypted key size.";
        for short in [&wrapped[..255], &wrapped[..1]] {
            refused(&service, "ImportKeyMaterial", &with(short), "ValidationException", size);
        }
        let long = [&wrapped[..], &[0; 8]].concat();
        match algorithm.starts_with("RSAES") {
            true => refused(&service, "ImportKeyMaterial", &with(&long), "ValidationException", size),
            false => {
                refused(&service, "ImportKeyMaterial", &with(&long), "InvalidCiphertextException", "");
                refused(&service, "ImportKeyMaterial", &with(&wrapped[..256]), "ValidationException", size);
                let uneven = &wrapped[..wrapped.len() - 1];
                refused(&service, "ImportKeyMaterial", &with(uneven), "InvalidCiphertextException", "");
            }
        }
        // Wrapped by the other hash, or the other way.
        let other = if algorithm.ends_with("_1") { "RSAES_OAEP_SHA_256" } else { "RSAES_OAEP_SHA_1" };
        let otherwise = oracle.wrap(other, &parameters.public_key, &material);
        let answer = call(&service, "ImportKeyMaterial", &with(&bytes(&json!(otherwise))));
        let expected =
            if algorithm.starts_with("RSAES") { "InvalidCiphertextException" } else { "ValidationException" };
        assert_eq!((answer.status, answer.error().as_str()), (400, expected));
        assert_eq!(state(&service, &key), "PendingImport");
        assert!(labels(&service, "hsm-kms/imported/").is_empty(), "{algorithm}");
    }
}

#[test]
fn material_of_another_kind() {
    let (service, mut oracle) = (Service::start(), Oracle::new());
    let [p256, p384, k256, rsa2048, rsa3072, edwards] =
        ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_SECG_P256K1", "RSA_2048", "RSA_3072", "ECC_NIST_EDWARDS25519"]
            .map(|spec| oracle.pair(spec).private);
    let random = |oracle: &mut Oracle, len: usize| oracle.random(len);
    let secrets: Vec<Vec<u8>> = [1, 16, 24, 31, 33, 48, 64].into_iter().map(|len| random(&mut oracle, len)).collect();
    let of_32 = oracle.random(32);
    let mut cut = p256.clone();
    cut.pop();
    let mut other_scalar = p256.clone();
    // The private number without the public point that it comes with.
    other_scalar[40] ^= 1;
    let mut rows: Vec<(&str, &str, Vec<&[u8]>)> = vec![
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", secrets.iter().map(Vec::as_slice).collect()),
        ("HMAC_224", "GENERATE_VERIFY_MAC", vec![&secrets[3], &of_32]),
        ("HMAC_256", "GENERATE_VERIFY_MAC", vec![&secrets[3], &secrets[4], &p256]),
        ("HMAC_512", "GENERATE_VERIFY_MAC", vec![&secrets[5], &of_32]),
        ("ECC_NIST_P256", "SIGN_VERIFY", vec![&p384, &k256, &edwards, &of_32, &cut, &other_scalar]),
        ("ECC_NIST_P384", "KEY_AGREEMENT", vec![&p256, &rsa2048]),
        ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", vec![&p256, &of_32]),
    ];
    rows.push(("RSA_2048", "SIGN_VERIFY", vec![&rsa3072, &p256, &of_32]));
    for (spec, usage, materials) in rows {
        let key = new_key(&service, spec, usage);
        // On the host, and as far as it can on the token.
        for algorithm in ["RSA_AES_KEY_WRAP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1"] {
            let parameters = parameters(&service, &key, algorithm, "RSA_2048");
            for material in &materials {
                let request = parameters.import(&mut oracle, &key, material);
                let answer = call(&service, "ImportKeyMaterial", &request);
                let told = (answer.status, answer.error(), answer.message());
                let what = format!("{spec} by {algorithm}, {} bytes", material.len());
                assert_eq!(told, (400, INCORRECT.to_owned(), NOT_FITTING.to_owned()), "{what}");
            }
        }
        assert_eq!(state(&service, &key), "PendingImport");
        assert_eq!(metadata(&service, &key).get("ExpirationModel"), None);
    }
    assert!(labels(&service, "hsm-kms/imported/").is_empty());
}

#[test]
fn material_that_is_not_there_to_be_deleted() {
    let (service, mut oracle) = (shared(), Oracle::new());
    let key = symmetric_key(&service);
    // Without effect: nothing was ever imported.
    let answer = ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key }));
    assert_eq!(answer, json!({ "KeyId": arn(&key) }));
    let material = oracle.random(32);
    let id = import(&service, &mut oracle, &key, &material)["KeyMaterialId"].clone();
    let absent = "0a".repeat(32);
    let body = json!({ "KeyId": key, "KeyMaterialId": absent });
    let message = format!("Key material '{absent}' of {} does not exist", arn(&key));
    refused(&service, "DeleteImportedKeyMaterial", &body, "NotFoundException", &message);
    assert_eq!(state(&service, &key), "Enabled");
    for _ in 0..2 {
        let answer = ok(&service, "DeleteImportedKeyMaterial", &json!({ "KeyId": key, "KeyMaterialId": id }));
        assert_eq!(answer, json!({ "KeyId": arn(&key), "KeyMaterialId": id }));
        assert_eq!(state(&service, &key), "PendingImport");
    }
}

const MISSING: &str = "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES";
const SUPERFLUOUS: &str =
    "The parameter ValidTo cannot be specified for a key with an expiration model of KEY_MATERIAL_DOES_NOT_EXPIRE";
const TOO_LATE: &str = "ValidTo must be within 365 days from now";
