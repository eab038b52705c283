//! ListResourceTags: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html>

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::{Tag, tag_list};
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, Operation, page_limit, shapes};

/// Lists the tags of a key, a page at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListResourceTags {
    key_id: String,
    limit: Option<usize>,
    marker: Option<String>,
}

/// One page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

impl Operation for ListResourceTags {
    const NAME: &'static str = "ListResourceTags";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("Limit", &shapes::LIMIT), optional("Marker", &shapes::MARKER)];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let limit = page_limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
        let list = format!("{}/{}", Self::NAME, key.record.key_id);
        let last = cx.kms.markers.read(cx, &list, self.marker.as_deref())?;
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = key.record.tags.range((after, Bound::Unbounded)).take(limit + 1);
        let mut tags = tag_list(rest);
        let next_marker = cx.kms.markers.page(cx, &list, &mut tags, limit, |tag| tag.tag_key.clone());
        Ok(Output { tags, truncated: next_marker.is_some(), next_marker })
    }
}

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 50;
