//! The program itself: many at once, killed, and asked by the command line of AWS.

use std::collections::HashSet;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use hsm_kms::api::http::{Limits, Listener, serve};
use serde_json::{Value, json};

use crate::people::{OURS, People};
use crate::support::Service;
use crate::support::wire::{Answer, Request};
use crate::{block_on, in_own_process};

#[test]
fn twenty_creations_of_one_name_at_once_make_one_grant() {
    let service = Service::start();
    let key = new_key(&service);
    for round in 0..5 {
        let body = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"],
            "Name": format!("round-{round}"), "RetiringPrincipal": OURS });
        let answers = at_once(20, |_| ok(&service, "CreateGrant", &body));
        let distinct = |name: &str| answers.iter().map(|answer| answer[name].to_string()).collect::<HashSet<_>>().len();
        assert_eq!((distinct("GrantId"), distinct("GrantToken")), (1, 20));
        assert_eq!(listed(&service, &key).len(), round + 1);
    }
    let unnamed = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"] });
    at_once(20, |_| ok(&service, "CreateGrant", &unnamed));
    assert_eq!(listed(&service, &key).len(), 25);
}

#[test]
fn of_all_who_end_a_grant_at_once_one_does() {
    let service = Service::start();
    let key = new_key(&service);
    for _ in 0..10 {
        let body = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"] });
        let made = ok(&service, "CreateGrant", &body);
        let by_id = json!({ "KeyId": key, "GrantId": made["GrantId"] });
        let by_token = json!({ "GrantToken": made["GrantToken"] });
        let answers = at_once(9, |number| match number % 3 {
            0 => call(&service, "RevokeGrant", &by_id),
            1 => call(&service, "RetireGrant", &by_id),
            _ => call(&service, "RetireGrant", &by_token),
        });
        let errors: Vec<_> = answers.iter().map(Answer::error).collect();
        assert_eq!(errors.iter().filter(|error| error.is_empty()).count(), 1, "{errors:?}");
        for (number, error) in errors.iter().enumerate().filter(|(_, error)| !error.is_empty()) {
            let expected = if number % 3 == 2 { "InvalidGrantTokenException" } else { "NotFoundException" };
            assert_eq!(error, expected);
        }
        assert!(listed(&service, &key).is_empty());
    }
}

