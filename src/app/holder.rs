//! Holds every Region to the token that has its keys: a label can be given to another one, and a deletion that finds
//! nothing there would be on record as done.

use std::sync::Arc;

use serde_json::json;

use super::Error;
use crate::kms::{KeyStore, Kms};
use crate::model::{AccountId, Region};
use crate::store::{Change, RegionTokenRecord};
use crate::token::Token;

/// Knows the Regions' tokens by the store.
#[derive(Clone)]
pub(super) struct Holder {
    pub kms: Arc<Kms>,
    /// In whose log it is told which token a Region has.
    pub account: AccountId,
    /// Whether an operator says that other tokens have taken over all keys: of each token until it was tried once.
    pub accepted: bool,
}

impl Holder {
    /// The serial number that the token of these Regions must have, before it is given the PIN; `None` if they have none.
    pub(super) fn serial(&self, regions: &[Region]) -> Option<String> {
        let known = regions.iter().find_map(|region| self.kms.store.region_token(region));
        known.filter(|_| !self.accepted).map(|row| row.record.serial.clone())
    }

    /// Refuses a token that has not the keys of these Regions. Writes down whose it is from now on, durably, where that is
    /// not known yet or accepted.
    pub(super) async fn hold(&self, regions: &[Region], token: &Token) -> Result<(), Error> {
        for region in regions {
            self.hold_region(region, token).await?;
        }
        Ok(())
    }

    async fn hold_region(&self, region: &Region, token: &Token) -> Result<(), Error> {
        let (label, serial) = (token.identity().label.clone(), token.identity().serial.clone());
        let row = self.kms.store.region_token(region);
        let known = row.as_ref().map(|row| row.record.serial.clone());
        if known.as_ref() == Some(&serial) {
            return Ok(());
        }
        let mut details = json!({ "region": region, "token": { "label": label, "serial": serial } });
        let record = RegionTokenRecord { region: region.clone(), serial, label, since: self.kms.now() };
        let change = match (row, known) {
            // Without keys it may have another one, too: it was given away by mistake, say.
            (Some(row), Some(known)) if self.accepted || !self.kms.has_objects(&KeyStore::Region(region.clone())) => {
                details["serialBefore"] = json!(known);
                Change::new(record.since).update(&row, record)
            }
            (_, Some(known)) => {
                let RegionTokenRecord { region, serial, label, .. } = record;
                return Err(Error::RegionElsewhere { region, known, label, serial });
            }
            _ => Change::new(record.since).insert(record),
        };
        Ok(self.kms.commit_act(change, "AssignToken", &self.account, details).await?)
    }
}
