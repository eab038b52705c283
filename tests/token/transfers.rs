//! Transfers that fail half way: what can be wrapped does not stay behind.

use cryptoki::context::Pkcs11;
use cryptoki::object::Attribute;
use hsm_kms::model::{KeyId, ObjectName, Purpose};
use hsm_kms::token::{Error, KeyKind, Replication, Settings, Token};

use super::process::*;
use crate::shim::{Shim, module};

#[test]
fn a_transfer_that_fails_leaves_nothing_that_can_be_wrapped() {
    in_own_process("transfers::a_transfer_that_fails_leaves_nothing_that_can_be_wrapped", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let token = Token::open(&Settings { module: module(), ..settings(dir) }, pin(PIN), || {}).unwrap();
        let kind = KeyKind::Aes256;
        let named = |purpose, number| ObjectName { purpose, ..name(number) };
        let of_key = KeyId::from_bytes([9; 16]);
        block_on(async {
            let replication = named(Purpose::Replication, 1);
            let public_key = token.generate_replication(&replication, soon()).await.unwrap();
            let own = Replication { name: replication, public_key: public_key.clone() };
            let made = named(Purpose::MultiRegion, 2);
            let material = token.generate_transferable(&made, kind, of_key, &own, soon()).await.unwrap();
            assert_eq!(left(&[made, named(Purpose::MultiRegion, 3)]), 0);

            // One that has failed, and one that no new session can be had after.
            let no_session = "fail CKR_FUNCTION_REJECTED C_DestroyObject\nfail CKR_SESSION_COUNT C_OpenSession";
            let busy = "fail CKR_FUNCTION_FAILED C_WrapKey";
            for (number, rules) in [(3, "fail CKR_FUNCTION_REJECTED C_DestroyObject"), (4, no_session), (6, busy)] {
                let made = named(Purpose::MultiRegion, number);
                let rewrapped = ObjectName { key_id: of_key, material: 0, ..made };
                shim.rules(rules);
                let refused = token.generate_transferable(&made, kind, of_key, &own, soon()).await.unwrap_err();
                assert!(matches!(refused, Error::Refused { .. } | Error::Unavailable(_)), "{refused}");
                shim.rules("");
                until("it works", || token.status().is_ready());
                assert_eq!(left(&[made]), 0, "{rules}");
                shim.rules(rules);
                let (sessions, recoveries) = (token.counts().sessions, token.counts().recoveries);
                let refused = token.rewrap(kind, &material, &own, &public_key, soon()).await.unwrap_err();
                assert!(matches!(refused, Error::Refused { .. } | Error::Unavailable(_)), "{refused}");
                shim.rules("");
                until("it works", || token.status().is_ready());
                let (renewed, recovered) = (token.counts().sessions - sessions, token.counts().recoveries - recoveries);
                // Where no new session can be had, the recovery opens all of them.
                let once = if rules == no_session { recovered == 1 } else { (renewed, recovered) == (1, 0) };
                assert!(once, "{rules}: {renewed} sessions, {recovered} recoveries");
                assert_eq!(left(&[rewrapped]), 0, "{rules}");
            }
            token.rewrap(kind, &material, &own, &public_key, soon()).await.unwrap();

            // One that a recovery cuts short, for which nobody logs out.
            let key = name(5);
            token.generate(&key, soon()).await.unwrap();
            let slow = "latency 1000 C_WrapKey";
            shim.rules(slow);
            let (wraps, recoveries) = (shim.calls("C_WrapKey"), token.counts().recoveries);
            let lose = async {
                until("it is wrapped", || shim.calls("C_WrapKey") > wraps);
                // Not before: the transfer encrypts, too.
                shim.rules(&format!("{slow}\nfail CKR_DEVICE_ERROR C_Encrypt nth 1"));
                token.wrap_seed(&key, token.scheme(), b"", &[7; 32], soon()).await
            };
            let (refused, _) = tokio::join!(token.rewrap(kind, &material, &own, &public_key, soon()), lose);
            assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
            until("it works", || token.status().is_ready());
            assert_eq!(token.counts().recoveries, recoveries + 1);
            assert_eq!(left(&[ObjectName { key_id: of_key, material: 0, ..made }]), 0);
        });
    });
}

/// How many objects with these names can be wrapped. They are in some session: all sessions of a process see them.
fn left(names: &[ObjectName]) -> usize {
    let context = Pkcs11::new(module()).unwrap();
    let session = context.open_rw_session(context.get_slots_with_initialized_token().unwrap()[0]).unwrap();
    let named = |name: &ObjectName| {
        let template = [Attribute::Label(name.cka_label().into_bytes()), Attribute::Extractable(true)];
        session.find_objects(&template).unwrap().len()
    };
    names.iter().map(named).sum()
}
