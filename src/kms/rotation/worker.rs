//! Rotations that nobody asks for: when a key's period is over, or its nonce budget nears its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::new_material::{Ending, Made, Planned, beginning, rotation_of};
use super::turns::Tokens;
use crate::kms::multi_region::KEPT_WRAPPED;
use crate::kms::usable::enabled;
use crate::kms::{CommitError, Error, KeyRow, KeyStore, Kms, arn_of};
use crate::model::{KeyId, KeyState, Region, RotationType, Timestamp};
use crate::store::{AutomaticRotation, Change, KeyRecord};

/// Why a key rotates by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its rotation period is over.
    Period,
    /// Its material has encrypted nearly as often as it may.
    NonceBudget,
}

impl Kms {
    /// Rotates the keys of a key store whose date has come, of those that need the same tokens at most a hundred, so that
    /// other work is not held up. Call it with a time that is trusted. A rotation that fails is logged and tried again in the
    /// next round.
    pub async fn rotate_due_keys(self: &Arc<Self>, key_store: &KeyStore, now: Timestamp) {
        let mut keys = self.keys_in(key_store);
        keys.retain(|key| is_due(&key.record, now) && rotation_of(&self.store, &key.record).is_none());
        keys.retain(|key| self.check_beyond_aws(&key.record).is_ok());
        keys.retain(|key| !self.rotation_pauses.holds(&place(&key.record), Instant::now()));
        let is_there = |key: &KeyRecord| self.token_of(key).is_ok_and(|token| token.check_available().is_ok());
        keys.retain(|key| {
            is_there(&key.record) && self.living_replicas_of(&key.record).iter().all(|row| is_there(&row.record))
        });
        let mut by_tokens = BTreeMap::<Tokens, Vec<KeyRow>>::new();
        for key in keys {
            by_tokens.entry(self.tokens_of_rotation(&key)).or_default().push(key);
        }
        self.rotate_on(by_tokens.into_iter().map(|(tokens, keys)| (tokens, self.clone().rotate_all(keys)))).await;
    }

    /// Rotates keys that need the same tokens.
    async fn rotate_all(self: Arc<Self>, keys: Vec<KeyRow>) {
        for key in keys.iter().take(KEYS_A_ROUND) {
            let Err(error) = self.rotate_by_itself(key, Reason::Period).await else { continue };
            tracing::error!(%error, key = %arn_of(&key.record), "a key could not be rotated; trying again");
            if is_of_the_token(&error) {
                return;
            }
        }
    }

    /// Rotates a key; does nothing if somebody else is about to, or the key has changed meanwhile.
    ///
    /// One that failed is held back for a while, and for a second after an outage: that is over at any moment.
    pub(super) async fn rotate_by_itself(&self, key: &KeyRow, reason: Reason) -> Result<(), Error> {
        let rotated = self.rotate_once(key, reason).await;
        match &rotated {
            Ok(()) => self.rotation_pauses.end(&place(&key.record)),
            Err(error) if is_of_the_token(error) => self.rotation_pauses.hold(&place(&key.record), Instant::now()),
            Err(_) => self.rotation_pauses.lengthen(&place(&key.record), Instant::now()),
        }
        rotated
    }

    async fn rotate_once(&self, key: &KeyRow, reason: Reason) -> Result<(), Error> {
        let number = self.free_number(&key.record, Instant::now() + SEARCH_TIME).await?;
        let Some((change, planned)) = beginning(self, key, number, RotationType::Automatic)? else { return Ok(()) };
        match self.begin_rotation(change, key, reason).await {
            Err(CommitError::Conflict) => return Ok(()),
            other => other?,
        };
        let made = planned.make(self, Instant::now() + MAKING_TIME).await?;
        self.end_rotation(&planned, &made, reason).await?;
        tracing::info!(key = %arn_of(&key.record), ?reason, "the key has rotated to new material");
        Ok(())
    }

