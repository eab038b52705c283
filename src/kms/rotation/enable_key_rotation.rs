//! EnableKeyRotation: <https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html>

use serde::Deserialize;

use super::check_rotates_by_itself;
use crate::kms::key::updated;
use crate::kms::multi_region::check_not_replica;
use crate::kms::shape::{Member, optional, required};
use crate::kms::usable::enabled;
use crate::kms::{Context, Error, Facts, Operation, shapes};
use crate::store::AutomaticRotation;

/// Has a key rotate by itself every 90 to 2,560 days.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnableKeyRotation {
    key_id: String,
    rotation_period_in_days: Option<u32>,
}

impl Operation for EnableKeyRotation {
    const NAME: &'static str = "EnableKeyRotation";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("RotationPeriodInDays", &shapes::ROTATION_PERIOD_IN_DAYS)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        let period = self.rotation_period_in_days.unwrap_or(DEFAULT_PERIOD);
        // Whether AWS has the key where the period is left out is not known; so a Deny about short periods is kept.
        let facts = Facts::default().with("kms:rotationperiodindays", Some(period.to_string()));
        cx.change(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?.into_thing();
            check_rotates_by_itself(&key)?;
            cx.kms.check_beyond_aws(&key.record)?;
            check_not_replica(&key)?;
            enabled(&key)?;
            let schedule = match key.record.automatic_rotation {
                // Who enables it every week must not put the rotation off for ever.
                Some(schedule) => schedule.with_period(period),
                None => AutomaticRotation::beginning(cx.kms.now(), period),
            };
            Ok((updated(cx, &key, |record| record.automatic_rotation = Some(schedule)), ()))
        })
        .await
    }
}

const DEFAULT_PERIOD: u32 = 365;
