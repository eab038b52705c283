//! The one login of a token, on a session that is never used for work. Nothing in the process logs in to a token twice at a
//! time, whoever wants it: the turn goes with the token and not with its user.
//!
//! A token counts wrong PINs and locks, so that a PIN that it has refused is never given to it again. What a login came to
//! is not always known: the process may be killed inside the call, the call may not return, and an error such as
//! `CKR_DEVICE_ERROR` or `CKR_PIN_LOCKED` does not say whether the token had looked at the PIN. So a PIN counts as tried from
//! before the call on, and until the token has taken it:
//!
//! | the call | what is known of the PIN | what follows |
//! |---|---|---|
//! | succeeds | it is right; what was not known before is settled | nothing |
//! | says that the PIN is wrong | it is refused | it is never given to this token again |
//! | anything else, or never returns | it may have been refused | it is given again only while the token does not say that it has refused a PIN since the last login (`CKF_USER_PIN_COUNT_LOW`), nor that one try is left |
//!
//! An outage in the middle of a login with the right PIN leaves that flag as it was: mostly clear, and then the next login
//! is as good as the first. Where somebody else had tried a wrong PIN before, the flag says nothing of ours; then it is
//! looked at again and again, until somebody's login by the vendor's tool clears it. A token may leave the flag clear for
//! ever (PKCS#11 v3.0 §3.2): there a wrong PIN can be tried once more for each login whose outcome nobody knows, with pauses
//! that grow to a minute.
//!
//! The process knows this of every PIN that it has tried; a [`Witness`] can know it for longer.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{SessionState, UserType};
use secrecy::{ExposeSecret, SecretString};

use super::busy::Busy;
use super::error::{Error, outcome};
use super::module::Lease;
use super::profile::Profile;
use super::session::Session;
use super::slot::{self, Listed, TokenEntry, TokenFlags, Wanted};
use super::softhsm_files::{self, Directory};
use crate::crypto;

/// Who is told of a login, and may refuse it.
pub(super) type Witness = Box<dyn Fn(&TokenEntry, Login) -> Result<(), Error> + Send + Sync>;

/// What is told of a login. Where the outcome is not known, the beginning is all that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// The token is about to be given the PIN.
    Begins,
    /// It has taken the PIN.
    Taken,
    /// It has refused the PIN, which counts already: this cannot be refused.
    Refused,
}

/// What is known of a PIN that was given to a token and was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may have been refused: the call has not come back, or told no outcome.
    Unclear,
    /// The token refused it.
    Refused,
}

/// Everything that is needed to log in, now and again after a loss.
pub(super) struct Door {
    pub lease: Lease,
    /// Of the thread that logs in.
    pub busy: Arc<Busy>,
    pub profile: Profile,
    pub wanted: Wanted,
    pub copies_dir: Option<PathBuf>,
    pub pin: SecretString,
    /// Whether the first login must be this one: only then does it prove the PIN.
    pub alone: bool,
    /// Told of every login.
    pub witness: Option<Witness>,
    /// How often `C_Login` was called.
    pub logins: Arc<AtomicU64>,
    /// The serial number of the token that was opened first, now or long ago: no other one ever gets the PIN, whatever its
    /// label.
    pub first: OnceLock<String>,
    /// This process's claim to the token's files.
    pub claim: OnceLock<Arc<File>>,
}

/// An open door: the token, and the session that keeps it logged in.
pub(super) struct Anchor {
    pub token: Listed,
    pub session: Session,
}

impl Door {
    /// Finds the token, and logs in unless this process is logged in there already.
    pub fn open(&self) -> Result<Anchor, Error> {
        let token = self.find()?;
        self.may_try(&token)?;
        let files = self.files(&token)?;
        if let (Some(directory), Some(copies)) = (&files, &self.copies_dir)
            && self.profile.files.keep_token_object_copy
        {
            if self.claim.get().is_none() {
                let _ = self.claim.set(directory.claim()?);
            }
            directory.keep_copy(copies)?;
        }
        let session = Session::open(self.lease.module(), token.slot, &self.busy).map_err(|error| outcome(&error))?;
        let synced = |()| files.map_or(Ok(()), |directory| directory.sync_token_object());
        if let Err(error) = self.log_in(&token, &session).and_then(synced) {
            close(session);
            return Err(error);
        }
        Ok(Anchor { token, session })
    }

