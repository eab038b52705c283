//! Amazon Resource Names, and the ways to name a key.

use std::fmt;
use std::str::FromStr;

use super::{AccountId, AliasName, KeyId, Region};

/// An ARN of this service: `arn:aws:<service>:<region>:<account>:<resource>`.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn {
    /// The service, for example `kms` or `iam`.
    pub service: String,
    /// The Region; empty for `iam` and `sts`.
    pub region: String,
    /// The account.
    pub account: AccountId,
    /// What is left, for example `key/1234abcd-…` or `alias/x`.
    pub resource: String,
}

impl Arn {
    /// The ARN of an account's root user.
    pub fn root_user(account: &AccountId) -> Self {
        Arn { service: "iam".into(), region: String::new(), account: account.clone(), resource: "root".into() }
    }

    /// The ARN of an alias.
    pub fn alias(region: &Region, account: &AccountId, name: &AliasName) -> Self {
        Arn { service: "kms".into(), region: region.to_string(), account: account.clone(), resource: name.to_string() }
    }
}

/// The ARN of a key.
pub fn key_arn(region: &Region, account: &AccountId, key_id: &KeyId) -> Arn {
    Arn {
        service: "kms".into(),
        region: region.to_string(),
        account: account.clone(),
        resource: format!("key/{key_id}"),
    }
}

impl FromStr for Arn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "aws", service, region, account, resource] = parts[..] else { return Err(()) };
        Ok(Arn {
            service: service.to_owned(),
            region: region.to_owned(),
            account: account.parse().map_err(|_| ())?,
            resource: resource.to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:{}:{}:{}:{}", self.service, self.region, self.account, self.resource)
    }
}

/// How a request names a key: by id, key ARN, alias name or alias ARN.
///
/// A bare id or alias is of the caller's account and the request's Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// By key id or key ARN; the account is given with an ARN.
    Key {
        /// The account in the ARN.
        account: Option<AccountId>,
        /// The key id.
        key_id: KeyId,
    },
    /// By alias name or alias ARN; the account is given with an ARN.
    Alias {
        /// The account in the ARN.
        account: Option<AccountId>,
        /// The alias name.
        name: AliasName,
    },
}

/// Why a `KeyId` member names no key.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyRefError {
    /// It begins with `arn:` and is not an ARN of a key or an alias of this service.
    InvalidArn,
    /// It is an ARN of another Region, named here.
    OtherRegion(String),
    /// It is neither a key id nor an alias.
    InvalidKeyId,
}

impl KeyRef {
    /// Reads one of the four forms in a request to `region`.
    pub fn parse(text: &str, region: &Region) -> Result<Self, KeyRefError> {
        if !text.starts_with("arn:") {
            return Self::bare(text, None).ok_or(KeyRefError::InvalidKeyId);
        }
        let arn: Arn = text.parse().map_err(|()| KeyRefError::InvalidArn)?;
        if arn.service != "kms" {
            return Err(KeyRefError::InvalidArn);
        }
        if arn.region != region.as_str() {
            return Err(KeyRefError::OtherRegion(arn.region));
        }
        let resource = arn.resource.strip_prefix("key/").unwrap_or(&arn.resource);
        let by_id = resource.len() != arn.resource.len();
        Self::bare(resource, Some(arn.account))
            .filter(|reference| by_id == matches!(reference, KeyRef::Key { .. }))
            .ok_or(KeyRefError::InvalidArn)
    }

    fn bare(text: &str, account: Option<AccountId>) -> Option<Self> {
        if text.starts_with("alias/") {
            return text.parse().ok().map(|name| KeyRef::Alias { account, name });
        }
        text.parse().ok().map(|key_id| KeyRef::Key { account, key_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn parse(text: &str) -> Result<KeyRef, KeyRefError> {
        KeyRef::parse(text, &"us-east-1".parse().unwrap())
    }

    #[test]
    fn reads_the_four_forms() {
        let account: AccountId = "111122223333".parse().unwrap();
        let key = |account| KeyRef::Key { account, key_id: ID.parse().unwrap() };
        let alias = |account| KeyRef::Alias { account, name: "alias/x".parse().unwrap() };
        assert_eq!(parse(ID), Ok(key(None)));
        assert_eq!(parse(&format!("arn:aws:kms:us-east-1:111122223333:key/{ID}")), Ok(key(Some(account.clone()))));
        assert_eq!(parse("alias/x"), Ok(alias(None)));
        assert_eq!(parse("arn:aws:kms:us-east-1:111122223333:alias/x"), Ok(alias(Some(account))));
    }

    #[test]
    fn refuses_everything_else_by_kind() {
        assert_eq!(parse("fake-key-id"), Err(KeyRefError::InvalidKeyId));
        assert_eq!(
            parse("arn:aws:kms:us-west-2:111122223333:alias/x"),
            Err(KeyRefError::OtherRegion("us-west-2".into()))
        );
        for bad in [
            "arn:aws:kms:us-east-1:1:key/x",
            "arn:aws:s3:us-east-1:111122223333:key/x",
            "arn:",
            "arn:aws:kms:us-east-1:111122223333:key/alias/x",
        ] {
            assert_eq!(parse(bad), Err(KeyRefError::InvalidArn), "{bad}");
        }
    }
}
