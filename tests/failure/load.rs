//! Callers who never stop: a few for each token, at a steady pace, and what became of every one of their requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::noise::{Noise, waited};
use crate::support::Service;
use crate::support::wire::{Answer, Request, exchange, try_exchange};

/// The callers of one Region.
pub struct Load {
    key: String,
    region: &'static str,
    stop: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    callers: Vec<JoinHandle<()>>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub operation: &'static str,
    pub begun: Instant,
    pub took: Duration,
    /// How long its caller had no processor meanwhile, which others had.
    waited: Duration,
    /// Empty for success.
    pub exception: String,
    /// What a successful answer says: a ciphertext or a key's id.
    made: Option<String>,
}

impl Outcome {
    /// Whether the answer was 200.
    pub fn is_success(&self) -> bool {
        self.exception.is_empty()
    }

    /// Whether the answer came within this time, not counting that for which the machine did other things.
    pub fn is_within(&self, time: Duration, noise: &Noise) -> bool {
        is_within(time, self.begun, self.took, self.waited, noise)
    }
}

/// Whether what took so long was within this time, but for its own waits and the noise.
fn is_within(time: Duration, begun: Instant, took: Duration, waited: Duration, noise: &Noise) -> bool {
    took < time || took < time + waited + noise.between(begun, begun + took)
}

impl Load {
    /// Begins with a new key in the Region.
    pub fn start(service: &Service, region: &'static str) -> Load {
        let key = ask(service, region, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        let known = ask(service, region, "Encrypt", json!({ "KeyId": key, "Plaintext": PLAINTEXT }));
        let load = Load { key, region, stop: Arc::default(), outcomes: Arc::default(), callers: Vec::new() };
        let requests = [
            ("Encrypt", json!({ "KeyId": load.key, "Plaintext": PLAINTEXT })),
            ("Decrypt", json!({ "CiphertextBlob": known["CiphertextBlob"] })),
            ("GenerateDataKey", json!({ "KeyId": load.key, "KeySpec": "AES_256" })),
        ];
        let signed = |(name, body): &(&'static str, Value)| (*name, request(region, name, body).signed(service));
        let users: Vec<_> = requests.iter().map(signed).collect();
        let makers = vec![signed(&("CreateKey", json!({})))];
        let mut callers: Vec<_> = (0..USERS).map(|_| load.caller(service.address(), users.clone(), PACE)).collect();
        callers.push(load.caller(service.address(), makers, MAKER_PACE));
        Load { callers, ..load }
    }

    fn caller(&self, address: String, requests: Vec<(&'static str, Vec<u8>)>, pace: Duration) -> JoinHandle<()> {
        let (stop, outcomes) = (Arc::clone(&self.stop), Arc::clone(&self.outcomes));
        std::thread::spawn(move || {
            // The same bytes over and over: a signature holds for five minutes, and nothing here remembers one.
            for (operation, bytes) in requests.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (before, begun) = (waited(), Instant::now());
                let (exception, made) = told(operation, try_exchange(&address, bytes));
                let (took, waited) = (begun.elapsed(), waited().saturating_sub(before));
                let outcome = Outcome { operation, begun, took, waited, exception, made };
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                std::thread::sleep(pace.saturating_sub(begun.elapsed()));
            }
        })
    }

    /// Successes a second in the time given.
    pub fn rate(&self, from: Instant, to: Instant) -> f64 {
        let ended = |outcome: &&Outcome| (from..to).contains(&(outcome.begun + outcome.took));
        let count = self.outcomes().iter().filter(ended).filter(|outcome| outcome.exception.is_empty()).count();
        count as f64 / (to - from).as_secs_f64()
    }

    /// How long half of the answers took at most that began in the time given.
    pub fn median(&self, from: Instant, to: Instant) -> Duration {
        let mut times: Vec<Duration> = self.asked(from, to).into_iter().map(|outcome| outcome.took).collect();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or(Duration::MAX)
    }

    /// What was asked in the time given, as far as it has an answer.
    pub fn asked(&self, from: Instant, to: Instant) -> Vec<Outcome> {
        self.outcomes().iter().filter(|outcome| (from..to).contains(&outcome.begun)).cloned().collect()
    }

    /// Stops, and sees that what was acknowledged is there: every key that was made encrypts, and what was encrypted is
    /// decrypted.
    pub fn stop(self, service: &Service) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.join().unwrap();
        }
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        let made = |operation| outcomes.iter().filter(move |outcome| outcome.operation == operation);
        for id in made("CreateKey").filter_map(|outcome| outcome.made.as_ref()) {
            ask(service, self.region, "Encrypt", json!({ "KeyId": id, "Plaintext": PLAINTEXT }));
        }
        for blob in made("Encrypt").filter_map(|outcome| outcome.made.as_ref()).step_by(10) {
            let back = ask(service, self.region, "Decrypt", json!({ "CiphertextBlob": blob }));
            assert_eq!(back["Plaintext"], PLAINTEXT);
        }
        outcomes
    }

    /// Stops, with a service that has ended or is about to.
    pub fn give_up(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.into_iter().for_each(|caller| caller.join().unwrap());
    }

