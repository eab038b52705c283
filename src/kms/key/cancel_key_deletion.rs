//! CancelKeyDeletion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html>

use serde::{Deserialize, Serialize};

use super::updated;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Facts, Operation, arn_of, shapes};
use crate::model::KeyState;

/// Takes back a scheduled deletion; the key is disabled then, or waits for its material if that is gone.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CancelKeyDeletion {
    key_id: String,
}

/// The key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
}

impl Operation for CancelKeyDeletion {
    const NAME: &'static str = "CancelKeyDeletion";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        cx.change(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
            let arn = arn_of(&key.record);
            match key.record.state {
                KeyState::PendingDeletion | KeyState::PendingReplicaDeletion => {}
                // Its objects are being destroyed: to the caller it is pending deletion, and stays so.
                KeyState::Destroying => return Err(Error::InvalidState(format!("{arn} is pending deletion."))),
                KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport | KeyState::Unavailable => {
                    return Err(Error::InvalidState(format!("{arn} is not pending deletion.")));
                }
            }
            let lacks_material = key.record.lacks_material(cx.kms.now());
            let change = updated(cx, &key, |record| {
                record.state = if lacks_material { KeyState::PendingImport } else { KeyState::Disabled };
                record.deletion_date = None;
                record.pending_window_days = None;
            });
            Ok((change, Output { key_id: arn.to_string() }))
        })
        .await
    }
}