#[test]
fn a_key_on_its_way_to_deletion_gets_no_grant() {
    let service = Service::start();
    for _ in 0..10 {
        let key = new_key(&service);
        let body = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"] });
        let answers = at_once(8, |number| match number {
            4 => call(&service, "ScheduleKeyDeletion", &json!({ "KeyId": key })),
            _ => call(&service, "CreateGrant", &body),
        });
        assert_eq!(answers[4].status, 200);
        let made = answers.iter().enumerate().filter(|(number, answer)| *number != 4 && answer.status == 200).count();
        assert_eq!(listed(&service, &key).len(), made);
        assert_eq!(call(&service, "CreateGrant", &body).error(), "KMSInvalidStateException");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start_in(&data, &[]);
    let key = new_key(&service);
    let body = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"], "Name": "kept" });
    let mut expected = HashSet::new();
    for round in 0..4 {
        let made = ok(&service, "CreateGrant", &body);
        let spare =
            ok(&service, "CreateGrant", &json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Encrypt"] }));
        expected.insert(made["GrantId"].to_string());
        let token = made["GrantToken"].clone();
        // Killed right behind a creation, or right behind an end.
        let (operation, ended) = match round {
            0 => ("", Value::Null),
            1 => ("RevokeGrant", json!({ "KeyId": key, "GrantId": spare["GrantId"] })),
            _ => ("RetireGrant", json!({ "GrantToken": spare["GrantToken"] })),
        };
        if operation.is_empty() {
            expected.insert(spare["GrantId"].to_string());
        } else {
            ok(&service, operation, &ended);
        }
        service.kill9();
        service = Service::start_in(&data, &[]);
        assert_eq!(listed(&service, &key), expected, "round {round}");
        // A token outlives the process, its grant's name finds it, and what is gone stays gone.
        let encrypt = json!({ "KeyId": key, "Plaintext": "AA==", "GrantTokens": [token] });
        ok(&service, "Encrypt", &encrypt);
        assert_eq!(ok(&service, "CreateGrant", &body)["GrantId"], made["GrantId"]);
        if operation == "RetireGrant" {
            assert_eq!(call(&service, operation, &ended).error(), "InvalidGrantTokenException");
        }
    }
}

#[test]
fn a_token_of_another_region_or_service_is_refused() {
    let service = Service::start_with(&["--region", "us-east-1", "--region", "eu-west-1"]);
    let other = Service::start();
    let in_region = |region: &str, operation: &str, body: &Value| {
        Request { region: region.into(), ..Request::kms(operation, body) }.send(&service)
    };
    let [here, there] = ["us-east-1", "eu-west-1"].map(|region| {
        let key = in_region(region, "CreateKey", &json!({})).json()["KeyMetadata"]["KeyId"].clone();
        let body = json!({ "KeyId": key, "GranteePrincipal": OURS, "Operations": ["Decrypt"] });
        (key, in_region(region, "CreateGrant", &body).json()["GrantToken"].clone())
    });
    let elsewhere = new_key(&other);
    let body = json!({ "KeyId": elsewhere, "GranteePrincipal": OURS, "Operations": ["Decrypt"] });
    let foreign = ok(&other, "CreateGrant", &body)["GrantToken"].clone();
    for (token, error) in [(&here.1, ""), (&there.1, BAD_TOKEN), (&foreign, BAD_TOKEN)] {
        let body = json!({ "KeyId": here.0, "Plaintext": "AA==", "GrantTokens": [token] });
        assert_eq!(in_region("us-east-1", "Encrypt", &body).error(), error);
    }
    assert_eq!(in_region("us-east-1", "RetireGrant", &json!({ "GrantToken": there.1 })).error(), BAD_TOKEN);
    let by_retirer = json!({ "RetiringPrincipal": OURS });
    let body =
        json!({ "KeyId": here.0, "GranteePrincipal": OURS, "RetiringPrincipal": OURS, "Operations": ["Decrypt"] });
    ok(&service, "CreateGrant", &body);
    let count = |region: &str| {
        let listed = in_region(region, "ListRetirableGrants", &by_retirer).json();
        listed["Grants"].as_array().unwrap().len()
    };
    assert_eq!((count("us-east-1"), count("eu-west-1")), (1, 0));
}

#[test]
fn the_command_line_of_aws_creates_uses_and_revokes_a_grant() {
    in_own_process("outside::the_command_line_of_aws_creates_uses_and_revokes_a_grant", |dir| {
        block_on(async {
            // The command signs at the time of this host.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            run_script(&People::start_at(dir, i64::try_from(now).unwrap()).await).await;
        });
    });
}

async fn run_script(people: &People) {
    let (root, alice) = (people.root(), people.user(OURS, "alice", &[]).await);
    let key = people.key().await;
    let blob = people.blob(&key, json!({})).await;
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}", listener.address());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = people.service.app.router();
    let server = tokio::spawn(async move {
        serve(listener, router, Limits::default(), async move { drop(stopped.await) }).await;
    });
    let script = script();
    let run = tokio::task::spawn_blocking({
        let (root, alice, key) = (root.clone(), alice.clone(), key.clone());
        move || {
            let mut bash = Command::new("bash");
            let home = tempfile::tempdir().unwrap();
            bash.args(["-euo", "pipefail", "-c", script]).env_clear().current_dir(&home).env("HOME", home.path());
            bash.envs([("PATH", "/usr/bin:/bin"), ("AWS_REGION", "us-east-1"), ("LANG", "C.UTF-8")]);
            bash.envs([("URL", url), ("KEY", key), ("BLOB", blob), ("ALICE", alice.arn)]);
            bash.envs([("ROOT_ID", root.access_key_id), ("ROOT_SECRET", root.secret)]);
            bash.envs([("ALICE_ID", alice.access_key_id), ("ALICE_SECRET", alice.secret)]);
            bash.output().unwrap()
        }
    });
    let output = run.await.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    assert!(said.ends_with("all as expected\n"), "{said}\n{complained}");
    stop.send(()).unwrap();
    server.await.unwrap();
}

/// As AWS's own pages have it.
fn script() -> &'static str {
    r#"
    as_root() { AWS_ACCESS_KEY_ID=$ROOT_ID AWS_SECRET_ACCESS_KEY=$ROOT_SECRET aws --endpoint-url "$URL" kms "$@"; }
    as_alice() { AWS_ACCESS_KEY_ID=$ALICE_ID AWS_SECRET_ACCESS_KEY=$ALICE_SECRET aws --endpoint-url "$URL" kms "$@"; }
    denied() { if said=$("$@" 2>&1); then exit 7; fi; [[ $said == *"(AccessDeniedException)"* ]] || { echo "$said"; exit 8; }; }
    base64 -d <<<"$BLOB" >blob
    decrypt=(decrypt --ciphertext-blob "fileb://blob" --query Plaintext --output text)
    denied as_alice "${decrypt[@]}"
    read -r id token < <(as_root create-grant --key-id "$KEY" --grantee-principal "$ALICE" --operations Decrypt \
        --query '[GrantId,GrantToken]' --output text)
    [[ $(as_alice "${decrypt[@]}" --grant-tokens "$token") == eHk= ]]
    [[ $(as_alice "${decrypt[@]}") == eHk= ]]
    [[ $(as_root list-grants --key-id "$KEY" --query 'Grants[].[GrantId,GranteePrincipal]' --output text) == "$id	$ALICE" ]]
    as_root revoke-grant --key-id "$KEY" --grant-id "$id"
    denied as_alice "${decrypt[@]}"
    id=$(as_root create-grant --key-id "$KEY" --grantee-principal "$ALICE" --retiring-principal "$ALICE" --name n \
        --operations Decrypt --constraints EncryptionContextSubset={Department=IT} --query GrantId --output text)
    denied as_alice "${decrypt[@]}"
    denied as_alice create-grant --key-id "$KEY" --grantee-principal "$ALICE" --operations Decrypt
    [[ $(as_root list-retirable-grants --retiring-principal "$ALICE" --query 'Grants[].GrantId' --output text) == "$id" ]]
    as_alice retire-grant --key-id "$KEY" --grant-id "$id"
    [[ -z $(as_root list-grants --key-id "$KEY" --query 'Grants[]' --output text) ]]
    echo all as expected
    "#
}

/// `count` threads at once, each with its number.
fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(count);
    let run = |number| {
        barrier.wait();
        work(number)
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || run(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn call(service: &Service, operation: &str, body: &Value) -> Answer {
    Request::kms(operation, body).send(service)
}

fn ok(service: &Service, operation: &str, body: &Value) -> Value {
    let answer = call(service, operation, body);
    assert_eq!(answer.status, 200, "{operation} {body}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn new_key(service: &Service) -> String {
    ok(service, "CreateKey", &json!({}))["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}

/// The ids of the grants on a key.
fn listed(service: &Service, key: &str) -> HashSet<String> {
    let listed = ok(service, "ListGrants", &json!({ "KeyId": key, "Limit": 100 }));
    listed["Grants"].as_array().unwrap().iter().map(|grant| grant["GrantId"].to_string()).collect()
}

const BAD_TOKEN: &str = "InvalidGrantTokenException";
