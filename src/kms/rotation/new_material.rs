//! A rotation to a material that is made here: an intent, the token's object, and the record that names it.
//!
//! A multi-Region key gets its new material in every Region before it is the current one in any: an object on the token of
//! each replica, and one transaction over all of their records. While one of these tokens is out, the key does not rotate,
//! so that there is never a ciphertext that a replica could not open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::crash_point;
use crate::kms::janitor::Act;
use crate::kms::key::key_material_id;
use crate::kms::multi_region::synchronized_material;
use crate::kms::numbers::FreeNumber;
use crate::kms::{Error, KeyRow, Kms};
use crate::model::{ObjectName, Region, RotationType};
use crate::store::{Change, IntentKind, IntentRecord, KeyRecord, Material, Rotation, Row, Store, Transfer};

/// A rotation under way: what is to be made, on which tokens.
pub(super) struct Planned {
    key: KeyRecord,
    kind: RotationType,
    name: ObjectName,
    /// The replicas of a multi-Region key, each with the name of its own object.
    replicas: Vec<(KeyRecord, ObjectName)>,
}

/// What was made, by Region; nothing of it for a single-Region key.
pub(super) type Made = BTreeMap<Region, Transfer>;

/// What begins a rotation: the intents to make its objects, and the number that is used up by it. None if it was used up
/// meanwhile: then another rotation was first.
pub(super) fn beginning(
    kms: &Kms,
    key: &KeyRow,
    number: FreeNumber,
    kind: RotationType,
) -> Result<Option<(Change, Planned)>, Error> {
    let token = kms.token_of(&key.record)?;
    token.check_available()?;
    let Some(record) = number.used_by(&key.record) else { return Ok(None) };
    let number = number.get();
    let started = kms.now();
    let intent = match kind {
        RotationType::OnDemand => IntentKind::RotateOnDemand,
        RotationType::Automatic => IntentKind::RotateAutomatically,
    };
    let name = key.record.made_object(number);
    let mut change = kms.in_its_cluster(Change::new(started).update(key, record), &key.record);
    change = change.insert(kms.intent(intent, name, &key.record, started));
    let mut replicas = Vec::new();
    let living = kms.living_replicas_of(&key.record);
    kms.check_paired_with(&key.record, &living)?;
    for row in living {
        let other = kms.token_of(&row.record)?;
        other.check_available()?;
        if other.scheme() != token.scheme() {
            return Err(Error::Internal(format!("the token of {} wraps by another scheme now", row.record.region)));
        }
        let name = row.record.made_object(number);
        change = change.expect(&*row).insert(kms.intent(intent, name, &row.record, started));
        replicas.push((row.record.clone(), name));
    }
    Ok(Some((change, Planned { key: key.record.clone(), kind, name, replicas })))
}

impl Planned {
    /// Makes the objects on the tokens; never twice.
    pub(super) async fn make(&self, kms: &Kms, deadline: Instant) -> Result<Made, Error> {
        crash_point::reached("rotation-begun");
        let mut made = Made::new();
        if !self.key.key_id.is_multi_region() {
            let answer = kms.token_of(&self.key)?.generate(&self.name, deadline).await;
            kms.disowned(&self.name, answer).await?;
            crash_point::reached("rotation-on-token");
            return Ok(made);
        }
        match self.make_in_every_region(kms, &mut made, deadline).await {
            Ok(()) => Ok(made),
            Err(error) => {
                self.give_up(kms, &made).await;
                Err(error)
            }
        }
    }

    async fn make_in_every_region(&self, kms: &Kms, made: &mut Made, deadline: Instant) -> Result<(), Error> {
        let (material, kept) = kms.make_transferable(&self.key, &self.name, deadline).await?;
        made.insert(self.key.region.clone(), kept);
        crash_point::reached("rotation-on-token");
        for (replica, name) in &self.replicas {
            let passed = kms.pass((&self.key, replica), name, &material, deadline).await?;
            made.insert(replica.region.clone(), passed);
            crash_point::reached("rotation-on-replica");
        }
        Ok(())
    }

