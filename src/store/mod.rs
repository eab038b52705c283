//! The records of the service, sealed row by row and complete as a whole, in a database that is not trusted.
//!
//! After opening, the index in memory is the authority: reads never touch the database, and every change is compared
//! and swapped there first, then made in the database together with the sealed root over all rows.

mod backend;
mod change;
mod custom_key_stores;
mod embedded;
mod error;
mod grants;
mod index;
mod material;
mod meta;
mod password_tries;
mod principals;
mod record;
mod region_tokens;
mod replication;
mod root;
mod seal;
mod usage;
mod wrapping_keys;
mod wraps;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Mutex;
use tracing::error;

use crate::model::{
    AccountId, AliasName, CustomKeyStoreId, EncryptionContext, FriendlyName, GrantOperation, KeyId, ObjectName, Region,
    Secret, Timestamp,
};

pub use backend::{After, Answer, Backend, Batch, Ends, Fingerprint, LooseRow, RawRow, RootRow, RowChange, Visit};
pub use change::Change;
pub use custom_key_stores::{Connection, CustomKeyStoreRecord, PasswordStanding};
pub use embedded::Embedded;
pub use error::Error;
pub use grants::{GrantConstraints, GrantRecord};
pub use material::{AutomaticRotation, Import, ImportedObject, Material, Rotation, Transfer};
pub use meta::Meta;
pub use password_tries::{PasswordTries, TokenTriesRecord};
pub use principals::{AccountRecord, PolicyRecord, PrincipalKind, PrincipalRecord, RoleDetails};
pub use record::{AccessKeyRecord, AliasRecord, IntentKind, IntentRecord, KeyRecord, OutboxRecord, Record, Row};
pub use region_tokens::RegionTokenRecord;
pub use replication::{PairedToken, PairingRecord, ReplicationKeyRecord};
pub use usage::{AccessKeyUsage, Usage};
pub use wrapping_keys::WrappingKeyRecord;
pub use wraps::{RunsRecord, WrapCountRecord};

use index::Index;
use root::Root;
use seal::Keys;
use usage::{LastUse, Usages};

/// The format that this version writes, and the highest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// An open store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    backend: Arc<dyn Backend>,
    keys: Keys,
    meta: Vec<u8>,
    index: RwLock<Index>,
    usages: Usages<Usage>,
    access_key_usages: Usages<AccessKeyUsage>,
    /// Held by whoever writes or compares with the database: one at a time.
    head: Mutex<Head>,
    /// Of the last commit, for readers that must not wait for a writer.
    latest: RwLock<Latest>,
    store_id: KeyId,
    tampered: OnceLock<String>,
    poisoned: OnceLock<String>,
}

/// The root as it is in the database.
struct Head {
    root: Root,
    row: RootRow,
}

#[derive(Clone, Copy)]
struct Latest {
    epoch: u64,
    highest_time: Timestamp,
}

impl Store {
    /// Creates an empty store in the new database file `path` and opens it. `store_key` is 32 bytes, the ones that
    /// `meta.wrapped_key` holds wrapped.
    ///
    /// Fails with [`Error::Exists`] if the file exists.
    pub async fn create(path: &Path, meta: &Meta, store_key: &Secret) -> Result<Self, Error> {
        let (meta, root) = first_rows(meta, &Keys::new(store_key)?)?;
        Embedded::create(path, &meta, &root).await?;
        Store::open(path, store_key).await
    }

    /// What the database file `path` says about the token that opens it; `None` if there is no such file.
    ///
    /// Not to be trusted before the store is open: only then is it compared with the root.
    pub async fn read_meta(path: &Path) -> Result<Option<Meta>, Error> {
        Embedded::read_meta(path).await?.map(|bytes| Meta::from_bytes(&bytes)).transpose()
    }

    /// Opens the database file `path`: reads every row and refuses the store if they are not exactly what the root
    /// says.
    ///
    /// An older state of the whole store opens: hold [`Store::epoch`] against an epoch that is kept elsewhere.
    pub async fn open(path: &Path, store_key: &Secret) -> Result<Self, Error> {
        Store::open_on(Arc::new(Embedded::open(path).await?), store_key).await
    }

