//! Operations on keys and their lives.

mod cancel_key_deletion;
mod create_key;
mod describe_key;
mod disable_key;
mod enable_key;
mod get_key_last_usage;
mod get_public_key;
mod list_keys;
mod metadata;
mod schedule_key_deletion;
mod update_key_description;

pub use cancel_key_deletion::CancelKeyDeletion;
pub use create_key::CreateKey;
pub(super) use create_key::GENERATION_TIME;
pub(in crate::kms) use create_key::{check_offered, key_material_id};
pub use describe_key::DescribeKey;
pub use disable_key::DisableKey;
pub use enable_key::EnableKey;
pub use get_key_last_usage::GetKeyLastUsage;
pub use get_public_key::GetPublicKey;
pub use list_keys::ListKeys;
pub(in crate::kms) use metadata::expiration_model;
pub use metadata::{Algorithms, KeyMetadata};
pub use schedule_key_deletion::ScheduleKeyDeletion;
pub use update_key_description::UpdateKeyDescription;

use super::usable::{not_pending_deletion, with_material};
use super::{Context, Error, Facts, KeyRow, Operation};
use crate::model::KeyState;
use crate::store::{Change, KeyRecord};

/// Changes the record of one key that the caller may change and that is not on its way to deletion.
pub(super) async fn update_key<O: Operation>(
    cx: &Context,
    key_id: &str,
    facts: &Facts<'_>,
    update: impl Fn(&mut KeyRecord),
) -> Result<(), Error> {
    cx.change(|_| {
        let key = cx.authorize::<O>(cx.key_without_alias(key_id)?, facts)?.into_thing();
        not_pending_deletion(&key)?;
        Ok((updated(cx, &key, &update), ()))
    })
    .await
}

/// Enables or disables a key that the caller may change and that has its material.
async fn set_state<O: Operation>(cx: &Context, key_id: &str, state: KeyState) -> Result<(), Error> {
    cx.change(|_| {
        let key = cx.authorize::<O>(cx.key_without_alias(key_id)?, &Facts::default())?.into_thing();
        with_material(&cx.kms.when_available(&key))?;
        Ok((updated(cx, &key, |record| record.state = state), ()))
    })
    .await
}

/// The change that updates the record of one key.
pub(super) fn updated(cx: &Context, key: &KeyRow, update: impl Fn(&mut KeyRecord)) -> Change {
    let mut record = cx.kms.when_available(key).record.clone();
    update(&mut record);
    Change::new(cx.kms.now()).update(key, record)
}
