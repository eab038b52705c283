//! Which token has the keys of which Region: known by its serial number, since a label can be given to another one.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::model::{Region, Timestamp};

/// The token of one Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionTokenRecord {
    /// The Region.
    pub region: Region,
    /// The serial number of its token.
    pub serial: String,
    /// The label of the token then.
    pub label: String,
    /// Since when the token has the Region's keys.
    pub since: Timestamp,
}

impl Record for RegionTokenRecord {
    const TABLE: &'static str = "region-tokens";

    fn primary_key(&self) -> String {
        self.region.to_string()
    }
}
