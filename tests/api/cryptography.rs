//! What is encrypted comes back, and nothing else does.

use serde_json::{Value, json};

use super::*;

#[test]
fn one_byte_and_4096_come_back_from_blobs_that_fit() {
    let service = shared();
    let key = new_key(&service);
    for len in [1, 2, 16, 4095, 4096] {
        let plaintext: Vec<u8> = (0..len).map(|number| (number % 251) as u8).collect();
        let answer = ok(&service, "Encrypt", &json!({ "KeyId": key.id, "Plaintext": base64(&plaintext) }));
        assert_eq!(names(&answer), ["CiphertextBlob", "EncryptionAlgorithm", "KeyId"]);
        assert_eq!((&answer["KeyId"], &answer["EncryptionAlgorithm"]), (&json!(key.arn), &json!("SYMMETRIC_DEFAULT")));
        let blob = bytes(&answer["CiphertextBlob"]);
        assert_eq!(blob.len(), len + 145);
        assert!(blob.len() <= 6144);
        let answer = ok(&service, "Decrypt", &json!({ "CiphertextBlob": answer["CiphertextBlob"] }));
        let expected = json!({
            "KeyId": key.arn,
            "Plaintext": base64(&plaintext),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyMaterialId": material(&service, &key),
        });
        assert_eq!(answer, expected);
    }
}

#[test]
fn other_sizes_are_refused_without_showing_the_bytes() {
    let service = shared();
    let key = new_key(&service);
    let at = |member: &str, rule: &str| {
        violation(&format!("Value at '{member}' failed to satisfy constraint: Member must have length {rule}"))
    };
    let encrypt = |len: usize| json!({ "KeyId": key.id, "Plaintext": base64(&vec![7; len]) });
    let validation = "ValidationException";
    refused(&service, "Encrypt", &encrypt(0), validation, &at("plaintext", "greater than or equal to 1"));
    for len in [4097, 4098, 4099, 10_000] {
        refused(&service, "Encrypt", &encrypt(len), validation, &at("plaintext", "less than or equal to 4096"));
    }
    let decrypt = |len: usize| json!({ "CiphertextBlob": base64(&vec![7; len]) });
    refused(&service, "Decrypt", &decrypt(0), validation, &at("ciphertextBlob", "greater than or equal to 1"));
    refused(&service, "Decrypt", &decrypt(6145), validation, &at("ciphertextBlob", "less than or equal to 6144"));
    refused(&service, "Decrypt", &decrypt(6144), "InvalidCiphertextException", "");
}

#[test]
fn no_blob_is_made_twice() {
    let service = shared();
    let key = new_key(&service);
    let blobs: std::collections::HashSet<String> = (0..20).map(|_| encrypted(&service, &key, b"the same")).collect();
    assert_eq!(blobs.len(), 20);
}

