//! What a token's slowness, another token's outage and many keys cost: the program on SoftHSM behind the quirk shim, each
//! time as a ratio to something in the same run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use cryptoki_sys::{CK_MECHANISM, CKR_OK};
use serde_json::{Value, json};

use crate::client::Load;
use crate::process::Usage;
use crate::report::Cell;
use crate::rig::{PIN, Rig};
use crate::shim::module;
use crate::support::Service;
use crate::support::wire::Request;

/// What is measured.
#[derive(Clone, Copy, ValueEnum)]
pub enum Part {
    /// With 2 ms per call, against a bare loop.
    Slow,
    /// Beside a token with 5 s per call, against the same beside one that is well.
    Beside,
    /// With many keys on the token, against few.
    Keys,
}

/// Prints these parts as a table in Markdown.
pub fn measure(parts: &[Part], seconds: f64, keys: usize, folder: &Path) {
    println!("| what | measured | beside it | ratio |\n|---|---|---|---|");
    for part in parts {
        match part {
            Part::Slow => slow_token(seconds, folder),
            Part::Beside => beside_a_slow_one(seconds, folder),
            Part::Keys => many_keys(seconds, keys, folder),
        }
    }
}

/// With 2 ms per call and as many sessions, against a loop that does nothing else, in turns.
fn slow_token(seconds: f64, folder: &Path) {
    let mut rig = Rig::new_in(folder, &["one"]);
    rig.profile = Some(PROFILE.replace("fast_workers = 1\n", &format!("fast_workers = {SESSIONS}\n")));
    rig.shim.rules("latency 2 C_Encrypt");
    let service = rig.serve();
    let keys = [new_key(&service, "us-east-1")];
    std::thread::sleep(SETTLING);
    let bare = BareLoop::new(&rig);
    let rounds = [(); ROUNDS].map(|()| {
        let cell = generate_data_keys(&service, &keys, 64, seconds);
        (cell, bare.run(Duration::from_secs_f64(seconds)))
    });
    let rate = middle(rounds.iter().map(|(cell, _)| cell.per_second));
    let bare = middle(rounds.iter().map(|(_, bare)| *bare));
    let ratio = middle(rounds.iter().map(|(cell, bare)| cell.per_second / bare));
    println!(
        "| GenerateDataKey, 2 ms per call, {SESSIONS} sessions, 64 in flight; beside it a bare loop with as many sessions | \
         {rate:.0}/s | {bare:.0}/s | {ratio:.2} |"
    );
    let p99 = middle(rounds.iter().map(|(cell, _)| millis(cell.p99)));
    println!("| its p99, in calls of the token | {p99:.1} ms | 2 ms | {:.1} |", p99 / 2.0);
    let cpu = middle(rounds.iter().map(|(cell, _)| cell.cpu_micros));
    println!("| its processor time, the token's and the shim's included | {cpu:.0} µs | | |");
}

/// The token's own encryption, on one thread for each session.
struct BareLoop {
    context: Pkcs11,
    slot: Slot,
    /// Keeps the login.
    _anchor: Session,
}

impl BareLoop {
    fn new(rig: &Rig) -> BareLoop {
        // Before any other thread of this process: the module reads them when it is loaded.
        hsm_kms::token::set_module_environment("SOFTHSM2_CONF", rig.path("softhsm2.conf").as_os_str());
        let (name, control) = rig.shim.environment();
        hsm_kms::token::set_module_environment(name, control.as_os_str());
        let context = Pkcs11::new(module()).expect("the module");
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("an initialised module");
        let slot = context.get_slots_with_initialized_token().expect("slots")[0];
        let anchor = context.open_rw_session(slot).expect("a session");
        anchor.login(UserType::User, Some(&AuthPin::from(PIN))).expect("a login");
        BareLoop { context, slot, _anchor: anchor }
    }

