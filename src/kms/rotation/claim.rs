//! Claiming blocks of wraps, and what follows when a material nears the end of its budget.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use super::budget::{Budget, Taken};
use super::new_material::rotation_of;
use super::turns::Tokens;
use super::worker::{Reason, is_of_the_token, place};
use crate::crash_point;
use crate::kms::{CommitError, Error, KeyRow, KeyStore, Kms, arn_of};
use crate::model::{KeyState, Origin};
use crate::store::{Change, KeyRecord, Material, Row, RunsRecord, WrapCountRecord};

impl Kms {
    /// Writes down that a run begins.
    pub async fn begin_run(&self) -> Result<(), Error> {
        let count = self.runs_so_far().count + 1;
        self.commit(self.with_runs(Change::new(self.now()), count)).await?;
        self.budgets.set_run(count);
        Ok(())
    }

    /// Counts the wraps that are unknown where the store was put back to an older state on purpose, with the change that
    /// accepts that: no later start knows of it.
    ///
    /// Nobody knows how often keys were used in the time that a restore took back. But no wrap was answered without a
    /// line in the audit log, which was not put back: as many lines as came since are counted for every material.
    pub(in crate::kms) fn with_unknown_wraps(&self, change: Change) -> Change {
        let last = self.runs_so_far();
        let lines = self.audit.durable_seq().saturating_sub(last.audit_seq);
        self.with_runs(change, last.count + lines.div_ceil(self.budgets.free()))
    }

    fn runs_so_far(&self) -> RunsRecord {
        self.store.runs().map(|row| row.record.clone()).unwrap_or_default()
    }

    fn with_runs(&self, change: Change, count: u64) -> Change {
        let record = RunsRecord { count, audit_seq: self.audit.durable_seq() };
        match self.store.runs() {
            Some(row) => change.update(&row, record),
            None => change.insert(record),
        }
    }

    /// Counts a wrap before it is made; refuses it if the material may make no more. `extra` were made by the token itself, and
    /// are counted in any case.
    pub(in crate::kms) async fn count_wrap(
        self: &Arc<Self>,
        key: &KeyRecord,
        material: &Material,
        extra: u64,
        deadline: Instant,
    ) -> Result<(), Error> {
        let place = (&key.region, &key.key_id, material.number);
        let budget = self.budgets.of(place, || self.counted(key, material.number));
        budget.owe(extra);
        match budget.take() {
            Taken::Plenty => Ok(()),
            Taken::Low => {
                self.claim_soon(key, material.number, &budget);
                Ok(())
            }
            Taken::Nothing => self.wait_for_claim(key, material.number, &budget, deadline).await,
        }
    }

    /// Rotates the keys of a key store whose materials near their end and that could not be rotated at once.
    pub async fn rotate_spent_keys(self: &Arc<Self>, key_store: &KeyStore) {
        let due = self.spent_keys();
        let keys = due.iter().map(|(key, _)| key).filter(|key| key_store.has_key(&key.record));
        let tokens: BTreeSet<_> = keys.map(|key| self.tokens_of_rotation(key)).collect();
        self.rotate_on(tokens.into_iter().map(|tokens| (tokens.clone(), self.clone().rotate_spent_keys_of(tokens))))
            .await;
    }

    /// The same for the keys that need these tokens, and for those that become due meanwhile.
    async fn rotate_spent_keys_of(self: Arc<Self>, tokens: Tokens) {
        let mut tried = HashSet::new();
        let next = |tried: &HashSet<_>| {
            let mut due = self.spent_keys().into_iter().filter(|(key, _)| self.tokens_of_rotation(key) == tokens);
            due.find(|(key, _)| !tried.contains(&place(&key.record)))
        };
        while let Some((key, material)) = next(&tried) {
            let (region, key_id) = place(&key.record);
            match self.rotate_spent_key(&key, material).await {
                Ok(true) => drop(self.budgets.due().remove(&(region, key_id, material))),
                Ok(false) => drop(tried.insert((region, key_id))),
                Err(error) => {
                    tracing::error!(%error, %key_id, "a key with a spent nonce budget could not be rotated");
                    if is_of_the_token(&error) {
                        return;
                    }
                    tried.insert((region, key_id));
                }
            }
        }
    }

    /// The keys that are to rotate, each with its material that nears its end.
    fn spent_keys(&self) -> Vec<(KeyRow, u32)> {
        let mut due = self.budgets.due();
        due.retain(|(region, key_id, _)| self.store.key(region, key_id).is_some());
        due.iter().filter_map(|(region, key_id, material)| Some((self.store.key(region, key_id)?, *material))).collect()
    }

    /// Claims the next block in the background, unless somebody does.
    fn claim_soon(self: &Arc<Self>, key: &KeyRecord, material: u32, budget: &Arc<Budget>) {
        let Ok(claims) = budget.claims.clone().try_lock_owned() else { return };
        let (kms, budget, region, key_id) = (self.clone(), budget.clone(), key.region.clone(), key.key_id);
        tokio::spawn(async move {
            let Some(key) = kms.store.key(&region, &key_id) else { return };
            if let Err(error) = kms.claim(&key, material, &budget, claims).await {
                tracing::error!(%error, key = %arn_of(&key.record), "a block of nonces could not be claimed");
            }
            kms.rotate_spent_keys(&KeyStore::of(&region, key.record.custom_key_store.as_ref())).await;
        });
    }

