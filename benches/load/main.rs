//! What a request costs: the real program under load, beside a bare loop on a token in the same run.
//!
//! Prints numbers and judges none: what a machine reaches says little about another one. Run it with `scripts/bench`.
//! Given two programs, it runs them in turns and prints the second's cost as a share of the first's.

mod bare;
mod beside;
mod client;
mod machine;
mod process;
mod report;
#[path = "../../tests/support/rig.rs"]
mod rig;
#[path = "../../tests/support/shim.rs"]
mod shim;
mod tokens;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use serde_json::{Value, json};

use bare::BareToken;
use client::Load;
use process::Usage;
use report::{Cell, Report};
use support::Service;
use support::wire::Request;

/// Load on the hsm-kms program, and a bare token loop beside it.
#[derive(Parser)]
struct Options {
    /// The program; given twice, the two run in turns.
    #[arg(long = "program", default_value = support::PROGRAM)]
    programs: Vec<PathBuf>,
    /// Seconds for each measurement, after a warm-up of a third of that; at most 10.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Requests in flight, each on a connection of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64")]
    in_flight: Vec<usize>,
    /// Operations, with the spec of their key where it is not symmetric.
    #[arg(long, value_delimiter = ',', default_value = OPERATIONS)]
    operations: Vec<String>,
    /// How often GenerateDataKey is measured alone and beside RSA-4096 keys in the making.
    #[arg(long, default_value_t = 3)]
    rsa_rounds: usize,
    /// How often every measurement is made; the middle one counts.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Instead of all this: tokens that are slow, one beside another, and one with many keys.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_missing_value = "slow,beside,keys")]
    tokens: Vec<tokens::Part>,
    /// How many keys are many.
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// The folder for data; it decides which disk is measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    assert!(options.seconds > 0.0 && options.seconds <= 10.0, "--seconds is more than 0 and at most 10");
    if !options.tokens.is_empty() {
        return tokens::measure(&options.tokens, options.seconds, options.keys, &options.folder);
    }
    let folder = tempfile::tempdir_in(&options.folder).expect("a folder for data");
    // First of all, because the environment must be set before any thread exists.
    let token = BareToken::new(&folder.path().join("bare"));
    let bare = || options.operations.iter().map(|operation| token.measure(operation, BARE_TIME)).collect::<Vec<_>>();
    let before = bare();
    let subjects: Vec<Subject> =
        (0..).zip(&options.programs).map(|(number, program)| Subject::start(number, program, folder.path())).collect();
    let mut report = Report::new(machine::describe(folder.path()), options.programs.clone());
    report.starts = subjects.iter().map(|subject| subject.started).collect();
    for operation in &options.operations {
        for &in_flight in options.in_flight.iter().filter(|count| **count <= most_in_flight(operation)) {
            for round in 0..options.rounds {
                // In turns and starting with another one each time, so that neither has the warmer machine.
                for index in 0..subjects.len() {
                    let index = (index + round) % subjects.len();
                    let cell = subjects[index].measure(operation, in_flight, options.seconds);
                    eprintln!(
                        "{operation} x{in_flight} #{index}: {:.1} µs CPU, {:.0}/s",
                        cell.cpu_micros, cell.per_second
                    );
                    report.add(index, cell);
                }
            }
        }
    }
    report.beside = (0..options.rsa_rounds).map(|_| beside::measure(&subjects[0], options.seconds)).collect();
    let rates = before.into_iter().zip(bare()).map(|(before, after)| [before, after]);
    report.bare = options.operations.iter().cloned().zip(rates).collect();
    println!("{report}");
}

/// A running program with keys to work on.
struct Subject {
    service: Service,
    key_id: String,
    ciphertexts: Vec<String>,
    /// The keys that are not symmetric, by operation.
    others: BTreeMap<&'static str, String>,
    started: Usage,
}

impl Subject {
    fn start(number: usize, program: &Path, folder: &Path) -> Self {
        let data = folder.join(format!("service-{number}"));
        let begun = Instant::now();
        let mut command = Command::new(program);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        // The bare token's settings are not the service's.
        command.env_remove("SOFTHSM2_CONF");
        let service = Service::spawn(&data, &mut command).expect("the program serves");
        let started = Usage { time: begun.elapsed(), ..Usage::of(service.pid()) };
        let new_key = |body: Value| {
            let key = call(&service, "CreateKey", &body);
            key["KeyMetadata"]["KeyId"].as_str().expect("a key id").to_owned()
        };
        let key_id = new_key(json!({}));
        let others = OTHER_KEYS.iter().map(|(operation, usage)| {
            let (_, spec) = operation.split_once('/').expect("a spec");
            (*operation, new_key(json!({ "KeySpec": spec, "KeyUsage": usage })))
        });
        let others = others.collect();
        let seal = |number| {
            let answer = call(&service, "Encrypt", &encrypt(&key_id, number));
            answer["CiphertextBlob"].as_str().expect("a ciphertext").to_owned()
        };
        let ciphertexts = (0..RING).map(seal).collect();
        Subject { service, key_id, ciphertexts, others, started }
    }

