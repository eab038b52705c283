//! The root user of an account, made at the first start.

use zeroize::Zeroizing;

use super::Error;
use crate::kms::{Kms, new_access_key};
use crate::model::{AccountId, Arn};
use crate::store::{AccessKeyRecord, AccountRecord, Change};

/// An account's root user with its access key.
pub struct RootUser {
    /// The account.
    pub account: AccountId,
    /// Twenty characters, beginning with `AKIA`.
    pub access_key_id: String,
    /// Forty characters.
    pub secret_access_key: Zeroizing<String>,
}

impl RootUser {
    /// The root user of `account`, if it has an active access key. If the account is new, one is made now: `tell`
    /// learns its access key first, so that there is never one that nobody was told. One that was deleted stays so.
    pub async fn ensure(
        kms: &Kms,
        account: &AccountId,
        tell: impl FnOnce(&RootUser) -> std::io::Result<()>,
    ) -> Result<Option<Self>, Error> {
        let keys = kms.store.access_keys_of(account.as_str());
        if kms.store.account(account).is_none() {
            let record = AccountRecord { account: account.clone(), created: kms.now() };
            let change = Change::new(kms.now()).insert(record);
            if keys.is_empty() {
                return create(kms, account, change, tell).await.map(Some);
            }
            // A store from before there were accounts.
            kms.commit_act(change, "CreateAccount", account, serde_json::json!({})).await?;
        }
        Ok(keys.iter().find(|key| key.record.active).map(|key| RootUser::of(&key.record)))
    }

    fn of(record: &AccessKeyRecord) -> Self {
        RootUser {
            account: record.account.clone(),
            access_key_id: record.access_key_id.clone(),
            secret_access_key: Zeroizing::new(record.secret.clone()),
        }
    }
}

async fn create(
    kms: &Kms,
    account: &AccountId,
    change: Change,
    tell: impl FnOnce(&RootUser) -> std::io::Result<()>,
) -> Result<RootUser, Error> {
    let record = new_access_key(account, Arn::root_user(account).to_string(), account.as_str(), kms.now())?;
    let user = RootUser::of(&record);
    tell(&user).map_err(Error::RootUserUntold)?;
    let details = serde_json::json!({ "accessKeyId": record.access_key_id });
    kms.commit_act(change.insert(record), "CreateRootUser", account, details).await?;
    Ok(user)
}
