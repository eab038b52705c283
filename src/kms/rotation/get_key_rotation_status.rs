//! GetKeyRotationStatus: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html>

use serde::{Deserialize, Serialize};

use super::check_rotates_by_itself;
use super::new_material::rotation_of;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Facts, Operation, shapes};
use crate::model::{KeyId, KeyState};
use crate::store::{IntentKind, KeyRecord};

/// Tells whether a key rotates by itself, how often, and when next.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyRotationStatus {
    key_id: String,
}

/// The schedule, as far as there is one.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_rotation_enabled: bool,
    key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_period_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_demand_rotation_start_date: Option<f64>,
}

impl Operation for GetKeyRotationStatus {
    const NAME: &'static str = "GetKeyRotationStatus";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = true;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
        check_rotates_by_itself(&key)?;
        // Shared by all keys of a multi-Region key; none of them rotates while the primary one is on its way to deletion.
        let primary = cx.kms.primary_of(&key);
        let schedule = schedule(&key.record).and(schedule(&primary.record));
        // AWS documents the status of a key in a custom key store as always false.
        let schedule = schedule.filter(|()| cx.kms.check_beyond_aws(&key.record).is_ok());
        let schedule = schedule.and_then(|()| primary.record.automatic_rotation);
        let running = rotation_of(&cx.kms.store, &primary.record);
        let on_demand = running.filter(|intent| intent.record.kind == IntentKind::RotateOnDemand);
        Ok(Output {
            key_rotation_enabled: schedule.is_some(),
            key_id: key.record.key_id,
            rotation_period_in_days: schedule.map(|schedule| schedule.period_days),
            next_rotation_date: schedule.map(|schedule| schedule.next.as_epoch_seconds()),
            on_demand_rotation_start_date: on_demand.map(|intent| intent.record.started.as_epoch_seconds()),
        })
    }
}

/// A key on its way to deletion does not rotate; if that is cancelled, its schedule is there again.
fn schedule(key: &KeyRecord) -> Option<()> {
    match key.state {
        KeyState::PendingDeletion | KeyState::PendingReplicaDeletion | KeyState::Destroying => None,
        KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport | KeyState::Unavailable => Some(()),
    }
}