    /// Opens the store in any database, like [`Store::open`].
    pub async fn open_on(backend: Arc<dyn Backend>, store_key: &Secret) -> Result<Self, Error> {
        let keys = Keys::new(store_key)?;
        let loose = backend.loose().await?;
        let (index, head, meta) = read_all(backend.as_ref(), &keys).await?;
        let (usages, access_key_usages) = (Usages::load(&keys, &loose), Usages::load(&keys, &loose));
        Ok(Store(Arc::new(Shared {
            backend,
            keys,
            meta,
            index: RwLock::new(index),
            usages,
            access_key_usages,
            latest: RwLock::new(Latest::of(&head.root)),
            store_id: head.root.store_id,
            head: Mutex::new(head),
            tampered: OnceLock::new(),
            poisoned: OnceLock::new(),
        })))
    }

    /// Makes a change: durable, and visible to every read that begins later, before this returns the new epoch.
    ///
    /// [`Error::Conflict`] if a row is not as it was read; [`Error::Full`] without room. Once begun, the change goes on
    /// even if the future is dropped.
    pub async fn commit(&self, change: Change) -> Result<u64, Error> {
        self.detached(|shared| async move { shared.commit(change).await }).await
    }

    /// Looks whether anyone else wrote to the database, and if so, whether every row is still what it must be. Cheap
    /// if no one did; to be called every second.
    pub async fn check(&self) -> Result<(), Error> {
        self.detached(|shared| async move { shared.check(&*shared.head.lock().await).await }).await
    }

    /// Holds every row of the database against memory; changes wait meanwhile.
    pub async fn scrub(&self) -> Result<(), Error> {
        self.detached(|shared| async move { shared.compare(&*shared.head.lock().await).await }).await
    }

    /// Whether anything may still be decided by this store; costs nanoseconds, to be asked in every request.
    ///
    /// Fails with [`Error::Tampered`] or [`Error::Poisoned`] for ever once it has.
    pub fn guard(&self) -> Result<(), Error> {
        self.0.guard()
    }

    /// What was tampered with, once that was seen.
    pub fn tampered(&self) -> Option<String> {
        self.0.tampered.get().cloned()
    }

    /// The number of the last transaction.
    pub fn epoch(&self) -> u64 {
        self.0.latest().epoch
    }

    /// The highest time that a change ever brought.
    pub fn highest_time(&self) -> Timestamp {
        self.0.latest().highest_time
    }

    /// The id of the store.
    pub fn store_id(&self) -> KeyId {
        self.0.store_id
    }

    /// The key with this id.
    pub fn key(&self, region: &Region, key_id: &KeyId) -> Option<Arc<Row<KeyRecord>>> {
        self.0.index().table::<KeyRecord>().find(&record::key_row(region, key_id))
    }

