//! The connections of custom key stores: made, kept and closed in the background, as the store's records want it.
//!
//! A record says what is wanted; nothing here waits for a token on behalf of a request, but for the answer of a call. A
//! task per custom key store opens or closes its token, one at a time, until that is as the record wants it. What came of
//! an attempt is recorded where somebody asked for it (`CONNECTING`), or where only somebody can mend it: a password that
//! was refused is never tried again, not by the next start either, nor when it is set once more after another one. Before
//! a password is given to a token that is written down, and when it was taken, that. After a crash in between, or a login
//! that told no outcome, the token itself has to say that it has refused none. Another outage of a custom key store that was connected is waited for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;

use super::TrustAnchor;
use crate::crash_point;
use crate::crypto;
use crate::kms::{CommitError, End, Error, KeyStore, Kms, Seat};
use crate::model::{AccountId, ClusterId, ConnectionError, ConnectionState, CustomKeyStoreId};
use crate::store::{Change, Connection, CustomKeyStoreRecord, PasswordStanding, Row};
use crate::token::{self, Login, Status, Token, TokenEntry};

/// A token for a custom key store, as the settings name it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Which token.
    pub token: token::Settings,
    /// Whose custom key stores may be on it.
    pub accounts: Vec<AccountId>,
    /// Whether custom key stores on it do no more than AWS's.
    pub aws_limits: bool,
    /// The certificate that a custom key store must be created with; any, if none is given.
    pub trust_anchor: Option<TrustAnchor>,
}

/// The clusters, and the connections of the custom key stores on them.
pub struct CustomKeyStores {
    clusters: BTreeMap<ClusterId, Cluster>,
    links: RwLock<Links>,
}

#[derive(Default)]
struct Links {
    by_id: HashMap<CustomKeyStoreId, Link>,
    /// The service is ending: nothing is opened any more.
    ended: bool,
}

/// How a custom key store is connected now; one that is not has none.
enum Link {
    /// Its token is being opened or closed.
    Busy,
    /// It is connected.
    Open(Token),
    /// Its token could not be opened, and is tried again later.
    Waiting { until: Instant, pause: Duration },
}

/// Whether a token that was opened is used.
enum Use {
    Begun,
    /// Nobody wants it any more.
    Unwanted,
    /// A Region has it.
    Elsewhere,
}

/// What to do next, and only by whoever was told.
enum Step {
    Open(Arc<Row<CustomKeyStoreRecord>>, Duration),
    /// It is connected, and the record does not say so yet.
    Record(Arc<Row<CustomKeyStoreRecord>>, Token),
    /// The token took the password once, and does no more.
    Refused(Arc<Row<CustomKeyStoreRecord>>, Token, ConnectionError),
    Close(Token),
}

impl CustomKeyStores {
    /// Custom key stores on these clusters; none is connected yet.
    pub fn new(clusters: BTreeMap<ClusterId, Cluster>) -> Self {
        CustomKeyStores { clusters, links: RwLock::default() }
    }

    /// The cluster that the settings name so.
    pub fn cluster(&self, id: &ClusterId) -> Option<&Cluster> {
        self.clusters.get(id)
    }

    /// The same if the custom key stores of this account may be on it.
    pub fn cluster_for(&self, account: &AccountId, id: &ClusterId) -> Option<&Cluster> {
        self.cluster(id).filter(|cluster| cluster.accounts.contains(account))
    }

    /// Whether the settings give two clusters the same trust anchor.
    pub fn are_related(&self, one: &ClusterId, other: &ClusterId) -> bool {
        let trust_anchor = |id: &ClusterId| self.clusters.get(id).and_then(|cluster| cluster.trust_anchor.as_ref());
        trust_anchor(one).is_some_and(|own| trust_anchor(other) == Some(own))
    }

    /// The token of a custom key store that is connected.
    fn token(&self, id: &CustomKeyStoreId) -> Option<Token> {
        match self.links.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id) {
            Some(Link::Open(token)) => Some(token.clone()),
            _ => None,
        }
    }

    /// Whether its token is open, or being opened or closed.
    fn is_linked(&self, id: &CustomKeyStoreId) -> bool {
        matches!(
            self.links.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id),
            Some(Link::Busy | Link::Open(_))
        )
    }

    fn links(&self) -> RwLockWriteGuard<'_, Links> {
        self.links.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: &CustomKeyStoreId, link: Option<Link>) {
        let mut links = self.links();
        match link {
            Some(link) => links.by_id.insert(id.clone(), link),
            None => links.by_id.remove(id),
        };
    }
}

