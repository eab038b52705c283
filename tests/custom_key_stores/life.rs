//! From its creation to its deletion, with all that its keys can do.

use serde_json::{Value, json};

use crate::in_process::{CLUSTER, InProcess, MovedClock, START};
use crate::process::{again, assert_passed, block_on, dir_of, in_own_process, role, softhsm_dir};
use crate::support::wrapped;
use crate::{KeyStore, PASSWORD, creation, decrypts, encrypt, events, key_state, start};

/// Beyond AWS: every kind of key, rotation, import and data key pairs.
#[test]
fn a_custom_key_store_does_what_the_regions_own_does() {
    in_own_process("life::a_custom_key_store_does_what_the_regions_own_does", |dir| {
        block_on(async {
            let service = start(dir, MovedClock::at(START)).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            let answer = service.try_call("ConnectCustomKeyStore", &store.with(json!({}))).await;
            assert_eq!(answer, (200, json!({})));
            store.settled().await;
            let key = store.create_key(json!({})).await;
            let first = encrypt(&service, &key).await;
            let about = json!({ "KeyId": key });
            service.call("RotateKeyOnDemand", about.clone()).await;
            service.call("EnableKeyRotation", about.clone()).await;
            let second = encrypt(&service, &key).await;
            let pair = json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256" });
            service.call("GenerateDataKeyPair", pair).await;
            let sign = json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" });
            let signer = store.create_key(sign).await;
            let message = json!({ "KeyId": signer, "Message": "AA==", "SigningAlgorithm": "ECDSA_SHA_256" });
            service.call("Sign", message.clone()).await;
            let imported = store.create_key(json!({ "Origin": "EXTERNAL" })).await;
            import(&service, &imported).await;
            let third = encrypt(&service, &imported).await;
            assert_eq!(service.app.kms().tokens().len(), 1);
            let on_region = service.app.kms().tokens()[0].objects(crate::process::soon()).await.unwrap().ours;
            assert_eq!(on_region.len(), 1, "the store's root alone");

            store.disconnected().await;
            for blob in [&first, &second, &third] {
                let (status, answer) = service.try_call("Decrypt", &json!({ "CiphertextBlob": blob })).await;
                assert_eq!((status, &answer["__type"]), (400, &json!("KMSInvalidStateException")));
            }
            assert_eq!(service.refused("Sign", message).await, "KMSInvalidStateException");
            // What is done about a key meanwhile does not make of it what it only is for now.
            service.call("CreateAlias", json!({ "AliasName": "alias/meanwhile", "TargetKeyId": key })).await;
            store.connected().await;
            assert_eq!(key_state(&service, &key).await, "Enabled");
            encrypt(&service, "alias/meanwhile").await;
            for blob in [&first, &second, &third] {
                decrypts(&service, blob).await;
            }
            let told = events(dir, "Decrypt").pop().unwrap();
            assert_eq!(told["additionalEventData"]["customKeyStoreId"], store.id, "{told}");
            assert!(events(dir, "ReconcileTokenObjects").is_empty(), "nothing is missing or left over");
            service.close().await;
        });
    });
}

/// Nor two of one name in an account.
#[test]
fn of_two_custom_key_stores_that_are_made_at_once_on_a_cluster_one_is() {
    in_own_process("life::of_two_custom_key_stores_that_are_made_at_once_on_a_cluster_one_is", |dir| {
        block_on(async {
            let service = start(dir, MovedClock::at(START)).await;
            for _ in 0..10 {
                let (one, other) = (creation("one", PASSWORD), creation("other", PASSWORD));
                let create = |body| service.try_call("CreateCustomKeyStore", body);
                let (one, other) = tokio::join!(create(&one), create(&other));
                let (made, refused) = if one.0 == 200 { (one.1, other) } else { (other.1, one) };
                assert_eq!((refused.0, &refused.1["__type"]), (400, &json!("CloudHsmClusterInUseException")));
                KeyStore::named(&service, made["CustomKeyStoreId"].as_str().unwrap())
                    .call("DeleteCustomKeyStore")
                    .await;
            }
            service.close().await;
        });
    });
}