    /// Takes back what was made, and forgets what was not begun, so that the key can rotate again soon. The object that
    /// failed, the first that was not made, may be in the making yet: its creation is undone later.
    async fn give_up(&self, kms: &Kms, made: &Made) {
        let key = std::iter::once((&self.key, &self.name));
        let all = key.chain(self.replicas.iter().map(|(replica, name)| (replica, name)));
        let (made, others): (Vec<_>, Vec<_>) = all.partition(|(key, _)| made.contains_key(&key.region));
        kms.forget_creations(others.iter().skip(1).map(|(_, name)| *name)).await;
        for (key, name) in made {
            kms.withdraw(name, key).await;
        }
    }
}

/// The end of a rotation: the key and its replicas get the material whose objects were made, and the intents go.
pub(super) struct Ending {
    /// The key as it is.
    pub before: KeyRow,
    /// The key as it will be.
    pub after: KeyRecord,
    replicas: Vec<(KeyRow, KeyRecord)>,
    intents: Vec<Arc<Row<IntentRecord>>>,
    number: u32,
}

impl Ending {
    /// Looks at the keys once more. Fails if the rotation was undone meanwhile.
    pub fn of(kms: &Kms, planned: &Planned, made: &Made) -> Result<Self, Error> {
        let undone = || Error::Internal(format!("{} was undone", planned.name));
        let KeyRecord { region, key_id, .. } = &planned.key;
        let before = kms.store.key(region, key_id).ok_or_else(undone)?;
        let mut intents = vec![kms.creation(&planned.name)?];
        let mut replicas = Vec::new();
        for row in kms.living_replicas_of(&before.record) {
            let name = planned.replicas.iter().find(|(replica, _)| replica.region == row.record.region);
            intents.push(kms.creation(&name.ok_or_else(undone)?.1)?);
            let after = with_material(kms, planned, made, &row.record)?;
            replicas.push((row, after));
        }
        let after = with_material(kms, planned, made, &before.record)?;
        Ok(Ending { before, after, replicas, intents, number: planned.name.material })
    }

    /// Makes it so.
    pub fn change(&self, kms: &Kms) -> Change {
        let mut change = Change::new(kms.now()).update(&self.before, self.after.clone());
        for (before, after) in &self.replicas {
            change = change.update(before, after.clone());
        }
        let keys = std::iter::once(&self.after).chain(self.replicas.iter().map(|(_, after)| after));
        let change = keys.fold(change, |change, key| change.insert(kms.budgets.first_count(key, self.number)));
        self.intents.iter().fold(change, |change, intent| change.delete(&**intent))
    }

    /// What follows from it in other Regions.
    pub fn acts(&self, kms: &Kms) -> Vec<Act> {
        self.replicas.iter().map(|(_, after)| synchronized_material(kms, &self.after, after)).collect()
    }
}

/// The rotation of a key that is under way.
pub(in crate::kms) fn rotation_of(store: &Store, key: &KeyRecord) -> Option<Arc<Row<IntentRecord>>> {
    let of_key = |intent: &IntentRecord| intent.key_id() == key.key_id && intent.region == key.region;
    let rotates =
        |intent: &IntentRecord| matches!(intent.kind, IntentKind::RotateOnDemand | IntentKind::RotateAutomatically);
    store.intents().into_iter().find(|intent| of_key(&intent.record) && rotates(&intent.record))
}

fn with_material(kms: &Kms, planned: &Planned, made: &Made, key: &KeyRecord) -> Result<KeyRecord, Error> {
    let (now, number) = (kms.now(), planned.name.material);
    let mut key = key.clone();
    key.materials.push(Material {
        number,
        scheme: kms.token_of(&key)?.scheme(),
        key_material_id: key_material_id(&key.key_id, number),
        created: now,
        rotation: Some(Rotation { kind: planned.kind, date: now }),
        import: None,
        transfer: made.get(&key.region).cloned(),
    });
    key.next_material = key.next_material.max(number + 1);
    Ok(key)
}
