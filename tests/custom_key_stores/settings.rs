//! What an operator can set: AWS's limits, trust anchors, and no token twice.

use std::time::{Duration, Instant};

use hsm_kms::model::KeyState;
use hsm_kms::store::{Change, IntentKind, IntentRecord};
use serde_json::json;

use crate::in_process::{
    CERTIFICATE, CLUSTER, CLUSTER_LABEL, HOUR, InProcess, MovedClock, START, settings, write_private,
};
use crate::process::{LABEL, MODULE, block_on, in_own_process, make_token, until};
use crate::shim::{Shim, module};
use crate::support::wrapped;
use crate::{KeyStore, PASSWORD, creation, events, make_cluster};

#[test]
fn a_custom_key_store_can_be_held_to_what_aws_does() {
    in_own_process("settings::a_custom_key_store_can_be_held_to_what_aws_does", |dir| {
        block_on(async {
            make_token(LABEL);
            make_cluster(dir);
            let mut settings = settings(dir);
            settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap().aws_limits = true;
            let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            for body in [
                json!({ "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY" }),
                json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }),
                json!({ "Origin": "EXTERNAL" }),
            ] {
                assert_eq!(service.refused("CreateKey", store.with(body)).await, "UnsupportedOperationException");
            }
            let key = store.create_key(json!({ "Origin": "AWS_CLOUDHSM" })).await;
            for operation in ["RotateKeyOnDemand", "EnableKeyRotation", "DisableKeyRotation", "GenerateDataKeyPair"] {
                let body = json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256" });
                assert_eq!(service.refused(operation, body).await, "UnsupportedOperationException", "{operation}");
            }
            service.call("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256" })).await;
            let status = service.call("GetKeyRotationStatus", json!({ "KeyId": key })).await;
            assert_eq!(status["KeyRotationEnabled"], false);
            service.close().await;
        });
    });
}

