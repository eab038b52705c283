//! What became of the PINs that the further tokens were given, written down before and after each login: a token counts
//! wrong PINs, and a supervisor that starts the service again and again would lock it. The first token needs none of that:
//! nothing is served without it, and its wrong PIN ends the process with 78.

use std::sync::{Arc, Weak};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::kms::Kms;
use crate::model::AccountId;
use crate::store::{Change, PasswordTries, TokenTriesRecord};
use crate::token::{self, Login, TokenEntry};

/// Writes down the logins to one further token.
pub(super) struct TokenLogins {
    /// Not a share in it: it has the token.
    kms: Weak<Kms>,
    /// In whose log it is told.
    account: AccountId,
    pin: SecretString,
    runtime: tokio::runtime::Handle,
}

impl TokenLogins {
    /// By this PIN. Outside of the runtime, logins wait for what is written down.
    pub(super) fn new(
        kms: &Arc<Kms>,
        account: &AccountId,
        pin: &SecretString,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let (kms, account, pin) = (Arc::downgrade(kms), account.clone(), pin.clone());
        TokenLogins { kms, account, pin, runtime: runtime.clone() }
    }

    /// Notes a login. Refuses one by a PIN that the token has refused, or may have as far as anybody knows.
    pub(super) fn note(&self, entry: &TokenEntry, login: Login) -> Result<(), token::Error> {
        let untold =
            |why| token::Error::Unavailable(format!("a login could not be written down, and was not made: {why}"));
        let kms = self.kms.upgrade().ok_or_else(|| untold("the service has ended".to_owned()))?;
        let of = PasswordTries::name(&entry.serial, self.pin.expose_secret());
        let row = kms.store.token_tries(&entry.serial);
        let mut tries = row.as_ref().map(|row| row.record.tries.clone()).unwrap_or_default();
        let phase = match login {
            Login::Begins if tries.is_refused(&of) => return Err(token::Error::PinIncorrect),
            Login::Begins => {
                if tries.is_unclear(&of) {
                    entry.check_unclear()?;
                }
                tries.begin(of);
                "begun"
            }
            Login::Taken => {
                tries.end(&of);
                "ended"
            }
            Login::Refused => {
                tries.refuse(of);
                "refused"
            }
        };
        let record = TokenTriesRecord { serial: entry.serial.clone(), tries };
        let change = Change::new(kms.now());
        let change = match row {
            Some(row) => change.update(&row, record),
            None => change.insert(record),
        };
        let details = json!({ "token": { "label": entry.label, "serial": entry.serial }, "phase": phase });
        let committed = self.runtime.block_on(kms.commit_act(change, "TokenLogin", &self.account, details));
        committed.map_err(|error| untold(error.to_string()))
    }
}
