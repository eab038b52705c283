//! The token: PKCS#11 objects that wrap seeds, sign, decrypt and agree, behind messages.
//!
//! Every PKCS#11 call is made by an operating system thread of this room, never by an async worker. Nothing that leaves
//! the room is a handle or borrows from the module.
//!
//! | file | knows |
//! |---|---|
//! | `status`, `uses` | what a token tells of itself, and what its keys are asked to do |
//! | `module`, `raw` | the loaded library: once per process |
//! | `profile` | what is particular about a vendor |
//! | `opening`, `slot`, `login` | how it is opened, which one it is, and the one session that logs in |
//! | `sessions`, `lane` | what is asked and what threads share; the queue before them |
//! | `keeper`, `watchdog`, `worker` | the threads: who recovers, who watches, who works |
//! | `busy`, `session` | who is inside which call since when; a session of which every call is watched |
//! | `station`, `turn` | one session and the keys held there, and what a failed call there means; who may touch objects now |
//! | `kind`, `object` | kinds of keys, and PKCS#11 attributes |
//! | `mechanism`, `iv`, `schemes` | how seeds are wrapped, whose IV it is, and what this token does |
//! | `private`, `probe` | what all other keys do, and whether they work |
//! | `import` | material from elsewhere, and where it is unwrapped |
//! | `transfer` | material from token to token |
//! | `index` | where objects are, as a hint |
//! | `random` | random bytes in stock |
//! | `softhsm_files` | what SoftHSM forgets to do for its own files |

mod busy;
mod error;
mod import;
mod index;
mod iv;
mod keeper;
mod kind;
mod lane;
mod login;
mod mechanism;
mod module;
mod object;
mod opening;
mod private;
mod probe;
mod profile;
mod random;
mod raw;
mod schemes;
mod session;
mod sessions;
mod slot;
mod softhsm_files;
mod station;
mod status;
mod transfer;
mod turn;
mod uses;
mod watchdog;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

pub use error::Error;
pub use import::{Import, Place, Unwrapped};
pub use kind::KeyKind;
pub use login::Login;
pub use probe::{Offer, ProbeRow, self_test};
pub use raw::set_module_environment;
pub use slot::{TokenEntry, TokenFlags, init_token, tokens};
pub use status::{Counts, Identity, Status, Usage};
pub use transfer::{Known, REPLICATION, Replication, Transferable};

use crate::crypto::{self, PublicKey};
use crate::model::{KeyId, ObjectName, Secret, TokenUri, WrappingAlgorithm};
use mechanism::Scheme;
use sessions::{Answer, LaneName, Notice, Request, Shared};
use transfer::{Done, Step};

/// Which token, and how it is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The PKCS#11 module, for example `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The token's label; of this and the next two, all that are given must fit.
    pub label: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's URI.
    pub uri: Option<TokenUri>,
    /// The serial number that the token had before, if it is known: another one that fits gets no PIN.
    pub known_serial: Option<String>,
    /// Where copies of SoftHSM's `token.object` are kept; without it, a kill inside a login can cost the token.
    pub copies_dir: Option<PathBuf>,
    /// How many requests may wait in each lane; 1,024 is a good number.
    pub queue: usize,
    /// A profile to use in place of the one that matches the library: a file, or the name of a built-in one.
    pub profile: Option<PathBuf>,
}

/// A token object of this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundObject {
    /// `CKA_ID`
    pub cka_id: Vec<u8>,
    /// `CKA_LABEL`
    pub label: String,
}

/// What is on the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Objects whose label begins with `hsm-kms/`.
    pub ours: Vec<FoundObject>,
    /// How many others there are.
    pub foreign: usize,
}

/// A token in use. Clones share it; dropping the last one shuts it down, with 10 s of patience.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    identity: Identity,
    max_sessions: Option<u64>,
    mechanisms: Vec<u64>,
    shared: Arc<Shared>,
    /// What the shutdown came to.
    ended: Mutex<Option<bool>>,
}

impl Token {
    /// Which token this is.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// How it is used.
    pub fn usage(&self) -> Usage {
        let Inner { max_sessions, mechanisms, shared, .. } = &*self.0;
        let scheme = shared.schemes().of_new_materials();
        Usage {
            profile: shared.profile.name.clone(),
            scheme: scheme.map(|scheme| scheme.to_string()).unwrap_or_default(),
            scheme_number: scheme.map_or(0, Scheme::number),
            sessions: shared.profile.sessions_wanted(),
            max_sessions: *max_sessions,
            mechanisms: mechanisms.clone(),
        }
    }

