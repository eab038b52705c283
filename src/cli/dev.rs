//! `hsm-kms dev`: one command from nothing to a service.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Failure;
use super::env_file::{self, remove_if_there, write_new};
use super::serve::{Accept, run_service};
use crate::app::{App, DataDir};
use crate::crypto;
use crate::model::{AccountId, AliasName, Region};
use crate::settings::{
    AuditSettings, ClusterSettings, ImportSettings, KmsSettings, ServerSettings, Settings, TokenSettings,
};
use crate::token;

/// Run on this machine for development: makes a token, a store and a root user under the data folder if they are not
/// there, serves on loopback, and writes the folder's `env` file for a shell. Run again, it finds everything again.
///
/// Example: hsm-kms dev --data ./hsm-kms-data --listen 127.0.0.1:0 --region us-east-1 --region eu-west-1
#[derive(Args)]
pub struct Dev {
    /// The data folder; made if it is not there.
    #[arg(long, default_value = "hsm-kms-data")]
    data: PathBuf,
    /// Address and port to serve on, loopback only; port 0 picks one.
    #[arg(long, default_value = "127.0.0.1:9911")]
    listen: SocketAddr,
    /// The PKCS#11 module; SoftHSM2's if not given.
    #[arg(long)]
    module: Option<PathBuf>,
    /// The account of the root user.
    #[arg(long, default_value = "111122223333")]
    account: AccountId,
    /// A Region to serve; may be given again. The first is the one in `env`.
    #[arg(long = "region", default_value = "us-east-1")]
    regions: Vec<Region>,
    /// So many further tokens to be CloudHSM clusters for custom key stores: `cluster-softhsm2dev`, `cluster-softhsm3dev`
    /// and so on. The folder's `cluster-password` has the `KeyStorePassword` of all.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=6))]
    clusters: u8,
    #[command(flatten)]
    accept: Accept,
}

