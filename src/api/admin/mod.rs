//! The administration of principals for operators on the host, over a Unix socket in the data folder.
//!
//! A connection carries one request, `{"operation":"CreateUser","parameters":{…}}` on one line, and its answer, either
//! `{"output":{…}}` or `{"error":{"code":"…","message":"…"}}` on one line.

mod socket;

use serde_json::json;
use zeroize::Zeroizing;

pub use crate::admin::{OPERATIONS, Route};
pub use crate::kms::shape::{Member, Shape};
pub use socket::{Limits, Socket, connect};

use crate::admin::{Desk, Error, Operator};
use crate::model::Document;

/// Serves the request in one line for whoever runs this process, and writes the answer as one line.
pub async fn answer_here(desk: &Desk, line: &[u8]) -> Zeroizing<Vec<u8>> {
    answer(desk, &Operator::here(), line).await
}

async fn answer(desk: &Desk, operator: &Operator, line: &[u8]) -> Zeroizing<Vec<u8>> {
    let request = Document::parse(line).map_err(|error| error.to_string()).and_then(envelope);
    let outcome = match request {
        Ok((operation, parameters)) => desk.serve(operator, &operation, &parameters).await,
        Err(why) => Err(desk.unreadable(operator, format!("The request could not be read: {why}")).await),
    };
    written(outcome)
}

/// The operation and the parameters of a request, which has nothing else.
fn envelope(request: Document<'_>) -> Result<(String, Document<'_>), String> {
    let Document::Map(members) = request else { return Err("it is not an object".into()) };
    let (mut operation, mut parameters) = (None, None);
    for (name, value) in members {
        match (name.as_ref(), value) {
            ("operation", Document::String(text)) => operation = Some(text.into_owned()),
            ("parameters", map @ Document::Map(_)) => parameters = Some(map),
            _ => return Err(format!("`{name}` is not a member of a request, or not of this type")),
        }
    }
    let operation = operation.ok_or("it has no operation")?;
    Ok((operation, parameters.unwrap_or(Document::Map(Vec::new()))))
}

fn written(outcome: Result<Zeroizing<Vec<u8>>, Error>) -> Zeroizing<Vec<u8>> {
    match outcome {
        Ok(output) => {
            let parts: [&[u8]; 3] = [b"{\"output\":", &output, b"}\n"];
            let mut line = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
            parts.iter().for_each(|part| line.extend_from_slice(part));
            line
        }
        Err(error) => {
            let body = json!({ "error": { "code": error.code(), "message": error.message() } });
            Zeroizing::new(format!("{body}\n").into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Document<'_>), String> {
        envelope(Document::parse(text.as_bytes()).map_err(|error| error.to_string())?)
    }

    #[test]
    fn a_request_has_an_operation_and_parameters_and_nothing_else() {
        let (operation, parameters) = read(r#"{"operation":"GetUser","parameters":{"UserName":"a"}}"#).unwrap();
        assert_eq!(operation, "GetUser");
        assert_eq!(parameters.member("UserName"), Some(&Document::String("a".into())));
        assert_eq!(read(r#"{"operation":"ListUsers"}"#).unwrap().1, Document::Map(Vec::new()));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"operation":1}"#,
            r#"{"operation":"A","parameters":[]}"#,
            r#"{"operation":"A","operation":"B"}"#,
            r#"{"operation":"A","parameters":{"UserName":"a","UserName":"b"}}"#,
            r#"{"operation":"A","more":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
