//! CreateKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::KeyMetadata;
use crate::crash_point;
use crate::crypto;
use crate::kms::multi_region::KEPT_WRAPPED;
use crate::kms::shape::{Member, defaulted, optional};
use crate::kms::signature::learn_served;
use crate::kms::tag::{Tag, check_tags, merged};
use crate::kms::{Context, Error, Facts, Operation, object_kind, policy, shapes};
use crate::model::{AccountId, KeyId, KeyPairSpec, KeySpec, KeyState, KeyUsage, Origin, Timestamp, key_arn};
use crate::store::{Change, IntentKind, KeyRecord, Material};
use crate::token::{KeyKind, Offer, Token};

/// Makes a KMS key: an object on the token, sensitive and never extractable; none yet if its material is to be imported.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateKey {
    policy: Option<String>,
    description: Option<String>,
    key_usage: Option<String>,
    customer_master_key_spec: Option<String>,
    key_spec: Option<String>,
    origin: Option<String>,
    custom_key_store_id: Option<String>,
    bypass_policy_lockout_safety_check: Option<bool>,
    tags: Option<Vec<Tag>>,
    multi_region: Option<bool>,
    xks_key_id: Option<String>,
}

/// The new key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_metadata: KeyMetadata,
}

impl Operation for CreateKey {
    const NAME: &'static str = "CreateKey";
    const MEMBERS: &'static [Member] = &[
        optional("Policy", &shapes::POLICY),
        optional("Description", &shapes::DESCRIPTION),
        defaulted("KeyUsage", &shapes::KEY_USAGE, "ENCRYPT_DECRYPT"),
        optional("CustomerMasterKeySpec", &shapes::CUSTOMER_MASTER_KEY_SPEC),
        defaulted("KeySpec", &shapes::KEY_SPEC, "SYMMETRIC_DEFAULT"),
        defaulted("Origin", &shapes::ORIGIN, "AWS_KMS"),
        optional("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID),
        optional("BypassPolicyLockoutSafetyCheck", &shapes::BOOLEAN),
        optional("Tags", &shapes::TAG_LIST),
        optional("MultiRegion", &shapes::BOOLEAN),
        optional("XksKeyId", &shapes::XKS_KEY_ID),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let (spec, usage) = self.kind()?;
        let origin = self.origin()?;
        let account = cx.authorize_account::<Self>(&self.facts())?.into_thing();
        let key_id = match self.multi_region {
            Some(true) => KeyId::multi_region_from_bytes(crypto::random_array()?),
            _ => KeyId::from_random(crypto::random_array()?),
        };
        if self.tags.is_some() {
            // Policies know no more of the key than that it will be one of the account's.
            // Source: <https://docs.aws.amazon.com/kms/latest/developerguide/tag-permissions.html>
            let arn = key_arn(&cx.request.region, &account, &key_id).to_string();
            cx.authorize_own("TagResource", &arn, &self.facts())?;
        }
        let token = self.token(cx, spec, origin)?;
        let record = self.record(cx, account, key_id, (spec, usage, origin), token.scheme())?;
        let misfit = || Error::Internal(format!("no object is for {usage} with {spec}"));
        let kind = object_kind(spec, usage).ok_or_else(misfit)?;
        // The first multi-Region key has the token's replication key made.
        let takes_long = kind.is_pair() || record.key_id.is_multi_region();
        let generation = takes_long.then(|| Instant::now() + GENERATION_TIME);
        let deadline = generation.map_or(cx.request.deadline, |until| until.max(cx.request.deadline));
        check_offered(&token, spec, kind, deadline).await?;
        if origin == Origin::External && spec.key_pair().is_some_and(KeyPairSpec::is_lattice) {
            return Err(Error::UnsupportedOperation(format!(
                "KeySpec {spec} is not offered for imported key material."
            )));
        }
        learn_served(cx, &record).await;
        match origin {
            Origin::External => create_without_material(cx, record).await,
            Origin::AwsKms | Origin::AwsCloudHsm => create_on_token(cx, record, &token, kind, deadline).await,
        }
    }
}

impl CreateKey {
    /// The spec and the usage that are asked for; refuses what is contradictory, and what this service never makes.
    fn kind(&self) -> Result<(KeySpec, KeyUsage), Error> {
        if self.key_spec.is_some() && self.customer_master_key_spec.is_some() {
            return Err(Error::Validation(
                "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is \
                 deprecated."
                    .into(),
            ));
        }
        let usage = match (&self.key_usage, self.spec()) {
            (Some(usage), _) => usage,
            (None, "SYMMETRIC_DEFAULT") => "ENCRYPT_DECRYPT",
            (None, _) => return Err(usage_missing()),
        };
        let spec: KeySpec = self.spec().parse().map_err(|_| not_offered(self.spec()))?;
        let fitting = spec.usages().into_iter().find(|fitting| fitting.as_str() == usage);
        let unfit = || Error::Validation(format!("KeyUsage {usage} is not compatible with KeySpec {spec}"));
        Ok((spec, fitting.ok_or_else(unfit)?))
    }

