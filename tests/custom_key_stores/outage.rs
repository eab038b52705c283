//! A custom key store that is disconnected under load, and one whose token hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use hsm_kms::settings::TokenSettings;
use hsm_kms::token::init_token;
use serde_json::{Value, json};

use crate::in_process::{CLUSTER_LABEL, HOUR, InProcess, MovedClock, START, settings};
use crate::process::{LABEL, PIN, block_on, in_own_process, make_token, pin, until};
use crate::shim::{Shim, module};
use crate::{KeyStore, PASSWORD, decrypts, encrypt, start};

const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";
const DAY: Duration = Duration::from_secs(24 * HOUR.as_secs());

/// Whatever is under way meanwhile is answered well or as an outage, and all is well again afterwards.
#[test]
fn disconnecting_under_load_never_tells_of_missing_keys_or_bad_ciphertexts() {
    in_own_process("outage::disconnecting_under_load_never_tells_of_missing_keys_or_bad_ciphertexts", |dir| {
        block_on(async {
            let service = Arc::new(start(dir, MovedClock::at(START)).await);
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let (key, own) = (store.create_key(json!({})).await, service.new_key().await);
            let (blob, own_blob) = (encrypt(&service, &key).await, encrypt(&service, &own).await);
            let (stop, good, out) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
            let load = async {
                while !stop.load(Ordering::Relaxed) {
                    let (status, answer) = service.try_call("Decrypt", &json!({ "CiphertextBlob": blob })).await;
                    match (status, answer["__type"].as_str()) {
                        (200, _) => good.fetch_add(1, Ordering::Relaxed),
                        (400, Some("KMSInvalidStateException")) | (500, Some("KeyUnavailableException")) => {
                            out.fetch_add(1, Ordering::Relaxed)
                        }
                        _ => panic!("{status} {answer}"),
                    };
                }
            };
            let neighbour = async {
                while !stop.load(Ordering::Relaxed) {
                    decrypts(&service, &own_blob).await;
                }
            };
            let cycles = async {
                for _ in 0..5 {
                    store.disconnected().await;
                    store.connected().await;
                    decrypts(&service, &blob).await;
                }
                stop.store(true, Ordering::Relaxed);
            };
            tokio::join!(load, neighbour, cycles);
            assert!(good.into_inner() > 0 && out.into_inner() > 0);
            Arc::into_inner(service).unwrap().close().await;
        });
    });
}

/// Another process holds the cluster's files, so that no call into its token comes back.
#[test]
fn a_token_that_hangs_holds_up_nobody_else() {
    in_own_process("outage::a_token_that_hangs_holds_up_nobody_else", |dir| {
        let folder = crate::make_cluster(dir);
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let store = KeyStore::create(&service, PASSWORD).await;
            store.connected().await;
            let (key, own) = (store.create_key(json!({})).await, service.new_key().await);
            let schedule = |key: &str| json!({ "KeyId": key, "PendingWindowInDays": 7 });
            service.call("ScheduleKeyDeletion", schedule(&key)).await;
            service.call("ScheduleKeyDeletion", schedule(&own)).await;
            let locks = Lock::all(&folder);
            service.clock.pass(8 * DAY);
            let begun = Instant::now();
            let mut answer = Value::Null;
            while answer["__type"] != "NotFoundException" && begun.elapsed() < Duration::from_secs(20) {
                let round = service.app.housekeep();
                let _ = tokio::time::timeout(Duration::from_secs(1), round).await;
                answer = service.try_call("DescribeKey", &json!({ "KeyId": own })).await.1;
            }
            assert_eq!(answer["__type"], "NotFoundException", "the Region's own key is destroyed all the same");
            let own = service.new_key().await;
            encrypt(&service, &own).await;
            assert_eq!(crate::key_state(&service, &key).await, "PendingDeletion");
            drop(locks);
            service.app.close(Duration::from_secs(10)).await;
        });
    });
}