    fn measure(&self, operation: &str, in_flight: usize, seconds: f64) -> Cell {
        let name = operation.split('/').next().expect("a name");
        let requests = (0..RING).map(|number| self.request(name, &self.body(operation, number))).collect();
        let load = Load { address: self.service.address(), requests, in_flight };
        let result = load.run(Duration::from_secs_f64(seconds), || Usage::of(self.service.pid()));
        Cell::new(operation, in_flight, result)
    }

    fn body(&self, operation: &str, number: usize) -> Value {
        let message = || BASE64_STANDARD.encode(format!("{number:032}"));
        let key_id = || &self.others[operation];
        match operation {
            "GenerateDataKey" => json!({
                "KeyId": self.key_id, "KeySpec": "AES_256", "EncryptionContext": context(number),
            }),
            "Encrypt" => encrypt(&self.key_id, number),
            "Decrypt" => {
                json!({ "CiphertextBlob": self.ciphertexts[number], "EncryptionContext": context(number) })
            }
            "Sign/RSA_2048" => json!({
                "KeyId": key_id(), "Message": message(), "SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256",
            }),
            "Sign/ECC_NIST_P256" => {
                json!({ "KeyId": key_id(), "Message": message(), "SigningAlgorithm": "ECDSA_SHA_256" })
            }
            "GenerateMac/HMAC_256" => {
                json!({ "KeyId": key_id(), "Message": message(), "MacAlgorithm": "HMAC_SHA_256" })
            }
            "Decrypt/RSA_2048" => {
                let algorithm = "RSAES_OAEP_SHA_256";
                let encrypt = json!({ "KeyId": key_id(), "EncryptionAlgorithm": algorithm, "Plaintext": message() });
                let blob = call(&self.service, "Encrypt", &encrypt)["CiphertextBlob"].take();
                json!({ "KeyId": key_id(), "EncryptionAlgorithm": algorithm, "CiphertextBlob": blob })
            }
            _ => match operation.strip_prefix("GenerateDataKeyPair/") {
                Some(spec) => {
                    json!({ "KeyId": self.key_id, "KeyPairSpec": spec, "EncryptionContext": context(number) })
                }
                None => json!({ "KeyId": self.key_id, "Operation": operation }),
            },
        }
    }

    /// Signed now: the signature is good for five minutes, and no measurement takes that long.
    fn request(&self, operation: &str, body: &Value) -> Vec<u8> {
        let mut request = Request::kms(operation, body);
        request.headers.push(("user-agent".into(), USER_AGENT.into()));
        request.headers.push(("accept-encoding".into(), "identity".into()));
        request.signed(&self.service)
    }
}

fn encrypt(key_id: &str, number: usize) -> Value {
    let plaintext = BASE64_STANDARD.encode(format!("{number:032}"));
    json!({ "KeyId": key_id, "Plaintext": plaintext, "EncryptionContext": context(number) })
}

/// How many requests for the operation may be in flight without one being throttled.
fn most_in_flight(operation: &str) -> usize {
    if operation.starts_with("GenerateDataKeyPair/RSA") { 8 } else { usize::MAX }
}

fn context(number: usize) -> Value {
    json!({ "record": number.to_string() })
}

fn call(service: &Service, operation: &str, body: &Value) -> Value {
    let answer = Request::kms(operation, body).send(service);
    assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// What is measured if nothing else is said.
const OPERATIONS: &str = "GenerateDataKey,Encrypt,Decrypt,Sign/RSA_2048,Sign/ECC_NIST_P256,GenerateMac/HMAC_256,\
                          Decrypt/RSA_2048,GenerateDataKeyPair/ECC_NIST_P256,GenerateDataKeyPair/RSA_2048";
/// The operations with a key of their own, and its usage.
const OTHER_KEYS: &[(&str, &str)] = &[
    ("Sign/RSA_2048", "SIGN_VERIFY"),
    ("Sign/ECC_NIST_P256", "SIGN_VERIFY"),
    ("GenerateMac/HMAC_256", "GENERATE_VERIFY_MAC"),
    ("Decrypt/RSA_2048", "ENCRYPT_DECRYPT"),
];
/// Different requests in a measurement, sent again and again: the service keeps nothing of a request that could make
/// its repetition cheaper.
const RING: usize = 128;
const BARE_TIME: Duration = Duration::from_secs(1);
/// What boto3 sends.
const USER_AGENT: &str = "Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11.2 \
                          md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.40.1";
