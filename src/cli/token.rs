//! `hsm-kms token list|init|probe|pair|unpair|give-up`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::Failure;
use super::principal::{self, Principal};
use crate::model::{Document, TokenUri};
use crate::token::{self, Identity, Place, ProbeRow, Token, TokenEntry, Usage};

/// Look at tokens, make one, and try what one can do.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
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
        /// A profile, by its file or its built-in name, for a library that is initialised by it.
        #[arg(long)]
        profile: Option<PathBuf>,
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
    /// Try what a token can do, by doing it: by which scheme it wraps seeds, and which keys, imports and multi-Region
    /// keys it offers.
    ///
    /// Nothing that is made for it stays on the token. Example: hsm-kms token probe --module
    /// /usr/lib/softhsm/libsofthsm2.so --uri 'pkcs11:token=kms' --pin-file pin --output json
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
        /// The token's URI (RFC 7512): pkcs11:token=…;serial=…;manufacturer=…;model=…
        #[arg(long)]
        uri: Option<TokenUri>,
        /// A profile in place of the one that matches the library: a file, or the name of a built-in one.
        #[arg(long)]
        profile: Option<PathBuf>,
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
        #[command(flatten)]
        service: Service,
    },
    /// Take back that the material of multi-Region keys may go between two tokens.
    ///
    /// Nothing goes between them from then on, until they are paired again: no ReplicateKey, and no UpdatePrimaryRegion that
    /// would need it. What went stays where it is, and works. Refused while the rotation of a key needs the pairing, because
    /// one token has its primary key and the other a replica; those keys are named. The tokens need not be there.
    ///
    /// Example: hsm-kms token unpair token west --config /etc/hsm-kms/hsm-kms.toml
    Unpair {
        /// What the settings call the tokens, or their serial numbers; `token` is the first one.
        #[arg(num_args = 2, required = true, value_names = ["TOKEN", "OTHER"])]
        tokens: Vec<String>,
        #[command(flatten)]
        service: Service,
    },
    /// Give up a token that is lost for good: end what is due to be destroyed on it, without asking it.
    ///
    /// Keys whose deletion date has come, expired imports and what was begun come to their end; the record says that their
    /// objects were not destroyed and stay on the token. Every other key stays as it is: schedule its deletion, and run this
    /// again when its date has come. It is refused while the token is there.
    ///
    /// Example: hsm-kms token give-up --serial 5a6b7c8d9e0f1234 --config /etc/hsm-kms/hsm-kms.toml
    GiveUp {
        /// The serial number of the token.
        #[arg(long)]
        serial: String,
        #[command(flatten)]
        service: Service,
    },
}

/// Where the service is.
#[derive(Args)]
struct Service {
    /// The data folder of `hsm-kms dev`.
    #[arg(long, default_value = "hsm-kms-data", conflicts_with = "config")]
    data: PathBuf,
    /// The settings of `hsm-kms serve`.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Service {
    fn request(self, operation: &str, parameters: &Value) -> Principal {
        let request = json!({ "operation": operation, "parameters": parameters });
        Principal { data: self.data, config: self.config, line: Ok(format!("{request}\n").into_bytes()) }
    }
}

impl TokenCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { module, profile } => {
                print_tokens(&token::tokens(&module, profile.as_deref())?, self.output);
            }
            Command::Init { module, label, pin_file, so_pin_file } => {
                let made = token::init_token(&module, &label, &read_pin(&so_pin_file)?, &read_pin(&pin_file)?)?;
                print_tokens(&[made], self.output);
            }
            Command::Pair { tokens, confirm, service } => {
                let mut parameters = json!({ "Tokens": tokens });
                match confirm.len() {
                    0 => {}
                    2 => parameters["Confirm"] = json!(confirm),
                    _ => return Err(Failure::of_use("--confirm is needed twice, once for each token")),
                }
                service.request("PairTokens", &parameters).run()?;
            }
            Command::Unpair { tokens, service } => {
                service.request("UnpairTokens", &json!({ "Tokens": tokens })).run()?;
            }
            Command::GiveUp { serial, service } => {
                let request = service.request("GiveUpToken", &json!({ "Serial": serial }));
                match self.output {
                    Output::Json => request.run()?,
                    Output::Table => request.ask(|answer| print_given_up(&principal::output(answer)?))?,
                }
            }
            Command::Probe { module, label, serial, uri, profile, pin_file } => {
                let known_serial = None;
                let settings =
                    token::Settings { module, label, serial, uri, known_serial, copies_dir: None, queue: 16, profile };
                probe(&Token::open(&settings, read_pin(&pin_file)?, || {})?, self.output)?;
            }
        }
        Ok(())
    }
}

