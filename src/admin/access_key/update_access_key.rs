//! UpdateAccessKey: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html>

use serde::Deserialize;

use super::Holder;
use crate::admin::{Context, Error, Nothing, Operation, Plan, shapes};
use crate::kms::shape::{Member, optional, required};
use crate::model::FriendlyName;

/// Makes an access key inactive, or active again; the next request that it signs is decided by that.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UpdateAccessKey {
    user_name: Option<FriendlyName>,
    access_key_id: String,
    status: String,
}

impl Operation for UpdateAccessKey {
    const NAME: &'static str = "UpdateAccessKey";
    const MEMBERS: &'static [Member] = &[
        optional("UserName", &shapes::USER_NAME),
        required("AccessKeyId", &shapes::ACCESS_KEY_ID),
        required("Status", &shapes::STATUS),
    ];
    const READ_ONLY: bool = false;
    type Output = Nothing;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Nothing>, Error> {
        let key = Holder::find(cx, self.user_name.as_ref())?.key(cx, &self.access_key_id)?;
        let mut record = key.record.clone();
        record.active = self.status == "Active";
        Ok(Plan::silent(cx.change().update(&key, record)))
    }
}
