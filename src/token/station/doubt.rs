//! A call that failed by a code that a token has for forged data and for failures of its own: which of them it was.

use std::time::{Duration, Instant};

use cryptoki::context::Function;
use cryptoki::error::Error as CryptokiError;
use cryptoki::object::ObjectHandle;

use super::Station;
use crate::crypto;
use crate::model::{KeyPairSpec, ObjectName, Secret};
use crate::token::error::{Error, Failure, reason};
use crate::token::iv::HostIv;
use crate::token::mechanism::{self, Scheme, Way};
use crate::token::object;
use crate::token::private::{self, RsaDecryption};

/// A wrapped seed that is not forged.
pub(super) struct KnownGood {
    scheme: Scheme,
    associated: Vec<u8>,
    wrapped: Vec<u8>,
}

impl KnownGood {
    pub(super) fn new(scheme: Scheme, associated: &[u8], wrapped: &[u8]) -> KnownGood {
        KnownGood { scheme, associated: associated.to_vec(), wrapped: wrapped.to_vec() }
    }
}

impl Station {
    /// Whether a probe has found this key well on this session a moment ago, and nothing has failed since.
    pub(super) fn was_well(&self, key: ObjectHandle) -> bool {
        let lately = |(probed, at): (ObjectHandle, Instant)| probed == key && at.elapsed() < WELL_TIME;
        self.well.get().is_some_and(lately) && !self.shared.is_in_trouble()
    }

    /// The second try of a call that failed by a code that this token has for a wrong tag and for a failure of its own.
    ///
    /// Three things look like that: forged data (a probe succeeds, the same call fails again), a failure that lasts (a
    /// probe fails), and one of a moment (the same call succeeds). No single call tells them apart, so a probe goes before
    /// this, and data is called bad only if it fails on both sides of it. A probe holds for a second, while nothing else
    /// fails: of many forged ciphertexts, each costs one call more than a good one, and one in a second costs two. While
    /// the token fails other calls, too, nothing is called bad: it may as well fail this one twice.
    pub(super) fn once_more(&self, again: impl FnOnce() -> Result<Secret, CryptokiError>) -> Result<Secret, Failure> {
        self.count();
        match again() {
            Ok(secret) => {
                // It was no fault of the data, then.
                self.shared.note_trouble();
                Ok(secret)
            }
            Err(error) if !self.may_be_bad_tag(&error) => Err(error.into()),
            Err(error) if self.shared.is_in_trouble() => Err(Error::Unavailable(reason(&error)).into()),
            Err(_) => Err(Error::BadData.into()),
        }
    }

    /// As [`Station::probe`], with something that was encrypted to the key on the host.
    pub(super) fn probe_decryption(
        &self,
        key: ObjectHandle,
        spec: KeyPairSpec,
        how: RsaDecryption,
    ) -> Result<(), Failure> {
        self.count();
        let known = match how {
            RsaDecryption::Oaep(algorithm) => {
                let public = object::read_rsa(&self.session, key, spec)?;
                crypto::oaep_encrypt(&public, algorithm, PROBE).ok_or(CryptokiError::InvalidValue)?
            }
            // The number 1 is its own ciphertext.
            RsaDecryption::Bare => number_one(spec.modulus_len().ok_or(CryptokiError::InvalidValue)?),
        };
        private::decrypt(&self.shared.module, &self.session, key, how, &known)?;
        Ok(())
    }

    /// Has the same key unwrap something known on the same session, which must succeed: then the token is well.
    ///
    /// Where nothing is known yet, zeros are wrapped first: once, so that forged ciphertexts cannot use up the key's budget
    /// of IVs, of which that one is counted.
    pub(super) fn probe(
        &mut self,
        name: &ObjectName,
        (scheme, way): (Scheme, Way),
        key: ObjectHandle,
    ) -> Result<(), Failure> {
        if self.held.get(name).is_none_or(|held| held.known.is_none()) {
            self.count();
            self.shared.extra_ivs.add(name);
            let iv = HostIv::random().map_err(Error::from)?;
            let wrapped = mechanism::wrap(&self.wrapping_key(key), way, &iv, PROBE, &[0; mechanism::SEED_LEN])?;
            self.remember(name, || KnownGood::new(scheme, PROBE, &wrapped));
        }
        self.count();
        if let Some(KnownGood { scheme, associated, wrapped }) =
            self.held.get(name).and_then(|held| held.known.as_ref())
        {
            mechanism::unwrap(&self.wrapping_key(key), *scheme, associated, wrapped)?;
        }
        Ok(())
    }

    /// Takes note of the first seed that the key has wrapped or unwrapped on this session.
    pub(super) fn remember(&mut self, name: &ObjectName, known: impl FnOnce() -> KnownGood) {
        if let Some(held) = self.held.get_mut(name) {
            held.known.get_or_insert_with(known);
        }
    }

    pub(super) fn may_be_bad_tag(&self, error: &CryptokiError) -> bool {
        matches!(error, CryptokiError::Pkcs11(code, Function::Decrypt) if self.shared.profile.tells_bad_tag(*code))
    }
}

/// The number 1, big endian, in so many bytes.
fn number_one(len: usize) -> Vec<u8> {
    let mut one = vec![0; len];
    if let Some(last) = one.last_mut() {
        *last = 1;
    }
    one
}

/// How long a probe holds.
const WELL_TIME: Duration = Duration::from_secs(1);
/// Associated data of probes: nothing that was wrapped for a caller has it.
const PROBE: &[u8] = b"hsm-kms/probe/v1";