impl Kms {
    /// The token of a custom key store that is connected; `None` while it is not.
    pub fn custom_token(&self, id: &CustomKeyStoreId) -> Option<Token> {
        self.custom_key_stores.token(id)
    }

    /// Whether the keys of a custom key store can be used: it is connected, and its token can be reached.
    pub fn is_available(&self, id: &CustomKeyStoreId) -> bool {
        let reachable = |token: Token| matches!(token.status(), Status::Ready | Status::Recovering(_));
        self.custom_token(id).is_some_and(reachable)
    }

    /// The connection of a custom key store, as callers see it.
    pub fn connection_state(&self, record: &CustomKeyStoreRecord) -> ConnectionState {
        match record.connection {
            Connection::Disconnected if self.custom_key_stores.is_linked(&record.id) => ConnectionState::Disconnecting,
            Connection::Disconnected => ConnectionState::Disconnected,
            Connection::Connecting => ConnectionState::Connecting,
            Connection::Connected => ConnectionState::Connected,
            Connection::Failed(_) => ConnectionState::Failed,
        }
    }

    /// Begins a run, in which what was connected will be connected again. What was being connected when the last run
    /// ended, by a password that was never proven, is not tried again: it may have been refused already.
    pub async fn resume_custom_key_stores(&self) -> Result<(), Error> {
        for row in self.store.custom_key_stores() {
            let unclear = row.record.connection == Connection::Connecting;
            if unclear && row.record.standing == PasswordStanding::Unproven {
                let mut record = row.record.clone();
                record.connection = Connection::Failed(ConnectionError::InternalError);
                self.commit_connection(&row, record).await?;
            }
        }
        Ok(())
    }

    /// Has every custom key store be connected or not as its record wants it, in the background; to be called every
    /// second.
    pub fn tend_custom_key_stores(self: &Arc<Self>) {
        let linked: Vec<_> = self.custom_key_stores.links().by_id.keys().cloned().collect();
        let recorded = self.store.custom_key_stores().into_iter().map(|row| row.record.id.clone());
        for id in linked.into_iter().chain(recorded) {
            self.tend_custom_key_store(&id);
        }
    }

    /// Has one be connected or not as its record wants it, in the background.
    pub fn tend_custom_key_store(self: &Arc<Self>, id: &CustomKeyStoreId) {
        if let Some(step) = self.next_step(id) {
            tokio::spawn(self.clone().tend(id.clone(), step));
        }
    }

