//! How often materials may have wrapped, and how often the service was started: the two counts behind a nonce budget.
//!
//! Both are in the complete set, unlike the last uses of keys, since something is decided by them: whoever could put an
//! older count back would have a key encrypt more often than is safe. They are written seldom, a count once in up to a
//! million wraps.

use serde::{Deserialize, Serialize};

use super::Record;
use super::record::key_row;
use crate::model::{KeyId, Region};

/// How often one material may have wrapped, at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrapCountRecord {
    /// Where the key lives.
    pub region: Region,
    /// The key.
    pub key_id: KeyId,
    /// The number of the material.
    pub material: u32,
    /// No more wraps than this were made up to and in the run of the service with the number below.
    pub claimed: u64,
    /// The number of that run.
    pub run: u64,
}

/// How often the service was started with this store; there is one such record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunsRecord {
    /// The number of the last run, from 1.
    pub count: u64,
    /// The last sequence number of the audit log when it began.
    pub audit_seq: u64,
}

impl Record for WrapCountRecord {
    const TABLE: &'static str = "wrap-counts";

    fn primary_key(&self) -> String {
        wrap_count_row(&self.region, &self.key_id, self.material)
    }
}

impl Record for RunsRecord {
    const TABLE: &'static str = "runs";

    fn primary_key(&self) -> String {
        RUNS_ROW.to_owned()
    }
}

/// The primary key of a [`WrapCountRecord`].
pub(super) fn wrap_count_row(region: &Region, key_id: &KeyId, material: u32) -> String {
    format!("{}/{material}", key_row(region, key_id))
}

/// The primary key of the [`RunsRecord`].
pub(super) const RUNS_ROW: &str = "runs";
