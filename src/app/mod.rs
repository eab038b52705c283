//! Puts the service together: every concrete type, and no rule.

mod data_dir;
mod further_tokens;
mod holder;
mod housekeeping;
mod root_user;
mod token_logins;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use secrecy::SecretString;

pub use data_dir::DataDir;
use further_tokens::FurtherTokens;
use holder::Holder;
pub use housekeeping::Housekeeping;
pub use root_user::RootUser;

use crate::admin::Desk;
use crate::api::health::{self, Part, Readiness};
use crate::api::json::{self, Gate};
use crate::audit::{self, Audit, Call, Event, EventSource};
use crate::kms::custom_key_store::{Cluster, CustomKeyStores, TrustAnchor};
use crate::kms::rotation::Budgets;
use crate::kms::{End, GrantTokens, Imports, KeyPairs, KeyStores, Kms, Markers, Parts, Seat, Sessions, TrustedTime};
use crate::model::{Clock, ClusterId, KeyId, ObjectName, Purpose, Region, Secret, Timestamp};
use crate::settings::{self, ClusterSettings, FIRST_TOKEN, Settings, TokenSettings};
use crate::store::{self, Meta, Store};
use crate::token::{self, Token};
use crate::{crypto, kms};

/// The service, open and not yet listening.
pub struct App {
    kms: Arc<Kms>,
    further_tokens: FurtherTokens,
    token: Token,
    settings: Settings,
    root_user: Option<RootUser>,
    desk: Arc<Desk>,
    housekeeping: Housekeeping,
    data: DataDir,
}

