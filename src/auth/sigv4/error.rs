//! Why a request's signature is refused, in the words of AWS where they are known.

/// A request that is not answered because of its signature or of how it is signed.
///
/// `Display` is the message for the caller: it never holds a signature, and of what the caller sent only dates and the
/// names of headers. Wording: recorded answers of AWS services and the IAM User Guide, "Troubleshoot signed requests";
/// messages marked "ours" have no known original.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another method, path or query than the door's. Ours.
    #[error("Only POST / without a query string is served here.")]
    NotServed,
    /// The signature is in the query string. Ours: KMS itself takes presigned requests.
    #[error("Signatures in the query string are not supported. Sign the request with an Authorization header.")]
    Presigned,
    /// No Authorization header.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// More than one Authorization header. Ours.
    #[error("The request must have exactly one Authorization header.")]
    SeveralAuthorizations,
    /// Not `AWS4-HMAC-SHA256`.
    #[error("Unsupported AWS 'algorithm'. Authorization requires AWS4-HMAC-SHA256.")]
    UnsupportedAlgorithm,
    /// Parameters of the Authorization header that are not there.
    #[error("{}Authorization=AWS4-HMAC-SHA256", sentences(.0))]
    MissingParameters(Vec<&'static str>),
    /// A parameter of the Authorization header is there twice. Ours.
    #[error("Authorization header must have exactly one '{0}' parameter. Authorization=AWS4-HMAC-SHA256")]
    RepeatedParameter(&'static str),
    /// Something in the Authorization header that is none of its three parameters.
    #[error(
        "Authorization header holds something else than 'Credential', 'SignedHeaders' and 'Signature' as key=value pairs separated by commas. Authorization=AWS4-HMAC-SHA256"
    )]
    MalformedAuthorization,
    /// The credential does not have five parts.
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term. Authorization=AWS4-HMAC-SHA256"
    )]
    MalformedCredential,
    /// The scope does not end with `aws4_request`.
    #[error("Credential should be scoped with a valid terminator: 'aws4_request'.")]
    WrongTerminator,
    /// No `x-amz-date`. AWS names the Date header here as well, which is not taken instead of it.
    #[error("Authorization header requires existence of a 'X-Amz-Date' header. Authorization=AWS4-HMAC-SHA256")]
    MissingDate,
    /// `x-amz-date` is not `YYYYMMDDTHHMMSSZ`.
    #[error("Date must be in ISO-8601 'basic format', e.g. 20261122T000000Z.")]
    MalformedDate,
    /// The scope's day is not that of `x-amz-date`.
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{scope}' != '{date}', from '{date_time}'."
    )]
    ScopeDate {
        /// The scope's day.
        scope: String,
        /// The day of `x-amz-date`.
        date: String,
        /// `x-amz-date`.
        date_time: String,
    },
    /// The scope's region is no region name, or (said by the caller of this room) none that is served.
    #[error("Credential should be scoped to a valid region.")]
    InvalidRegion,
    /// The scope's service is none of the door's, or (said by the caller of this room) not that of the operation.
    #[error("Credential should be scoped to correct service: '{expected}'.")]
    WrongService {
        /// The service that the door or the operation belongs to.
        expected: String,
    },
    /// `SignedHeaders` is not sorted, repeats a name, or has upper-case or other characters that no name has. Ours.
    #[error("'SignedHeaders' must be lower-case header names, sorted, each once, separated by semicolons.")]
    MalformedSignedHeaders,
    /// `host` is not signed.
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostNotSigned,
    /// A header that must be signed is there and is not.
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    NotSigned(String),
    /// A header is named as signed and not there. Ours: AWS says that the signature does not match.
    #[error("'{0}' is a 'SignedHeader' in the AWS Authorization and is not in the request.")]
    SignedHeaderAbsent(String),
    /// A signed header is there more than once, so that two readers could take different values. Ours.
    #[error("'{0}' must be in the request exactly once.")]
    RepeatedHeader(String),
    /// `content-encoding: aws-chunked`: the signature would not cover the body. Ours.
    #[error("The content encoding aws-chunked is not supported. Sign the whole body.")]
    Chunked,
    /// `x-amz-content-sha256` is not the hash of the body; `UNSIGNED-PAYLOAD` and `STREAMING-…` are not either.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    ContentHash,
    /// The request is older than the window.
    #[error("Signature expired: {signed} is now earlier than {bound} ({now} - {minutes} min.)")]
    Expired {
        /// `x-amz-date`.
        signed: String,
        /// The earliest time that is accepted now.
        bound: String,
        /// The server's time.
        now: String,
        /// Half the window.
        minutes: u64,
    },
    /// The request is from further ahead than the window.
    #[error("Signature not yet current: {signed} is still later than {bound} ({now} + {minutes} min.)")]
    NotYetCurrent {
        /// `x-amz-date`.
        signed: String,
        /// The latest time that is accepted now.
        bound: String,
        /// The server's time.
        now: String,
        /// Half the window.
        minutes: u64,
    },
    /// There is a session token, and it cannot be one of this service.
    #[error("The security token included in the request is invalid.")]
    SecurityToken,
    /// Nobody has this access key id, or he may not use it.
    #[error("The security token included in the request is invalid.")]
    UnknownAccessKey,
    /// The session has ended.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// Another secret, or another request than the one signed.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    SignatureMismatch,
}

