//! Multi-Region keys: what replicas share with their primary key, and what they do not.

use super::*;

/// A service whose Regions are all on one token.
fn one_token() -> Service {
    Service::start_with(&["--region", EAST, "--region", WEST, "--region", NORTH])
}

const NORTH: &str = "eu-north-1";

#[test]
fn a_replica_shares_its_material_and_has_its_own_policy_tags_and_state() {
    let service = one_token();
    let made =
        ok(&service, EAST, "CreateKey", json!({ "MultiRegion": true, "Description": "d" }))["KeyMetadata"].clone();
    let key = made["KeyId"].as_str().unwrap().to_owned();
    assert!(key.starts_with("mrk-") && made["MultiRegion"] == true, "{made}");
    let arn = |region: &str| format!("arn:aws:kms:{region}:111122223333:key/{key}");
    let of = |region: &str| json!({ "Arn": arn(region), "Region": region });
    let config = |kind: &str, primary: &str, replicas: &[&str]| {
        let replicas: Vec<_> = replicas.iter().map(|region| of(region)).collect();
        json!({ "MultiRegionKeyType": kind, "PrimaryKey": of(primary), "ReplicaKeys": replicas })
    };
    assert_eq!(made["MultiRegionConfiguration"], config("PRIMARY", EAST, &[]));
    assert_eq!(made["HsmKmsMaterialKeptWrapped"], true);
    let blob = encrypt(&service, EAST, &key, "east");
    let tags = json!([{ "TagKey": "a", "TagValue": "b" }]);
    let body = json!({ "KeyId": key, "ReplicaRegion": WEST, "Description": "replica", "Tags": tags });
    let replica = ok(&service, EAST, "ReplicateKey", body);
    assert_eq!((&replica["ReplicaTags"], replica["ReplicaPolicy"].is_string()), (&tags, true));
    let metadata = &replica["ReplicaKeyMetadata"];
    assert_eq!(metadata["MultiRegionConfiguration"], config("REPLICA", EAST, &[WEST]));
    for shared in ["KeyId", "KeySpec", "KeyUsage", "Origin", "CurrentKeyMaterialId"] {
        assert_eq!(metadata[shared], made[shared], "{shared}");
    }
    assert_eq!((&metadata["Description"], &metadata["Arn"]), (&json!("replica"), &json!(arn(WEST))));
    assert_eq!(ok(&service, WEST, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"], *metadata);
    let seen = ok(&service, EAST, "DescribeKey", json!({ "KeyId": key }));
    assert_eq!(seen["KeyMetadata"]["MultiRegionConfiguration"], config("PRIMARY", EAST, &[WEST]));
    assert_eq!(decrypt(&service, WEST, &blob), "east");
    assert_eq!(decrypt(&service, EAST, &encrypt(&service, WEST, &key, "west")), "west");
    // Each has its own state.
    ok(&service, EAST, "DisableKey", json!({ "KeyId": key }));
    assert_eq!(decrypt(&service, WEST, &blob), "east");
    let while_disabled = json!({ "KeyId": key, "ReplicaRegion": NORTH });
    assert_eq!(refused(&service, EAST, "ReplicateKey", while_disabled.clone()).0, "DisabledException");
    ok(&service, EAST, "EnableKey", json!({ "KeyId": key }));

    let again = json!({ "KeyId": key, "ReplicaRegion": WEST });
    assert_eq!(refused(&service, EAST, "ReplicateKey", again).0, "AlreadyExistsException");
    let not_primary =
        ("UnsupportedOperationException".into(), format!("{} is not a multi-region primary key.", arn(WEST)));
    assert_eq!(refused(&service, WEST, "ReplicateKey", while_disabled), not_primary);
    for (operation, mut body) in [
        ("EnableKeyRotation", json!({})),
        ("DisableKeyRotation", json!({})),
        ("RotateKeyOnDemand", json!({})),
        ("UpdatePrimaryRegion", json!({ "PrimaryRegion": EAST })),
    ] {
        body["KeyId"] = key.clone().into();
        assert_eq!(refused(&service, WEST, operation, body), not_primary, "{operation}");
    }
    let unserved = json!({ "KeyId": key, "ReplicaRegion": "ap-east-1" });
    assert_eq!(refused(&service, EAST, "ReplicateKey", unserved).0, "UnsupportedOperationException");
    let here = json!({ "KeyId": key, "PrimaryRegion": NORTH });
    assert_eq!(refused(&service, EAST, "UpdatePrimaryRegion", here).0, "NotFoundException");

    let events = service.audit();
    let names: Vec<_> =
        events.iter().map(|line| &line["event"]).filter(|event| event["resources"][0]["ARN"] == arn(WEST)).collect();
    let has = |name: &str| names.iter().any(|event| event["eventName"] == name && event["awsRegion"] == WEST);
    assert!(has("CreateKey") && has("SynchronizeMultiRegionKey"), "{names:?}");
}

#[test]
fn a_rotation_reaches_every_replica_and_the_primary_region_can_move() {
    let service = one_token();
    let key = multi_region(&service, &[WEST, NORTH], json!({}));
    let all = [EAST, WEST, NORTH];
    let material = |region: &str| {
        ok(&service, region, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"]["CurrentKeyMaterialId"].clone()
    };
    let old = all.map(|region| encrypt(&service, region, &key, region));
    let first = material(EAST);
    ok(&service, EAST, "EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 200 }));
    for region in all {
        let status = ok(&service, region, "GetKeyRotationStatus", json!({ "KeyId": key }));
        assert_eq!(
            (&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]),
            (&json!(true), &json!(200)),
            "{region}"
        );
    }
    ok(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key }));
    assert!(all.iter().all(|region| material(region) == material(EAST)) && material(EAST) != first);
    let new = all.map(|region| encrypt(&service, region, &key, region));
    let opens_everywhere = |blobs: &[String; 3]| {
        for (blob, sealed) in blobs.iter().zip(all) {
            all.iter().for_each(|region| assert_eq!(decrypt(&service, region, blob), sealed));
        }
    };
    opens_everywhere(&old);
    opens_everywhere(&new);

    ok(&service, EAST, "UpdatePrimaryRegion", json!({ "KeyId": key, "PrimaryRegion": WEST }));
    let config = |region| {
        let metadata = ok(&service, region, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"].clone();
        (metadata["MultiRegionConfiguration"]["PrimaryKey"]["Region"].clone(), metadata["KeyState"].clone())
    };
    assert!(all.iter().all(|region| config(region) == (json!(WEST), json!("Enabled"))));
    let status = ok(&service, EAST, "GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["RotationPeriodInDays"], 200);
    assert_eq!(
        refused(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key })).0,
        "UnsupportedOperationException"
    );
    ok(&service, WEST, "RotateKeyOnDemand", json!({ "KeyId": key }));
    opens_everywhere(&old);
    opens_everywhere(&new);
    opens_everywhere(&all.map(|region| encrypt(&service, region, &key, region)));
    let rotations = ok(&service, EAST, "ListKeyRotations", json!({ "KeyId": key }))["Rotations"].clone();
    assert_eq!(rotations.as_array().unwrap().len(), 2);
    // One object a material and Region, each by a name of its own, and not one of them extractable.
    let listing = service.pkcs11_tool(&["--list-objects", "--type", "secrkey"]);
    let objects: Vec<_> =
        listing.split("Secret Key Object").filter(|part| part.contains("hsm-kms/multi-region/")).collect();
    assert_eq!(objects.len(), 9, "{listing}");
    for object in objects {
        let access = object.lines().find(|line| line.trim_start().starts_with("Access:")).unwrap();
        assert!(access.contains("sensitive") && !access.contains(" extractable"), "{object}");
    }
}

#[test]
fn a_primary_key_goes_after_its_last_replica() {
    let service = one_token();
    let key = multi_region(&service, &[WEST], json!({}));
    let body = || json!({ "KeyId": key, "PendingWindowInDays": 8 });
    let answer = ok(&service, EAST, "ScheduleKeyDeletion", body());
    assert_eq!(answer["KeyState"], "PendingReplicaDeletion");
    assert!(answer["DeletionDate"].is_null() && answer["PendingWindowInDays"] == 8, "{answer}");
    let metadata = || ok(&service, EAST, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"].clone();
    assert!(metadata()["DeletionDate"].is_null() && metadata()["PendingDeletionWindowInDays"] == 8, "{}", metadata());
    let arn = format!("arn:aws:kms:{EAST}:111122223333:key/{key}");
    let (error, message) = refused(&service, EAST, "Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" }));
    assert_eq!((error.as_str(), message), ("KMSInvalidStateException", format!("{arn} is pending replica deletion.")));
    for (operation, body) in [
        ("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": NORTH })),
        ("UpdatePrimaryRegion", json!({ "KeyId": key, "PrimaryRegion": WEST })),
    ] {
        assert_eq!(refused(&service, EAST, operation, body).0, "KMSInvalidStateException", "{operation}");
    }
    // The replica goes on, and is deleted as any key is.
    encrypt(&service, WEST, &key, "x");
    let replica = ok(&service, WEST, "ScheduleKeyDeletion", body());
    assert!(replica["KeyState"] == "PendingDeletion" && replica["DeletionDate"].is_number(), "{replica}");
    let again = json!({ "KeyId": key, "ReplicaRegion": WEST });
    ok(&service, EAST, "CancelKeyDeletion", json!({ "KeyId": key }));
    assert!(metadata()["KeyState"] == "Disabled" && metadata()["PendingDeletionWindowInDays"].is_null());
    ok(&service, EAST, "EnableKey", json!({ "KeyId": key }));
    assert_eq!(refused(&service, EAST, "ReplicateKey", again).0, "AlreadyExistsException");
    let primary = json!({ "KeyId": key, "PrimaryRegion": WEST });
    assert_eq!(refused(&service, EAST, "UpdatePrimaryRegion", primary).0, "KMSInvalidStateException");
    ok(&service, WEST, "CancelKeyDeletion", json!({ "KeyId": key }));
}

