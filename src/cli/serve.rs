//! `hsm-kms serve`, and what `dev` shares with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Args;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Failure, env_file, harden};
use crate::api::admin::{self, Socket};
use crate::api::http::{Limits, Listener};
use crate::app::{Accepted, App, RootUser};
use crate::model::SystemClock;
use crate::settings::Settings;

/// Run with a settings file; the first start writes the root user's credentials to `env` in the data folder (0600).
///
/// Example: hsm-kms serve --config /etc/hsm-kms/hsm-kms.toml
#[derive(Args)]
pub struct Serve {
    /// The settings, in TOML.
    #[arg(long)]
    config: PathBuf,
    #[command(flatten)]
    accept: Accept,
}

/// What an operator accepts at this one start.
#[derive(Args, Clone)]
pub struct Accept {
    /// Accept a store that is older than its audit log, for example after a restore.
    #[arg(long)]
    accept_rollback: bool,
    /// Accept the time of day, though it jumped or the service was away for more than a day.
    #[arg(long)]
    accept_clock: bool,
    /// Accept the token with this serial number in the place of the one that a Region had before: it has taken over all of
    /// its keys. May be given several times.
    #[arg(long, value_name = "SERIAL")]
    accept_token: Vec<String>,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::read(&self.config)?;
        let pin = settings.pin()?;
        let (env, region) = (settings.data.join("env"), settings.regions.first().cloned());
        // The one time that the access key is told: an operator takes the file to where it belongs.
        let tell =
            |user: &RootUser, address| env_file::write(&env, &user.account, Some(user), address, region.as_ref());
        run_service(settings, pin, self.accept, tell, |_, _| Ok(()))
    }
}

/// Opens the service, calls `tell` with a root user that is made now and `ready` when all is open, and serves until
/// SIGTERM or SIGINT.
pub fn run_service(
    settings: Settings,
    pin: SecretString,
    accept: Accept,
    tell: impl FnOnce(&RootUser, SocketAddr) -> std::io::Result<()>,
    ready: impl FnOnce(&App, SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    run("info", async { Ok((serve(settings, pin, accept, tell, ready).await?, ())) })
}

/// Runs a service to its end in a runtime of its own: `work` says whether every call into the token came back. `level`
/// is how much is logged where `HSM_KMS_LOG` says nothing.
pub fn run<T>(level: &str, work: impl Future<Output = Result<(bool, T), Failure>>) -> Result<T, Failure> {
    start_log(level);
    harden::harden();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::now)?;
    let (clean, made) = runtime.block_on(work)?;
    if !clean {
        // A thread is still inside the token's module: exit handlers would crash there.
        tracing::error!("a call into the token did not come back; ending without exit handlers");
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    Ok(made)
}

async fn serve(
    settings: Settings,
    pin: SecretString,
    accept: Accept,
    tell: impl FnOnce(&RootUser, SocketAddr) -> std::io::Result<()>,
    ready: impl FnOnce(&App, SocketAddr) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let server = settings.server.clone();
    // Before the token: a port that is taken must not cost a login.
    let listener = Listener::bind(server.listen).await.map_err(Failure::now)?;
    let address = listener.address();
    let accepted =
        Accepted { rollback: accept.accept_rollback, clock: accept.accept_clock, tokens: accept.accept_token };
    let app = App::open(settings, pin, Arc::new(SystemClock), accepted, |user| tell(user, address)).await?;
    let app = Arc::new(app);
    let operators = Socket::bind(app.data()).map_err(|error| Failure::now(format!("admin.sock: {error}")))?;
    // Before anybody is told: who knows that the service is there may end it.
    let shutdown = shutdown().map_err(Failure::now)?;
    ready(&app, address)?;
    tracing::info!(%address, "serving");
    let limits = Limits {
        max_connections: server.max_connections,
        drain_time: Duration::from_secs(server.drain_seconds),
        ..Limits::default()
    };
    let house = app.clone();
    let keeper = tokio::spawn(async move { house.keep_house().await });
    let (stop, stopping) = watch::channel(false);
    let operators = tokio::spawn(operators.serve(app.desk().clone(), admin::Limits::default(), stopping));
    let told = Arc::new(OnceLock::new());
    let ending = told.clone();
    let shutdown = async move {
        shutdown.await;
        let _ = ending.set(Instant::now());
    };
    crate::api::http::serve(listener, app.router(), limits, shutdown).await;
    stop.send_replace(true);
    let _ = operators.await;
    keeper.abort();
    let _ = keeper.await;
    tracing::info!("drained; stopping");
    match Arc::into_inner(app) {
        Some(app) => Ok(app.close(patience(told.get().map_or(Duration::ZERO, Instant::elapsed))).await),
        None => Err(Failure::now("a request outlived the server")),
    }
}

/// How long to wait for calls into tokens, so that the end comes within 15 s where requests are drained within 5 s.
fn patience(since_told: Duration) -> Duration {
    let left = Duration::from_secs(14).saturating_sub(since_told);
    left.clamp(Duration::from_secs(1), Duration::from_secs(10))
}

/// Ends with the first SIGTERM or SIGINT from now on.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The log on standard error: `HSM_KMS_LOG` chooses what (else `level`), a terminal gets text, others JSON.
fn start_log(level: &str) {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_env("HSM_KMS_LOG").unwrap_or_else(|_| level.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { log.init() } else { log.json().init() }
}
