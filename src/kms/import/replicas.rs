//! What an import into the primary key of a multi-Region key means for its replicas: the same material is to be imported
//! into each, and no other.

use serde_json::json;

use super::expiry::removal;
use crate::kms::Kms;
use crate::kms::janitor::Act;
use crate::kms::multi_region::{EXPECTED_MATERIAL, synchronized};
use crate::model::ObjectName;
use crate::store::{Change, Import, IntentKind, KeyRecord, Material};

/// Has the replicas expect a material that the primary key has for the first time. Gives the ids of the acts that this is.
pub(super) fn expected_in_replicas(
    kms: &Kms,
    change: Change,
    before: &KeyRecord,
    after: &KeyRecord,
) -> (Change, Vec<String>) {
    let is_new = |material: &&Material| before.material(material.number).is_none();
    let Some(new) = after.materials.iter().find(is_new) else { return (change, Vec::new()) };
    let mut acts = Vec::new();
    let change = kms.living_replicas_of(after).iter().fold(change, |change, replica| {
        let import = new.import.as_ref().map(|import| Import { object: None, ..import.clone() });
        let mut record = replica.record.clone();
        record.materials.push(Material { import, ..new.clone() });
        acts.push(synchronized(&record, EXPECTED_MATERIAL));
        change.update(replica, record)
    });
    kms.with_acts(change, acts)
}

/// Has the replicas forget a material that waited for its rotation and that the primary key has no more. Their objects
/// are destroyed; this kind of intent says so. Gives the ids of the acts that this is.
pub(super) fn forgotten_in_replicas(
    kms: &Kms,
    mut change: Change,
    (before, after): (&KeyRecord, &KeyRecord),
    kind: IntentKind,
) -> (Change, Vec<String>) {
    let is_forgotten = |number: u32| before.material(number).is_some() && after.material(number).is_none();
    let mut acts = Vec::new();
    for replica in kms.living_replicas_of(after) {
        let mut record = replica.record.clone();
        record.materials.retain(|material| !is_forgotten(material.number));
        if record == replica.record {
            continue;
        }
        let gone: Vec<_> = replica.record.materials.iter().filter(|material| is_forgotten(material.number)).collect();
        let objects: Vec<_> = gone.iter().filter_map(|material| replica.record.object(material)).collect();
        acts.push(forgotten(&record, kind, &gone, &objects));
        for name in objects {
            change = change.insert(kms.intent(kind, name, &replica.record, kms.now()));
        }
        change = change.update(&replica, record);
    }
    kms.with_acts(change, acts)
}

/// What is told before objects of a replica are destroyed, or that it expects material no more of which it had none.
fn forgotten(replica: &KeyRecord, kind: IntentKind, gone: &[&Material], objects: &[ObjectName]) -> Act {
    let Some(name) = removal(kind).filter(|_| !objects.is_empty()) else {
        return synchronized(replica, EXPECTED_MATERIAL);
    };
    let ids: Vec<_> = gone.iter().map(|material| &material.key_material_id).collect();
    let labels: Vec<_> = objects.iter().map(ObjectName::cka_label).collect();
    Act::about(name, replica, json!({ "phase": "begun", "keyMaterialIds": ids, "objects": labels }))
}
