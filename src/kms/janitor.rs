//! What the service does unasked: deletions that are due, creations that were not finished, objects that no record
//! names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::{CommitError, End, Error, KeyRow, KeyStore, Kms, arn_of};
use crate::audit::{Call, Event, EventSource};
use crate::crash_point;
use crate::model::{AccountId, Arn, CustomKeyStoreId, KeyState, ObjectName, Purpose, Region, Timestamp};
use crate::store::{
    AccountRecord, Change, IntentKind, IntentRecord, KeyRecord, Row, WrapCountRecord, WrappingKeyRecord,
};
use crate::token::{self, Token};

/// What the service did by itself to a key, for the record.
#[derive(Clone, Debug)]
pub struct Act {
    /// What the record calls it.
    pub name: &'static str,
    /// The Region of the key.
    pub region: Region,
    /// The account of the key.
    pub account: AccountId,
    /// The key.
    pub resource: Arn,
    /// What it was.
    pub details: Value,
}

impl Act {
    /// An act on this key.
    pub fn about(name: &'static str, key: &KeyRecord, mut details: Value) -> Self {
        if let Some(id) = &key.custom_key_store {
            details["customKeyStoreId"] = json!(id);
        }
        Act { name, region: key.region.clone(), account: key.account.clone(), resource: arn_of(key), details }
    }
}

impl Kms {
    /// Destroys the token objects of all keys of a key store whose deletion date has come, and finishes the destructions
    /// that were begun before; returns how many it began. Call it with a time that is trusted.
    pub async fn destroy_due_keys(&self, key_store: &KeyStore, now: Timestamp) -> Result<usize, Error> {
        let begun = self.begin_due_destructions(key_store, now).await?;
        self.finish_destructions(key_store, End::Destroyed).await;
        Ok(begun)
    }

    /// From here on there is no way back for the keys of a key store whose deletion date has come; gives how many these are.
    pub(super) async fn begin_due_destructions(&self, key_store: &KeyStore, now: Timestamp) -> Result<usize, Error> {
        let mut begun = 0;
        for key in self.keys_in(key_store) {
            if is_due(&key.record, now) && self.begin_destruction(&key).await? {
                begun += 1;
            }
        }
        Ok(begun)
    }

    /// All keys that have their objects in a key store.
    pub(super) fn keys_in(&self, key_store: &KeyStore) -> Vec<KeyRow> {
        let mut keys = self.store.all_keys();
        keys.retain(|key| key_store.has_key(&key.record));
        keys
    }

    /// Finishes every destruction that was begun. There is no way back from `Destroying`, so this needs no time of
    /// day. One that fails is logged and tried again in the next round, and holds no other one up.
    pub async fn finish_destructions(&self, key_store: &KeyStore, end: End<'_>) {
        for key in self.keys_in(key_store).iter().filter(|key| key.record.state == KeyState::Destroying) {
            if let Err(error) = self.finish_destruction(key, end).await {
                tracing::error!(%error, key = %arn_of(&key.record), "a destruction could not be finished; trying again");
            }
        }
    }

    /// Undoes creations that were begun before `before` and never finished: their objects are destroyed, since
    /// the intents say that they are ours. One that fails is logged and tried again in the next round, and holds no other
    /// one up. Returns how many it undid.
    pub async fn undo_creations(&self, key_store: &KeyStore, before: Timestamp) -> usize {
        self.undo(key_store, |intent| intent.started < before, End::Destroyed).await
    }

    /// As [`Kms::undo_creations`], of those that earlier runs began.
    pub(super) async fn undo_others_creations(&self, key_store: &KeyStore) {
        self.undo(key_store, |intent| intent.owner != self.instance, End::Destroyed).await;
    }

    /// Undoes the creations that are stale.
    pub(super) async fn undo(
        &self,
        key_store: &KeyStore,
        is_stale: impl Fn(&IntentRecord) -> bool,
        end: End<'_>,
    ) -> usize {
        let intents = self.intents_in(key_store);
        let stale = intents.iter().filter(|row| is_stale(&row.record));
        let mut undone = 0;
        for (intent, event) in stale.filter_map(|row| Some((row, undoing(&row.record)?))) {
            match self.undo_creation(intent, event, end).await {
                Ok(()) => undone += 1,
                Err(error) => {
                    tracing::error!(%error, object = %intent.record.name, "a creation could not be undone; trying again");
                }
            }
        }
        undone
    }