impl Dev {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.listen.ip().is_loopback() {
            return Err(Failure::for_good(format!(
                "{} is not a loopback address; `dev` serves without TLS and on loopback only",
                self.listen
            )));
        }
        let settings = self.settings()?;
        self.prepare(&settings)?;
        let pin = settings.pin()?;
        let env = self.data.join("env");
        // A file of an earlier run would name an address where nobody answers yet.
        remove_if_there(&env)?;
        let region = self.regions.first().cloned();
        run_service(
            settings,
            pin,
            self.accept.clone(),
            |_, _| Ok(()),
            |app, address| {
                env_file::write(&env, &self.account, app.root_user(), address, region.as_ref())?;
                // Nobody may be listening, and that is no reason not to serve.
                let _ = writeln!(std::io::stdout(), "{}", self.greeting(app, &env, address));
                Ok(())
            },
        )
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let module = self.module.clone().map_or_else(softhsm_module, Ok)?;
        let clusters = self.cluster_names().map(|name| {
            let id = format!("cluster-{name}").parse().map_err(Failure::now)?;
            Ok((id, cluster(&module, &name)))
        });
        let clusters = clusters.collect::<Result<_, Failure>>()?;
        Ok(Settings {
            data: self.data.clone(),
            account: self.account.clone(),
            regions: self.regions.clone(),
            token: TokenSettings {
                module,
                label: Some(TOKEN_LABEL.into()),
                serial: None,
                uri: None,
                pin_file: self.data.join("pin"),
                profile: None,
                regions: Vec::new(),
            },
            tokens: BTreeMap::new(),
            clusters,
            server: ServerSettings { listen: self.listen, ..ServerSettings::default() },
            audit: AuditSettings::default(),
            kms: KmsSettings::default(),
            // SoftHSM unwraps next to nothing by itself, and what is tried here is worth nothing.
            import: ImportSettings { host_unwrap: true, ..ImportSettings::default() },
        })
    }

    /// Makes what is not there: the folder, SoftHSM2's configuration, the token.
    fn prepare(&self, settings: &Settings) -> Result<(), Failure> {
        // Held only while the token is made, so that two first runs at once do not make two.
        let data = DataDir::lock(&self.data)?;
        let folder = data.path().canonicalize().map_err(Failure::now)?;
        write_settings(&folder, settings)?;
        if self.module.is_none() {
            set_unfinished_token_aside(&folder)?;
            configure_softhsm(&folder)?;
        }
        self.make_token(settings, &folder)?;
        self.cluster_names().try_for_each(|name| make_cluster(&settings.token.module, &folder, &name))
    }

    /// What the tokens are called that are clusters: a cluster's id has no digits but 2 to 7.
    fn cluster_names(&self) -> impl Iterator<Item = String> {
        (2..2 + self.clusters).map(|number| format!("softhsm{number}dev"))
    }

    fn make_token(&self, settings: &Settings, folder: &Path) -> Result<(), Failure> {
        if settings.token.pin_file.exists() {
            return Ok(());
        }
        let (so_pin, pin) = (new_pin()?, new_pin()?);
        write_new(&folder.join("so-pin"), so_pin.expose_secret().as_bytes())?;
        if token::tokens(&settings.token.module, None)?.iter().all(|entry| entry.label != TOKEN_LABEL) {
            token::init_token(&settings.token.module, TOKEN_LABEL, &so_pin, &pin)?;
        } else {
            return Err(Failure::for_good(format!(
                "the module has a token `{TOKEN_LABEL}` already, and {} is missing; put its user PIN there",
                settings.token.pin_file.display()
            )));
        }
        write_new(&settings.token.pin_file, pin.expose_secret().as_bytes())?;
        Ok(())
    }

    /// What to paste into another shell. Debian's aws 2.9 knows no `AWS_ENDPOINT_URL_KMS`, so every command names the
    /// endpoint.
    fn greeting(&self, app: &App, env: &Path, address: SocketAddr) -> String {
        let commands = if self.has_first_key(app) { LATER_COMMANDS } else { FIRST_COMMANDS };
        let commands = commands.replace("aws kms", "aws --endpoint-url \"$AWS_ENDPOINT_URL_KMS\" kms");
        format!(
            "hsm-kms serves on http://{address}\n\nIn another shell:\n\n  . {}\n{commands}\n\
             aws 2.13 and newer read AWS_ENDPOINT_URL_KMS by themselves. Ctrl-C stops the service; run it again and \
             everything is found again.",
            quoted(env)
        )
    }

    /// Whether the first commands were pasted in an earlier run: they would fail now.
    fn has_first_key(&self, app: &App) -> bool {
        let name = FIRST_ALIAS.parse::<AliasName>();
        let region = self.regions.first();
        region
            .zip(name.ok())
            .is_some_and(|(region, name)| app.kms().store.alias(region, &self.account, &name).is_some())
    }
}

fn cluster(module: &Path, name: &str) -> ClusterSettings {
    ClusterSettings {
        module: module.to_owned(),
        label: Some(name.into()),
        serial: None,
        uri: None,
        profile: None,
        accounts: Vec::new(),
        aws_limits: false,
        trust_anchor: None,
    }
}

/// Makes the token of the cluster if it is not there. Its password is written first: who knows it can use the token
/// whenever this is killed.
fn make_cluster(module: &Path, folder: &Path, name: &str) -> Result<(), Failure> {
    let file = folder.join(CLUSTER_PASSWORD);
    if !file.exists() {
        write_new(&file, new_pin()?.expose_secret().as_bytes())?;
    }
    if token::tokens(module, None)?.iter().any(|entry| entry.label == name) {
        return Ok(());
    }
    let password = SecretString::from(std::fs::read_to_string(&file).map_err(Failure::now)?);
    token::init_token(module, name, &new_pin()?, &password)?;
    Ok(())
}

/// A first start that was killed leaves a token whose PIN nobody knows, since the PIN is written last. It has no key,
/// as no store was made on it, and is moved and not removed, as nothing on a token ever is.
fn set_unfinished_token_aside(folder: &Path) -> Result<(), Failure> {
    let tokens = folder.join("tokens");
    let is_finished = folder.join("pin").exists() || folder.join("store.db").exists();
    let is_empty = std::fs::read_dir(&tokens).map_or(true, |mut entries| entries.next().is_none());
    if is_finished || is_empty {
        return Ok(());
    }
    let mut names = (1..u32::MAX).map(|number| folder.join(format!("tokens.unfinished-{number}")));
    let free = names.find(|path| !path.exists()).ok_or_else(|| Failure::now("too many unfinished tokens"))?;
    std::fs::rename(&tokens, &free).map_err(Failure::now)
}

