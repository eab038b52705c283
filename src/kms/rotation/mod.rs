//! The rotation of key material: on demand, by the key's rotation period, and by its nonce budget.

mod budget;
mod claim;
mod disable_key_rotation;
mod enable_key_rotation;
mod get_key_rotation_status;
mod list_key_rotations;
mod new_material;
mod pauses;
mod rotate_key_on_demand;
mod turns;
mod worker;

pub use budget::Budgets;
pub use disable_key_rotation::DisableKeyRotation;
pub use enable_key_rotation::EnableKeyRotation;
pub use get_key_rotation_status::GetKeyRotationStatus;
pub use list_key_rotations::ListKeyRotations;
pub(in crate::kms) use new_material::rotation_of;
pub(in crate::kms) use pauses::Pauses;
pub use rotate_key_on_demand::RotateKeyOnDemand;
pub(in crate::kms) use turns::Turns;
pub use worker::is_due;

use super::{Error, KeyRow, arn_of};
use crate::model::{KeySpec, Origin};

/// Refuses a key that has one material for life. AWS's wording is not known.
fn check_rotates(key: &KeyRow) -> Result<(), Error> {
    match key.record.spec {
        KeySpec::SymmetricDefault => Ok(()),
        spec => Err(Error::UnsupportedOperation(format!(
            "{} key spec is {spec} which is not valid for this operation.",
            arn_of(&key.record)
        ))),
    }
}

/// Refuses a key that can never rotate by itself: nobody here can make the next material of an imported one.
fn check_rotates_by_itself(key: &KeyRow) -> Result<(), Error> {
    check_rotates(key)?;
    match key.record.origin {
        Origin::AwsKms | Origin::AwsCloudHsm => Ok(()),
        origin => Err(Error::UnsupportedOperation(format!(
            "{} origin is {origin} which is not valid for this operation.",
            arn_of(&key.record)
        ))),
    }
}
