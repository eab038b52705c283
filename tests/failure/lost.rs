//! A token that is lost for good: an operator gives it up, what is due there ends with a true record, and nothing else does.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hsm_kms::api::admin::{Limits, Socket, answer_here};
use hsm_kms::app::Accepted;
use hsm_kms::crash_point;
use hsm_kms::kms::{KeyStore, Whereabouts};
use hsm_kms::model::{KeyId, ObjectName, Purpose};
use hsm_kms::settings::TokenSettings;
use hsm_kms::store::{Change, IntentKind, IntentRecord};
use hsm_kms::token::init_token;
use serde_json::{Value, json};

use crate::in_process::{CERTIFICATE, CLUSTER, InProcess, MovedClock, START, settings};
use crate::load::{ask, refused};
use crate::process::{LABEL, MODULE, again, assert_passed, dir_of, in_own_process, make_token, pin, role, softhsm_dir};
use crate::rig::Rig;
use crate::shim::{Shim, module};
use crate::support::{PROGRAM, Service, audit_lines, wrapped};

const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";
const PASSWORD: &str = "the-password";
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn what_is_due_on_a_lost_token_ends_and_nothing_else() {
    in_own_process("lost::what_is_due_on_a_lost_token_ends_and_nothing_else", |dir| {
        block_on(async {
            let service = open(dir, START).await;
            let kms = service.app.kms();
            let serials = [EAST, WEST].map(|region| serial(&service, region));
            pair(&service).await;
            let keys = [make(&service, json!({})).await, make(&service, json!({})).await];
            let [due, later] = &keys;
            let kept = make(&service, json!({})).await;
            let imported = import_for_a_day(&service).await;
            let related = call(&service, EAST, "CreateKey", json!({ "MultiRegion": true })).await;
            let related = related["KeyMetadata"]["KeyId"].as_str().unwrap();
            call(&service, EAST, "ReplicateKey", json!({ "KeyId": related, "ReplicaRegion": WEST })).await;
            for (region, key, days) in [(EAST, related, 7), (WEST, related, 7), (WEST, due, 7), (WEST, later, 30)] {
                schedule(&service, region, key, days).await;
            }
            begin_a_creation(&service).await;
            let named = labels_of(&service, WEST);

            // While the token is there, all of this is done on it.
            let told = service_answer(&service, &serials[1]).await;
            assert_eq!(told["error"]["code"], "DeleteConflict", "{told}");
            assert!(told["error"]["message"].as_str().unwrap().contains("is there and answers"), "{told}");
            Shim::in_dir(dir).rules("@west removed");
            lost(&service, &serials[1], &kept).await;
            pass(&service, 8).await;
            assert_eq!(labels_of(&service, WEST), named[..named.len() - 1], "the imported material is over, and waits");

            let socket = Socket::bind(service.app.data()).unwrap();
            let (stop, stopping) = tokio::sync::watch::channel(false);
            let serving = tokio::spawn(socket.serve(service.app.desk().clone(), Limits::default(), stopping));
            let told = given_up(dir, &serials[1]);
            assert_eq!(told["Token"], json!({ "Serial": serials[1], "Label": "west" }));
            assert_eq!(told["KeyStores"], json!([{ "Region": WEST }]));
            assert_eq!(kinds(&told["Finished"]), ["Creation", "Key", "Key", "KeyMaterial", "WrappingKey"], "{told}");
            let left = |key: &str, state: &str| (arn(WEST, key), state.to_owned());
            let mut expected =
                [left(&kept, "Enabled"), left(later, "PendingDeletion"), left(&imported, "PendingImport")];
            expected.sort();
            assert_eq!(states(&told["Remaining"]), expected);
            let dated =
                told["Remaining"].as_array().unwrap().iter().find(|row| row["KeyArn"] == arn(WEST, later)).unwrap();
            assert_eq!(dated["Date"], "2026-12-22T00:00:00Z");
            assert_eq!(told["PairingsEnded"], json!([]), "its keys may come back with it");
            is_on_record(dir, &serials[1], due);
            for key in [due, related] {
                let described = service.try_call_in(WEST, "DescribeKey", &json!({ "KeyId": key })).await.1;
                assert_eq!(described["__type"], "NotFoundException");
            }
            assert_eq!(state(&service, EAST, related).as_deref(), Some("PendingDeletion"), "it waits from now on");

            // Once more, nothing happens; and once everything is due, nothing is left.
            let again = given_up(dir, &serials[1]);
            assert_eq!((&again["Finished"], &again["Remaining"]), (&json!([]), &told["Remaining"]));
            for key in [&kept, &imported] {
                schedule(&service, WEST, key, 7).await;
            }
            pass(&service, 31).await;
            assert_eq!(state(&service, EAST, related), None);
            let told = given_up(dir, &serials[1]);
            assert_eq!(
                kinds(&told["Finished"]),
                ["Key", "Key"],
                "the third one had no object, and needed no token: {told}"
            );
            assert_eq!((&told["Remaining"], &told["PairingsEnded"]), (&json!([]), &json!([serials[0]])));
            assert!(kms.store.replication_key(&serials[1]).is_none() && kms.store.pairings().is_empty());
            let event = events(dir, "ForgetReplicationKey").pop().unwrap();
            assert_eq!(event["additionalEventData"]["objectsLeftOn"]["serial"], serials[1], "{event}");
            assert!(!kms.has_objects(&KeyStore::Region(WEST.parse().unwrap())));
            stop.send_replace(true);
            serving.await.unwrap();
            service.close().await;

            // If it comes back, what is on it is nobody's.
            Shim::in_dir(dir).rules("");
            let service = open(dir, START + 39 * 86_400_000).await;
            let found = events(dir, "ReconcileTokenObjects").pop().unwrap();
            let orphans = found["additionalEventData"]["orphans"].as_array().unwrap();
            assert!(named.iter().all(|label| orphans.contains(&json!(label))), "{found}");
            assert_eq!(found["additionalEventData"]["missing"], json!([]));
            service.close().await;
            hsm_kms::audit::verify(&dir.join("data/audit")).unwrap();
        });
    });
}

