//! TagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html>

use serde::Deserialize;

use super::{Tag, check_tags, merged};
use crate::kms::shape::{Member, required};
use crate::kms::usable::not_pending_deletion;
use crate::kms::{Context, Error, Facts, Operation, shapes};
use crate::store::Change;

/// Adds tags to a key, over those with the same tag keys.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagResource {
    key_id: String,
    tags: Vec<Tag>,
}

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID), required("Tags", &shapes::TAG_LIST)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        check_tags(&self.tags)?;
        let facts = Facts { tags: &self.tags, ..Facts::default() };
        cx.change(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?.into_thing();
            not_pending_deletion(&key)?;
            let mut record = cx.kms.when_available(&key).record.clone();
            record.tags = merged(record.tags, self.tags.clone())?;
            Ok((Change::new(cx.kms.now()).update(&key, record), ()))
        })
        .await
    }
}
