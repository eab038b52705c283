//! EnableKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html>

use serde::Deserialize;

use super::set_state;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Operation, shapes};
use crate::model::KeyState;

/// Makes a disabled key usable again.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnableKey {
    key_id: String,
}

impl Operation for EnableKey {
    const NAME: &'static str = "EnableKey";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        set_state::<Self>(cx, &self.key_id, KeyState::Enabled).await
    }
}
