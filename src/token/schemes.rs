//! Which schemes this token does: found out by doing, whenever its sessions are opened, and good until they are lost.

use std::fmt;
use std::sync::Arc;

use cryptoki::error::{Error as CryptokiError, RvError};

use cryptoki::slot::Slot;

use super::busy::Busy;
use super::error::{Class, Error, Failure, class, outcome, reason};
use super::iv::{HostIv, MakesIvs, ThrowAwayKey};
use super::login::{close, is_logged_in};
use super::mechanism::{self, SEED_LEN, Scheme, Way, WrappingKey};
use super::module::Module;
use super::object;
use super::profile::Profile;
use super::session::Session;
use crate::model::Secret;

/// The schemes that were tried, those of the profile first.
#[derive(Default)]
pub(super) struct Schemes(Vec<Tried>);

/// What came of one scheme.
pub(super) struct Tried {
    pub scheme: Scheme,
    /// Whether the profile has it for new materials.
    pub listed: bool,
    /// How it is done, or why it is not.
    pub way: Result<Way, String>,
    /// Whether it is not done for what may pass.
    may_pass: bool,
}

impl Schemes {
    /// Tries every scheme with a key that is thrown away. Fails as the token does if it cannot be asked, or does no more what
    /// it did `before` for a reason that may pass; and with [`Error::NoScheme`] if new materials would get none.
    pub fn find(
        module: &Arc<Module>,
        profile: &Profile,
        slot: Slot,
        busy: &Arc<Busy>,
        before: &Schemes,
    ) -> Result<Schemes, Error> {
        let home = open(module, slot, busy)?;
        let found = find_from(module, profile, slot, busy, &home, before);
        close(home);
        let found = found.map_err(told)?;
        if found.of_new_materials().is_none() {
            let (profile, tried, for_good) = (profile.name.clone(), found.refusals(), found.refuses_for_good());
            return Err(Error::NoScheme { profile, tried, for_good });
        }
        Ok(found)
    }

    /// The scheme that new materials get.
    pub fn of_new_materials(&self) -> Option<Scheme> {
        self.0.iter().find(|tried| tried.listed && tried.way.is_ok()).map(|tried| tried.scheme)
    }

    /// How this scheme is done here. Fails with [`Error::Scheme`] if it is not.
    pub fn way(&self, scheme: Scheme) -> Result<Way, Error> {
        let tried = self.0.iter().find(|tried| tried.scheme == scheme);
        let way = tried.and_then(|tried| tried.way.as_ref().ok()).copied();
        way.ok_or_else(|| self.not_done(scheme.number()))
    }

    /// A scheme that is done here, with which this one's ciphertexts are unwrapped: itself, or AES-GCM with an IV that is
    /// given, if that is what they come to. An HSM that left its FIPS mode opens what it sealed in it.
    pub fn unwrapping(&self, scheme: Scheme) -> Result<(Scheme, Way), Error> {
        match self.way(scheme) {
            Err(_) if scheme.opens_with_its_iv() && self.way(Scheme::AesGcmHostIv).is_ok() => {
                Ok((Scheme::AesGcmHostIv, Way::GcmHostIv))
            }
            way => way.map(|way| (scheme, way)),
        }
    }

    /// What is said of a scheme that is not done here.
    pub fn not_done(&self, number: u8) -> Error {
        Error::Scheme { asked: number, offered: self.to_string() }
    }

    /// All that were tried.
    pub fn tried(&self) -> &[Tried] {
        &self.0
    }

    fn refusals(&self) -> String {
        let listed = self.0.iter().filter(|tried| tried.listed);
        let refusals = listed.filter_map(|tried| Some(format!("{}: {}", tried.scheme, tried.way.as_ref().err()?)));
        refusals.collect::<Vec<_>>().join("; ")
    }

    fn refuses_for_good(&self) -> bool {
        !self.0.iter().any(|tried| tried.listed && tried.may_pass)
    }
}

/// Those that are done.
impl fmt::Display for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.0.iter().filter(|tried| tried.way.is_ok()).map(|tried| tried.scheme);
        let names: Vec<String> = done.map(|scheme| format!("{} ({scheme})", scheme.number())).collect();
        f.write_str(&names.join(", "))
    }
}

