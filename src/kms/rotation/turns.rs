//! Whose turn it is to rotate: of the keys that need the same tokens one after the other, and all others beside them. So a
//! token that hangs holds up no key that has nothing there, and is asked by one rotation at a time.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::kms::{KeyRow, KeyStore, Kms};

/// The key stores that a rotation works in.
pub(super) type Tokens = BTreeSet<KeyStore>;

/// The turns that are taken.
#[derive(Default)]
pub struct Turns(Mutex<HashSet<Tokens>>);

/// A turn, until it is dropped.
struct Turn<'t> {
    turns: &'t Turns,
    tokens: Tokens,
}

impl Turns {
    /// None if somebody has it.
    fn take(&self, tokens: &Tokens) -> Option<Turn<'_>> {
        let is_free = self.taken().insert(tokens.clone());
        is_free.then(|| Turn { turns: self, tokens: tokens.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<Tokens>> {
        // Changes in single steps, so that a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken().remove(&self.tokens);
    }
}

impl Kms {
    /// Where a rotation of this key makes an object: for a replica, where its primary key's does.
    pub(super) fn tokens_of_rotation(&self, key: &KeyRow) -> Tokens {
        let primary = self.primary_of(key);
        let replicas = self.living_replicas_of(&primary.record);
        let key_store = |key: &KeyRow| KeyStore::of(&key.record.region, key.record.custom_key_store.as_ref());
        std::iter::once(&primary).chain(&replicas).map(key_store).collect()
    }

    /// Does this beside what is done on other tokens, if it is these tokens' turn, and waits for it for a while. What takes
    /// longer goes on by itself.
    pub(super) async fn rotate_on<W: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        work: impl IntoIterator<Item = (Tokens, W)>,
    ) {
        let begin = |(tokens, work): (Tokens, W)| {
            let kms = self.clone();
            tokio::spawn(async move {
                if let Some(_turn) = kms.rotation_turns.take(&tokens) {
                    work.await;
                }
            })
        };
        let under_way: Vec<_> = work.into_iter().map(begin).collect();
        let all_done = async {
            for task in under_way {
                // One that panicked has given its turn back.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(PATIENCE, all_done).await.is_err() {
            tracing::warn!("a rotation takes long; others go on beside it");
        }
    }
}

/// How long the keys of tokens that answer wait for those of one that does not.
const PATIENCE: Duration = Duration::from_secs(5);
