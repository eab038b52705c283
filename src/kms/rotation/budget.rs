//! How often each material may wrap yet: a count that no request waits for.
//!
//! Random 96-bit nonces under one AES-GCM key are good for 2^32 wraps (SP 800-38D §8.3). A process that is killed
//! cannot tell how many it made, so that wraps are claimed in blocks, durably, before they are made; what is left of a
//! block when a run ends counts as used.
//!
//! Not even the first wrap after a start waits for a claim: each run may make [`Budgets::free`] wraps under each
//! material without one. The number of the run is written at every start, and a claim says in which run it was made:
//! the runs since then count as so many free blocks, used or not. So nothing that is lost with the process makes the
//! count too small.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::model::{KeyId, Region};
use crate::store::{KeyRecord, WrapCountRecord};

/// The budgets of all materials that this run has used.
pub struct Budgets {
    whole: u64,
    /// The number of this run.
    run: AtomicU64,
    known: RwLock<HashMap<Region, HashMap<(KeyId, u32), Arc<Budget>>>>,
    /// The materials near their end, whose keys are to rotate.
    due: Mutex<HashSet<(Region, KeyId, u32)>>,
}

/// The budget of one material.
pub(super) struct Budget {
    /// The wraps that are claimed and not made yet; below zero for an instant, or while some are owed.
    left: AtomicI64,
    /// When no more than so many are left, the next block is claimed.
    low: AtomicI64,
    /// The size of the next block; held by whoever claims it.
    pub claims: Arc<tokio::sync::Mutex<u64>>,
}

/// What a wrap that was asked for found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is more.
    Plenty,
    /// It is time for the next block.
    Low,
    /// Nothing is left: it was not taken.
    Nothing,
}

impl Budgets {
    /// A whole budget of this many wraps for each material, 64 or more.
    pub fn new(whole: u64) -> Self {
        Budgets { whole, run: AtomicU64::new(0), known: RwLock::default(), due: Mutex::default() }
    }

    /// Says which run of the service this is.
    pub(super) fn set_run(&self, run: u64) {
        self.run.store(run, Ordering::Relaxed);
    }

    /// The number of this run.
    pub(super) fn run(&self) -> u64 {
        self.run.load(Ordering::Relaxed)
    }

    /// The wraps that a material of this key may make in this Region. Those of a multi-Region key are made in several,
    /// which cannot ask each other: each has a fixed share.
    pub(super) fn share(&self, key_id: &KeyId) -> u64 {
        if key_id.is_multi_region() { self.whole / REGIONS } else { self.whole }
    }

    /// The wraps that each run may make under each material before it has claimed any.
    pub(super) fn free(&self) -> u64 {
        (self.whole / PARTS).clamp(1, MAX_FREE)
    }

    /// The largest block that is claimed at once.
    pub(super) fn max_block(&self) -> u64 {
        (self.whole / PARTS).clamp(1, MAX_BLOCK)
    }

    /// How many wraps may have been made, or may be in this run without another claim, by what is written down.
    pub(super) fn counted(&self, written: Option<&WrapCountRecord>) -> u64 {
        let (claimed, run) = written.map_or((0, 0), |count| (count.claimed, count.run));
        claimed.saturating_add(self.run().saturating_sub(run).saturating_mul(self.free()))
    }

    /// What is written down of a material when it is made.
    pub(super) fn first_count(&self, key: &KeyRecord, material: u32) -> WrapCountRecord {
        WrapCountRecord {
            region: key.region.clone(),
            key_id: key.key_id,
            material,
            claimed: self.free(),
            run: self.run(),
        }
    }

    /// The budget of a material; `written` says what is written down of it when it is first used in this run.
    pub(super) fn of(
        &self,
        (region, key_id, material): (&Region, &KeyId, u32),
        written: impl FnOnce() -> u64,
    ) -> Arc<Budget> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = known.get(region).and_then(|materials| materials.get(&(*key_id, material))) {
            return budget.clone();
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let materials = known.entry(region.clone()).or_default();
        // Asked under the lock: of two that come first, one makes it.
        let budget = materials.entry((*key_id, material));
        budget.or_insert_with(|| Arc::new(self.fresh(self.share(key_id), written()))).clone()
    }

    /// Forgets a key that is gone.
    pub(in crate::kms) fn forget(&self, region: &Region, key_id: &KeyId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(materials) = known.get_mut(region) {
            materials.retain(|(id, _), _| id != key_id);
        }
    }

