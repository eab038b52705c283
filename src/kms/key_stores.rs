//! The key stores: which token has the objects of which key.

use std::collections::{BTreeMap, HashSet};

use super::{Error, Kms};
use crate::model::{CustomKeyStoreId, Region};
use crate::store::KeyRecord;
use crate::token::Token;

/// The tokens in use, by what they are used for.
pub struct KeyStores {
    regions: BTreeMap<Region, Token>,
}

impl KeyStores {
    /// One token for every Region that is served; one may serve several.
    pub fn new(regions: BTreeMap<Region, Token>) -> Self {
        KeyStores { regions }
    }
}

impl Kms {
    /// The token of a custom key store in a Region, or the Region's own.
    pub fn token(&self, region: &Region, custom_key_store: Option<&CustomKeyStoreId>) -> Result<Token, Error> {
        if let Some(id) = custom_key_store {
            return Err(Error::CustomKeyStoreNotFound(id.to_string()));
        }
        let token = self.key_stores.regions.get(region).cloned();
        token.ok_or_else(|| Error::Internal(format!("no token serves {region}")))
    }

    /// The token that has the objects of this key.
    pub fn token_of(&self, key: &KeyRecord) -> Result<Token, Error> {
        self.token(&key.region, key.custom_key_store.as_ref())
    }

    /// The Regions served.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.key_stores.regions.keys()
    }

    /// Every token once, though it may serve several Regions.
    pub fn tokens(&self) -> Vec<Token> {
        let mut serials = HashSet::new();
        let tokens = self.key_stores.regions.values();
        tokens.filter(|token| serials.insert(token.identity().serial.clone())).cloned().collect()
    }
}
