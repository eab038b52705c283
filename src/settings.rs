//! Settings: a TOML file, with `HSM_KMS__…` environment variables over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::model::{AccountId, ClusterId, Region, TokenUri};

/// Everything that can be set. Unknown fields are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data folder, which nobody but the service's user may read.
    pub data: PathBuf,
    /// The account whose root user is made at the first start.
    pub account: AccountId,
    /// The Regions served; at least one.
    pub regions: Vec<Region>,
    /// The token that has the store's root, and the keys of every Region that no other token names.
    pub token: TokenSettings,
    /// Further tokens, by a name of the operator's.
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenSettings>,
    /// Tokens for custom key stores, by the id of the CloudHSM cluster that each stands for.
    #[serde(default)]
    pub clusters: BTreeMap<ClusterId, ClusterSettings>,
    /// The listener.
    #[serde(default)]
    pub server: ServerSettings,
    /// The record.
    #[serde(default)]
    pub audit: AuditSettings,
    /// The operations.
    #[serde(default)]
    pub kms: KmsSettings,
    /// Key material from outside.
    #[serde(default)]
    pub import: ImportSettings,
}

/// Where the token is, and how to log in to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// The PKCS#11 module of the vendor.
    pub module: PathBuf,
    /// The label of the token; not needed if the serial number or the URI is given. All that are given must fit.
    pub label: Option<String>,
    /// The serial number of the token.
    pub serial: Option<String>,
    /// The token's URI, `pkcs11:token=…;serial=…;manufacturer=…;model=…` (RFC 7512).
    pub uri: Option<TokenUri>,
    /// A file with the user PIN, and nothing else but a final newline.
    pub pin_file: PathBuf,
    /// A profile to use instead of the built-in one.
    pub profile: Option<PathBuf>,
    /// The Regions whose keys it has; for further tokens only, at least one.
    #[serde(default)]
    pub regions: Vec<Region>,
}

/// A token for custom key stores. Its PIN comes as `KeyStorePassword` by CreateCustomKeyStore.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// The PKCS#11 module of the vendor.
    pub module: PathBuf,
    /// The label of the token; not needed if the serial number is given.
    pub label: Option<String>,
    /// The serial number of the token.
    pub serial: Option<String>,
    /// The token's URI, as for other tokens.
    pub uri: Option<TokenUri>,
    /// A profile to use instead of the built-in one.
    pub profile: Option<PathBuf>,
    /// The accounts whose custom key stores may be on it; the settings' own account if none is named.
    #[serde(default)]
    pub accounts: Vec<AccountId>,
    /// Whether custom key stores on it do no more than AWS's: symmetric keys made on the token, without rotation, import
    /// and data key pairs. Default no.
    #[serde(default)]
    pub aws_limits: bool,
    /// A file with the certificate, in PEM, that CreateCustomKeyStore must name as the trust anchor. Any certificate will
    /// do if it is not given.
    pub trust_anchor: Option<PathBuf>,
}

/// Where requests come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Address and port; loopback only, as there is no TLS yet. Default `127.0.0.1:9911`.
    pub listen: std::net::SocketAddr,
    /// Connections at once. Default 1,024.
    pub max_connections: usize,
    /// How long requests in flight may take at shutdown, in seconds. Default 10.
    pub drain_seconds: u64,
}

/// The audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// Bytes after which a new segment begins. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of disk held in reserve for requests in flight. Default 16 MiB.
    pub reserve_bytes: u64,
}

/// The operations.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KmsSettings {
    /// Milliseconds within which every request has its answer. Default 5,000.
    pub deadline_millis: u64,
    /// Requests of one principal served at a time, at least 1; one more is throttled at once. Default 512.
    pub max_in_flight_per_principal: usize,
    /// RSA data key pairs made at a time, each on a thread of its own; at least 1. Default 1.
    pub key_pair_threads: usize,
    /// RSA data key pairs that may wait for such a thread; one more is throttled at once. Default 8.
    pub key_pair_queue: usize,
    /// How often one material of a symmetric key encrypts, 64 to 2^32. Default 2^32, which SP 800-38D §8.3 allows with
    /// random nonces; less is for tests, where it shows what happens at the end.
    pub nonce_budget: u64,
}