    /// The spec that is asked for, by either of its names.
    fn spec(&self) -> &str {
        self.key_spec.as_deref().or(self.customer_master_key_spec.as_deref()).unwrap_or("SYMMETRIC_DEFAULT")
    }

    /// What policies can ask of the key to be.
    fn facts(&self) -> Facts<'_> {
        let spec = self.spec();
        let usage = self.key_usage.as_deref().unwrap_or("ENCRYPT_DECRYPT");
        let facts = Facts { tags: self.tags.as_deref().unwrap_or_default(), ..Facts::default() };
        facts
            .with("kms:keyspec", Some(spec))
            .with("kms:customermasterkeyspec", Some(spec))
            .with("kms:keyusage", Some(usage))
            .with("kms:customermasterkeyusage", Some(usage))
            .with("kms:keyorigin", Some(self.origin.as_deref().unwrap_or(self.default_origin().as_str())))
            .with("kms:multiregion", Some((self.multi_region == Some(true)).to_string()))
            .with("kms:multiregionkeytype", Some("PRIMARY").filter(|_| self.multi_region == Some(true)))
            .with(policy::BYPASS, Some((self.bypass_policy_lockout_safety_check == Some(true)).to_string()))
    }

    /// What a request stands for that names no origin.
    fn default_origin(&self) -> Origin {
        if self.custom_key_store_id.is_some() { Origin::AwsCloudHsm } else { Origin::AwsKms }
    }

    /// Where the material is to come from.
    fn origin(&self) -> Result<Origin, Error> {
        if self.xks_key_id.is_some() {
            return Err(Error::Validation("XksKeyId is only valid for the origin EXTERNAL_KEY_STORE.".into()));
        }
        if self.custom_key_store_id.is_some() {
            return self.custom_origin();
        }
        match self.origin.as_deref() {
            Some("AWS_CLOUDHSM" | "EXTERNAL_KEY_STORE") => {
                Err(Error::Validation("A custom key store origin requires a CustomKeyStoreId.".into()))
            }
            Some("EXTERNAL") => Ok(Origin::External),
            _ => Ok(Origin::AwsKms),
        }
    }

    /// The origin in a custom key store. AWS's wording of what is refused is not known, but for multi-Region keys.
    fn custom_origin(&self) -> Result<Origin, Error> {
        if self.multi_region == Some(true) {
            let text = "You cannot create a multi-Region key in a custom key store.";
            return Err(Error::UnsupportedOperation(text.into()));
        }
        match self.origin.as_deref() {
            None | Some("AWS_CLOUDHSM") => Ok(Origin::AwsCloudHsm),
            // Beyond AWS.
            Some("EXTERNAL") => Ok(Origin::External),
            Some(other) => Err(Error::Validation(format!("Origin {other} is not valid with this CustomKeyStoreId."))),
        }
    }

    /// The token where the key is to be.
    fn token(&self, cx: &Context, spec: KeySpec, origin: Origin) -> Result<Token, Error> {
        let Some(id) = &self.custom_key_store_id else { return cx.token() };
        let (row, token) = cx.connected_custom_key_store(id)?;
        let is_of_aws = spec == KeySpec::SymmetricDefault && origin == Origin::AwsCloudHsm;
        match is_of_aws || !cx.kms.has_aws_limits(&row.record.cluster) {
            true => Ok(token),
            false => Err(Error::UnsupportedOperation(
                "A custom key store has symmetric encryption keys of the origin AWS_CLOUDHSM only.".into(),
            )),
        }
    }

    fn record(
        self,
        cx: &Context,
        account: AccountId,
        key_id: KeyId,
        (spec, usage, origin): (KeySpec, KeyUsage, Origin),
        scheme: u8,
    ) -> Result<KeyRecord, Error> {
        let tags = self.tags.unwrap_or_default();
        check_tags(&tags)?;
        let (policy, policy_principals) = match self.policy {
            Some(text) => {
                let bypass = self.bypass_policy_lockout_safety_check == Some(true);
                let arn = key_arn(&cx.request.region, &account, &key_id);
                let principals = policy::check(cx, &arn, &text, bypass)?;
                (text, principals)
            }
            None => (policy::default_policy(&account), BTreeMap::new()),
        };
        let created = cx.kms.now();
        let materials = match origin {
            Origin::AwsKms | Origin::AwsCloudHsm => vec![first_material(scheme, &key_id, spec, created)],
            Origin::External => Vec::new(),
        };
        Ok(KeyRecord {
            region: cx.request.region.clone(),
            account,
            key_id,
            spec,
            usage,
            origin,
            state: if materials.is_empty() { KeyState::PendingImport } else { KeyState::Enabled },
            description: self.description.unwrap_or_default(),
            created,
            deletion_date: None,
            pending_window_days: None,
            policy,
            policy_principals,
            tags: merged(Default::default(), tags)?,
            next_material: if materials.is_empty() { 1 } else { 2 },
            materials,
            public_key: None,
            automatic_rotation: None,
            custom_key_store: self.custom_key_store_id.and_then(|id| id.parse().ok()),
            primary_region: self.multi_region.filter(|multi_region| *multi_region).map(|_| cx.request.region.clone()),
            object_id: None,
        })
    }
}

