//! A rotation to a material that is made here: an intent, the token's object, and the record that names it.

use std::sync::Arc;
use std::time::Instant;

use crate::crash_point;
use crate::kms::key::key_material_id;
use crate::kms::usable::enabled;
use crate::kms::{Error, KeyRow, Kms};
use crate::model::{ObjectName, Purpose, RotationType};
use crate::store::{Change, IntentKind, IntentRecord, KeyRecord, Material, Rotation, Row, Store};

/// What begins a rotation: the intent to make the object of this name, and the number that is used up by it.
pub(super) fn beginning(kms: &Kms, key: &KeyRow, kind: RotationType) -> (Change, ObjectName) {
    let number = key.record.next_material;
    let name = ObjectName { purpose: Purpose::Kms, key_id: key.record.key_id, material: number };
    let started = kms.now();
    let kind = match kind {
        RotationType::OnDemand => IntentKind::RotateOnDemand,
        RotationType::Automatic => IntentKind::RotateAutomatically,
    };
    let intent = kms.intent(kind, name, &key.record, started);
    let record = KeyRecord { next_material: number + 1, ..key.record.clone() };
    (Change::new(started).update(key, record).insert(intent), name)
}

/// Makes the object on the token; never twice.
pub(super) async fn make(kms: &Kms, key: &KeyRecord, name: &ObjectName, deadline: Instant) -> Result<(), Error> {
    crash_point::reached("rotation-begun");
    kms.token_of(key)?.generate(name, deadline).await?;
    crash_point::reached("rotation-on-token");
    Ok(())
}

/// The end of a rotation: the key gets the material whose object was made, and the intent goes.
pub(super) struct Ending {
    /// The key as it is.
    pub before: KeyRow,
    /// The key as it will be.
    pub after: KeyRecord,
    intent: Arc<Row<IntentRecord>>,
}

impl Ending {
    /// Looks at the key once more. Fails if it may not be used any more, or the rotation was undone meanwhile.
    pub fn of(kms: &Kms, key: &KeyRecord, name: &ObjectName, kind: RotationType) -> Result<Self, Error> {
        let undone = || Error::Internal(format!("{name} was undone"));
        let before = kms.store.key(&key.region, &key.key_id).ok_or_else(undone)?;
        let intent = kms.creation(name)?;
        enabled(&before)?;
        let mut after = before.record.clone();
        after.materials.push(material(kms, key, name, kind)?);
        Ok(Ending { before, after, intent })
    }

    /// Makes it so.
    pub fn change(&self, kms: &Kms) -> Change {
        let change = Change::new(kms.now()).update(&self.before, self.after.clone()).delete(&self.intent);
        let count = kms.budgets.first_count(&self.after, self.intent.record.name.material);
        change.insert(count)
    }
}

/// The rotation of a key that is under way.
pub(super) fn rotation_of(store: &Store, key: &KeyRecord) -> Option<Arc<Row<IntentRecord>>> {
    let of_key = |intent: &IntentRecord| intent.name.key_id == key.key_id && intent.region == key.region;
    let rotates =
        |intent: &IntentRecord| matches!(intent.kind, IntentKind::RotateOnDemand | IntentKind::RotateAutomatically);
    store.intents().into_iter().find(|intent| of_key(&intent.record) && rotates(&intent.record))
}

fn material(kms: &Kms, key: &KeyRecord, name: &ObjectName, kind: RotationType) -> Result<Material, Error> {
    let now = kms.now();
    Ok(Material {
        number: name.material,
        scheme: kms.token_of(key)?.scheme(),
        key_material_id: key_material_id(&key.key_id, name.material),
        created: now,
        rotation: Some(Rotation { kind, date: now }),
        import: None,
    })
}
