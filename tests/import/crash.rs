//! The program, killed in each window between token and store: the next start leaves nothing half-made, and nothing
//! that was acknowledged is lost.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::support::PROGRAM;
use crate::support::wire::try_exchange;
use crate::*;

/// The first window is inside the making of a wrapping key, the others inside the import.
#[test]
fn an_import_that_was_killed_left_nothing_and_is_done_again() {
    let mut oracle = Oracle::new();
    let material = oracle.random(32);
    for point in ["wrapping-key-begun", "wrapping-key-on-token", "import-begun", "import-on-token"] {
        let mut scene = Scene::new();
        let key = scene.with(symmetric_key);
        let first = scene.with(|service| parameters(service, &key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048"));
        let request = first.import(&mut oracle, &key, &material);
        let (operation, body) = match point.starts_with("wrapping") {
            true => ("GetParametersForImport", wrapping(&key)),
            false => ("ImportKeyMaterial", request.clone()),
        };
        scene.killed(point, operation, &body);
        scene.with(|service| {
            assert_eq!(state(service, &key), "PendingImport", "{point}");
            assert!(labels(service, "hsm-kms/imported/").is_empty(), "{point}");
            assert_eq!(labels(service, "hsm-kms/import-wrapping/").len(), 1, "{point}: the one that was given out");
            assert_eq!(told(service, "ReconcileTokenObjects"), 0, "{point}");
            let undone = ["UndoGetParametersForImport", "UndoImportKeyMaterial"].map(|name| told(service, name));
            assert_eq!(undone, if operation == "ImportKeyMaterial" { [0, 1] } else { [1, 0] }, "{point}");
            // The token is as good as before.
            ok(service, "ImportKeyMaterial", &request);
            assert_eq!(oracle.open_blob(&material, &encrypt(service, &key, b"secret")), b"secret");
        });
    }
}

/// What is committed is there, whether or not it was answered.
#[test]
fn an_import_that_was_committed_is_there_and_so_is_its_record() {
    let mut oracle = Oracle::new();
    let material = oracle.random(32);
    for point in ["change-committed", "change-recorded"] {
        let mut scene = Scene::new();
        let key = scene.with(symmetric_key);
        let given = scene.with(|service| parameters(service, &key, "RSAES_OAEP_SHA_1", "RSA_2048"));
        scene.killed(point, "ImportKeyMaterial", &given.import(&mut oracle, &key, &material));
        scene.with(|service| {
            assert_eq!(state(service, &key), "Enabled", "{point}");
            assert_eq!(labels(service, "hsm-kms/imported/").len(), 1, "{point}");
            assert_eq!(told(service, "ImportKeyMaterial"), 1, "{point}: recorded once");
            assert_eq!(told(service, "ReconcileTokenObjects"), 0, "{point}");
            assert_eq!(oracle.open_blob(&material, &encrypt(service, &key, b"secret")), b"secret");
        });
    }
}

#[test]
fn a_material_that_was_replaced_is_destroyed_by_the_next_start() {
    let mut oracle = Oracle::new();
    let material = oracle.random(32);
    for point in ["import-on-token", "import-replaces"] {
        let mut scene = Scene::new();
        let (key, blob, again) = scene.with(|service| {
            let key = symmetric_key(service);
            import(service, &mut oracle, &key, &material);
            let blob = encrypt(service, &key, b"secret");
            let given = parameters(service, &key, "RSAES_OAEP_SHA_1", "RSA_2048");
            let again = given.import(&mut oracle, &key, &material);
            (key, blob, again)
        });
        scene.killed(point, "ImportKeyMaterial", &again);
        scene.with(|service| {
            assert_eq!(state(service, &key), "Enabled", "{point}");
            assert_eq!(decrypt(service, &blob), b"secret", "{point}");
            let number = if point == "import-replaces" { 2 } else { 1 };
            assert_eq!(labels(service, "hsm-kms/imported/"), [format!("hsm-kms/imported/{key}/{number}")], "{point}");
            assert_eq!(told(service, "DestroyReplacedKeyMaterial"), number - 1, "{point}");
            assert_eq!(told(service, "ReconcileTokenObjects"), 0, "{point}");
        });
    }
}

#[test]
fn a_deletion_that_was_begun_is_finished_by_the_next_start() {
    let mut oracle = Oracle::new();
    let material = oracle.random(32);
    for point in ["change-committed", "deletion-begun", "material-destroyed"] {
        let mut scene = Scene::new();
        let key = scene.with(|service| {
            let key = symmetric_key(service);
            import(service, &mut oracle, &key, &material);
            key
        });
        scene.killed(point, "DeleteImportedKeyMaterial", &json!({ "KeyId": key }));
        scene.with(|service| {
            assert_eq!(state(service, &key), "PendingImport", "{point}");
            assert!(labels(service, "hsm-kms/imported/").is_empty(), "{point}");
            assert_eq!(told(service, "ReconcileTokenObjects"), 0, "{point}");
            let object = format!("hsm-kms/imported/{key}/1");
            let phases: Vec<Value> = details(service, "DeleteImportedKeyMaterial");
            assert_eq!(phases.len(), 2, "{point}: {phases:?}");
            assert_eq!((&phases[0]["phase"], &phases[0]["objects"]), (&json!("begun"), &json!([object])), "{point}");
            let done = json!({ "phase": "done", "destroyed": [object], "objectsFoundAfterwards": 0 });
            assert_eq!(phases[1], done, "{point}");
        });
    }
}

/// The worker is killed in the midst of an expiry: it is finished by the next start, whatever that thinks of the time.
#[test]
fn an_expiry_that_was_begun_is_finished_by_the_next_start() {
    let mut oracle = Oracle::new();
    let material = oracle.random(32);
    let mut scene = Scene::new();
    let key = scene.with(symmetric_key);
    let given = scene.with(|service| parameters(service, &key, "RSAES_OAEP_SHA_1", "RSA_2048"));
    let mut body = given.import(&mut oracle, &key, &material);
    scene.killed_by_worker("expiry-begun", |service| {
        let soon = SystemTime::now() + Duration::from_secs(2);
        body["ValidTo"] = json!(soon.duration_since(UNIX_EPOCH).unwrap().as_millis() as f64 / 1_000.0);
        body["ExpirationModel"] = json!("KEY_MATERIAL_EXPIRES");
        ok(service, "ImportKeyMaterial", &body);
    });
    scene.with(|service| {
        assert_eq!(state(service, &key), "PendingImport");
        assert!(labels(service, "hsm-kms/imported/").is_empty());
        let phases: Vec<Value> = details(service, "DeleteExpiredKeyMaterial");
        let phases: Vec<&Value> = phases.iter().map(|details| &details["phase"]).collect();
        assert_eq!(phases, ["begun", "done"]);
        assert_eq!(told(service, "ReconcileTokenObjects"), 0);
    });
}

#[test]
fn a_wrapping_key_that_was_destroyed_is_forgotten_by_the_next_start() {
    let mut scene = Scene::new();
    let key = scene.with(symmetric_key);
    scene.killed_by_worker("wrapping-key-destroyed", |service| {
        for _ in 0..9 {
            ok(service, "GetParametersForImport", &wrapping(&key));
        }
    });
    scene.with(|service| {
        // A round or two of the worker.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while told(service, "DestroyImportWrappingKey") == 0 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(told(service, "DestroyImportWrappingKey"), 1);
        assert_eq!(labels(service, "hsm-kms/import-wrapping/").len(), 8);
    });
}

/// One data folder, and the runs of the program in it.
struct Scene {
    _folder: tempfile::TempDir,
    data: std::path::PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Scene { _folder: folder, data }
    }

    /// A run from start to a good end.
    fn with<T>(&mut self, work: impl FnOnce(&Service) -> T) -> T {
        let service = Service::start_in(&self.data, &[]);
        let done = work(&service);
        let (status, _) = service.terminate();
        assert!(status.success(), "{status}");
        hsm_kms::audit::verify(&self.data.join("audit")).unwrap();
        done
    }

    /// A run that ends itself at this point, inside this request.
    fn killed(&mut self, point: &str, operation: &str, body: &Value) {
        let service = self.start_to_die(point);
        let request = Request::kms(operation, body).signed(&service);
        assert!(try_exchange(&service.address(), &request).is_none(), "{point}: {operation} was answered");
        self.died(service, point);
    }

    /// A run that ends itself at this point, in a round of housekeeping.
    fn killed_by_worker(&mut self, point: &str, work: impl FnOnce(&Service)) {
        let service = self.start_to_die(point);
        work(&service);
        self.died(service, point);
    }

    fn start_to_die(&self, point: &str) -> Service {
        let mut command = Command::new(PROGRAM);
        command.env(hsm_kms::crash_point::VARIABLE, point);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        Service::spawn(&self.data, &mut command).unwrap_or_else(|failed| panic!("{point}: {failed:?}"))
    }

    fn died(&self, service: Service, point: &str) {
        let (status, _) = service.ended();
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
    }
}

fn wrapping(key: &str) -> Value {
    json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048" })
}

/// How many events have this name.
fn told(service: &Service, name: &str) -> usize {
    details(service, name).len()
}

/// What the events of this name say besides.
fn details(service: &Service, name: &str) -> Vec<Value> {
    let events = service.audit().into_iter().map(|line| line["event"].clone());
    events.filter(|event| event["eventName"] == name).map(|event| event["additionalEventData"].clone()).collect()
}