#[test]
fn the_encryption_context_must_be_exactly_the_same() {
    let service = shared();
    let key = new_key(&service);
    let encrypt = format!(
        r#"{{"KeyId":"{}","Plaintext":"AAEC","EncryptionContext":{{"a":"1","B":"ü","":"","c":"{}"}}}}"#,
        key.id,
        "x".repeat(300)
    );
    let blob = succeeded(&call_bytes(&service, "Encrypt", encrypt.as_bytes()), "Encrypt")["CiphertextBlob"].clone();
    let c = "x".repeat(300);
    // Order does not count, on the wire either.
    let other_order =
        format!(r#"{{"EncryptionContext":{{"c":"{c}","":"","B":"\u00fc","a":"1"}},"CiphertextBlob":{blob}}}"#);
    assert_eq!(succeeded(&call_bytes(&service, "Decrypt", other_order.as_bytes()), "Decrypt")["Plaintext"], "AAEC");
    for wrong in [
        Value::Null,
        json!({}),
        json!({ "a": "1", "B": "ü", "": "" }),
        json!({ "a": "1", "B": "ü", "": "", "c": c, "d": "" }),
        json!({ "A": "1", "B": "ü", "": "", "c": c }),
        json!({ "a": "1", "B": "Ü", "": "", "c": c }),
        json!({ "a": "2", "B": "ü", "": "", "c": c }),
        json!({ "a": "1 ", "B": "ü", "": "", "c": c }),
        // The letter as two code points: another text.
        json!({ "a": "1", "B": "u\u{308}", "": "", "c": c }),
    ] {
        let body = json!({ "CiphertextBlob": blob, "EncryptionContext": wrong });
        refused(&service, "Decrypt", &body, "InvalidCiphertextException", "");
    }
}

#[test]
fn no_context_is_an_empty_one_and_no_character_moves_across_a_pair() {
    let service = shared();
    let key = new_key(&service);
    let encrypt = |context: Value| {
        let body = json!({ "KeyId": key.id, "Plaintext": "AA==", "EncryptionContext": context });
        ok(&service, "Encrypt", &body)["CiphertextBlob"].clone()
    };
    let decrypt = |blob: &Value, context: Value| {
        call(&service, "Decrypt", &json!({ "CiphertextBlob": blob, "EncryptionContext": context })).error()
    };
    for made in [Value::Null, json!({})] {
        let blob = encrypt(made);
        for given in [Value::Null, json!({})] {
            assert_eq!(decrypt(&blob, given), "");
        }
        assert_eq!(decrypt(&blob, json!({ "": "" })), "InvalidCiphertextException");
    }
    let blob = encrypt(json!({ "a": "bc" }));
    assert_eq!(decrypt(&blob, json!({ "a": "bc" })), "");
    assert_eq!(decrypt(&blob, json!({ "ab": "c" })), "InvalidCiphertextException");
}

#[test]
fn an_encryption_context_has_at_most_8192_bytes_and_holds_strings() {
    let service = shared();
    let key = new_key(&service);
    let body = |context: Value| json!({ "KeyId": key.id, "Plaintext": "AA==", "EncryptionContext": context });
    ok(&service, "Encrypt", &body(json!({ "k": "v".repeat(8191) })));
    let message = violation(
        "Value at 'encryptionContext' failed to satisfy constraint: Member must have length less than or equal to 8192",
    );
    refused(&service, "Encrypt", &body(json!({ "k": "v".repeat(8192) })), "ValidationException", &message);
    for (context, kind) in [
        (json!({ "a": 5 }), "NUMBER_VALUE cannot be converted to String"),
        (json!({ "a": null }), "NULL_VALUE cannot be converted to String"),
        (json!({ "a": ["b"] }), "Start of list cannot be converted to String"),
        (json!(["a"]), "Start of list cannot be converted to Map"),
    ] {
        refused(&service, "Encrypt", &body(context), "SerializationException", kind);
    }
    let twice = format!(r#"{{"KeyId":"{}","Plaintext":"AA==","EncryptionContext":{{"a":"b","a":"b"}}}}"#, key.id);
    let answer = call_bytes(&service, "Encrypt", twice.as_bytes());
    is_refusal(&answer, "SerializationException", "Could not parse the request body.");
}

#[test]
fn a_blob_of_another_key_than_the_one_named_is_refused_before_anything_else() {
    let service = shared();
    let (key, other) = (new_key(&service), new_key(&service));
    let blob = encrypted(&service, &key, b"x");
    let incorrect = "The key ID in the request does not identify a CMK that can perform this operation.";
    let decrypt = json!({ "CiphertextBlob": blob, "KeyId": other.id });
    let re_encrypt = json!({ "CiphertextBlob": blob, "SourceKeyId": other.arn, "DestinationKeyId": key.id });
    let refuse_both = || {
        refused(&service, "Decrypt", &decrypt, "IncorrectKeyException", incorrect);
        refused(&service, "ReEncrypt", &re_encrypt, "IncorrectKeyException", incorrect);
    };
    refuse_both();
    // Neither the state of the key named, nor that of the blob's, nor the algorithm, nor the context is told.
    ok(&service, "DisableKey", &json!({ "KeyId": other.id }));
    refuse_both();
    ok(&service, "ScheduleKeyDeletion", &json!({ "KeyId": key.id }));
    refuse_both();
    let mut decrypt = decrypt.clone();
    decrypt["EncryptionAlgorithm"] = "RSAES_OAEP_SHA_256".into();
    decrypt["EncryptionContext"] = json!({ "a": "b" });
    refused(&service, "Decrypt", &decrypt, "IncorrectKeyException", incorrect);
}

#[test]
fn a_blob_of_an_unknown_key_does_not_tell_whether_there_is_one() {
    let service = shared();
    let key = new_key(&service);
    let mut blob = bytes(&json!(encrypted(&service, &key, b"x")));
    let id = uuid::Uuid::parse_str(&key.id).unwrap();
    let at = blob.windows(16).position(|window| window == id.as_bytes()).expect("the key's id");
    blob[at] ^= 1;
    let blob = base64(&blob);
    let body = json!({ "CiphertextBlob": blob });
    refused(&service, "Decrypt", &body, "AccessDeniedException", &unknown_key_of_ciphertext("Decrypt"));
    let body = json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id });
    refused(&service, "ReEncrypt", &body, "AccessDeniedException", &unknown_key_of_ciphertext("ReEncryptFrom"));
    let incorrect = "The key ID in the request does not identify a CMK that can perform this operation.";
    let body = json!({ "CiphertextBlob": blob, "KeyId": key.id });
    refused(&service, "Decrypt", &body, "IncorrectKeyException", incorrect);
}

