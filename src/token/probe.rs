//! Finds out by doing what a token can do: lists of mechanisms promise what calls then refuse.

use std::time::Instant;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;

use super::error::{Error, Failure, reason};
use super::sessions::{Answer, LaneName, Request, Shared};
use super::{Token, mechanism, object};
use crate::crypto;
use crate::model::{KeyId, ObjectName, Purpose};

/// One line of the self-test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRow {
    /// What was tried.
    pub what: &'static str,
    /// Whether this service needs it; otherwise it only makes things faster.
    pub needed: bool,
    /// Nothing, or why it does not work.
    pub failure: Option<String>,
}

/// Tries everything that symmetric keys need, on session objects that are gone afterwards.
///
/// Fails only if the token cannot be asked at all; what does not work is told in its row.
pub async fn self_test(token: &Token, deadline: Instant) -> Result<Vec<ProbeRow>, Error> {
    match token.shared().ask(LaneName::Slow, Request::SelfTest, deadline).await? {
        Answer::SelfTest(rows) => Ok(rows),
        _ => Err(Error::mixed_up()),
    }
}

/// The self-test on a worker's session.
pub(super) fn run(shared: &Shared, session: &Session) -> Result<Vec<ProbeRow>, Failure> {
    let id = KeyId::from_random(crypto::random_array().map_err(Error::from)?);
    let name = ObjectName { purpose: Purpose::Kms, key_id: id, material: 0 };
    let key = session.generate_key(&Mechanism::AesKeyGen, &object::template(&name, false));
    let mut rows = vec![
        row("CKM_AES_KEY_GEN with 256 bits", true, key.as_ref().map(drop).map_err(reason)),
        row("C_GenerateRandom", true, random(session)),
    ];
    if let Ok(key) = key {
        rows.push(row("the key has the attributes that it was made with", true, proof(session, key, &name)));
        rows.push(row("CKM_AES_GCM with an IV of ours, there and back", true, round_trip(shared, session, key)));
        rows.push(row("a wrong tag or wrong associated data is told", true, wrong_tag(shared, session, key)));
        rows.push(row("CKA_VALUE cannot be read", true, unreadable(session, key)));
        let needed = shared.profile.sessions.session_copies;
        rows.push(row("C_CopyObject to a session object", needed, copy(session, key, &name)));
        session.destroy_object(key)?;
    }
    Ok(rows)
}

fn row(what: &'static str, needed: bool, result: Result<(), String>) -> ProbeRow {
    ProbeRow { what, needed, failure: result.err() }
}

fn random(session: &Session) -> Result<(), String> {
    let draw = || session.generate_random_vec(32).map_err(|error| reason(&error));
    let (one, other) = (draw()?, draw()?);
    if one == other || one == [0; 32] { Err("the bytes repeat".to_owned()) } else { Ok(()) }
}

fn proof(session: &Session, key: ObjectHandle, name: &ObjectName) -> Result<(), String> {
    object::prove(session, key, name, false).map_err(told)
}

fn round_trip(shared: &Shared, session: &Session, key: ObjectHandle) -> Result<(), String> {
    let wrapped = wrap(shared, session, key)?;
    let back = mechanism::unwrap(&shared.module, session, key, ASSOCIATED, &wrapped).map_err(|error| reason(&error))?;
    if wrapped.len() != mechanism::WRAPPED_LEN || wrapped[crypto::NONCE_LEN..][..SEED.len()] == SEED {
        return Err("the ciphertext is not one".to_owned());
    }
    if back.expose() == SEED { Ok(()) } else { Err("other bytes came back".to_owned()) }
}

fn wrong_tag(shared: &Shared, session: &Session, key: ObjectHandle) -> Result<(), String> {
    let wrapped = wrap(shared, session, key)?;
    let mut forged = wrapped.clone();
    forged[mechanism::WRAPPED_LEN - 1] ^= 1;
    for (associated, bytes) in [(ASSOCIATED, &forged), (b"other".as_slice(), &wrapped)] {
        match mechanism::unwrap(&shared.module, session, key, associated, bytes) {
            Ok(_) => return Err("a forged ciphertext was opened".to_owned()),
            Err(cryptoki::error::Error::Pkcs11(code, _)) if shared.profile.tells_bad_tag(code) => {}
            Err(error) => return Err(format!("{}, which the profile does not know for it", reason(&error))),
        }
    }
    Ok(())
}

fn unreadable(session: &Session, key: ObjectHandle) -> Result<(), String> {
    match session.get_attributes(key, &[AttributeType::Value]) {
        Ok(attributes) if !attributes.is_empty() => Err("the key's value was read".to_owned()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn copy(session: &Session, key: ObjectHandle, name: &ObjectName) -> Result<(), String> {
    let copy = object::copy_to_session(session, key).map_err(|error| reason(&error))?;
    let proved = object::prove(session, copy, name, false).map_err(told);
    session.destroy_object(copy).map_err(|error| reason(&error))?;
    proved
}

fn wrap(shared: &Shared, session: &Session, key: ObjectHandle) -> Result<Vec<u8>, String> {
    let iv = crypto::random_array().map_err(|error| error.to_string())?;
    mechanism::wrap(&shared.module, session, key, &iv, ASSOCIATED, &SEED).map_err(|error| reason(&error))
}

fn told(failure: Failure) -> String {
    match failure {
        Failure::Final(error) => error.to_string(),
        Failure::Call(error) => reason(&error),
    }
}

const ASSOCIATED: &[u8] = b"hsm-kms/self-test";
const SEED: [u8; mechanism::SEED_LEN] = [0x5e; mechanism::SEED_LEN];
