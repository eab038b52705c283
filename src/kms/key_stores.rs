//! The key stores: which token has the objects of which key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Error, KeyRow, Kms, arn_of};
use crate::model::{CustomKeyStoreId, KeyState, Region};
use crate::store::KeyRecord;
use crate::token::{Status, Token};

/// What has the objects of keys: an outage of one must not hold up what is done for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyStore {
    /// The token of a Region.
    Region(Region),
    /// The token of a custom key store.
    Custom(CustomKeyStoreId),
}

impl KeyStore {
    /// Where the objects are that a record names.
    pub fn of(region: &Region, custom_key_store: Option<&CustomKeyStoreId>) -> Self {
        match custom_key_store {
            Some(id) => KeyStore::Custom(id.clone()),
            None => KeyStore::Region(region.clone()),
        }
    }

    /// Whether it has the objects that a record names.
    pub fn has(&self, region: &Region, custom_key_store: Option<&CustomKeyStoreId>) -> bool {
        match (self, custom_key_store) {
            (KeyStore::Custom(own), Some(id)) => own == id,
            (KeyStore::Region(own), None) => own == region,
            _ => false,
        }
    }

    /// Whether it has the objects of this key.
    pub fn has_key(&self, key: &KeyRecord) -> bool {
        self.has(&key.region, key.custom_key_store.as_ref())
    }
}

/// The tokens in use, by what they are used for.
pub struct KeyStores {
    /// The one that has the store's root.
    first: Arc<Seat>,
    regions: BTreeMap<Region, Arc<Seat>>,
    /// In which a token may be, with their profiles.
    pub(super) modules: BTreeSet<Module>,
}

/// A PKCS#11 module by its file, and the profile that the settings give it.
pub type Module = (PathBuf, Option<PathBuf>);

/// The place of a token that may not be there yet: it is opened at start or, if it cannot be reached then, later.
pub struct Seat {
    name: String,
    token: OnceLock<Token>,
    /// Why there is none.
    absence: Mutex<String>,
}

impl KeyStores {
    /// One token for every Region that is served; one may serve several. `first` has the store's root, and may serve none.
    /// `modules` are those of all tokens in the settings.
    pub fn new(first: Arc<Seat>, regions: BTreeMap<Region, Arc<Seat>>, modules: BTreeSet<Module>) -> Self {
        KeyStores { first, regions, modules }
    }

    /// The serial number of the token that has the store's root.
    pub(super) fn first_serial(&self) -> Option<String> {
        self.first.token().ok().map(|token| token.identity().serial.clone())
    }
}

impl Seat {
    /// The empty place of a token that the settings call `name`.
    pub fn empty(name: &str) -> Self {
        let absence = Mutex::new("it is being opened".to_owned());
        Seat { name: name.to_owned(), token: OnceLock::new(), absence }
    }

    /// The place of a token that is open.
    pub fn taken(name: &str, token: Token) -> Self {
        let seat = Seat::empty(name);
        seat.take(token);
        seat
    }

    /// What the settings call the token.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts an open token there; a second one is dropped.
    pub fn take(&self, token: Token) {
        let _ = self.token.set(token);
    }

    /// Says why there is no token yet; false if that was said before.
    pub fn explain(&self, why: String) -> bool {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *absence, why) != *absence
    }

    /// The token, or at once the error of an outage.
    pub fn token(&self) -> Result<Token, Error> {
        self.token.get().cloned().ok_or_else(|| {
            let why = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
            Error::KeyUnavailable(format!("the token `{}` is not open: {why}", self.name))
        })
    }

    /// Whether requests can be served by it now.
    pub fn is_ready(&self) -> bool {
        self.token.get().is_some_and(|token| token.status() == Status::Ready)
    }

    /// How it is, in a few words that never change.
    pub fn word(&self) -> &'static str {
        self.token.get().map_or("unavailable", |token| token.status().word())
    }
}

