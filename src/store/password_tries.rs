//! Passwords and PINs that were given to a token and not taken: what the token refused is not tried again, not by a later
//! run either.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::crypto;

/// Passwords that were given to a token and not taken, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordTries(Vec<PasswordTry>);

/// A password that was given to a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordTry {
    /// Which token and password: a SHA-256, 64 hex digits.
    of: String,
    /// Whether the token refused it; else nobody knows what came of it, or it is under way.
    refused: bool,
}

/// The PINs that were given to one of the service's own tokens and not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTriesRecord {
    /// The serial number of the token.
    pub serial: String,
    /// The PINs.
    pub tries: PasswordTries,
}

impl PasswordTries {
    /// What names this password for the token of that name: nothing that is fit to be seen outside of the sealed store.
    pub fn name(token: &str, password: &str) -> String {
        crypto::hex(&crypto::sha256(&[token.as_bytes(), &[0], password.as_bytes()]))
    }

    /// Writes down that the password is about to be given to the token.
    pub fn begin(&mut self, of: String) {
        self.note(of, false);
    }

    /// Takes that back: the token has taken it.
    pub fn end(&mut self, of: &str) {
        self.0.retain(|known| known.of != of || known.refused);
    }

    /// Writes down that the token refused the password.
    pub fn refuse(&mut self, of: String) {
        self.note(of, true);
    }

    /// Whether the token refused it.
    pub fn is_refused(&self, of: &str) -> bool {
        self.0.iter().any(|known| known.refused && known.of == of)
    }

    /// Whether it was given to the token and nobody knows what came of it: the run ended before, or the call told no
    /// outcome.
    pub fn is_unclear(&self, of: &str) -> bool {
        self.0.iter().any(|known| !known.refused && known.of == of)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn note(&mut self, of: String, refused: bool) {
        self.0.retain(|known| known.of != of);
        self.0.push(PasswordTry { of, refused });
        let excess = self.0.len().saturating_sub(TRIES_MAX);
        self.0.drain(..excess);
    }
}

impl Record for TokenTriesRecord {
    const TABLE: &'static str = "token-tries";

    fn primary_key(&self) -> String {
        self.serial.clone()
    }
}

/// More wrong passwords than any token lets anybody try.
const TRIES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_kept_than_a_token_lets_anybody_try() {
        let mut tries = PasswordTries::default();
        for number in 0..200 {
            tries.refuse(number.to_string());
        }
        assert_eq!(tries.0.len(), TRIES_MAX);
        assert!(tries.is_refused("199") && !tries.is_refused("0"));
    }
}
