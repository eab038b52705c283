//! The tokens beside the first one, each opened by a thread of its own: one that cannot be reached does not keep the
//! others waiting, and is tried again until it is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use secrecy::SecretString;

use super::token_logins::TokenLogins;
use super::{Error, Holder, token_settings};
use crate::kms::{self, Seat};
use crate::model::Region;
use crate::settings::{FIRST_TOKEN, Settings};
use crate::token::{self, Token, TokenEntry};

/// The further tokens, open or on their way.
pub(super) struct FurtherTokens(Vec<Further>);

struct Further {
    seat: Arc<Seat>,
    /// Dropped to end the thread.
    stop: Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// What the thread of one token works with.
struct Opener {
    settings: token::Settings,
    pin: SecretString,
    regions: Vec<Region>,
    seat: Arc<Seat>,
    names: Arc<Names>,
    holder: Holder,
    runtime: tokio::runtime::Handle,
}

/// What the settings call each token that is open, by its serial number.
struct Names(Mutex<BTreeMap<String, String>>);

impl FurtherTokens {
    /// Begins to open all of them into these places, and waits for the first try of each, for [`FIRST_TRY`] at most.
    ///
    /// Fails with what no second try can mend: a wrong PIN, a profile that is none, a token that the settings name twice.
    pub(super) async fn open(
        settings: &Settings,
        data: &std::path::Path,
        first: &Token,
        seats: &BTreeMap<String, Arc<Seat>>,
        holder: &Holder,
    ) -> Result<Self, Error> {
        let first = (first.identity().serial.clone(), FIRST_TOKEN.to_owned());
        let names = Arc::new(Names(Mutex::new([first].into())));
        let mut further = Vec::new();
        let mut tries = Vec::new();
        for (name, seat) in seats {
            let Some(of_token) = settings.tokens.get(name) else { continue };
            let opener = Opener {
                settings: token_settings(of_token, data),
                pin: of_token.pin()?,
                regions: of_token.regions.clone(),
                seat: seat.clone(),
                names: names.clone(),
                holder: holder.clone(),
                runtime: tokio::runtime::Handle::current(),
            };
            let ((stop, stopped), (tried, first_try)) = (bounded(0), tokio::sync::oneshot::channel());
            let thread = std::thread::Builder::new().name(format!("open {name}"));
            let thread = thread.spawn(move || opener.run(&stopped, tried));
            let thread = thread.map_err(|error| kms::Error::Internal(format!("no thread: {error}")))?;
            further.push(Further { seat: seat.clone(), stop, thread });
            tries.push(first_try);
        }
        let until = tokio::time::Instant::now() + FIRST_TRY;
        for first_try in tries {
            // One that takes longer goes on by itself.
            if let Ok(Ok(Some(error))) = tokio::time::timeout_at(until, first_try).await {
                return Err(error);
            }
        }
        Ok(FurtherTokens(further))
    }

    /// Ends the threads and the tokens within `patience`. False if a call never came back.
    pub(super) fn shut_down(self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let endings: Vec<_> =
            self.0.into_iter().map(|further| std::thread::spawn(move || further.end(until))).collect();
        endings.into_iter().fold(true, |clean, ending| clean & ending.join().unwrap_or(false))
    }
}

impl Further {
    fn end(self, until: Instant) -> bool {
        drop(self.stop);
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = until.saturating_duration_since(Instant::now());
        self.thread.is_finished() && self.seat.token().map_or(true, |token| token.shutdown(left))
    }
}

impl Opener {
    /// Tries until the token is open, or no further try can help; tells how the first one ended.
    fn run(self, stopped: &Receiver<()>, tried: tokio::sync::oneshot::Sender<Option<Error>>) {
        let mut tried = Some(tried);
        let mut pause = MIN_PAUSE;
        loop {
            let outcome = self.open();
            let failed = outcome.as_ref().err().map(ToString::to_string);
            let is_missing = matches!(
                outcome,
                Err(Error::Token(token::Error::TokenMissing { .. }) | Error::FurtherTokenReplaced { .. })
            );
            let for_good = outcome.as_ref().is_err_and(Error::is_for_good);
            if let Some(why) = &failed
                && self.seat.explain(why.clone())
            {
                tracing::error!(token = self.seat.name(), why, for_good, "a token is not open; its Regions get errors");
            }
            let told = tried.take().map(|tried| tried.send(outcome.err().filter(|_| for_good)));
            if failed.is_none() && !matches!(told, Some(Ok(()))) {
                self.reconcile_soon();
            }
            if failed.is_none() || for_good {
                return;
            }
            drop(told);
            // Anything but a pause to its end is the end of the service.
            if stopped.recv_timeout(pause) != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                return;
            }
            // To see whether it is there again costs nothing.
            pause = if is_missing { MIN_PAUSE } else { (pause * 2).min(MAX_PAUSE) };
        }
    }

