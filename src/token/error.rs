//! What can go wrong with a token, and what each return code of PKCS#11 means for the session and the request.

use std::path::PathBuf;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};

use super::kind::KeyKind;
use crate::crypto::NoRandom;
use crate::model::{ObjectName, SigningAlgorithm};

/// Why the token did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A search of the logged-in token finds no such object.
    #[error("the token has no object {0}")]
    NotFound(ObjectName),
    /// The object to be made exists already.
    #[error("the token already has an object {0}; a material number is never used twice")]
    Exists(ObjectName),
    /// More than one object has the `CKA_ID`.
    #[error("{count} objects on the token have the CKA_ID of {name}; compare them and remove the one that is not ours")]
    Ambiguous {
        /// The object that was looked for.
        name: ObjectName,
        /// How many there are.
        count: usize,
    },
    /// The object is there, but an attribute is not what a key of this service has.
    #[error("the token's object {name} is not used: its {attribute} is {found} and must be {wanted}")]
    NotProven {
        /// The object that was looked for.
        name: ObjectName,
        /// The PKCS#11 name of the attribute.
        attribute: &'static str,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The ciphertext is not what was encrypted or wrapped for this key (with this associated data).
    #[error("the ciphertext is not authentic")]
    BadData,
    /// The material's seeds are wrapped by a scheme that this token does not do, or that this version does not know.
    #[error("the key's seeds are wrapped by scheme {asked}, which this token does not do; it does {offered}")]
    Scheme {
        /// The scheme's number, as recorded with the material.
        asked: u8,
        /// The schemes that it does, by number and name.
        offered: String,
    },
    /// The token does none of the schemes that its profile names.
    #[error(
        "the token wraps seeds in no way that the profile {profile} allows: {tried}; name the profile of this token's \
         vendor in `token.profile`, or schemes that it does: see `hsm-kms token probe`"
    )]
    NoScheme {
        /// The profile.
        profile: String,
        /// Each scheme, and why it is not used.
        tried: String,
        /// Whether none of that may pass.
        for_good: bool,
    },
    /// The PIN cannot be one of this vendor's; the token was not asked.
    #[error("the PIN was not tried: with the profile {profile} it is {wanted}")]
    PinShape {
        /// The profile.
        profile: String,
        /// What it looks like.
        wanted: &'static str,
    },
    /// The profile has more workers than the token has sessions.
    #[error("the profile {profile} takes {wanted} sessions, and the token has {max}; give it fewer workers")]
    TooManyWorkers {
        /// The profile.
        profile: String,
        /// Sessions of all workers and of the login.
        wanted: u64,
        /// Sessions that may be open at once.
        max: u64,
    },
    /// The key is of a kind that does not do what was asked, or the data has not the length that goes with it.
    #[error("{0} does not do that")]
    Unfit(KeyKind),
    /// The algorithm is one of the spec, and is not offered, for this reason.
    #[error("{0} is not offered: {1}")]
    NotOffered(SigningAlgorithm, String),
    /// What was unwrapped is no key of the kind: another length or spec, or numbers that do not belong together.
    #[error("the material is not that of {0}")]
    IncorrectMaterial(KeyKind),
    /// The token cannot unwrap this by itself, and the host may not.
    #[error("the token cannot unwrap this by itself, and the setting import.host_unwrap does not allow the host to")]
    HostUnwrapRefused,
    /// The token does it, but what comes out is wrong.
    #[error("the token does it wrongly: {0}")]
    Wrong(&'static str),
    /// The queue before the token stayed full up to the deadline.
    #[error("the token's queue stayed full up to the request's deadline; send fewer requests at once")]
    Throttled,
    /// The deadline passed before the token answered; what was begun may still end.
    #[error("the token did not answer before the request's deadline")]
    DeadlineExceeded,
    /// The token cannot work now; it is tried again without anyone's help.
    #[error("the token is unavailable: {0}")]
    Unavailable(String),
    /// The token refused the PIN; this process does not try that PIN again.
    #[error("the token refused the PIN; correct it and restart: this process never tries the same PIN again")]
    PinIncorrect,
    /// The token's PIN is locked or has one try left; it was not tried.
    #[error("the PIN of the token is locked or has its last try left; it was not tried: let the SO reset it")]
    PinLocked,
    /// The token was given this PIN, nobody knows what came of it, and the token has refused one; it was not tried again.
    #[error(
        "the PIN was not tried: it was tried before, it is not known what came of that, and the token {label} has refused a \
         PIN since the last login; log in to it by its vendor's tool, or give another PIN"
    )]
    PinUnclear {
        /// The token's label.
        label: String,
    },
    /// The user's PIN was never set.
    #[error("the token {label} has no user PIN; initialise it first")]
    PinNotSet {
        /// The token's label.
        label: String,
    },
    /// This process is logged in to the token already, so that a login would not try the PIN.
    #[error("this process is logged in to the token {label} already, which leaves the password untried")]
    LoggedIn {
        /// The token's label.
        label: String,
    },
    /// No token has the label or serial number.
    #[error("there is no token with {wanted}; {present}")]
    TokenMissing {
        /// The label or serial number that was looked for.
        wanted: String,
        /// Which tokens there are.
        present: String,
    },
    /// The token that fits is not the one that was used before.
    #[error(
        "another token, serial number {serial}, is in the place of the one with {wanted} that was used before, whose serial \
         number is {known}; it is not given the PIN: put the right one back"
    )]
    OtherToken {
        /// The label or URI that was looked for.
        wanted: String,
        /// The serial number of the token that was used before.
        known: String,
        /// The serial number of the one that is there.
        serial: String,
    },
    /// Several tokens have the label or serial number.
    #[error("several tokens have {wanted}: {found}; name one by its serial number")]
    TokenAmbiguous {
        /// The label or serial number that was looked for.
        wanted: String,
        /// Which tokens have it.
        found: String,
    },
    /// A token to be made has a label that another one has, or that PKCS#11 has no room for.
    #[error("no token can be made with label {label}: {reason}")]
    Label {
        /// The label.
        label: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The module cannot be loaded or initialised.
    #[error("the PKCS#11 module {} does not start: {reason}", path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// What the loader or the module said.
        reason: String,
    },
    /// The profile cannot be read.
    #[error("the token profile {origin} cannot be used: {reason}")]
    Profile {
        /// The file, or the name of a built-in profile.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has the token.
    #[error(
        "the token in {} is in use by another hsm-kms process, and a SoftHSM token serves one; stop that one first, or \
         use another token",
        path.display()
    )]
    InUse {
        /// The token's folder.
        path: PathBuf,
    },
    /// A file of the token cannot be kept safe.
    #[error("{action} {} failed: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The token refused the call: not an outage.
    #[error("the token refused {function} with {code}")]
    Refused {
        /// The PKCS#11 function.
        function: String,
        /// The return code.
        code: String,
    },
    /// The token has no room for one more object.
    #[error("the token has no room for one more object: {0}")]
    Full(String),
    /// The operating system gave no random bytes or no thread.
    #[error("the operating system refused {0}")]
    System(String),
}

