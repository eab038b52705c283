//! Objects that someone else put on the token under a name of ours.

use std::time::Duration;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::Session;
use hsm_kms::model::{ObjectName, Purpose};
use hsm_kms::token::{Error, Token};

use super::process::*;

/// Makes an AES key as this service does, but for the attributes given.
pub fn plant(session: &Session, different: &[Attribute]) {
    let mut template = template_of(name(1));
    for attribute in different {
        template.retain(|ours| ours.attribute_type() != attribute.attribute_type());
        template.push(attribute.clone());
    }
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
}

fn template_of(name: ObjectName) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Id(name.cka_id().to_vec()),
        Attribute::Label(name.cka_label().into_bytes()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
    ]
}

#[test]
fn a_planted_object_is_refused_by_its_attribute() {
    in_own_process("planted::a_planted_object_is_refused_by_its_attribute", |dir| {
        make_token(LABEL);
        // Without session copies, which are proved once more.
        let token = open_with(dir, "", 1024, || panic!("hopeless"));
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let cases = [
            (Attribute::Extractable(true), "CKA_EXTRACTABLE is true and must be false"),
            (Attribute::Sensitive(false), "CKA_SENSITIVE is false and must be true"),
            (Attribute::Private(false), "CKA_PRIVATE is false and must be true"),
            (Attribute::ValueLen(16.into()), "CKA_VALUE_LEN is 16 and must be 32"),
            (Attribute::Wrap(true), "CKA_WRAP is true and must be false"),
            (Attribute::Unwrap(true), "CKA_UNWRAP is true and must be false"),
            (Attribute::Derive(true), "CKA_DERIVE is true and must be false"),
            (Attribute::Sign(true), "CKA_SIGN is true and must be false"),
            (Attribute::Decrypt(false), "CKA_DECRYPT is false and must be true"),
            (Attribute::Label(b"hsm-kms/x".to_vec()), "CKA_LABEL is `hsm-kms/x` and must be `hsm-kms/kms/"),
        ];
        for (number, (wrong, expected)) in (1..).zip(cases) {
            let name = name(number);
            let label = Attribute::Label(name.cka_label().into_bytes());
            plant(&session, &[Attribute::Id(name.cka_id().to_vec()), label, wrong]);
            block_on(async {
                for told in [
                    token.wrap_seed(&name, 1, b"", &[7; 32], soon()).await.map(drop).unwrap_err(),
                    token.unwrap_seed(&name, 1, b"", &[0; 60], soon()).await.map(drop).unwrap_err(),
                    token.exists(&name, soon()).await.map(drop).unwrap_err(),
                ] {
                    assert!(matches!(told, Error::NotProven { .. }), "{told}");
                    assert!(told.to_string().contains(expected), "{told}");
                }
            });
        }
        assert_eq!(token.counts().recoveries, 0);
    });
}

#[test]
fn an_imported_key_is_not_one_made_here() {
    in_own_process("planted::an_imported_key_is_not_one_made_here", |dir| {
        let token = new_token(dir);
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        let mut template = template_of(name(1));
        template.retain(|attribute| !matches!(attribute, Attribute::ValueLen(_)));
        template.push(Attribute::Value(vec![0x11; 32]));
        session.create_object(&template).unwrap();
        let told = block_on(token.wrap_seed(&name(1), 1, b"", &[7; 32], soon())).unwrap_err().to_string();
        assert!(told.contains("CKA_LOCAL is false and must be true"), "{told}");
    });
}

#[test]
fn a_key_of_one_purpose_does_not_serve_another() {
    in_own_process("planted::a_key_of_one_purpose_does_not_serve_another", |dir| {
        let token = new_token(dir);
        let store = ObjectName { purpose: Purpose::StoreRoot, ..name(1) };
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap();
            for told in [
                token.wrap_seed(&store, 1, b"", &[7; 32], soon()).await.map(drop).unwrap_err(),
                token.destroy(&store, soon()).await.unwrap_err(),
            ] {
                assert!(matches!(told, Error::NotProven { attribute: "CKA_LABEL", .. }), "{told}");
            }
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.expect("it was not destroyed");
        });
    });
}

#[test]
fn two_objects_with_one_id_are_none() {
    in_own_process("planted::two_objects_with_one_id_are_none", |dir| {
        let token = new_token(dir);
        block_on(token.generate(&name(1), soon())).unwrap();
        let (context, slot) = other_context();
        let session = context.open_rw_session(slot).unwrap();
        plant(&session, &[Attribute::Label(b"the second".to_vec())]);
        let refuses = async |token: &Token| {
            for told in [
                token.exists(&name(1), soon()).await.map(drop).unwrap_err(),
                token.generate(&name(1), soon()).await.unwrap_err(),
                token.destroy(&name(1), soon()).await.unwrap_err(),
            ] {
                assert!(matches!(told, Error::Ambiguous { count: 2, .. }), "{told}");
            }
        };
        block_on(async {
            refuses(&token).await;
            assert!(token.shutdown(Duration::from_secs(5)));
            let token = open(dir);
            refuses(&token).await;
            for told in [
                token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.map(drop).unwrap_err(),
                token.unwrap_seed(&name(1), 1, b"", &[0; 60], soon()).await.map(drop).unwrap_err(),
            ] {
                assert!(matches!(told, Error::Ambiguous { count: 2, .. }), "{told}");
            }
        });
    });
}