#[test]
fn policies_can_ask_for_the_region_and_the_part_of_a_key() {
    let service = one_token();
    let key = multi_region(&service, &[], json!({}));
    let deny = |action: &str, condition: Value| {
        let allow =
            json!({ "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "kms:*", "Resource": "*" });
        let deny = json!({
            "Effect": "Deny", "Principal": "*", "Action": format!("kms:{action}"), "Resource": "*", "Condition": condition
        });
        let policy = json!({ "Version": "2012-10-17", "Statement": [allow, deny] }).to_string();
        ok(&service, EAST, "PutKeyPolicy", json!({ "KeyId": key, "Policy": policy }));
    };
    let to = |region: &str| json!({ "KeyId": key, "ReplicaRegion": region });
    deny("ReplicateKey", json!({ "StringNotEquals": { "kms:ReplicaRegion": WEST } }));
    assert_eq!(refused(&service, EAST, "ReplicateKey", to(NORTH)).0, "AccessDeniedException");
    ok(&service, EAST, "ReplicateKey", to(WEST));
    deny("UpdatePrimaryRegion", json!({ "StringEquals": { "kms:PrimaryRegion": WEST } }));
    let primary = json!({ "KeyId": key, "PrimaryRegion": WEST });
    assert_eq!(refused(&service, EAST, "UpdatePrimaryRegion", primary.clone()).0, "AccessDeniedException");
    deny("Encrypt", json!({ "StringEquals": { "kms:MultiRegionKeyType": "PRIMARY" } }));
    let plaintext = json!({ "KeyId": key, "Plaintext": "eA==" });
    assert_eq!(refused(&service, EAST, "Encrypt", plaintext.clone()).0, "AccessDeniedException");
    ok(&service, EAST, "UpdatePrimaryRegion", primary);
    ok(&service, EAST, "Encrypt", plaintext);
}

#[test]
fn every_spec_that_the_token_can_wrap_is_replicated() {
    let service = one_token();
    for (spec, usage) in [
        ("HMAC_224", "GENERATE_VERIFY_MAC"),
        ("HMAC_512", "GENERATE_VERIFY_MAC"),
        ("ECC_NIST_P521", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
        ("ECC_NIST_P384", "KEY_AGREEMENT"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
    ] {
        let key = multi_region(&service, &[WEST], json!({ "KeySpec": spec, "KeyUsage": usage }));
        if usage == "GENERATE_VERIFY_MAC" {
            let body = json!({ "KeyId": key, "Message": "eA==", "MacAlgorithm": spec.replace("HMAC_", "HMAC_SHA_") });
            let macs = [EAST, WEST].map(|region| ok(&service, region, "GenerateMac", body.clone())["Mac"].clone());
            assert_eq!(macs[0], macs[1], "{spec}");
            continue;
        }
        let public = |region| ok(&service, region, "GetPublicKey", json!({ "KeyId": key }))["PublicKey"].clone();
        assert_eq!(public(EAST), public(WEST), "{spec}");
        let algorithm = match spec {
            "ECC_NIST_P521" => "ECDSA_SHA_512",
            "ECC_SECG_P256K1" => "ECDSA_SHA_256",
            _ => "RSASSA_PSS_SHA_256",
        };
        match usage {
            "SIGN_VERIFY" => {
                let mut body = json!({ "KeyId": key, "Message": "eA==", "SigningAlgorithm": algorithm });
                body["Signature"] = ok(&service, WEST, "Sign", body.clone())["Signature"].clone();
                ok(&service, EAST, "Verify", body);
            }
            "KEY_AGREEMENT" => {
                let body = json!({ "KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public(EAST) });
                let secret = |region| ok(&service, region, "DeriveSharedSecret", body.clone())["SharedSecret"].clone();
                assert_eq!(secret(EAST), secret(WEST));
            }
            _ => {
                let mut body =
                    json!({ "KeyId": key, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256", "Plaintext": "eA==" });
                let sealed = ok(&service, EAST, "Encrypt", body.clone())["CiphertextBlob"].clone();
                body.as_object_mut().unwrap().remove("Plaintext");
                body["CiphertextBlob"] = sealed;
                assert_eq!(ok(&service, WEST, "Decrypt", body)["Plaintext"], "eA==");
            }
        }
    }
}

#[test]
fn imported_material_is_imported_into_every_region_and_must_be_the_same() {
    let service = one_token();
    let external = json!({ "MultiRegion": true, "Origin": "EXTERNAL" });
    let key = ok(&service, EAST, "CreateKey", external)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let import = |region: &str, material: &[u8; 32], more: Value| {
        let wanted = json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
        let parameters = ok(&service, region, "GetParametersForImport", wanted);
        let mut body = json!({
            "KeyId": key, "ImportToken": parameters["ImportToken"], "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
            "EncryptedKeyMaterial": support::wrapped(&parameters, material),
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ask(&service, region, "ImportKeyMaterial", &body);
        if answer.status == 200 { Ok(answer.json()["KeyMaterialId"].clone()) } else { Err(answer.error()) }
    };
    let to = |region: &str| json!({ "KeyId": key, "ReplicaRegion": region });
    assert_eq!(refused(&service, EAST, "ReplicateKey", to(WEST)).0, "KMSInvalidStateException");
    let first = import(EAST, &[1; 32], json!({})).unwrap();
    let replica = ok(&service, EAST, "ReplicateKey", to(WEST))["ReplicaKeyMetadata"].clone();
    assert_eq!((&replica["KeyState"], &replica["Origin"]), (&json!("PendingImport"), &json!("EXTERNAL")));
    assert_eq!(import(WEST, &[2; 32], json!({})), Err("IncorrectKeyMaterialException".into()));
    let new = json!({ "ImportType": "NEW_KEY_MATERIAL" });
    assert_eq!(import(WEST, &[2; 32], new.clone()), Err("UnsupportedOperationException".into()));
    assert_eq!(import(WEST, &[1; 32], json!({})), Ok(first));
    let old = encrypt(&service, EAST, &key, "old");
    assert_eq!(decrypt(&service, WEST, &old), "old");

    // New material: into the primary key, into every replica, and only then is it rotated to.
    let second = import(EAST, &[2; 32], new).unwrap();
    let state = |region: &str| {
        let body = json!({ "KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" });
        let listed = ok(&service, region, "ListKeyRotations", body)["Rotations"].clone();
        let found = listed.as_array().unwrap().iter().find(|entry| entry["KeyMaterialId"] == second).cloned();
        found.map_or(Value::Null, |entry| json!([entry["KeyMaterialState"], entry["ImportState"]]))
    };
    let waiting = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION";
    assert_eq!([state(EAST), state(WEST)], [json!([waiting, "IMPORTED"]), json!([waiting, "PENDING_IMPORT"])]);
    assert_eq!(refused(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key })).0, "KMSInvalidStateException");
    assert_eq!(import(WEST, &[2; 32], json!({ "ImportType": "EXISTING_KEY_MATERIAL" })), Ok(second.clone()));
    assert_eq!([state(EAST), state(WEST)], [(); 2].map(|()| json!(["PENDING_ROTATION", "IMPORTED"])));
    ok(&service, EAST, "RotateKeyOnDemand", json!({ "KeyId": key }));
    assert_eq!([state(EAST), state(WEST)], [(); 2].map(|()| json!(["CURRENT", "IMPORTED"])));
    assert_eq!(decrypt(&service, WEST, &encrypt(&service, EAST, &key, "new")), "new");
    assert_eq!(decrypt(&service, EAST, &encrypt(&service, WEST, &key, "new")), "new");
    assert_eq!(decrypt(&service, WEST, &old), "old");

    // Material that waits is forgotten everywhere with the primary key's.
    let third = import(EAST, &[3; 32], json!({ "ImportType": "NEW_KEY_MATERIAL" })).unwrap();
    import(WEST, &[3; 32], json!({})).unwrap();
    let count = || service.pkcs11_tool(&["--list-objects", "--type", "secrkey"]).matches("hsm-kms/imported/").count();
    assert_eq!(count(), 6);
    ok(&service, EAST, "DeleteImportedKeyMaterial", json!({ "KeyId": key, "KeyMaterialId": third }));
    until("the end of the replica's object", || count() == 4);
    assert_eq!(
        refused(&service, WEST, "DeleteImportedKeyMaterial", json!({ "KeyId": key, "KeyMaterialId": third })).0,
        "NotFoundException"
    );
    encrypt(&service, WEST, &key, "still");
    // Before the replica's object was destroyed, that was on record where it was, and so was all else that changed there.
    let arn = format!("arn:aws:kms:{WEST}:111122223333:key/{key}");
    let in_west = |name: &str| -> Vec<Value> {
        let lines = service.audit().into_iter().map(|mut line| line["event"].take());
        let of = |event: &Value| event["eventName"] == name && event["resources"][0]["ARN"] == *arn;
        lines.filter(of).map(|mut event| event["additionalEventData"].take()).collect()
    };
    let removal = || in_west("DeleteImportedKeyMaterial");
    until("the end of the removal", || removal().len() == 3);
    let removal: Vec<_> = removal().into_iter().filter(|details| !details["phase"].is_null()).collect();
    assert_eq!(removal.iter().map(|told| &told["phase"]).collect::<Vec<_>>(), ["begun", "done"], "{removal:?}");
    assert_eq!(removal[0]["keyMaterialIds"], json!([third]));
    assert_eq!(removal[0]["objects"], removal[1]["destroyed"]);
    let told = in_west("SynchronizeMultiRegionKey");
    let told: Vec<_> = told.iter().map(|told| &told["synchronized"]).collect();
    let expected = "expected key material";
    assert_eq!(told, [expected, expected, "current key material", expected], "nothing came from the primary's token");

    // What waits in a replica alone is forgotten as well, by a primary key that has nothing of it.
    let fourth = import(EAST, &[4; 32], json!({ "ImportType": "NEW_KEY_MATERIAL" })).unwrap();
    ok(&service, EAST, "UpdatePrimaryRegion", json!({ "KeyId": key, "PrimaryRegion": WEST }));
    let fifth = || import(WEST, &[5; 32], json!({ "ImportType": "NEW_KEY_MATERIAL" }));
    assert_eq!(fifth(), Err("KMSInvalidStateException".into()), "another one waits");
    assert_eq!(count(), 5);
    ok(&service, WEST, "DeleteImportedKeyMaterial", json!({ "KeyId": key, "KeyMaterialId": fourth }));
    until("the end of the replica's object", || count() == 4);
    fifth().unwrap();
}

/// A multi-Region key with replicas in these Regions.
fn multi_region(service: &Service, replicas: &[&str], mut body: Value) -> String {
    body["MultiRegion"] = true.into();
    let key = ok(service, EAST, "CreateKey", body)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    for region in replicas {
        ok(service, EAST, "ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": region }));
    }
    key
}