/// What the record says of the end of this key and of everything else that ended with the token.
fn is_on_record(dir: &Path, serial: &str, key: &str) {
    let all = audit_lines(&dir.join("data")).into_iter().map(|mut line| line["event"].take()).collect::<Vec<_>>();
    let act = all.iter().rposition(|event| event["eventName"] == "GiveUpToken").unwrap();
    let left = all.iter().position(|event| !event["additionalEventData"]["objectsLeftOn"].is_null()).unwrap();
    assert!(act < left, "the act is on record before what follows from it");
    let act = &all[act];
    let uid = format!("uid:{}", rustix::process::getuid().as_raw());
    assert_eq!((&act["userIdentity"]["type"], &act["userIdentity"]["principalId"]), (&json!("Operator"), &json!(uid)));
    assert_eq!(act["requestParameters"]["serial"], serial);
    assert_eq!(act["responseElements"]["keyStores"], json!([{ "Region": WEST }]));
    let about = |event: &&Value| event["eventName"] == "DeleteKey" && event["resources"][0]["ARN"] == arn(WEST, key);
    let told: Vec<_> = all.iter().filter(about).map(|event| event["additionalEventData"].clone()).collect();
    let label = format!("hsm-kms/kms/{key}/1");
    let by = json!({ "eventID": act["eventID"], "userIdentity": act["userIdentity"] });
    let on = json!({ "serial": serial, "label": "west", "objects": [label] });
    let done = json!({ "phase": "done", "destroyed": [], "objectsLeftOn": on, "givenUpBy": by });
    assert_eq!(told, [json!({ "phase": "begun", "objects": [label] }), done]);
    let after: Vec<_> = all[left..].iter().filter(|event| event["eventType"] == "AwsServiceEvent").collect();
    let names: Vec<_> = after.iter().map(|event| event["eventName"].as_str().unwrap()).collect();
    for name in ["DeleteKey", "UndoCreateKey", "DeleteExpiredKeyMaterial", "DestroyImportWrappingKey"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let tells_of_destruction = |event: &Value| event["additionalEventData"]["objectsFoundAfterwards"].is_number();
    assert!(!after.iter().any(|event| tells_of_destruction(event)), "{after:?}");
}

/// Killed between two keys; the next command goes on.
#[test]
fn a_command_that_was_killed_is_given_again() {
    let test = "lost::a_command_that_was_killed_is_given_again";
    if let Some(dir) = dir_of(test) {
        return block_on(play(&dir));
    }
    for (point, gone) in [("object-given-up", 0), ("object-given-up:2", 1)] {
        let dir = softhsm_dir();
        let killed = again(test, "kill", dir.path()).env(crash_point::VARIABLE, point).output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{point}: {killed:?}");
        let acts = |name| events(dir.path(), name).len();
        assert_eq!((acts("GiveUpToken"), phases(dir.path(), "done").len()), (1, gone), "{point}");
        assert_passed(test, &again(test, "finish", dir.path()).output().unwrap());
        let mut done = phases(dir.path(), "done");
        done.sort();
        done.dedup();
        assert_eq!(
            (done.len(), phases(dir.path(), "done").len(), acts("GiveUpToken")),
            (2, 2, 2),
            "{point}: each once"
        );
        hsm_kms::audit::verify(&dir.path().join("data/audit")).unwrap();
    }
}

async fn play(dir: &Path) {
    if role() == "kill" {
        let service = open(dir, START).await;
        let kept = make(&service, json!({})).await;
        for _ in 0..2 {
            let key = make(&service, json!({})).await;
            schedule(&service, WEST, &key, 7).await;
        }
        let serial = serial(&service, WEST);
        std::fs::write(dir.join("serial"), &serial).unwrap();
        Shim::in_dir(dir).rules("@west removed");
        lost(&service, &serial, &kept).await;
        pass(&service, 8).await;
        let told = service_answer(&service, &serial).await;
        panic!("the crash point was not reached: {told}");
    }
    let service = open(dir, START + 8 * 86_400_000 + 3_600_000).await;
    let serial = std::fs::read_to_string(dir.join("serial")).unwrap();
    let told = service_answer(&service, &serial).await;
    assert_eq!(states(&told["output"]["Remaining"])[0].1, "Enabled", "{told}");
    service.close().await;
}

/// The keys of `DeleteKey` events of this phase.
fn phases(dir: &Path, phase: &str) -> Vec<String> {
    let events = events(dir, "DeleteKey").into_iter().filter(|event| event["additionalEventData"]["phase"] == phase);
    events.map(|event| event["resources"][0]["ARN"].to_string()).collect()
}

#[test]
fn a_custom_key_store_on_a_lost_token_can_be_deleted() {
    in_own_process("lost::a_custom_key_store_on_a_lost_token_can_be_deleted", |dir| {
        block_on(async {
            let service = open(dir, START).await;
            let body = json!({
                "CustomKeyStoreName": "ours", "CloudHsmClusterId": CLUSTER, "KeyStorePassword": PASSWORD,
                "TrustAnchorCertificate": CERTIFICATE,
            });
            let id = service.call("CreateCustomKeyStore", body).await["CustomKeyStoreId"].clone();
            let about = json!({ "CustomKeyStoreId": id });
            service.call("ConnectCustomKeyStore", about.clone()).await;
            settled(&service, "CONNECTED").await;
            let key = service.call("CreateKey", about.clone()).await["KeyMetadata"]["KeyId"].clone();
            let key = key.as_str().unwrap();
            schedule(&service, EAST, key, 7).await;
            service.call("DisconnectCustomKeyStore", about.clone()).await;
            settled(&service, "DISCONNECTED").await;
            let kms = service.app.kms();
            let serial = kms.store.custom_key_stores()[0].record.serial.clone().unwrap();
            pass(&service, 8).await;

            let refuses = async |serial: &str, code: &str, why: &str| {
                let told = service_answer(&service, serial).await;
                let message = told["error"]["message"].as_str().unwrap_or_default();
                assert!(told["error"]["code"] == code && message.contains(why), "{told}");
            };
            refuses("0123456789abcdef", "NoSuchEntity", "No Region and no custom key store").await;
            refuses(&self::serial(&service, EAST), "InvalidInput", "the store's root").await;
            // Nobody is logged in to it, and it is there.
            refuses(&serial, "DeleteConflict", "listed by its module").await;
            Shim::in_dir(dir).rules("@cluster removed");
            // By a clock that was set, its date may be far away.
            service.clock.jump(86_400_000);
            refuses(&serial, "DeleteConflict", "--accept-clock").await;
            assert_eq!(service.refused("DeleteCustomKeyStore", about.clone()).await, "CustomKeyStoreHasCMKsException");
            service.app.housekeep().await;
            refuses(&serial, "DeleteConflict", "--accept-clock").await;
            assert!(
                phases(dir, "begun").is_empty() && state(&service, EAST, key).as_deref() == Some("PendingDeletion")
            );
            pass(&service, 2).await;
            assert_eq!(events(dir, "ClockJumped").len(), 1);

            let told = service_answer(&service, &serial).await;
            assert_eq!(told["output"]["KeyStores"], json!([{ "CustomKeyStoreId": id }]));
            assert_eq!((kinds(&told["output"]["Finished"]), &told["output"]["Remaining"]), (vec!["Key"], &json!([])));
            let done = events(dir, "DeleteKey").pop().unwrap()["additionalEventData"].clone();
            assert_eq!((&done["customKeyStoreId"], &done["destroyed"]), (&id, &json!([])));
            assert_eq!(done["objectsLeftOn"]["label"], "cluster");
            service.call("DeleteCustomKeyStore", about).await;
            service.close().await;
        });
    });
}

/// The command as operators give it: to a service that runs, and on its folder.
#[test]
fn the_command_serves_online_and_offline() {
    let rig = Rig::new(&["one", "two"]);
    let service = rig.serve();
    let region = "eu-west-1";
    let (one, two) = (import(&service, region), import(&service, region));
    let serials = assigned(&service);
    let give_up = |serial: &str, more: &[&str]| {
        let arguments = ["token", "give-up", "--config", "settings.toml", "--serial", serial];
        let output = rig.command(&[&arguments[..], more].concat()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, _, why) = give_up(&serials[1], &[]);
    assert!(code == 1 && why.contains("DeleteConflict") && why.contains("is there and answers"), "{why}");
    let (code, _, why) = give_up(&serials[0], &[]);
    assert!(code == 1 && why.contains("InvalidInput"), "{why}");

    // The deletion of imported material is begun, and its object is out of reach.
    rig.shim.rules("@two removed");
    for key in [&one, &two] {
        assert_eq!(refused(&service, region, "Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" })), UNAVAILABLE);
    }
    let delete =
        |service: &Service, key| refused(service, region, "DeleteImportedKeyMaterial", json!({ "KeyId": key }));
    assert_eq!(delete(&service, &one), UNAVAILABLE);
    let (code, told, why) = give_up(&serials[1], &[]);
    assert_eq!(code, 0, "{why}");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], format!("the token {} (`two`) is given up", serials[1]));
    let at = |title: &str| lines.iter().position(|line| line.starts_with(title)).unwrap();
    let (finished, remaining) = lines.split_at(at("still there"));
    assert!(finished.iter().any(|line| line.contains("KeyMaterial") && line.contains(&one)), "{told}");
    assert!(remaining.iter().any(|line| line.contains(&two) && line.contains("Enabled")), "{told}");
    assert_eq!(delete(&service, &two), UNAVAILABLE);
    assert!(service.terminate().0.success());

    let (code, told, why) = give_up(&serials[1], &["--output", "json"]);
    assert_eq!(code, 0, "{why}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(kinds(&told["Finished"]), ["KeyMaterial"], "{told}");
    let lines = audit_lines(&rig.path("data"));
    let acts = lines.iter().filter(|line| line["event"]["eventName"] == "GiveUpToken");
    let codes: Vec<_> = acts.map(|line| line["event"]["errorCode"].as_str().unwrap_or("done").to_owned()).collect();
    assert_eq!(codes, ["DeleteConflict", "InvalidInput", "done", "done"]);
    // Offline the token is opened first, too.
    rig.shim.rules("");
    let (code, _, why) = give_up(&serials[1], &[]);
    assert!(code == 1 && why.contains("is there and answers"), "{why}");
}

