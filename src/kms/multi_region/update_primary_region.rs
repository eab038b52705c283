//! UpdatePrimaryRegion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdatePrimaryRegion.html>

use serde::Deserialize;

use super::{check_primary, other_region, synchronized, updating};
use crate::auth::Named;
use crate::kms::rotation::rotation_of;
use crate::kms::shape::{Member, required};
use crate::kms::usable::enabled;
use crate::kms::{Context, Error, Facts, KeyRow, Operation, Target, arn_of, shapes};
use crate::model::{Region, key_arn};
use crate::store::{Change, KeyRecord};

/// Makes a replica the primary key, and the primary key a replica.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdatePrimaryRegion {
    key_id: String,
    primary_region: String,
}

impl Operation for UpdatePrimaryRegion {
    const NAME: &'static str = "UpdatePrimaryRegion";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), required("PrimaryRegion", &shapes::REGION)];
    const READ_ONLY: bool = false;
    type Output = ();

    /// AWS answers while both keys are `Updating`; here all of it is one transaction.
    async fn run(self, cx: &Context) -> Result<(), Error> {
        let facts = Facts::default().with("kms:primaryregion", Some(self.primary_region.as_str()));
        let acts = cx
            .change(|_| {
                let primary = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?.into_thing();
                check_primary(&primary)?;
                let region = other_region(&cx.kms, &self.primary_region)?;
                let replica = replica(cx, &primary.record, &region)?;
                let facts = Facts { region: Some(&region), ..facts.clone() };
                let target = Target { key: replica, alias: None, named: Named::Explicitly };
                let replica = cx.authorize::<Self>(target, &facts)?.into_thing();
                enabled(&primary)?;
                enabled(&replica)?;
                // What it makes has to reach all the others.
                let others = cx.kms.living_relations_of(&replica.record);
                let pairings = cx.kms.check_paired_with(&replica.record, &others)?;
                // What it would make current, the primary key of then has to.
                if rotation_of(&cx.kms.store, &primary.record).is_some() {
                    return Err(updating(&primary.record));
                }
                // None of which may be taken back meanwhile.
                let change = pairings.iter().fold(Change::new(cx.kms.now()), |change, row| change.touch(row));
                Ok(moved(cx, change, &primary.record, &region))
            })
            .await?;
        cx.kms.copy_acts(acts).await;
        Ok(())
    }
}

/// The replica that is to be the primary key.
fn replica(cx: &Context, primary: &KeyRecord, region: &Region) -> Result<KeyRow, Error> {
    if *region == primary.region {
        return Err(Error::UnsupportedOperation(format!("{} is the primary key already.", arn_of(primary))));
    }
    let arn = key_arn(region, &primary.account, &primary.key_id);
    let found = cx.kms.store.key(region, &primary.key_id).map(|key| cx.kms.as_of_now(key));
    found.ok_or_else(|| Error::NotFound(format!("Key '{arn}' does not exist")))
}

/// The change of all keys of the multi-Region key, as they are in the store, and its acts.
fn moved(cx: &Context, mut change: Change, primary: &KeyRecord, region: &Region) -> (Change, Vec<String>) {
    let related = cx.kms.store.multi_region(&primary.key_id);
    // Whoever allots the next number knows every one that was ever allotted.
    let next_material = related.iter().map(|row| row.record.next_material).max().unwrap_or(primary.next_material);
    let mut acts = Vec::new();
    for row in &related {
        let is_primary = row.record.region == *region;
        let record = KeyRecord {
            primary_region: Some(region.clone()),
            automatic_rotation: primary.automatic_rotation.filter(|_| is_primary),
            next_material: if is_primary { next_material } else { row.record.next_material },
            ..row.record.clone()
        };
        if row.record.region != primary.region {
            acts.push(synchronized(&record, "primary Region"));
        }
        change = change.update(row, record);
    }
    cx.kms.with_acts(change, acts)
}
