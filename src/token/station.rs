//! A worker's place at the token: one session, and the keys that it holds there.

mod doubt;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::ObjectHandle;
use cryptoki::slot::Slot;

use doubt::KnownGood;

use super::busy::Busy;
use super::error::{Class, Error, Failure, class, outcome};
use super::import::{Import, Place, Unwrapped};
use super::iv::HostIv;
use super::kind::KeyKind;
use super::login::{close, is_logged_in};
use super::mechanism::{Scheme, WrappingKey};
use super::private::{self, RsaDecryption, Task};
use super::session::Session;
use super::sessions::{Answer, Control, Pending, Request, Serving, Shared};
use super::transfer::{Done, Known, Replication, Step, Transferable};
use super::turn::Held as Turn;
use super::{import, mechanism, object, probe, random, transfer};
use crate::crypto::PublicKey;
use crate::model::{KeyPairSpec, ObjectName, Purpose, Secret};

/// One session and its keys.
pub(super) struct Station {
    shared: Arc<Shared>,
    busy: Arc<Busy>,
    serving: Serving,
    session: Session,
    held: HashMap<ObjectName, Held>,
    /// The key that was probed last, and when it was well.
    well: Cell<Option<(ObjectHandle, Instant)>>,
}

/// A key that was proved under its name.
struct Held {
    /// As what it was proved.
    kind: KeyKind,
    /// The token object.
    object: ObjectHandle,
    /// What is used: a session copy or the token object; `None` if the session with the copy was closed.
    handle: Option<ObjectHandle>,
    /// Something that this key unwraps: what a probe asks for.
    known: Option<KnownGood>,
}

impl Station {
    /// Opens a session in a slot that the anchor has logged in to.
    pub fn open(shared: &Arc<Shared>, busy: &Arc<Busy>, serving: Serving) -> Result<Station, Error> {
        let session = open_session(shared, busy, serving.slot).map_err(|error| outcome(&error))?;
        let (shared, busy) = (Arc::clone(shared), Arc::clone(busy));
        Ok(Station { shared, busy, serving, session, held: HashMap::new(), well: Cell::default() })
    }

    /// Closes the session, if it is still there, and with it every session copy.
    pub fn close(self) {
        close(self.session);
    }

    /// Whether the session is there and logged in.
    pub fn is_logged_in(&self) -> bool {
        is_logged_in(&self.session)
    }

    /// Whether an object that should be gone may be left in the session.
    pub fn keeps_an_object(&self) -> bool {
        self.session.keeps_an_object()
    }

    /// Changes the session for a new one. Proved token objects stay known; their copies went with the old session, which is
    /// closed first: there may be no room for one more.
    pub fn renew(mut self) -> Result<Station, CryptokiError> {
        close(self.session);
        self.well = Cell::default();
        for held in self.held.values_mut() {
            (held.handle, held.known) = (None, None);
        }
        let session = open_session(&self.shared, &self.busy, self.serving.slot)?;
        Ok(Station { session, ..self })
    }

    /// Forgets the handle of one key, so that it is searched and proved again.
    pub fn forget_name(&mut self, name: &ObjectName) {
        self.held.remove(name);
        self.shared.index.remove(&self.shared.profile.mark_bytes(name));
    }

    /// Drops every handle and copy of the keys with this `CKA_ID`. After an error, close the session: that does it, too.
    pub fn forget(&mut self, cka_id: &[u8; 20]) -> Result<(), CryptokiError> {
        let names: Vec<ObjectName> = self.held.keys().filter(|name| name.cka_id() == *cka_id).copied().collect();
        for held in names.iter().filter_map(|name| self.held.remove(name)) {
            if let Some(copy) = held.handle.filter(|handle| *handle != held.object) {
                self.session.destroy_object(copy)?;
            }
        }
        Ok(())
    }

