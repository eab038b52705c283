//! Operations on aliases.

mod create_alias;
mod delete_alias;
mod list_aliases;
mod update_alias;

pub use create_alias::CreateAlias;
pub use delete_alias::DeleteAlias;
pub use list_aliases::ListAliases;
pub use update_alias::UpdateAlias;

use super::{Context, Error, Facts, KeyRow, Operation};
use crate::model::{AliasName, Arn, InvalidAliasName};
use crate::store::{AliasRecord, Row};

/// Aliases for each KMS key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>
const ALIASES_PER_KEY: usize = 50;

/// Reads the name of an alias that a caller may make, change or delete.
fn alias_name(text: &str) -> Result<AliasName, Error> {
    let name: AliasName = text.parse().map_err(|error| match error {
        InvalidAliasName::Prefix => Error::Validation(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
                .into(),
        ),
        // AWS's wording is not known.
        InvalidAliasName::Characters => {
            Error::InvalidAliasName(format!("{text} contains invalid characters for an alias"))
        }
    })?;
    if name.is_reserved() {
        // Unverified: the model declares InvalidAliasNameException for CreateAlias.
        return Err(Error::InvalidAliasName("The alias prefix 'alias/aws/' is reserved for AWS managed keys.".into()));
    }
    Ok(name)
}

/// Asks whether the caller may do this operation to the alias itself; the key behind it is asked separately.
fn authorize_alias<O: Operation>(cx: &Context, name: &AliasName) -> Result<(), Error> {
    let arn = Arn::alias(&cx.request.region, &cx.caller.account, name).to_string();
    cx.authorize_own(O::NAME, &arn, &Facts::default())?;
    Ok(())
}

/// Asks whether the caller may do this operation to the key that an alias stands for. A key that is destroyed
/// takes its aliases along, so that there is one.
fn authorize_target<O: Operation>(cx: &Context, alias: &Row<AliasRecord>) -> Result<KeyRow, Error> {
    let target = cx.key_without_alias(&alias.record.target.to_string())?;
    Ok(cx.authorize::<O>(target, &Facts::default())?.into_thing())
}