#[test]
fn what_is_no_blob_has_no_reason_told() {
    let service = shared();
    let key = new_key(&service);
    let blob = bytes(&json!(encrypted(&service, &key, b"x")));
    let last = blob.len() - 1;
    let spoilt = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut blob = blob.clone();
        spoil(&mut blob);
        base64(&blob)
    };
    for blob in [
        spoilt(&|blob| blob[0] = 2),
        spoilt(&|blob| blob[1] ^= 1),
        spoilt(&|blob| blob[last] ^= 1),
        spoilt(&|blob| blob[last / 2] ^= 1),
        spoilt(&|blob| blob.truncate(last)),
        spoilt(&|blob| blob.push(0)),
        spoilt(&|blob| blob.truncate(1)),
    ] {
        for named in [json!({}), json!({ "KeyId": key.id })] {
            let mut body = named;
            body["CiphertextBlob"] = blob.clone().into();
            refused(&service, "Decrypt", &body, "InvalidCiphertextException", "");
        }
        let body = json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id });
        refused(&service, "ReEncrypt", &body, "InvalidCiphertextException", "");
    }
    let answer = call(&service, "Decrypt", &json!({ "CiphertextBlob": base64(&[0]) }));
    assert_eq!(answer.body, br#"{"__type":"InvalidCiphertextException"}"#);
}