impl Error {
    /// Whether the token answered, and will not do what was asked.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Error::Refused { .. })
    }

    /// A worker gave an answer of another kind than was asked for: our mistake.
    pub(super) fn mixed_up() -> Error {
        Error::Unavailable("a worker gave an answer to another question".to_owned())
    }
}

impl From<NoRandom> for Error {
    fn from(error: NoRandom) -> Self {
        Error::System(format!("random bytes: {error}"))
    }
}

/// What a return code means for who made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing is known to be lost; try once more on a fresh session.
    FreshSession,
    /// The object's handle is not known (any more).
    HandleGone,
    /// The session or the login is gone.
    LoginLost,
    /// The device or the module is gone.
    DeviceGone,
    /// The token will not do this, however often it is asked.
    Refused,
    /// The data is not what was sealed.
    BadData,
    /// There is no room on the device.
    Full,
    /// The call was wrong: our mistake.
    Bug,
}

/// The class of a failed call.
pub(super) fn class(error: &CryptokiError) -> Class {
    match error {
        CryptokiError::Pkcs11(code, _) => class_of_code(*code),
        CryptokiError::LibraryLoading(_) => Class::DeviceGone,
        CryptokiError::NullFunctionPointer | CryptokiError::NotSupported | CryptokiError::MissingSymbol(_) => {
            Class::Refused
        }
        CryptokiError::TryFromInt(_)
        | CryptokiError::TryFromSlice(_)
        | CryptokiError::ParseInt(_)
        | CryptokiError::Utf8(_)
        | CryptokiError::NulError(_)
        | CryptokiError::InvalidValue
        | CryptokiError::PinNotSet => Class::Bug,
    }
}

