//! The records of grants, and how the one for a request is found among very many.

use std::collections::BTreeMap;
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

    /// Whether a creation of `other` asks for this grant once more: both have the same name and are the same in all that
    /// can be asked for. Without a name, every creation makes another grant.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html#KMS-CreateGrant-request-Name>
    pub fn is_twin_of(&self, other: &GrantRecord) -> bool {
        let GrantRecord { grant_id, creator, created, .. } = self.clone();
        !self.name.is_empty() && *self == GrantRecord { grant_id, creator, created, ..other.clone() }
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

/// The grants of one key to one grantee, by what they demand of the encryption context and then by what they permit, so
/// that those that cannot hold for a request are not looked at.
#[derive(Default)]
pub(super) struct GrantsTo(BTreeMap<Demand, BTreeMap<GrantOperations, Grants>>);

/// Grants by id.
type Grants = BTreeMap<String, Arc<Row<GrantRecord>>>;

/// What a request must have for a grant to hold: necessary, not sufficient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    Nothing,
    /// Whatever: under this, every grant that demands something of the encryption context lies a second time.
    Something,
    /// The canonical bytes of the whole encryption context.
    Equals(Vec<u8>),
    /// One pair of it.
    Pair(String, String),
    /// To come from a resource, whichever: no request does here.
    Source,
}

impl GrantsTo {
    pub(super) fn insert(&mut self, row: &Arc<Row<GrantRecord>>) {
        // Of several pairs, the one that the fewest others lie under: most grants of an application share one.
        let demand = Demand::all_of(&row.record.constraints).into_iter().min_by_key(|demand| self.count(demand));
        if let Some(demand) = demand {
            if demand.is_of_a_context() {
                self.put(Demand::Something, row);
            }
            self.put(demand, row);
        }
    }