/// What its keys were before does not go on beyond the limits: no rotation by date, which can be disabled, and no import.
#[test]
fn a_custom_key_store_with_keys_can_be_held_to_what_aws_does() {
    in_own_process("settings::a_custom_key_store_with_keys_can_be_held_to_what_aws_does", |dir| {
        block_on(async {
            let clock = MovedClock::at(START);
            let service = crate::start(dir, clock.clone()).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let (key, other) = (store.create_key(json!({})).await, store.create_key(json!({})).await);
            for key in [&key, &other] {
                service.call("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 90 })).await;
            }
            let imported = store.create_key(json!({ "Origin": "EXTERNAL" })).await;
            let parameters =
                json!({ "KeyId": imported, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
            let given = service.call("GetParametersForImport", parameters.clone()).await;
            let id = store.id.clone();
            service.close().await;
            let mut settings = settings(dir);
            settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap().aws_limits = true;
            let service = InProcess::try_open(settings, clock.clone(), Default::default()).await.unwrap();
            let store = KeyStore::named(&service, &id);
            store.comes_back().await;
            let import = json!({
                "KeyId": imported, "ImportToken": given["ImportToken"], "EncryptedKeyMaterial": wrapped(&given, &[7; 32]),
                "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
            });
            for (operation, body) in [("GetParametersForImport", parameters), ("ImportKeyMaterial", import)] {
                assert_eq!(service.refused(operation, body).await, "UnsupportedOperationException", "{operation}");
            }
            let status = async |key: &str| {
                service.call("GetKeyRotationStatus", json!({ "KeyId": key })).await["KeyRotationEnabled"].clone()
            };
            assert_eq!(status(&key).await, false);
            service.call("DisableKeyRotation", json!({ "KeyId": key })).await;
            let again = service.refused("DisableKeyRotation", json!({ "KeyId": key })).await;
            assert_eq!(again, "UnsupportedOperationException");
            for _ in 0..100 {
                clock.pass(24 * HOUR);
                service.app.housekeep().await;
            }
            let rows = service.app.kms().store.all_keys();
            let materials = |key: &str| {
                rows.iter().find(|row| row.record.key_id.to_string() == key).unwrap().record.materials.len()
            };
            assert_eq!([materials(&key), materials(&other)], [1, 1]);
            service.close().await;
        });
    });
}

#[test]
fn a_trust_anchor_in_the_settings_is_the_only_one() {
    in_own_process("settings::a_trust_anchor_in_the_settings_is_the_only_one", |dir| {
        block_on(async {
            make_token(LABEL);
            let mut settings = settings(dir);
            let other = CERTIFICATE.replace("MAMCAQE=", "MAMCAQI=");
            std::fs::write(dir.join("ca.pem"), &other).unwrap();
            let cluster = settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap();
            cluster.trust_anchor = Some(dir.join("ca.pem"));
            let related = cluster.clone();
            let mut stranger = related.clone();
            stranger.trust_anchor = None;
            settings.clusters.insert("cluster-related2222".parse().unwrap(), related);
            settings.clusters.insert("cluster-stranger333".parse().unwrap(), stranger);
            settings
                .clusters
                .values_mut()
                .zip(["a", "b", "c"])
                .for_each(|(cluster, name)| cluster.label = Some(name.into()));
            let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
            let refused = service.refused("CreateCustomKeyStore", creation("ours", PASSWORD)).await;
            assert_eq!(refused, "IncorrectTrustAnchorException");
            let mut body = creation("ours", PASSWORD);
            body["TrustAnchorCertificate"] = json!(other);
            let made = service.call("CreateCustomKeyStore", body).await;
            let store = KeyStore::named(&service, made["CustomKeyStoreId"].as_str().unwrap());
            store.update(json!({ "CloudHsmClusterId": "cluster-related2222" })).await;
            assert_eq!(store.describe().await["CloudHsmClusterId"], "cluster-related2222");
            let told = events(dir, "UpdateCustomKeyStore").pop().unwrap()["additionalEventData"].clone();
            assert_eq!([&told["previousClusterId"], &told["clusterId"]], [CLUSTER, "cluster-related2222"], "{told}");
            // The account has a custom key store on a cluster with that certificate.
            body = creation("another", PASSWORD);
            body["TrustAnchorCertificate"] = json!(other);
            assert_eq!(service.refused("CreateCustomKeyStore", body.clone()).await, "CloudHsmClusterInUseException");
            body["CloudHsmClusterId"] = json!("cluster-stranger333");
            let made = service.call("CreateCustomKeyStore", body).await;
            let another = KeyStore::named(&service, made["CustomKeyStoreId"].as_str().unwrap());
            let change = another.with(json!({ "CloudHsmClusterId": "cluster-related2222" }));
            assert_eq!(service.refused("UpdateCustomKeyStore", change).await, "CloudHsmClusterNotRelatedException");
            // No token has such a label.
            assert_eq!(store.connect().await, ("FAILED".to_owned(), json!("CLUSTER_NOT_FOUND")));
            service.close().await;
        });
    });
}

/// On another token they would not be found, and that would be on record as their end.
#[test]
fn a_cluster_stays_while_objects_are_to_be_destroyed_there() {
    in_own_process("settings::a_cluster_stays_while_objects_are_to_be_destroyed_there", |dir| {
        block_on(async {
            make_token(LABEL);
            make_cluster(dir);
            let mut settings = settings(dir);
            std::fs::write(dir.join("ca.pem"), CERTIFICATE).unwrap();
            let cluster = settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap();
            cluster.trust_anchor = Some(dir.join("ca.pem"));
            let mut related = cluster.clone();
            related.label = Some("related".into());
            settings.clusters.insert(RELATED.parse().unwrap(), related);
            let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let key = store.create_key(json!({})).await;
            store.disconnected().await;
            // As the service leaves them that begins a destruction, and whose token is out then.
            let kms = service.app.kms();
            let row = kms.store.all_keys().remove(0);
            let mut doomed = row.record.clone();
            doomed.state = KeyState::Destroying;
            kms.commit(Change::new(kms.now()).update(&row, doomed)).await.unwrap();
            let stays = async || {
                let change = store.with(json!({ "CloudHsmClusterId": RELATED }));
                let (status, answer) = service.try_call("UpdateCustomKeyStore", &change).await;
                assert_eq!((status, &answer["__type"]), (400, &json!("CustomKeyStoreInvalidStateException")));
                assert!(answer["message"].as_str().unwrap().contains("still to be destroyed"), "{answer}");
                assert_eq!(store.describe().await["CloudHsmClusterId"], CLUSTER);
            };
            stays().await;
            store.update(json!({ "NewCustomKeyStoreName": "renamed", "KeyStorePassword": PASSWORD })).await;
            store.connected().await;
            let deadline = Instant::now() + Duration::from_secs(20);
            while kms.store.all_keys().iter().any(|row| row.record.key_id.to_string() == key) {
                assert!(Instant::now() < deadline, "it is destroyed where it is");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            store.disconnected().await;
            let intent = IntentRecord {
                kind: IntentKind::Destroy,
                name: row.record.objects().remove(0),
                key_id: None,
                region: row.record.region.clone(),
                custom_key_store: row.record.custom_key_store.clone(),
                account: row.record.account.clone(),
                owner: kms.instance.clone(),
                started: kms.now(),
            };
            kms.commit(Change::new(kms.now()).insert(intent)).await.unwrap();
            stays().await;
            let intent = kms.store.intents().remove(0);
            kms.commit(Change::new(kms.now()).delete(&*intent)).await.unwrap();
            store.update(json!({ "CloudHsmClusterId": RELATED })).await;
            service.close().await;
        });
    });
}

const RELATED: &str = "cluster-related2222";

#[test]
fn a_token_that_is_named_twice_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let good = settings(dir.path());
    good.check().unwrap();
    let id = CLUSTER.parse().unwrap();
    let mut same_label = good.clone();
    same_label.clusters.get_mut(&id).unwrap().label = Some(LABEL.into());
    let mut same_serial = good.clone();
    same_serial.clusters.get_mut(&id).unwrap().serial = Some("12".into());
    same_serial.token.serial = Some("12".into());
    let mut twice = good.clone();
    twice.clusters.insert("cluster-related2222".parse().unwrap(), good.clusters[&id].clone());
    for (settings, one, other) in [
        (same_label, "token", "clusters.\"cluster-234567abcde\""),
        (same_serial, "token", "clusters.\"cluster-234567abcde\""),
        (twice, "clusters.\"cluster-234567abcde\"", "clusters.\"cluster-related2222\""),
    ] {
        let error = settings.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("settings: {one} and {other} may be the same token")), "{error}");
    }
    let mut unnamed = good;
    unnamed.clusters.get_mut(&id).unwrap().label = None;
    assert!(unnamed.check().is_err());
}

/// Where the settings do not show it, the tokens do, whichever use of it begins first.
#[test]
fn a_token_that_is_a_cluster_and_a_regions_has_one_use() {
    in_own_process("settings::a_token_that_is_a_cluster_and_a_regions_has_one_use", |dir| {
        let folder = make_cluster(dir).display().to_string().replace('-', "");
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        // A library of its own: in one, who is logged in already would be told before.
        std::fs::copy(MODULE, dir.join("other.so")).unwrap();
        let mut settings = settings(dir);
        settings.token.module = module();
        settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap().module = dir.join("other.so");
        write_private(&dir.join("west-pin"), PASSWORD);
        let mut west = settings.token.clone();
        (west.label, west.serial) = (None, Some(folder[folder.len() - 16..].to_owned()));
        (west.pin_file, west.regions) = (dir.join("west-pin"), vec!["us-west-2".parse().unwrap()]);
        settings.tokens.insert("west".into(), west);
        let open = async || InProcess::try_open(settings.clone(), MovedClock::at(START), Default::default()).await;
        block_on(async {
            shim.rules(&format!("@{CLUSTER_LABEL} removed"));
            let service = open().await.unwrap();
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let key = store.create_key(json!({})).await;
            shim.rules("");
            let why = || service.app.kms().seats()[1].token().err().map(|error| error.to_string()).unwrap_or_default();
            until("the Region's token", || why().contains("`west` and `cluster-234567abcde` are the same token"));
            crate::encrypt(&service, &key).await;
            let id = store.id.clone();
            service.close().await;

            let service = open().await.unwrap();
            assert!(service.app.kms().seats()[1].token().is_ok());
            let store = KeyStore::named(&service, &id);
            let logins = || events(dir, "CustomKeyStoreLogin").len();
            let before = logins();
            let deadline = Instant::now() + Duration::from_secs(20);
            while logins() < before + 2 {
                assert!(Instant::now() < deadline);
                service.app.housekeep().await;
            }
            for _ in 0..20 {
                service.app.housekeep().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(store.state().await, "CONNECTED");
            assert_eq!(crate::key_state(&service, &key).await, "Unavailable");
            assert_eq!(logins() - before, 2, "tried again after a pause that grows");
            service.close().await;
        });
    });
}

#[test]
fn a_cluster_is_for_the_accounts_that_the_settings_name() {
    in_own_process("settings::a_cluster_is_for_the_accounts_that_the_settings_name", |dir| {
        block_on(async {
            make_token(LABEL);
            let mut settings = settings(dir);
            let cluster = settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap();
            cluster.accounts = vec!["444455556666".parse().unwrap()];
            let clock = MovedClock::at(START);
            let service = InProcess::try_open(settings.clone(), clock.clone(), Default::default()).await.unwrap();
            let refused = service.refused("CreateCustomKeyStore", creation("ours", PASSWORD)).await;
            assert_eq!(refused, "CloudHsmClusterNotFoundException");
            service.close().await;
            settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap().accounts.clear();
            make_cluster(dir);
            let service = InProcess::try_open(settings.clone(), clock.clone(), Default::default()).await.unwrap();
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let id = store.id.clone();
            service.close().await;

            // Who is taken out of the settings has nothing to log in to any more.
            settings.clusters.get_mut(&CLUSTER.parse().unwrap()).unwrap().accounts =
                vec!["444455556666".parse().unwrap()];
            let service = InProcess::try_open(settings, clock, Default::default()).await.unwrap();
            let store = KeyStore::named(&service, &id);
            for _ in 0..3 {
                service.app.housekeep().await;
            }
            assert!(!service.app.kms().is_available(&id.parse().unwrap()));
            store.disconnected().await;
            assert_eq!(store.connect().await, ("FAILED".to_owned(), json!("CLUSTER_NOT_FOUND")));
            service.close().await;
        });
    });
}
