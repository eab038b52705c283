//! Which tokens there are, which one is meant, and how a new one is made.

use std::fmt;
use std::path::Path;

use cryptoki::error::Error as CryptokiError;
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_FLAGS, CK_TOKEN_INFO, CK_UNAVAILABLE_INFORMATION, CKF_TOKEN_INITIALIZED, CKF_USER_PIN_COUNT_LOW,
    CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_INITIALIZED, CKF_USER_PIN_LOCKED, CKF_WRITE_PROTECTED,
};
use secrecy::SecretString;

use super::busy::Busy;
use super::error::{Error, outcome, reason};
use super::module::Module;
use super::profile::Profile;
use super::softhsm_files;
use crate::model::TokenUri;

/// A token as its module describes it.
///
/// Source: PKCS#11 v3.0 §3.2, CK_TOKEN_INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// The slot's number; SoftHSM gives new ones when a token is made.
    pub slot: u64,
    /// The label, without the blanks behind it.
    pub label: String,
    /// The serial number.
    pub serial: String,
    /// Who made the token.
    pub manufacturer: String,
    /// The model.
    pub model: String,
    /// The flags that matter here.
    pub flags: TokenFlags,
}

/// Flags of a token (CK_TOKEN_INFO).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenFlags {
    /// `CKF_TOKEN_INITIALIZED`
    pub initialized: bool,
    /// `CKF_USER_PIN_INITIALIZED`
    pub pin_initialized: bool,
    /// `CKF_WRITE_PROTECTED`
    pub write_protected: bool,
    /// `CKF_USER_PIN_COUNT_LOW`: a wrong PIN was given since the last login.
    pub pin_count_low: bool,
    /// `CKF_USER_PIN_FINAL_TRY`
    pub pin_final_try: bool,
    /// `CKF_USER_PIN_LOCKED`
    pub pin_locked: bool,
}

/// All tokens of the module at `path`, uninitialised ones included. `profile` is needed only for a library that is
/// initialised by it.
pub fn tokens(path: &Path, profile: Option<&Path>) -> Result<Vec<TokenEntry>, Error> {
    let (lease, profile) = Profile::take_module(path, profile)?;
    Ok(list(lease.module(), &Busy::new(&profile.limits))?.listed.into_iter().map(|token| token.entry).collect())
}

/// Makes a token with this label, its SO PIN and its user PIN, in the first slot that has an uninitialised token.
///
/// The label has 1 to 32 bytes, and no other token of the module may have it. What was made is on disk when this
/// returns, as far as the profile knows how.
pub fn init_token(path: &Path, label: &str, so_pin: &SecretString, pin: &SecretString) -> Result<TokenEntry, Error> {
    let (lease, profile) = Profile::take_module(path, None)?;
    init_in(lease.module(), &profile, label, so_pin, pin)
}

/// A token and where it is.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub entry: TokenEntry,
    pub slot: Slot,
    /// How many sessions one application may have; `None` if unlimited or unknown.
    pub max_sessions: Option<u64>,
}

/// All slots with a token.
pub(super) struct Slots {
    pub listed: Vec<Listed>,
    /// Of the last one that cannot be described and is left out: why.
    pub untold: Option<String>,
}

/// All slots with a token. One that cannot be described is left out with a warning.
pub(super) fn list(module: &Module, busy: &Busy) -> Result<Slots, Error> {
    let slots = busy.watch_two(|| module.context.get_slots_with_token()).map_err(|error| outcome(&error))?;
    let mut found = Slots { listed: Vec::new(), untold: None };
    for slot in slots {
        match describe(module, slot, busy) {
            Ok(token) => found.listed.push(token),
            Err(error) => {
                let reason = reason(&error);
                tracing::warn!(slot = slot.id(), reason, "a token that cannot be described is left out");
                found.untold = Some(format!("slot {}: {reason}", slot.id()));
            }
        }
    }
    Ok(found)
}

/// Which token is meant: what is given must fit.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub label: Option<String>,
    pub serial: Option<String>,
    pub uri: Option<TokenUri>,
}

impl Wanted {
    fn fits(&self, token: &TokenEntry) -> bool {
        let TokenEntry { label, serial, manufacturer, model, .. } = token;
        self.label.as_ref().is_none_or(|wanted| wanted == label)
            && self.serial.as_ref().is_none_or(|wanted| wanted == serial)
            && self.uri.as_ref().is_none_or(|uri| uri.fits(label, serial, manufacturer, model))
    }

    /// Whether only one token can be meant.
    fn has_serial(&self) -> bool {
        self.serial.is_some() || self.uri.as_ref().is_some_and(|uri| uri.serial.is_some())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.as_ref().map(|label| format!("label `{label}`"));
        let serial = self.serial.as_ref().map(|serial| format!("serial number {serial}"));
        let uri = self.uri.as_ref().map(|uri| format!("URI {uri}"));
        match [label, serial, uri].into_iter().flatten().collect::<Vec<_>>().join(" and ") {
            given if given.is_empty() => f.write_str("any label"),
            given => f.write_str(&given),
        }
    }
}