    /// Does what is asked. A [`Failure::Call`] is the token's own error, for the worker to judge.
    pub fn run(&mut self, request: &Request, deadline: Instant) -> Result<Answer, Failure> {
        match request {
            Request::Wrap { name, scheme, iv, associated, seed } => self.wrap(name, *scheme, iv, associated, seed),
            Request::Unwrap { name, scheme, associated, wrapped } => self.unwrap(name, *scheme, associated, wrapped),
            Request::Random { len } => self.random(*len).map(Answer::Secret),
            Request::Refill(order) => {
                order.deliver(self.random(random::BLOCK)?);
                Ok(Answer::Done)
            }
            Request::Use { name, kind, task } => self.use_key(name, *kind, task),
            Request::Generate { name, kind } => self.generate(name, *kind),
            Request::Import(import, place) => self.import(import, *place),
            Request::Transfer(step) => self.transfer(step).map(Answer::Transferred),
            Request::OffersTransfer(kind) => {
                Ok(Answer::Offer(probe::offer_transfer(&self.shared, &self.session, *kind)?))
            }
            Request::Destroy { name } => self.destroy(name, deadline),
            Request::Exists { name, kind } => self.exists(name, *kind),
            Request::Offers(kind) => Ok(Answer::Offer(probe::offer(&self.shared, &self.session, *kind)?)),
            Request::Prehashes => Ok(Answer::Offer(probe::prehashes(&self.shared, &self.session)?)),
            Request::TryImports => {
                let found = import::unwrapped_on_token(&self.shared, &self.session)?;
                *self.shared.unwraps() = Some(found);
                Ok(Answer::Done)
            }
            Request::Objects => {
                let _turn = self.turn();
                Ok(Answer::Objects(object::list(&self.shared.profile, &self.session)?))
            }
            Request::Index => self.index(),
            Request::SelfTest => Ok(Answer::SelfTest(probe::run(&self.shared, &self.session)?)),
        }
    }

    fn wrap(
        &mut self,
        name: &ObjectName,
        scheme: Scheme,
        iv: &HostIv,
        associated: &[u8],
        seed: &Secret,
    ) -> Result<Answer, Failure> {
        let way = self.serving.schemes.way(scheme)?;
        let key = self.key(name, KeyKind::Aes256)?;
        self.count();
        let wrapped = mechanism::wrap(&self.wrapping_key(key), way, iv, associated, seed.expose());
        if let Err(Failure::Final(error @ Error::Wrong(_))) = &wrapped {
            // It showed otherwise when its sessions were opened, so that is to be done again before anything else.
            self.shared.report_lost(self.serving.epoch, error.to_string());
        }
        if let Ok(wrapped) = &wrapped {
            self.remember(name, || KnownGood::new(scheme, associated, wrapped));
        }
        wrapped.map(Answer::Bytes)
    }

