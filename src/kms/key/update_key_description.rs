//! UpdateKeyDescription: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateKeyDescription.html>

use serde::Deserialize;

use super::update_key;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Facts, Operation, shapes};

/// Replaces the description of a key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateKeyDescription {
    key_id: String,
    description: String,
}

impl Operation for UpdateKeyDescription {
    const NAME: &'static str = "UpdateKeyDescription";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), required("Description", &shapes::DESCRIPTION)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        update_key::<Self>(cx, &self.key_id, &Facts::default(), |key| key.description.clone_from(&self.description))
            .await
    }
}
