//! As many grants as a key can have.

use std::time::{Duration, Instant};

use hsm_kms::model::{GrantOperation, KeyId};
use hsm_kms::store::{Change, GrantConstraints, GrantRecord};
use serde_json::json;

use crate::in_process::HOUR;
use crate::people::{OURS, People};
use crate::with_people;

const LIMIT: usize = 50_000;

#[test]
fn a_key_has_at_most_50000_grants_and_takes_them_all_with_it() {
    with_people("many::a_key_has_at_most_50000_grants_and_takes_them_all_with_it", |people| async move {
        let (root, key, other) = (people.root(), people.key().await, people.key().await);
        let alice = people.user(OURS, "alice", &[]).await;
        let (kept, _) = people.grant(&other, &alice.arn, &["DescribeKey"], json!({})).await;
        fill(&people, &key, LIMIT - 3).await;
        // Nine at once for three places; a name that is there needs none.
        let named = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"], "Name": "n" });
        let first = people.ok(&root, "CreateGrant", named.clone()).await;
        let body = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"] });
        let asks = (0..9).map(|_| people.ask(&root, "CreateGrant", &body));
        let said = all(asks).await;
        let errors: Vec<_> =
            said.iter().filter(|said| !said.error.is_empty()).map(|said| said.error.as_str()).collect();
        assert_eq!(errors, ["LimitExceededException"; 7]);
        assert_eq!(people.ok(&root, "CreateGrant", named).await["GrantId"], first["GrantId"]);
        let message = people.no(&root, "CreateGrant", body.clone(), "LimitExceededException").await;
        assert_eq!(message, "A key has at most 50000 grants.");
        let mut dry = body.clone();
        dry["DryRun"] = true.into();
        people.no(&root, "CreateGrant", dry, "LimitExceededException").await;
        people.ok(&root, "RevokeGrant", json!({ "KeyId": key, "GrantId": first["GrantId"] })).await;
        people.ok(&root, "CreateGrant", body).await;

        people.ok(&root, "ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 })).await;
        let mut longest = Duration::ZERO;
        for _ in 0..8 * 24 {
            people.service.clock.pass(HOUR);
            let begun = Instant::now();
            people.service.app.housekeep().await;
            longest = longest.max(begun.elapsed());
        }
        eprintln!("the deletion of a key with {LIMIT} grants took {longest:?}");
        people.no(&root, "DescribeKey", json!({ "KeyId": key }), "NotFoundException").await;
        let (region, key_id) = ("us-east-1".parse().unwrap(), id_of(&key));
        assert_eq!(people.service.app.kms().store.count_grants(&region, &key_id), 0);
        assert_eq!(people.grants(&other).await, [kept]);
        people.service.app.kms().store.scrub().await.unwrap();
        people.close().await;
    });
}

/// All of them at once on this thread.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if let Some(running) = future
                && let std::task::Poll::Ready(done) = running.as_mut().poll(context)
            {
                *output = Some(done);
                *future = None;
            }
        }
        if futures.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

async fn fill(people: &People, key: &str, count: usize) {
    let operations: Vec<GrantOperation> = vec!["Decrypt".parse().unwrap()];
    for part in 0..count.div_ceil(10_000) {
        let numbers = part * 10_000..count.min((part + 1) * 10_000);
        let change = numbers.fold(Change::new(people.now()), |change, number| {
            change.insert(GrantRecord {
                region: "us-east-1".parse().unwrap(),
                account: OURS.parse().unwrap(),
                key_id: id_of(key),
                grant_id: format!("{number:064x}"),
                name: String::new(),
                grantee: format!("arn:aws:iam::{OURS}:role/r{number}"),
                grantee_id: Some(format!("AROA{number}")),
                retiring: None,
                retiring_id: None,
                operations: operations.clone(),
                constraints: GrantConstraints::default(),
                creator: format!("arn:aws:iam::{OURS}:root"),
                created: people.now(),
            })
        });
        people.commit(change).await;
    }
}

fn id_of(arn: &str) -> KeyId {
    arn.rsplit('/').next().unwrap().parse().unwrap()
}