    /// All intents about objects in a key store, the oldest first.
    pub(super) fn intents_in(&self, key_store: &KeyStore) -> Vec<Arc<Row<IntentRecord>>> {
        let mut intents = self.store.intents();
        intents.retain(|row| key_store.has(&row.record.region, row.record.custom_key_store.as_ref()));
        intents
    }

    /// The objects on the tokens whose labels are ours and that no record names, and the materials whose objects
    /// are missing. Orphans are reported and never destroyed: they may be somebody's only copy. A token that cannot be
    /// asked is left out, and so are the tokens of custom key stores, which are compared when they are connected.
    pub async fn reconcile(&self, store_root: &ObjectName) -> Reconciliation {
        let mut known = self.known_objects(|custom_key_store| custom_key_store.is_none());
        known.push((*store_root, self.tokens().into_iter().next()));
        reconcile(&self.tokens(), &known).await
    }

    /// As [`Kms::reconcile`], of the token of Regions that was opened later than the start; records what differs.
    pub async fn reconcile_late(&self, token: &Token) -> Result<(), Error> {
        let known = || self.known_objects(|custom_key_store| custom_key_store.is_none());
        self.record_differences(&self.reconcile_in_use(token, known).await, None).await
    }

    /// As [`Kms::reconcile`], of one custom key store that is connected; records what differs.
    pub(super) async fn reconcile_custom_key_store(&self, id: &CustomKeyStoreId) -> Result<(), Error> {
        let Some(token) = self.custom_token(id) else { return Ok(()) };
        let known = || self.known_objects(|custom_key_store| custom_key_store == Some(id));
        self.record_differences(&self.reconcile_in_use(&token, known).await, Some(id)).await
    }

    /// Holds a token against the store while requests are served: what they make and destroy is no difference.
    async fn reconcile_in_use(&self, token: &Token, known: impl Fn() -> KnownObjects) -> Reconciliation {
        let in_passing = self.objects_in_passing();
        let mut found = reconcile(std::slice::from_ref(token), &known()).await;
        let still_known = known();
        let labels: HashSet<_> = still_known.iter().map(|(name, _)| token.label(name)).collect();
        found.orphans.retain(|label| !labels.contains(label));
        let labels: HashSet<_> = still_known.iter().map(|(name, _)| name.cka_label()).collect();
        let in_passing: HashSet<_> = in_passing.union(&self.objects_in_passing()).cloned().collect();
        found.missing.retain(|label| labels.contains(label) && !in_passing.contains(label));
        found
    }

    /// Tells of differences between tokens, or that of a custom key store, and the store, if there are any.
    pub async fn record_differences(
        &self,
        found: &Reconciliation,
        custom_key_store: Option<&CustomKeyStoreId>,
    ) -> Result<(), Error> {
        let Reconciliation { orphans, missing, misplaced } = found;
        if orphans.is_empty() && missing.is_empty() && misplaced.is_empty() {
            return Ok(());
        }
        let mut details = json!({ "orphans": orphans, "missing": missing });
        if !misplaced.is_empty() {
            details["misplaced"] = json!(misplaced);
        }
        if let Some(id) = custom_key_store {
            details["customKeyStoreId"] = json!(id);
        }
        tracing::warn!(%details, "the token and the store differ; nothing is destroyed");
        self.record_act("ReconcileTokenObjects", details).await
    }

    /// The labels of objects that are being made, undone or destroyed, by whomever: at no time can it be said of them that
    /// they should be there.
    fn objects_in_passing(&self) -> HashSet<String> {
        let intents = self.store.intents().into_iter().map(|row| row.record.name.cka_label());
        let keys = self.store.all_keys().into_iter().filter(|key| key.record.state == KeyState::Destroying);
        intents.chain(keys.flat_map(|key| labels(&key.record))).collect()
    }