const UNAVAILABLE: &str = "KeyUnavailableException";

/// A key with imported material.
fn import(service: &Service, region: &str) -> String {
    let made = ask(service, region, "CreateKey", json!({ "Origin": "EXTERNAL" }));
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let parameters = ask(service, region, "GetParametersForImport", parameters(&key));
    ask(service, region, "ImportKeyMaterial", material(&key, &parameters));
    key
}

fn parameters(key: &str) -> Value {
    json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" })
}

fn material(key: &str, parameters: &Value) -> Value {
    json!({
        "KeyId": key, "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": wrapped(parameters, &[7; 32]),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    })
}

/// The serial numbers of the Regions' tokens.
fn assigned(service: &Service) -> Vec<String> {
    let events = service.audit().into_iter().map(|mut line| line["event"].take());
    let assigned = events.filter(|event| event["eventName"] == "AssignToken");
    assigned.map(|event| event["additionalEventData"]["token"]["serial"].as_str().unwrap().to_owned()).collect()
}

/// Two Regions and a cluster, each on a token of its own behind the shim; made if they are not there.
async fn open(dir: &Path, now: i64) -> InProcess {
    let is_new = std::fs::read_dir(dir.join("tokens")).unwrap().next().is_none();
    if is_new {
        make_token(LABEL);
        make_token("west");
        init_token(Path::new(MODULE), "cluster", &pin("12345678"), &pin(PASSWORD)).unwrap();
    }
    let mut settings = settings(dir);
    settings.token.module = module();
    let (label, regions) = (Some("west".to_owned()), vec![WEST.parse().unwrap()]);
    settings.tokens.insert("west".to_owned(), TokenSettings { label, regions, ..settings.token.clone() });
    settings.clusters.values_mut().for_each(|cluster| cluster.module = module());
    InProcess::try_open(settings, MovedClock::at(now), Accepted::default()).await.unwrap()
}

