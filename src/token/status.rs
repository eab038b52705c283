//! What a token tells of itself: which one it is, how it is used, how it is now, and what was counted.

use std::fmt;

/// Which token this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// The library's description and version.
    pub library: String,
}

/// How a token is used, for its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The name of its profile.
    pub profile: String,
    /// The name of the scheme by which seeds are wrapped under new materials.
    pub scheme: String,
    /// The scheme's number.
    pub scheme_number: u8,
    /// Sessions of all workers, and of the login.
    pub sessions: u64,
    /// Sessions that may be open at once; `None` if there is no limit.
    pub max_sessions: Option<u64>,
    /// The numbers of the mechanisms that it lists, which promises nothing.
    pub mechanisms: Vec<u64>,
}

/// How the token is, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Ready,
    /// Its sessions were lost for this reason and are being opened again; requests wait.
    Recovering(String),
    /// It cannot work for this reason, and is tried again after a pause; requests fail at once.
    Unavailable(String),
    /// It refused the PIN; this process does not try again.
    PinRefused,
    /// Its PIN is locked or has one try left; this process looks again once a minute and does not try.
    PinLocked,
    /// [`Token::shutdown`] was called.
    Stopped,
}

/// What was counted since the token was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Searches, copies and cryptographic operations on the token.
    pub operations: u64,
    /// Sessions that workers have opened.
    pub sessions: u64,
    /// How often sessions, login or device were lost.
    pub recoveries: u64,
    /// How often `C_Login` was called.
    pub logins: u64,
}

impl Status {
    /// Whether requests are served.
    pub fn is_ready(&self) -> bool {
        *self == Status::Ready
    }

    /// The status in a few words that never change, for who may know no more.
    pub fn word(&self) -> &'static str {
        match self {
            Status::Ready => "ready",
            Status::Recovering(_) => "recovering",
            Status::Unavailable(_) => "unavailable",
            Status::PinRefused => "PIN refused",
            Status::PinLocked => "PIN locked",
            Status::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Ready => f.write_str("ready"),
            Status::Recovering(why) => write!(f, "its sessions are being opened again: {why}"),
            Status::Unavailable(why) => f.write_str(why),
            Status::PinRefused => f.write_str("it refused the PIN"),
            Status::PinLocked => f.write_str("its PIN is locked or has one try left"),
            Status::Stopped => f.write_str("it is being shut down"),
        }
    }
}
