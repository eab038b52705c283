//! ReplicateKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html>

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::passing::{check_kept_for, kind_of, transferable};
use super::{KEPT_WRAPPED, PASSED_BETWEEN, REPLICA, check_primary, other_region, synchronized_material, updating};
use crate::crash_point;
use crate::crypto;
use crate::kms::janitor::Act;
use crate::kms::key::{GENERATION_TIME, KeyMetadata, check_offered};
use crate::kms::rotation::rotation_of;
use crate::kms::shape::{Member, optional, required};
use crate::kms::tag::{Tag, check_tags, merged, tag_list};
use crate::kms::usable::enabled;
use crate::kms::{Context, Error, Facts, KeyRow, Operation, arn_of, policy, shapes};
use crate::model::{KeyId, KeySpec, KeyState, ObjectName, Origin, Region, key_arn};
use crate::store::{Change, IntentKind, KeyRecord, Material};

/// Makes a replica of a multi-Region key: the same material in another Region.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReplicateKey {
    key_id: String,
    replica_region: String,
    policy: Option<String>,
    bypass_policy_lockout_safety_check: Option<bool>,
    description: Option<String>,
    tags: Option<Vec<Tag>>,
}

/// The replica.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    replica_key_metadata: KeyMetadata,
    replica_policy: String,
    replica_tags: Vec<Tag>,
}

impl Operation for ReplicateKey {
    const NAME: &'static str = "ReplicateKey";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("ReplicaRegion", &shapes::REGION),
        optional("Policy", &shapes::POLICY),
        optional("BypassPolicyLockoutSafetyCheck", &shapes::BOOLEAN),
        optional("Description", &shapes::DESCRIPTION),
        optional("Tags", &shapes::TAG_LIST),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    /// AWS answers while the replica is `Creating`; here the answer comes when it can be used.
    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let facts = Facts::default().with("kms:replicaregion", Some(self.replica_region.as_str()));
        let primary = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?.into_thing();
        check_primary(&primary)?;
        let region = other_region(&cx.kms, &self.replica_region)?;
        cx.authorize_own("CreateKey", "*", &self.facts(&primary.record, &region))?;
        if self.tags.is_some() {
            // As CreateKey asks.
            let arn = key_arn(&region, &primary.record.account, &primary.record.key_id).to_string();
            cx.authorize_own("TagResource", &arn, &self.facts(&primary.record, &region))?;
        }
        check_absent(cx, &primary.record, &region)?;
        check_replicable(cx, &primary)?;
        let replica = self.record(cx, &primary.record, region)?;
        // Behind it may be others whose keys take long to make.
        let deadline = cx.request.deadline.max(Instant::now() + GENERATION_TIME);
        let mut replicated = Replicated { primary: primary.record.clone(), replica, made: Vec::new() };
        replicated.begin(cx, deadline).await?;
        crash_point::reached("replication-begun");
        let passed = replicated.pass(cx, deadline).await;
        crash_point::reached("replication-on-token");
        let finished = match passed {
            Ok(()) => replicated.finish(cx).await,
            Err(error) => Err(error),
        };
        match finished {
            Ok(metadata) => Ok(Output {
                replica_key_metadata: metadata,
                replica_policy: replicated.replica.policy,
                replica_tags: tag_list(&replicated.replica.tags),
            }),
            Err(error) => Err(replicated.refused(cx, error).await),
        }
    }
}

impl ReplicateKey {
    /// What policies can ask of the key that is made in the other Region.
    fn facts<'a>(&'a self, primary: &'a KeyRecord, region: &'a Region) -> Facts<'a> {
        let tags = self.tags.as_deref().unwrap_or_default();
        let facts = Facts { tags, region: Some(region), ..Facts::default() };
        facts
            .with("kms:keyspec", Some(primary.spec.as_str()))
            .with("kms:customermasterkeyspec", Some(primary.spec.as_str()))
            .with("kms:keyusage", Some(primary.usage.as_str()))
            .with("kms:customermasterkeyusage", Some(primary.usage.as_str()))
            .with("kms:keyorigin", Some(primary.origin.as_str()))
            .with("kms:multiregion", Some("true"))
            .with("kms:multiregionkeytype", Some(REPLICA))
            .with(policy::BYPASS, Some(self.bypasses().to_string()))
    }

    fn bypasses(&self) -> bool {
        self.bypass_policy_lockout_safety_check == Some(true)
    }

    /// The replica as it will be, without material yet.
    fn record(&self, cx: &Context, primary: &KeyRecord, region: Region) -> Result<KeyRecord, Error> {
        let tags = self.tags.clone().unwrap_or_default();
        check_tags(&tags)?;
        let object_id = Some(KeyId::from_random(crypto::random_array()?));
        let mut replica = KeyRecord { region, object_id, ..primary.clone() };
        (replica.policy, replica.policy_principals) = match &self.policy {
            Some(text) => {
                let principals = policy::check(cx, &arn_of(&replica), text, self.bypasses())?;
                (text.clone(), principals)
            }
            None => (policy::default_policy(&primary.account), BTreeMap::new()),
        };
        replica.description = self.description.clone().unwrap_or_default();
        replica.created = cx.kms.now();
        replica.tags = merged(Default::default(), tags)?;
        replica.automatic_rotation = None;
        if replica.origin == Origin::External {
            replica.state = KeyState::PendingImport;
            replica
                .materials
                .iter_mut()
                .filter_map(|material| material.import.as_mut())
                .for_each(|import| import.object = None);
        }
        Ok(replica)
    }
}

