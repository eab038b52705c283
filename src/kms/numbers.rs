//! The numbers of a key's token objects, each given out once.
//!
//! Whoever begins to make an object writes an intent first, and what an intent names is destroyed if its making does not
//! come to an end. So an intent must name nothing that somebody else made. The store alone cannot promise that: one that
//! was put back to an older state gives out again what its newer history has used. Two things do: the token is asked
//! before a number is given out, and a store that was put back goes on above every number that it may have given out.

use std::time::Instant;

use serde_json::json;

use super::{Error, Kms, arn_of, object_kind};
use crate::crash_point;
use crate::store::{Change, KeyRecord};
use crate::token;

/// A number for the next object of a key, under which its tokens had nothing when they were asked.
#[derive(Clone, Copy)]
pub(super) struct FreeNumber(u32);

impl FreeNumber {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The key with this number used up; none if it was used up meanwhile.
    pub fn used_by(self, key: &KeyRecord) -> Option<KeyRecord> {
        let next_material = self.0.checked_add(1).filter(|_| key.next_material <= self.0)?;
        Some(KeyRecord { next_material, ..key.clone() })
    }
}

impl Kms {
    /// Asks the token of a key, and those of its replicas if they get the same material, for the first number under which
    /// none of them has an object. One search a token and number.
    pub(super) async fn free_number(&self, key: &KeyRecord, deadline: Instant) -> Result<FreeNumber, Error> {
        let mut keys = vec![key.clone()];
        if key.origin.is_made_here() {
            keys.extend(self.living_replicas_of(key).iter().map(|row| row.record.clone()));
        }
        for key in &keys {
            // Or a token would be asked again and again while another one is out.
            self.token_of(key)?.check_available()?;
        }
        for number in key.next_material..u32::MAX {
            if self.is_free(&keys, number, deadline).await? {
                return Ok(FreeNumber(number));
            }
        }
        Err(Error::Internal(format!("{} has no more numbers for its objects", arn_of(key))))
    }

    async fn is_free(&self, keys: &[KeyRecord], number: u32, deadline: Instant) -> Result<bool, Error> {
        for key in keys {
            let name = key.object_of_number(number);
            let kind = object_kind(key.spec, key.usage);
            let kind = kind.ok_or_else(|| Error::Internal(format!("{} is of no kind", arn_of(key))))?;
            match self.token_of(key)?.has_key(&name, kind, deadline).await {
                Ok(false) => {}
                // Whatever it is, it is there.
                Ok(true) | Err(token::Error::NotProven { .. } | token::Error::Ambiguous { .. }) => {
                    tracing::warn!(object = %name, "the token has an object of this name that no record names");
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Accepts, on purpose, a store that was put back to an older state than its audit log, which has seen `log_epoch`.
    /// Records that, and lifts the store above every epoch of the log, so that no epoch means two states and the next
    /// start needs no word from an operator.
    ///
    /// Numbers do not grow faster than epochs: each is given out by a transaction of its own. So whatever number any
    /// history of this store has given out and used, the log has seen an epoch as high, and no key goes on below that,
    /// on whatever token its objects are. Creations that were under way in the older state may have come to an end in the
    /// newer one: they are given up, and what they made is left alone. How often keys may have been used meanwhile is
    /// counted in the same change.
    pub async fn accept_rollback(&self, log_epoch: u64) -> Result<(), Error> {
        let mut begun = self.store.intents();
        begun.retain(|intent| intent.record.kind.is_creation());
        let names: Vec<String> = begun.iter().map(|intent| intent.record.name.cka_label()).collect();
        let details = json!({ "storeEpoch": self.store.epoch(), "logEpoch": log_epoch, "creationsGivenUp": names });
        self.record_act("AcceptRollback", details).await?;
        let change = Change::new(self.now()).above(log_epoch);
        let change = begun.iter().fold(change, |change, intent| change.delete(&**intent));
        // After four billion transactions the token is asked, and that is all.
        let above = u32::try_from(log_epoch.saturating_add(1)).unwrap_or(0);
        let change = self.store.all_keys().iter().fold(change, |change, key| {
            let next_material = key.record.next_material.max(above);
            change.update(key, KeyRecord { next_material, ..key.record.clone() })
        });
        self.commit(self.with_unknown_wraps(change)).await?;
        crash_point::reached("rollback-accepted");
        Ok(())
    }
}
