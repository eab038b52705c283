//! GetSessionToken: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::credentials::{Credentials, end};
use super::{check_no_mfa, shapes};
use crate::auth::session::{Content, Holder};
use crate::kms::shape::{Member, optional};
use crate::kms::{Context, Error, Facts, Operation};

/// Gives a user, or the root user, temporary credentials of his own.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSessionToken {
    duration_seconds: Option<u32>,
    serial_number: Option<String>,
    token_code: Option<String>,
    minimum_session_token_size: Option<usize>,
}

/// The credentials.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    credentials: Credentials,
    session_token_utilization: usize,
    session_token_size: usize,
}

impl Operation for GetSessionToken {
    const NAME: &'static str = "GetSessionToken";
    const MEMBERS: &'static [Member] = &[
        optional("DurationSeconds", &shapes::DURATION_SECONDS),
        optional("SerialNumber", &shapes::SERIAL_NUMBER),
        optional("TokenCode", &shapes::TOKEN_CODE),
        optional("MinimumSessionTokenSize", &shapes::MINIMUM_SESSION_TOKEN_SIZE),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        if cx.caller.session.is_some() {
            return Err(Error::AccessDenied("Cannot call GetSessionToken with session credentials".into()));
        }
        check_no_mfa(self.serial_number.as_ref(), self.token_code.as_ref())?;
        // Nobody needs a permission for it.
        cx.check_not_forbidden("sts:GetSessionToken", "*", &Facts::default())?;
        let credentials = Credentials::issue(cx, &self.content(cx), self.minimum_session_token_size.unwrap_or(0))?;
        cx.note_response(json!({ "credentials": credentials.shown() }));
        Ok(Output {
            session_token_utilization: credentials.token_percent(),
            session_token_size: credentials.token_len(),
            credentials,
        })
    }
}

impl GetSessionToken {
    fn content(&self, cx: &Context) -> Content {
        let issued = cx.request.time;
        let seconds = self.duration_seconds.unwrap_or(DEFAULT_SECONDS);
        let (holder, seconds) = match cx.caller.is_root_user() {
            true => (Holder::Root, seconds.min(MAX_ROOT_SECONDS)),
            false => (Holder::User(cx.caller.unique_id().to_owned()), seconds),
        };
        Content {
            account: cx.caller.account.clone(),
            holder,
            issued,
            expires: end(issued, seconds),
            policy: None,
            policy_names: Vec::new(),
            tags: Default::default(),
            transitive_tag_keys: Vec::new(),
            source_identity: None,
        }
    }
}

const DEFAULT_SECONDS: u32 = 43_200;
/// A longer request of the root user is cut to this, as AWS does.
const MAX_ROOT_SECONDS: u32 = 3_600;
