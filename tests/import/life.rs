//! What ends by the clock: imported material, wrapping keys and import tokens; in the test's own process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use hsm_kms::kms::End;
use hsm_kms::model::{KeyId, ObjectName, Purpose};
use hsm_kms::settings::Settings;
use hsm_kms::store::{Change, IntentKind, IntentRecord};
use hsm_kms::token::Status;
use serde_json::{Value, json};

use crate::in_process::{HOUR, InProcess, MovedClock, START, settings};
use crate::process::{LABEL, PIN, block_on, close_all_sessions, in_own_process, make_token, other_context, pin};
use crate::support::{audit_lines, wrapped};

const MATERIAL: [u8; 32] = [7; 32];
const PENDING: &str = "KMSInvalidStateException";

#[test]
fn material_is_of_no_use_from_its_moment_on_and_destroyed_soon_after() {
    in_own_process("life::material_is_of_no_use_from_its_moment_on_and_destroyed_soon_after", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (key, kept) = (external_key(&service).await, external_key(&service).await);
            let token = parameters(&service, &key).await;
            let told = import(&service, &key, &token, Some(START + 3_600_000)).await;
            let for_ever = parameters(&service, &kept).await;
            import(&service, &kept, &for_ever, None).await;
            let sealed = encrypt(&service, &key).await;
            let valid_to = (START + 3_600_000) as f64 / 1_000.0;
            assert_eq!(described(&service, &key).await["ValidTo"], valid_to);

            service.clock.pass(HOUR - Duration::from_millis(1));
            assert_eq!(decrypt(&service, &sealed).await, "c2VjcmV0");
            service.clock.pass(Duration::from_millis(1));
            // Nobody has destroyed anything yet.
            assert_eq!(labels(&service, &key).await.len(), 1);
            assert_eq!(service.refused("Decrypt", json!({ "CiphertextBlob": sealed })).await, PENDING);
            assert_eq!(service.refused("Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" })).await, PENDING);
            assert_eq!(service.refused("EnableKey", json!({ "KeyId": key })).await, PENDING);
            let metadata = described(&service, &key).await;
            assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("PendingImport"), &json!(false)));
            // A clock that goes back brings nothing back.
            service.clock.jump(-7_200_000);
            assert_eq!(service.refused("Decrypt", json!({ "CiphertextBlob": sealed })).await, PENDING);
            service.clock.jump(7_200_000);

            rounds(&service).await;
            assert!(labels(&service, &key).await.is_empty());
            assert_eq!(described(&service, &key).await.get("ExpirationModel"), None);
            let object = format!("hsm-kms/imported/{key}/1");
            let events = events(dir, "DeleteExpiredKeyMaterial");
            let begun = json!({ "phase": "begun", "keyMaterialIds": [told["KeyMaterialId"]], "objects": [object] });
            let done = json!({ "phase": "done", "destroyed": [object], "objectsFoundAfterwards": 0 });
            let details: Vec<_> = events.iter().map(|event| event["additionalEventData"].clone()).collect();
            assert_eq!(details, [begun, done]);
            assert!(events.iter().all(|event| event["eventType"] == "AwsServiceEvent"));
            assert!(events.iter().all(|event| event["resources"][0]["ARN"].as_str().unwrap().ends_with(&key)));
            assert_eq!(described(&service, &kept).await["KeyState"], "Enabled");

            // The same material once more, by the same token: what was encrypted is there again.
            import(&service, &key, &token, None).await;
            assert_eq!(decrypt(&service, &sealed).await, "c2VjcmV0");
            assert_eq!(labels(&service, &key).await, [format!("hsm-kms/imported/{key}/2")]);
            service.close().await;
            hsm_kms::audit::verify(&dir.join("data/audit")).unwrap();
        });
    });
}

