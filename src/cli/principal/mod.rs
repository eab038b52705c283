//! `hsm-kms principal`: one verb for every operation of `src/admin`, against the running service or on its data folder.

mod help;
mod offline;
mod online;
mod verb;

use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use zeroize::Zeroizing;

use super::{Failure, dev};
use crate::app::DataDir;
use crate::model::{AccountId, Document};
use crate::settings::Settings;

/// One request, and where the service is that it is for.
pub struct Principal {
    pub(super) data: PathBuf,
    pub(super) config: Option<PathBuf>,
    /// One line of JSON, or what is wrong with the flags or with a file that they name.
    pub(super) line: Result<Vec<u8>, String>,
}

impl Args for Principal {
    fn augment_args(command: Command) -> Command {
        let about = "Administer accounts, users, roles, policies and access keys; a secret is shown once";
        let command = command.about(about).long_about(format!("{about}.\n\n{EXAMPLE}"));
        command.args(places()).subcommand_required(true).arg_required_else_help(true).subcommands(verb::all())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Principal::augment_args(command)
    }
}

impl FromArgMatches for Principal {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (verb, arguments) = matches.subcommand().ok_or(clap::Error::new(ErrorKind::MissingSubcommand))?;
        let account = matches.get_one::<AccountId>("account");
        Ok(Principal {
            data: matches.get_one("data").cloned().unwrap_or_default(),
            config: matches.get_one("config").cloned(),
            line: verb::request(verb, arguments, account),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Principal::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Principal {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.ask(|answer| print(&output(answer)?))
    }

    /// Asks, and hands the answer to `then`.
    pub(super) fn ask(self, then: impl FnOnce(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let line = self.line.map_err(Failure::of_use)?;
        let settings = self.config.as_deref().map(Settings::read).transpose()?;
        let folder = settings.as_ref().map_or(&self.data, |settings| &settings.data);
        if let Some(answer) = online::ask(folder, &line)? {
            return then(&answer);
        }
        offline::check(folder)?;
        let settings = match settings {
            Some(settings) => settings,
            None => dev::settings_of(&DataDir::lock(&self.data).map_err(offline::in_use)?)?,
        };
        offline::ask(settings, &line, then)
    }
}

/// What was answered; fails with what was refused.
pub(super) fn output(answer: &[u8]) -> Result<Document<'_>, Failure> {
    let answer = Document::parse(answer).map_err(unreadable)?;
    if let Some(error) = answer.member("error") {
        let text = |name| error.member(name).and_then(as_text).unwrap_or_default();
        return Err(Failure::now(format!("{}: {}", text("code"), text("message"))));
    }
    let Document::Map(members) = answer else { return Err(no_output()) };
    let output = members.into_iter().find(|(name, _)| name == "output");
    output.map(|(_, output)| output).ok_or_else(no_output)
}

/// Prints it as JSON.
pub(super) fn print(output: &Document<'_>) -> Result<(), Failure> {
    // Room for an answer with a secret in it, so that writing it never moves it and leaves a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(8192));
    serde_json::to_writer_pretty(&mut *text, output).map_err(unreadable)?;
    text.push(b'\n');
    Ok(std::io::stdout().write_all(&text)?)
}

fn no_output() -> Failure {
    Failure::now("the service's answer has no output")
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::now(format!("the service's answer cannot be read: {error}"))
}

fn as_text<'d>(document: &'d Document<'_>) -> Option<&'d str> {
    match document {
        Document::String(text) => Some(text),
        _ => None,
    }
}

fn places() -> [Arg; 3] {
    let path = || value_parser!(PathBuf);
    let places = [
        Arg::new("data")
            .long("data")
            .value_name("DIR")
            .value_parser(path())
            .default_value("hsm-kms-data")
            .conflicts_with("config")
            .global(true)
            .help("The data folder of `hsm-kms dev`"),
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(path())
            .global(true)
            .help("The settings of `hsm-kms serve`"),
        Arg::new("account")
            .long("account")
            .value_name("ID")
            .value_parser(value_parser!(AccountId))
            .global(true)
            .help("The account meant; that of the settings if not given"),
    ];
    // Behind the verb's own flags.
    places.map(|place| place.display_order(900))
}

const EXAMPLE: &str = "Example: hsm-kms principal create-user --data ./hsm-kms-data --user-name alice --tags team=a";
