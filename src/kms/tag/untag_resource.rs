//! UntagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UntagResource.html>

use serde::Deserialize;

use crate::kms::key::update_key;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Facts, Operation, shapes};

/// Removes tags from a key; tag keys that it does not have are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UntagResource {
    key_id: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), required("TagKeys", &shapes::TAG_KEY_LIST)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        let facts = Facts { tag_keys: &self.tag_keys, ..Facts::default() };
        update_key::<Self>(cx, &self.key_id, &facts, |key| key.tags.retain(|name, _| !self.tag_keys.contains(name)))
            .await
    }
}