#[test]
fn a_clock_set_forward_ends_the_use_at_once_and_destroys_after_a_day() {
    in_own_process("life::a_clock_set_forward_ends_the_use_at_once_and_destroys_after_a_day", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let token = parameters(&service, &key).await;
            import(&service, &key, &token, Some(START + 10 * DAY_MILLIS)).await;
            let sealed = encrypt(&service, &key).await;
            rounds(&service).await;
            service.clock.jump(20 * DAY_MILLIS);
            assert_eq!(service.refused("Decrypt", json!({ "CiphertextBlob": sealed })).await, PENDING);
            for _ in 0..23 {
                service.clock.pass(HOUR);
                rounds(&service).await;
            }
            assert_eq!(labels(&service, &key).await.len(), 1, "23 hours are not enough");
            assert_eq!(service.refused("Decrypt", json!({ "CiphertextBlob": sealed })).await, PENDING);
            for _ in 0..2 {
                service.clock.pass(HOUR);
                rounds(&service).await;
            }
            assert!(labels(&service, &key).await.is_empty());
            assert_eq!(events(dir, "DeleteExpiredKeyMaterial").len(), 2);
            service.close().await;
        });
    });
}

/// What expired while the service was away is of no use when it is back, and what was not over is.
#[test]
fn material_expires_while_the_service_is_away() {
    in_own_process("life::material_expires_while_the_service_is_away", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (over, good) = (external_key(&service).await, external_key(&service).await);
            let mut sealed = Vec::new();
            for (key, hours) in [(&over, 1), (&good, 30)] {
                let token = parameters(&service, key).await;
                import(&service, key, &token, Some(START + hours * 3_600_000)).await;
                sealed.push(encrypt(&service, key).await);
            }
            service.close().await;
            let service = InProcess::open(dir, MovedClock::at(START + 2 * 3_600_000)).await;
            assert_eq!(service.refused("Decrypt", json!({ "CiphertextBlob": sealed[0] })).await, PENDING);
            assert_eq!(decrypt(&service, &sealed[1]).await, "c2VjcmV0");
            rounds(&service).await;
            assert!(labels(&service, &over).await.is_empty());
            assert_eq!(labels(&service, &good).await.len(), 1);
            service.close().await;
        });
    });
}

/// A material that waits for its rotation and expires takes nothing with it.
#[test]
fn expiry_of_what_waits_for_its_rotation_leaves_the_key_as_it_is() {
    in_own_process("life::expiry_of_what_waits_for_its_rotation_leaves_the_key_as_it_is", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let token = parameters(&service, &key).await;
            import(&service, &key, &token, None).await;
            let mut second = request(&key, &token, &[8; 32], Some(START + 3_600_000));
            second["ImportType"] = "NEW_KEY_MATERIAL".into();
            service.call("ImportKeyMaterial", second).await;
            assert_eq!(described(&service, &key).await.get("ValidTo"), None, "it is no part of the key yet");
            service.clock.pass(HOUR);
            assert_eq!(service.refused("RotateKeyOnDemand", json!({ "KeyId": key })).await, PENDING);
            let sealed = encrypt(&service, &key).await;
            rounds(&service).await;
            assert_eq!(labels(&service, &key).await, [format!("hsm-kms/imported/{key}/1")]);
            assert_eq!(decrypt(&service, &sealed).await, "c2VjcmV0");
            assert_eq!(described(&service, &key).await["KeyState"], "Enabled");
            service.close().await;
        });
    });
}

#[test]
fn wrapping_keys_and_their_tokens_end_after_a_day() {
    in_own_process("life::wrapping_keys_and_their_tokens_end_after_a_day", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let token = parameters(&service, &key).await;
            assert_eq!(token["ParametersValidTo"], ((START + DAY_MILLIS) as f64) / 1_000.0);
            let good = request(&key, &token, &MATERIAL, None);
            service.clock.pass(24 * HOUR - Duration::from_millis(1));
            rounds(&service).await;
            service.call("ImportKeyMaterial", good.clone()).await;
            service.clock.pass(Duration::from_millis(1));
            assert_eq!(service.refused("ImportKeyMaterial", good.clone()).await, EXPIRED, "before the worker came");
            // A clock that goes back brings no token back.
            service.clock.jump(-DAY_MILLIS / 2);
            assert_eq!(service.refused("ImportKeyMaterial", good.clone()).await, EXPIRED);
            service.clock.jump(DAY_MILLIS / 2);
            assert_eq!(wrapping_keys(&service).await.len(), 1);
            rounds(&service).await;
            assert!(wrapping_keys(&service).await.is_empty());
            assert_eq!(events(dir, "DestroyImportWrappingKey").len(), 1);
            assert_eq!(service.refused("ImportKeyMaterial", good).await, EXPIRED);
            assert_eq!(described(&service, &key).await["KeyState"], "Enabled");
            service.close().await;
        });
    });
}

