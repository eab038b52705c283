//! The AWS query protocol, which STS speaks: a form in, XML out.
//!
//! Source: <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

mod form;
mod xml;

pub use form::Form;

use crate::api::json::Answer;

/// The body of an answer: what the operation answered in JSON, in XML.
pub fn envelop(operation: &str, output: &[u8], request_id: &str) -> Vec<u8> {
    let result = xml::structure(output);
    format!(
        "<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>{result}</{operation}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )
    .into_bytes()
}

/// The HTTP status of an error: where KMS answers 400 to a caller who is not let in, STS answers 403.
///
/// Source: <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
pub fn status(answer: &Answer) -> u16 {
    match answer.code {
        "InvalidSignatureException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "MissingAuthenticationTokenException"
        | "AccessDeniedException" => 403,
        _ => answer.status,
    }
}

/// An error in XML.
pub fn error(answer: &Answer, request_id: &str) -> Vec<u8> {
    let kind = if answer.status < 500 { "Sender" } else { "Receiver" };
    let (code, message) = (code(answer), xml::escaped(&answer.message));
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    .into_bytes()
}

/// The name that STS has for an error.
pub fn code(answer: &Answer) -> &'static str {
    match answer.code {
        "AccessDeniedException" => "AccessDenied",
        "ExpiredTokenException" => "ExpiredToken",
        "IncompleteSignatureException" => "IncompleteSignature",
        "InvalidParameterValueException" => "InvalidParameterValue",
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "MalformedPolicyDocumentException" => "MalformedPolicyDocument",
        "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
        "PackedPolicyTooLargeException" => "PackedPolicyTooLarge",
        "SerializationException" => "MalformedInput",
        "ThrottlingException" => "Throttling",
        "UnknownOperationException" => "InvalidAction",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "ValidationException" => "ValidationError",
        _ => "InternalFailure",
    }
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
