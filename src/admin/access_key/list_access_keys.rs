//! ListAccessKeys: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html>

use serde::{Deserialize, Serialize};

use super::{Holder, Metadata};
use crate::admin::{Context, Error, Operation, Plan, shapes};
use crate::kms::shape::{Member, optional};
use crate::model::FriendlyName;

/// Lists the access keys of a user or of the root user, without their secrets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct ListAccessKeys {
    user_name: Option<FriendlyName>,
}

/// All of them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    access_key_metadata: Vec<Metadata>,
}

impl Operation for ListAccessKeys {
    const NAME: &'static str = "ListAccessKeys";
    const MEMBERS: &'static [Member] = &[optional("UserName", &shapes::USER_NAME)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let holder = Holder::find(cx, self.user_name.as_ref())?;
        let metadata = holder.keys(cx).iter().map(|key| Metadata::of(&key.record, holder.name())).collect();
        Ok(Plan::read(Output { access_key_metadata: metadata }))
    }
}
