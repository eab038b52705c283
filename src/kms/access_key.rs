//! New access keys and unique ids.

use zeroize::Zeroizing;

use crate::crypto::{self, NoRandom};
use crate::model::{AccountId, Timestamp};
use crate::store::AccessKeyRecord;

/// A new active access key of the principal with this ARN and unique id; of a root user, its account's id.
pub fn new_access_key(
    account: &AccountId,
    principal: String,
    user_id: &str,
    now: Timestamp,
) -> Result<AccessKeyRecord, NoRandom> {
    Ok(AccessKeyRecord {
        access_key_id: format!("AKIA{}", random_text(16, BASE_32)?.as_str()),
        account: account.clone(),
        principal,
        user_id: user_id.to_owned(),
        secret: std::mem::take(&mut *random_text(40, BASE_64)?),
        active: true,
        created: now,
    })
}

/// A unique id that begins with `prefix` (`AIDA` for a user, `AROA` for a role) and has 17 characters behind it.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
pub fn new_unique_id(prefix: &str) -> Result<String, NoRandom> {
    Ok(format!("{prefix}{}", random_text(17, BASE_32)?.as_str()))
}

/// Random characters of an alphabet whose size divides 256, so that none is likelier than its share.
fn random_text(len: usize, alphabet: &[u8]) -> Result<Zeroizing<String>, NoRandom> {
    let mut bytes = Zeroizing::new(vec![0_u8; len]);
    crypto::random(&mut bytes)?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()))
}

const BASE_32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE_64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_secrets_have_their_form() {
        let account = "111122223333".parse().unwrap();
        let made = || new_access_key(&account, "arn".into(), "AIDA", Timestamp::from_millis(0)).unwrap();
        let key = made();
        assert_eq!((key.access_key_id.len(), key.secret.len()), (20, 40));
        assert!(key.access_key_id.starts_with("AKIA"));
        assert_ne!(key.secret, made().secret);
        let id = new_unique_id("AIDA").unwrap();
        assert!(id.len() == 21 && id.bytes().all(|byte| BASE_32.contains(&byte)), "{id}");
    }
}