impl Kms {
    /// The token of a custom key store in a Region, or the Region's own.
    pub fn token(&self, region: &Region, custom_key_store: Option<&CustomKeyStoreId>) -> Result<Token, Error> {
        if let Some(id) = custom_key_store {
            let away = || Error::KeyUnavailable(format!("custom key store {id} is not connected"));
            return self.custom_token(id).ok_or_else(away);
        }
        let seat = self.key_stores.regions.get(region);
        let unserved = || Error::KeyUnavailable(format!("the settings serve no Region {region}"));
        seat.ok_or_else(unserved)?.token()
    }

    /// The token that has the objects of this key.
    pub fn token_of(&self, key: &KeyRecord) -> Result<Token, Error> {
        match self.token(&key.region, key.custom_key_store.as_ref()) {
            // AWS's words for the keys of a custom key store that is not connected.
            Err(Error::KeyUnavailable(_)) if key.custom_key_store.is_some() => {
                Err(Error::InvalidState(format!("{} is unavailable.", arn_of(key))))
            }
            other => other,
        }
    }

    /// The key as it is now: unavailable while its custom key store is not connected or cannot be reached, unless it is on
    /// its way to deletion. Change its record by what [`Kms::when_available`] gives.
    pub fn as_of_now(&self, key: KeyRow) -> KeyRow {
        let key = self.without_expired(key);
        let held = matches!(key.record.state, KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport);
        if !held || key.record.custom_key_store.as_ref().is_none_or(|id| self.is_available(id)) {
            return key;
        }
        let mut row = (*key).clone();
        row.record.state = KeyState::Unavailable;
        row.into()
    }

    /// The record of a key as it is when its token can be reached.
    pub(super) fn when_available(&self, key: &KeyRow) -> KeyRow {
        if key.record.state != KeyState::Unavailable {
            return key.clone();
        }
        // One that is gone, or another one by now: what is done with it is a conflict.
        let stored = self.store.key(&key.record.region, &key.record.key_id);
        stored.map_or_else(|| key.clone(), |stored| self.without_expired(stored))
    }

    /// Every key store: of each Region, and the custom ones that can be worked with now.
    pub fn key_stores(&self) -> Vec<KeyStore> {
        let regions = self.regions().cloned().map(KeyStore::Region);
        let custom = self.store.custom_key_stores().into_iter().map(|row| row.record.id.clone());
        regions.chain(custom.filter(|id| self.is_available(id)).map(KeyStore::Custom)).collect()
    }

    /// The Regions served.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.key_stores.regions.keys()
    }

    /// The Regions that have keys and are not served: the settings name them no more.
    pub fn unserved_regions(&self) -> BTreeSet<Region> {
        let regions = self.store.all_keys().into_iter().map(|key| key.record.region.clone());
        regions.filter(|region| !self.key_stores.regions.contains_key(region)).collect()
    }

    /// Whether the Region's own token can serve requests now; `None` for a Region that is not served.
    pub fn is_ready(&self, region: &Region) -> Option<bool> {
        self.key_stores.regions.get(region).map(|seat| seat.is_ready())
    }

    /// A Region whose own token the settings call so.
    pub fn region_of_token(&self, name: &str) -> Option<&Region> {
        let mut regions = self.key_stores.regions.iter();
        regions.find(|(_, seat)| seat.name() == name).map(|(region, _)| region)
    }

    /// The place of every token once, the first one first, though a token may serve several Regions.
    pub fn seats(&self) -> Vec<&Arc<Seat>> {
        let mut seen = BTreeSet::new();
        let all = std::iter::once(&self.key_stores.first).chain(self.key_stores.regions.values());
        all.filter(|seat| seen.insert(Arc::as_ptr(seat))).collect()
    }

    /// Every token that is open once, the first one first.
    pub fn tokens(&self) -> Vec<Token> {
        self.seats().into_iter().filter_map(|seat| seat.token().ok()).collect()
    }
}