/// Key material from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportSettings {
    /// Whether material that the token cannot unwrap by itself may pass through the host's memory. Default no.
    pub host_unwrap: bool,
    /// Wrapping keys on the token for one Region at a time; one more is throttled. Default 1,000.
    pub max_wrapping_keys: usize,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or a variable is wrong.
    #[error("settings {path}: {}", one_line(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<config::ConfigError>,
    },
    /// Without TLS a signed request can be read on the way and sent again inside its five minutes.
    #[error(
        "settings: server.listen {0} is not a loopback address, and there is no TLS; give for example 127.0.0.1:9911"
    )]
    NotLoopback(std::net::SocketAddr),
    /// There is no Region.
    #[error("settings: `regions` is empty; name at least one, for example regions = [\"us-east-1\"]")]
    NoRegion,
    /// More would not be safe, and with less no block could be set aside.
    #[error("settings: kms.nonce_budget {0} is not within 64 and 4294967296; leave it out but for tests")]
    NonceBudget(u64),
    /// The token is not named.
    #[error(
        "settings: token.label, token.serial or token.uri must say which token to use; `hsm-kms token list` shows them"
    )]
    NoToken,
    /// Every Region has one token, and every further token a Region.
    #[error("settings: {token}.regions {what}")]
    TokenRegions {
        /// Where in the settings.
        token: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Every token has one use.
    #[error("settings: {one} and {other} may be the same token; name every token once, best by its serial number")]
    SameToken {
        /// Where in the settings.
        one: String,
        /// Where else.
        other: String,
    },
    /// The certificate of a cluster cannot be read.
    #[error("settings: {cluster}.trust_anchor {path}: {what}; give a file with one certificate in PEM")]
    TrustAnchor {
        /// Where in the settings.
        cluster: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The PIN file cannot be read.
    #[error("the PIN file {path} cannot be read: {source}; put the user PIN there, readable by the service alone")]
    Pin {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read what they must not.
    #[error("{path} is open to other users (mode {mode:03o}); run: chmod {wanted:03o} {path}")]
    OpenToOthers {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
}

impl Settings {
    /// Reads a TOML file and the environment over it: `HSM_KMS__SERVER__LISTEN` is `server.listen`. The PIN is
    /// never read from the environment.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source: Box::new(source) };
        let settings: Settings = config::Config::builder()
            .add_source(config::File::from(path).format(config::FileFormat::Toml))
            .add_source(config::Environment::with_prefix("HSM_KMS").prefix_separator("__").separator("__"))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(unreadable)?;
        settings.check()?;
        Ok(settings)
    }

    /// Refuses what no service can run with.
    pub fn check(&self) -> Result<(), Error> {
        if self.regions.is_empty() {
            return Err(Error::NoRegion);
        }
        if self.all_tokens().any(|token| token.label.is_none() && token.serial.is_none() && token.uri.is_none()) {
            return Err(Error::NoToken);
        }
        let clusters = self.clusters.values();
        if clusters.clone().any(|it| it.label.is_none() && it.serial.is_none() && it.uri.is_none()) {
            return Err(Error::NoToken);
        }
        self.check_tokens_differ()?;
        self.check_token_regions()?;
        if !(64..=MAX_NONCE_BUDGET).contains(&self.kms.nonce_budget) {
            return Err(Error::NonceBudget(self.kms.nonce_budget));
        }
        if !self.server.listen.ip().to_canonical().is_loopback() {
            return Err(Error::NotLoopback(self.server.listen));
        }
        Ok(())
    }

    /// The user PIN of the first token, from its file.
    pub fn pin(&self) -> Result<SecretString, Error> {
        self.token.pin()
    }

    /// All tokens, the first one first.
    pub fn all_tokens(&self) -> impl Iterator<Item = &TokenSettings> {
        std::iter::once(&self.token).chain(self.tokens.values())
    }

    /// The name of the further token that has the keys of a Region; `None` is the first token.
    pub fn token_of(&self, region: &Region) -> Option<&str> {
        let mut tokens = self.tokens.iter();
        tokens.find(|(_, token)| token.regions.contains(region)).map(|(name, _)| name.as_str())
    }

    /// The PKCS#11 modules of all tokens, each with the profile that it is given.
    pub fn modules(&self) -> BTreeSet<(PathBuf, Option<PathBuf>)> {
        let tokens = std::iter::once(&self.token).chain(self.tokens.values());
        let tokens = tokens.map(|token| (token.module.clone(), token.profile.clone()));
        tokens.chain(self.clusters.values().map(|it| (it.module.clone(), it.profile.clone()))).collect()
    }

    /// Refuses a token that is named twice, as far as the settings tell: what they leave open is seen at the token.
    fn check_tokens_differ(&self) -> Result<(), Error> {
        let first = ("token".to_owned(), &self.token);
        let tokens = std::iter::once(first).chain(self.tokens.iter().map(|(name, it)| (format!("tokens.{name}"), it)));
        let tokens = tokens.map(|(path, it)| (path, TokenNames::of(&it.module, &it.label, &it.serial, &it.uri)));
        let clusters = self
            .clusters
            .iter()
            .map(|(id, it)| (format!("clusters.\"{id}\""), TokenNames::of(&it.module, &it.label, &it.serial, &it.uri)));
        let all: Vec<_> = tokens.chain(clusters).collect();
        for (at, (one, names)) in all.iter().enumerate() {
            if let Some((other, _)) = all[..at].iter().find(|(_, other)| other.may_be(names)) {
                return Err(Error::SameToken { one: other.clone(), other: one.clone() });
            }
        }
        Ok(())
    }

    fn check_token_regions(&self) -> Result<(), Error> {
        let wrong = |name: &str, what: String| Err(Error::TokenRegions { token: name.to_owned(), what });
        if !self.token.regions.is_empty() {
            return wrong("token", "is for further tokens only: this one has every Region that they leave".into());
        }
        if self.tokens.contains_key(FIRST_TOKEN) {
            return wrong("tokens.token", "has the name of the first token; choose another name".into());
        }
        for (name, token) in &self.tokens {
            let path = format!("tokens.{name}");
            if token.regions.is_empty() {
                return wrong(&path, "is empty; name the Regions whose keys the token has".into());
            }
            for region in &token.regions {
                if !self.regions.contains(region) {
                    return wrong(&path, format!("names {region}, which is not in `regions`; add it there"));
                }
                if self.token_of(region) != Some(name) {
                    return wrong(&path, format!("names {region}, which another token has too; leave one"));
                }
            }
        }
        Ok(())
    }

    /// How long a request may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.kms.deadline_millis)
    }
}

/// How the settings name a token.
struct TokenNames<'s> {
    module: PathBuf,
    label: Option<&'s str>,
    serial: Option<&'s str>,
}

