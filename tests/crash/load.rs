//! Clients under load, each with a journal of what the service acknowledged to it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::Service;
use crate::support::wire::{Answer, Request, try_exchange};

/// What is so: `state <key>`, `policy <key>`, `tag <key> <name>`, `alias <name>`; `None` is known to be absent.
pub type Facts = BTreeMap<String, Option<String>>;

/// One client. Whatever it works on is its own, so that its journal alone says what must be.
pub struct Client {
    number: usize,
    random: Random,
    count: u64,
    /// What was acknowledged.
    pub facts: Facts,
    /// Ciphertexts that were answered, with their keys and plaintexts.
    pub sealed: Vec<(String, String, String)>,
    /// Request ids of all answers since the last kill.
    pub answered: Vec<String>,
    /// Keys touched since the last kill.
    pub touched: Vec<String>,
    /// What was sent and not answered.
    pub in_flight: Option<InFlight>,
}

/// A request without an answer: it may have been done or not.
pub enum InFlight {
    /// It changes nothing.
    Nothing,
    /// A key may have been made.
    Creation,
    /// This fact may be so.
    Change(String, Option<String>),
}

/// A request, and what becomes so if it succeeds.
struct Step {
    operation: &'static str,
    body: Value,
    then: InFlight,
}

impl Client {
    /// A client that makes its own choices; the same `seed` makes the same ones.
    pub fn new(number: usize, seed: u64) -> Self {
        let random = Random::new(seed.wrapping_add(number as u64 * 7_919));
        let (facts, sealed) = (Facts::new(), Vec::new());
        let (answered, touched) = (Vec::new(), Vec::new());
        Client { number, random, count: 0, facts, sealed, answered, touched, in_flight: None }
    }

    /// Sends one request after the other until one is not answered.
    pub fn work(&mut self, service: &Service) {
        while self.step(service).is_some() {}
    }

    fn step(&mut self, service: &Service) -> Option<()> {
        let Step { operation, body, then } = self.choose();
        let bytes = Request::kms(operation, &body).signed(service);
        self.in_flight = Some(then);
        let answer = try_exchange(&service.address(), &bytes)?;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        let log = service.log();
        let last = log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
        assert_eq!(answer.status, 200, "client {}: {operation} {body}: {told}; {last}", self.number);
        self.answered.push(answer.header("x-amzn-requestid").expect("an id").to_owned());
        match self.in_flight.take() {
            Some(InFlight::Change(fact, value)) => self.note(fact, value),
            Some(InFlight::Creation) => self.note_creation(&answer, &body),
            Some(InFlight::Nothing) => self.note_sealed(&answer, &body),
            None => {}
        }
        Some(())
    }