/// A failure inside a worker: final for the request, or a return code still to be judged.
#[derive(Debug)]
pub(super) enum Failure {
    /// This is the answer.
    Final(Error),
    /// The token said this; the worker decides by its class.
    Call(CryptokiError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

impl From<CryptokiError> for Failure {
    fn from(error: CryptokiError) -> Self {
        Failure::Call(error)
    }
}

/// What a caller hears of a failed call that is not tried again.
pub(super) fn outcome(error: &CryptokiError) -> Error {
    match class(error) {
        Class::FreshSession | Class::HandleGone | Class::LoginLost | Class::DeviceGone => {
            Error::Unavailable(reason(error))
        }
        Class::Full => no_room(error),
        Class::BadData | Class::Refused | Class::Bug => refused(error),
    }
}

/// What makes an object needs room for good; everything else needs it for a moment.
fn no_room(error: &CryptokiError) -> Error {
    use Function::{CopyObject, CreateObject, DeriveKey, GenerateKey, GenerateKeyPair, UnwrapKey};
    match error {
        CryptokiError::Pkcs11(_, CopyObject | CreateObject | DeriveKey | GenerateKey | GenerateKeyPair | UnwrapKey) => {
            Error::Full(reason(error))
        }
        _ => Error::Unavailable(reason(error)),
    }
}

/// The failed call as a refusal.
pub(super) fn refused(error: &CryptokiError) -> Error {
    match error {
        CryptokiError::Pkcs11(code, function) => {
            Error::Refused { function: format!("C_{function:?}"), code: format!("{code:?}") }
        }
        other => Error::Refused { function: "the call".to_owned(), code: other.to_string() },
    }
}

/// The failed call in a few words, for logs and readiness.
pub(super) fn reason(error: &CryptokiError) -> String {
    match error {
        CryptokiError::Pkcs11(code, function) => format!("C_{function:?} answered {code:?}"),
        other => other.to_string(),
    }
}

/// A failed call of `function` that the token itself did not notice: its session is not logged in.
pub(super) fn not_logged_in(function: Function) -> CryptokiError {
    CryptokiError::Pkcs11(RvError::UserNotLoggedIn, function)
}

fn class_of_code(code: RvError) -> Class {
    use RvError::*;
    match code {
        GeneralError
        | FunctionFailed
        | FunctionCanceled
        | OperationActive
        | OperationNotInitialized
        | HostMemory
        | UnknownErrorCode(_)
        | VendorDefined(_) => Class::FreshSession,
        KeyHandleInvalid | ObjectHandleInvalid => Class::HandleGone,
        SessionHandleInvalid | SessionClosed | UserNotLoggedIn => Class::LoginLost,
        DeviceError | DeviceRemoved | TokenNotPresent | TokenNotRecognized | SlotIdInvalid | CryptokiNotInitialized => {
            Class::DeviceGone
        }
        DeviceMemory => Class::Full,
        EncryptedDataInvalid | EncryptedDataLenRange => Class::BadData,
        ArgumentsBad
        | BufferTooSmall
        | SessionReadOnly
        | AttributeTypeInvalid
        | AttributeValueInvalid
        | TemplateIncomplete => Class::Bug,
        _ => Class::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_told_as_missing_or_bad_data() {
        for code in [
            RvError::DeviceError,
            RvError::DeviceRemoved,
            RvError::SessionHandleInvalid,
            RvError::UserNotLoggedIn,
            RvError::GeneralError,
            RvError::FunctionFailed,
            RvError::ObjectHandleInvalid,
            RvError::VendorDefined(0x8000_0001),
        ] {
            let told = outcome(&CryptokiError::Pkcs11(code, Function::Decrypt));
            assert!(matches!(told, Error::Unavailable(_)), "{code:?}: {told}");
        }
    }

    #[test]
    fn a_full_token_is_no_outage_for_what_would_stay_on_it() {
        let told = |function| outcome(&CryptokiError::Pkcs11(RvError::DeviceMemory, function));
        assert!(matches!(told(Function::GenerateKey), Error::Full(_)));
        assert!(matches!(told(Function::Decrypt), Error::Unavailable(_)));
    }

    #[test]
    fn a_refusal_names_the_function_and_the_code() {
        let told = outcome(&CryptokiError::Pkcs11(RvError::KeyFunctionNotPermitted, Function::EncryptInit));
        assert_eq!(told.to_string(), "the token refused C_EncryptInit with KeyFunctionNotPermitted");
    }
}