    /// As [`Door::open`], but first heals a token that SoftHSM cannot list, if a copy of its file was kept.
    pub fn open_or_heal(&self) -> Result<Anchor, Error> {
        match (self.open(), &self.copies_dir) {
            (Err(Error::TokenMissing { wanted, present }), Some(copies))
                if self.profile.files.keep_token_object_copy =>
            {
                if softhsm_files::heal(&self.lease, copies, &self.busy)? {
                    self.open()
                } else {
                    Err(Error::TokenMissing { wanted, present })
                }
            }
            (result, _) => result,
        }
    }

    /// The folder of the token's files, where the profile cares for them.
    pub fn files(&self, token: &Listed) -> Result<Option<Directory>, Error> {
        let cared_for = self.profile.files.sync_files || self.profile.files.keep_token_object_copy;
        cared_for.then(|| Directory::of(&token.entry.serial)).transpose()
    }

    /// Whether the token is there and opens a session, which needs no login.
    pub fn is_there(&self) -> bool {
        let open = |token: Listed| Session::open(self.lease.module(), token.slot, &self.busy).ok();
        self.find().ok().and_then(open).map(close).is_some()
    }

    fn find(&self) -> Result<Listed, Error> {
        let found = slot::find(&slot::list(self.lease.module(), &self.busy)?, &self.wanted, self.first.get())?;
        let _ = self.first.set(found.entry.serial.clone());
        Ok(found)
    }

    fn log_in(&self, token: &Listed, session: &Session) -> Result<(), Error> {
        let _turn = Turn::take(&token.entry)?;
        if is_logged_in(session) {
            return self.logged_in_already(token);
        }
        // It may have been refused while this one waited.
        self.may_try(token)?;
        self.tell(token, Login::Begins)?;
        let fingerprint = self.fingerprint(token);
        lock_tried().insert(fingerprint, Standing::Unclear);
        self.logins.fetch_add(1, Ordering::Relaxed);
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) => {
                lock_tried().remove(&fingerprint);
                self.tell(token, Login::Taken)
            }
            Err(CryptokiError::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login)) => self.logged_in_already(token),
            Err(error) => {
                let failed = login_failed(token, &error);
                if matches!(failed, Error::PinIncorrect) {
                    lock_tried().insert(fingerprint, Standing::Refused);
                    // Who cannot write it down has the beginning on record.
                    let _ = self.tell(token, Login::Refused);
                }
                Err(failed)
            }
        }
    }

    fn tell(&self, token: &Listed, login: Login) -> Result<(), Error> {
        self.witness.as_ref().map_or(Ok(()), |witness| witness(&token.entry, login))
    }

    fn logged_in_already(&self, token: &Listed) -> Result<(), Error> {
        if self.alone { Err(Error::LoggedIn { label: token.entry.label.clone() }) } else { Ok(()) }
    }

    /// Whether the token's flags and what is known of the PIN allow to try it.
    fn may_try(&self, token: &Listed) -> Result<(), Error> {
        check_flags(token)?;
        let standing = lock_tried().get(&self.fingerprint(token)).copied();
        match standing {
            Some(Standing::Refused) => Err(Error::PinIncorrect),
            Some(Standing::Unclear) => token.entry.check_unclear(),
            None => Ok(()),
        }
    }

    /// Tells this PIN on this token from others, for as long as the process lives.
    fn fingerprint(&self, token: &Listed) -> [u8; 32] {
        crypto::sha256(&[token.entry.serial.as_bytes(), &[0], self.pin.expose_secret().as_bytes()])
    }
}

impl TokenEntry {
    /// Whether a PIN of which nobody knows whether the token has refused it may be tried.
    ///
    /// Fails with [`Error::PinUnclear`] if the token says that it has refused one since the last login.
    pub fn check_unclear(&self) -> Result<(), Error> {
        if self.flags.pin_count_low { Err(Error::PinUnclear { label: self.label.clone() }) } else { Ok(()) }
    }
}

/// The turn to log in to one token: nobody else in the process has it until it is dropped.
struct Turn([String; 3]);