    /// Writes the record of an act of the service that changes nothing in the store.
    pub async fn record_act(&self, name: &'static str, details: Value) -> Result<(), Error> {
        let (Some(region), Ok(account)) = (self.regions().next(), self.first_account()) else { return Ok(()) };
        let event = self.act(name, region, &account.record.account, details).1;
        let permit = self.audit.begin()?;
        self.audit.append(permit, event.to_json(), self.store.epoch()).await?;
        Ok(())
    }

    /// Commits a change that the service makes by itself, with its event in the account's log.
    pub async fn commit_act(
        &self,
        change: Change,
        name: &'static str,
        account: &AccountId,
        details: Value,
    ) -> Result<(), Error> {
        let none = || Error::Internal("no Region is served".into());
        let (event_id, event) = self.act(name, self.regions().next().ok_or_else(none)?, account, details);
        Ok(self.commit_and_copy(change, &event_id, event).await?)
    }

    /// `PendingDeletion` to `Destroying`, where CancelKeyDeletion competes; false if the key changed meanwhile.
    async fn begin_destruction(&self, key: &KeyRow) -> Result<bool, Error> {
        let mut record = key.record.clone();
        record.state = KeyState::Destroying;
        let details = json!({ "phase": "begun", "objects": labels(&key.record) });
        let change = self.in_its_cluster(Change::new(self.now()).update(key, record), &key.record);
        match self.commit_key_act(change, "DeleteKey", key, details).await {
            Ok(()) => {
                crash_point::reached("destruction-begun");
                Ok(true)
            }
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }

    async fn finish_destruction(&self, key: &KeyRow, end: End<'_>) -> Result<(), Error> {
        let (region, key_id) = (&key.record.region, &key.record.key_id);
        let mut evidence = self.end_objects(end, self.token_of(&key.record), &key.record.objects()).await?;
        evidence["phase"] = json!("done");
        crash_point::reached("object-destroyed");
        let (change, waiting) = self.without_replica(Change::new(self.now()).delete(key), &key.record);
        let (change, acts) = self.with_acts(change, waiting.into_iter().collect());
        let aliases = self.store.aliases_of_key(region, key_id);
        let change = aliases.iter().fold(change, |change, alias| change.delete(alias));
        let counts = self.counts_that_end_with(&key.record);
        let change = counts.iter().fold(change, |change, count| change.delete(count));
        // No new ones: who adds an alias or a grant expects a key that is not being destroyed.
        let grants = self.store.grants_on(region, key_id, None, usize::MAX);
        let change = grants.iter().fold(change, |change, grant| change.delete(grant));
        self.commit_key_act(change, "DeleteKey", key, evidence).await?;
        self.copy_acts(acts).await;
        // What is left of others' is neither given out again nor counted twice, as a replica may be made again in this run.
        if self.store.multi_region(key_id).is_empty() {
            self.regions().for_each(|region| self.budgets.forget(region, key_id));
        }
        tracing::info!(key = %arn_of(&key.record), "the key is gone; its material {}", end.words());
        Ok(())
    }

    /// The counts of wraps that nobody needs when this key is gone: not while others have the same material, as a replica
    /// that is made again must not begin anew.
    fn counts_that_end_with(&self, key: &KeyRecord) -> Vec<Arc<Row<WrapCountRecord>>> {
        if self.store.multi_region(&key.key_id).iter().any(|row| row.record.region != key.region) {
            return Vec::new();
        }
        self.regions().flat_map(|region| self.store.wrap_counts_of(region, &key.key_id)).collect()
    }

    /// Says that this run is about to do this to an object of the key.
    pub(super) fn intent(&self, kind: IntentKind, name: ObjectName, key: &KeyRecord, now: Timestamp) -> IntentRecord {
        IntentRecord {
            kind,
            name,
            key_id: Some(key.key_id).filter(|key_id| *key_id != name.key_id),
            region: key.region.clone(),
            custom_key_store: key.custom_key_store.clone(),
            account: key.account.clone(),
            owner: self.instance.clone(),
            started: now,
        }
    }

    /// The intent to make this object, if that is still this run's to end: nobody undoes it.
    pub(super) fn creation(&self, name: &ObjectName) -> Result<Arc<Row<IntentRecord>>, Error> {
        let intent = self.store.intent(name).filter(|intent| intent.record.owner == self.instance);
        intent.ok_or_else(|| Error::Internal(format!("{name} was undone")))
    }

    /// Undoes the creation of an object by a request that failed after the token had made it; leaves it to the service's
    /// own round if the token does not answer.
    pub(super) async fn withdraw(&self, name: &ObjectName, key: &KeyRecord) {
        // The change is there, and what failed came after it.
        if self.store.key(&key.region, &key.key_id).is_some_and(|key| key.record.objects().contains(name)) {
            return;
        }
        match self.token_of(key) {
            Ok(token) => self.take_back(&token, name).await,
            Err(error) => {
                tracing::warn!(%error, object = %name, "an object of a request that failed is destroyed later")
            }
        }
    }

    /// Undoes the creation of an object that no record names; leaves it to the service's own round if the token does not
    /// answer.
    pub(super) async fn take_back(&self, token: &Token, name: &ObjectName) {
        // What became of the change that names it is not known: the next start finds out.
        if self.store.guard().is_err() {
            return;
        }
        let undo = async {
            token.destroy(name, Instant::now() + WITHDRAWAL_TIME).await?;
            // None if it was undone before the token had made it.
            let Some(intent) = self.store.intent(name) else { return Ok(()) };
            self.commit_step(Change::new(self.now()).delete(&*intent), None).await.map_err(Error::from)
        };
        if let Err(error) = undo.await {
            tracing::warn!(%error, object = %name, "an object of a request that failed is destroyed later");
        }
    }

    /// What a token answered that was to make an object. Where it had one of that name already, the creation is forgotten.
    pub(super) async fn disowned<T>(
        &self,
        name: &ObjectName,
        answer: Result<T, token::Error>,
    ) -> Result<T, token::Error> {
        if let Err(token::Error::Exists(_)) = &answer {
            self.disown(name).await;
        }
        answer
    }

    /// Forgets a creation for which the token had an object of that name already: whoever made that, it was not this
    /// creation, and it may be somebody's only copy.
    async fn disown(&self, name: &ObjectName) {
        tracing::error!(object = %name, "the token has an object of this name that no record names; it is left alone");
        self.forget_creations([name]).await;
    }

    /// Forgets creations that made nothing on a token: an object of such a name is not theirs to destroy.
    pub(super) async fn forget_creations(&self, names: impl IntoIterator<Item = &ObjectName>) {
        let intents: Vec<_> = names.into_iter().filter_map(|name| self.store.intent(name)).collect();
        if intents.is_empty() {
            return;
        }
        let change = intents.iter().fold(Change::new(self.now()), |change, intent| change.delete(&**intent));
        if let Err(error) = self.commit_step(change, None).await.map_err(Error::from) {
            tracing::error!(%error, "creations that came to nothing could not be forgotten");
        }
    }

    async fn undo_creation(
        &self,
        intent: &Arc<Row<IntentRecord>>,
        name_of_event: &'static str,
        end: End<'_>,
    ) -> Result<(), Error> {
        let IntentRecord { name, region, account, custom_key_store, .. } = &intent.record;
        // First, so that whoever makes it does not name it in a record when its object is gone.
        let taken = IntentRecord { owner: NOBODY.to_owned(), ..intent.record.clone() };
        match self.commit_step(Change::new(self.now()).update(intent, taken), None).await {
            // It is finished.
            Err(CommitError::Conflict) => return Ok(()),
            other => other?,
        }
        if self.is_in_use(&intent.record) {
            self.disown(name).await;
            return Ok(());
        }
        let token = self.token(region, custom_key_store.as_ref());
        let told = self.end_objects(end, token, &[*name]).await?;
        // It may never have been there: that it is destroyed is no evidence.
        let mut details = if matches!(end, End::Destroyed) { json!({}) } else { told };
        details["object"] = json!(name.cka_label());
        let (event_id, event) = self.act(name_of_event, region, account, details);
        let change = Change::new(self.now());
        let change = self.store.intent(name).iter().fold(change, |change, intent| change.delete(intent));
        self.commit_and_copy(change, &event_id, event).await?;
        tracing::warn!(object = %name, "a creation that was not finished is undone");
        Ok(())
    }

    /// Whether a key has the object that this intent is about.
    fn is_in_use(&self, intent: &IntentRecord) -> bool {
        let key = self.store.key(&intent.region, &intent.key_id.unwrap_or(intent.name.key_id));
        key.is_some_and(|key| key.record.objects().contains(&intent.name))
    }

    /// Commits a change with the event of an act of the service on a key.
    pub(super) async fn commit_key_act(
        &self,
        change: Change,
        name: &'static str,
        key: &KeyRow,
        details: Value,
    ) -> Result<(), CommitError> {
        self.commit_step(change, Some(Act::about(name, &key.record, details))).await
    }

    /// Commits a change, together with the record of the act that it is; without one if a record of it follows.
    pub(super) async fn commit_step(&self, change: Change, act: Option<Act>) -> Result<(), CommitError> {
        let Some(Act { name, region, account, resource, details }) = act else {
            return Ok(self.commit(change).await.map(drop)?);
        };
        let (event_id, event) = self.act(name, &region, &account, details);
        self.commit_and_copy(change, &event_id, event.resource(&resource)).await
    }

    /// Commits a change with the event of an act of the service.
    pub(super) async fn commit_and_copy(
        &self,
        change: Change,
        event_id: &str,
        event: Event,
    ) -> Result<(), CommitError> {
        let permit = self.audit.begin()?;
        self.commit_recorded(change, event_id, event.to_json(), || Ok(permit)).await
    }

    /// The event of an act of the service, and its id.
    pub(super) fn act(
        &self,
        name: &'static str,
        region: &Region,
        account: &AccountId,
        details: Value,
    ) -> (String, Event) {
        let event_id = uuid::Uuid::new_v4().to_string();
        let event = Event::service(Call {
            time: self.now(),
            source: EventSource::Kms,
            name,
            region,
            account,
            source_ip: "kms.amazonaws.com",
            user_agent: "kms.amazonaws.com",
            request_id: &event_id,
            event_id: &event_id,
            read_only: false,
        });
        (event_id.clone(), event.additional(details))
    }

    /// The first account there was: its log has what concerns the service as a whole. A change that is decided by what all
    /// accounts have touches it, so that of two such changes one comes first.
    pub(super) fn first_account(&self) -> Result<Arc<Row<AccountRecord>>, Error> {
        let first = self.store.accounts().into_iter().min_by_key(|row| row.record.created);
        first.ok_or_else(|| Error::Internal("there is no account".into()))
    }

    /// Whether some record names an object in a key store, or a key that may get one.
    pub fn has_objects(&self, key_store: &KeyStore) -> bool {
        // In this order: what is begun becomes a key or a wrapping key, and not the other way round.
        !(self.intents_in(key_store).is_empty()
            && self.keys_in(key_store).is_empty()
            && self.wrapping_keys_in(key_store).is_empty())
    }

    /// Whether an object in a key store is being made, undone or destroyed.
    pub(super) fn has_unfinished(&self, key_store: &KeyStore) -> bool {
        let mut keys = self.keys_in(key_store).into_iter();
        !self.intents_in(key_store).is_empty() || keys.any(|key| key.record.state == KeyState::Destroying)
    }

    /// The objects that records name in `wanted` key stores, each with the token that it is on, if that is open.
    fn known_objects(&self, wanted: impl Fn(Option<&CustomKeyStoreId>) -> bool) -> KnownObjects {
        let mut known = Vec::new();
        for key in self.store.all_keys().iter().filter(|key| wanted(key.record.custom_key_store.as_ref())) {
            let token = self.token_of(&key.record).ok();
            known.extend(key.record.objects().into_iter().map(|name| (name, token.clone())));
        }
        let mut enter = |name, region: &Region, custom_key_store: &Option<CustomKeyStoreId>| {
            if wanted(custom_key_store.as_ref()) {
                known.push((name, self.token(region, custom_key_store.as_ref()).ok()));
            }
        };
        for IntentRecord { name, region, custom_key_store, .. } in self.store.intents().iter().map(|row| &row.record) {
            enter(*name, region, custom_key_store);
        }
        for row in self.store.wrapping_keys() {
            let WrappingKeyRecord { region, custom_key_store, .. } = &row.record;
            enter(row.record.object(), region, custom_key_store);
        }
        // They are on the tokens of Regions.
        if wanted(None) {
            let tokens = self.tokens();
            let on = |serial: &String| tokens.iter().find(|token| token.identity().serial == *serial).cloned();
            let keys = self.store.replication_keys();
            known.extend(keys.iter().map(|row| (row.record.object(), on(&row.record.serial))));
        }
        known
    }
}

/// The objects that records name, each with the token that it should be on, if that is open.
type KnownObjects = Vec<(ObjectName, Option<Token>)>;

/// What [`Kms::reconcile`] found.
#[derive(Debug, Default)]
pub struct Reconciliation {
    /// Labels of objects that no record names.
    pub orphans: Vec<String>,
    /// Labels that records name and that their tokens do not have.
    pub missing: Vec<String>,
    /// Objects that should be on another token than the one that has them.
    pub misplaced: Vec<Misplaced>,
}

/// An object on a token that should not have it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Misplaced {
    /// Its label there.
    pub object: String,
    /// The serial number of that token.
    pub token: String,
}

