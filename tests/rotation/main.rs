//! Rotation: by the clock, on demand, killed at every step, and by the nonce budget.

mod budget;
mod crash;
mod imported;
#[path = "../support/in_process.rs"]
mod in_process;
mod on_demand;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod schedule;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use in_process::{HOUR, InProcess};
use serde_json::{Value, json};

/// What the service tells of a key.
pub struct Key<'s> {
    service: &'s InProcess,
    id: String,
}

impl<'s> Key<'s> {
    async fn new(service: &'s InProcess) -> Self {
        Key { service, id: service.new_key().await }
    }

    fn named(service: &'s InProcess, id: &str) -> Self {
        Key { service, id: id.to_owned() }
    }

    /// A request about this key.
    async fn call(&self, operation: &str, mut more: Value) -> Value {
        more["KeyId"] = json!(self.id);
        self.service.call(operation, more).await
    }

    /// A request about this key that must be refused: the exception's name and message.
    async fn refused(&self, operation: &str, mut more: Value) -> (String, String) {
        more["KeyId"] = json!(self.id);
        let (status, answer) = self.service.try_call(operation, &more).await;
        assert_ne!(status, 200, "{operation}: {answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("message"))
    }

    fn arn(&self) -> String {
        format!("arn:aws:kms:us-east-1:111122223333:key/{}", self.id)
    }

    async fn encrypt(&self) -> Sealed {
        let plaintext = format!("{:032}", rand());
        let sealed = self.call("Encrypt", json!({ "Plaintext": plaintext })).await;
        let blob = sealed["CiphertextBlob"].as_str().unwrap().to_owned();
        let material = self.decrypt(&blob).await["KeyMaterialId"].as_str().unwrap().to_owned();
        Sealed { plaintext, blob, material }
    }

    async fn decrypt(&self, blob: &str) -> Value {
        self.service.call("Decrypt", json!({ "CiphertextBlob": blob })).await
    }

    /// What was sealed opens, under the material that sealed it.
    async fn opens(&self, sealed: &Sealed) {
        let opened = self.decrypt(&sealed.blob).await;
        assert_eq!(opened["Plaintext"], sealed.plaintext);
        assert_eq!(opened["KeyMaterialId"], sealed.material);
    }

    async fn rotations(&self) -> Vec<Value> {
        self.call("ListKeyRotations", json!({ "Limit": 1000 })).await["Rotations"].as_array().unwrap().clone()
    }

    async fn status(&self) -> Value {
        self.call("GetKeyRotationStatus", json!({})).await
    }

    /// When it rotates next, in milliseconds.
    async fn next(&self) -> i64 {
        (self.status().await["NextRotationDate"].as_f64().unwrap() * 1_000.0).round() as i64
    }

    async fn current(&self) -> String {
        let told = self.call("DescribeKey", json!({})).await;
        told["KeyMetadata"]["CurrentKeyMaterialId"].as_str().unwrap().to_owned()
    }
}

/// Something encrypted, with its plaintext in base64 and the material's id.
pub struct Sealed {
    plaintext: String,
    blob: String,
    material: String,
}

/// Another number at every call.
fn rand() -> u64 {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Rounds of housekeeping, enough that all of its work is done once.
async fn housekeep(service: &InProcess) {
    for _ in 0..10 {
        service.app.housekeep().await;
    }
}

/// Days pass, with housekeeping on each.
async fn pass_days(service: &InProcess, days: u32) {
    for _ in 0..days {
        service.clock.pass(24 * HOUR);
        housekeep(service).await;
    }
}

/// Time passes as on a day with nothing to do, up to shortly before the last moment.
async fn pass(service: &InProcess, time: Duration) {
    service.clock.pass(time);
    housekeep(service).await;
}

/// The labels of the key's objects on the token, in order.
async fn objects(service: &InProcess, key: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let tokens = service.app.kms().tokens();
    let found = tokens[0].objects(deadline).await.unwrap();
    let mut labels: Vec<_> = found.ours.into_iter().map(|object| object.label).collect();
    labels.retain(|label| label.contains(key));
    labels.sort();
    labels
}

fn events(dir: &Path, name: &str) -> Vec<Value> {
    let lines = support::audit_lines(&dir.join("data"));
    lines.into_iter().map(|line| line["event"].clone()).filter(|event| event["eventName"] == name).collect()
}

const DAY_MILLIS: i64 = 86_400_000;

/// Runs all of them at the same time.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(cx) {
                *done = Some(output);
            }
        }
        match running.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