impl Turn {
    /// Waits a moment for whoever is logging in there. A login that does not come back keeps its turn: it may yet use up
    /// one of the token's tries.
    fn take(token: &TokenEntry) -> Result<Turn, Error> {
        let token = [&token.manufacturer, &token.model, &token.serial].map(String::clone);
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let others = |taken: &mut Vec<[String; 3]>| taken.contains(&token);
        let (mut taken, _) =
            GIVEN_BACK.wait_timeout_while(taken, TURN_TIME, others).unwrap_or_else(PoisonError::into_inner);
        if taken.contains(&token) {
            return Err(Error::Unavailable("an earlier login to it has not come back".to_owned()));
        }
        taken.push(token.clone());
        Ok(Turn(token))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|token| *token != self.0);
        GIVEN_BACK.notify_all();
    }
}

/// Whether the session sees private objects: its user is logged in.
pub(super) fn is_logged_in(session: &Session) -> bool {
    let state = session.get_session_info().map(|info| info.session_state());
    matches!(state, Ok(SessionState::RwUser | SessionState::RoUser))
}

/// Closes a session if it is still open.
///
/// Sessions are opened so that dropping them makes no call: the handle of a lost session may be someone else's by now.
pub(super) fn close(session: Session) {
    // A failure means that it is closed already, which is what was wanted.
    let _ = session.close();
}

fn login_failed(token: &Listed, error: &CryptokiError) -> Error {
    match error {
        // A PIN that the token calls too long or expired will not be better at the next try either.
        CryptokiError::Pkcs11(
            RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid | RvError::PinExpired,
            _,
        ) => Error::PinIncorrect,
        CryptokiError::Pkcs11(RvError::PinLocked, _) => Error::PinLocked,
        CryptokiError::Pkcs11(RvError::UserPinNotInitialized, _) => {
            Error::PinNotSet { label: token.entry.label.clone() }
        }
        error => outcome(error),
    }
}

/// Whether the token's flags allow to try a PIN (PKCS#11 v3.0 §3.2).
fn check_flags(token: &Listed) -> Result<(), Error> {
    let TokenFlags { pin_initialized, pin_final_try, pin_locked, .. } = token.entry.flags;
    if pin_locked || pin_final_try {
        return Err(Error::PinLocked);
    }
    if pin_initialized { Ok(()) } else { Err(Error::PinNotSet { label: token.entry.label.clone() }) }
}

fn lock_tried() -> MutexGuard<'static, BTreeMap<[u8; 32], Standing>> {
    // Entries are put in and taken out in single steps.
    TRIED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tokens that somebody is logging in to, and the news that one is free again.
static TAKEN: Mutex<Vec<[String; 3]>> = Mutex::new(Vec::new());
static GIVEN_BACK: Condvar = Condvar::new();
/// More than a login takes that comes back.
const TURN_TIME: Duration = Duration::from_secs(2);
/// The PINs that this process has given to a token, by which, and that were not taken: a token counts tries, not users'
/// excuses.
static TRIED: Mutex<BTreeMap<[u8; 32], Standing>> = Mutex::new(BTreeMap::new());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_pin_or_its_last_try_is_left_alone() {
        let token = |flags: TokenFlags| Listed {
            entry: TokenEntry {
                slot: 0,
                label: "t".into(),
                serial: "1".into(),
                manufacturer: String::new(),
                model: String::new(),
                flags,
            },
            slot: cryptoki::slot::Slot::try_from(0_u64).unwrap(),
            max_sessions: None,
        };
        let usable = TokenFlags { initialized: true, pin_initialized: true, ..TokenFlags::default() };
        assert!(check_flags(&token(usable)).is_ok() && token(usable).entry.check_unclear().is_ok());
        let wrong_once = TokenFlags { pin_count_low: true, ..usable };
        assert!(check_flags(&token(wrong_once)).is_ok());
        assert!(matches!(token(wrong_once).entry.check_unclear(), Err(Error::PinUnclear { .. })));
        for flags in [TokenFlags { pin_locked: true, ..usable }, TokenFlags { pin_final_try: true, ..usable }] {
            assert!(matches!(check_flags(&token(flags)), Err(Error::PinLocked)));
        }
        let unset = TokenFlags { pin_initialized: false, ..usable };
        assert!(matches!(check_flags(&token(unset)), Err(Error::PinNotSet { .. })));
    }
}