    /// Ends all connections; false if a call into a token did not come back within `patience`.
    pub async fn end_custom_key_stores(self: &Arc<Self>, patience: Duration) -> bool {
        self.custom_key_stores.links().ended = true;
        self.tend_custom_key_stores();
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.custom_key_stores.links().by_id.is_empty() {
                return true;
            }
            tokio::time::sleep(TICK).await;
        }
        false
    }

    /// Decides what is to be done, and takes it on. The record is read while nobody else decides.
    fn next_step(&self, id: &CustomKeyStoreId) -> Option<Step> {
        let mut links = self.custom_key_stores.links();
        let row = self.store.custom_key_stores().into_iter().find(|row| row.record.id == *id);
        let row = row.filter(|row| row.record.connection.is_wanted() && !links.ended);
        let step = match (links.by_id.remove(id), row) {
            (Some(Link::Busy), _) => None,
            (Some(Link::Open(token)), None) => Some(Step::Close(token)),
            (Some(Link::Open(token)), Some(row)) => match lost(&token) {
                Some(why) => Some(Step::Refused(row, token, why)),
                None => {
                    links.by_id.insert(id.clone(), Link::Open(token.clone()));
                    let unrecorded = row.record.connection == Connection::Connecting;
                    return unrecorded.then_some(Step::Record(row, token));
                }
            },
            (Some(Link::Waiting { until, pause }), Some(_)) if until > Instant::now() => {
                links.by_id.insert(id.clone(), Link::Waiting { until, pause });
                return None;
            }
            (Some(Link::Waiting { pause, .. }), Some(row)) => Some(Step::Open(row, pause)),
            (None, Some(row)) => Some(Step::Open(row, Duration::ZERO)),
            (Some(Link::Waiting { .. }) | None, None) => return None,
        };
        links.by_id.insert(id.clone(), Link::Busy);
        step
    }

    async fn tend(self: Arc<Self>, id: CustomKeyStoreId, first: Step) {
        let mut next = Some(first);
        while let Some(step) = next {
            match step {
                Step::Open(row, pause) => match self.open(&row, pause).await {
                    Ok(token) => self.put_to_use(&row, token, pause).await,
                    Err(link) => self.custom_key_stores.settle(&id, link),
                },
                // Once: if it fails, the next round tries again.
                Step::Record(row, token) => return self.succeeded(&row, &token).await,
                Step::Refused(row, token, why) => {
                    self.failed(&row, why, why == ConnectionError::InvalidCredentials).await;
                    close(token).await;
                    self.custom_key_stores.settle(&id, None);
                }
                Step::Close(token) => {
                    close(token).await;
                    crash_point::reached("custom-key-store-closed");
                    self.custom_key_stores.settle(&id, None);
                }
            }
            next = self.next_step(&id);
        }
    }

    /// Uses a token that was opened, or closes it.
    async fn put_to_use(self: &Arc<Self>, row: &Row<CustomKeyStoreRecord>, token: Token, pause: Duration) {
        let (id, cluster) = (&row.record.id, &row.record.cluster);
        let link = match self.begin_use(&row.record, &token) {
            Use::Begun => {
                tracing::info!(store = %id, %cluster, "a custom key store is connected");
                self.succeeded(row, &token).await;
                return self.clone().reconcile_soon(id);
            }
            Use::Unwanted => {
                self.succeeded(row, &token).await;
                None
            }
            Use::Elsewhere => {
                tracing::error!(store = %id, ?token, "the settings name the token of a cluster elsewhere, too");
                self.failed(row, ConnectionError::InternalError, false).await.then(|| waiting(pause))
            }
        };
        close(token).await;
        self.custom_key_stores.settle(id, link);
    }

    /// Has a token be used from now on, before anybody is told: who reads that it is connected may use it. Not one of which
    /// somebody was told, while it was opened, that it is disconnected.
    fn begin_use(&self, tried: &CustomKeyStoreRecord, token: &Token) -> Use {
        let mut links = self.custom_key_stores.links();
        let row = self.store.custom_key_store(&tried.region, &tried.account, &tried.id);
        if self.tokens().iter().any(|other| other.identity() == token.identity()) {
            return Use::Elsewhere;
        }
        if links.ended || row.is_none_or(|row| !row.record.connection.is_wanted()) {
            return Use::Unwanted;
        }
        links.by_id.insert(tried.id.clone(), Link::Open(token.clone()));
        Use::Begun
    }

    /// Gives the token of Regions its place, unless a custom key store is connected to it: the settings must name every
    /// token once. Gives the cluster then.
    pub fn take_seat(&self, seat: &Seat, token: Token) -> Result<(), ClusterId> {
        let links = self.custom_key_stores.links();
        let has_it = |row: &Arc<Row<CustomKeyStoreRecord>>| match links.by_id.get(&row.record.id) {
            Some(Link::Open(other)) => other.identity() == token.identity(),
            _ => false,
        };
        match self.store.custom_key_stores().iter().find(|row| has_it(row)) {
            Some(row) => Err(row.record.cluster.clone()),
            None => {
                seat.take(token);
                Ok(())
            }
        }
    }

    /// Opens the token of a custom key store once; what becomes of the connection if that fails. `pause` is how long was
    /// waited for it before.
    async fn open(
        self: &Arc<Self>,
        row: &Arc<Row<CustomKeyStoreRecord>>,
        pause: Duration,
    ) -> Result<Token, Option<Link>> {
        let record = &row.record;
        if record.standing == PasswordStanding::Refused {
            self.failed(row, ConnectionError::InvalidCredentials, true).await;
            return Err(None);
        }
        let Some(cluster) = self.custom_key_stores.cluster_for(&record.account, &record.cluster) else {
            tracing::error!(
                cluster = %record.cluster, store = %record.id, account = %record.account,
                "the settings name no such cluster for the account"
            );
            return Err(self.failed(row, ConnectionError::ClusterNotFound, false).await.then(|| waiting(pause)));
        };
        let (mut settings, password) = (cluster.token.clone(), SecretString::from(record.password.as_str()));
        let witness = self.witness(row);
        // Another token in its place, which has the same label, is none of ours.
        settings.serial = record.serial.clone().or(settings.serial);
        let id = record.id.clone();
        let mut opening = tokio::task::spawn_blocking(move || {
            Token::connect(&settings, &password, witness, move || {
                tracing::error!(store = %id, "every call into the token of a custom key store hangs; restart the service");
            })
        });
        let opened = match tokio::time::timeout(OPEN_TIME, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => {
                // It may come back yet, and nobody else may log in until it does.
                self.failed(row, ConnectionError::NetworkErrors, false).await;
                opening.await
            }
        };
        crash_point::reached("custom-key-store-opened");
        let opened = opened.unwrap_or_else(|error| Err(token::Error::System(error.to_string())));
        match opened {
            Ok(token) => Ok(token),
            Err(error) => {
                tracing::warn!(store = %record.id, cluster = %record.cluster, %error, "a custom key store is not connected");
                let refused = matches!(error, token::Error::PinIncorrect);
                Err(self.failed(row, connection_error(&error), refused).await.then(|| waiting(pause)))
            }
        }
    }

    /// Who writes down, before the token hears of it, that the password is given to it.
    fn witness(
        self: &Arc<Self>,
        row: &Arc<Row<CustomKeyStoreRecord>>,
    ) -> impl Fn(&TokenEntry, Login) -> Result<(), token::Error> + Send + Sync + 'static {
        // Of the service, not a share in it: it has the token.
        let (kms, tried, runtime) = (Arc::downgrade(self), row.clone(), tokio::runtime::Handle::current());
        let untold =
            |why| token::Error::Unavailable(format!("a login could not be written down, and was not made: {why}"));
        move |entry, login| {
            let kms = kms.upgrade().ok_or_else(|| untold("the service has ended".to_owned()))?;
            let row = kms.as_tried(&tried.record).map_err(|error| untold(error.to_string()))?;
            if login == Login::Begins && row.record.is_unclear() {
                entry.check_unclear()?;
            }
            runtime.block_on(kms.note_login(&tried.record, login)).map_err(|error| untold(error.to_string()))
        }
    }

    async fn note_login(&self, tried: &CustomKeyStoreRecord, login: Login) -> Result<(), Error> {
        let CustomKeyStoreRecord { region, account, id, cluster, .. } = tried;
        loop {
            let row = self.as_tried(tried)?;
            let mut record = row.record.clone();
            let phase = match login {
                Login::Begins => {
                    record.begin_try();
                    "begun"
                }
                Login::Taken => {
                    record.end_try();
                    "ended"
                }
                // Written down with what it means for the connection.
                Login::Refused => return Ok(()),
            };
            let details = json!({ "customKeyStoreId": id, "clusterId": cluster, "phase": phase });
            let (event_id, event) = self.act("CustomKeyStoreLogin", region, account, details);
            match self.commit_and_copy(Change::new(self.now()).update(&row, record), &event_id, event).await {
                Err(CommitError::Conflict) => {}
                other => {
                    crash_point::reached("custom-key-store-tried");
                    return Ok(other?);
                }
            }
        }
    }

    /// The custom key store as it is now, if it is still on the same cluster by the same password.
    fn as_tried(&self, tried: &CustomKeyStoreRecord) -> Result<Arc<Row<CustomKeyStoreRecord>>, Error> {
        let CustomKeyStoreRecord { region, account, id, cluster, password, .. } = tried;
        let is_same = |row: &Arc<Row<CustomKeyStoreRecord>>| {
            row.record.cluster == *cluster && crypto::equal(row.record.password.as_bytes(), password.as_bytes())
        };
        let row = self.store.custom_key_store(region, account, id).filter(is_same);
        row.ok_or_else(|| Error::Internal(format!("custom key store {id} is another one by now")))
    }

    async fn succeeded(&self, tried: &Row<CustomKeyStoreRecord>, token: &Token) {
        self.conclude(tried, |record| {
            record.standing = PasswordStanding::Proven;
            record.serial.get_or_insert_with(|| token.identity().serial.clone());
            if record.connection == Connection::Connecting {
                record.connection = Connection::Connected;
            }
        })
        .await;
    }

    /// Records a failure that somebody waits for, or that only somebody can mend, and whether the token refused the password;
    /// true of one that is tried again.
    async fn failed(&self, tried: &Row<CustomKeyStoreRecord>, why: ConnectionError, refused: bool) -> bool {
        let for_good = match why {
            // Else the password was not tried, and may be one day.
            ConnectionError::InvalidCredentials => refused,
            ConnectionError::UserLockedOut | ConnectionError::UserNotFound => true,
            _ => false,
        };
        self.conclude(tried, |record| {
            if refused {
                record.refuse();
            }
            if record.connection == Connection::Connecting || (record.connection == Connection::Connected && for_good) {
                record.connection = Connection::Failed(why);
            }
        })
        .await
    }

    /// Writes down what came of an attempt, unless the custom key store is another one by now. True if it is still wanted.
    async fn conclude(&self, tried: &Row<CustomKeyStoreRecord>, change: impl Fn(&mut CustomKeyStoreRecord)) -> bool {
        let CustomKeyStoreRecord { region, account, id, password, .. } = &tried.record;
        loop {
            let Some(row) = self.store.custom_key_store(region, account, id) else { return false };
            let mut record = row.record.clone();
            change(&mut record);
            let is_same = crypto::equal(row.record.password.as_bytes(), password.as_bytes());
            if !is_same || row.record.cluster != tried.record.cluster {
                // Of another password nothing is known, nor of the same one elsewhere.
                record.standing = row.record.standing;
                record.serial.clone_from(&row.record.serial);
                record.tries.clone_from(&row.record.tries);
            }
            let wanted = record.connection.is_wanted();
            if record == row.record {
                return wanted;
            }
            match self.commit_connection(&row, record).await {
                Ok(()) => return wanted,
                Err(CommitError::Conflict) => {}
                Err(CommitError::Failed(error)) => {
                    tracing::error!(%error, store = %id, "what came of a connection could not be recorded; trying again");
                    return true;
                }
            }
        }
    }

    async fn commit_connection(
        &self,
        row: &Row<CustomKeyStoreRecord>,
        record: CustomKeyStoreRecord,
    ) -> Result<(), CommitError> {
        let mut details = json!({
            "customKeyStoreId": record.id,
            "customKeyStoreName": record.name,
            "clusterId": record.cluster,
            "connectionState": self.connection_state(&record),
        });
        if let Connection::Failed(why) = record.connection {
            details["connectionErrorCode"] = json!(why);
        }
        let (event_id, event) = self.act(CONNECTION, &record.region, &record.account, details);
        self.commit_and_copy(Change::new(self.now()).update(row, record), &event_id, event).await
    }

    /// Finishes in the background what an earlier run left half done, and looks for objects that no record names and for
    /// those that are missing.
    fn reconcile_soon(self: Arc<Self>, id: &CustomKeyStoreId) {
        let id = id.clone();
        tokio::spawn(async move {
            let key_store = KeyStore::Custom(id.clone());
            self.undo_others_creations(&key_store).await;
            self.finish_destructions(&key_store, End::Destroyed).await;
            self.finish_removals(&key_store, End::Destroyed).await;
            if let Err(error) = self.reconcile_custom_key_store(&id).await {
                tracing::error!(%error, store = %id, "what is on the token could not be held against the store");
            }
        });
    }
}

