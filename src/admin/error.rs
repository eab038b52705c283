//! What can go wrong, in IAM's words.

use crate::kms;

/// Why an operation was not done; a refusal changes nothing.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", self.code(), self.message())]
pub enum Error {
    /// Something still hangs on what should be deleted.
    DeleteConflict(String),
    /// There is such a thing already.
    EntityAlreadyExists(String),
    /// No operation has this name.
    InvalidAction(String),
    /// A member's value means nothing here.
    InvalidInput(String),
    /// A quota is exceeded.
    LimitExceeded(String),
    /// A text is not a policy of the kind that belongs here.
    MalformedPolicyDocument(String),
    /// There is no such thing.
    NoSuchEntity(String),
    /// Ours to mend; operators are told what it is.
    ServiceFailure(String),
    /// The request breaks a constraint.
    ValidationError(String),
}

impl Error {
    /// IAM's name for it.
    pub fn code(&self) -> &'static str {
        match self {
            Error::DeleteConflict(_) => "DeleteConflict",
            Error::EntityAlreadyExists(_) => "EntityAlreadyExists",
            Error::InvalidAction(_) => "InvalidAction",
            Error::InvalidInput(_) => "InvalidInput",
            Error::LimitExceeded(_) => "LimitExceeded",
            Error::MalformedPolicyDocument(_) => "MalformedPolicyDocument",
            Error::NoSuchEntity(_) => "NoSuchEntity",
            Error::ServiceFailure(_) => "ServiceFailure",
            Error::ValidationError(_) => "ValidationError",
        }
    }

    /// What the operator is told.
    pub fn message(&self) -> &str {
        match self {
            Error::DeleteConflict(message)
            | Error::EntityAlreadyExists(message)
            | Error::InvalidAction(message)
            | Error::InvalidInput(message)
            | Error::LimitExceeded(message)
            | Error::MalformedPolicyDocument(message)
            | Error::NoSuchEntity(message)
            | Error::ServiceFailure(message)
            | Error::ValidationError(message) => message,
        }
    }
}

impl From<kms::Error> for Error {
    fn from(error: kms::Error) -> Self {
        match error {
            kms::Error::Validation(message) | kms::Error::Serialization(message) => Error::ValidationError(message),
            other => Error::ServiceFailure(other.to_string()),
        }
    }
}

impl From<crate::crypto::NoRandom> for Error {
    fn from(error: crate::crypto::NoRandom) -> Self {
        kms::Error::from(error).into()
    }
}