impl<'s> TokenNames<'s> {
    fn of(module: &'s Path, label: &'s Option<String>, serial: &'s Option<String>, uri: &'s Option<TokenUri>) -> Self {
        let (by_uri, serial_by_uri) = uri.as_ref().map_or((&None, &None), |uri| (&uri.token, &uri.serial));
        TokenNames {
            // Two names of one file are one library.
            module: module.canonicalize().unwrap_or_else(|_| module.to_owned()),
            label: label.as_ref().or(by_uri.as_ref()).map(String::as_str),
            serial: serial.as_ref().or(serial_by_uri.as_ref()).map(String::as_str),
        }
    }

    /// Whether both name one token by the same label or serial number.
    fn may_be(&self, other: &TokenNames<'_>) -> bool {
        let same = |one: Option<&str>, other: Option<&str>| one.is_some() && one == other;
        let differ = |one: Option<&str>, other: Option<&str>| one.is_some() && other.is_some() && one != other;
        self.module == other.module
            && (same(self.serial, other.serial)
                || (same(self.label, other.label) && !differ(self.serial, other.serial)))
    }
}

impl ClusterSettings {
    /// The certificate of the cluster `id`, from its file; none if the settings name none.
    pub fn trust_anchor(&self, id: &ClusterId) -> Result<Option<String>, Error> {
        let Some(path) = &self.trust_anchor else { return Ok(None) };
        std::fs::read_to_string(path).map(Some).map_err(|error| self.no_certificate(id, error.to_string()))
    }

    /// The error of a file that is no certificate.
    pub fn no_certificate(&self, id: &ClusterId, what: String) -> Error {
        let path = self.trust_anchor.clone().unwrap_or_default();
        Error::TrustAnchor { cluster: format!("clusters.\"{id}\""), path, what }
    }
}

impl TokenSettings {
    /// The user PIN, from its file.
    pub fn pin(&self) -> Result<SecretString, Error> {
        let path = &self.pin_file;
        let unreadable = |source| Error::Pin { path: path.clone(), source };
        closed_to_others(path, 0o600)?;
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
    }
}

/// Refuses a file or folder that its group or others may read, write or enter.
pub fn closed_to_others(path: &Path, wanted: u32) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::Pin { path: path.to_owned(), source })?;
    let mode = Permissions::mode(&metadata.permissions()) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Error::OpenToOthers { path: path.to_owned(), mode, wanted }) }
}

/// What a parser draws over several lines, on one: without the line of the file, which may hold what nobody should see.
fn one_line(error: &config::ConfigError) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.filter(|line| !is_drawn(line)).collect::<Vec<_>>().join(" ")
}

/// `1 | data =`, and the lines with `|` and `^` around it.
fn is_drawn(line: &str) -> bool {
    line.split_once('|').is_some_and(|(number, _)| number.trim().bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the first token is called, which has no name in the settings.
pub const FIRST_TOKEN: &str = "token";
const MAX_NONCE_BUDGET: u64 = 1 << 32;

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings { listen: ([127, 0, 0, 1], 9911).into(), max_connections: 1_024, drain_seconds: 10 }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings { segment_bytes: 64 << 20, reserve_bytes: 16 << 20 }
    }
}

impl Default for ImportSettings {
    fn default() -> Self {
        ImportSettings { host_unwrap: false, max_wrapping_keys: 1_000 }
    }
}

impl Default for KmsSettings {
    fn default() -> Self {
        KmsSettings {
            deadline_millis: 5_000,
            max_in_flight_per_principal: 512,
            key_pair_threads: 1,
            key_pair_queue: 8,
            nonce_budget: MAX_NONCE_BUDGET,
        }
    }
}
