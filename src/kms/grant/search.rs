//! The search for the grant that permits a request.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::auth::Identity;
use crate::auth::policy::Grantee;
use crate::kms::{Context, Facts};
use crate::model::{Arn, EncryptionContext, GrantOperation};
use crate::store::{GrantConstraints, GrantRecord, KeyRecord, Row};

/// One search on one key, done when it is first asked for and once for each grantee.
pub struct Search<'a> {
    cx: &'a Context,
    key: &'a KeyRecord,
    operation: Option<GrantOperation>,
    facts: &'a Facts<'a>,
    found: [OnceCell<Option<Arc<Row<GrantRecord>>>>; 3],
}

impl<'a> Search<'a> {
    /// A search for `action`, for example `Encrypt`, on `key`.
    pub fn new(cx: &'a Context, action: &str, key: &'a KeyRecord, facts: &'a Facts<'a>) -> Self {
        Search { cx, key, operation: action.parse().ok(), facts, found: Default::default() }
    }

    /// The id of a grant to exactly this grantee.
    pub fn find(&self, grantee: Grantee) -> Option<&str> {
        let found = match grantee {
            Grantee::Itself => &self.found[0],
            Grantee::Role => &self.found[1],
            Grantee::Account => &self.found[2],
        };
        let row = found.get_or_init(|| self.search(grantee)).as_ref()?;
        Some(&row.record.grant_id)
    }

    fn search(&self, grantee: Grantee) -> Option<Arc<Row<GrantRecord>>> {
        let caller = &self.cx.caller;
        let name = match (grantee, &caller.identity) {
            (Grantee::Itself, _) => caller.arn.clone(),
            (Grantee::Role, Identity::Role { arn, .. }) => arn.clone(),
            (Grantee::Role, _) => return None,
            (Grantee::Account, _) => Arn::root_user(&caller.account).to_string(),
        };
        let place = (&self.key.region, &self.key.key_id);
        let none = EncryptionContext::default();
        let context = self.is_constrained().then(|| self.facts.encryption_context.unwrap_or(&none));
        self.cx.kms.store.grant_for(place, &name, self.operation?, context, &|grant| self.is_wanted(grant))
    }

    fn is_wanted(&self, grant: &GrantRecord) -> bool {
        let caller = &self.cx.caller;
        let meant = grant.grantee_id.as_ref().is_none_or(|id| id == caller.unique_id());
        let covered = self.facts.new_grant.is_none_or(|child| grant.covers(child));
        // No request here comes from a resource of another service, which is asked for with every operation.
        let from_source = grant.constraints.source_arn.is_none();
        meant && covered && from_source && (!self.is_constrained() || self.keeps(&grant.constraints))
    }

    /// Constraints of encryption contexts are not asked for operations that have none by nature.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html>
    fn is_constrained(&self) -> bool {
        let name = self.operation.map(GrantOperation::as_str);
        !matches!(name, Some("DescribeKey" | "RetireGrant" | "CreateGrant"))
    }

    /// Exactly, case and all. AWS's API reference says that the keys of a constraint are not case-sensitive, its guide
    /// that they are; ciphertexts are bound to keys by their case, so that the narrower reading is the one that cannot
    /// surprise.
    fn keeps(&self, constraints: &GrantConstraints) -> bool {
        let GrantConstraints { encryption_context_equals, encryption_context_subset, .. } = constraints;
        let none = EncryptionContext::default();
        let context = self.facts.encryption_context.unwrap_or(&none);
        let equal = encryption_context_equals.as_ref().is_none_or(|wanted| wanted == context);
        let within = encryption_context_subset.as_ref().is_none_or(|wanted| context.has(wanted));
        equal && within
    }
}