/// Why a token that was connected is of no more use, if only a human can mend it.
fn lost(token: &Token) -> Option<ConnectionError> {
    match token.status() {
        Status::PinRefused => Some(ConnectionError::InvalidCredentials),
        Status::PinLocked => Some(ConnectionError::UserLockedOut),
        Status::Ready | Status::Recovering(_) | Status::Unavailable(_) | Status::Stopped => None,
    }
}

/// What the caller of DescribeCustomKeyStores is told of a token that could not be opened.
fn connection_error(error: &token::Error) -> ConnectionError {
    match error {
        token::Error::PinIncorrect | token::Error::PinShape { .. } | token::Error::PinUnclear { .. } => {
            ConnectionError::InvalidCredentials
        }
        token::Error::PinLocked => ConnectionError::UserLockedOut,
        token::Error::PinNotSet { .. } => ConnectionError::UserNotFound,
        token::Error::LoggedIn { .. } => ConnectionError::UserLoggedIn,
        token::Error::TokenMissing { .. } => ConnectionError::ClusterNotFound,
        token::Error::Unavailable(_) | token::Error::DeadlineExceeded => ConnectionError::NetworkErrors,
        _ => ConnectionError::InternalError,
    }
}

async fn close(token: Token) {
    let label = token.identity().label.clone();
    let closed = tokio::task::spawn_blocking(move || token.shutdown(CLOSE_TIME)).await;
    if !matches!(closed, Ok(true)) {
        tracing::warn!(label, "a call into the token of a custom key store did not come back");
    }
}

fn waiting(pause: Duration) -> Link {
    let pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
    Link::Waiting { until: Instant::now() + pause, pause }
}

/// What the record calls what the service did by itself.
const CONNECTION: &str = "CustomKeyStoreConnection";
/// After which a connection that is being made counts as failed.
const OPEN_TIME: Duration = Duration::from_secs(60);
/// Patience with calls under way when a token is closed.
const CLOSE_TIME: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);
