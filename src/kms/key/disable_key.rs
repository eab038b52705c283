//! DisableKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html>

use serde::Deserialize;

use super::set_state;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Operation, shapes};
use crate::model::KeyState;

/// Makes a key unusable until it is enabled again.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisableKey {
    key_id: String,
}

impl Operation for DisableKey {
    const NAME: &'static str = "DisableKey";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        set_state::<Self>(cx, &self.key_id, KeyState::Disabled).await
    }
}