    /// Whether the state of a key allows that it rotates by itself. By its nonce budget it does for its replicas, too: they
    /// can be used whatever it is itself, and get their material from no other key.
    pub(super) fn may_rotate(&self, key: &KeyRecord, reason: Reason) -> bool {
        let is_used = |replicas: &[KeyRow]| replicas.iter().any(|row| row.record.state == KeyState::Enabled);
        match key.state {
            KeyState::Enabled => true,
            KeyState::Disabled | KeyState::PendingReplicaDeletion => {
                reason == Reason::NonceBudget && is_used(&self.living_replicas_of(key))
            }
            _ => false,
        }
    }

    /// A rotation by the nonce budget is told of before it is tried: the key's owner did not ask for it.
    async fn begin_rotation(&self, change: Change, key: &KeyRow, reason: Reason) -> Result<(), CommitError> {
        match reason {
            Reason::Period => Ok(self.commit(change).await.map(drop)?),
            Reason::NonceBudget => {
                let details = json!({ "nonceBudget": self.budgets.share(&key.record.key_id) });
                self.commit_key_act(change, "NonceBudgetRotation", key, details).await
            }
        }
    }

    async fn end_rotation(&self, planned: &Planned, made: &Made, reason: Reason) -> Result<(), Error> {
        loop {
            let mut ending = Ending::of(self, planned, made)?;
            if !self.may_rotate(&ending.before.record, reason) {
                enabled(&ending.before)?;
            }
            if let (Reason::Period, Some(schedule)) = (reason, &mut ending.after.automatic_rotation) {
                // A key that was overdue rotates once, and again a whole period later.
                *schedule = AutomaticRotation::beginning(self.now(), schedule.period_days);
            }
            match self.commit_rotation(&ending, reason).await {
                Err(CommitError::Conflict) => {}
                other => return Ok(other?),
            }
        }
    }

    async fn commit_rotation(&self, ending: &Ending, reason: Reason) -> Result<(), CommitError> {
        let (before, after) = (&ending.before.record, &ending.after);
        let mut additional = reason.details();
        if after.key_id.is_multi_region() {
            additional[KEPT_WRAPPED] = json!(true);
        }
        let (event_id, event) = self.act("RotateKey", &after.region, &after.account, additional);
        let event = event.details(details(before, after)).resource(&arn_of(after));
        let (change, acts) = self.with_acts(ending.change(self), ending.acts(self));
        self.commit_and_copy(change, &event_id, event).await?;
        self.copy_acts(acts).await;
        Ok(())
    }
}

impl Reason {
    fn details(self) -> Value {
        match self {
            Reason::Period => json!({ "reason": "rotation period" }),
            Reason::NonceBudget => json!({ "reason": "nonce budget" }),
        }
    }
}

/// What CloudTrail says of a rotation.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekey.html>
fn details(before: &KeyRecord, after: &KeyRecord) -> Value {
    let id = |key: &KeyRecord| key.current().map(|material| material.key_material_id.clone());
    json!({
        "rotationType": RotationType::Automatic,
        "keyOrigin": after.origin,
        "previousKeyMaterialId": id(before),
        "currentKeyMaterialId": id(after),
        "keyId": after.key_id,
    })
}

/// Whether the key's date has come; not while it is disabled, or on its way to deletion.
pub fn is_due(key: &KeyRecord, now: Timestamp) -> bool {
    key.state == KeyState::Enabled && key.automatic_rotation.is_some_and(|schedule| schedule.next <= now)
}

/// How the pauses name a key.
pub(super) fn place(key: &KeyRecord) -> (Region, KeyId) {
    (key.region.clone(), key.key_id)
}

/// Whether the next key would fail as well.
pub(super) fn is_of_the_token(error: &Error) -> bool {
    matches!(error, Error::KeyUnavailable(_) | Error::DependencyTimeout(_) | Error::Throttling)
}

const KEYS_A_ROUND: usize = 100;
/// How long the tokens of a key may take to say that a number is free: as long as a call before it is written off.
const SEARCH_TIME: Duration = Duration::from_secs(10);
/// How long they may take to make the objects.
const MAKING_TIME: Duration = Duration::from_secs(30);