/// Holds what is on these tokens against the objects that should be there.
async fn reconcile(tokens: &[Token], known: &[(ObjectName, Option<Token>)]) -> Reconciliation {
    let mut reconciled = Reconciliation::default();
    let mut found = HashSet::new();
    let mut asked = HashSet::new();
    for token in tokens {
        let objects = match token.objects(deadline()).await {
            Ok(objects) => objects.ours,
            Err(error) => {
                tracing::warn!(%error, ?token, "what is on a token is not known");
                continue;
            }
        };
        let serial = &token.identity().serial;
        asked.insert(serial.clone());
        // With whether it may be here: it may be anywhere if its own token is not known.
        let mut by_label: HashMap<String, (ObjectName, bool)> = HashMap::new();
        for (name, own) in known {
            let is_here = own.as_ref().is_none_or(|own| own.identity().serial == *serial);
            by_label.entry(token.label(name)).or_insert((*name, false)).1 |= is_here;
        }
        for object in objects {
            match by_label.get(&object.label) {
                Some((name, true)) => drop(found.insert((*name, serial.clone()))),
                Some((_, false)) => {
                    reconciled.misplaced.push(Misplaced { object: object.label, token: serial.clone() });
                }
                None => reconciled.orphans.push(object.label),
            }
        }
    }
    let is_missing = |(name, token): &&(ObjectName, Option<Token>)| {
        let serial = token.as_ref().map(|token| token.identity().serial.clone());
        serial.is_some_and(|serial| asked.contains(&serial) && !found.contains(&(*name, serial)))
    };
    let missing: BTreeSet<_> = known.iter().filter(is_missing).map(|(name, _)| name.cka_label()).collect();
    reconciled.missing = missing.into_iter().collect();
    reconciled
}

