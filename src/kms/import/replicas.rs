//! What an import into the primary key of a multi-Region key means for its replicas: the same material is to be imported
//! into each, and no other.

use crate::kms::Kms;
use crate::kms::janitor::Act;
use crate::kms::multi_region::synchronized;
use crate::store::{Change, Import, IntentKind, KeyRecord, Material};

/// Has the replicas expect a material that the primary key has for the first time; gives the acts that this is.
pub(super) fn expected_in_replicas(
    kms: &Kms,
    mut change: Change,
    before: &KeyRecord,
    after: &KeyRecord,
) -> (Change, Vec<Act>) {
    let mut acts = Vec::new();
    let is_new = |material: &&Material| before.material(material.number).is_none();
    let Some(new) = after.materials.iter().find(is_new) else { return (change, acts) };
    for replica in kms.living_replicas_of(after) {
        let import = new.import.as_ref().map(|import| Import { object: None, ..import.clone() });
        let mut record = replica.record.clone();
        record.materials.push(Material { import, ..new.clone() });
        acts.push(synchronized(&record, "expected key material"));
        change = change.update(&replica, record);
    }
    (change, acts)
}

/// Has the replicas forget a material that waited for its rotation and that the primary key has no more. Their objects
/// are destroyed; this kind of intent says so. Gives the acts that this is.
pub(super) fn forgotten_in_replicas(
    kms: &Kms,
    mut change: Change,
    (before, after): (&KeyRecord, &KeyRecord),
    kind: IntentKind,
) -> (Change, Vec<Act>) {
    let mut acts = Vec::new();
    let is_forgotten = |number: u32| before.material(number).is_some() && after.material(number).is_none();
    for replica in kms.living_replicas_of(after) {
        let mut record = replica.record.clone();
        record.materials.retain(|material| !is_forgotten(material.number));
        if record == replica.record {
            continue;
        }
        let gone = replica.record.materials.iter().filter(|material| is_forgotten(material.number));
        for name in gone.filter_map(|material| replica.record.object(material)) {
            change = change.insert(kms.intent(kind, name, &replica.record, kms.now()));
        }
        acts.push(synchronized(&record, "expected key material"));
        change = change.update(&replica, record);
    }
    (change, acts)
}