/// With a socket for operators.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// What the command tells, by the socket of the folder.
fn given_up(dir: &Path, serial: &str) -> Value {
    let mut command = Command::new(PROGRAM);
    command.args(["token", "give-up", "--output", "json", "--serial", serial, "--config"]);
    let output = command.arg(dir.join("hsm-kms.toml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same, asked within the process: an output or an error.
async fn service_answer(service: &InProcess, serial: &str) -> Value {
    let request = json!({ "operation": "GiveUpToken", "parameters": { "Serial": serial } }).to_string();
    serde_json::from_slice(&answer_here(service.app.desk(), request.as_bytes()).await).unwrap()
}

async fn call(service: &InProcess, region: &str, operation: &str, body: Value) -> Value {
    let (status, answer) = service.try_call_in(region, operation, &body).await;
    assert_eq!(status, 200, "{operation} {body}: {answer}");
    answer
}

/// A new key in the Region whose token will be lost.
async fn make(service: &InProcess, body: Value) -> String {
    call(service, WEST, "CreateKey", body).await["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

async fn schedule(service: &InProcess, region: &str, key: &str, days: u32) {
    call(service, region, "ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": days })).await;
}

async fn import_for_a_day(service: &InProcess) -> String {
    let key = make(service, json!({ "Origin": "EXTERNAL" })).await;
    let parameters = call(service, WEST, "GetParametersForImport", parameters(&key)).await;
    let mut body = material(&key, &parameters);
    body["ExpirationModel"] = json!("KEY_MATERIAL_EXPIRES");
    body["ValidTo"] = json!((START + 86_400_000) as f64 / 1_000.0);
    call(service, WEST, "ImportKeyMaterial", body).await;
    key
}

/// As if an earlier run had ended while it made a key.
async fn begin_a_creation(service: &InProcess) {
    let kms = service.app.kms();
    let name = ObjectName { purpose: Purpose::Kms, key_id: KeyId::from_bytes([7; 16]), material: 1 };
    let intent = IntentRecord {
        kind: IntentKind::Create,
        name,
        key_id: None,
        region: WEST.parse().unwrap(),
        custom_key_store: None,
        account: "111122223333".parse().unwrap(),
        owner: "an earlier run".into(),
        started: kms.now(),
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    kms.token(&intent.region, None).unwrap().generate(&name, deadline).await.unwrap();
    kms.commit(Change::new(kms.now()).insert(intent)).await.unwrap();
}

/// The labels of the objects of all keys in a Region, imported ones last.
fn labels_of(service: &InProcess, region: &str) -> Vec<String> {
    let keys = service.app.kms().store.all_keys();
    let keys = keys.iter().filter(|key| key.record.region.as_str() == region);
    let mut labels: Vec<_> = keys.flat_map(|key| key.record.objects()).map(|name| name.cka_label()).collect();
    labels.sort_by_key(|label| (label.contains("/imported/"), label.clone()));
    labels
}

/// Operators have paired both tokens.
async fn pair(service: &InProcess) {
    let ask = async |parameters: Value| {
        let request = json!({ "operation": "PairTokens", "parameters": parameters }).to_string();
        serde_json::from_slice::<Value>(&answer_here(service.app.desk(), request.as_bytes()).await).unwrap()
    };
    let mut parameters = json!({ "Tokens": ["token", "west"] });
    let shown = ask(parameters.clone()).await;
    let of = |at: usize| shown["output"]["Tokens"][at]["Fingerprint"].clone();
    parameters["Confirm"] = json!([of(0), of(1)]);
    assert_eq!(ask(parameters).await["output"]["Paired"], true);
}

fn serial(service: &InProcess, region: &str) -> String {
    service.app.kms().token(&region.parse().unwrap(), None).unwrap().identity().serial.clone()
}

/// Waits until the service knows that the token is gone, by the use of a key on it.
async fn lost(service: &InProcess, serial: &str, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while service.app.kms().whereabouts(serial).await != Whereabouts::Lost {
        assert!(Instant::now() < deadline);
        service.try_call_in(WEST, "Encrypt", &json!({ "KeyId": key, "Plaintext": "eA==" })).await;
    }
}

async fn settled(service: &InProcess, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = service.call("DescribeCustomKeyStores", json!({})).await;
        if told["CustomKeyStores"][0]["ConnectionState"] == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn pass(service: &InProcess, days: u32) {
    for _ in 0..days {
        service.clock.pass(DAY);
        for _ in 0..11 {
            service.app.housekeep().await;
        }
    }
}

fn state(service: &InProcess, region: &str, key: &str) -> Option<String> {
    let key = service.app.kms().store.key(&region.parse().unwrap(), &key.parse().unwrap());
    key.map(|key| key.record.state.wire().to_owned())
}

fn arn(region: &str, key: &str) -> String {
    format!("arn:aws:kms:{region}:111122223333:key/{key}")
}

fn kinds(rows: &Value) -> Vec<&str> {
    let mut kinds: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["Kind"].as_str().unwrap()).collect();
    kinds.sort();
    kinds
}

fn states(rows: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut states: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (text(&row["KeyArn"]), text(&row["KeyState"]))).collect();
    states.sort();
    states
}

fn events(dir: &Path, name: &str) -> Vec<Value> {
    let events = audit_lines(&dir.join("data")).into_iter().map(|mut line| line["event"].take());
    events.filter(|event| event["eventName"] == name).collect()
}
