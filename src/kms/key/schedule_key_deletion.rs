//! ScheduleKeyDeletion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html>

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metadata::some_epoch_seconds;
use super::updated;
use crate::kms::shape::{Member, optional, required};
use crate::kms::usable::not_pending_deletion;
use crate::kms::{Context, Error, Facts, Operation, arn_of, shapes};
use crate::model::{KeyState, Timestamp};

/// Sets the date, 7 to 30 days ahead, when the key's token objects are destroyed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScheduleKeyDeletion {
    key_id: String,
    pending_window_in_days: Option<u32>,
}

/// When the key will be gone.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_epoch_seconds")]
    deletion_date: Option<Timestamp>,
    key_state: &'static str,
    pending_window_in_days: u32,
}

impl Operation for ScheduleKeyDeletion {
    const NAME: &'static str = "ScheduleKeyDeletion";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("PendingWindowInDays", &shapes::PENDING_WINDOW_IN_DAYS)];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let days = self.pending_window_in_days.unwrap_or(30);
        // The model's shape allows 1 to 365; the service allows 7 to 30.
        if !(7..=30).contains(&days) {
            return Err(Error::Validation("PendingWindowInDays must be between 7 and 30 (inclusive).".into()));
        }
        let facts = Facts::default().with("kms:schedulekeydeletionpendingwindowindays", Some(days.to_string()));
        cx.change(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?.into_thing();
            not_pending_deletion(&key)?;
            // The waiting time of a primary key begins when its last replica is gone.
            let (state, deletion_date) = match cx.kms.replicas_of(&key.record).is_empty() {
                true => {
                    let date = cx.kms.now().plus(Duration::from_secs(u64::from(days) * 86_400));
                    (KeyState::PendingDeletion, Some(date))
                }
                false => (KeyState::PendingReplicaDeletion, None),
            };
            let change = updated(cx, &key, |record| {
                record.state = state;
                record.deletion_date = deletion_date;
                record.pending_window_days = Some(days);
            });
            let key_state = state.wire();
            let key_id = arn_of(&key.record).to_string();
            Ok((change, Output { key_id, deletion_date, key_state, pending_window_in_days: days }))
        })
        .await
    }
}