/// The material that the token is about to make.
fn first_material(scheme: u8, key_id: &KeyId, spec: KeySpec, created: Timestamp) -> Material {
    let scheme = if spec == KeySpec::SymmetricDefault { scheme } else { NO_SCHEME };
    let key_material_id = key_material_id(key_id, 1);
    Material { number: 1, scheme, key_material_id, created, rotation: None, import: None, transfer: None }
}

/// A key that the token makes, between an intent that says so and the record that enables it.
async fn create_on_token(
    cx: &Context,
    mut record: KeyRecord,
    token: &Token,
    kind: KeyKind,
    deadline: Instant,
) -> Result<Output, Error> {
    let name = record.made_object(1);
    token.check_available()?;
    if record.key_id.is_multi_region() {
        cx.kms.check_transfers(&record, deadline).await?;
    }
    cx.prepare(|_| {
        let intent = cx.kms.intent(IntentKind::Create, name, &record, record.created);
        Ok((while_connected(cx, &record, Change::new(record.created).insert(intent))?, None, ()))
    })
    .await?;
    crash_point::reached("creation-begun");
    // A deadline that passes leaves the intent, and whoever owns that undoes the creation: the token may still be at it.
    let public_key = if record.key_id.is_multi_region() {
        let (made, kept) = cx.kms.make_transferable(&record, &name, deadline).await?;
        record.materials.iter_mut().for_each(|material| material.transfer = Some(kept.clone()));
        cx.note_detail(KEPT_WRAPPED, true.into());
        made.known.public_key
    } else {
        token.generate_key(&name, kind, deadline).await?
    };
    record.public_key = public_key.map(|key| hex::encode(key.spki()));
    crash_point::reached("creation-on-token");
    let metadata = KeyMetadata::of(&cx.kms, &record).in_cluster(cx.kms.cluster_of(&record));
    cx.note_resource(&record);
    cx.change(|_| {
        // Whoever undid the creation meanwhile took the intent: then there is no key to enable.
        let intent = cx.kms.creation(&name)?;
        Ok((Change::new(cx.kms.now()).insert(record.clone()).delete(&intent), ()))
    })
    .await?;
    Ok(Output { key_metadata: metadata })
}

/// A key whose material is to be imported: there is nothing on the token yet.
async fn create_without_material(cx: &Context, record: KeyRecord) -> Result<Output, Error> {
    let key_metadata = KeyMetadata::of(&cx.kms, &record).in_cluster(cx.kms.cluster_of(&record));
    cx.note_resource(&record);
    cx.change(|_| Ok((while_connected(cx, &record, Change::new(cx.kms.now()).insert(record.clone()))?, ()))).await?;
    Ok(Output { key_metadata })
}

/// Makes the first change of a key depend on its custom key store: it is connected, and nobody deletes it meanwhile.
fn while_connected(cx: &Context, key: &KeyRecord, change: Change) -> Result<Change, Error> {
    match &key.custom_key_store {
        Some(id) => Ok(change.expect(&*cx.connected_custom_key_store(id.as_str())?.0)),
        None => Ok(change),
    }
}

/// 64 hex digits that name a material. The bytes of the material are not to be had, so that the id is of the key
/// and the material's number.
pub(in crate::kms) fn key_material_id(key_id: &KeyId, number: u32) -> String {
    hex::encode(crypto::sha256(&[b"hsm-kms/v1/key-material-id", key_id.as_bytes(), &number.to_be_bytes()]))
}

/// Refuses a kind of key that the token's own self-test found it not to have.
pub(in crate::kms) async fn check_offered(
    token: &Token,
    spec: KeySpec,
    kind: KeyKind,
    deadline: Instant,
) -> Result<(), Error> {
    match token.offers(kind, deadline).await? {
        Offer::Yes => Ok(()),
        Offer::No(reason) => {
            Err(Error::UnsupportedOperation(format!("KeySpec {spec} is not offered by this service's token: {reason}")))
        }
    }
}

fn usage_missing() -> Error {
    Error::Validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.".into())
}

fn not_offered(spec: &str) -> Error {
    Error::UnsupportedOperation(format!("KeySpec {spec} is not offered by this service."))
}

/// How long the making of a key may take, if the service's deadline is not longer: SoftHSM takes 0.3 to 10 s for RSA, and
/// others wait behind that. It is less than the shortest time for which an AWS SDK waits for an answer: 30 s, of Java 2.
pub(in crate::kms) const GENERATION_TIME: Duration = Duration::from_secs(25);

/// The number of no scheme: keys that wrap no seeds have none.
const NO_SCHEME: u8 = 0;