/// A replication under way.
struct Replicated {
    primary: KeyRecord,
    replica: KeyRecord,
    /// The objects whose making was answered.
    made: Vec<ObjectName>,
}

impl Replicated {
    /// Says which objects are about to be made, if the tokens can make them.
    async fn begin(&self, cx: &Context, deadline: Instant) -> Result<(), Error> {
        let Replicated { primary, replica, .. } = self;
        check_schemes(cx, primary, replica)?;
        if primary.origin == Origin::AwsKms {
            let source = cx.kms.check_transfers(primary, deadline).await?;
            check_kept_for(primary, &source)?;
            let target = cx.kms.check_transfers(replica, deadline).await?;
            cx.kms.check_paired(&source, &target)?;
        } else {
            // Its material is imported there: only a token that has such keys can take it.
            let kind = kind_of(replica)?;
            check_offered(&cx.kms.token_of(replica)?, replica.spec, kind, deadline).await?;
        }
        cx.prepare(|_| {
            let now = cx.kms.now();
            let intents =
                replica.objects().into_iter().map(|name| cx.kms.intent(IntentKind::Create, name, replica, now));
            Ok((intents.fold(Change::new(now), Change::insert), None, ()))
        })
        .await
    }

    /// Brings every material to the other token.
    async fn pass(&mut self, cx: &Context, deadline: Instant) -> Result<(), Error> {
        for at in 0..self.replica.materials.len() {
            let material = &self.replica.materials[at];
            if self.replica.origin == Origin::External {
                continue;
            }
            let name = self.replica.made_object(material.number);
            let passed = transferable(&self.primary, material)?;
            let passed = cx.kms.pass((&self.primary, &self.replica), &name, &passed, deadline).await?;
            self.made.push(name);
            self.replica.materials[at].transfer = Some(passed);
        }
        Ok(())
    }

    /// Enters the replica, if the primary key has still the same material.
    async fn finish(&self, cx: &Context) -> Result<KeyMetadata, Error> {
        cx.note_resource(&self.replica);
        let (metadata, acts) = cx
            .change(|store| {
                let primary = store.key(&self.primary.region, &self.primary.key_id);
                let primary = primary
                    .ok_or_else(|| Error::NotFound(format!("Key '{}' does not exist", arn_of(&self.primary))))?;
                check_primary(&primary)?;
                check_absent(cx, &self.primary, &self.replica.region)?;
                check_replicable(cx, &primary)?;
                let known = |material: &Material| (material.number, material.is_pending_rotation());
                if !primary.record.materials.iter().map(known).eq(self.replica.materials.iter().map(known)) {
                    return Err(updating(&primary.record));
                }
                let next_material = primary.record.next_material;
                let replica = KeyRecord { next_material, ..self.replica.clone() };
                // Whoever counts the replicas and changes the primary key must decide again.
                let mut change = Change::new(cx.kms.now()).touch(&primary).insert(replica.clone());
                if let Some(pairing) = cx.kms.pairing_for(&primary.record, &replica)? {
                    change = change.touch(&pairing);
                }
                for name in replica.objects() {
                    change = change.delete(&*cx.kms.creation(&name)?);
                }
                let metadata = KeyMetadata::of(&cx.kms, &replica);
                let created =
                    Act::about("CreateKey", &replica, json!({ "replicaOf": arn_of(&primary.record).to_string() }));
                let came = synchronized_material(&cx.kms, &primary.record, &replica);
                // The request's own record says it, too.
                for (name, value) in
                    [KEPT_WRAPPED, PASSED_BETWEEN].iter().filter_map(|name| Some((name, came.details.get(name)?)))
                {
                    cx.note_detail(name, value.clone());
                }
                let (change, acts) = cx.kms.with_acts(change, vec![created, came]);
                Ok((change, (metadata, acts)))
            })
            .await?;
        cx.kms.copy_acts(acts).await;
        Ok(metadata)
    }

    /// What was made goes again if it is known that the replica does not come to be. A token that did not answer may be at
    /// it yet: that creation is undone later.
    async fn refused(&self, cx: &Context, error: Error) -> Error {
        for name in &self.made {
            cx.kms.withdraw(name, &self.replica).await;
        }
        error
    }
}

fn check_absent(cx: &Context, primary: &KeyRecord, region: &Region) -> Result<(), Error> {
    match cx.kms.store.key(region, &primary.key_id) {
        None => Ok(()),
        Some(there) => Err(Error::AlreadyExists(format!("{} already exists.", arn_of(&there.record)))),
    }
}

/// Refuses a primary key that may not be used, and one that is about to have other material.
fn check_replicable(cx: &Context, primary: &KeyRow) -> Result<(), Error> {
    enabled(&cx.kms.as_of_now(primary.clone()))?;
    if rotation_of(&cx.kms.store, &primary.record).is_some() { Err(updating(&primary.record)) } else { Ok(()) }
}

/// A blob says by which scheme its seed was wrapped, and every Region must be able to unwrap it.
fn check_schemes(cx: &Context, primary: &KeyRecord, replica: &KeyRecord) -> Result<(), Error> {
    let [one, other] = [cx.kms.token_of(primary)?, cx.kms.token_of(replica)?];
    // Nothing is wrapped under any other key.
    if primary.spec != KeySpec::SymmetricDefault || one.scheme() == other.scheme() {
        return Ok(());
    }
    Err(Error::UnsupportedOperation(format!(
        "The token of {} wraps by another scheme than the token of {}, so that neither could decrypt what the other \
         encrypts.",
        replica.region, primary.region
    )))
}