#[test]
fn re_encrypt_changes_key_and_context() {
    let service = shared();
    let (source, destination) = (new_key(&service), new_key(&service));
    let body = json!({ "KeyId": source.id, "Plaintext": "AAEC", "EncryptionContext": { "a": "1" } });
    let blob = ok(&service, "Encrypt", &body)["CiphertextBlob"].clone();
    let answer = ok(
        &service,
        "ReEncrypt",
        &json!({
            "CiphertextBlob": blob,
            "SourceEncryptionContext": { "a": "1" },
            "SourceKeyId": source.id,
            "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "DestinationKeyId": destination.id,
            "DestinationEncryptionContext": { "b": "2" },
            "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }),
    );
    let expected = json!({
        "CiphertextBlob": answer["CiphertextBlob"],
        "SourceKeyId": source.arn,
        "KeyId": destination.arn,
        "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "SourceKeyMaterialId": material(&service, &source),
        "DestinationKeyMaterialId": material(&service, &destination),
    });
    assert_eq!(answer, expected);
    let decrypt = |context: Value| {
        call(&service, "Decrypt", &json!({ "CiphertextBlob": answer["CiphertextBlob"], "EncryptionContext": context }))
    };
    let back = succeeded(&decrypt(json!({ "b": "2" })), "Decrypt");
    assert_eq!((&back["Plaintext"], &back["KeyId"]), (&json!("AAEC"), &json!(destination.arn)));
    is_refusal(&decrypt(json!({ "a": "1" })), "InvalidCiphertextException", "");
    let wrong = json!({ "CiphertextBlob": blob, "DestinationKeyId": destination.id });
    refused(&service, "ReEncrypt", &wrong, "InvalidCiphertextException", "");
    // Under the same key, with another context.
    let body = json!({ "CiphertextBlob": answer["CiphertextBlob"], "SourceEncryptionContext": { "b": "2" },
        "DestinationKeyId": destination.id });
    let again = ok(&service, "ReEncrypt", &body);
    assert_eq!(ok(&service, "Decrypt", &json!({ "CiphertextBlob": again["CiphertextBlob"] }))["Plaintext"], "AAEC");
}

#[test]
fn re_encrypt_is_on_record_with_both_keys() {
    let service = shared();
    let (source, destination) = (new_key(&service), new_key(&service));
    let blob = encrypted(&service, &source, b"x");
    let answer = call(&service, "ReEncrypt", &json!({ "CiphertextBlob": blob, "DestinationKeyId": destination.id }));
    let event = event(&service, &answer);
    let resource = |key: &Key| json!({ "ARN": key.arn, "accountId": "111122223333", "type": "AWS::KMS::Key" });
    assert_eq!(event["resources"], json!([resource(&source), resource(&destination)]));
    let parameters = json!({
        "destinationKeyId": destination.id,
        "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    });
    assert_eq!(event["requestParameters"], parameters);
}

#[test]
fn data_keys_have_the_length_asked_for_and_come_back() {
    let service = shared();
    let key = new_key(&service);
    for (member, value, len) in [
        ("KeySpec", json!("AES_128"), 16),
        ("KeySpec", json!("AES_256"), 32),
        ("NumberOfBytes", json!(1), 1),
        ("NumberOfBytes", json!(33), 33),
        ("NumberOfBytes", json!(1024), 1024),
    ] {
        let mut body = json!({ "KeyId": key.id, "EncryptionContext": { "a": "b" } });
        body[member] = value;
        let made = ok(&service, "GenerateDataKey", &body);
        assert_eq!(names(&made), ["CiphertextBlob", "KeyId", "KeyMaterialId", "Plaintext"]);
        assert_eq!((&made["KeyId"], &made["KeyMaterialId"]), (&json!(key.arn), &material(&service, &key)));
        assert_eq!(bytes(&made["Plaintext"]).len(), len);
        let decrypt =
            |made: &Value| json!({ "CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": { "a": "b" } });
        assert_eq!(ok(&service, "Decrypt", &decrypt(&made))["Plaintext"], made["Plaintext"]);
        let sealed = ok(&service, "GenerateDataKeyWithoutPlaintext", &body);
        assert_eq!(names(&sealed), ["CiphertextBlob", "KeyId", "KeyMaterialId"]);
        let opened = bytes(&ok(&service, "Decrypt", &decrypt(&sealed))["Plaintext"]);
        assert_eq!(opened.len(), len);
        assert!(len < 16 || json!(base64(&opened)) != made["Plaintext"], "a data key is made once");
    }
}

#[test]
fn a_data_key_needs_exactly_one_length() {
    let service = shared();
    let key = new_key(&service);
    for operation in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
        let either = "Please specify either number of bytes or key spec.";
        let body = json!({ "KeyId": key.id });
        refused(&service, operation, &body, "ValidationException", either);
        let body = json!({ "KeyId": key.id, "KeySpec": "AES_256", "NumberOfBytes": 32 });
        refused(&service, operation, &body, "ValidationException", either);
        for (number, rule) in [(0, "greater than or equal to 1"), (1025, "less than or equal to 1024")] {
            let message = violation(&format!(
                "Value '{number}' at 'numberOfBytes' failed to satisfy constraint: Member must have value {rule}"
            ));
            let body = json!({ "KeyId": key.id, "NumberOfBytes": number });
            refused(&service, operation, &body, "ValidationException", &message);
        }
        let message = violation(
            "Value 'AES_192' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: \
             [AES_256, AES_128]",
        );
        let body = json!({ "KeyId": key.id, "KeySpec": "AES_192" });
        refused(&service, operation, &body, "ValidationException", &message);
    }
}

#[test]
fn random_bytes_are_1_to_1024_and_never_the_same() {
    let service = shared();
    for len in [1, 16, 1024] {
        let answer = ok(&service, "GenerateRandom", &json!({ "NumberOfBytes": len }));
        assert_eq!(names(&answer), ["Plaintext"]);
        assert_eq!(bytes(&answer["Plaintext"]).len(), len);
    }
    let body = json!({ "NumberOfBytes": 16 });
    let all: std::collections::HashSet<String> =
        (0..50).map(|_| ok(&service, "GenerateRandom", &body)["Plaintext"].to_string()).collect();
    assert_eq!(all.len(), 50);
    refused(&service, "GenerateRandom", &json!({}), "ValidationException", "NumberOfBytes is required.");
    for (number, rule) in [(0, "greater than or equal to 1"), (1025, "less than or equal to 1024")] {
        let message = violation(&format!(
            "Value '{number}' at 'numberOfBytes' failed to satisfy constraint: Member must have value {rule}"
        ));
        let body = json!({ "NumberOfBytes": number });
        refused(&service, "GenerateRandom", &body, "ValidationException", &message);
    }
    let body = json!({ "NumberOfBytes": 1, "CustomKeyStoreId": "cks-1" });
    let message = "Custom key store cks-1 does not exist.";
    refused(&service, "GenerateRandom", &body, "CustomKeyStoreNotFoundException", message);
}

#[test]
fn algorithms_recipients_and_grant_tokens_that_do_not_fit_are_refused() {
    let service = shared();
    let key = new_key(&service);
    let blob = encrypted(&service, &key, b"x");
    let bodies = [
        ("Encrypt", json!({ "KeyId": key.id, "Plaintext": "AA==" }), "EncryptionAlgorithm"),
        ("Decrypt", json!({ "CiphertextBlob": blob }), "EncryptionAlgorithm"),
        ("ReEncrypt", json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id }), "SourceEncryptionAlgorithm"),
        ("ReEncrypt", json!({ "CiphertextBlob": blob, "DestinationKeyId": key.id }), "DestinationEncryptionAlgorithm"),
    ];
    for (operation, body, member) in bodies {
        let with = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            body
        };
        for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"] {
            let message = format!("Algorithm {algorithm} is incompatible with key spec SYMMETRIC_DEFAULT.");
            let body = with(member, algorithm.into());
            refused(&service, operation, &body, "InvalidKeyUsageException", &message);
        }
        let camel = member[..1].to_lowercase() + &member[1..];
        let message = violation(&format!(
            "Value 'AES' at '{camel}' failed to satisfy constraint: Member must satisfy enum value set: \
             [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]"
        ));
        refused(&service, operation, &with(member, "AES".into()), "ValidationException", &message);
        let body = with("GrantTokens", json!(["token"]));
        refused(&service, operation, &body, "InvalidGrantTokenException", "The grant token is not valid.");
        let message = violation(
            "Value at 'grantTokens' failed to satisfy constraint: Member must have length less than or equal to 10",
        );
        let body = with("GrantTokens", json!(vec!["token"; 11]));
        refused(&service, operation, &body, "ValidationException", &message);
        ok(&service, operation, &with("GrantTokens", json!([])));
    }
    let recipient = json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": "AA==" });
    for (operation, mut body) in [
        ("Decrypt", json!({ "CiphertextBlob": blob })),
        ("GenerateDataKey", json!({ "KeyId": key.id, "KeySpec": "AES_256" })),
        ("GenerateRandom", json!({ "NumberOfBytes": 1 })),
    ] {
        body["Recipient"] = recipient.clone();
        let message = "Recipient is not supported by this service.";
        refused(&service, operation, &body, "UnsupportedOperationException", message);
    }
}

fn material(service: &Service, key: &Key) -> Value {
    ok(service, "DescribeKey", &json!({ "KeyId": key.id }))["KeyMetadata"]["CurrentKeyMaterialId"].clone()
}