    /// Calls per second.
    fn run(&self, time: Duration) -> f64 {
        let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let session = |_| self.context.open_rw_session(self.slot).expect("a session");
        let sessions: Vec<Session> = (0..SESSIONS).map(session).collect();
        std::thread::scope(|scope| {
            for session in sessions {
                scope.spawn(|| encrypt_until(session, &stop, &count));
            }
            std::thread::sleep(time / 3);
            let (before, begun) = (count.load(Ordering::Relaxed), Instant::now());
            std::thread::sleep(time);
            let rate = (count.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
            stop.store(true, Ordering::Relaxed);
            rate
        })
    }
}

/// With one `C_Encrypt` each, where `cryptoki` makes two.
fn encrypt_until(session: Session, stop: &AtomicBool, count: &AtomicU64) {
    let template = [Attribute::Token(false), Attribute::ValueLen(32.into()), Attribute::Encrypt(true)];
    let key = session.generate_key(&Mechanism::AesKeyGen, &template).expect("a key");
    let mut list = std::ptr::null_mut();
    // SAFETY: the module is loaded already, and its list of functions stays where it is.
    let functions = unsafe {
        let module = std::mem::ManuallyDrop::new(cryptoki_sys::Pkcs11::new(module()).expect("the module"));
        assert_eq!(module.C_GetFunctionList(&mut list), CKR_OK);
        *list
    };
    let (init, encrypt) = (functions.C_EncryptInit.expect("a function"), functions.C_Encrypt.expect("a function"));
    while !stop.load(Ordering::Relaxed) {
        let (mut iv, mut seed, mut sealed, mut length) = ([7; 12], [9; 32], [0; 48], 48);
        let parameters = GcmParams::new(&mut iv, &[7; 60], 128.into()).expect("parameters");
        let mechanism = Mechanism::AesGcm(parameters);
        let mut mechanism = CK_MECHANISM::from(&mechanism);
        // SAFETY: every pointer is to something that outlives both calls, and the lengths are right.
        unsafe {
            assert_eq!(init(session.handle(), &mut mechanism, key.handle()), CKR_OK);
            let code = encrypt(session.handle(), seed.as_mut_ptr(), 32, sealed.as_mut_ptr(), &mut length);
            assert_eq!((code, length), (CKR_OK, 48));
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// With 5 s per call on one of two tokens: the other one's callers.
fn beside_a_slow_one(seconds: f64, folder: &Path) {
    let rig = Rig::new_in(folder, &["one", "two"]);
    let service = rig.serve();
    let keys = [new_key(&service, "us-east-1")];
    let other = new_key(&service, "eu-west-1");
    let measure = |rules| {
        rig.shim.rules(rules);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..OTHERS {
                scope.spawn(|| ask_until(&service, &other, &stop));
            }
            let cell = generate_data_keys(&service, &keys, 8, seconds);
            stop.store(true, Ordering::Relaxed);
            rig.shim.rules("");
            cell.p99
        })
    };
    std::thread::sleep(SETTLING);
    let rounds = [(); ROUNDS].map(|()| (millis(measure("")), millis(measure("@two latency 5000 C_Encrypt"))));
    let quiet = middle(rounds.iter().map(|round| round.0));
    let slow = middle(rounds.iter().map(|round| round.1));
    let ratio = middle(rounds.iter().map(|(quiet, slow)| slow / quiet));
    println!(
        "| p99 of GenerateDataKey on one token, 8 in flight, while another one takes 5 s per call; beside it the same \
         while the other one is well | {slow:.2} ms | {quiet:.2} ms | {ratio:.2} |"
    );
}

/// At a steady pace, so that the other token's callers cost the machine the same whether it is slow or not.
fn ask_until(service: &Service, key: &str, stop: &AtomicBool) {
    let body = json!({ "KeyId": key, "KeySpec": "AES_256" });
    while !stop.load(Ordering::Relaxed) {
        let request = Request { region: "eu-west-1".into(), ..Request::kms("GenerateDataKey", &body) };
        let answer = request.send(service);
        assert!([200, 500, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// With this many keys, against ten: GenerateDataKey, and the start.
fn many_keys(seconds: f64, count: usize, folder: &Path) {
    let rig = Rig::new_in(folder, &["one"]);
    let service = rig.serve();
    let mut keys: Vec<String> = (0..FEW).map(|_| new_key(&service, "us-east-1")).collect();
    std::thread::sleep(SETTLING);
    let few = [(); ROUNDS].map(|()| generate_data_keys(&service, &keys, 32, seconds).per_second);
    rig.shim.rules("blind");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let some = || (0..count.saturating_sub(FEW) / MAKERS).for_each(|_| drop(new_key(&service, "us-east-1")));
        let make = |_| scope.spawn(some);
        let makers: Vec<_> = (0..MAKERS).map(make).collect();
        makers.into_iter().for_each(|maker| drop(maker.join()));
    });
    eprintln!("{count} keys made in {:.0} s", begun.elapsed().as_secs_f64());
    rig.shim.rules("");
    service.terminate();
    let begun = Instant::now();
    let service = rig.serve();
    println!("| start with {count} keys on the token | {:.2} s | | |", begun.elapsed().as_secs_f64());
    keys.truncate(FEW);
    std::thread::sleep(SETTLING);
    let many = [(); ROUNDS].map(|()| generate_data_keys(&service, &keys, 32, seconds).per_second);
    let (few, many) = (middle(few.into_iter()), middle(many.into_iter()));
    println!(
        "| GenerateDataKey with {count} keys, 32 in flight; beside it with {FEW} keys | {many:.0}/s | {few:.0}/s | {:.2} |",
        many / few
    );
}

fn generate_data_keys(service: &Service, keys: &[String], in_flight: usize, seconds: f64) -> Cell {
    let body = |number: usize| {
        let context = json!({ "record": number.to_string() });
        json!({ "KeyId": keys[number % keys.len()], "KeySpec": "AES_256", "EncryptionContext": context })
    };
    let requests = (0..RING).map(|number| Request::kms("GenerateDataKey", &body(number)).signed(service)).collect();
    let load = Load { address: service.address(), requests, in_flight };
    Cell::new("GenerateDataKey", in_flight, load.run(Duration::from_secs_f64(seconds), || Usage::of(service.pid())))
}

fn new_key(service: &Service, region: &str) -> String {
    let request = Request { region: region.into(), ..Request::kms("CreateKey", &json!({})) };
    let answer = request.send(service);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{text}");
    let key: Value = serde_json::from_str(&text).expect("JSON");
    key["KeyMetadata"]["KeyId"].as_str().expect("a key id").to_owned()
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

const PROFILE: &str = include_str!("../../hsm-config/softhsm2/profile.toml");
const SESSIONS: usize = 30;
/// Callers of the other token.
const OTHERS: usize = 4;
/// How often each is measured, in turns with what it is held against; the middle one counts.
const ROUNDS: usize = 5;
/// The index of objects, and the tries of what the token can do, that a start leaves to the background are over then.
const SETTLING: Duration = Duration::from_secs(15);
const FEW: usize = 10;
/// Who makes keys at once.
const MAKERS: usize = 4;
const RING: usize = 128;
