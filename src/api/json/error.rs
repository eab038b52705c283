//! What a caller is told when something goes wrong: the exception's name, the status and the message.

use serde_json::json;

use crate::auth::sigv4;
use crate::kms::Error;

/// An error as the wire has it.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status: 400 for what the caller can mend, 5xx for what he can only try again.
    pub status: u16,
    /// The exception's name: `__type`.
    pub code: &'static str,
    /// What the caller may know; empty where AWS says nothing.
    pub message: String,
}

impl Answer {
    /// The body in AWS JSON 1.1.
    pub fn json(&self) -> Vec<u8> {
        let body = match self.message.is_empty() {
            true => json!({ "__type": self.code }),
            false => json!({ "__type": self.code, "message": self.message }),
        };
        body.to_string().into_bytes()
    }
}

impl From<sigv4::Error> for Answer {
    fn from(error: sigv4::Error) -> Self {
        client(error.code(), error.to_string())
    }
}

impl From<Error> for Answer {
    /// One exhaustive match: a new error must be given its answer here.
    fn from(error: Error) -> Self {
        match error {
            Error::AccessDenied(message) => client("AccessDeniedException", message),
            Error::AlreadyExists(message) => client("AlreadyExistsException", message),
            // AWS's wording of these and of those about custom key stores is not known.
            Error::CloudHsmClusterInUse(id) => client(
                "CloudHsmClusterInUseException",
                format!("Cluster {id} is already associated with a custom key store."),
            ),
            Error::CloudHsmClusterNotFound(id) => {
                client("CloudHsmClusterNotFoundException", format!("Cluster {id} does not exist."))
            }
            Error::CloudHsmClusterNotRelated(id) => client(
                "CloudHsmClusterNotRelatedException",
                format!("Cluster {id} is not related to the cluster of the custom key store."),
            ),
            Error::CustomKeyStoreHasCmks(id) => {
                client("CustomKeyStoreHasCMKsException", format!("Custom key store {id} contains KMS keys."))
            }
            Error::CustomKeyStoreInvalidState(message) => client("CustomKeyStoreInvalidStateException", message),
            Error::CustomKeyStoreNameInUse(name) => client(
                "CustomKeyStoreNameInUseException",
                format!("The custom key store name {name} is already in use."),
            ),
            Error::IncorrectTrustAnchor => client(
                "IncorrectTrustAnchorException",
                "The trust anchor certificate is not the trust anchor certificate of the cluster.",
            ),
            Error::Conflict(message) => client("ConflictException", message),
            Error::CustomKeyStoreNotFound(id) => {
                client("CustomKeyStoreNotFoundException", format!("Custom key store {id} does not exist."))
            }
            Error::DependencyTimeout(_) => server(
                503,
                "DependencyTimeoutException",
                "The system timed out while trying to fulfill the request. You can retry the request.",
            ),
            Error::Disabled(arn) => client("DisabledException", format!("{arn} is disabled.")),
            Error::DryRun => {
                client("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
            }
            // AWS's wording of this and of the next two is not known.
            Error::ExpiredImportToken => client(
                "ExpiredImportTokenException",
                "The import token is expired. Use GetParametersForImport to get a new import token and public key.",
            ),
            Error::IncorrectKeyMaterial(message) => client("IncorrectKeyMaterialException", message),
            Error::InvalidImportToken => client(
                "InvalidImportTokenException",
                "The import token is invalid or is associated with a different KMS key.",
            ),
            Error::IncorrectKey => client(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            ),
            Error::Internal(_) => {
                server(500, "KMSInternalException", "An internal error occurred. You can retry the request.")
            }
            Error::InvalidAliasName(message) => client("InvalidAliasNameException", message),
            Error::InvalidArn(message) => client("InvalidArnException", message),
            // No reason, ever: it would help whoever forges one.
            Error::InvalidCiphertext => client("InvalidCiphertextException", ""),
            Error::InvalidGrantId => client("InvalidGrantIdException", "The grant ID is not valid."),
            Error::InvalidGrantToken => client("InvalidGrantTokenException", "The grant token is not valid."),
            Error::InvalidKeyUsage(message) => client("InvalidKeyUsageException", message),
            Error::InvalidMac => client("KMSInvalidMacException", ""),
            Error::InvalidMarker => client("InvalidMarkerException", "The marker is not valid."),
            Error::InvalidParameterValue(message) => client("InvalidParameterValueException", message),
            Error::InvalidSignature => client("KMSInvalidSignatureException", ""),
            Error::InvalidState(message) => client("KMSInvalidStateException", message),
            Error::KeyUnavailable(_) => server(
                500,
                "KeyUnavailableException",
                "The request was rejected because the specified KMS key was not available. You can retry the request.",
            ),
            Error::LimitExceeded(message) => client("LimitExceededException", message),
            Error::MalformedPolicyDocument(message) => client("MalformedPolicyDocumentException", message),
            Error::NotFound(message) => client("NotFoundException", message),
            Error::PackedPolicyTooLarge(message) => client("PackedPolicyTooLargeException", message),
            Error::Serialization(message) => client("SerializationException", message),
            Error::Tag(message) => client("TagException", message),
            Error::Throttling => client(
                "ThrottlingException",
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
            ),
            Error::UnknownOperation => client("UnknownOperationException", ""),
            Error::UnsupportedOperation(message) => client("UnsupportedOperationException", message),
            Error::Validation(message) => client("ValidationException", message),
        }
    }
}

/// Logs what the caller is not told, once, with the id that he is told.
pub fn log(error: &Error, request_id: &str, operation: &str) {
    match error {
        Error::Internal(reason) => tracing::error!(request_id, operation, reason, "internal error"),
        Error::KeyUnavailable(reason) | Error::DependencyTimeout(reason) => {
            tracing::warn!(request_id, operation, reason, "a request could not be served now");
        }
        refused => tracing::debug!(request_id, operation, reason = %refused, "refused"),
    }
}

fn client(code: &'static str, message: impl Into<String>) -> Answer {
    Answer { status: 400, code, message: message.into() }
}

fn server(status: u16, code: &'static str, message: &str) -> Answer {
    Answer { status, code, message: message.into() }
}
