//! GetAccessKeyLastUsed: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html>

use serde::{Deserialize, Serialize};

use super::no_such_key;
use crate::admin::{Context, Error, Operation, Plan, shapes};
use crate::kms::shape::{Member, required};
use crate::store::AccessKeyUsage;

/// When an access key last signed a request that was authenticated, and for which service.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct GetAccessKeyLastUsed {
    access_key_id: String,
}

/// Whose it is, and its last use.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    access_key_last_used: LastUsed,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LastUsed {
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_date: Option<String>,
    service_name: String,
    region: String,
}

impl Operation for GetAccessKeyLastUsed {
    const NAME: &'static str = "GetAccessKeyLastUsed";
    const MEMBERS: &'static [Member] = &[required("AccessKeyId", &shapes::ACCESS_KEY_ID)];
    const READ_ONLY: bool = true;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let found = cx.store().access_key(&self.access_key_id).filter(|key| key.record.account == cx.account);
        let key = found.ok_or_else(|| no_such_key(&self.access_key_id))?;
        let user = cx.store().principal_by_id(&key.record.user_id);
        Ok(Plan::read(Output {
            user_name: user.map(|user| user.record.name.to_string()),
            access_key_last_used: cx.store().access_key_usage(&self.access_key_id).into(),
        }))
    }
}

impl From<Option<AccessKeyUsage>> for LastUsed {
    fn from(usage: Option<AccessKeyUsage>) -> Self {
        match usage {
            Some(AccessKeyUsage { at, service, region }) => {
                LastUsed { last_used_date: Some(at.to_string()), service_name: service, region: region.to_string() }
            }
            None => LastUsed { last_used_date: None, service_name: "N/A".into(), region: "N/A".into() },
        }
    }
}
