//! The command line.

mod check_config;
mod dev;
mod env_file;
mod harden;
mod principal;
mod serve;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;

/// An AWS-KMS-compatible key service whose keys live in your own HSM.
#[derive(Parser)]
#[command(name = "hsm-kms", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Without documentation here: it would stand instead of the commands' own, which have the examples.
#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    CheckConfig(check_config::CheckConfig),
    Token(token::TokenCommand),
    Principal(principal::Principal),
}

/// Why a command failed: one line, and the code to exit with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    code: u8,
}

/// Runs the command line of this process; called before any thread exists.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hsm-kms: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Command::Dev(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::CheckConfig(command) => command.run(),
            Command::Token(command) => command.run(),
            Command::Principal(command) => command.run(),
        }
    }
}

impl Failure {
    /// A failure that another start may not have.
    pub fn now(message: impl ToString) -> Self {
        Failure { message: message.to_string(), code: 1 }
    }

    /// What was asked for cannot be meant.
    pub fn of_use(message: impl ToString) -> Self {
        Failure { message: message.to_string(), code: 2 }
    }

    /// A failure that no other start can mend: a supervisor must not start again (`EX_CONFIG` of sysexits.h).
    pub fn for_good(message: impl ToString) -> Self {
        Failure { message: message.to_string(), code: 78 }
    }
}

impl From<std::io::Error> for Failure {
    /// For errors that name the file.
    fn from(error: std::io::Error) -> Self {
        Failure::now(error)
    }
}

impl From<crate::settings::Error> for Failure {
    fn from(error: crate::settings::Error) -> Self {
        Failure::for_good(error)
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        if error.is_for_good() { Failure::for_good(error) } else { Failure::now(error) }
    }
}

impl From<crate::token::Error> for Failure {
    fn from(error: crate::token::Error) -> Self {
        app::Error::from(error).into()
    }
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, another try may help; 2 wrong usage; 78 wrong settings, PIN, \
                          token or store: starting again does not help.";