    fn open(&self) -> Result<(), Error> {
        let token = self.open_one_of(self.holder.serials(&self.regions))?;
        let serial = token.identity().serial.clone();
        if let Some(other) = self.names.enter(&serial, self.seat.name()) {
            let (name, label) = (self.seat.name().to_owned(), token.identity().label.clone());
            return Err(Error::SameToken { name, other, label, serial });
        }
        // Before anything is done with it.
        self.runtime.block_on(self.holder.hold(&self.regions, &token))?;
        let label = token.identity().label.clone();
        if let Err(cluster) = self.holder.kms.take_seat(&self.seat, token) {
            let (name, other) = (self.seat.name().to_owned(), cluster.to_string());
            return Err(Error::SameToken { name, other, label, serial });
        }
        tracing::info!(token = self.seat.name(), serial, "a further token is open");
        Ok(())
    }

    /// Holds what is on the token against the store: it was not there when the start did so.
    fn reconcile_soon(&self) {
        let (kms, seat) = (self.holder.kms.clone(), self.seat.clone());
        self.runtime.spawn(async move {
            let Ok(token) = seat.token() else { return };
            if let Err(error) = kms.reconcile_late(&token).await {
                tracing::error!(%error, token = seat.name(), "what is on the token could not be held against the store");
            }
        });
    }

    /// Opens the token that has the first of these serial numbers that one has; any that fits if there are none.
    fn open_one_of(&self, serials: Vec<String>) -> Result<Token, Error> {
        let mut serials = serials.into_iter();
        loop {
            let settings = token::Settings { known_serial: serials.next(), ..self.settings.clone() };
            let logins = TokenLogins::new(&self.holder.kms, &self.holder.account, &self.pin, &self.runtime);
            let witness = move |entry: &TokenEntry, login| logins.note(entry, login);
            let give_up = give_up(self.seat.name().to_owned());
            match Token::open_watched(&settings, self.pin.clone(), witness, give_up) {
                Ok(token) => return Ok(token),
                Err(token::Error::OtherToken { .. }) if serials.len() > 0 => {}
                Err(error) => return Err(not_opened(error)),
            }
        }
    }
}

fn not_opened(error: token::Error) -> Error {
    match &error {
        token::Error::OtherToken { serial, .. } => {
            Error::FurtherTokenReplaced { serial: serial.clone(), source: Box::new(error) }
        }
        _ => error.into(),
    }
}

/// Only a new process can help, and that would cost the other tokens' Regions: an operator is to choose the time.
fn give_up(name: String) -> impl FnOnce() + Send + 'static {
    move || tracing::error!(token = name, "every call into the token hangs; restart the service when the token is well")
}

impl Names {
    /// Enters a token, unless another name has it: that one then.
    fn enter(&self, serial: &str, name: &str) -> Option<String> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entered = names.entry(serial.to_owned()).or_insert_with(|| name.to_owned());
        Some(entered.clone()).filter(|entered| entered != name)
    }
}

/// How long the start waits for tokens that do not answer.
const FIRST_TRY: Duration = Duration::from_secs(15);
/// The pauses between two tries grow between these.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
