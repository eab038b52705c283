//! The records of grants, and how the one for a request is found among very many.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::key_row;
use super::{Record, Row};
use crate::model::{AccountId, EncryptionContext, GrantOperation, GrantOperations, KeyId, Region, Timestamp};

/// A grant on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRecord {
    /// Where the key lives.
    pub region: Region,
    /// Whose the key is.
    pub account: AccountId,
    /// The key.
    pub key_id: KeyId,
    /// 64 hexadecimal digits.
    pub grant_id: String,
    /// The name that makes a repeated creation find this grant; empty if it has none.
    pub name: String,
    /// To whom it is given: an ARN.
    pub grantee: String,
    /// The grantee's unique id at that time, of a user or role: one who has the name later gets nothing.
    pub grantee_id: Option<String>,
    /// Who may retire it: an ARN.
    pub retiring: Option<String>,
    /// The retiring principal's unique id at that time.
    pub retiring_id: Option<String>,
    /// What it permits, sorted, each once.
    pub operations: Vec<GrantOperation>,
    /// When it holds.
    pub constraints: GrantConstraints,
    /// The principal that created it: an ARN.
    pub creator: String,
    /// When it was created.
    pub created: Timestamp,
}

/// When a grant holds; all that is given must be kept.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConstraints {
    /// The encryption context must be exactly this.
    pub encryption_context_equals: Option<EncryptionContext>,
    /// The encryption context must have these pairs.
    pub encryption_context_subset: Option<EncryptionContext>,
    /// The request must come from this resource.
    pub source_arn: Option<String>,
}

impl GrantRecord {
    /// What it permits, as a set.
    pub fn permits(&self) -> GrantOperations {
        self.operations.iter().copied().collect()
    }

    /// Whether `child` permits nothing more, under demands that are as strict or stricter.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html>
    pub fn covers(&self, child: &GrantRecord) -> bool {
        self.permits().contain(child.permits()) && self.constraints.cover(&child.constraints)
    }
}

impl GrantConstraints {
    /// Whether whoever keeps `child` keeps these too.
    fn cover(&self, child: &GrantConstraints) -> bool {
        let exact = child.encryption_context_equals.as_ref();
        let equal = self.encryption_context_equals.as_ref().is_none_or(|wanted| exact == Some(wanted));
        let within = self.encryption_context_subset.as_ref().is_none_or(|wanted| {
            let some = child.encryption_context_subset.as_ref();
            [exact, some].into_iter().flatten().any(|context| context.has(wanted))
        });
        equal && within && (self.source_arn.is_none() || self.source_arn == child.source_arn)
    }
}

impl Record for GrantRecord {
    const TABLE: &'static str = "grants";

    fn primary_key(&self) -> String {
        grant_row(&self.region, &self.key_id, &self.grant_id)
    }
}

/// The primary key of a [`GrantRecord`].
pub(super) fn grant_row(region: &Region, key_id: &KeyId, grant_id: &str) -> String {
    format!("{}/{grant_id}", key_row(region, key_id))
}

/// The grants of one key to one grantee, in an order in which those that can hold for a request lie together: by what
/// they demand of the encryption context, then by what they permit.
#[derive(Default)]
pub(super) struct GrantsTo(BTreeMap<Place, Arc<Row<GrantRecord>>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    demand: Demand,
    permits: GrantOperations,
    grant_id: String,
}

/// What a request must have for a grant to hold: necessary, not sufficient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    Nothing,
    /// Whatever: under this, every grant that demands something lies a second time.
    Something,
    /// The canonical bytes of the whole encryption context.
    Equals(Vec<u8>),
    /// One pair of it.
    Pair(String, String),
}

impl GrantsTo {
    pub(super) fn insert(&mut self, row: &Arc<Row<GrantRecord>>) {
        self.0.extend(Place::all_of(&row.record).map(|place| (place, row.clone())));
    }

    pub(super) fn remove(&mut self, row: &Arc<Row<GrantRecord>>) {
        for place in Place::all_of(&row.record) {
            self.0.remove(&place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first grant that permits `operation`, may hold under `context`, and is `wanted`.
    pub(super) fn find(
        &self,
        operation: GrantOperation,
        context: &EncryptionContext,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let pairs = context.pairs().map(|(key, value)| Demand::Pair(key.to_owned(), value.to_owned()));
        let mut demands = [Demand::Nothing, Demand::Equals(context.canonical())].into_iter().chain(pairs);
        demands.find_map(|demand| self.find_under(demand, operation, wanted))
    }

    /// The first grant that permits `operation` and is `wanted`, whatever it demands of the encryption context.
    pub(super) fn find_any(
        &self,
        operation: GrantOperation,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let mut demands = [Demand::Nothing, Demand::Something].into_iter();
        demands.find_map(|demand| self.find_under(demand, operation, wanted))
    }

    /// Goes from one set of operations to the next, so that many grants for other operations are stepped over at once.
    fn find_under(
        &self,
        demand: Demand,
        operation: GrantOperation,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let mut from = Included(Place { demand, permits: GrantOperations::default(), grant_id: String::new() });
        loop {
            let (Included(start) | Excluded(start)) = &from else { return None };
            let (place, row) = self.0.range((from.as_ref(), Unbounded)).next()?;
            if place.demand != start.demand {
                return None;
            }
            if place.permits.has(operation) {
                if wanted(&row.record) {
                    return Some(row.clone());
                }
                from = Excluded(place.clone());
            } else {
                let (demand, permits) = (place.demand.clone(), place.permits.next()?);
                from = Included(Place { demand, permits, grant_id: String::new() });
            }
        }
    }
}

impl Place {
    fn all_of(grant: &GrantRecord) -> impl Iterator<Item = Place> {
        let place = Place::of(grant);
        let again = (place.demand != Demand::Nothing).then(|| Place { demand: Demand::Something, ..place.clone() });
        std::iter::once(place).chain(again)
    }

    fn of(grant: &GrantRecord) -> Self {
        let GrantConstraints { encryption_context_equals, encryption_context_subset, .. } = &grant.constraints;
        let first = encryption_context_subset.iter().flat_map(EncryptionContext::pairs).next();
        let demand = match (encryption_context_equals, first) {
            (Some(context), _) => Demand::Equals(context.canonical()),
            (None, Some((key, value))) => Demand::Pair(key.to_owned(), value.to_owned()),
            (None, None) => Demand::Nothing,
        };
        Place { demand, permits: grant.permits(), grant_id: grant.grant_id.clone() }
    }
}