/// The one token that fits; if the serial number is `known` that it must have, that one among those that fit.
///
/// Fails with [`Error::Unavailable`] if it may be one that cannot be described, and is not known by its serial number: a
/// stranger is not taken for it.
pub(super) fn find(slots: &Slots, wanted: &Wanted, known: Option<&String>) -> Result<Listed, Error> {
    let fits = |token: &&Listed| token.entry.flags.initialized && wanted.fits(&token.entry);
    let mut found: Vec<&Listed> = slots.listed.iter().filter(fits).collect();
    let ours = known.and_then(|known| found.iter().find(|token| token.entry.serial == *known));
    if let Some(ours) = ours {
        return Ok((*ours).clone());
    }
    if let Some(why) = slots.untold.as_ref().filter(|_| !wanted.has_serial() || found.is_empty()) {
        return Err(Error::Unavailable(format!("one that cannot be described ({why}) may be the one with {wanted}")));
    }
    if let (Some(known), Some(stranger)) = (known, found.first()) {
        let (wanted, serial) = (wanted.to_string(), stranger.entry.serial.clone());
        return Err(Error::OtherToken { wanted, known: known.clone(), serial });
    }
    match (found.pop(), found.is_empty()) {
        (Some(token), true) => Ok(token.clone()),
        (Some(token), false) => {
            found.push(token);
            Err(Error::TokenAmbiguous { wanted: wanted.to_string(), found: names(found.into_iter()) })
        }
        (None, _) => Err(Error::TokenMissing { wanted: wanted.to_string(), present: present(&slots.listed) }),
    }
}

fn init_in(
    module: &Module,
    profile: &Profile,
    label: &str,
    so_pin: &SecretString,
    pin: &SecretString,
) -> Result<TokenEntry, Error> {
    if label.is_empty() || label.len() > LABEL_BYTES || label.trim_end() != label {
        return Err(Error::Label { label: label.to_owned(), reason: "it needs 1 to 32 bytes and no blank at its end" });
    }
    let busy = Busy::new(&profile.limits);
    let Slots { listed, .. } = list(module, &busy)?;
    if listed.iter().any(|token| token.entry.flags.initialized && token.entry.label == label) {
        return Err(Error::Label { label: label.to_owned(), reason: "another token has it" });
    }
    let free = listed.iter().find(|token| !token.entry.flags.initialized).ok_or(Error::Label {
        label: label.to_owned(),
        reason: "the module has no slot with an uninitialised token",
    })?;
    initialise(module, free.slot, label, so_pin, pin).map_err(|error| outcome(&error))?;
    let made = describe(module, free.slot, &busy).map_err(|error| outcome(&error))?;
    if profile.files.sync_files {
        softhsm_files::Directory::of(&made.entry.serial)?.sync_all()?;
    }
    Ok(made.entry)
}

fn initialise(
    module: &Module,
    slot: Slot,
    label: &str,
    so_pin: &SecretString,
    pin: &SecretString,
) -> Result<(), CryptokiError> {
    module.context.init_token(slot, so_pin, label)?;
    let session = module.context.open_rw_session(slot)?;
    session.login(UserType::So, Some(so_pin))?;
    session.init_pin(pin)?;
    session.logout()
}

fn describe(module: &Module, slot: Slot, busy: &Busy) -> Result<Listed, CryptokiError> {
    let info = busy.watch(|| module.raw.token_info(slot))?;
    Ok(Listed { entry: entry(slot, &info), slot, max_sessions: max_sessions(&info) })
}

fn entry(slot: Slot, info: &CK_TOKEN_INFO) -> TokenEntry {
    let has = |flag: CK_FLAGS| info.flags & flag != 0;
    TokenEntry {
        slot: slot.id(),
        label: text(&info.label),
        serial: text(&info.serialNumber),
        manufacturer: text(&info.manufacturerID),
        model: text(&info.model),
        flags: TokenFlags {
            initialized: has(CKF_TOKEN_INITIALIZED),
            pin_initialized: has(CKF_USER_PIN_INITIALIZED),
            write_protected: has(CKF_WRITE_PROTECTED),
            pin_count_low: has(CKF_USER_PIN_COUNT_LOW),
            pin_final_try: has(CKF_USER_PIN_FINAL_TRY),
            pin_locked: has(CKF_USER_PIN_LOCKED),
        },
    }
}

/// Text without the blanks, or with some vendors zeros, behind it.
fn text(padded: &[u8]) -> String {
    let end = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
    String::from_utf8_lossy(&padded[..end]).trim_end_matches(' ').to_owned()
}

/// The lower limit; 0 is none (`CK_EFFECTIVELY_INFINITE`), and all ones are unknown.
fn max_sessions(info: &CK_TOKEN_INFO) -> Option<u64> {
    let limits = [info.ulMaxSessionCount, info.ulMaxRwSessionCount].into_iter();
    limits.filter(|max| *max != 0 && *max != CK_UNAVAILABLE_INFORMATION).min()
}

fn present(listed: &[Listed]) -> String {
    let initialised = listed.iter().filter(|token| token.entry.flags.initialized);
    match names(initialised) {
        names if names.is_empty() => "the module has no initialised token at all".to_owned(),
        names => format!("there are: {names}"),
    }
}

fn names<'a>(tokens: impl Iterator<Item = &'a Listed>) -> String {
    let name = |token: &Listed| format!("`{}` (serial number {})", token.entry.label, token.entry.serial);
    tokens.map(name).collect::<Vec<_>>().join(", ")
}

/// Room for a label in CK_TOKEN_INFO.
const LABEL_BYTES: usize = 32;
