//! DisableKeyRotation: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKeyRotation.html>

use serde::Deserialize;

use super::check_rotates_by_itself;
use crate::kms::key::updated;
use crate::kms::multi_region::check_not_replica;
use crate::kms::shape::{Member, required};
use crate::kms::usable::enabled;
use crate::kms::{Context, Error, Facts, Operation, shapes};

/// Has a key rotate no more by its period.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisableKeyRotation {
    key_id: String,
}

impl Operation for DisableKeyRotation {
    const NAME: &'static str = "DisableKeyRotation";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        cx.change(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
            check_rotates_by_itself(&key)?;
            // What was enabled before the settings held the custom key store to AWS's limits can be disabled.
            if key.record.automatic_rotation.is_none() {
                cx.kms.check_beyond_aws(&key.record)?;
            }
            check_not_replica(&key)?;
            enabled(&key)?;
            Ok((updated(cx, &key, |record| record.automatic_rotation = None), ()))
        })
        .await
    }
}