    /// The materials whose keys are to rotate.
    pub(super) fn due(&self) -> MutexGuard<'_, HashSet<(Region, KeyId, u32)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The budget at the first use in this run: its free block, as far as the share reaches.
    fn fresh(&self, share: u64, counted: u64) -> Budget {
        let free = self.free().saturating_sub(counted.saturating_sub(share));
        Budget {
            left: AtomicI64::new(signed(free)),
            low: AtomicI64::new(signed(free / 2)),
            claims: Arc::new(tokio::sync::Mutex::new(self.free())),
        }
    }
}

impl Budget {
    /// Takes one wrap.
    pub fn take(&self) -> Taken {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        if left > self.low.load(Ordering::Relaxed) {
            return Taken::Plenty;
        }
        if left > 0 {
            return Taken::Low;
        }
        self.left.fetch_add(1, Ordering::Relaxed);
        Taken::Nothing
    }

    /// Counts wraps that were made without being asked for.
    pub fn owe(&self, wraps: u64) {
        self.left.fetch_sub(signed(wraps), Ordering::Relaxed);
    }

    /// Nothing is left to claim: what is left is used up without asking.
    pub fn ask_no_more(&self) {
        self.low.store(0, Ordering::Relaxed);
    }

    /// Adds a block that was claimed.
    pub fn add(&self, block: u64) {
        self.low.store(signed(block / 2), Ordering::Relaxed);
        self.left.fetch_add(signed(block), Ordering::Relaxed);
    }
}

fn signed(wraps: u64) -> i64 {
    i64::try_from(wraps).unwrap_or(i64::MAX)
}

/// Shares of a multi-Region key's budget; AWS has fewer Regions.
const REGIONS: u64 = 64;
/// Into how many parts a small budget is cut at least.
const PARTS: u64 = 64;
/// Free wraps of a run: enough for a busy key until its first claim is durable, and so few that a million starts are
/// needed to use up a key's budget by them.
const MAX_FREE: u64 = 1 << 12;
/// At 20,000 wraps a second one claim in 52 s.
const MAX_BLOCK: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(claimed: u64, run: u64) -> WrapCountRecord {
        let key_id = KeyId::from_bytes([7; 16]);
        WrapCountRecord { region: "eu-west-1".parse().unwrap(), key_id, material: 1, claimed, run }
    }

    #[test]
    fn every_run_counts_whether_it_wrote_or_not() {
        let budgets = Budgets::new(1 << 32);
        budgets.set_run(10);
        assert_eq!(budgets.counted(None), 10 * 4_096);
        assert_eq!(budgets.counted(Some(&written(1_000_000, 7))), 1_000_000 + 3 * 4_096);
        assert_eq!(budgets.counted(Some(&written(1_000_000, 10))), 1_000_000);
        assert_eq!(budgets.counted(Some(&written(1_000_000, 11))), 1_000_000, "another node started later");
        assert_eq!(budgets.counted(Some(&written(u64::MAX, 1))), u64::MAX);
    }

    #[test]
    fn a_free_block_never_reaches_beyond_the_share() {
        let budgets = Budgets::new(6_400);
        for (counted, free) in [(0, 100), (6_300, 100), (6_400, 100), (6_401, 99), (6_499, 1), (6_500, 0), (9_999, 0)] {
            let budget = budgets.fresh(6_400, counted);
            let taken = (0..200).take_while(|_| budget.take() != Taken::Nothing).count();
            assert_eq!(taken, free, "{counted}");
        }
    }

    #[test]
    fn what_was_not_there_is_not_taken_however_many_ask() {
        let budget = Arc::new(Budgets::new(6_400).fresh(6_400, 100));
        budget.add(9_900);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let budget = budget.clone();
                std::thread::spawn(move || (0..10_000).filter(|_| budget.take() != Taken::Nothing).count())
            })
            .collect();
        let taken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(taken, 10_000);
        budget.add(1);
        assert_eq!((budget.take(), budget.take()), (Taken::Plenty, Taken::Nothing));
    }

    #[test]
    fn what_is_owed_is_taken_from_what_is_claimed_next() {
        let budget = Budgets::new(6_400).fresh(6_400, 0);
        budget.owe(150);
        assert_eq!(budget.take(), Taken::Nothing);
        budget.add(50);
        assert_eq!(budget.take(), Taken::Nothing);
        budget.add(1);
        assert_eq!((budget.take(), budget.take()), (Taken::Plenty, Taken::Nothing));
    }

    #[test]
    fn the_regions_of_a_multi_region_key_have_a_share_each() {
        let budgets = Budgets::new(1 << 32);
        assert_eq!(budgets.share(&KeyId::from_bytes([1; 16])), 1 << 32);
        assert_eq!(budgets.share(&KeyId::multi_region_from_bytes([1; 16])), 1 << 26);
    }
}
