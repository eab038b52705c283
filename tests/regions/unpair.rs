//! Pairings that are taken back: only while no key's rotation needs them, and for good.

use std::collections::BTreeSet;

use hsm_kms::api::admin::answer_here;
use hsm_kms::kms::{End, KeyStore, arn_of};
use hsm_kms::model::KeyState;

use super::*;
use crate::in_process::{HOUR, InProcess};
use crate::rotation::{pair, set_state, soon};

const NORTH: &str = "eu-north-1";
/// Up to the time that a replication takes.
const ROUNDS: u32 = 6;
const ROUNDS_MAX: u32 = 60;

/// On three tokens, all paired: a pairing that the rotation of `key` needs stays, one of two replicas' tokens goes. What
/// went between them works, and nothing goes any more.
pub async fn of_two_replicas(service: &InProcess, key: &str) {
    let kms = service.app.kms();
    let primary = kms.store.key(&WEST.parse().unwrap(), &key.parse().unwrap()).unwrap();
    for two in [[WEST, "token"], [NORTH, WEST]] {
        let told = unpair_here(service, two).await;
        assert_eq!(told["error"]["code"], "DeleteConflict", "{told}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&arn_of(&primary.record).to_string()) && message.matches("arn:").count() == 1,
            "{message}"
        );
    }
    let told = unpair_here(service, [NORTH, "token"]).await;
    assert_eq!(told["output"]["Paired"], false, "{told}");
    for two in [["token", NORTH], ["token", "nowhere"], ["token", "token"]] {
        assert_eq!(unpair_here(service, two).await["error"]["code"], "NoSuchEntity");
    }
    let rotated = service.try_call_in(WEST, "RotateKeyOnDemand", &json!({ "KeyId": key })).await;
    assert_eq!(rotated.0, 200, "{}", rotated.1);
    let sealed = service.call("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" })).await["CiphertextBlob"].take();
    let opened = service.try_call_in(NORTH, "Decrypt", &json!({ "CiphertextBlob": sealed })).await;
    assert_eq!((opened.0, &opened.1["Plaintext"]), (200, &json!("eA==")), "{}", opened.1);
    let back = service.try_call_in(WEST, "UpdatePrimaryRegion", &json!({ "KeyId": key, "PrimaryRegion": EAST })).await;
    assert_eq!((back.0, &back.1["__type"]), (400, &json!("UnsupportedOperationException")));
    pair(service, EAST, NORTH).await;
}

/// Whichever comes first: there is never a replica whose primary key could not send it new material.
pub async fn while_a_replica_is_made(service: &InProcess) {
    let (kms, mut seen) = (service.app.kms(), BTreeSet::new());
    let usual = replicated_and_gone(service).await;
    // Later and later, until the replica has come first, too: a replication can take longer than the one that was measured.
    for pause in (0..ROUNDS_MAX).map(|round| usual * round / (ROUNDS - 1)) {
        if seen.len() == 2 && pause > usual {
            break;
        }
        let key = service.call("CreateKey", json!({ "MultiRegion": true })).await["KeyMetadata"]["KeyId"].take();
        let body = json!({ "KeyId": key, "ReplicaRegion": NORTH });
        let ((status, told), unpaired) = tokio::join!(service.try_call("ReplicateKey", &body), async {
            tokio::time::sleep(pause).await;
            unpair_here(service, ["token", NORTH]).await
        });
        let there = kms.store.key(&NORTH.parse().unwrap(), &key.as_str().unwrap().parse().unwrap()).is_some();
        seen.insert(there);
        assert_eq!((status == 200, unpaired.get("error").is_some()), (there, there), "{told} {unpaired}");
        if there {
            assert_eq!(unpaired["error"]["code"], "DeleteConflict");
            gone(service, key.as_str().unwrap()).await;
        } else {
            assert_eq!(told["__type"], "UnsupportedOperationException");
            pair(service, EAST, NORTH).await;
        }
        // A creation that was not begun on the token is undone later.
        service.clock.pass(HOUR);
        for key_store in kms.key_stores() {
            kms.undo_creations(&key_store, kms.now()).await;
        }
        assert!(kms.store.intents().is_empty());
        let north = kms.token(&NORTH.parse().unwrap(), None).unwrap();
        let labels = north.objects(soon()).await.unwrap().ours.into_iter().map(|object| object.label);
        let left = labels.filter(|label| label.contains(&key.as_str().unwrap()["mrk-".len()..])).count();
        assert_eq!(left, 0);
    }
    assert_eq!(seen.len(), 2, "both came first: {seen:?}");
}

/// How long a replication takes, whose replica is gone again.
async fn replicated_and_gone(service: &InProcess) -> Duration {
    let key = service.call("CreateKey", json!({ "MultiRegion": true })).await["KeyMetadata"]["KeyId"].take();
    let begun = Instant::now();
    service.call("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": NORTH })).await;
    let taken = begun.elapsed();
    gone(service, key.as_str().unwrap()).await;
    taken
}

/// Destroys the replica of a key.
async fn gone(service: &InProcess, key: &str) {
    set_state(service, NORTH, key, KeyState::Destroying).await;
    service.app.kms().finish_destructions(&KeyStore::Region(NORTH.parse().unwrap()), End::Destroyed).await;
}

/// What an operator is told who takes back a pairing.
async fn unpair_here(service: &InProcess, tokens: [&str; 2]) -> Value {
    let line = json!({ "operation": "UnpairTokens", "parameters": { "Tokens": tokens } });
    serde_json::from_slice(&answer_here(service.app.desk(), line.to_string().as_bytes()).await).unwrap()
}