/// A token that was given out before a restart is good after it.
#[test]
fn a_token_outlives_the_process() {
    in_own_process("life::a_token_outlives_the_process", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let token = parameters(&service, &key).await;
            service.close().await;
            let service = InProcess::open(dir, MovedClock::at(START + 3_600_000)).await;
            import(&service, &key, &token, None).await;
            assert!(events(dir, "ReconcileTokenObjects").is_empty(), "every object has its record");
            service.close().await;
        });
    });
}

#[test]
fn nobody_fills_the_token_with_wrapping_keys() {
    in_own_process("life::nobody_fills_the_token_with_wrapping_keys", |dir| {
        block_on(async {
            make_token(LABEL);
            let mut limited = settings(dir);
            limited.import.max_wrapping_keys = 11;
            let service = open(limited).await;
            let (key, other) = (external_key(&service).await, external_key(&service).await);
            let mut tokens = Vec::new();
            for _ in 0..9 {
                tokens.push(parameters(&service, &key).await);
                service.clock.pass(Duration::from_secs(1));
            }
            // The ninth ended the first one, and no other.
            let ended = service.refused("ImportKeyMaterial", request(&key, &tokens[0], &MATERIAL, None)).await;
            assert_eq!(ended, EXPIRED);
            import(&service, &key, &tokens[1], None).await;
            assert_eq!(wrapping_keys(&service).await.len(), 9);
            rounds(&service).await;
            assert_eq!(wrapping_keys(&service).await.len(), 8);
            for _ in 0..3 {
                parameters(&service, &other).await;
            }
            let body =
                json!({ "KeyId": other, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
            assert_eq!(service.refused("GetParametersForImport", body).await, "ThrottlingException");
            assert_eq!(wrapping_keys(&service).await.len(), 11);
            // A day later there is room again.
            service.clock.pass(24 * HOUR);
            rounds(&service).await;
            parameters(&service, &other).await;
            assert_eq!(wrapping_keys(&service).await.len(), 1);
            service.close().await;
        });
    });
}

/// Whoever comes at the same time is counted with those who are there.
#[test]
fn the_last_places_for_wrapping_keys_are_given_once() {
    in_own_process("life::the_last_places_for_wrapping_keys_are_given_once", |dir| {
        block_on(async {
            make_token(LABEL);
            let mut limited = settings(dir);
            limited.import.max_wrapping_keys = 3;
            let service = Arc::new(open(limited).await);
            let (key, other) = (external_key(&service).await, external_key(&service).await);
            parameters(&service, &key).await;
            let asks = [&key, &other, &key, &other, &key, &other].map(|key| {
                let service = Arc::clone(&service);
                let algorithm = "RSAES_OAEP_SHA_1";
                let body = json!({ "KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048" });
                tokio::spawn(async move { service.try_call("GetParametersForImport", &body).await })
            });
            let mut given = 0;
            for ask in asks {
                match ask.await.unwrap() {
                    (200, _) => given += 1,
                    (_, refused) => assert_eq!(refused["__type"], "ThrottlingException", "{refused}"),
                }
            }
            assert_eq!((given, wrapping_keys(&service).await.len()), (2, 3));
            Arc::into_inner(service).unwrap().close().await;
        });
    });
}

#[test]
fn the_deletion_of_a_key_takes_its_material_and_its_wrapping_keys() {
    in_own_process("life::the_deletion_of_a_key_takes_its_material_and_its_wrapping_keys", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let token = parameters(&service, &key).await;
            import(&service, &key, &token, None).await;
            service.call("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 })).await;
            assert_eq!(service.refused("ImportKeyMaterial", request(&key, &token, &MATERIAL, None)).await, PENDING);
            for _ in 0..7 * 24 + 1 {
                service.clock.pass(HOUR);
                service.app.housekeep().await;
            }
            rounds(&service).await;
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": key })).await, "NotFoundException");
            assert!(labels(&service, "imported").await.is_empty() && wrapping_keys(&service).await.is_empty());
            service.close().await;
        });
    });
}