/// What the record calls the undoing of an object's creation; `None` of an intent to destroy one.
pub(super) fn undoing(intent: &IntentRecord) -> Option<&'static str> {
    match (intent.kind, intent.name.purpose) {
        (IntentKind::Create, Purpose::Imported) => Some("UndoImportKeyMaterial"),
        (IntentKind::Create, Purpose::ImportWrapping) => Some("UndoGetParametersForImport"),
        (IntentKind::Create, Purpose::Replication) => Some("UndoCreateReplicationKey"),
        (IntentKind::Create, Purpose::Kms | Purpose::MultiRegion | Purpose::StoreRoot) => Some("UndoCreateKey"),
        (IntentKind::RotateOnDemand | IntentKind::RotateAutomatically, _) => Some("UndoRotateKey"),
        (IntentKind::Destroy | IntentKind::DestroyExpired | IntentKind::DestroyReplaced, _) => None,
    }
}

/// Whether the deletion date of a key has come.
pub(super) fn is_due(key: &KeyRecord, now: Timestamp) -> bool {
    key.state == KeyState::PendingDeletion && key.deletion_date.is_some_and(|date| date <= now)
}

fn labels(key: &KeyRecord) -> Vec<String> {
    key.objects().iter().map(ObjectName::cka_label).collect()
}

/// Who owns an intent that is being undone.
const NOBODY: &str = "";
/// How long a failed request waits until what it made is gone.
const WITHDRAWAL_TIME: Duration = Duration::from_secs(5);

/// Nobody waits for the answer.
pub(super) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
