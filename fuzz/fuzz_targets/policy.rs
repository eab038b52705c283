//! The policy parser on any bytes: no panic, and what is read decides on a request.
#![no_main]

use std::collections::BTreeMap;

use hsm_kms::auth::policy::{Evidence, Kind, Policy, Request, Subject, Who, decide};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (account, tags) = ("111122223333".parse().expect("an account"), BTreeMap::new());
    let arn = "arn:aws:iam::111122223333:user/alice";
    let subject = Subject { account: &account, arn, user_id: "AIDA", who: Who::User { name: "alice" }, tags: &tags };
    let key = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let request = Request { subject, action: "kms:Decrypt", resource: key, owner: &account, conditions: &() };
    for kind in [Kind::KeyPolicy, Kind::TrustPolicy, Kind::IdentityPolicy, Kind::Boundary, Kind::SessionPolicy] {
        let Ok(policy) = Policy::parse(text, kind) else { continue };
        assert_eq!(policy.text(), text);
        let (resource_policy, identity_policies) = match kind {
            Kind::KeyPolicy | Kind::TrustPolicy => (Some(&policy), &[][..]),
            _ => (None, &[&policy][..]),
        };
        let grants = &|_| None;
        let evidence = Evidence { resource_policy, identity_policies, boundary: None, session_policies: &[], grants };
        decide(&request, &evidence);
    }
});