    pub(super) fn remove(&mut self, row: &Arc<Row<GrantRecord>>) {
        let permits = row.record.permits();
        for demand in Demand::all_of(&row.record.constraints).into_iter().chain([Demand::Something]) {
            let Some(sets) = self.0.get_mut(&demand) else { continue };
            let Some(grants) = sets.get_mut(&permits) else { continue };
            grants.remove(&row.record.grant_id);
            if grants.is_empty() {
                sets.remove(&permits);
            }
            if sets.is_empty() {
                self.0.remove(&demand);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A grant that permits `operation`, may hold under `context`, and is `wanted`.
    pub(super) fn find(
        &self,
        operation: GrantOperation,
        context: &EncryptionContext,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let pairs = context.pairs().map(|(key, value)| Demand::Pair(key.to_owned(), value.to_owned()));
        let mut demands = [Demand::Nothing, Demand::Equals(context.canonical())].into_iter().chain(pairs);
        demands.find_map(|demand| self.find_under(&demand, operation, wanted))
    }

    /// A grant that permits `operation` and is `wanted`, whatever it demands of the encryption context.
    pub(super) fn find_any(
        &self,
        operation: GrantOperation,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let mut demands = [Demand::Nothing, Demand::Something].into_iter();
        demands.find_map(|demand| self.find_under(&demand, operation, wanted))
    }

    fn find_under(
        &self,
        demand: &Demand,
        operation: GrantOperation,
        wanted: &dyn Fn(&GrantRecord) -> bool,
    ) -> Option<Arc<Row<GrantRecord>>> {
        let sets = self.0.get(demand)?.iter().filter(|(permits, _)| permits.has(operation));
        sets.flat_map(|(_, grants)| grants.values()).find(|row| wanted(&row.record)).cloned()
    }

    fn put(&mut self, demand: Demand, row: &Arc<Row<GrantRecord>>) {
        let grants = self.0.entry(demand).or_default().entry(row.record.permits()).or_default();
        grants.insert(row.record.grant_id.clone(), row.clone());
    }

    fn count(&self, demand: &Demand) -> usize {
        self.0.get(demand).map_or(0, |sets| sets.values().map(Grants::len).sum())
    }
}

impl Demand {
    /// All that these constraints demand, any one of which a grant can be found by; at least one.
    fn all_of(constraints: &GrantConstraints) -> Vec<Demand> {
        let GrantConstraints { encryption_context_equals, encryption_context_subset, source_arn } = constraints;
        if source_arn.is_some() {
            return vec![Demand::Source];
        }
        if let Some(context) = encryption_context_equals {
            return vec![Demand::Equals(context.canonical())];
        }
        let pairs = encryption_context_subset.iter().flat_map(EncryptionContext::pairs);
        let pairs: Vec<_> = pairs.map(|(key, value)| Demand::Pair(key.to_owned(), value.to_owned())).collect();
        if pairs.is_empty() { vec![Demand::Nothing] } else { pairs }
    }

    fn is_of_a_context(&self) -> bool {
        matches!(self, Demand::Equals(_) | Demand::Pair(..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::samples;

    fn grant(number: usize, operations: &[&str], constraints: GrantConstraints) -> GrantRecord {
        let mut operations: Vec<GrantOperation> = operations.iter().map(|name| name.parse().unwrap()).collect();
        operations.sort_unstable();
        operations.dedup();
        GrantRecord {
            region: samples::region(),
            account: samples::account(),
            key_id: samples::key_id(7),
            grant_id: format!("{number:064x}"),
            name: String::new(),
            grantee: "arn:aws:iam::111122223333:user/alice".into(),
            grantee_id: Some(format!("AIDA{}", number % 3)),
            retiring: None,
            retiring_id: None,
            operations,
            constraints,
            creator: "arn:aws:iam::111122223333:root".into(),
            created: samples::now(),
        }
    }

    fn subset<const N: usize>(pairs: [(&str, &str); N]) -> GrantConstraints {
        GrantConstraints { encryption_context_subset: Some(EncryptionContext::from(pairs)), ..Default::default() }
    }

    fn index(grants: &[GrantRecord]) -> (GrantsTo, Vec<Arc<Row<GrantRecord>>>) {
        let rows: Vec<_> = grants.iter().map(|grant| Arc::new(Row::new(1, grant.clone()))).collect();
        let mut index = GrantsTo::default();
        rows.iter().for_each(|row| index.insert(row));
        (index, rows)
    }

    /// How many grants are looked at before one is found, or none.
    fn looks(index: &GrantsTo, operation: &str, context: &EncryptionContext, wanted: &str) -> usize {
        let count = std::cell::Cell::new(0);
        let is_wanted = |grant: &GrantRecord| {
            count.set(count.get() + 1);
            let demanded = grant.constraints.encryption_context_subset.as_ref();
            grant.grant_id == wanted && demanded.is_none_or(|demanded| context.has(demanded))
        };
        let found = index.find(operation.parse().unwrap(), context, &is_wanted);
        assert_eq!(found.is_some(), !wanted.is_empty());
        count.get()
    }

    /// The ways in which ten thousand grants to one grantee differ, and a request looks at a handful of them.
    #[test]
    fn one_of_ten_thousand_grants_is_found_in_a_few_looks() {
        let own = |number: usize| subset([("app", "ledger"), ("tenant", &number.to_string())]);
        let tenants: Vec<_> = (0..10_000).map(|number| grant(number, &["Encrypt"], own(number))).collect();
        let context = EncryptionContext::from([("app", "ledger"), ("more", "1"), ("tenant", "7777")]);
        let (by_tenant, _) = index(&tenants);
        assert!(looks(&by_tenant, "Encrypt", &context, &tenants[7777].grant_id) <= 3);
        assert_eq!(looks(&by_tenant, "Decrypt", &context, ""), 0);

        let exactly = |number: usize| GrantConstraints {
            encryption_context_equals: Some(EncryptionContext::from([("app", "ledger"), ("n", &*number.to_string())])),
            ..Default::default()
        };
        let exact: Vec<_> = (0..10_000).map(|number| grant(number, &["Encrypt"], exactly(number))).collect();
        let context = EncryptionContext::from([("app", "ledger"), ("n", "7777")]);
        assert_eq!(looks(&index(&exact).0, "Encrypt", &context, &exact[7777].grant_id), 1);

        let mut others: Vec<_> =
            (0..10_000).map(|number| grant(number, &["Decrypt", "DescribeKey"], Default::default())).collect();
        others.push(grant(10_000, &["Encrypt"], Default::default()));
        assert_eq!(looks(&index(&others).0, "Encrypt", &EncryptionContext::default(), &others[10_000].grant_id), 1);
        let operation = "DescribeKey".parse().unwrap();
        assert!(by_tenant.find_any(operation, &|_| true).is_none());
        assert!(index(&others).0.find_any(operation, &|_| true).is_some());
    }

    #[test]
    fn nothing_is_left_of_grants_that_are_gone() {
        let pairs = [("a", "1"), ("b", "2"), ("c", "3")];
        let grants: Vec<_> = (0..50).map(|number| grant(number, &["Encrypt"], subset(pairs))).collect();
        let (mut index, rows) = index(&grants);
        assert!(!index.is_empty());
        for row in rows.iter().rev() {
            index.remove(row);
            index.remove(row);
        }
        assert!(index.is_empty());
    }

    const OPERATIONS: &[&str] = &["Encrypt", "Decrypt", "DescribeKey", "CreateGrant"];

    fn context() -> impl Strategy<Value = EncryptionContext> {
        prop::collection::btree_map("[ab]", "[12]", 0..3)
            .prop_map(|pairs| serde_json::from_value(serde_json::json!(pairs)).expect("a context is a map of strings"))
    }

    prop_compose! {
        fn constraints()(
            encryption_context_equals in prop::option::weighted(0.3, context()),
            encryption_context_subset in prop::option::weighted(0.5, context()),
            source in prop::bool::weighted(0.1),
        ) -> GrantConstraints {
            let source_arn = source.then(|| "arn:aws:s3:eu-west-1:111122223333:b".to_owned());
            GrantConstraints { encryption_context_equals, encryption_context_subset, source_arn }
        }
    }

    fn holds(constraints: &GrantConstraints, context: &EncryptionContext) -> bool {
        let GrantConstraints { encryption_context_equals, encryption_context_subset, .. } = constraints;
        encryption_context_equals.as_ref().is_none_or(|wanted| wanted == context)
            && encryption_context_subset.as_ref().is_none_or(|wanted| context.has(wanted))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What is found is right, and something is found whenever going through all of them would find something.
        #[test]
        fn the_index_finds_what_a_look_at_every_grant_finds(
            wishes in prop::collection::vec((prop::sample::subsequence(OPERATIONS, 1..=4), constraints()), 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            context in context(),
            id in 0..3_usize,
        ) {
            let mut number = 0;
            let grants: Vec<_> = wishes.into_iter().map(|(operations, constraints)| {
                number += 1;
                grant(number, &operations, constraints)
            }).collect();
            let (mut index, mut rows) = index(&grants);
            for which in removed.iter().filter(|_| !grants.is_empty()) {
                if !rows.is_empty() {
                    index.remove(&rows.swap_remove(which.index(rows.len())));
                }
            }
            let id = format!("AIDA{id}");
            let is_his = |grant: &GrantRecord| grant.grantee_id.as_ref() == Some(&id);
            let wanted = |grant: &GrantRecord| is_his(grant) && grant.constraints.source_arn.is_none();
            let under = |grant: &GrantRecord| wanted(grant) && holds(&grant.constraints, &context);
            for operation in OPERATIONS.iter().map(|name| name.parse::<GrantOperation>().unwrap()) {
                let by_scan = |is_wanted: &dyn Fn(&GrantRecord) -> bool| {
                    rows.iter().any(|row| row.record.permits().has(operation) && is_wanted(&row.record))
                };
                let found = index.find(operation, &context, &under);
                prop_assert_eq!(found.is_some(), by_scan(&under));
                prop_assert!(found.is_none_or(|row| row.record.permits().has(operation) && under(&row.record)));
                let found = index.find_any(operation, &wanted);
                prop_assert_eq!(found.is_some(), by_scan(&wanted));
                prop_assert!(found.is_none_or(|row| row.record.permits().has(operation) && wanted(&row.record)));
            }
        }
    }
}
