//! Whether many grants on a key slow its requests down: the search alone, and whole requests, each as a ratio of ten
//! thousand grants to one. `cargo bench --bench grants`; with `TMPDIR=/dev/shm` no disk hides what the search costs.

#[path = "../tests/support/in_process.rs"]
mod in_process;
#[path = "../tests/grants/people.rs"]
#[allow(dead_code)]
mod people;
#[path = "../tests/token/process.rs"]
#[allow(dead_code)]
mod process;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::Criterion;
use hsm_kms::model::{EncryptionContext, GrantOperation, KeyId, Timestamp};
use hsm_kms::store::{Change, GrantConstraints, GrantRecord};
use serde_json::json;

use people::{OURS, People, Person};

/// SoftHSM reads its configuration from the environment: the work is done in a child that has it.
fn main() {
    let Some(dir) = std::env::var_os("HSM_KMS_BENCH_DIR") else {
        let dir = process::softhsm_dir();
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(std::env::args_os().skip(1)).env("SOFTHSM2_CONF", dir.path().join("softhsm2.conf"));
        let status = child.env("HSM_KMS_BENCH_DIR", dir.path()).status().expect("this program again");
        assert!(status.success(), "{status}");
        return;
    };
    process::block_on(measure(Path::new(&dir)));
}

async fn measure(dir: &Path) {
    let people = People::start(dir).await;
    let alice = people.user(OURS, "alice", &[]).await;
    let one = Scene::new(&people, &alice, 0, |grant, _| grant).await;
    let mut scenes = Vec::new();
    for (name, others) in OTHERS {
        scenes.push((*name, Scene::new(&people, &alice, MANY - 1, *others).await));
    }
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("search: 1 grant", |bencher| bencher.iter(|| one.search(&people, &alice)));
    for (name, scene) in &scenes {
        let name = format!("search: {MANY} grants, {name}");
        criterion.bench_function(&name, |bencher| bencher.iter(|| scene.search(&people, &alice)));
    }
    criterion.final_summary();
    println!("\nwhole GenerateDataKey requests, interleaved, medians:");
    for (name, scene) in &scenes {
        let [few, many] = compare(&people, &alice, &one, scene).await;
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        println!("{few:>10.1?} with 1 grant, {many:>10.1?} with {MANY}: ratio {ratio:.3} ({name})");
    }
    delete(&people, &alice, &one).await;
    people.close().await;
}

/// A key with one grant for the request that is measured, among others.
struct Scene {
    key: String,
}

impl Scene {
    async fn new(people: &People, alice: &Person, count: usize, others: Others) -> Self {
        let key = people.key().await;
        let context = json!({ "EncryptionContextSubset": { "app": "ledger", "tenant": "7777" } });
        people.grant(&key, &alice.arn, &["GenerateDataKey"], json!({ "Constraints": context })).await;
        let mut change = Change::new(people.now());
        for number in 0..count {
            change = change.insert(others(grant(&key, alice, number, people.now()), number));
        }
        people.commit(change).await;
        Scene { key }
    }

    fn search(&self, people: &People, alice: &Person) {
        let place = (&"us-east-1".parse().expect("a Region"), &id_of(&self.key));
        let context = EncryptionContext::from([("app", "ledger"), ("tenant", "7777")]);
        let wanted = |grant: &GrantRecord| {
            let demanded = grant.constraints.encryption_context_subset.as_ref();
            demanded.is_none_or(|demanded| context.has(demanded))
        };
        let operation = "GenerateDataKey".parse().expect("an operation");
        let store = &people.service.app.kms().store;
        let found = store.grant_for(place, black_box(&alice.arn), operation, Some(&context), &wanted);
        assert!(found.is_some());
    }

    fn request(&self, people: &People, alice: &Person) -> axum::http::Request<axum::body::Body> {
        let body = json!({ "KeyId": self.key, "KeySpec": "AES_256",
            "EncryptionContext": { "app": "ledger", "tenant": "7777" } });
        people.request(alice, "us-east-1", "GenerateDataKey", &body)
    }
}