#[test]
fn what_was_connected_is_connected_again_by_the_next_start() {
    let test = "life::what_was_connected_is_connected_again_by_the_next_start";
    let Some(dir) = dir_of(test) else {
        let dir = softhsm_dir();
        for role in ["make", "gone", "back"] {
            let tokens = dir.path().join("tokens");
            let away = dir.path().join("away");
            let cluster = std::fs::read_to_string(dir.path().join("cluster")).map(|name| tokens.join(name));
            match (role, cluster) {
                ("gone", Ok(cluster)) => std::fs::rename(cluster, away).unwrap(),
                ("back", Ok(cluster)) => std::fs::rename(away, cluster).unwrap(),
                _ => {}
            }
            assert_passed(test, &again(test, role, dir.path()).output().unwrap());
        }
        return;
    };
    block_on(async {
        if role() == "make" {
            let folder = crate::make_cluster(&dir);
            std::fs::write(dir.join("cluster"), folder.file_name().unwrap().as_encoded_bytes()).unwrap();
            let service = InProcess::start(&dir, MovedClock::at(START)).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let key = store.create_key(json!({})).await;
            let own = service.new_key().await;
            let blob = encrypt(&service, &key).await;
            let made = json!({ "store": store.id, "key": key, "own": own, "blob": blob });
            std::fs::write(dir.join("made"), made.to_string()).unwrap();
            return service.close().await;
        }
        let made: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("made")).unwrap()).unwrap();
        let text = |name: &str| made[name].as_str().unwrap();
        let service = InProcess::open(&dir, MovedClock::at(START)).await;
        let store = KeyStore::named(&service, text("store"));
        if role() == "back" {
            store.comes_back().await;
            decrypts(&service, &made["blob"]).await;
            assert_eq!(key_state(&service, text("key")).await, "Enabled");
        } else {
            // Its token is not there: the others are served, and nothing of it is lost.
            for _ in 0..3 {
                service.app.housekeep().await;
            }
            encrypt(&service, text("own")).await;
            for operation in ["CreateKey", "GenerateRandom"] {
                let answer = service.try_call(operation, &store.with(json!({ "NumberOfBytes": 1 }))).await;
                let said = (answer.0, &answer.1["__type"]);
                assert_eq!(said, (503, &json!("DependencyTimeoutException")), "{operation}");
            }
            assert_eq!(
                (store.state().await.as_str(), key_state(&service, text("key")).await.as_str()),
                ("CONNECTED", "Unavailable")
            );
        }
        service.close().await;
    });
}