/// What an operator accepts at this start, on purpose.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// The store is older than its audit log: a restore.
    pub rollback: bool,
    /// The time of day is right, though it jumped or the service was away for long.
    pub clock: bool,
    /// The serial numbers of tokens that are in the places of those that Regions had before, and have all of their keys.
    pub tokens: Vec<String>,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The data folder is in use.
    #[error("the data folder {0} is in use by another hsm-kms process; stop that one first, or use another folder")]
    Locked(PathBuf),
    /// The data folder cannot be used.
    #[error("the data folder {path} cannot be used: {source}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The record.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The store belongs to another token.
    #[error(
        "the store in {path} belongs to the token `{store_label}` (serial {store_serial}), and the settings name the \
         token `{label}` (serial {serial}): its key is not there; give the right token, or another data folder"
    )]
    OtherToken {
        /// The data folder.
        path: PathBuf,
        /// The token that the store was made with.
        store_label: String,
        /// Its serial number.
        store_serial: String,
        /// The token that is there.
        label: String,
        /// Its serial number.
        serial: String,
    },
    /// Another token is there under the name of the one that the store belongs to.
    #[error(
        "the store in {path} belongs to the token `{label}`: {source}, or, if this one has taken over everything, name it \
         by its serial number, `serial = \"{serial}\"` in `[token]`, and start once with --accept-token {serial}"
    )]
    TokenReplaced {
        /// The data folder.
        path: PathBuf,
        /// The label of the token that the store was made with.
        label: String,
        /// The serial number of the token that is there.
        serial: String,
        /// Both serial numbers.
        source: Box<token::Error>,
    },
    /// Another token is there in the place of a further one.
    #[error("{source}, or, if this one has taken over all of its keys, start once with --accept-token {serial}")]
    FurtherTokenReplaced {
        /// The serial number of the token that is there.
        serial: String,
        /// Both serial numbers.
        source: Box<token::Error>,
    },
    /// The keys of a Region are not on the token that the settings give it.
    #[error(
        "the keys of {region} are on the token with serial number {known}, and the settings give it the token `{label}`, \
         serial number {serial}; name the right token, or, if this one has taken over all of the Region's keys, start once \
         with --accept-token {serial}"
    )]
    RegionElsewhere {
        /// The Region.
        region: Region,
        /// The serial number of the token that has the keys.
        known: String,
        /// The label of the token in the settings.
        label: String,
        /// Its serial number.
        serial: String,
    },
    /// The store is older than the audit log beside it.
    #[error(
        "the store in {path} is at epoch {store} and its audit log has seen epoch {log}: it was put back to an older \
         state; if that was a restore on purpose, start once with --accept-rollback"
    )]
    RolledBack {
        /// The data folder.
        path: PathBuf,
        /// The epoch of the store.
        store: u64,
        /// The last epoch in the log.
        log: u64,
    },
    /// The settings name one token twice.
    #[error(
        "settings: `{name}` and `{other}` are the same token, `{label}` (serial {serial}); name every token once, and give \
         it all of its Regions there"
    )]
    SameToken {
        /// One name.
        name: String,
        /// The other name.
        other: String,
        /// The token's label.
        label: String,
        /// Its serial number.
        serial: String,
    },
    /// An operation of the service's own failed.
    #[error("{0}")]
    Kms(#[from] kms::Error),
    /// A new root user's access key could not be told, so that none was made.
    #[error("the root user's access key could not be written down, and so it was not made: {0}")]
    RootUserUntold(std::io::Error),
    /// No random bytes.
    #[error(transparent)]
    NoRandom(#[from] crypto::NoRandom),
}

impl Error {
    fn rolled_back(data: &DataDir, store: u64, log: u64) -> Self {
        Error::RolledBack { path: data.path().to_owned(), store, log }
    }

    /// Whether no other start can mend it, so that a supervisor must not start again.
    pub fn is_for_good(&self) -> bool {
        match self {
            Error::Settings(_)
            | Error::OtherToken { .. }
            | Error::TokenReplaced { .. }
            | Error::RegionElsewhere { .. }
            | Error::RolledBack { .. }
            | Error::SameToken { .. } => true,
            Error::Store(error) => matches!(error, store::Error::Tampered { .. } | store::Error::Version { .. }),
            Error::Token(error) => matches!(
                error,
                token::Error::PinIncorrect
                    | token::Error::PinLocked
                    | token::Error::PinNotSet { .. }
                    | token::Error::TokenAmbiguous { .. }
                    | token::Error::Profile { .. }
                    | token::Error::NoScheme { for_good: true, .. }
                    | token::Error::PinShape { .. }
                    | token::Error::TooManyWorkers { .. }
            ),
            Error::FurtherTokenReplaced { .. }
            | Error::Locked(_)
            | Error::DataDir { .. }
            | Error::RootUserUntold(_)
            | Error::Audit(_)
            | Error::Kms(_)
            | Error::NoRandom(_) => false,
        }
    }
}

impl App {
    /// Opens the data folder, the record, the token, the store and the further tokens, in this order; makes a store and a
    /// root user if there are none; finishes what an earlier run left half done. `tell` is told the access key of a new root user.
    pub async fn open(
        settings: Settings,
        pin: SecretString,
        clock: Arc<dyn Clock>,
        accepted: Accepted,
        tell: impl FnOnce(&RootUser) -> std::io::Result<()>,
    ) -> Result<App, Error> {
        settings.check()?;
        let data = DataDir::lock(&settings.data)?;
        let (audit, recovered) = Audit::open(&audit_settings(&settings, &data))?;
        let audit = Arc::new(audit);
        let ended = audit.clone();
        let may_be_new = recovered.last_epoch == 0 || accepted.rollback;
        let opened = async {
            let meta = Store::read_meta(&data.path().join(STORE)).await?;
            let token = open_token(&settings.token, &data, meta.as_ref(), pin, move || end_process(&ended)).await?;
            Ok((open_store(&data, &token, meta, may_be_new, recovered.last_epoch).await?, token))
        };
        let opened = opened.await;
        if let Err(Error::Store(error @ store::Error::Tampered { .. })) = &opened {
            record_tampering(&audit, &settings, clock.now(), recovered.last_epoch, error).await?;
        }
        let ((store, store_key, meta), token) = opened?;
        let rolled_back = store.epoch() < recovered.last_epoch;
        if rolled_back && !accepted.rollback {
            return Err(Error::rolled_back(&data, store.epoch(), recovered.last_epoch));
        }
        // Of a new store there is no earlier time to hold the clock against, and nothing that it could destroy wrongly.
        let is_right = accepted.clock || store.epoch() == 0;
        let trusted_time = TrustedTime::start(&*clock, store.highest_time(), is_right);
        let first = Arc::new(Seat::taken(FIRST_TOKEN, token.clone()));
        let seats: BTreeMap<_, _> =
            settings.tokens.keys().map(|name| (name.clone(), Arc::new(Seat::empty(name)))).collect();
        let serving = |region| settings.token_of(region).and_then(|name| seats.get(name)).unwrap_or(&first);
        let key_stores = settings.regions.iter().map(|region| (region.clone(), serving(region).clone())).collect();
        let derived = |label: &[u8]| crypto::kbkdf(store_key.expose(), label, &[], crypto::KEY_LEN);
        let markers = Markers::new(derived(b"hsm-kms/v1/marker"));
        let grant_tokens = GrantTokens::new(derived(b"hsm-kms/v1/grant-token"));
        let budgets = Budgets::new(settings.kms.nonce_budget);
        let sessions = Sessions::new(derived(b"hsm-kms/v1/session"));
        let key_pairs = KeyPairs::new(settings.kms.key_pair_threads, settings.kms.key_pair_queue);
        let rules = &settings.import;
        let imports = Imports::new(derived(b"hsm-kms/v1/import"), rules.host_unwrap, rules.max_wrapping_keys);
        let custom_key_stores = CustomKeyStores::new(clusters(&settings, &data)?);
        let parts =
            Parts { markers, grant_tokens, sessions, key_pairs, imports, budgets, custom_key_stores, trusted_time };
        let key_stores = KeyStores::new(first, key_stores, settings.modules());
        let kms = Arc::new(Kms::new(store, audit, key_stores, clock, parts));
        let root_user = RootUser::ensure(&kms, &settings.account, tell).await?;
        if rolled_back {
            kms.accept_rollback(recovered.last_epoch).await?;
        }
        kms.begin_run().await?;
        kms.copy_outbox().await?;
        if accepted.clock {
            kms.record_act("AcceptClock", serde_json::json!({ "time": kms.clock().now().to_string() })).await?;
        }
        let own =
            settings.regions.iter().filter(|region| settings.token_of(region).is_none()).cloned().collect::<Vec<_>>();
        let holder = Holder { kms: kms.clone(), account: settings.account.clone(), accepted: accepted.tokens.into() };
        holder.hold(&own, &token).await?;
        let further_tokens = FurtherTokens::open(&settings, data.path(), &token, &seats, &holder).await?;
        let housekeeping = Housekeeping::new(kms.clone());
        let desk = Arc::new(Desk::new(kms.clone(), settings.account.clone()));
        let app = App { kms, further_tokens, token, settings, root_user, desk, housekeeping, data };
        app.settle(&store_root(&meta.store_id)).await?;
        app.kms.resume_custom_key_stores().await?;
        Ok(app)
    }

    /// The root user of the account in the settings; none if it has no active access key.
    pub fn root_user(&self) -> Option<&RootUser> {
        self.root_user.as_ref()
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where operators are served.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// The service behind the API.
    pub fn kms(&self) -> &Arc<Kms> {
        &self.kms
    }

    /// One round of what the service does unasked.
    pub async fn housekeep(&self) {
        self.housekeeping.round().await;
    }

    /// Does what is done unasked every second, until dropped: what waits for a token holds up nothing else.
    pub async fn keep_house(&self) {
        tokio::join!(every_second(|| self.housekeeping.watch()), every_second(|| self.housekeeping.work()));
    }

    /// The API with its health addresses.
    pub fn router(&self) -> Router {
        let gate = Arc::new(Gate::new(
            self.kms.clone(),
            self.settings.deadline(),
            self.settings.kms.max_in_flight_per_principal,
        ));
        let kms = self.kms.clone();
        health::routes(move |region| readiness(&kms, region)).merge(json::router(gate))
    }

    /// Stops everything in order, waiting so long for calls into tokens. False if one never came back: then the process
    /// must end without running exit handlers.
    pub async fn close(self, patience: Duration) -> bool {
        let kms = self.kms.clone();
        let custom_key_stores = tokio::spawn(async move { kms.end_custom_key_stores(patience).await });
        self.housekeeping.watch().await;
        if let Err(error) = self.kms.store.flush_usage().await {
            tracing::warn!(%error, "the last uses of keys were not written");
        }
        // Closed, the store is one file: what lies in its write-ahead log is moved there.
        if let Err(error) = self.kms.store.close().await {
            tracing::warn!(%error, "the store was not closed; the next start reads its write-ahead log");
        }
        self.kms.audit.shutdown();
        let (first, further) = (self.token.clone(), self.further_tokens);
        let endings: [tokio::task::JoinHandle<bool>; 3] = [
            custom_key_stores,
            tokio::task::spawn_blocking(move || first.shutdown(patience)),
            tokio::task::spawn_blocking(move || further.shut_down(patience)),
        ];
        let mut clean = true;
        for ended in endings {
            clean &= ended.await.unwrap_or(false);
        }
        clean
    }

    /// Undoes creations and ends destructions of an earlier run, and tells of objects that nobody knows.
    async fn settle(&self, store_root: &ObjectName) -> Result<(), Error> {
        for key_store in self.kms.key_stores() {
            self.kms.undo_creations(&key_store, self.kms.now().plus(Duration::from_millis(1))).await;
            self.kms.finish_destructions(&key_store, End::Destroyed).await;
            self.kms.finish_removals(&key_store, End::Destroyed).await;
        }
        let unserved = self.kms.unserved_regions();
        if !unserved.is_empty() {
            tracing::warn!(
                ?unserved,
                "there are keys in Regions that the settings do not serve: they can neither be used nor deleted, and \
                 multi-Region keys with replicas there neither rotate nor end; put these Regions back into `regions`"
            );
        }
        Ok(self.kms.record_differences(&self.kms.reconcile(store_root).await, None).await?)
    }
}

async fn every_second<F: Future<Output = ()>>(round: impl Fn() -> F) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        round().await;
    }
}

