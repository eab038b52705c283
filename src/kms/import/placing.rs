//! Where imported material goes in the record of its key, and what the record is without it.

use crate::crypto;
use crate::kms::multi_region::not_primary;
use crate::kms::{Error, arn_of};
use crate::model::{KeyId, KeySpec, KeyState, ObjectName, Timestamp};
use crate::store::{Import, ImportedObject, KeyRecord, Material};

/// Material that was unwrapped, and what was asked for with it.
pub(super) struct Incoming<'a> {
    /// What the token makes of this material and of no other.
    pub fingerprint: [u8; 32],
    /// Its token object.
    pub object: ImportedObject,
    /// How the token wraps under it; 0 where it wraps nothing.
    pub scheme: u8,
    /// The public half of an asymmetric key, DER SubjectPublicKeyInfo in hex.
    pub public_key: Option<String>,
    /// The model's `ImportType`.
    pub import_type: Option<&'a str>,
    /// The material that the caller says it is.
    pub key_material_id: Option<&'a str>,
    /// The caller's words.
    pub description: Option<&'a str>,
}

/// The record with the material in it.
pub(super) struct Placed {
    pub record: KeyRecord,
    /// The id of the material.
    pub key_material_id: String,
    /// The object in whose place the new one is.
    pub replaced: Option<ObjectName>,
}

impl Incoming<'_> {
    /// Puts the material in its place: an old one's if it is the same material, else a new one.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html>
    pub fn place(self, key: &KeyRecord) -> Result<Placed, Error> {
        let key_material_id = imported_material_id(&key.key_id, &self.fingerprint);
        if self.key_material_id.is_some_and(|named| named != key_material_id) {
            return Err(incorrect("The key material is not the one that KeyMaterialId names."));
        }
        let known = key.materials.iter().position(|material| is(material, &self.fingerprint));
        let mut record = key.clone();
        let now = self.object.imported;
        let replaced = match (known, self.expects_new(key)) {
            (Some(at), false) => {
                let replaced = key.object(&key.materials[at]);
                self.put(&mut record.materials[at]);
                replaced
            }
            (None, true) => {
                // A replica has the material of its primary key, and no other.
                if key.is_replica() {
                    return Err(not_primary(key));
                }
                self.check_nothing_waits(key, &key_material_id)?;
                record.public_key = self.public_key.clone();
                record.materials.push(self.material(key_material_id.clone(), !key.materials.is_empty()));
                None
            }
            (Some(_), true) => return Err(incorrect("The key material is already associated with the KMS key.")),
            (None, false) => {
                return Err(incorrect("The key material is not one that was imported into the KMS key before."));
            }
        };
        record.state = state_with(&record, now);
        Ok(Placed { record, key_material_id, replaced })
    }

    /// Whether the caller means material that the key never had.
    fn expects_new(&self, key: &KeyRecord) -> bool {
        match self.import_type {
            Some(word) => word == NEW,
            None => key.materials.is_empty(),
        }
    }

    fn check_nothing_waits(&self, key: &KeyRecord, key_material_id: &str) -> Result<(), Error> {
        let Some(waiting) = key.materials.iter().find(|material| material.is_pending_rotation()) else {
            return Ok(());
        };
        Err(Error::InvalidState(format!(
            "New key material (id: {key_material_id}) cannot be imported into KMS key {}, because another key material \
             (id: {}) is pending rotation.",
            arn_of(key),
            waiting.key_material_id
        )))
    }

    /// The scheme stays: older ciphertexts of the material name it.
    fn put(self, material: &mut Material) {
        if let Some(import) = &mut material.import {
            import.object = Some(self.object);
            import.description = self.description.map(str::to_owned).or(import.description.take());
        }
    }

    fn material(self, key_material_id: String, pending_rotation: bool) -> Material {
        Material {
            number: self.object.number,
            scheme: self.scheme,
            key_material_id,
            created: self.object.imported,
            rotation: None,
            transfer: None,
            import: Some(Import {
                fingerprint: crypto::hex(&self.fingerprint),
                description: self.description.map(str::to_owned),
                pending_rotation,
                object: Some(self.object),
            }),
        }
    }
}

/// The record without the token objects of these materials: the key waits for them, but for one that waits for its
/// rotation, which is no part of the key yet and is forgotten.
pub(super) fn without(key: &KeyRecord, numbers: &[u32], now: Timestamp) -> KeyRecord {
    let mut record = key.clone();
    let is_meant = |material: &Material| numbers.contains(&material.number);
    // What a replica waits for is for its primary key to forget.
    record.materials.retain(|material| !(is_meant(material) && material.is_pending_rotation()) || key.is_replica());
    let meant = record.materials.iter_mut().filter(|material| is_meant(material));
    meant.filter_map(|material| material.import.as_mut()).for_each(|import| import.object = None);
    if matches!(record.state, KeyState::Enabled | KeyState::Disabled) && record.lacks_material(now) {
        record.state = KeyState::PendingImport;
    }
    record
}

/// Whether it is this material.
fn is(material: &Material, fingerprint: &[u8; 32]) -> bool {
    let known = material.import.as_ref().map(|import| import.fingerprint.as_bytes());
    known.is_some_and(|known| crypto::equal(known, crypto::hex(fingerprint).as_bytes()))
}

/// A key that was disabled stays so: whoever may import into it may not enable it.
fn state_with(record: &KeyRecord, now: Timestamp) -> KeyState {
    match (record.lacks_material(now), record.state) {
        (true, KeyState::Enabled | KeyState::Disabled) => KeyState::PendingImport,
        (false, KeyState::PendingImport) => KeyState::Enabled,
        (_, state) => state,
    }
}

/// 64 hex digits that name imported material within its key: the same for the same material, whenever it is imported.
fn imported_material_id(key_id: &KeyId, fingerprint: &[u8; 32]) -> String {
    crypto::hex(&crypto::sha256(&[b"hsm-kms/v1/imported-key-material-id", key_id.as_bytes(), fingerprint]))
}

fn incorrect(message: &str) -> Error {
    Error::IncorrectKeyMaterial(message.into())
}

/// Members that only symmetric encryption keys admit.
pub(super) fn admits_several(spec: KeySpec) -> bool {
    spec == KeySpec::SymmetricDefault
}

/// The model's word for material that the key never had.
pub(super) const NEW: &str = "NEW_KEY_MATERIAL";