/// How the other grants on a key differ from the one that is needed.
type Others = fn(GrantRecord, usize) -> GrantRecord;

const OTHERS: &[(&str, Others)] = &[
    ("to other grantees", |grant, number| GrantRecord {
        grantee: format!("arn:aws:iam::{OURS}:role/r{number}"),
        grantee_id: Some(format!("AROA{number}")),
        ..grant
    }),
    ("for other tenants of one application", |grant, number| {
        let tenant = EncryptionContext::from([("app", "ledger".to_owned()), ("tenant", format!("t{number}"))]);
        let constraints = GrantConstraints { encryption_context_subset: Some(tenant), ..Default::default() };
        GrantRecord { constraints, ..grant }
    }),
    ("for other exact contexts", |grant, number| {
        let exact = EncryptionContext::from([("app", "ledger".to_owned()), ("tenant", format!("t{number}"))]);
        let constraints = GrantConstraints { encryption_context_equals: Some(exact), ..Default::default() };
        GrantRecord { constraints, ..grant }
    }),
    ("for other operations", |grant, number| {
        // Every set of these but the empty one.
        let is_in = |bit: &usize| ((number % 255 + 1) >> bit) & 1 == 1;
        let operations = (0..8).filter(is_in).map(|bit| OTHER_OPERATIONS[bit].parse().expect("an operation"));
        GrantRecord { operations: operations.collect(), ..grant }
    }),
];

const OTHER_OPERATIONS: [&str; 8] = [
    "Decrypt",
    "Encrypt",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
];

fn grant(key: &str, alice: &Person, number: usize, created: Timestamp) -> GrantRecord {
    let operations: Vec<GrantOperation> = vec!["GenerateDataKey".parse().expect("an operation")];
    GrantRecord {
        region: "us-east-1".parse().expect("a Region"),
        account: OURS.parse().expect("an account"),
        key_id: id_of(key),
        grant_id: format!("{number:064x}"),
        name: String::new(),
        grantee: alice.arn.clone(),
        grantee_id: Some(alice.unique_id.clone()),
        retiring: None,
        retiring_id: None,
        operations,
        constraints: GrantConstraints::default(),
        creator: format!("arn:aws:iam::{OURS}:root"),
        created,
    }
}

/// The medians of requests to two keys, by turns.
async fn compare(people: &People, alice: &Person, few: &Scene, many: &Scene) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in [round % 2, (round + 1) % 2] {
            let request = [few, many][turn].request(people, alice);
            let begun = Instant::now();
            let said = people.send(request).await;
            times[turn].push(begun.elapsed());
            assert_eq!(said.error, "", "{}", said.message);
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

/// A key with as many grants as it can have is deleted; another key is asked meanwhile.
async fn delete(people: &People, alice: &Person, other: &Scene) {
    let doomed = Scene::new(people, alice, MOST - 1, OTHERS[0].1).await;
    let body = json!({ "KeyId": doomed.key, "PendingWindowInDays": 7 });
    people.ok(&people.root(), "ScheduleKeyDeletion", body).await;
    let due = people.now().plus(Duration::from_secs(8 * 24 * 3_600));
    let kms = people.service.app.kms().clone();
    let begun = Instant::now();
    let deletion = tokio::spawn(async move {
        let key_store = kms.key_stores().remove(0);
        assert_eq!(kms.destroy_due_keys(&key_store, due).await.expect("a deletion"), 1);
        begun.elapsed()
    });
    let mut longest = Duration::ZERO;
    while !deletion.is_finished() {
        let request = other.request(people, alice);
        let begun = Instant::now();
        assert_eq!(people.send(request).await.error, "");
        longest = longest.max(begun.elapsed());
    }
    let took = deletion.await.expect("a deletion");
    println!(
        "\ndeleting a key with {MOST} grants: {took:.1?}; the slowest request to another key meanwhile: {longest:.1?}"
    );
}

fn id_of(arn: &str) -> KeyId {
    arn.rsplit('/').next().and_then(|id| id.parse().ok()).expect("the ARN of a key")
}

const MANY: usize = 10_000;
const MOST: usize = 50_000;
const ROUNDS: usize = 2_000;
