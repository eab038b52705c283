//! Grant tokens: opaque, each new, and each for one grant on one key of one account in one Region.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Kms;
use crate::crypto;
use crate::kms::Error;
use crate::model::{AccountId, KeyId, Region, Secret};
use crate::store::{GrantRecord, Row};

/// Makes and reads grant tokens under a key derived from the store's.
pub struct GrantTokens {
    key: Secret,
}

impl GrantTokens {
    /// Tokens under this key.
    pub fn new(key: Secret) -> Self {
        GrantTokens { key }
    }

    /// A new token for this grant; all tokens of a grant are worth the same.
    pub fn write(&self, grant: &GrantRecord) -> Result<String, crypto::NoRandom> {
        let GrantRecord { account, region, key_id, grant_id, .. } = grant;
        let salt: [u8; SALT_LEN] = crypto::random_array()?;
        let body = [&salt[..], format!("{account}/{region}/{key_id}/{grant_id}").as_bytes()].concat();
        // Not the alphabet of URLs: to a command line, what begins with `-` is an option.
        Ok(STANDARD_NO_PAD.encode([&self.mac(&body)[..], &body].concat()))
    }

    /// The grant that the token names, if it is one of ours for this Region.
    fn read(&self, region: &Region, token: &str) -> Option<(AccountId, KeyId, String)> {
        let bytes = STANDARD_NO_PAD.decode(token).ok()?;
        let (mac, body) = bytes.split_first_chunk::<32>()?;
        if !crypto::equal(mac, &self.mac(body)) {
            return None;
        }
        let (_, names) = body.split_first_chunk::<SALT_LEN>()?;
        let names: Vec<&str> = std::str::from_utf8(names).ok()?.split('/').collect();
        let [account, of, key_id, grant_id] = names[..] else { return None };
        let here = of == region.as_str();
        here.then_some(())?;
        Some((account.parse().ok()?, key_id.parse().ok()?, grant_id.to_owned()))
    }

    fn mac(&self, body: &[u8]) -> [u8; 32] {
        crypto::hmac_sha256(self.key.expose(), &[body])
    }
}

impl Kms {
    /// The grant that a token was given out for, if there still is one.
    pub fn grant_of_token(&self, region: &Region, token: &str) -> Result<Arc<Row<GrantRecord>>, Error> {
        let named = self.grant_tokens.read(region, token);
        let found = named.and_then(|(account, key_id, grant_id)| {
            self.store.grant(region, &key_id, &grant_id).filter(|grant| grant.record.account == account)
        });
        found.ok_or(Error::InvalidGrantToken)
    }
}

/// Makes every token new, in bytes.
const SALT_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn grant() -> GrantRecord {
        GrantRecord {
            region: "eu-west-1".parse().unwrap(),
            account: "111122223333".parse().unwrap(),
            key_id: KeyId::from_bytes([7; 16]),
            grant_id: "ab".repeat(32),
            name: String::new(),
            grantee: "arn:aws:iam::111122223333:root".into(),
            grantee_id: None,
            retiring: None,
            retiring_id: None,
            operations: vec!["Decrypt".parse().unwrap()],
            constraints: Default::default(),
            creator: "arn:aws:iam::111122223333:root".into(),
            created: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn a_token_is_good_for_its_grant_in_its_region_and_always_new() {
        let (tokens, grant) = (GrantTokens::new(Secret::new(vec![1; 32])), grant());
        let token = tokens.write(&grant).unwrap();
        assert_ne!(token, tokens.write(&grant).unwrap());
        let names = Some((grant.account.clone(), grant.key_id, grant.grant_id.clone()));
        assert_eq!(tokens.read(&grant.region, &token), names);
        assert_eq!(tokens.read(&"eu-west-2".parse().unwrap(), &token), None);
        assert_eq!(GrantTokens::new(Secret::new(vec![2; 32])).read(&grant.region, &token), None);
    }

    #[test]
    fn no_token_looks_like_an_option() {
        let (tokens, grant) = (GrantTokens::new(Secret::new(vec![1; 32])), grant());
        for _ in 0..2_000 {
            assert!(!tokens.write(&grant).unwrap().starts_with('-'));
        }
    }

    #[test]
    fn a_token_with_any_character_changed_is_none() {
        let (tokens, grant) = (GrantTokens::new(Secret::new(vec![1; 32])), grant());
        let token = tokens.write(&grant).unwrap();
        for at in 0..token.len() {
            for to in ["A", "B", "_", "=", ""] {
                let forged = [&token[..at], to, &token[at + 1..]].concat();
                assert!(forged == token || tokens.read(&grant.region, &forged).is_none(), "{at} {to}");
            }
            assert_eq!(tokens.read(&grant.region, &token[..at]), None);
        }
        assert_eq!(tokens.read(&grant.region, &(token + "A")), None);
    }
}