    fn choose(&mut self) -> Step {
        self.count += 1;
        let enabled: Vec<String> = self.keys_in("Enabled");
        // A key is made now and then; without one there is nothing else to do.
        if enabled.is_empty() || self.random.below(12) == 0 {
            return self.create_key();
        }
        let key = enabled[self.random.below(enabled.len())].clone();
        self.touched.push(key.clone());
        match self.random.below(10) {
            0 | 1 => self.change_alias(&key),
            2 => self.change_tag(&key),
            3 => self.put_policy(&key),
            4 | 5 => self.change_state(&key),
            6 => self.seal("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256" })),
            7 => self.seal("Encrypt", json!({ "KeyId": key, "Plaintext": "c2VjcmV0" })),
            _ => self.decrypt(&key),
        }
    }

    fn create_key(&mut self) -> Step {
        let text = self.text();
        let body = json!({ "Policy": policy(&text), "Tags": [{ "TagKey": "made", "TagValue": text }] });
        Step { operation: "CreateKey", body, then: InFlight::Creation }
    }

    fn change_alias(&mut self, key: &str) -> Step {
        let name = format!("alias/client{}-{}", self.number, self.random.below(4));
        let exists = self.facts.get(&format!("alias {name}")).is_some_and(Option::is_some);
        let delete = exists && self.random.below(3) == 0;
        let operation = if delete {
            "DeleteAlias"
        } else if exists {
            "UpdateAlias"
        } else {
            "CreateAlias"
        };
        let mut body = json!({ "AliasName": name });
        if !delete {
            body["TargetKeyId"] = key.into();
        }
        let then = InFlight::Change(format!("alias {name}"), (!delete).then(|| key.to_owned()));
        Step { operation, body, then }
    }

    fn change_tag(&mut self, key: &str) -> Step {
        let (name, value) = (format!("tag{}", self.random.below(3)), self.text());
        let fact = format!("tag {key} {name}");
        if self.facts.get(&fact).is_some_and(Option::is_some) && self.random.below(3) == 0 {
            let body = json!({ "KeyId": key, "TagKeys": [name] });
            return Step { operation: "UntagResource", body, then: InFlight::Change(fact, None) };
        }
        let body = json!({ "KeyId": key, "Tags": [{ "TagKey": name, "TagValue": value }] });
        Step { operation: "TagResource", body, then: InFlight::Change(fact, Some(value)) }
    }

    fn put_policy(&mut self, key: &str) -> Step {
        let text = policy(&self.text());
        let body = json!({ "KeyId": key, "PolicyName": "default", "Policy": text });
        Step { operation: "PutKeyPolicy", body, then: InFlight::Change(format!("policy {key}"), Some(text)) }
    }

    /// Moves some key one state on: scheduled for deletion, cancelled, enabled.
    fn change_state(&mut self, key: &str) -> Step {
        let (pending, disabled) = (self.keys_in("PendingDeletion"), self.keys_in("Disabled"));
        let (operation, key, state) = if let Some(key) = pending.first() {
            ("CancelKeyDeletion", key.clone(), "Disabled")
        } else if let Some(key) = disabled.first() {
            ("EnableKey", key.clone(), "Enabled")
        } else {
            ("ScheduleKeyDeletion", key.to_owned(), "PendingDeletion")
        };
        self.touched.push(key.clone());
        let then = InFlight::Change(format!("state {key}"), Some(state.to_owned()));
        Step { operation, body: json!({ "KeyId": key }), then }
    }

    fn seal(&mut self, operation: &'static str, body: Value) -> Step {
        Step { operation, body, then: InFlight::Nothing }
    }

    fn decrypt(&mut self, key: &str) -> Step {
        match self.sealed.iter().rev().find(|(sealed_under, _, _)| sealed_under == key) {
            Some((_, sealed, _)) => self.seal("Decrypt", json!({ "CiphertextBlob": sealed })),
            None => self.seal("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_128" })),
        }
    }

    fn note(&mut self, fact: String, value: Option<String>) {
        self.facts.insert(fact, value);
    }

    fn note_creation(&mut self, answer: &Answer, body: &Value) {
        let told = answer.json();
        let key = told["KeyMetadata"]["KeyId"].as_str().expect("a key id").to_owned();
        self.note(format!("state {key}"), Some("Enabled".into()));
        self.note(format!("policy {key}"), body["Policy"].as_str().map(str::to_owned));
        self.note(format!("tag {key} made"), body["Tags"][0]["TagValue"].as_str().map(str::to_owned));
        self.touched.push(key);
    }

    fn note_sealed(&mut self, answer: &Answer, body: &Value) {
        let told = answer.json();
        if let (Some(key), Some(sealed)) = (body["KeyId"].as_str(), told["CiphertextBlob"].as_str()) {
            let plaintext = told["Plaintext"].as_str().or(body["Plaintext"].as_str()).expect("a plaintext");
            self.sealed.push((key.to_owned(), sealed.to_owned(), plaintext.to_owned()));
        }
    }

    /// The keys that are in this state, as far as was acknowledged.
    pub fn keys_in(&self, state: &str) -> Vec<String> {
        let states = self.facts.iter().filter(|(_, value)| value.as_deref() == Some(state));
        states.filter_map(|(fact, _)| fact.strip_prefix("state ")).map(str::to_owned).collect()
    }

    fn text(&self) -> String {
        format!("client{}-{}", self.number, self.count)
    }
}

/// A policy that keeps the account in, told from others by its id.
fn policy(id: &str) -> String {
    json!({ "Version": "2012-10-17", "Id": id, "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:root" }, "Action": "kms:*", "Resource": "*"
    }] })
    .to_string()
}

/// Choices that can be made again: xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}
