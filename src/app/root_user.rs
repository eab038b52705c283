//! The root user of an account, made at the first start.

use zeroize::Zeroizing;

use super::Error;
use crate::crypto;
use crate::kms::Kms;
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
    /// The root user of `account`. If the store has none, one is made now: `tell` learns its access key first, so that
    /// there is never one that nobody was told.
    pub async fn ensure(
        kms: &Kms,
        account: &AccountId,
        tell: impl FnOnce(&RootUser) -> std::io::Result<()>,
    ) -> Result<Self, Error> {
        let arn = Arn::root_user(account).to_string();
        if let Some(row) = kms.store.access_keys_of(account.as_str()).first() {
            return Ok(RootUser::of(&row.record));
        }
        let record = new_access_key(kms, account, arn)?;
        let user = RootUser::of(&record);
        tell(&user).map_err(Error::RootUserUntold)?;
        let details = serde_json::json!({ "accessKeyId": record.access_key_id });
        let mut change = Change::new(kms.now()).insert(record);
        if kms.store.account(account).is_none() {
            change = change.insert(AccountRecord { account: account.clone(), created: kms.now() });
        }
        kms.commit_act(change, "CreateRootUser", account, details).await?;
        Ok(user)
    }

    fn of(record: &AccessKeyRecord) -> Self {
        RootUser {
            account: record.account.clone(),
            access_key_id: record.access_key_id.clone(),
            secret_access_key: Zeroizing::new(record.secret.clone()),
        }
    }
}

fn new_access_key(kms: &Kms, account: &AccountId, principal: String) -> Result<AccessKeyRecord, Error> {
    Ok(AccessKeyRecord {
        access_key_id: format!("AKIA{}", random_text(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?.as_str()),
        account: account.clone(),
        principal,
        user_id: account.to_string(),
        secret: random_text(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab")?.to_string(),
        active: true,
        created: kms.now(),
    })
}

/// Random characters of an alphabet whose size divides 256, so that none is likelier than its share.
fn random_text(len: usize, alphabet: &[u8]) -> Result<Zeroizing<String>, crypto::NoRandom> {
    let mut bytes = Zeroizing::new(vec![0_u8; len]);
    crypto::random(&mut bytes)?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()))
}