/// Whether this process should get the requests of a Region's clients, or of anybody's.
///
/// One token that is out takes its own Regions out and no others: while any Region can be served, the process is ready,
/// and the parts say which token is not.
fn readiness(kms: &Kms, region: Option<&str>) -> Option<Readiness> {
    let region = region.map(|region| region.parse::<Region>().ok().and_then(|region| kms.is_ready(&region)));
    let part = |name: &str, ready: bool, reason| Part {
        name: name.to_owned(),
        ready,
        reason: Some(reason).filter(|_| !ready),
    };
    let mut parts = vec![
        part("store", kms.store.guard().is_ok(), "refused"),
        part("audit", kms.audit.begin().is_ok(), "cannot write"),
    ];
    let works = parts.iter().all(|part| part.ready);
    parts.extend(kms.seats().iter().map(|seat| part(seat.name(), seat.is_ready(), seat.word())));
    let tokens = match region {
        Some(region) => region?,
        None => kms.seats().iter().any(|seat| seat.is_ready()),
    };
    Some(Readiness { ready: works && tokens, parts })
}

/// The clusters of the settings. Nothing is opened: that waits for who connects a custom key store.
fn clusters(settings: &Settings, data: &DataDir) -> Result<BTreeMap<ClusterId, Cluster>, Error> {
    let cluster = |(id, cluster): (&ClusterId, &ClusterSettings)| {
        let token = token::Settings {
            module: cluster.module.clone(),
            label: cluster.label.clone(),
            serial: cluster.serial.clone(),
            uri: cluster.uri.clone(),
            known_serial: None,
            copies_dir: Some(data.path().join("token-copies")),
            queue: 1_024,
            profile: cluster.profile.clone(),
        };
        let trust_anchor = trust_anchor(id, cluster)?;
        let accounts = match cluster.accounts.is_empty() {
            true => vec![settings.account.clone()],
            false => cluster.accounts.clone(),
        };
        Ok((id.clone(), Cluster { token, accounts, aws_limits: cluster.aws_limits, trust_anchor }))
    };
    settings.clusters.iter().map(cluster).collect()
}