/// Writes what commands that work on the folder have to know.
fn write_settings(folder: &Path, settings: &Settings) -> Result<(), Failure> {
    let quote = |path: &Path| toml::Value::from(path.display().to_string());
    let regions: Vec<String> = settings.regions.iter().map(Region::to_string).collect();
    let text = format!(
        "data = {}\naccount = \"{}\"\nregions = {}\n\n[token]\nmodule = {}\nlabel = \"{TOKEN_LABEL}\"\npin_file = {}\n",
        quote(folder),
        settings.account,
        toml::Value::from(regions),
        quote(&settings.token.module),
        quote(&folder.join("pin")),
    );
    Ok(write_new(&folder.join(SETTINGS), text.as_bytes())?)
}

/// The settings of the last run in a folder, which may have been moved since, for a command that works on it.
pub fn settings_of(data: &DataDir) -> Result<Settings, Failure> {
    let folder = data.path().canonicalize().map_err(Failure::now)?;
    let path = folder.join(SETTINGS);
    if !path.is_file() {
        return Err(Failure::for_good(format!(
            "{} is missing; start `hsm-kms dev` in this folder once, or give the settings of `serve` by --config",
            path.display()
        )));
    }
    let mut settings = Settings::read(&path)?;
    settings.token.pin_file = folder.join("pin");
    if folder.join(SOFTHSM_CONF).is_file() {
        configure_softhsm(&folder)?;
    }
    Ok(Settings { data: folder, ..settings })
}

/// SoftHSM2 reads its configuration from the file that `SOFTHSM2_CONF` names.
fn configure_softhsm(folder: &Path) -> Result<(), Failure> {
    let tokens = folder.join("tokens");
    let file = folder.join(SOFTHSM_CONF);
    std::fs::create_dir_all(&tokens).map_err(Failure::now)?;
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    remove_if_there(&file)?;
    write_new(&file, text.as_bytes())?;
    token::set_module_environment("SOFTHSM2_CONF", file.as_os_str());
    Ok(())
}

fn softhsm_module() -> Result<PathBuf, Failure> {
    let found = SOFTHSM_MODULES.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::for_good("SoftHSM2's module is not on this machine; run: apt-get install softhsm2, or give --module")
    })
}

/// A path as a POSIX shell reads it back, from whatever folder.
fn quoted(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

fn new_pin() -> Result<SecretString, Failure> {
    let mut bytes = Zeroizing::new([0_u8; 16]);
    crypto::random(bytes.as_mut()).map_err(Failure::now)?;
    Ok(SecretString::from(hex::encode(*bytes)))
}

/// What the last run in a folder was started with, in the form of `serve`'s settings.
const SETTINGS: &str = "dev.toml";
/// SoftHSM2's configuration, in a folder whose token is made here.
const SOFTHSM_CONF: &str = "softhsm2.conf";
const TOKEN_LABEL: &str = "hsm-kms";
const CLUSTER_PASSWORD: &str = "cluster-password";
const FIRST_ALIAS: &str = "alias/key1";

const FIRST_COMMANDS: &str = "  \
  KEY_ID=$(aws kms create-key --description \"my first key\" --query KeyMetadata.KeyId --output text)
  aws kms create-alias --alias-name alias/key1 --target-key-id \"$KEY_ID\"
  aws kms generate-data-key --key-id alias/key1 --key-spec AES_256
  aws kms encrypt --key-id alias/key1 --plaintext fileb:///etc/hostname --query CiphertextBlob --output text \
| base64 -d > hostname.encrypted
  aws kms decrypt --ciphertext-blob fileb://hostname.encrypted --query Plaintext --output text | base64 -d
";

const LATER_COMMANDS: &str = "  \
  aws kms list-aliases
  aws kms describe-key --key-id alias/key1
  aws kms generate-data-key --key-id alias/key1 --key-spec AES_256
";

/// Where distributions put SoftHSM2's module.
const SOFTHSM_MODULES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];
