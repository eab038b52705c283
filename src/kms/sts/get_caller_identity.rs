//! GetCallerIdentity: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>

use serde::{Deserialize, Serialize};

use crate::kms::shape::Member;
use crate::kms::{Context, Error, Operation};

/// Tells the caller who he is; no permission is needed, and none can forbid it.
#[derive(Deserialize)]
pub struct GetCallerIdentity {}

/// The principal whose access key signed.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    /// The principal's ARN.
    pub arn: String,
    /// The principal's unique id; the account id for the root user.
    pub user_id: String,
    /// The account id.
    pub account: String,
}

impl Operation for GetCallerIdentity {
    const NAME: &'static str = "GetCallerIdentity";
    const MEMBERS: &'static [Member] = &[];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        Ok(Output {
            arn: cx.caller.arn.clone(),
            user_id: cx.caller.user_id.clone(),
            account: cx.caller.account.to_string(),
        })
    }
}
