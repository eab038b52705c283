//! `hsm-kms token list|init|probe|pair`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use secrecy::SecretString;
use serde_json::json;

use super::Failure;
use super::principal::Principal;
use crate::token::{self, Place, ProbeRow, Token, TokenEntry};

/// Look at tokens, make one, and try what one can do.
#[derive(Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    command: Command,
    /// How to print.
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// List the tokens of a module.
    ///
    /// Example: hsm-kms token list --module /usr/lib/softhsm/libsofthsm2.so
    List {
        /// The PKCS#11 module.
        #[arg(long)]
        module: PathBuf,
    },
    /// Make a token in a free slot. The service never needs the SO PIN: keep it elsewhere.
    ///
    /// Example: hsm-kms token init --module /usr/lib/softhsm/libsofthsm2.so --label kms --pin-file pin --so-pin-file so-pin
    Init {
        /// The PKCS#11 module.
        #[arg(long)]
        module: PathBuf,
        /// The label of the new token, 1 to 32 bytes.
        #[arg(long)]
        label: String,
        /// A file with the user PIN to set.
        #[arg(long)]
        pin_file: PathBuf,
        /// A file with the SO PIN to set.
        #[arg(long)]
        so_pin_file: PathBuf,
    },
    /// Try what a token can do, by doing it.
    ///
    /// Example: hsm-kms token probe --module /usr/lib/softhsm/libsofthsm2.so --label kms --pin-file pin
    Probe {
        /// The PKCS#11 module.
        #[arg(long)]
        module: PathBuf,
        /// The token's label.
        #[arg(long)]
        label: Option<String>,
        /// The token's serial number.
        #[arg(long)]
        serial: Option<String>,
        /// A file with the user PIN.
        #[arg(long)]
        pin_file: PathBuf,
    },
    /// Show the fingerprints of the replication keys of two tokens; with both confirmed, the material of multi-Region keys
    /// may go from one to the other.
    ///
    /// Run it once without --confirm. Have whoever answers for each token compare its fingerprint, for example with that of
    /// the public key that the vendor's own tool shows; then run it again.
    ///
    /// Example: hsm-kms token pair token west --config /etc/hsm-kms/hsm-kms.toml --confirm 3f0c… --confirm 9a1d…
    Pair {
        /// What the settings call the tokens; `token` is the first one.
        #[arg(num_args = 2, required = true, value_names = ["TOKEN", "OTHER"])]
        tokens: Vec<String>,
        /// The fingerprint of a token, 64 hex digits: twice, in the order of the tokens.
        #[arg(long, value_name = "FINGERPRINT")]
        confirm: Vec<String>,
        /// The data folder of `hsm-kms dev`.
        #[arg(long, default_value = "hsm-kms-data", conflicts_with = "config")]
        data: PathBuf,
        /// The settings of `hsm-kms serve`.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

impl TokenCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { module } => print_tokens(&token::tokens(&module)?, self.output),
            Command::Init { module, label, pin_file, so_pin_file } => {
                let made = token::init_token(&module, &label, &read_pin(&so_pin_file)?, &read_pin(&pin_file)?)?;
                print_tokens(&[made], self.output);
            }
            Command::Pair { tokens, confirm, data, config } => {
                let mut parameters = json!({ "Tokens": tokens });
                match confirm.len() {
                    0 => {}
                    2 => parameters["Confirm"] = json!(confirm),
                    _ => return Err(Failure::of_use("--confirm is needed twice, once for each token")),
                }
                let request = json!({ "operation": "PairTokens", "parameters": parameters });
                Principal { data, config, line: Ok(format!("{request}\n").into_bytes()) }.run()?;
            }
            Command::Probe { module, label, serial, pin_file } => {
                let settings = token::Settings { module, label, serial, copies_dir: None, queue: 16, profile: None };
                let token = Token::open(&settings, read_pin(&pin_file)?, || {})?;
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Failure::now)?;
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
                let rows = runtime.block_on(token::self_test(&token, deadline))?;
                print_probe(&rows, self.output);
                token.shutdown(std::time::Duration::from_secs(10));
                if rows.iter().any(|row| row.needed && row.failure.is_some()) {
                    return Err(Failure::now("the token failed a test that this service needs"));
                }
            }
        }
        Ok(())
    }
}

fn read_pin(path: &std::path::Path) -> Result<SecretString, Failure> {
    let unreadable = |error| Failure::for_good(format!("the PIN file {} cannot be read: {error}", path.display()));
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

fn print_tokens(tokens: &[TokenEntry], output: Output) {
    if output == Output::Json {
        let rows: Vec<_> = tokens.iter().map(token_json).collect();
        println!("{}", json!({ "tokens": rows }));
        return;
    }
    println!("{:<10} {:<20} {:<20} {:<18} {:<12} state", "slot", "label", "serial", "manufacturer", "model");
    for entry in tokens {
        let TokenEntry { slot, label, serial, manufacturer, model, flags } = entry;
        let state = if flags.pin_locked {
            "PIN locked"
        } else if flags.pin_initialized {
            "ready"
        } else {
            "not initialised"
        };
        println!("{slot:<10} {label:<20} {serial:<20} {manufacturer:<18} {model:<12} {state}");
    }
}

fn token_json(entry: &TokenEntry) -> serde_json::Value {
    json!({
        "slot": entry.slot,
        "label": entry.label,
        "serial": entry.serial,
        "manufacturer": entry.manufacturer,
        "model": entry.model,
        "initialized": entry.flags.initialized,
        "pinInitialized": entry.flags.pin_initialized,
        "pinLocked": entry.flags.pin_locked,
    })
}

fn print_probe(rows: &[ProbeRow], output: Output) {
    if output == Output::Json {
        let rows: Vec<_> = rows.iter().map(|row| json!({ "test": row.what, "needed": row.needed, "passed": row.failure.is_none(), "reason": row.failure, "place": row.place })).collect();
        println!("{}", json!({ "probe": rows }));
        return;
    }
    for row in rows {
        let verdict = match (&row.failure, row.needed) {
            (None, _) => "pass",
            (Some(_), true) => "FAIL",
            (Some(_), false) => "no",
        };
        let place = match row.place {
            Some(Place::Token) => "on the token",
            Some(Place::Host) => "through the host",
            None => "",
        };
        println!("{verdict:<5} {:<60} {}", row.what, row.failure.as_deref().unwrap_or(place));
    }
}