    /// At most `limit` keys of an account, by id, behind the id `after`.
    pub fn keys_of(
        &self,
        region: &Region,
        account: &AccountId,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Vec<Arc<Row<KeyRecord>>> {
        self.0.index().keys_of(region, account, after, limit)
    }

    /// The primary key and the replicas that are one multi-Region key, by Region.
    pub fn multi_region(&self, key_id: &KeyId) -> Vec<Arc<Row<KeyRecord>>> {
        self.0.index().multi_region(key_id)
    }

    /// The token that has the keys of a Region, if it ever had one.
    pub fn region_token(&self, region: &Region) -> Option<Arc<Row<RegionTokenRecord>>> {
        self.0.index().table::<RegionTokenRecord>().find(region.as_str())
    }

    /// The PINs that were given to the token with this serial number and not taken; `None` if none ever was given to it.
    pub fn token_tries(&self, serial: &str) -> Option<Arc<Row<TokenTriesRecord>>> {
        self.0.index().table::<TokenTriesRecord>().find(serial)
    }

    /// The tokens of all Regions.
    pub fn region_tokens(&self) -> Vec<Arc<Row<RegionTokenRecord>>> {
        self.0.index().table::<RegionTokenRecord>().all()
    }

    /// The replication key of the token with this serial number.
    pub fn replication_key(&self, serial: &str) -> Option<Arc<Row<ReplicationKeyRecord>>> {
        self.0.index().table::<ReplicationKeyRecord>().find(serial)
    }

    /// The replication keys of all tokens.
    pub fn replication_keys(&self) -> Vec<Arc<Row<ReplicationKeyRecord>>> {
        self.0.index().table::<ReplicationKeyRecord>().all()
    }

    /// The pairing of two tokens, by their serial numbers in whichever order.
    pub fn pairing(&self, serials: [&str; 2]) -> Option<Arc<Row<PairingRecord>>> {
        self.0.index().table::<PairingRecord>().find(&replication::pairing_row(serials))
    }

    /// All pairings of tokens.
    pub fn pairings(&self) -> Vec<Arc<Row<PairingRecord>>> {
        self.0.index().table::<PairingRecord>().all()
    }

    /// All keys, by Region and id.
    pub fn all_keys(&self) -> Vec<Arc<Row<KeyRecord>>> {
        self.0.index().table::<KeyRecord>().all()
    }

    /// The alias with this name.
    pub fn alias(&self, region: &Region, account: &AccountId, name: &AliasName) -> Option<Arc<Row<AliasRecord>>> {
        self.0.index().table::<AliasRecord>().find(&record::alias_row(region, account, name))
    }

    /// At most `limit` aliases of an account, by name, behind the name `after`.
    pub fn aliases_of(
        &self,
        region: &Region,
        account: &AccountId,
        after: Option<&AliasName>,
        limit: usize,
    ) -> Vec<Arc<Row<AliasRecord>>> {
        self.0.index().aliases_of(region, account, after, limit)
    }

    /// The aliases of a key, by name.
    pub fn aliases_of_key(&self, region: &Region, key_id: &KeyId) -> Vec<Arc<Row<AliasRecord>>> {
        self.0.index().aliases_of_key(region, key_id)
    }

    /// The access key with this id.
    pub fn access_key(&self, access_key_id: &str) -> Option<Arc<Row<AccessKeyRecord>>> {
        self.0.index().table::<AccessKeyRecord>().find(access_key_id)
    }

    /// All access keys, by id.
    pub fn access_keys(&self) -> Vec<Arc<Row<AccessKeyRecord>>> {
        self.0.index().table::<AccessKeyRecord>().all()
    }

    /// The access keys of the principal with this unique id, by id; of a root user, its account's id.
    pub fn access_keys_of(&self, user_id: &str) -> Vec<Arc<Row<AccessKeyRecord>>> {
        self.0.index().access_keys_of(user_id)
    }

    /// The account with this id.
    pub fn account(&self, account: &AccountId) -> Option<Arc<Row<AccountRecord>>> {
        self.0.index().table::<AccountRecord>().find(account.as_str())
    }

    /// All accounts, by id.
    pub fn accounts(&self) -> Vec<Arc<Row<AccountRecord>>> {
        self.0.index().table::<AccountRecord>().all()
    }

    /// The user or role of this name.
    pub fn principal(
        &self,
        account: &AccountId,
        kind: PrincipalKind,
        name: &FriendlyName,
    ) -> Option<Arc<Row<PrincipalRecord>>> {
        self.0.index().table::<PrincipalRecord>().find(&principals::principal_row(account, kind, name))
    }

    /// The user or role with this unique id.
    pub fn principal_by_id(&self, unique_id: &str) -> Option<Arc<Row<PrincipalRecord>>> {
        self.0.index().principal_by_id(unique_id)
    }

    /// All users or roles of an account, by name.
    pub fn principals_of(&self, account: &AccountId, kind: PrincipalKind) -> Vec<Arc<Row<PrincipalRecord>>> {
        let prefix = principals::principals_of(account, kind);
        self.0.index().table::<PrincipalRecord>().beginning_with(&prefix, None, usize::MAX)
    }

    /// The policy of this name that users and roles of an account share.
    pub fn policy(&self, account: &AccountId, name: &FriendlyName) -> Option<Arc<Row<PolicyRecord>>> {
        self.0.index().table::<PolicyRecord>().find(&principals::policy_row(account, name))
    }

    /// All policies that users and roles of an account share, by name.
    pub fn policies_of(&self, account: &AccountId) -> Vec<Arc<Row<PolicyRecord>>> {
        let prefix = format!("{account}/");
        self.0.index().table::<PolicyRecord>().beginning_with(&prefix, None, usize::MAX)
    }

    /// The grant with this id.
    pub fn grant(&self, region: &Region, key_id: &KeyId, grant_id: &str) -> Option<Arc<Row<GrantRecord>>> {
        self.0.index().table::<GrantRecord>().find(&grants::grant_row(region, key_id, grant_id))
    }

    /// At most `limit` grants on a key, by id, behind the id `after`.
    pub fn grants_on(
        &self,
        region: &Region,
        key_id: &KeyId,
        after: Option<&String>,
        limit: usize,
    ) -> Vec<Arc<Row<GrantRecord>>> {
        self.0.index().grants_on(region, key_id, after, limit)
    }

    /// How many grants a key has.
    pub fn count_grants(&self, region: &Region, key_id: &KeyId) -> usize {
        self.0.index().count_grants(region, key_id)
    }

    /// The grant that a creation of `grant` would make once more: see [`GrantRecord::is_twin_of`].
    pub fn twin_of(&self, grant: &GrantRecord) -> Option<Arc<Row<GrantRecord>>> {
        self.0.index().twin_of(grant).cloned()
    }

    /// At most `limit` grants in a Region that this principal, an ARN, may retire, behind the primary key `after`.
    pub fn grants_retired_by(
        &self,
        region: &Region,
        principal: &str,
        after: Option<&String>,
        limit: usize,
    ) -> Vec<Arc<Row<GrantRecord>>> {
        self.0.index().grants_retired_by(region, principal, after, limit)
    }

    /// A grant on a key to this grantee, an ARN, that permits `operation` and is `wanted`. With a `context`, only one whose
    /// demands on the encryption context it may keep: the caller checks them whole.
    ///
    /// Ten thousand other grants cost no more than a few steps.
    pub fn grant_for(
        &self,
        (region, key_id): (&Region, &KeyId),
        grantee: &str,
        operation: GrantOperation,
        context: Option<&EncryptionContext>,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let index = self.0.index();
        let grants = index.grants_to(region, key_id, grantee)?;
        match context {
            Some(context) => grants.find(operation, context, wanted),
            None => grants.find_any(operation, wanted),
        }
    }

    /// The wrapping key with this id that was given out for this KMS key.
    pub fn wrapping_key(
        &self,
        region: &Region,
        key_id: &KeyId,
        wrapping_key_id: &KeyId,
    ) -> Option<Arc<Row<WrappingKeyRecord>>> {
        let primary_key = wrapping_keys::wrapping_key_row(region, key_id, wrapping_key_id);
        self.0.index().table::<WrappingKeyRecord>().find(&primary_key)
    }

    /// The wrapping keys that were given out for a KMS key, by id.
    pub fn wrapping_keys_of(&self, region: &Region, key_id: &KeyId) -> Vec<Arc<Row<WrappingKeyRecord>>> {
        let prefix = wrapping_keys::wrapping_keys_of(region, key_id);
        self.0.index().table::<WrappingKeyRecord>().beginning_with(&prefix, None, usize::MAX)
    }

    /// All wrapping keys, by Region, KMS key and id.
    pub fn wrapping_keys(&self) -> Vec<Arc<Row<WrappingKeyRecord>>> {
        self.0.index().table::<WrappingKeyRecord>().all()
    }

    /// The custom key store with this id.
    pub fn custom_key_store(
        &self,
        region: &Region,
        account: &AccountId,
        id: &CustomKeyStoreId,
    ) -> Option<Arc<Row<CustomKeyStoreRecord>>> {
        let primary_key = custom_key_stores::custom_key_store_row(region, account, id);
        self.0.index().table::<CustomKeyStoreRecord>().find(&primary_key)
    }

    /// The custom key stores of an account in a Region, by id.
    pub fn custom_key_stores_of(&self, region: &Region, account: &AccountId) -> Vec<Arc<Row<CustomKeyStoreRecord>>> {
        let prefix = custom_key_stores::custom_key_stores_of(region, account);
        self.0.index().table::<CustomKeyStoreRecord>().beginning_with(&prefix, None, usize::MAX)
    }

    /// All custom key stores, by Region, account and id.
    pub fn custom_key_stores(&self) -> Vec<Arc<Row<CustomKeyStoreRecord>>> {
        self.0.index().table::<CustomKeyStoreRecord>().all()
    }

    /// The intent about this object.
    pub fn intent(&self, name: &ObjectName) -> Option<Arc<Row<IntentRecord>>> {
        self.0.index().table::<IntentRecord>().find(&record::intent_row(name))
    }

    /// All intents, the oldest first.
    pub fn intents(&self) -> Vec<Arc<Row<IntentRecord>>> {
        self.0.index().table::<IntentRecord>().by_revision()
    }

    /// All events that are not known to be in the audit log, the oldest first.
    pub fn outbox(&self) -> Vec<Arc<Row<OutboxRecord>>> {
        self.0.index().table::<OutboxRecord>().by_revision()
    }

    /// How often a material may have wrapped; `None` if it was never written down.
    pub fn wrap_count(&self, region: &Region, key_id: &KeyId, material: u32) -> Option<Arc<Row<WrapCountRecord>>> {
        self.0.index().table::<WrapCountRecord>().find(&wraps::wrap_count_row(region, key_id, material))
    }

    /// The counts of all materials of a key.
    pub fn wrap_counts_of(&self, region: &Region, key_id: &KeyId) -> Vec<Arc<Row<WrapCountRecord>>> {
        let prefix = format!("{}/", record::key_row(region, key_id));
        self.0.index().table::<WrapCountRecord>().beginning_with(&prefix, None, usize::MAX)
    }

    /// How often the service was started; `None` before it first was.
    pub fn runs(&self) -> Option<Arc<Row<RunsRecord>>> {
        self.0.index().table::<RunsRecord>().find(wraps::RUNS_ROW)
    }

    /// The last use of a key, as far as it is known.
    pub fn usage(&self, region: &Region, key_id: &KeyId) -> Option<Usage> {
        self.0.usages.find(&record::key_row(region, key_id))
    }

    /// Notes a use of a key in memory, unless a later one is noted.
    pub fn note_usage(&self, region: &Region, key_id: &KeyId, usage: Usage) {
        self.0.usages.note(record::key_row(region, key_id), usage);
    }

    /// The last use of an access key, as far as it is known.
    pub fn access_key_usage(&self, access_key_id: &str) -> Option<AccessKeyUsage> {
        self.0.access_key_usages.find(access_key_id)
    }

    /// Notes a use of an access key in memory, unless a later one is noted.
    pub fn note_access_key_usage(&self, access_key_id: &str, usage: AccessKeyUsage) {
        self.0.access_key_usages.note(access_key_id.to_owned(), usage);
    }

    /// Writes the uses that were noted since the last time. They are not part of what the root protects.
    pub async fn flush_usage(&self) -> Result<(), Error> {
        self.detached(|shared| async move { shared.flush_usage().await }).await
    }

    /// Waits for the change at hand and closes the database; reads go on, changes fail with [`Error::Closed`].
    pub async fn close(&self) -> Result<(), Error> {
        self.detached(|shared| async move {
            let _head = shared.head.lock().await;
            shared.backend.close().await
        })
        .await
    }

    /// Runs `work` in a task of its own, so that a dropped future cannot leave half of it undone.
    async fn detached<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        match tokio::spawn(work(self.0.clone())).await {
            Ok(result) => result,
            Err(stopped) => Err(self.0.poison(format!("a task of the store did not end: {stopped}"))),
        }
    }
}

