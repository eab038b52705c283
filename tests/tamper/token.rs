//! Objects on the token that are not, or no longer, the ones that the service made.

use std::path::Path;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::Session;
use hsm_kms::model::{KeyId, ObjectName, Purpose};
use serde_json::{Value, json};

use crate::database::events;
use crate::in_process::{InProcess, MovedClock, START};
use crate::process::{block_on, in_own_process, other_context};

/// An object with the id of a key, in its place or beside it, that is not what was made: no request uses it.
#[test]
fn an_object_planted_under_a_key_s_id_is_never_used() {
    in_own_process("token::an_object_planted_under_a_key_s_id_is_never_used", |dir| {
        block_on(async {
            let mut service = InProcess::start(dir, MovedClock::at(START)).await;
            let (context, slot) = other_context();
            let session = context.open_rw_session(slot).unwrap();
            let mut planted = Vec::new();
            for (replace, different) in [
                (true, vec![Attribute::Extractable(true)]),
                (true, vec![Attribute::Sensitive(false)]),
                (true, vec![Attribute::Label(b"hsm-kms/store-root/x/1".to_vec())]),
                (false, vec![Attribute::Label(b"beside".to_vec())]),
            ] {
                let key = service.new_key().await;
                let sealed = service.call("Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" })).await;
                if replace {
                    session.destroy_object(find(&session, &key)).unwrap();
                }
                plant(&session, &key, &different);
                planted.push((key, sealed["CiphertextBlob"].clone()));
            }
            drop((session, context));
            service.close().await;

            service = InProcess::open(dir, MovedClock::at(START)).await;
            for (key, sealed) in planted {
                assert_eq!(refusals(&service, &key, &sealed).await, ["KMSInternalException"; 3], "{key}");
            }
            assert_eq!(service.app.kms().tokens()[0].counts().recoveries, 0);
            service.close().await;
        });
    });
}

/// It is neither an unknown key nor a bad ciphertext, and nobody is told that it was.
#[test]
fn a_key_whose_object_is_gone_is_in_an_invalid_state() {
    in_own_process("token::a_key_whose_object_is_gone_is_in_an_invalid_state", |dir| {
        block_on(async {
            let service = InProcess::start(dir, MovedClock::at(START)).await;
            let (lost, kept) = (service.new_key().await, service.new_key().await);
            let sealed = service.call("Encrypt", json!({ "KeyId": lost, "Plaintext": "eHk=" })).await;
            let sealed = sealed["CiphertextBlob"].clone();
            remove(&lost);
            service.close().await;

            let service = InProcess::open(dir, MovedClock::at(START)).await;
            assert_eq!(refusals(&service, &lost, &sealed).await, ["KMSInvalidStateException"; 3]);
            let state = service.call("DescribeKey", json!({ "KeyId": lost })).await;
            assert_eq!(state["KeyMetadata"]["KeyId"], lost.as_str());
            service.call("Encrypt", json!({ "KeyId": kept, "Plaintext": "eHk=" })).await;
            assert_eq!(differences(dir, "missing"), [json!([format!("hsm-kms/kms/{lost}/1")])]);

            let unused = service.new_key().await;
            remove(&unused);
            let refused = service.refused("Encrypt", json!({ "KeyId": unused, "Plaintext": "eHk=" })).await;
            assert_eq!(refused, "KMSInvalidStateException", "while the service runs");
            service.close().await;
        });
    });
}

#[test]
fn an_object_that_no_record_names_is_reported_and_left_alone() {
    in_own_process("token::an_object_that_no_record_names_is_reported_and_left_alone", |dir| {
        block_on(async {
            let mut service = InProcess::start(dir, MovedClock::at(START)).await;
            let orphan = KeyId::from_bytes([0x5a; 16]).to_string();
            {
                let (context, slot) = other_context();
                plant(&context.open_rw_session(slot).unwrap(), &orphan, &[]);
            }
            let label = format!("hsm-kms/kms/{orphan}/1");
            for starts in 1..=2 {
                service.close().await;
                service = InProcess::open(dir, MovedClock::at(START)).await;
                assert_eq!(differences(dir, "orphans"), vec![json!([label]); starts]);
                for _ in 0..70 {
                    service.app.housekeep().await;
                }
            }
            let (context, slot) = other_context();
            let session = context.open_rw_session(slot).unwrap();
            let found = session.find_objects(&[Attribute::Label(label.into_bytes())]).unwrap();
            assert_eq!(found.len(), 1, "it is still there");
            assert_eq!(service.call("ListKeys", json!({})).await["Keys"], json!([]));
            assert_eq!(service.refused("DescribeKey", json!({ "KeyId": orphan })).await, "NotFoundException");
            drop((session, context));
            service.close().await;
        });
    });
}

async fn refusals(service: &InProcess, key: &str, sealed: &Value) -> [String; 3] {
    [
        service.refused("Encrypt", json!({ "KeyId": key, "Plaintext": "eHk=" })).await,
        service.refused("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256" })).await,
        service.refused("Decrypt", json!({ "CiphertextBlob": sealed })).await,
    ]
}

/// What the starts have reported.
fn differences(dir: &Path, kind: &str) -> Vec<Value> {
    let told = events(&dir.join("data"), "ReconcileTokenObjects");
    told.into_iter().map(|event| event["additionalEventData"][kind].clone()).collect()
}

fn name(key: &str) -> ObjectName {
    ObjectName { purpose: Purpose::Kms, key_id: key.parse().unwrap(), material: 1 }
}

fn find(session: &Session, key: &str) -> cryptoki::object::ObjectHandle {
    session.find_objects(&[Attribute::Token(true), Attribute::Id(name(key).cka_id().to_vec())]).unwrap()[0]
}

fn remove(key: &str) {
    let (context, slot) = other_context();
    let session = context.open_rw_session(slot).unwrap();
    session.destroy_object(find(&session, key)).unwrap();
}

/// A key as the service makes it, but for these attributes.
fn plant(session: &Session, key: &str, different: &[Attribute]) {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Id(name(key).cka_id().to_vec()),
        Attribute::Label(name(key).cka_label().into_bytes()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    template.retain(|ours| different.iter().all(|other| other.attribute_type() != ours.attribute_type()));
    template.extend_from_slice(different);
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
}
