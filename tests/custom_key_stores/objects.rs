//! What has an object is seen whenever it is looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hsm_kms::kms::Kms;
use hsm_kms::model::{KeyId, KeyPairSpec, ObjectName, Purpose, Region};
use hsm_kms::store::{Change, IntentKind, IntentRecord, KeyRecord, WrappingKeyRecord};

use crate::in_process::{InProcess, MovedClock, START};
use crate::process::{block_on, in_own_process, until};

/// What is begun becomes a key or a wrapping key, again and again, while somebody looks all the time.
#[test]
fn nothing_is_missed_that_comes_to_its_end_meanwhile() {
    in_own_process("objects::nothing_is_missed_that_comes_to_its_end_meanwhile", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (kms, key) = (service.app.kms().clone(), service.new_key().await);
            let key = kms.store.key(&"us-east-1".parse().unwrap(), &key.parse().unwrap()).unwrap().record.clone();
            let west: Region = "us-west-2".parse().unwrap();
            let watch = Watch::of(&kms, &west);
            for number in 0..60 {
                let id = KeyId::from_bytes([number; 16]);
                let key = KeyRecord { region: west.clone(), key_id: id, ..key.clone() };
                let intent = being_made(&key);
                kms.commit(Change::new(kms.now()).insert(intent)).await.unwrap();
                let begun = Change::new(kms.now()).delete(&kms.store.intents()[0]);
                let there = if number % 2 == 0 { begun.insert(key) } else { begun.insert(wrapping_key(&key)) };
                watch.sees_it(async { assert!(kms.commit(there).await.is_ok()) }).await;
                let gone = Change::new(kms.now());
                let gone = match kms.store.key(&west, &id) {
                    Some(row) => gone.delete(&row),
                    None => gone.delete(&kms.store.wrapping_keys()[0]),
                };
                kms.commit(gone).await.unwrap();
            }
            watch.ends();
            service.close().await;
        });
    });
}

/// A thread that looks whether a Region has objects.
struct Watch {
    /// Odd while it must have some.
    times: Arc<AtomicUsize>,
    looks: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn of(kms: &Arc<Kms>, region: &Region) -> Watch {
        let (times, looks, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let thread = std::thread::spawn({
            let (kms, key_store) = (Arc::clone(kms), hsm_kms::kms::KeyStore::Region(region.clone()));
            let (times, looks, stop) = (Arc::clone(&times), Arc::clone(&looks), Arc::<AtomicBool>::clone(&stop));
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let time = times.load(Ordering::SeqCst);
                    let seen = kms.has_objects(&key_store);
                    let must = time % 2 == 1 && times.load(Ordering::SeqCst) == time;
                    assert!(seen || !must, "there is one all the while");
                    looks.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Watch { times, looks, stop, thread }
    }

    /// While this is done, and for a look before and after it, the Region must have objects.
    async fn sees_it(&self, done: impl Future<Output = ()>) {
        self.times.fetch_add(1, Ordering::SeqCst);
        self.looks_once();
        done.await;
        self.looks_once();
        self.times.fetch_add(1, Ordering::SeqCst);
    }

    fn looks_once(&self) {
        let before = self.looks.load(Ordering::SeqCst);
        until("a look", || self.thread.is_finished() || self.looks.load(Ordering::SeqCst) > before + 1);
    }

    fn ends(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

fn being_made(key: &KeyRecord) -> IntentRecord {
    IntentRecord {
        kind: IntentKind::Create,
        name: ObjectName { purpose: Purpose::Kms, key_id: key.key_id, material: 1 },
        key_id: None,
        region: key.region.clone(),
        custom_key_store: None,
        account: key.account.clone(),
        owner: String::new(),
        started: key.created,
    }
}

fn wrapping_key(key: &KeyRecord) -> WrappingKeyRecord {
    WrappingKeyRecord {
        region: key.region.clone(),
        custom_key_store: None,
        account: key.account.clone(),
        key_id: key.key_id,
        wrapping_key_id: key.key_id,
        spec: KeyPairSpec::Rsa2048,
        created: key.created,
        expires: key.created,
    }
}