/// Its keys wait for their destruction until it is connected, and no other key waits for them.
#[test]
fn a_deletion_waits_for_the_connection_and_is_not_lost() {
    in_own_process("life::a_deletion_waits_for_the_connection_and_is_not_lost", |dir| {
        block_on(async {
            let service = start(dir, MovedClock::at(START)).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let (key, own) = (store.create_key(json!({})).await, service.new_key().await);
            store.disconnected().await;
            for key in [&key, &own] {
                service.call("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 })).await;
            }
            let pass = async |days: u64| {
                for _ in 0..days * 24 {
                    service.clock.pass(crate::in_process::HOUR);
                    service.app.housekeep().await;
                }
            };
            pass(8).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": own })).await, "NotFoundException");
            assert_eq!(key_state(&service, &key).await, "PendingDeletion");
            let deletion = store.with(json!({}));
            assert_eq!(
                service.refused("DeleteCustomKeyStore", deletion.clone()).await,
                "CustomKeyStoreHasCMKsException"
            );
            store.connected().await;
            pass(1).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": key })).await, "NotFoundException");
            let evidence = events(dir, "DeleteKey").pop().unwrap()["additionalEventData"].take();
            assert_eq!(
                (&evidence["objectsFoundAfterwards"], &evidence["customKeyStoreId"]),
                (&json!(0), &json!(store.id))
            );
            assert_eq!(
                service.refused("DeleteCustomKeyStore", deletion.clone()).await,
                "CustomKeyStoreInvalidStateException"
            );
            store.disconnected().await;
            service.call("DeleteCustomKeyStore", deletion.clone()).await;
            assert_eq!(service.refused("DescribeCustomKeyStores", deletion).await, "CustomKeyStoreNotFoundException");
            // Its cluster and its name are free again.
            KeyStore::create(&service, PASSWORD).await.connected().await;
            service.close().await;
        });
    });
}

#[test]
fn preconditions_are_those_of_aws() {
    in_own_process("life::preconditions_are_those_of_aws", |dir| {
        block_on(async {
            let service = start(dir, MovedClock::at(START)).await;
            let refused = async |operation: &str, body: Value| service.refused(operation, body).await;
            let with = |name: &str, value: Value| {
                let mut body = creation("ours", PASSWORD);
                body[name] = value;
                body
            };
            for (name, value, error) in [
                ("CloudHsmClusterId", json!("cluster-777777aaaaa"), "CloudHsmClusterNotFoundException"),
                ("CloudHsmClusterId", json!("-clusteraaaaaaaaaaa"), "ValidationException"),
                ("CloudHsmClusterId", Value::Null, "ValidationException"),
                ("KeyStorePassword", Value::Null, "ValidationException"),
                ("TrustAnchorCertificate", Value::Null, "ValidationException"),
                ("TrustAnchorCertificate", json!("certificate"), "IncorrectTrustAnchorException"),
                ("XksProxyConnectivity", json!("PUBLIC_ENDPOINT"), "ValidationException"),
                ("CustomKeyStoreType", json!("EXTERNAL_KEY_STORE"), "UnsupportedOperationException"),
            ] {
                assert_eq!(refused("CreateCustomKeyStore", with(name, value)).await, error, "{name}");
            }
            let store = KeyStore::create(&service, PASSWORD).await;
            assert_eq!(
                refused("CreateCustomKeyStore", creation("ours", PASSWORD)).await,
                "CustomKeyStoreNameInUseException"
            );
            assert_eq!(
                refused("CreateCustomKeyStore", creation("other", PASSWORD)).await,
                "CloudHsmClusterInUseException"
            );
            let body = || store.with(json!({}));
            let password = || store.with(json!({ "KeyStorePassword": PASSWORD }));
            const STATE: &str = "CustomKeyStoreInvalidStateException";
            assert_eq!(refused("DisconnectCustomKeyStore", body()).await, STATE);
            for operation in ["CreateKey", "GenerateRandom"] {
                assert_eq!(refused(operation, store.with(json!({ "NumberOfBytes": 1 }))).await, STATE, "{operation}");
            }
            store.connected().await;
            store.connected().await;
            for (operation, body) in [("UpdateCustomKeyStore", password()), ("DeleteCustomKeyStore", body())] {
                assert_eq!(refused(operation, body).await, STATE, "{operation}");
            }
            store.update(json!({ "NewCustomKeyStoreName": "renamed" })).await;
            assert_eq!(store.describe().await["CustomKeyStoreName"], "renamed");
            let multi_region = store.with(json!({ "MultiRegion": true }));
            assert_eq!(refused("CreateKey", multi_region).await, "UnsupportedOperationException");
            assert_eq!(refused("CreateKey", store.with(json!({ "Origin": "AWS_KMS" }))).await, "ValidationException");
            let unrelated = store.with(json!({ "CloudHsmClusterId": "cluster-777777aaaaa" }));
            store.disconnected().await;
            assert_eq!(refused("UpdateCustomKeyStore", unrelated).await, "CloudHsmClusterNotFoundException");
            store.update(json!({ "CloudHsmClusterId": CLUSTER })).await;
            let unknown = json!({ "CustomKeyStoreId": "cks-1234567890abcdef0" });
            for operation in ["ConnectCustomKeyStore", "DescribeCustomKeyStores", "CreateKey", "DeleteCustomKeyStore"] {
                assert_eq!(refused(operation, unknown.clone()).await, "CustomKeyStoreNotFoundException", "{operation}");
            }
            service.close().await;
        });
    });
}

async fn import(service: &InProcess, key: &str) {
    let parameters = json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
    let given = service.call("GetParametersForImport", parameters).await;
    let material = json!({
        "KeyId": key, "ImportToken": given["ImportToken"], "EncryptedKeyMaterial": wrapped(&given, &[7; 32]),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    });
    service.call("ImportKeyMaterial", material).await;
}