    /// The number of the scheme for new materials, 1 to 7, to be kept with them: the first of the profile's that the token
    /// was seen to do.
    pub fn scheme(&self) -> u8 {
        // There is one since the token was opened.
        self.shared().schemes().of_new_materials().map_or(0, Scheme::number)
    }

    /// How the token is now.
    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// Refuses at once what the token could not be asked now: for who writes something down before he asks.
    pub fn check_available(&self) -> Result<(), Error> {
        self.shared().refuse_if_unavailable(LaneName::Slow)
    }

    /// What was counted since the token was opened.
    pub fn counts(&self) -> Counts {
        self.shared().counts()
    }

    /// Makes the key `name` on the token, for wrapping seeds only, never extractable.
    ///
    /// Fails with [`Error::Exists`] if the token has an object with that `CKA_ID`. Is never tried twice: after any other
    /// error the object may be there or not.
    pub async fn generate(&self, name: &ObjectName, deadline: Instant) -> Result<(), Error> {
        self.generate_key(name, KeyKind::Aes256, deadline).await.map(drop)
    }

    /// Makes the key `name` of this kind on the token, for that use only, never extractable. Returns the public half of a
    /// pair, which is then known to belong to it: keep it, as the token does not.
    ///
    /// RSA takes long: 0.3 to 10 s on SoftHSM. Errors as for [`Token::generate`]; [`Error::Wrong`] says that the token
    /// made something that does not work, which is gone again.
    pub async fn generate_key(
        &self,
        name: &ObjectName,
        kind: KeyKind,
        deadline: Instant,
    ) -> Result<Option<PublicKey>, Error> {
        if !kind.is_one() || !kind.serves(name.purpose) {
            return Err(Error::Unfit(kind));
        }
        let lane = if kind.is_pair() { LaneName::Making } else { LaneName::Slow };
        match self.shared().ask(lane, Request::Generate { name: *name, kind }, deadline).await? {
            Answer::Made(public) => Ok(public),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Whether the token does what such keys are for. It is tried in the background soon after the start, and known from then on; who
    /// asks before that waits.
    pub async fn offers(&self, kind: KeyKind, deadline: Instant) -> Result<Offer, Error> {
        if !kind.is_one() {
            return Err(Error::Unfit(kind));
        }
        if let Some(known) = probe::known(self.shared(), kind) {
            return Ok(known);
        }
        // What is found out in a moment does not wait behind what takes seconds.
        let lane = if kind.is_pair() { LaneName::Making } else { LaneName::Slow };
        match self.shared().ask(lane, Request::Offers(kind), deadline).await? {
            Answer::Offer(offer) => Ok(offer),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Whether the token signs by Ed25519ph: some take the prehash flag of `CKM_EDDSA` and sign as if it were not there.
    /// It is tried in the background at start, and known from then on; who asks before that waits.
    pub async fn prehashes(&self, deadline: Instant) -> Result<Offer, Error> {
        if let Some(known) = self.shared().prehashes().clone() {
            return Ok(known);
        }
        match self.shared().ask(LaneName::Making, Request::Prehashes, deadline).await? {
            Answer::Offer(offer) => Ok(offer),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Whether it is known by now that the token signs by Ed25519ph.
    pub fn is_known_to_prehash(&self) -> bool {
        *self.shared().prehashes() == Some(Offer::Yes)
    }

    /// Unwraps material into the new key `import.name`: sensitive, not extractable, and tried. On the token where that
    /// does it by itself, else on the host if that may.
    ///
    /// Fails with [`Error::BadData`] if the material does not unwrap, with [`Error::IncorrectMaterial`] if it is no key of
    /// the kind, with [`Error::HostUnwrapRefused`], and with [`Error::Unfit`] for what never goes together; with
    /// [`Error::Exists`] as [`Token::generate`]. Is never tried twice: after any other error the object may be there or
    /// not.
    pub async fn unwrap_key(&self, import: &Import, deadline: Instant) -> Result<Unwrapped, Error> {
        import.check()?;
        let place = self.unwraps(import.kind, import.algorithm, deadline).await?;
        if place == Place::Host && !import.allow_host {
            return Err(Error::HostUnwrapRefused);
        }
        match self.slow(Request::Import(Box::new(import.clone()), place), deadline).await? {
            Answer::Unwrapped(unwrapped) => Ok(unwrapped),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Where material of this kind, wrapped by this algorithm, would be unwrapped.
    pub async fn unwraps(
        &self,
        kind: KeyKind,
        algorithm: WrappingAlgorithm,
        deadline: Instant,
    ) -> Result<Place, Error> {
        algorithm.encryption().ok_or(Error::Unfit(kind))?;
        if kind.is_pair() {
            return Ok(Place::Host);
        }
        let shared = self.shared();
        if shared.unwraps().is_none() {
            shared.ask(LaneName::Making, Request::TryImports, deadline).await?;
        }
        match &*shared.unwraps() {
            Some(known) if known.contains(&(kind, algorithm)) => Ok(Place::Token),
            Some(_) => Ok(Place::Host),
            None => Err(Error::Unavailable("its sessions were lost while that was tried".to_owned())),
        }
    }

    /// Makes the replication key `name` of this token, and returns its public half. Errors as for [`Token::generate_key`].
    pub async fn generate_replication(&self, name: &ObjectName, deadline: Instant) -> Result<PublicKey, Error> {
        let made = self.generate_key(name, KeyKind::Replication(transfer::REPLICATION), deadline).await?;
        made.ok_or_else(Error::mixed_up)
    }

    /// The public half of the replication key `name`, as the token tells it.
    pub async fn replication_public(&self, name: &ObjectName, deadline: Instant) -> Result<PublicKey, Error> {
        match self.transfer(Step::Tell { own: *name }, deadline).await? {
            Done::Told(public_key) => Ok(public_key),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Whether material of such keys can be transferred to and from this token; found out at the first question.
    pub async fn transfers(&self, kind: KeyKind, deadline: Instant) -> Result<Offer, Error> {
        if let Some(known) = probe::known_transfer(self.shared(), kind) {
            return Ok(known);
        }
        match self.shared().ask(LaneName::Making, Request::OffersTransfer(kind), deadline).await? {
            Answer::Offer(offer) => Ok(offer),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Makes the key `name` of this kind, whose purpose is [`crate::model::Purpose::MultiRegion`]: the object is not
    /// extractable, and the material is given back wrapped for the replication key of this token. `of_key` is the KMS key.
    ///
    /// Errors as for [`Token::generate_key`], and never tried twice either.
    pub async fn generate_transferable(
        &self,
        name: &ObjectName,
        kind: KeyKind,
        of_key: KeyId,
        own: &Replication,
        deadline: Instant,
    ) -> Result<Transferable, Error> {
        let step = Step::Make { name: *name, kind, of_key, own: own.clone() };
        match self.transfer(step, deadline).await? {
            Done::Made(made) => Ok(made),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Wraps material that is wrapped for this token for the replication key of another one.
    ///
    /// Fails with [`Error::Wrong`] if it is not the material that is known.
    pub async fn rewrap(
        &self,
        kind: KeyKind,
        material: &Transferable,
        own: &Replication,
        to: &PublicKey,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let Transferable { known, wrapped } = material.clone();
        let step = Step::Rewrap { kind, known, own: own.clone(), wrapped, to: to.clone() };
        match self.transfer(step, deadline).await? {
            Done::Wrapped(wrapped) => Ok(wrapped),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Makes the key `name` of material that is wrapped for this token: not extractable, and proved to be the material
    /// that is known. Errors as for [`Token::generate`] and [`Token::rewrap`].
    pub async fn accept(
        &self,
        name: &ObjectName,
        kind: KeyKind,
        material: &Transferable,
        own: &Replication,
        deadline: Instant,
    ) -> Result<(), Error> {
        let Transferable { known, wrapped } = material.clone();
        let step = Step::Accept { name: *name, kind, known, own: own.clone(), wrapped };
        match self.transfer(step, deadline).await? {
            Done::Accepted => Ok(()),
            _ => Err(Error::mixed_up()),
        }
    }

    async fn transfer(&self, step: Step, deadline: Instant) -> Result<Done, Error> {
        step.check()?;
        let lane = if step.makes_a_pair() { LaneName::Making } else { LaneName::Slow };
        match self.shared().ask(lane, Request::Transfer(Box::new(step)), deadline).await? {
            Answer::Transferred(done) => Ok(done),
            _ => Err(Error::mixed_up()),
        }
    }

    /// Destroys the key `name`. When this succeeds, a search has found none, and no session holds a copy of it.
    ///
    /// A key that is gone already is success. Fails with [`Error::NotProven`] if the object with that `CKA_ID` has
    /// another label. After any other error, call it again.
    pub async fn destroy(&self, name: &ObjectName, deadline: Instant) -> Result<(), Error> {
        self.slow(Request::Destroy { name: *name }, deadline).await.map(drop)
    }

    /// Whether the key `name`, which wraps seeds, is on the token. Errors as for [`Token::has_key`].
    pub async fn exists(&self, name: &ObjectName, deadline: Instant) -> Result<bool, Error> {
        self.has_key(name, KeyKind::Aes256, deadline).await
    }

    /// Whether the key `name` of this kind is on the token. One that is not as it should be is [`Error::NotProven`].
    pub async fn has_key(&self, name: &ObjectName, kind: KeyKind, deadline: Instant) -> Result<bool, Error> {
        match self.slow(Request::Exists { name: *name, kind }, deadline).await? {
            Answer::Exists(exists) => Ok(exists),
            _ => Err(Error::mixed_up()),
        }
    }

    /// The label of an object on this token: short where its ids are.
    pub fn label(&self, name: &ObjectName) -> String {
        self.shared().profile.label(name)
    }

    /// All objects of this service on the token, and how many others there are. Takes long: 1 s for 10,000 on SoftHSM.
    pub async fn objects(&self, deadline: Instant) -> Result<Objects, Error> {
        match self.slow(Request::Objects, deadline).await? {
            Answer::Objects(objects) => Ok(objects),
            _ => Err(Error::mixed_up()),
        }
    }

    /// `len` random bytes: the token's XOR the operating system's, so that both must be bad for these to be.
    pub async fn random(&self, len: usize, deadline: Instant) -> Result<Secret, Error> {
        let shared = self.shared();
        let stocked = shared.pool.take(len);
        if let Some(order) = shared.pool.order() {
            shared.tell(LaneName::Fast, Request::Refill(order), Instant::now() + REFILL_TIME);
        }
        let mut bytes = match stocked {
            Some(bytes) => bytes,
            None => match self.fast(Request::Random { len }, deadline).await? {
                Answer::Secret(bytes) => bytes,
                _ => return Err(Error::mixed_up()),
            },
        };
        let mut own = Secret::zeroed(len);
        crypto::random(own.expose_mut())?;
        bytes.expose_mut().iter_mut().zip(own.expose()).for_each(|(byte, own)| *byte ^= own);
        Ok(bytes)
    }

    /// Ends all threads of the token within `patience`, and finalises the module if no other token uses it.
    ///
    /// Returns false if a session is still inside a call: then the module is not finalised, and the process should end
    /// without running exit handlers, where some modules crash.
    pub fn shutdown(&self, patience: Duration) -> bool {
        self.0.shut_down(patience)
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }

    async fn fast(&self, request: Request, deadline: Instant) -> Result<Answer, Error> {
        self.shared().ask(LaneName::Fast, request, deadline).await
    }

    async fn slow(&self, request: Request, deadline: Instant) -> Result<Answer, Error> {
        self.shared().ask(LaneName::Slow, request, deadline).await
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {})", self.0.identity.label, self.0.identity.serial)
    }
}

impl Inner {
    fn shut_down(&self, patience: Duration) -> bool {
        // A second caller waits for the first one, and hears the same.
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.get_or_insert_with(|| {
            let (done, ended) = bounded(1);
            self.shared.notices.send(Notice::Shutdown(patience, done)).is_ok()
                && ended.recv_timeout(patience + SHUTDOWN_GRACE).unwrap_or(false)
        })
    }
}

/// A process that exits while threads are inside the module crashes with some modules, so the last one waits.
impl Drop for Inner {
    fn drop(&mut self) {
        self.shut_down(SHUTDOWN_PATIENCE);
    }
}

/// How long a refill of random bytes may wait in the queue.
const REFILL_TIME: Duration = Duration::from_secs(5);
/// Patience when nobody says how much.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// Beyond the patience, for the keeper to tell that it has run out.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