    fn outcomes(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exception of an answer, or what a success says. A wrong answer fails the test, as does a wrong status.
fn told(operation: &str, answer: Option<Answer>) -> (String, Option<String>) {
    let Some(answer) = answer else { return ("no answer".into(), None) };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        let exception = body["__type"].as_str().unwrap_or("no exception").to_owned();
        let known = STATUSES.iter().find(|(name, _)| *name == exception);
        assert!(known.is_none_or(|(_, status)| *status == answer.status), "{} {exception}", answer.status);
        return (exception, None);
    }
    match operation {
        "Decrypt" => {
            assert_eq!(body["Plaintext"], PLAINTEXT);
            (String::new(), None)
        }
        "CreateKey" => (String::new(), body["KeyMetadata"]["KeyId"].as_str().map(str::to_owned)),
        _ => (String::new(), body["CiphertextBlob"].as_str().map(str::to_owned)),
    }
}

/// A request that must succeed.
pub fn ask(service: &Service, region: &str, operation: &str, body: Value) -> Value {
    let answer = exchange(&service.address(), &request(region, operation, &body).signed(service));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{operation} {body}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The exception of a request that must be refused.
pub fn refused(service: &Service, region: &str, operation: &str, body: Value) -> String {
    let answer = exchange(&service.address(), &request(region, operation, &body).signed(service));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_ne!(answer.status, 200, "{operation} {body}: {text}");
    told(operation, Some(answer)).0
}

fn request(region: &str, operation: &str, body: &Value) -> Request {
    Request { region: region.into(), ..Request::kms(operation, body) }
}

/// Asks `/healthz` all the time, and `/readyz` when asked to; and sees what else the machine does.
pub struct Doctor {
    address: String,
    pub noise: Noise,
    stop: Arc<AtomicBool>,
    pulse: JoinHandle<Vec<Beat>>,
}

/// One answer of `/healthz`, and the status of `/readyz` for the failing token's Region.
#[derive(Debug)]
pub struct Beat {
    pub begun: Instant,
    pub ready: bool,
    alive: bool,
    took: Duration,
    waited: Duration,
}

impl Doctor {
    pub fn start(service: &Service) -> Doctor {
        let (address, stop) = (service.address(), Arc::new(AtomicBool::new(false)));
        let (asked, until) = (address.clone(), Arc::clone(&stop));
        let pulse = std::thread::spawn(move || {
            let mut beats = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let (before, begun) = (waited(), Instant::now());
                let alive = get(&asked, "/healthz").is_some_and(|(status, _)| status == 200);
                let (took, waited) = (begun.elapsed(), waited().saturating_sub(before));
                let ready = get(&asked, "/readyz/us-east-1").is_some_and(|(status, _)| status == 200);
                beats.push(Beat { begun, ready, alive, took, waited });
                // It has ended; nobody who expects it to serve on is content with that.
                if !alive {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            beats
        });
        Doctor { address, noise: Noise::around(service.pid()), stop, pulse }
    }

    /// Status and body of `/readyz`, or of that of a Region.
    pub fn readiness(&self, region: &str) -> (u16, Value) {
        let (status, body) = get(&self.address, &format!("/readyz{region}")).expect("an answer");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Ends: every answer came within 100 ms, not counting the time for which the machine did other things.
    pub fn discharge(self) -> (Vec<Beat>, Noise) {
        let (beats, noise) = self.ended();
        assert!(beats.iter().all(|beat| beat.is_in_time(&noise)), "{beats:?}");
        (beats, noise)
    }

    /// As `discharge`, up to the end of the service.
    pub fn bury(self) {
        let (beats, noise) = self.ended();
        let (last, before) = beats.split_last().unwrap();
        assert!(before.iter().all(|beat| beat.is_in_time(&noise)), "{beats:?}");
        assert!(!last.alive || last.is_in_time(&noise), "{beats:?}");
    }

    fn ended(self) -> (Vec<Beat>, Noise) {
        self.stop.store(true, Ordering::Relaxed);
        let beats = self.pulse.join().unwrap();
        assert!(beats.len() > 10, "{beats:?}");
        (beats, self.noise)
    }
}

impl Beat {
    fn is_in_time(&self, noise: &Noise) -> bool {
        self.alive && is_within(ALIVE, self.begun, self.took, self.waited, noise)
    }
}

fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// What goes with these exceptions.
const STATUSES: [(&str, u16); 3] =
    [("KeyUnavailableException", 500), ("DependencyTimeoutException", 503), ("LimitExceededException", 400)];
/// Within this time the service says that it is alive.
const ALIVE: Duration = Duration::from_millis(100);
/// What is encrypted, in base64.
pub const PLAINTEXT: &str = "c2l4dGVlbiBieXRlcyEhIQ==";
/// Callers of a Region that use a key.
const USERS: usize = 2;
/// From the beginning of one request of theirs to that of the next.
const PACE: Duration = Duration::from_millis(30);
/// The same for the one who makes keys.
const MAKER_PACE: Duration = Duration::from_millis(200);
