//! How a token is opened: its module is taken, it is found and logged in to, and its threads are started.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_channel::unbounded;
use secrecy::SecretString;

use super::busy::Busy;
use super::error::Error;
use super::index::Index;
use super::iv::ExtraIvs;
use super::lane::Lane;
use super::login::{Anchor, Door, Login, Witness, close};
use super::module::{Lease, Place};
use super::profile::Profile;
use super::random::Pool;
use super::sessions::{Counters, Crew, Shared};
use super::slot::{TokenEntry, Wanted};
use super::turn::Turn;
use super::{Identity, Inner, Settings, Status, Token, keeper, softhsm_files, watchdog};

/// By what a token is opened.
struct Key<P> {
    /// The PIN as the profile makes it.
    pin: P,
    /// Whether the token must take this very PIN at the first login.
    alone: bool,
    witness: Option<Witness>,
}

impl Token {
    /// Finds the token, logs in once, and starts its threads. Blocks for as long as that takes.
    ///
    /// `on_hopeless` is called once if no session has been usable for data keys for a minute: end the process then, since
    /// a call that does not return cannot be cancelled.
    ///
    /// Fails with [`Error::PinIncorrect`] without a second try, with [`Error::PinLocked`] without any, with
    /// [`Error::TokenMissing`] naming the tokens that there are, and with [`Error::OtherToken`].
    pub fn open(
        settings: &Settings,
        pin: SecretString,
        on_hopeless: impl FnOnce() + Send + 'static,
    ) -> Result<Token, Error> {
        Token::start(settings, Key { pin: |_: &Profile| pin, alone: false, witness: None }, Box::new(on_hopeless))
    }

    /// As [`Token::open`]. `witness` is told before and after every login, now and later, with the token and its flags as they
    /// were before, and may refuse it. Of a login whose outcome is not known it is told the beginning alone: whoever remembers
    /// that refuses the next one by [`TokenEntry::check_unclear`].
    pub fn open_watched(
        settings: &Settings,
        pin: SecretString,
        witness: impl Fn(&TokenEntry, Login) -> Result<(), Error> + Send + Sync + 'static,
        on_hopeless: impl FnOnce() + Send + 'static,
    ) -> Result<Token, Error> {
        let key = Key { pin: |_: &Profile| pin, alone: false, witness: Some(Box::new(witness)) };
        Token::start(settings, key, Box::new(on_hopeless))
    }

    /// As [`Token::open_watched`], by the password of a custom key store, of which the profile makes the PIN. The token must have
    /// taken this very password: fails with [`Error::LoggedIn`] if the process is logged in there already.
    pub fn connect(
        settings: &Settings,
        password: &SecretString,
        witness: impl Fn(&TokenEntry, Login) -> Result<(), Error> + Send + Sync + 'static,
        on_hopeless: impl FnOnce() + Send + 'static,
    ) -> Result<Token, Error> {
        let key = Key { pin: |profile: &Profile| profile.pin(password), alone: true, witness: Some(Box::new(witness)) };
        Token::start(settings, key, Box::new(on_hopeless))
    }

    fn start(
        settings: &Settings,
        key: Key<impl FnOnce(&Profile) -> SecretString>,
        on_hopeless: Box<dyn FnOnce() + Send>,
    ) -> Result<Token, Error> {
        let (lease, profile) = take_module(settings)?;
        let pin = (key.pin)(&profile);
        profile.check_pin(&pin)?;
        let info = lease.module().info()?;
        let version = info.library_version().to_string();
        tracing::info!(profile = profile.name, module = %settings.module.display(), "opening the token");
        let counters = Counters::default();
        let busy = Arc::new(Busy::new(&profile.limits));
        let mut door = Door {
            lease,
            busy,
            profile,
            wanted: Wanted {
                label: settings.label.clone(),
                serial: settings.serial.clone(),
                uri: settings.uri.clone(),
            },
            copies_dir: settings.copies_dir.clone(),
            pin,
            alone: key.alone,
            witness: key.witness,
            logins: Arc::clone(&counters.logins),
            first: settings.known_serial.clone().map_or_else(OnceLock::new, OnceLock::from),
            claim: OnceLock::new(),
        };
        let anchor = door.open_or_heal()?;
        // Later logins repair this one.
        door.alone = false;
        let entry = anchor.token.entry.clone();
        let identity = Identity {
            label: entry.label,
            serial: entry.serial,
            manufacturer: entry.manufacturer,
            model: entry.model,
            library: format!("{} {version}", info.library_description()),
        };
        let max_sessions = door.profile.max_sessions(anchor.token.max_sessions);
        // A list that cannot be had is missed by nobody else.
        let mechanisms = door.lease.module().raw.mechanisms(anchor.token.slot).unwrap_or_default();
        let shared = start(door, anchor, counters, settings.queue, on_hopeless)?;
        Ok(Token(Arc::new(Inner { identity, max_sessions, mechanisms, shared, ended: Mutex::new(None) })))
    }
}

/// Loads the module with its profile. Whoever is the first to use it has SoftHSM's broken tokens healed, all of them:
/// later, when another one of them is in use, none can be.
fn take_module(settings: &Settings) -> Result<(Lease, Profile), Error> {
    // Two that come at once would take each other for the first.
    let place = Place::of(&settings.module);
    let _one_at_a_time = place.taking();
    let (lease, profile) = Profile::take_module(&settings.module, settings.profile.as_deref())?;
    if let Some(copies) = &settings.copies_dir
        && profile.files.keep_token_object_copy
        && let Err(error) = softhsm_files::heal(&lease, copies, &Busy::new(&profile.limits))
    {
        // If it is about the token that is wanted, that is missing.
        tracing::warn!(reason = %error, "the tokens' files were not looked after");
    }
    Ok((lease, profile))
}

fn start(
    door: Door,
    anchor: Anchor,
    counters: Counters,
    queue: usize,
    on_hopeless: Box<dyn FnOnce() + Send>,
) -> Result<Arc<Shared>, Error> {
    let fits = door.profile.check_sessions(anchor.token.max_sessions);
    let files = match fits.and_then(|()| door.files(&anchor.token)) {
        Ok(files) => files,
        Err(error) => {
            // The login would outlive the refusal where others use the module.
            close(anchor.session);
            return Err(error);
        }
    };
    let (notices, told) = unbounded();
    let max_sessions = door.profile.max_sessions(anchor.token.max_sessions);
    let shared = Arc::new(Shared {
        module: Arc::clone(door.lease.module()),
        profile: door.profile.clone(),
        files: files.filter(|_| door.profile.files.sync_files),
        objects_turn: Turn::new(door.profile.sessions.objects_one_at_a_time),
        fast: Lane::new(queue),
        private: Lane::new(queue),
        slow: Lane::new(queue),
        making: Lane::new(queue),
        crew: Mutex::new(Crew::default()),
        notices,
        index: Index::default(),
        schemes: Mutex::default(),
        offers: Mutex::default(),
        transfers: Mutex::default(),
        prehashes: Mutex::default(),
        unwraps: Mutex::default(),
        pool: Arc::new(Pool::default()),
        extra_ivs: ExtraIvs::default(),
        counters,
        connection: Mutex::new(Status::Recovering("it is being opened".to_owned())),
        keeper_busy: Arc::clone(&door.busy),
        stuck: Default::default(),
        stopped: AtomicBool::new(false),
        trouble: Mutex::default(),
    });
    keeper::Keeper::start(Arc::clone(&shared), door, told, anchor)?;
    watchdog::start(Arc::clone(&shared), max_sessions, on_hopeless)?;
    Ok(shared)
}