    fn wrapping_key(&self, handle: ObjectHandle) -> WrappingKey<'_> {
        let Shared { module, profile, .. } = &*self.shared;
        WrappingKey { raw: &module.raw, numbers: &profile.mechanisms, session: &self.session, handle }
    }

    fn unwrap(
        &mut self,
        name: &ObjectName,
        scheme: Scheme,
        associated: &[u8],
        wrapped: &[u8],
    ) -> Result<Answer, Failure> {
        let probing = self.serving.schemes.unwrapping(scheme)?;
        let key = self.key(name, KeyKind::Aes256)?;
        self.count();
        match mechanism::unwrap(&self.wrapping_key(key), scheme, associated, wrapped) {
            Ok(seed) => {
                self.remember(name, || KnownGood::new(scheme, associated, wrapped));
                Ok(Answer::Secret(seed))
            }
            Err(error) if scheme.authenticates() && self.may_be_bad_tag(&error) => {
                if class(&error) == Class::BadData {
                    object::require_login(&self.session)?;
                    return Err(Error::BadData.into());
                }
                if !self.was_well(key) {
                    self.probe(name, probing, key)?;
                    self.well.set(Some((key, Instant::now())));
                }
                let again = || mechanism::unwrap(&self.wrapping_key(key), scheme, associated, wrapped);
                self.once_more(again).map(Answer::Secret)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn use_key(&mut self, name: &ObjectName, kind: KeyKind, task: &Task) -> Result<Answer, Failure> {
        let key = self.key(name, kind)?;
        self.count();
        let (module, session) = (&self.shared.module, &self.session);
        Ok(match (task, kind) {
            (Task::Sign(algorithm, data), KeyKind::Sign(spec)) => {
                Answer::Bytes(private::sign(module, session, key, spec, *algorithm, data)?)
            }
            (Task::Mac(message), KeyKind::Mac(spec)) => {
                Answer::Bytes(private::mac(module, session, key, spec, message)?)
            }
            (Task::Agree(point), KeyKind::Agree(spec)) => {
                let len = spec.coordinate_len().ok_or(Error::Unfit(kind))?;
                Answer::Secret(private::agree(module, session, key, len, point)?)
            }
            (Task::Decapsulate(ciphertext), KeyKind::Decapsulate(_)) => {
                Answer::Secret(private::decapsulate(module, session, key, ciphertext)?)
            }
            (Task::Decrypt(how, ciphertext), KeyKind::Decrypt(spec)) => {
                Answer::Secret(self.decrypt(key, spec, *how, ciphertext)?)
            }
            (_, kind) => return Err(Error::Unfit(kind).into()),
        })
    }

    fn decrypt(
        &self,
        key: ObjectHandle,
        spec: KeyPairSpec,
        how: RsaDecryption,
        ciphertext: &[u8],
    ) -> Result<Secret, Failure> {
        match private::decrypt(&self.shared.module, &self.session, key, how, ciphertext) {
            Err(error) if self.may_be_bad_tag(&error) => {
                if class(&error) == Class::BadData {
                    object::require_login(&self.session)?;
                    return Err(Error::BadData.into());
                }
                if !self.was_well(key) {
                    self.probe_decryption(key, spec, how)?;
                    self.well.set(Some((key, Instant::now())));
                }
                let again = || private::decrypt(&self.shared.module, &self.session, key, how, ciphertext);
                self.once_more(again)
            }
            result => Ok(result?),
        }
    }

    fn random(&self, len: usize) -> Result<Secret, Failure> {
        self.count();
        let mut bytes = Secret::zeroed(len);
        for part in bytes.expose_mut().chunks_mut(self.shared.profile.limits.random_bytes) {
            self.session.generate_random_slice(part)?;
        }
        Ok(bytes)
    }

    fn generate(&mut self, name: &ObjectName, kind: KeyKind) -> Result<Answer, Failure> {
        let in_session = kind.is_pair() && self.shared.profile.sessions.pairs_made_in_session;
        self.keep(name, kind, in_session, |token| self.make(name, kind, token)).map(Answer::Made)
    }

    fn import(&self, import: &Import, place: Place) -> Result<Answer, Failure> {
        let (name, kind, spec) = (&import.name, import.kind, import.wrapping_spec);
        let wrapping = self.search(&import.wrapping, KeyKind::ImportWrapping(spec))?;
        let (shared, session) = (&self.shared, &self.session);
        let (public_key, fingerprint) = match place {
            Place::Token => {
                self.keep(name, kind, true, |_| import::unwrap_on_token(shared, session, wrapping, import))?
            }
            Place::Host => {
                let decrypt = |how, rsa: &[u8]| self.decrypt(wrapping, spec, how, rsa);
                let material = import::unwrap_on_host(shared, import, decrypt)?;
                let create = |token| import::create(shared, session, (name, &import.of_key), kind, &material, token);
                self.keep(name, kind, self.shared.profile.sessions.pairs_made_in_session, create)?
            }
        };
        Ok(Answer::Unwrapped(Unwrapped { place, public_key, fingerprint }))
    }

    /// One step of a transfer. After a failure the session has to be renewed: material that can be wrapped may be left in it.
    fn transfer(&self, step: &Step) -> Result<Done, Failure> {
        let own = self.search(step.own(), KeyKind::Replication(transfer::REPLICATION))?;
        let (shared, session) = (&self.shared, &self.session);
        self.count();
        match step {
            Step::Make { name, kind, of_key, own: Replication { public_key: to, .. } } => {
                let (made, public_key) = transfer::make(shared, session, name, *kind)?;
                let told = import::fingerprint(shared, session, made, of_key, *kind, public_key.as_ref());
                let wrapped = transfer::wrap(shared, session, made, *kind, to)?;
                let known = Known { of_key: *of_key, fingerprint: told?, public_key };
                self.accept(own, name, *kind, &known, &wrapped)?;
                Ok(Done::Made(Transferable { known, wrapped }))
            }
            Step::Rewrap { kind, known, wrapped, to, .. } => {
                let name = ObjectName { purpose: Purpose::MultiRegion, key_id: known.of_key, material: 0 };
                let material = transfer::unwrap_to_session(shared, session, own, &name, *kind, wrapped)?;
                let is_known = transfer::is_known(shared, session, material, *kind, known);
                let wrapped = transfer::wrap(shared, session, material, *kind, to)?;
                is_known.map(|()| Done::Wrapped(wrapped))
            }
            Step::Accept { name, kind, known, wrapped, .. } => {
                self.accept(own, name, *kind, known, wrapped).map(|()| Done::Accepted)
            }
            Step::Tell { .. } => Ok(Done::Told(object::read_rsa(session, own, transfer::REPLICATION)?)),
        }
    }

    /// Unwraps material into the one object that stays, which is not extractable.
    fn accept(
        &self,
        own: ObjectHandle,
        name: &ObjectName,
        kind: KeyKind,
        known: &Known,
        wrapped: &[u8],
    ) -> Result<(), Failure> {
        let (shared, session) = (&self.shared, &self.session);
        self.make_on_token(name, || {
            let template = transfer::template(shared, name, kind, true, object::modifiable(&shared.profile, kind));
            let made = transfer::unwrap(session, own, kind, wrapped, &template)?;
            transfer::prove(shared, session, made, (name, kind), known).map(|()| (made, ()))
        })
    }

    /// Has a new key stay on the token: made there, or made in the session and copied.
    fn keep<T>(
        &self,
        name: &ObjectName,
        kind: KeyKind,
        in_session: bool,
        make: impl FnOnce(bool) -> Result<(ObjectHandle, T), Failure>,
    ) -> Result<T, Failure> {
        if !in_session {
            return self.make_on_token(name, || make(true));
        }
        let (key, told) = make(false)?;
        let copied = self.make_on_token(name, || {
            let copy = object::copy_to_token(&self.session, key, object::modifiable(&self.shared.profile, kind))?;
            self.proved(copy, name, kind, true).map(|()| (copy, told))
        });
        // If this fails, the session is closed, and the key goes with it.
        self.session.destroy_object(key)?;
        copied
    }

    /// Has a token object made where there is none, and sees that it is on disk.
    fn make_on_token<T>(
        &self,
        name: &ObjectName,
        make: impl FnOnce() -> Result<(ObjectHandle, T), Failure>,
    ) -> Result<T, Failure> {
        let turn = self.turn();
        if self.find(name)?.is_some() {
            return Err(Error::Exists(*name).into());
        }
        let before = self.shared.files.as_ref().map(|files| files.names()).transpose()?;
        let (made, told) = make()?;
        drop(turn);
        if let (Some(files), Some(before)) = (&self.shared.files, before) {
            files.sync_changes(&before)?;
        }
        self.shared.index.add(self.serving.epoch, &self.shared.profile.mark_bytes(name), made);
        Ok(told)
    }

    /// Makes a key, proves it, and tries what a pair is for: then the public half is known to belong to it.
    fn make(
        &self,
        name: &ObjectName,
        kind: KeyKind,
        token: bool,
    ) -> Result<(ObjectHandle, Option<PublicKey>), Failure> {
        self.count();
        let modifiable = !token || object::modifiable(&self.shared.profile, kind);
        let (made, public) = object::generate(&self.shared.profile, &self.session, name, kind, token, modifiable)?;
        self.proved(made, name, kind, token)?;
        if let Some(public) = &public
            && let Err(failure) = probe::try_pair(&self.shared, &self.session, made, kind, public)
        {
            let _ = self.session.destroy_object(made);
            return Err(failure);
        }
        Ok((made, public))
    }

    /// Proves a new key, which must not stay if it is not what was asked for.
    fn proved(&self, made: ObjectHandle, name: &ObjectName, kind: KeyKind, token: bool) -> Result<(), Failure> {
        object::prove(&self.shared, &self.session, made, name, kind, token).inspect_err(|_| {
            // If this fails as well, the key's intent names it.
            let _ = self.session.destroy_object(made);
        })
    }

    fn destroy(&mut self, name: &ObjectName, deadline: Instant) -> Result<Answer, Failure> {
        self.destroy_found(name)?;
        self.shared.index.remove(&self.shared.profile.mark_bytes(name));
        // Also if it was gone: an earlier try may have ended before this.
        if let Some(files) = &self.shared.files {
            files.sync_changes(&files.names()?)?;
        }
        self.busy.end();
        self.forget_everywhere(name, deadline)?;
        self.busy.begin();
        let _turn = self.turn();
        match self.find(name)? {
            None => Ok(Answer::Done),
            Some(_) => Err(Error::Unavailable(format!("{name} is still there after C_DestroyObject")).into()),
        }
    }

    fn destroy_found(&self, name: &ObjectName) -> Result<(), Failure> {
        // Given back before the others are told to forget the key: one of them may wait for it.
        let _turn = self.turn();
        if let Some(found) = self.find(name)? {
            object::prove_name(&self.shared.profile, &self.session, found, name)?;
            self.count();
            self.session.destroy_object(found)?;
        }
        Ok(())
    }

    /// Has every worker that holds keys drop them and their copies: those of the lanes that use keys.
    fn forget_everywhere(&self, name: &ObjectName, deadline: Instant) -> Result<(), Error> {
        let not_told = || Error::Unavailable(format!("a session may still hold a copy of {name}; destroy it again"));
        let told = {
            let crew = self.shared.crew();
            if crew.lost.iter().any(|hand| hand.lane.holds_keys()) {
                return Err(not_told());
            }
            crew.order(|hand| hand.lane.holds_keys(), |done| Control::Forget(name.cka_id(), done))
        };
        let in_time = |told: &Pending<()>| told.wait(|_| Instant::now() < deadline).ok_or_else(not_told);
        told.iter().try_for_each(in_time)
    }

    fn exists(&mut self, name: &ObjectName, kind: KeyKind) -> Result<Answer, Failure> {
        let _turn = self.turn();
        let found = self.find(name)?;
        if let Some(object) = found {
            object::prove(&self.shared, &self.session, object, name, kind, true)?;
        }
        Ok(Answer::Exists(found.is_some()))
    }

    /// The handle to use for a key: proved before its first use on this session.
    fn key(&mut self, name: &ObjectName, kind: KeyKind) -> Result<ObjectHandle, Failure> {
        let held = self.held.get(name).filter(|held| held.kind == kind);
        if let Some(handle) = held.and_then(|held| held.handle) {
            return Ok(handle);
        }
        let object = match held {
            Some(held) => held.object,
            None => self.search(name, kind)?,
        };
        let handle = self.copy(name, kind, object)?;
        self.held.insert(*name, Held { kind, object, handle: Some(handle), known: None });
        Ok(handle)
    }

    fn index(&self) -> Result<Answer, Failure> {
        let _turn = self.turn();
        let objects = object::scan(&self.shared.profile, &self.session)?;
        self.shared.index.fill(
            self.serving.epoch,
            objects.into_iter().map(|(handle, found)| (self.shared.profile.mark_found(found), handle)),
        );
        Ok(Answer::Done)
    }

    /// The proved token object of a key, by the index or else by a search.
    fn search(&self, name: &ObjectName, kind: KeyKind) -> Result<ObjectHandle, Failure> {
        let _turn = self.turn();
        if let Some(object) = self.shared.index.one(&self.shared.profile.mark_bytes(name))
            && object::prove(&self.shared, &self.session, object, name, kind, true).is_ok()
        {
            return Ok(object);
        }
        let object = self.find(name)?.ok_or(Error::NotFound(*name))?;
        object::prove(&self.shared, &self.session, object, name, kind, true)?;
        Ok(object)
    }

    /// A proved session copy, where the profile wants one and there is room; else the object itself.
    ///
    /// Private keys are not copied: what they do takes so long that a copy saves nothing to speak of.
    fn copy(&self, name: &ObjectName, kind: KeyKind, object: ObjectHandle) -> Result<ObjectHandle, Failure> {
        if kind.is_pair() || !self.shared.profile.sessions.session_copies || self.held.len() >= COPIES_MAX {
            return Ok(object);
        }
        self.count();
        match object::copy_to_session(&self.session, object) {
            Ok(copy) => object::prove(&self.shared, &self.session, copy, name, kind, false).map(|()| copy),
            Err(error) if matches!(class(&error), Class::Refused | Class::Full) => Ok(object),
            Err(error) => Err(error.into()),
        }
    }

    fn find(&self, name: &ObjectName) -> Result<Option<ObjectHandle>, Failure> {
        self.count();
        object::find(&self.shared.profile, &self.session, name)
    }

    /// To be held while objects are searched, made or destroyed, where the profile wants that.
    fn turn(&self) -> Turn<'_> {
        self.shared.objects_turn.take(&self.busy, self.shared.profile.limits.call() / 2)
    }

    /// One more operation.
    fn count(&self) {
        self.shared.counters.operations.fetch_add(1, Ordering::Relaxed);
    }
}

fn open_session(shared: &Shared, busy: &Arc<Busy>, slot: Slot) -> Result<Session, CryptokiError> {
    let session = Session::open(&shared.module, slot, busy)?;
    shared.counters.sessions.fetch_add(1, Ordering::Relaxed);
    Ok(session)
}

/// Copies on one session: SoftHSM keeps each in memory for as long as the session lives.
const COPIES_MAX: usize = 10_000;
