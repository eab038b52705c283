//! Changes of one multi-Region key at the same time: whoever comes first, what is left is what one after the other leaves.

use std::collections::BTreeSet;

use super::*;

const NORTH: &str = "eu-north-1";
const ROUNDS: u32 = 6;

#[test]
fn what_two_changes_leave_that_meet_is_what_one_after_the_other_leaves() {
    // One for all: it makes its replication key once.
    let service = Service::start_with(&["--region", EAST, "--region", WEST, "--region", NORTH]);
    let pauses = pauses(&service);
    of_two_replications_to_one_region_exactly_one_is_made(&service, &pauses);
    a_replica_that_is_made_while_another_becomes_primary_knows_it_or_is_not_there(&service, &pauses);
    no_primary_key_is_destroyed_under_a_replica_that_is_made_meanwhile(&service, &pauses);
}

fn of_two_replications_to_one_region_exactly_one_is_made(service: &Service, pauses: &[Option<Duration>]) {
    let objects = || service.pkcs11_tool(&["--list-objects", "--type", "secrkey"]).matches("/multi-region/").count();
    let before = objects();
    for (round, pause) in pauses.iter().enumerate() {
        let key = multi_region(service);
        let request = || replicate(&key, WEST);
        let answers = at_once(service, request(), request(), *pause);
        let refusals: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(refusals, ["AlreadyExistsException"], "round {round}");
        assert_eq!(decrypt(service, WEST, &encrypt(service, EAST, &key, "it is a whole one")), "it is a whole one");
    }
    assert_eq!(objects() - before, 2 * (ROUNDS as usize + 1), "what the others made is gone");
}

fn a_replica_that_is_made_while_another_becomes_primary_knows_it_or_is_not_there(
    service: &Service,
    pauses: &[Option<Duration>],
) {
    let mut seen = BTreeSet::new();
    for (round, pause) in pauses.iter().cycle().take(3 * pauses.len()).enumerate() {
        if round >= pauses.len() && seen.len() == 2 {
            break;
        }
        let key = multi_region(service);
        ok(service, EAST, "ReplicateKey", replicate(&key, WEST).1);
        let update = ("UpdatePrimaryRegion", json!({ "KeyId": key, "PrimaryRegion": WEST }));
        let [replicated, updated] = at_once(service, replicate(&key, NORTH), update, *pause);
        updated.unwrap();
        let mut regions = vec![EAST];
        match &replicated {
            Ok(_) => regions.insert(0, NORTH),
            Err(error) => assert_eq!(error, "UnsupportedOperationException", "round {round}"),
        }
        seen.insert(replicated.is_ok());
        for region in regions.iter().chain([&WEST]) {
            let metadata = ok(service, region, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"].clone();
            let config = &metadata["MultiRegionConfiguration"];
            assert_eq!(config["PrimaryKey"]["Region"], WEST, "round {round} in {region}");
            let replicas = config["ReplicaKeys"].as_array().unwrap().iter();
            let replicas: Vec<_> = replicas.map(|of| of["Region"].as_str().unwrap()).collect();
            assert_eq!(replicas, regions, "round {round} in {region}");
            assert_eq!(decrypt(service, WEST, &encrypt(service, region, &key, region)), *region);
        }
        if replicated.is_err() {
            let (error, _) = refused(service, NORTH, "DescribeKey", json!({ "KeyId": key }));
            assert_eq!(error, "NotFoundException", "round {round}");
        }
    }
    assert_eq!(seen.len(), 2, "neither came first all the time: {seen:?}");
}

fn no_primary_key_is_destroyed_under_a_replica_that_is_made_meanwhile(service: &Service, pauses: &[Option<Duration>]) {
    let mut seen = BTreeSet::new();
    for (round, pause) in pauses.iter().cycle().take(3 * pauses.len()).enumerate() {
        if round >= pauses.len() && seen.len() == 2 {
            break;
        }
        let key = multi_region(service);
        let schedule = ("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 }));
        let [replicated, scheduled] = at_once(service, replicate(&key, WEST), schedule, *pause);
        let told = scheduled.unwrap()["KeyState"].clone();
        let expected = match &replicated {
            Ok(_) => "PendingReplicaDeletion",
            Err(error) => {
                assert_eq!(error, "KMSInvalidStateException", "round {round}");
                "PendingDeletion"
            }
        };
        seen.insert(replicated.is_ok());
        let state = ok(service, EAST, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"]["KeyState"].clone();
        assert_eq!((&told, &state), (&json!(expected), &json!(expected)), "round {round}");
        let replica = ask(service, WEST, "DescribeKey", &json!({ "KeyId": key }));
        assert_eq!(replica.status == 200, replicated.is_ok(), "round {round}");
    }
    assert_eq!(seen.len(), 2, "neither came first all the time: {seen:?}");
}

fn multi_region(service: &Service) -> String {
    let made = ok(service, EAST, "CreateKey", json!({ "MultiRegion": true }));
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn replicate(key: &str, region: &str) -> (&'static str, Value) {
    ("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": region }))
}

/// How long after a replication another request is sent: so that they meet at every step of it, and once after its end.
fn pauses(service: &Service) -> Vec<Option<Duration>> {
    // The first one takes long: the token is tried. Of the others one may be held up.
    let times = [(); 4].map(|()| {
        let key = multi_region(service);
        let begun = Instant::now();
        ok(service, EAST, "ReplicateKey", replicate(&key, WEST).1);
        begun.elapsed()
    });
    let time = *times[1..].iter().min().unwrap();
    (0..ROUNDS).map(|round| Some(time * round / ROUNDS)).chain([None]).collect()
}

/// The answers of two requests in one Region, or the names of their errors; the second one is sent after a pause, or
/// after the end of the first one.
fn at_once(
    service: &Service,
    one: (&str, Value),
    other: (&str, Value),
    pause: Option<Duration>,
) -> [Result<Value, String>; 2] {
    let answer = |(operation, body): (&str, Value)| {
        let answer = ask(service, EAST, operation, &body);
        if answer.status != 200 {
            return Err(answer.error());
        }
        Ok(if answer.body.is_empty() { Value::Null } else { answer.json() })
    };
    std::thread::scope(|scope| {
        let one = scope.spawn(|| answer(one));
        match pause {
            Some(pause) => std::thread::sleep(pause),
            None => return [one.join().unwrap(), answer(other)],
        }
        let other = answer(other);
        [one.join().unwrap(), other]
    })
}