fn find_from(
    module: &Arc<Module>,
    profile: &Profile,
    slot: Slot,
    busy: &Arc<Busy>,
    home: &Session,
    before: &Schemes,
) -> Result<Schemes, Failure> {
    object::clear_passing(profile, home)?;
    let key = ThrowAwayKey::generate(profile, home)?;
    let found = try_each(module, profile, slot, busy, (home, &key), before);
    // Also after a failure: where there are no session objects, it would stay.
    let destroyed = key.destroy(home);
    found.and_then(|found| destroyed.map(|()| found))
}

fn try_each(
    module: &Arc<Module>,
    profile: &Profile,
    slot: Slot,
    busy: &Arc<Busy>,
    (home, key): (&Session, &ThrowAwayKey),
    before: &Schemes,
) -> Result<Schemes, Failure> {
    let mut found = Vec::new();
    for scheme in profile.schemes_to_try() {
        let unclear = |failure: &Failure| may_pass(failure) || is_untold(failure);
        let mut way = try_alone(module, profile, slot, busy, key, scheme);
        if way.as_ref().is_err_and(unclear) {
            way = try_alone(module, profile, slot, busy, key, scheme);
        }
        let may_pass = way.as_ref().is_err_and(may_pass);
        let way = match way {
            Err(failure) if is_outage(&failure) || !is_logged_in(home) => return Err(failure),
            // Keys have it: without it they would be unavailable until the sessions are lost once more.
            Err(failure) if unclear(&failure) && before.way(scheme).is_ok() => {
                return Err(Error::Unavailable(why(failure, profile)).into());
            }
            way => way.map_err(|failure| why(failure, profile)),
        };
        let listed = profile.schemes.contains(&scheme);
        if let (Err(why), true) = (&way, listed) {
            tracing::warn!(%scheme, reason = why, "the token does not wrap seeds by a scheme of its profile");
        }
        found.push(Tried { scheme, listed, way, may_pass });
    }
    Ok(Schemes(found))
}

/// On a session of its own: a token whose output is longer than expected leaves the operation open.
fn try_alone(
    module: &Arc<Module>,
    profile: &Profile,
    slot: Slot,
    busy: &Arc<Busy>,
    key: &ThrowAwayKey,
    scheme: Scheme,
) -> Result<Way, Failure> {
    let session = open(module, slot, busy)?;
    let way = try_scheme(module, profile, &session, key, scheme);
    close(session);
    way
}

fn try_scheme(
    module: &Arc<Module>,
    profile: &Profile,
    session: &Session,
    key: &ThrowAwayKey,
    scheme: Scheme,
) -> Result<Way, Failure> {
    let numbers = &profile.mechanisms;
    let way = match (scheme.own_iv(numbers), scheme) {
        (Some(how), _) => Way::GcmOwnIv(MakesIvs::prove(&module.raw, session, key, how)?),
        (None, Scheme::AesCbcHostIv) => Way::CbcHostIv,
        (None, Scheme::AesKwp) => Way::Kwp,
        (None, _) => Way::GcmHostIv,
    };
    let key = WrappingKey { raw: &module.raw, numbers, session, handle: key.handle() };
    let iv = HostIv::random().map_err(Error::from)?;
    let wrapped = mechanism::wrap(&key, way, &iv, ASSOCIATED, &SEED)?;
    let unwrap = |associated: &[u8], wrapped: &[u8]| mechanism::unwrap(&key, scheme, associated, wrapped);
    if unwrap(ASSOCIATED, &wrapped)?.expose() != SEED {
        return Err(Error::Wrong("other bytes come back").into());
    }
    if wrapped.windows(SEED_LEN / 2).any(|part| part == &SEED[..SEED_LEN / 2]) {
        return Err(Error::Wrong("the seed can be read in the ciphertext").into());
    }
    for (associated, forged) in forgeries(scheme, &wrapped) {
        // What looks like a failure of the token may be one.
        let told = try_forgery(profile, scheme, unwrap(associated, &forged));
        if told.as_ref().is_err_and(is_untold) {
            try_forgery(profile, scheme, unwrap(associated, &forged))?;
        } else {
            told?;
        }
    }
    // The token is still there, and the session is good.
    unwrap(ASSOCIATED, &wrapped)?;
    Ok(way)
}