    /// What is left was used up faster than the store writes, or is used up for good.
    async fn wait_for_claim(
        self: &Arc<Self>,
        key: &KeyRecord,
        material: u32,
        budget: &Arc<Budget>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let late = |_| Error::DependencyTimeout("no block of nonces was claimed in time".to_owned());
        let spent = || spent(key, self.budgets.share(&key.key_id));
        loop {
            let claims = budget.claims.clone().lock_owned();
            let claims = tokio::time::timeout_at(deadline.into(), claims).await.map_err(late)?;
            // Somebody else's claim may have come while this one waited.
            if budget.take() != Taken::Nothing {
                return Ok(());
            }
            let now = self.store.key(&key.region, &key.key_id).ok_or_else(spent)?;
            let claimed = self.claim(&now, material, budget, claims).await;
            self.rotate_soon(KeyStore::of(&now.record.region, now.record.custom_key_store.as_ref()));
            // A block may be owed as a whole, or taken by others.
            if !claimed? {
                return Err(spent());
            }
        }
    }

    /// Claims the next block, durably; false if there is none.
    async fn claim(
        &self,
        key: &KeyRow,
        material: u32,
        budget: &Budget,
        mut size: OwnedMutexGuard<u64>,
    ) -> Result<bool, Error> {
        let mut key = key.clone();
        loop {
            let KeyRecord { region, key_id, state, .. } = &key.record;
            let row = self.store.wrap_count(region, key_id, material);
            let counted = self.budgets.counted(row.as_ref().map(|row| &row.record));
            let block = (*size).min(self.budgets.share(key_id).saturating_sub(counted));
            self.note_if_due(&key.record, material, counted + block);
            // A key on its way out gets no more: its counts are about to go.
            if block == 0 || *state != KeyState::Enabled {
                budget.ask_no_more();
                return Ok(false);
            }
            match self.write_claim(&key, material, row, counted + block).await {
                Ok(()) => {
                    crash_point::reached("nonces-claimed");
                    budget.add(block);
                    *size = (block * 2).min(self.budgets.max_block());
                    return Ok(true);
                }
                Err(CommitError::Failed(error)) => return Err(error),
                Err(CommitError::Conflict) => match self.store.key(region, key_id) {
                    Some(now) => key = now,
                    None => return Ok(false),
                },
            }
        }
    }

    /// `row` is what the claim was reckoned from.
    async fn write_claim(
        &self,
        key: &KeyRow,
        material: u32,
        row: Option<Arc<Row<WrapCountRecord>>>,
        claimed: u64,
    ) -> Result<(), CommitError> {
        let KeyRecord { region, key_id, .. } = &key.record;
        let (before, run) = row.as_ref().map_or((0, 0), |row| (row.record.claimed, row.record.run));
        let run = run.max(self.budgets.run());
        let record = WrapCountRecord { region: region.clone(), key_id: *key_id, material, claimed, run };
        let change = Change::new(self.now()).expect(key);
        let change = match &row {
            Some(row) => change.update(row, record),
            None => change.insert(record),
        };
        let share = self.budgets.share(key_id);
        if before >= share / 2 || claimed < share / 2 {
            return Ok(self.commit(change).await.map(drop)?);
        }
        let details = json!({ "material": material, "wraps": claimed, "nonceBudget": share });
        tracing::warn!(key = %arn_of(&key.record), material, "half of the nonce budget of a key material is used");
        self.commit_key_act(change, "NonceBudgetHalfUsed", key, details).await
    }

    /// How many wraps are counted for a material at its first use in this run, with the free ones.
    fn counted(&self, key: &KeyRecord, material: u32) -> u64 {
        let written = self.store.wrap_count(&key.region, &key.key_id, material);
        let counted = self.budgets.counted(written.as_ref().map(|row| &row.record));
        self.note_if_due(key, material, counted);
        counted
    }

    /// Has the key rotate if three quarters of the budget are claimed, and its material can be made here. The last
    /// quarter is for the time that this takes, and for a token that cannot make keys for a while.
    fn note_if_due(&self, key: &KeyRecord, material: u32, claimed: u64) {
        let share = self.budgets.share(&key.key_id);
        if key.origin.is_made_here() && claimed >= share - share / 4 {
            self.budgets.due().insert((key.region.clone(), key.key_id, material));
        }
    }

    fn rotate_soon(self: &Arc<Self>, key_store: KeyStore) {
        let kms = self.clone();
        tokio::spawn(async move { kms.rotate_spent_keys(&key_store).await });
    }

    /// True if there is nothing more to do.
    async fn rotate_spent_key(&self, key: &KeyRow, material: u32) -> Result<bool, Error> {
        // A replica gets its new material from there.
        let key = &self.primary_of(key);
        let is_current = key.record.current().is_some_and(|current| current.number == material);
        if !is_current || !self.may_rotate(&key.record, Reason::NonceBudget) || key.record.is_replica() {
            return Ok(true);
        }
        if rotation_of(&self.store, &key.record).is_some()
            || self.rotation_pauses.holds(&place(&key.record), Instant::now())
        {
            return Ok(false);
        }
        self.rotate_by_itself(key, Reason::NonceBudget).await.map(|()| false)
    }
}

/// What a caller is told whose key may encrypt no more.
fn spent(key: &KeyRecord, share: u64) -> Error {
    let advice = match key.origin {
        Origin::AwsKms | Origin::AwsCloudHsm => "It could not rotate to new key material yet: try again later.",
        Origin::External => "Import new key material and rotate to it with RotateKeyOnDemand, or use another key.",
    };
    let arn = arn_of(key);
    Error::InvalidState(format!(
        "{arn} has encrypted {share} times under its key material, which is as often as is safe. {advice} Decrypting is \
         not limited."
    ))
}