impl Shared {
    async fn commit(&self, mut change: Change) -> Result<u64, Error> {
        let mut head = self.head.lock().await;
        self.check(&head).await?;
        let live = change.judge(&self.index())?;
        let mut plan = change.plan(&self.keys, &head.root, live)?;
        let row = plan.root.seal(&self.keys)?;
        let rows = std::mem::take(&mut plan.rows);
        let batch = Batch { believed: head.row.clone(), root: row.clone(), rows };
        self.backend.apply(batch).await.map_err(|error| self.noted(error))?;
        *head = Head { root: plan.root.clone(), row };
        self.install(plan);
        self.check(&head).await?;
        Ok(head.root.epoch)
    }

    fn install(&self, plan: change::Plan) {
        let latest = Latest::of(&plan.root);
        plan.install(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = latest;
    }

    async fn check(&self, head: &Head) -> Result<(), Error> {
        self.guard()?;
        if self.backend.changed().await.map_err(|error| self.noted(error))? {
            self.compare(head).await?;
        }
        Ok(())
    }

    async fn compare(&self, head: &Head) -> Result<(), Error> {
        self.guard()?;
        self.compare_rows(head).await.map_err(|error| self.noted(error))
    }

    async fn compare_rows(&self, head: &Head) -> Result<(), Error> {
        let mut seen = 0;
        let mut visit = |raw: RawRow| {
            seen += 1;
            match self.index().fingerprint(&raw.table, &raw.key) {
                Some(live) if live == raw.fingerprint() => Ok(()),
                Some(_) => Err(raw.refused("is not as it was written")),
                None => Err(raw.refused("was added")),
            }
        };
        let ends = self.backend.scan(&mut visit).await?;
        if ends.root != head.row {
            return Err(Error::tampered("the root row is not as it was written"));
        }
        if ends.meta != self.meta {
            return Err(Error::tampered("the meta row is not as it was written"));
        }
        // Every row visited is a live one, each is visited once: with as many as there are, none is missing.
        if seen == self.index().places().count() { Ok(()) } else { Err(self.missing().await?) }
    }

    async fn missing(&self) -> Result<Error, Error> {
        let mut seen = BTreeSet::new();
        let mut visit = |raw: RawRow| {
            seen.insert((raw.table, raw.key));
            Ok(())
        };
        self.backend.scan(&mut visit).await?;
        let index = self.index();
        let missing = index.places().find(|(table, key)| !seen.contains(&((*table).to_owned(), (*key).to_owned())));
        Ok(Error::tampered(match missing {
            Some((table, key)) => format!("the row {table} {key} is missing"),
            None => "a row was missing and came back".to_owned(),
        }))
    }

    async fn flush_usage(&self) -> Result<(), Error> {
        self.flush(&self.usages).await?;
        self.flush(&self.access_key_usages).await
    }

    async fn flush<U: LastUse>(&self, usages: &Usages<U>) -> Result<(), Error> {
        let unwritten = usages.unwritten();
        if unwritten.is_empty() {
            return Ok(());
        }
        let rows = unwritten.iter().map(|usage| usage.seal(&self.keys)).collect::<Result<_, _>>()?;
        let head = self.head.lock().await;
        self.check(&head).await?;
        self.backend.put_loose(rows).await.map_err(|error| self.noted(error))?;
        usages.written(unwritten);
        Ok(())
    }

    fn guard(&self) -> Result<(), Error> {
        if let Some(what) = self.tampered.get() {
            return Err(Error::Tampered { what: what.clone() });
        }
        match self.poisoned.get() {
            Some(why) => Err(Error::Poisoned { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Remembers what ends all decisions.
    fn noted(&self, failure: Error) -> Error {
        match failure {
            Error::Tampered { what } => {
                if self.tampered.set(what.clone()).is_ok() {
                    error!(what, "the store was tampered with");
                }
                Error::Tampered { what }
            }
            Error::Unknown { why } => self.poison(format!("a change may have been made or not: {why}")),
            other => other,
        }
    }

    fn poison(&self, why: String) -> Error {
        if self.poisoned.set(why.clone()).is_ok() {
            error!(why, "the store is stopped");
        }
        Error::Poisoned { why }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        // A panic under the write lock ends the task that held it, which poisons the store.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> Latest {
        *self.latest.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    fn of(root: &Root) -> Self {
        Latest { epoch: root.epoch, highest_time: root.highest_time }
    }
}

/// The meta and root rows of an empty store.
fn first_rows(meta: &Meta, keys: &Keys) -> Result<(Vec<u8>, RootRow), Error> {
    let bytes = meta.to_bytes();
    let root = Root::empty(meta.store_id, meta::digest(&bytes)).seal(keys)?;
    Ok((bytes, root))
}

/// Reads the whole database and holds it against its own root.
async fn read_all(backend: &dyn Backend, keys: &Keys) -> Result<(Index, Head, Vec<u8>), Error> {
    // The root first: under another store key no row opens, and of a newer version no row can be read.
    let root = Root::open(keys, &backend.ends().await?.root)?;
    let mut index = Index::default();
    let mut counted = Root::empty(root.store_id, root.meta);
    let mut visit = |raw: RawRow| {
        let digest = raw.fingerprint().digest;
        counted.add(&raw.table, &keys.member(raw.place(), &digest));
        index.admit(keys, &raw, digest)
    };
    let ends = backend.scan(&mut visit).await?;
    if Root::open(keys, &ends.root)? != root {
        return Err(Error::tampered("someone else writes while the store is opened"));
    }
    agree(&root, &counted, &ends.meta)?;
    Ok((index, Head { root, row: ends.root }, ends.meta))
}

/// Whether the root says what was counted in the rows, and binds this meta row.
fn agree(root: &Root, counted: &Root, meta: &[u8]) -> Result<(), Error> {
    if root.meta != meta::digest(meta) || Meta::from_bytes(meta)?.store_id != root.store_id {
        return Err(Error::tampered("the meta row is not the one in the root"));
    }
    let tables: BTreeSet<&String> = root.rows.keys().chain(counted.rows.keys()).collect();
    for table in tables {
        let [told, found] = [root, counted].map(|root| root.rows.get(table).copied().unwrap_or(0));
        if told != found {
            return Err(Error::tampered(format!("table {table} has {found} rows, and the root says {told}")));
        }
    }
    if root.set != counted.set {
        return Err(Error::tampered("a row is older than the root, or from elsewhere: the rows do not give the root"));
    }
    Ok(())
}