/// `serve` does not let material pass through the host unless it is told to: SoftHSM unwraps SHA-1 alone by itself.
#[test]
fn the_host_unwraps_only_if_it_may() {
    in_own_process("life::the_host_unwraps_only_if_it_may", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let body =
                json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048" });
            let answer = service.call("GetParametersForImport", body).await;
            let mut import = request(&key, &answer, &MATERIAL, None);
            import["EncryptedKeyMaterial"] = wrapped_by_sha256(&answer, &MATERIAL).into();
            let (status, refused) = service.try_call("ImportKeyMaterial", &import).await;
            let message = "The token cannot unwrap RSAES_OAEP_SHA_256 by itself, and the setting import.host_unwrap does \
                           not allow the host to.";
            assert_eq!((status, &refused["message"]), (400, &json!(message)));
            assert_eq!(refused["__type"], "UnsupportedOperationException");
            assert!(labels(&service, "imported").await.is_empty());
            assert_eq!(described(&service, &key).await["KeyState"], "PendingImport");
            // By itself it can.
            let token = parameters(&service, &key).await;
            self::import(&service, &key, &token, None).await;
            assert_eq!(described(&service, &key).await["HsmKmsImportUnwrappedOn"], "TOKEN");
            service.close().await;

            let mut allowed = settings(dir);
            allowed.import.host_unwrap = true;
            let service = open(allowed).await;
            service.call("ImportKeyMaterial", import).await;
            assert_eq!(described(&service, &key).await["HsmKmsImportUnwrappedOn"], "HOST");
            service.close().await;
        });
    });
}

/// An object that a rotation is making has an intent, too, and nobody takes it for one that is being destroyed.
#[test]
fn what_is_being_made_is_not_destroyed() {
    in_own_process("life::what_is_being_made_is_not_destroyed", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = service.new_key().await;
            let sealed = encrypt(&service, &key).await;
            let kms = service.app.kms();
            for kind in [IntentKind::Create, IntentKind::RotateOnDemand, IntentKind::RotateAutomatically] {
                let intent = IntentRecord {
                    kind,
                    name: ObjectName { purpose: Purpose::Kms, key_id: key.parse().unwrap(), material: 1 },
                    key_id: None,
                    region: "us-east-1".parse().unwrap(),
                    custom_key_store: None,
                    account: "111122223333".parse().unwrap(),
                    owner: kms.instance.clone(),
                    started: kms.now(),
                };
                kms.store.commit(Change::new(kms.now()).insert(intent.clone())).await.unwrap();
                kms.finish_removals(&kms.key_stores()[0], End::Destroyed).await;
                rounds(&service).await;
                assert_eq!(decrypt(&service, &sealed).await, "c2VjcmV0", "{kind:?}");
                let intent = kms.store.intent(&intent.name).unwrap();
                kms.store.commit(Change::new(kms.now()).delete(&*intent)).await.unwrap();
            }
            service.close().await;
        });
    });
}

/// Whoever has many wrapping keys in the making leaves room for those of other accounts.
#[test]
fn wrapping_keys_in_the_making_are_counted_by_account() {
    in_own_process("life::wrapping_keys_in_the_making_are_counted_by_account", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let key = external_key(&service).await;
            let kms = service.app.kms();
            let begun = |number: u8, account: &str| IntentRecord {
                kind: IntentKind::Create,
                name: ObjectName {
                    purpose: Purpose::ImportWrapping,
                    key_id: KeyId::from_bytes([number; 16]),
                    material: 1,
                },
                key_id: None,
                region: "us-east-1".parse().unwrap(),
                custom_key_store: None,
                account: account.parse().unwrap(),
                owner: kms.instance.clone(),
                started: kms.now(),
            };
            for number in 0..32 {
                let others = begun(100 + number, "444455556666");
                let change = Change::new(kms.now()).insert(begun(number, "111122223333")).insert(others);
                kms.store.commit(change).await.unwrap();
            }
            let body = json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
            assert_eq!(service.refused("GetParametersForImport", body).await, "ThrottlingException");
            let over = kms.store.intent(&begun(0, "111122223333").name).unwrap();
            kms.store.commit(Change::new(kms.now()).delete(&*over)).await.unwrap();
            import(&service, &key, &parameters(&service, &key).await, None).await;
            service.close().await;
        });
    });
}