/// What AWS calls the error on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is signed.
    MissingAuthenticationToken,
    /// What is needed to verify is missing or malformed.
    IncompleteSignature,
    /// It could be verified, and does not hold.
    InvalidSignature,
    /// The access key or session token is not known.
    UnrecognizedClient,
    /// The session token was good.
    ExpiredToken,
    /// Not a request of this service at all.
    UnknownOperation,
}

impl Error {
    /// What AWS calls this error.
    pub fn kind(&self) -> Kind {
        match self {
            Error::NotServed => Kind::UnknownOperation,
            Error::MissingAuthenticationToken => Kind::MissingAuthenticationToken,
            Error::Presigned
            | Error::SeveralAuthorizations
            | Error::UnsupportedAlgorithm
            | Error::MissingParameters(_)
            | Error::RepeatedParameter(_)
            | Error::MalformedAuthorization
            | Error::MalformedCredential
            | Error::MissingDate
            | Error::MalformedDate => Kind::IncompleteSignature,
            Error::WrongTerminator
            | Error::ScopeDate { .. }
            | Error::InvalidRegion
            | Error::WrongService { .. }
            | Error::MalformedSignedHeaders
            | Error::HostNotSigned
            | Error::NotSigned(_)
            | Error::SignedHeaderAbsent(_)
            | Error::RepeatedHeader(_)
            | Error::Chunked
            | Error::ContentHash
            | Error::Expired { .. }
            | Error::NotYetCurrent { .. }
            | Error::SignatureMismatch => Kind::InvalidSignature,
            Error::SecurityToken | Error::UnknownAccessKey => Kind::UnrecognizedClient,
            Error::ExpiredToken => Kind::ExpiredToken,
        }
    }

    /// The `__type` of the error in AWS JSON 1.1, as KMS writes it.
    pub fn code(&self) -> &'static str {
        match self.kind() {
            Kind::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Kind::IncompleteSignature => "IncompleteSignatureException",
            Kind::InvalidSignature => "InvalidSignatureException",
            Kind::UnrecognizedClient => "UnrecognizedClientException",
            Kind::ExpiredToken => "ExpiredTokenException",
            Kind::UnknownOperation => "UnknownOperationException",
        }
    }
}

fn sentences(missing: &[&str]) -> String {
    missing.iter().map(|name| format!("Authorization header requires '{name}' parameter. ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_every_missing_parameter() {
        assert_eq!(
            Error::MissingParameters(vec!["Credential", "Signature"]).to_string(),
            "Authorization header requires 'Credential' parameter. \
             Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256"
        );
    }
}