/// The certificate of a cluster, from its file; none if the settings name none.
pub fn trust_anchor(id: &ClusterId, cluster: &ClusterSettings) -> Result<Option<TrustAnchor>, settings::Error> {
    let read = |pem: String| {
        let no_certificate = || cluster.no_certificate(id, "it is no certificate".into());
        TrustAnchor::from_pem(&pem).ok_or_else(no_certificate)
    };
    cluster.trust_anchor(id)?.map(read).transpose()
}

fn audit_settings(settings: &Settings, data: &DataDir) -> audit::Settings {
    audit::Settings {
        dir: data.path().join("audit"),
        segment_bytes: settings.audit.segment_bytes,
        reserve_bytes: settings.audit.reserve_bytes,
    }
}

fn token_settings(settings: &TokenSettings, data: &Path) -> token::Settings {
    token::Settings {
        module: settings.module.clone(),
        label: settings.label.clone(),
        serial: settings.serial.clone(),
        uri: settings.uri.clone(),
        known_serial: None,
        copies_dir: Some(data.join("token-copies")),
        queue: 1_024,
        profile: settings.profile.clone(),
    }
}

async fn open_token(
    settings: &TokenSettings,
    data: &DataDir,
    meta: Option<&Meta>,
    pin: SecretString,
    on_hopeless: impl FnOnce() + Send + 'static,
) -> Result<Token, Error> {
    let mut token = token_settings(settings, data.path());
    // One that is named by its serial number is the operator's choice, and has the store's key or has not.
    let is_named = settings.serial.is_some() || settings.uri.as_ref().is_some_and(|uri| uri.serial.is_some());
    token.known_serial = meta.filter(|_| !is_named).map(|meta| meta.token_serial.clone());
    let opened = tokio::task::spawn_blocking(move || Token::open(&token, pin, on_hopeless));
    let opened = opened.await.map_err(|error| kms::Error::Internal(format!("opening the token panicked: {error}")))?;
    opened.map_err(|error| match (&error, meta) {
        (token::Error::OtherToken { serial, .. }, Some(meta)) => {
            let (path, label, serial) = (data.path().to_owned(), meta.token_label.clone(), serial.clone());
            Error::TokenReplaced { path, label, serial, source: Box::new(error) }
        }
        _ => error.into(),
    })
}