/// Whether this is how the token is to answer a forged ciphertext.
fn try_forgery(profile: &Profile, scheme: Scheme, unwrapped: Result<Secret, CryptokiError>) -> Result<(), Failure> {
    match unwrapped {
        Ok(seed) if scheme.authenticates() || seed.expose() == SEED => {
            Err(Error::Wrong("a forged ciphertext is opened").into())
        }
        Err(error) if is_lost(&error) && !tells_bad_tag(profile, &error) => Err(error.into()),
        // Each forged ciphertext of a caller would look like a failure of the token.
        Err(error) if scheme.authenticates() && !tells_bad_tag(profile, &error) => Err(Error::Wrong(UNTOLD).into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Ciphertexts of which the token must not make the seed.
fn forgeries(scheme: Scheme, wrapped: &[u8]) -> Vec<(&'static [u8], Vec<u8>)> {
    let flipped = |index: usize| {
        let mut forged = wrapped.to_vec();
        forged[index] ^= 1;
        (ASSOCIATED, forged)
    };
    let mut forgeries = vec![flipped(0), flipped(wrapped.len() / 2), flipped(wrapped.len() - 1)];
    if scheme.binds_associated() {
        forgeries.push((b"other", wrapped.to_vec()));
    }
    forgeries
}

fn open(module: &Arc<Module>, slot: Slot, busy: &Arc<Busy>) -> Result<Session, Error> {
    Session::open(module, slot, busy).map_err(|error| outcome(&error))
}

/// Whether a later try may go better.
fn may_pass(failure: &Failure) -> bool {
    let passes = |error| matches!(class(error), Class::FreshSession | Class::HandleGone | Class::Full);
    matches!(failure, Failure::Call(error) if passes(error))
}

/// Whether a forged ciphertext was told by a code that the profile does not know, which is a verdict unless the token has
/// failed just then.
fn is_untold(failure: &Failure) -> bool {
    matches!(failure, Failure::Final(Error::Wrong(what)) if *what == UNTOLD)
}

/// Whether the failure says nothing about the scheme.
fn is_outage(failure: &Failure) -> bool {
    match failure {
        Failure::Call(error) => is_lost(error),
        Failure::Final(error) => !matches!(error, Error::Wrong(_)),
    }
}

fn is_lost(error: &CryptokiError) -> bool {
    matches!(class(error), Class::LoginLost | Class::DeviceGone)
}

fn tells_bad_tag(profile: &Profile, error: &CryptokiError) -> bool {
    matches!(error, CryptokiError::Pkcs11(code, _) if profile.tells_bad_tag(*code))
}

fn told(failure: Failure) -> Error {
    match failure {
        Failure::Final(error) => error,
        Failure::Call(error) => outcome(&error),
    }
}

fn why(failure: Failure, profile: &Profile) -> String {
    match failure {
        Failure::Final(Error::Wrong(what)) => what.to_owned(),
        Failure::Final(error) => error.to_string(),
        Failure::Call(CryptokiError::InvalidValue) => "its output has another length, or it changed the IV".to_owned(),
        Failure::Call(CryptokiError::Pkcs11(RvError::BufferTooSmall, _)) => "its output is longer".to_owned(),
        Failure::Call(error @ CryptokiError::Pkcs11(RvError::KeyFunctionNotPermitted, _)) => {
            format!("{}; see objects.omit in the profile {}", reason(&error), profile.name)
        }
        Failure::Call(error) => reason(&error),
    }
}

/// What is wrong with a token whose forged ciphertexts look like its own failures.
pub(super) const UNTOLD: &str = "a forged ciphertext is told by a code that errors.auth_failure does not list";
const ASSOCIATED: &[u8] = b"hsm-kms/self-test";
const SEED: [u8; SEED_LEN] = *b"hsm-kms/self-test/seed/32 bytes.";
