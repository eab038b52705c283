//! CreateAccessKey: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Holder, MAX_KEYS, NewAccessKey};
use crate::admin::{Context, Error, Operation, Plan, rules, shapes};
use crate::kms::new_access_key;
use crate::kms::shape::{Member, optional};
use crate::model::FriendlyName;

/// Creates an access key; the second one is the last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct CreateAccessKey {
    user_name: Option<FriendlyName>,
}

/// The one time that the secret is shown.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    access_key: NewAccessKey,
}

impl Operation for CreateAccessKey {
    const NAME: &'static str = "CreateAccessKey";
    const MEMBERS: &'static [Member] = &[optional("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = false;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let holder = Holder::find(cx, self.user_name.as_ref())?;
        if holder.keys(cx).len() >= MAX_KEYS {
            return Err(rules::quota("AccessKeysPerUser", MAX_KEYS));
        }
        let key = new_access_key(&cx.account, holder.arn().to_string(), holder.unique_id(), cx.now)?;
        let output = Output { access_key: NewAccessKey::of(&key, holder.name()) };
        let told = json!({ "accessKey": output.access_key.shown() });
        Ok(Plan::change(holder.touched(cx.change().insert(key)), output, told))
    }
}