/// Every call into the token hangs: only a new process can help. Exit handlers would hang or crash in the module.
fn end_process(audit: &Audit) {
    tracing::error!("every call into the token hangs; ending the process for its supervisor to start it again");
    audit.shutdown();
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// The store could not be opened, so that nothing in it can say whose it is: the record goes to the settings' account.
async fn record_tampering(
    audit: &Audit,
    settings: &Settings,
    time: Timestamp,
    epoch: u64,
    error: &store::Error,
) -> Result<(), Error> {
    let id = uuid::Uuid::new_v4().to_string();
    let event = Event::service(Call {
        time,
        source: EventSource::Kms,
        name: "StoreTampered",
        region: settings.regions.first().ok_or(settings::Error::NoRegion)?,
        account: &settings.account,
        source_ip: "kms.amazonaws.com",
        user_agent: "kms.amazonaws.com",
        request_id: &id,
        event_id: &id,
        read_only: true,
    });
    let event = event.additional(serde_json::json!({ "what": error.to_string() }));
    audit.append(audit.begin()?, event.to_json(), epoch).await?;
    Ok(())
}

async fn open_store(
    data: &DataDir,
    token: &Token,
    meta: Option<Meta>,
    may_be_new: bool,
    log_epoch: u64,
) -> Result<(Store, Secret, Meta), Error> {
    let path = data.path().join(STORE);
    let identity = token.identity();
    let meta = match meta {
        Some(meta) => meta,
        None if may_be_new => return create_store(&path, token).await,
        // There was a store: a new one in its place would forget every key.
        None => return Err(Error::rolled_back(data, 0, log_epoch)),
    };
    let name = store_root(&meta.store_id);
    let unwrapped = token.unwrap_seed(&name, meta.scheme, STORE_ROOT, &meta.wrapped_key, soon()).await;
    let seed = unwrapped.map_err(|error| match error {
        token::Error::NotFound(_) | token::Error::BadData => Error::OtherToken {
            path: data.path().to_owned(),
            store_label: meta.token_label.clone(),
            store_serial: meta.token_serial.clone(),
            label: identity.label.clone(),
            serial: identity.serial.clone(),
        },
        other => other.into(),
    })?;
    let key = store_key(&seed, &meta.store_id);
    Ok((Store::open(&path, &key).await?, key, meta))
}

async fn create_store(path: &Path, token: &Token) -> Result<(Store, Secret, Meta), Error> {
    let store_id = KeyId::from_random(crypto::random_array()?);
    let name = store_root(&store_id);
    token.generate(&name, soon()).await?;
    let mut seed = zeroize::Zeroizing::new([0; crypto::KEY_LEN]);
    seed.copy_from_slice(token.random(crypto::KEY_LEN, soon()).await?.expose());
    let scheme = token.scheme();
    let meta = Meta {
        store_id,
        wrapped_key: token.wrap_seed(&name, scheme, STORE_ROOT, &seed, soon()).await?,
        scheme,
        token_label: token.identity().label.clone(),
        token_serial: token.identity().serial.clone(),
    };
    let key = store_key(&seed, &store_id);
    Ok((Store::create(path, &meta, &key).await?, key, meta))
}

fn store_root(store_id: &KeyId) -> ObjectName {
    ObjectName { purpose: Purpose::StoreRoot, key_id: *store_id, material: 1 }
}

fn store_key(seed: &[u8; crypto::KEY_LEN], store_id: &KeyId) -> Secret {
    crypto::kbkdf(seed, b"hsm-kms/v1/store-key", &[store_id.as_bytes()], crypto::KEY_LEN)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The store's file in the data folder.
const STORE: &str = "store.db";
/// What the store's seed is bound to on the token.
const STORE_ROOT: &[u8] = b"hsm-kms/store-root/v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_starts_again_after_a_failure_that_may_pass() {
        let no_scheme =
            |for_good| Error::Token(token::Error::NoScheme { profile: "test".into(), tried: "none".into(), for_good });
        assert!(no_scheme(true).is_for_good());
        assert!(!no_scheme(false).is_for_good());
    }
}
