//! The constraints of a grant as requests and answers have them.

use serde::{Deserialize, Serialize};

use crate::kms::Error;
use crate::model::{AccountId, EncryptionContext};
use crate::store::GrantConstraints;

/// When a grant holds: the model's `GrantConstraints`.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Constraints {
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_context_subset: Option<EncryptionContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_context_equals: Option<EncryptionContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_arn: Option<String>,
}

impl Constraints {
    /// As the record has them, if they keep AWS's limits. Several at once must all be kept.
    pub fn checked(self) -> Result<GrantConstraints, Error> {
        let Constraints { encryption_context_subset, encryption_context_equals, source_arn } = self;
        check_context("encryptionContextSubset", encryption_context_subset.as_ref())?;
        check_context("encryptionContextEquals", encryption_context_equals.as_ref())?;
        check_source(source_arn.as_deref())?;
        Ok(GrantConstraints { encryption_context_equals, encryption_context_subset, source_arn })
    }

    /// Of a record; none if nothing is demanded.
    pub fn of(constraints: &GrantConstraints) -> Option<Self> {
        let GrantConstraints { encryption_context_equals, encryption_context_subset, source_arn } = constraints.clone();
        let any = *constraints != GrantConstraints::default();
        any.then_some(Constraints { encryption_context_subset, encryption_context_equals, source_arn })
    }
}

/// The values of `kms:GrantConstraintType`.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-grant-constraint-type>
pub(super) fn types(constraints: &GrantConstraints) -> Vec<&'static str> {
    let GrantConstraints { encryption_context_equals, encryption_context_subset, source_arn } = constraints;
    let all = [
        (encryption_context_equals.is_some(), "EncryptionContextEquals"),
        (encryption_context_subset.is_some(), "EncryptionContextSubset"),
        (source_arn.is_some(), "SourceArn"),
    ];
    all.into_iter().filter_map(|(given, name)| given.then_some(name)).collect()
}

/// At most 8 pairs, with values of at most 384 characters.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html#KMS-CreateGrant-request-Constraints>
fn check_context(member: &str, context: Option<&EncryptionContext>) -> Result<(), Error> {
    let too_long = |max: usize| {
        Err(Error::Validation(format!(
            "1 validation error detected: Value at 'constraints.{member}' failed to satisfy constraint: Member must \
             have length less than or equal to {max}"
        )))
    };
    let Some(context) = context else { return Ok(()) };
    if context.pairs().count() > MAX_PAIRS {
        return too_long(MAX_PAIRS);
    }
    if context.pairs().any(|(_, value)| value.chars().count() > MAX_VALUE_LEN) {
        return too_long(MAX_VALUE_LEN);
    }
    if context.pairs().any(|(key, _)| key.len() > MAX_KEY_LEN) {
        return too_long(MAX_KEY_LEN);
    }
    Ok(())
}

fn check_source(arn: Option<&str>) -> Result<(), Error> {
    let is_one = |arn: &str| {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        matches!(parts[..], ["arn", _, service, _, account, resource]
            if !service.is_empty() && account.parse::<AccountId>().is_ok() && !resource.is_empty())
    };
    match arn {
        Some(arn) if !is_one(arn) => Err(Error::InvalidArn(format!("Invalid arn {arn}"))),
        _ => Ok(()),
    }
}

const MAX_PAIRS: usize = 8;
const MAX_VALUE_LEN: usize = 384;
/// In bytes: a longer one is in no request, whose whole encryption context is no longer. AWS names no limit.
const MAX_KEY_LEN: usize = 8_192;
