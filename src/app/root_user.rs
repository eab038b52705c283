//! The root user of an account, made at the first start.

use zeroize::Zeroizing;

use super::Error;
use crate::crypto;
use crate::kms::Kms;
use crate::model::{AccountId, Arn};
use crate::store::{AccessKeyRecord, Change};

/// An account's root user with its access key.
pub struct RootUser {
    /// The account.
    pub account: AccountId,
    /// Twenty characters, beginning with `AKIA`.
    pub access_key_id: String,
    /// Forty characters.
    pub secret_access_key: Zeroizing<String>,
    /// Whether it was made at this start, so that nobody has been told its access key yet.
    pub is_new: bool,
}

impl RootUser {
    /// The root user of `account`, made now if the store has none.
    pub async fn ensure(kms: &Kms, account: &AccountId) -> Result<Self, Error> {
        let arn = Arn::root_user(account).to_string();
        let existing = kms.store.access_keys().into_iter().find(|row| row.record.principal == arn);
        let is_new = existing.is_none();
        let record = match existing {
            Some(row) => row.record.clone(),
            None => {
                let record = new_access_key(kms, account, arn)?;
                kms.commit(Change::new(kms.now()).insert(record.clone())).await?;
                kms.record_act("CreateRootUser", serde_json::json!({ "accessKeyId": record.access_key_id })).await?;
                record
            }
        };
        Ok(RootUser {
            account: account.clone(),
            access_key_id: record.access_key_id.clone(),
            secret_access_key: Zeroizing::new(record.secret.to_string()),
            is_new,
        })
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
