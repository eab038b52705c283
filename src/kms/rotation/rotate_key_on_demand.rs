//! RotateKeyOnDemand: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html>

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::check_rotates;
use super::new_material::{Ending, Planned, beginning, rotation_of};
use crate::kms::key::GENERATION_TIME;
use crate::kms::multi_region::{check_not_replica, synchronized};
use crate::kms::shape::{Member, required};
use crate::kms::usable::enabled;
use crate::kms::{Context, Error, Facts, KeyRow, Operation, arn_of, shapes};
use crate::model::{KeyId, KeyState, Origin, RotationType, Timestamp};
use crate::store::{self, Change, IntentKind, KeyRecord, Material, Rotation};

/// Makes a key encrypt under new material at once: one made here, or the imported one that waits for this.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotateKeyOnDemand {
    key_id: String,
}

/// The key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: KeyId,
}

impl Operation for RotateKeyOnDemand {
    const NAME: &'static str = "RotateKeyOnDemand";
    const MEMBERS: &'static [Member] = &[required("KeyId", &shapes::KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
        match key.record.origin {
            Origin::AwsKms | Origin::AwsCloudHsm => rotate_to_new_material(cx, &key.record).await?,
            Origin::External => rotate_to_imported_material(cx, &key.record).await?,
        }
        Ok(Output { key_id: key.record.key_id })
    }
}

/// AWS rotates in the background; here the answer comes when it is done.
async fn rotate_to_new_material(cx: &Context, key: &KeyRecord) -> Result<(), Error> {
    let planned = begin(cx, key).await?;
    // Behind it may be others whose keys take long to make.
    let deadline = cx.request.deadline.max(Instant::now() + GENERATION_TIME);
    let made = planned.make(&cx.kms, deadline).await?;
    let acts = cx
        .change(|_| {
            let ending = Ending::of(&cx.kms, &planned, &made)?;
            note(cx, &ending.before.record, &ending.after);
            Ok(cx.kms.with_acts(ending.change(&cx.kms), ending.acts()))
        })
        .await?;
    cx.kms.copy_acts(acts).await;
    Ok(())
}

async fn rotate_to_imported_material(cx: &Context, key: &KeyRecord) -> Result<(), Error> {
    let acts = cx
        .change(|_| {
            let key = again(cx, key)?;
            check(cx, &key)?;
            let now = cx.kms.now();
            let rotated = |record: &KeyRecord| rotated(record, now).ok_or_else(|| nothing_to_rotate_to(&key));
            let record = rotated(&key.record)?;
            note(cx, &key.record, &record);
            let (mut change, mut acts) = (Change::new(now).update(&key, record), Vec::new());
            for replica in cx.kms.living_replicas_of(&key.record) {
                let record = rotated(&replica.record)?;
                acts.push(synchronized(&record, "current key material"));
                change = change.update(&replica, record);
            }
            Ok(cx.kms.with_acts(change, acts))
        })
        .await?;
    cx.kms.copy_acts(acts).await;
    Ok(())
}

/// The record with the waiting material as the current one; none if there is none, or it has expired: that is as good as
/// gone, though its object may be there for some seconds yet.
fn rotated(key: &KeyRecord, now: Timestamp) -> Option<KeyRecord> {
    let mut record = key.clone();
    let is_there = |material: &Material| material.imported().is_some_and(|object| !object.is_over(now));
    let waiting = |material: &&mut Material| material.is_pending_rotation() && is_there(material);
    let material = record.materials.iter_mut().find(waiting)?;
    material.rotation = Some(Rotation { kind: RotationType::OnDemand, date: now });
    material.import.iter_mut().for_each(|import| import.pending_rotation = false);
    Some(record)
}

/// Allots the number of the new material. Not in the record of the request, which tells what came of it.
async fn begin(cx: &Context, key: &KeyRecord) -> Result<Planned, Error> {
    let now = again(cx, key)?;
    check(cx, &now)?;
    let number = cx.kms.free_number(&now.record, cx.request.deadline).await?;
    cx.prepare(|_| {
        let key = again(cx, key)?;
        check(cx, &key)?;
        let begun = beginning(&cx.kms, &key, number, RotationType::OnDemand)?;
        let (change, planned) = begun.ok_or_else(|| conflict(ON_DEMAND))?;
        Ok((change, None, planned))
    })
    .await
}

/// The key as it is now.
fn again(cx: &Context, key: &KeyRecord) -> Result<KeyRow, Error> {
    let gone = || Error::NotFound(format!("Key '{}' does not exist", arn_of(key)));
    cx.kms.store.key(&key.region, &key.key_id).map(|key| cx.kms.as_of_now(key)).ok_or_else(gone)
}

fn check(cx: &Context, key: &KeyRow) -> Result<(), Error> {
    check_rotates(key)?;
    cx.kms.check_beyond_aws(&key.record)?;
    check_not_replica(key)?;
    if key.record.state == KeyState::PendingImport {
        return Err(nothing_to_rotate_to(key));
    }
    enabled(key)?;
    check_limit(key)?;
    check_no_other(cx, &key.record)
}

fn check_limit(key: &KeyRow) -> Result<(), Error> {
    let rotations = key.record.materials.iter().filter_map(|material| material.rotation);
    if rotations.filter(|rotation| rotation.kind == RotationType::OnDemand).count() < MAX_ROTATIONS {
        return Ok(());
    }
    Err(Error::LimitExceeded(format!(
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
         performed for this key: {}",
        arn_of(&key.record)
    )))
}

/// One rotation at a time, and none that an automatic one follows at once.
fn check_no_other(cx: &Context, key: &KeyRecord) -> Result<(), Error> {
    let soon = |schedule: store::AutomaticRotation| schedule.next <= cx.kms.now().plus(SOON);
    let automatic = "an automatic rotation of this key is currently in progress or scheduled to begin within the next \
                     20 minutes";
    let why = match rotation_of(&cx.kms.store, key).map(|intent| intent.record.kind) {
        Some(IntentKind::RotateOnDemand) => ON_DEMAND,
        Some(_) => automatic,
        None if key.automatic_rotation.is_some_and(soon) => automatic,
        None => return Ok(()),
    };
    Err(conflict(why))
}

fn conflict(why: &str) -> Error {
    Error::Conflict(format!("The request was rejected because {why}."))
}

fn nothing_to_rotate_to(key: &KeyRow) -> Error {
    Error::InvalidState(format!("No available key material pending rotation for the key: {}.", arn_of(&key.record)))
}

/// Says in the record which material was the current one before, and which is now.
fn note(cx: &Context, before: &KeyRecord, after: &KeyRecord) {
    let id = |key: &KeyRecord| key.current().map(|material| material.key_material_id.clone());
    let key_id = arn_of(after).to_string();
    cx.note_response(json!({
        "keyId": key_id, "previousKeyMaterialId": id(before), "currentKeyMaterialId": id(after)
    }));
}

const ON_DEMAND: &str = "an on-demand rotation of this key is currently in progress";
/// Per key, for life.
const MAX_ROTATIONS: usize = 25;
const SOON: Duration = Duration::from_secs(20 * 60);
