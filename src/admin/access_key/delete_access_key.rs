//! DeleteAccessKey: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html>

use serde::Deserialize;

use super::Holder;
use crate::admin::{Context, Error, Nothing, Operation, Plan, shapes};
use crate::kms::shape::{Member, optional, required};
use crate::model::FriendlyName;

/// Deletes an access key; the next request that it signs is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct DeleteAccessKey {
    user_name: Option<FriendlyName>,
    access_key_id: String,
}

impl Operation for DeleteAccessKey {
    const NAME: &'static str = "DeleteAccessKey";
    const MEMBERS: &'static [Member] =
        &[optional("UserName", &shapes::USER_NAME), required("AccessKeyId", &shapes::ACCESS_KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        let holder = Holder::find(cx, self.user_name.as_ref())?;
        let key = holder.key(cx, &self.access_key_id)?;
        Ok(Plan::silent(cx.change().delete(&key)))
    }
}
