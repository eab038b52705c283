//! ListKeyRotations: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyRotations.html>

use serde::{Deserialize, Serialize};

use super::check_rotates;
use crate::kms::key::expiration_model;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, KeyRow, Operation, shapes};
use crate::model::{KeyId, RotationType};
use crate::store::{Import, KeyRecord, Material};

/// Lists the rotations of a key, or all of its materials, the oldest first, a page at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyRotations {
    key_id: String,
    include_key_material: Option<String>,
    limit: Option<usize>,
    marker: Option<String>,
}

/// One page.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    rotations: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

/// One material.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RotationsListEntry.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key_id: KeyId,
    key_material_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    import_state: Option<&'static str>,
    key_material_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_date: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_type: Option<RotationType>,
}

impl Operation for ListKeyRotations {
    const NAME: &'static str = "ListKeyRotations";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        optional("IncludeKeyMaterial", &shapes::INCLUDE_KEY_MATERIAL),
        optional("Limit", &shapes::LIMIT),
        optional("Marker", &shapes::MARKER),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?.into_thing();
        check_rotates(&key)?;
        let key = &key.record;
        let last = cx.kms.markers.read(cx, Self::NAME, self.marker.as_deref())?;
        let after = last.map(|last| number_in(&last, key)).transpose()?;
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let materials = key.materials.iter().filter(|material| self.wants(material));
        let behind = materials.filter(|material| after.is_none_or(|after| material.number > after));
        let mut page: Vec<_> = behind.take(limit + 1).collect();
        let name = |material: &&Material| format!("{}/{}", key.key_id, material.number);
        let next_marker = cx.kms.markers.page(cx, Self::NAME, &mut page, limit, name);
        let rotations = page.into_iter().map(|material| Entry::of(cx, key, material)).collect();
        Ok(Output { rotations, truncated: next_marker.is_some(), next_marker })
    }
}

impl ListKeyRotations {
    /// The first material, and one that waits for its rotation, have not been rotated to.
    fn wants(&self, material: &Material) -> bool {
        self.include_key_material.as_deref() == Some("ALL_KEY_MATERIAL") || material.rotation.is_some()
    }
}

impl Entry {
    fn of(cx: &Context, key: &KeyRecord, material: &Material) -> Self {
        let import = material.import.as_ref();
        let object = import.and_then(|import| import.object.as_ref());
        Entry {
            key_id: key.key_id,
            key_material_id: material.key_material_id.clone(),
            key_material_description: import.and_then(|import| import.description.clone()),
            import_state: import.map(import_state),
            key_material_state: state(cx, key, material),
            expiration_model: object.map(expiration_model),
            valid_to: object.and_then(|object| Some(object.valid_to?.as_epoch_seconds())),
            rotation_date: material.rotation.map(|rotation| rotation.date.as_epoch_seconds()),
            rotation_type: material.rotation.map(|rotation| rotation.kind),
        }
    }
}

/// The model's `KeyMaterialState`.
fn state(cx: &Context, key: &KeyRecord, material: &Material) -> &'static str {
    // A waiting material is imported into the primary key first.
    let is_imported =
        |row: &KeyRow| row.record.material(material.number).is_some_and(|material| material.imported().is_some());
    match key.current() {
        _ if material.is_pending_rotation() && !cx.kms.store.multi_region(&key.key_id).iter().all(is_imported) => {
            "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
        }
        _ if material.is_pending_rotation() => "PENDING_ROTATION",
        Some(current) if current.number == material.number => "CURRENT",
        _ => "NON_CURRENT",
    }
}

/// The model's `ImportState`.
fn import_state(import: &Import) -> &'static str {
    match import.object {
        Some(_) => "IMPORTED",
        None => "PENDING_IMPORT",
    }
}

/// The number of the last material seen; a marker of another key's list is none of this one's.
fn number_in(last: &str, key: &KeyRecord) -> Result<u32, Error> {
    let (key_id, number) = last.split_once('/').ok_or(Error::InvalidMarker)?;
    let number = number.parse().map_err(|_| Error::InvalidMarker)?;
    if key_id == key.key_id.to_string() { Ok(number) } else { Err(Error::InvalidMarker) }
}

const DEFAULT_LIMIT: usize = 100;