fn probe(token: &Token, output: Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Failure::now)?;
    let rows = runtime.block_on(token::self_test(token, Instant::now() + PROBE_TIME))?;
    match output {
        Output::Json => println!("{}", probe_json(token.identity(), &token.usage(), &rows)),
        Output::Table => print_probe(token.identity(), &token.usage(), &rows),
    }
    token.shutdown(SHUTDOWN_TIME);
    match rows.iter().any(|row| row.needed && row.failure.is_some()) {
        true => Err(Failure::now("the token failed a test that this service needs")),
        false => Ok(()),
    }
}

fn read_pin(path: &std::path::Path) -> Result<SecretString, Failure> {
    let unreadable = |error| Failure::for_good(format!("the PIN file {} cannot be read: {error}", path.display()));
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

/// What has ended and what has not, in lines.
fn print_given_up(told: &Document<'_>) -> Result<(), Failure> {
    let told = serde_json::to_value(told).map_err(Failure::now)?;
    let label = told["Token"]["Label"].as_str().map_or(String::new(), |label| format!(" (`{label}`)"));
    println!("the token {}{label} is given up", text(&told["Token"]["Serial"]));
    for (title, list) in [("finished, its objects left on the token", "Finished"), ("still there", "Remaining")] {
        let held = told[list].as_array().map_or(&[][..], Vec::as_slice);
        println!("{title}: {}", if held.is_empty() { "nothing" } else { "" });
        for row in held {
            let (state, date) = (text(&row["KeyState"]), text(&row["Date"]));
            println!("  {:<12} {} {state:<22} {date}", text(&row["Kind"]), text(&row["KeyArn"]));
        }
    }
    for serial in told["PairingsEnded"].as_array().map_or(&[][..], Vec::as_slice) {
        println!("no longer paired with the token {}", text(serial));
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
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

fn token_json(entry: &TokenEntry) -> Value {
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

fn probe_json(identity: &Identity, usage: &Usage, rows: &[ProbeRow]) -> Value {
    let Identity { label, serial, manufacturer, model, library } = identity;
    let mechanisms: Vec<String> = usage.mechanisms.iter().map(|number| format!("{number:#010x}")).collect();
    json!({
        "token": { "label": label, "serial": serial, "manufacturer": manufacturer, "model": model, "library": library },
        "profile": usage.profile,
        "scheme": { "number": usage.scheme_number, "name": usage.scheme },
        "sessions": { "used": usage.sessions, "max": usage.max_sessions },
        "mechanisms": mechanisms,
        "probe": rows.iter().map(row_json).collect::<Vec<_>>(),
    })
}

fn row_json(row: &ProbeRow) -> Value {
    let ProbeRow { what, needed, failure, place } = row;
    json!({ "test": what, "needed": needed, "passed": failure.is_none(), "reason": failure, "place": place })
}

fn print_probe(identity: &Identity, usage: &Usage, rows: &[ProbeRow]) {
    let Identity { label, serial, manufacturer, model, library } = identity;
    let limit = usage.max_sessions.map_or_else(|| "no limit".to_owned(), |max| format!("at most {max}"));
    println!("token     {label}, serial number {serial}, {manufacturer} {model}, {library}");
    println!("profile   {}", usage.profile);
    println!("scheme    {}, {}", usage.scheme_number, usage.scheme);
    println!("sessions  {}, {limit}", usage.sessions);
    println!("lists     {} mechanisms\n", usage.mechanisms.len());
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

/// RSA keys take seconds to make on some tokens, and several are made.
const PROBE_TIME: Duration = Duration::from_secs(300);
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);
const EXIT_CODES: &str = "Exit codes: 0 done, and `probe` found all that the service needs; 1 the token failed such a test, \
                          is not there, or cannot be asked now; 2 wrong usage; 78 the PIN, the profile, or which token is \
                          meant is wrong, and trying again does not help.";
