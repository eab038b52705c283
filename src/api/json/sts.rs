//! The AWS query protocol of STS, as far as GetCallerIdentity needs it.
//!
//! Source: <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use super::Answer;

/// The `Action` of a form body; none if it is not of the one version that STS has.
pub fn action(body: &[u8]) -> Option<&str> {
    let form = std::str::from_utf8(body).ok()?;
    let value = |name: &str| form.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name);
    let (_, version) = value("Version")?;
    let (_, action) = value("Action")?;
    (version == "2011-06-15").then_some(action)
}

/// The answer of GetCallerIdentity in XML, from its JSON.
pub fn envelop(body: &[u8], request_id: &str) -> Vec<u8> {
    let output: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let member = |name: &str| escape(output[name].as_str().unwrap_or_default());
    let (arn, user_id, account) = (member("Arn"), member("UserId"), member("Account"));
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
         <UserId>{user_id}</UserId><Account>{account}</Account></GetCallerIdentityResult><ResponseMetadata>\
         <RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
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
        | "MissingAuthenticationTokenException"
        | "AccessDeniedException" => 403,
        _ => answer.status,
    }
}

/// An error in XML, under the names that STS has for what KMS names otherwise.
pub fn error(answer: &Answer, request_id: &str) -> Vec<u8> {
    let kind = if answer.status < 500 { "Sender" } else { "Receiver" };
    let code = match answer.code {
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "IncompleteSignatureException" => "IncompleteSignature",
        "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
        "UnknownOperationException" => "InvalidAction",
        "AccessDeniedException" => "AccessDenied",
        _ => "InternalFailure",
    };
    let message = escape(&answer.message);
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    .into_bytes()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