/// Keys of two Regions are to be destroyed, and one Region's token is slow: the other one's are gone, one after the other,
/// before a call into that token returns.
#[test]
fn a_slow_token_delays_no_chores_on_another() {
    in_own_process("outage::a_slow_token_delays_no_chores_on_another", |dir| {
        block_on(async {
            let (shim, mut settings) = (Shim::in_dir(dir), settings(dir));
            settings.token.module = module();
            let west = TokenSettings {
                label: Some(WEST.to_owned()),
                regions: vec![WEST.parse().unwrap()],
                ..settings.token.clone()
            };
            settings.tokens.insert("west".to_owned(), west);
            for label in [LABEL, WEST] {
                init_token(&module(), label, &pin("12345678"), &pin(PIN)).unwrap();
            }
            let service = InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await.unwrap();
            for (label, slow, other) in [(LABEL, EAST, WEST), (WEST, WEST, EAST)] {
                let held_up = to_be_destroyed(&service, slow, 7).await;
                let others = [to_be_destroyed(&service, other, 7).await, to_be_destroyed(&service, other, 9).await];
                shim.rules(&format!("@{label} hang C_DestroyObject"));
                for key in &others {
                    service.clock.pass(8 * DAY);
                    destroyed(&service, other, key).await;
                }
                assert!(is_there(&service, slow, &held_up).await, "it hangs still");
                shim.rules("");
                destroyed(&service, slow, &held_up).await;
            }
            service.close().await;
        });
    });
}

/// A login comes back after somebody was told that the custom key store is disconnected.
#[test]
fn a_connection_that_nobody_wants_any_more_is_never_used() {
    in_own_process("outage::a_connection_that_nobody_wants_any_more_is_never_used", |dir| {
        crate::make_cluster(dir);
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let mut settings = settings(dir);
        settings.token.module = module();
        settings.clusters.values_mut().for_each(|cluster| cluster.module = module());
        block_on(async {
            let service = InProcess::try_open(settings, MovedClock::at(START), Default::default()).await.unwrap();
            let store = KeyStore::create(&service, PASSWORD).await;
            shim.rules(&format!("@{CLUSTER_LABEL} hang C_Login"));
            store.call("ConnectCustomKeyStore").await;
            until("the login", || shim.calls_of(CLUSTER_LABEL, "C_Login") == 1);
            store.call("DisconnectCustomKeyStore").await;
            let (kms, id) = (service.app.kms().clone(), store.id.parse().unwrap());
            let over = Arc::new(AtomicBool::new(false));
            let looked = over.clone();
            let used = std::thread::spawn(move || {
                while !looked.load(Ordering::Relaxed) {
                    if kms.custom_token(&id).is_some() {
                        return true;
                    }
                }
                false
            });
            shim.rules("");
            assert_eq!(store.settled().await.0, "DISCONNECTED");
            over.store(true, Ordering::Relaxed);
            assert!(!used.join().unwrap());
            store.connected().await;
            service.close().await;
        });
    });
}

/// A new key whose deletion is due in so many days.
async fn to_be_destroyed(service: &InProcess, region: &str, days: u64) -> String {
    let (_, made) = service.try_call_in(region, "CreateKey", &json!({})).await;
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let body = json!({ "KeyId": key, "PendingWindowInDays": days });
    assert_eq!(service.try_call_in(region, "ScheduleKeyDeletion", &body).await.0, 200);
    key
}

/// Waits for the end of a key, in rounds that take no longer than they do.
async fn destroyed(service: &InProcess, region: &str, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(8);
    while is_there(service, region, key).await {
        assert!(Instant::now() < deadline, "the key in {region} is not destroyed");
        let _ = tokio::time::timeout(Duration::from_millis(100), service.app.housekeep()).await;
    }
}

async fn is_there(service: &InProcess, region: &str, key: &str) -> bool {
    let (_, answer) = service.try_call_in(region, "DescribeKey", &json!({ "KeyId": key })).await;
    answer["__type"] != "NotFoundException"
}

/// Locks of a child process on all files of a token.
struct Lock(std::process::Child);

impl Lock {
    fn all(folder: &std::path::Path) -> Self {
        let script = "import fcntl,os,sys\nfor f in os.listdir(sys.argv[1]):\n\
                      \x20h=open(os.path.join(sys.argv[1],f),'r+b'); fcntl.lockf(h,fcntl.LOCK_EX); globals()[f]=h\n\
                      print('locked',flush=True)\nsys.stdin.read()";
        let mut child = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(folder)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        assert_eq!(line, "locked\n");
        Lock(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
