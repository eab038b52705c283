//! The key stores: which token has the objects of which key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Error, Kms};
use crate::model::{CustomKeyStoreId, Region};
use crate::store::KeyRecord;
use crate::token::{Status, Token};

/// The tokens in use, by what they are used for.
pub struct KeyStores {
    /// The one that has the store's root.
    first: Arc<Seat>,
    regions: BTreeMap<Region, Arc<Seat>>,
}

/// The place of a token that may not be there yet: it is opened at start or, if it cannot be reached then, later.
pub struct Seat {
    name: String,
    token: OnceLock<Token>,
    /// Why there is none.
    absence: Mutex<String>,
}

impl KeyStores {
    /// One token for every Region that is served; one may serve several. `first` has the store's root, and may serve none.
    pub fn new(first: Arc<Seat>, regions: BTreeMap<Region, Arc<Seat>>) -> Self {
        KeyStores { first, regions }
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
            return Err(Error::CustomKeyStoreNotFound(id.to_string()));
        }
        let seat = self.key_stores.regions.get(region);
        seat.ok_or_else(|| Error::Internal(format!("no token serves {region}")))?.token()
    }

    /// The token that has the objects of this key.
    pub fn token_of(&self, key: &KeyRecord) -> Result<Token, Error> {
        self.token(&key.region, key.custom_key_store.as_ref())
    }

    /// The Regions served.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.key_stores.regions.keys()
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