/// While the token cannot be asked, nothing is begun that would have to be undone.
#[test]
fn an_outage_leaves_nothing_to_undo() {
    in_own_process("life::an_outage_leaves_nothing_to_undo", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (made, key) = (service.new_key().await, external_key(&service).await);
            let parameters = parameters(&service, &key).await;
            let (context, slot) = other_context();
            context.open_rw_session(slot).unwrap().set_pin(&pin(PIN), &pin("4321")).unwrap();
            close_all_sessions(slot.id());
            let kms = service.app.kms();
            while kms.token(&"us-east-1".parse().unwrap(), None).unwrap().status() != Status::PinRefused {
                service.try_call("Encrypt", &json!({ "KeyId": made, "Plaintext": "eHk=" })).await;
            }
            let epoch = kms.store.epoch();
            for (operation, body) in [
                ("CreateKey", json!({})),
                ("CreateKey", json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" })),
                ("RotateKeyOnDemand", json!({ "KeyId": made })),
                (
                    "GetParametersForImport",
                    json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" }),
                ),
                ("ImportKeyMaterial", request(&key, &parameters, &MATERIAL, None)),
            ] {
                assert_eq!(service.refused(operation, body).await, "KeyUnavailableException", "{operation}");
                assert!(kms.store.intents().is_empty(), "{operation}");
            }
            assert_eq!(kms.store.epoch(), epoch, "nothing is written");
            service.close().await;
        });
    });
}

async fn open(settings: Settings) -> InProcess {
    InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap()
}

/// So many rounds of housekeeping that all of its work is done.
async fn rounds(service: &InProcess) {
    for _ in 0..10 {
        service.app.housekeep().await;
    }
}

async fn external_key(service: &InProcess) -> String {
    let made = service.call("CreateKey", json!({ "Origin": "EXTERNAL" })).await;
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

/// Parameters of the one algorithm that SoftHSM unwraps by itself.
async fn parameters(service: &InProcess, key: &str) -> Value {
    let body = json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
    service.call("GetParametersForImport", body).await
}

fn request(key: &str, parameters: &Value, material: &[u8], valid_to: Option<i64>) -> Value {
    let model = if valid_to.is_some() { "KEY_MATERIAL_EXPIRES" } else { "KEY_MATERIAL_DOES_NOT_EXPIRE" };
    json!({
        "KeyId": key,
        "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": wrapped(parameters, material),
        "ExpirationModel": model,
        "ValidTo": valid_to.map(|millis| millis as f64 / 1_000.0),
    })
}

async fn import(service: &InProcess, key: &str, parameters: &Value, valid_to: Option<i64>) -> Value {
    service.call("ImportKeyMaterial", request(key, parameters, &MATERIAL, valid_to)).await
}

async fn described(service: &InProcess, key: &str) -> Value {
    service.call("DescribeKey", json!({ "KeyId": key })).await["KeyMetadata"].clone()
}

async fn encrypt(service: &InProcess, key: &str) -> String {
    let sealed = service.call("Encrypt", json!({ "KeyId": key, "Plaintext": "c2VjcmV0" })).await;
    sealed["CiphertextBlob"].as_str().unwrap().to_owned()
}

async fn decrypt(service: &InProcess, sealed: &str) -> String {
    let opened = service.call("Decrypt", json!({ "CiphertextBlob": sealed })).await;
    opened["Plaintext"].as_str().unwrap().to_owned()
}

/// The labels of our objects on the token that hold this text.
async fn labels(service: &InProcess, part: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let objects = service.app.kms().tokens()[0].objects(deadline).await.unwrap();
    objects.ours.into_iter().map(|object| object.label).filter(|label| label.contains(part)).collect()
}

async fn wrapping_keys(service: &InProcess) -> Vec<String> {
    labels(service, "hsm-kms/import-wrapping/").await
}

fn wrapped_by_sha256(parameters: &Value, material: &[u8]) -> String {
    let mut oracle = crate::Oracle::new();
    oracle.wrap("RSAES_OAEP_SHA_256", parameters["PublicKey"].as_str().unwrap(), material)
}

fn events(dir: &Path, name: &str) -> Vec<Value> {
    let lines = audit_lines(&dir.join("data"));
    lines.into_iter().map(|line| line["event"].clone()).filter(|event| event["eventName"] == name).collect()
}

const EXPIRED: &str = "ExpiredImportTokenException";
const DAY_MILLIS: i64 = 86_400_000;
