//! Holds every Region to the token that has its keys: a label can be given to another one, and a deletion that finds
//! nothing there would be on record as done.

use std::sync::Arc;

use serde_json::{Value, json};

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
    /// The serial numbers of tokens of which an operator says that they have taken over all keys of those that they are in
    /// the places of.
    pub accepted: Arc<[String]>,
}

impl Holder {
    /// The serial numbers of which the token of these Regions must have one, before it is given the PIN, the one that is
    /// meant rather first; none if they have no keys, and any token will do.
    pub(super) fn serials(&self, regions: &[Region]) -> Vec<String> {
        let known = regions.iter().filter(|region| self.has_objects(region));
        match known.filter_map(|region| self.kms.store.region_token(region)).next() {
            Some(row) => self.accepted.iter().chain([&row.record.serial]).cloned().collect(),
            None => Vec::new(),
        }
    }

    fn has_objects(&self, region: &Region) -> bool {
        self.kms.has_objects(&KeyStore::Region(region.clone()))
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
            // Without keys it may have another one, too: nothing is lost.
            (Some(row), Some(known)) if self.accepted.contains(&record.serial) || !self.has_objects(region) => {
                details["serialBefore"] = json!(known);
                let change = Change::new(record.since).update(&row, record);
                self.with_replication_key(change, &mut details, &known, token).await?
            }
            (_, Some(known)) => {
                let RegionTokenRecord { region, serial, label, .. } = record;
                return Err(Error::RegionElsewhere { region, known, label, serial });
            }
            _ => Change::new(record.since).insert(record),
        };
        Ok(self.kms.commit_act(change, "AssignToken", &self.account, details).await?)
    }

    /// Has the token go on with the replication key of the one before it, if it has that: what is kept of multi-Region keys
    /// is wrapped for it, and could not go to other tokens else.
    async fn with_replication_key(
        &self,
        change: Change,
        details: &mut Value,
        before: &str,
        token: &Token,
    ) -> Result<Change, Error> {
        let Some((fingerprint, taken_over)) = self.kms.replication_key_after(before, token).await? else {
            return Ok(change);
        };
        details["replicationKey"] = json!({ "fingerprint": fingerprint, "takenOver": taken_over.is_some() });
        if taken_over.is_none() {
            let label = &token.identity().label;
            tracing::warn!(
                label,
                fingerprint,
                "the replication key was not taken over: older materials of multi-Region \
                keys cannot go from this token to others"
            );
        }
        Ok(taken_over.into_iter().fold(change, Change::insert))
    }
}
