//! DeleteImportedKeyMaterial:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteImportedKeyMaterial.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::external;
use super::placing::{admits_several, without};
use super::replicas::forgotten_in_replicas;
use crate::crash_point;
use crate::kms::janitor::Act;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, Facts, KeyRow, Operation, arn_of, shapes};
use crate::model::{KeyState, ObjectName};
use crate::store::{Change, IntentKind, KeyRecord, Material};
use crate::token::Token;

/// Destroys imported key material; the key waits until the same material is imported again.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteImportedKeyMaterial {
    key_id: String,
    key_material_id: Option<String>,
}

/// The key, and which material it was.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for DeleteImportedKeyMaterial {
    const NAME: &'static str = "DeleteImportedKeyMaterial";
    const MEMBERS: &'static [Member] =
        &[required("KeyId", &shapes::KEY_ID), optional("KeyMaterialId", &shapes::BACKING_KEY_ID)];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let (output, object, acts) = self.begin(cx).await?;
        cx.kms.copy_acts(acts).await;
        cx.note_response(json!({ "keyId": output.key_id, "keyMaterialId": output.key_material_id }));
        let Some((token, name)) = object else { return Ok(output) };
        crash_point::reached("deletion-begun");
        token.destroy(&name, cx.request.deadline).await?;
        crash_point::reached("material-destroyed");
        cx.note_detail("destroyed", json!([name.cka_label()]));
        cx.note_detail("objectsFoundAfterwards", json!(0));
        cx.change(|store| {
            let change = Change::new(cx.kms.now());
            // None if the service finished it by itself meanwhile.
            let intent = store.intent(&name);
            Ok((intent.iter().fold(change, |change, intent| change.delete(intent)), ()))
        })
        .await?;
        Ok(output)
    }
}

/// The answer, the object that is to be destroyed if there is one, and the ids of what follows in other Regions.
type Begun = (Output, Option<(Token, ObjectName)>, Vec<String>);

impl DeleteImportedKeyMaterial {
    /// From here on nothing uses the material, and its object, if there is one, will be destroyed whatever happens.
    async fn begin(&self, cx: &Context) -> Result<Begun, Error> {
        cx.prepare(|_| {
            let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &Facts::default())?;
            let key = external(key)?;
            let arn = arn_of(&key.record);
            if key.record.state == KeyState::Destroying {
                return Err(Error::InvalidState(format!("{arn} is pending deletion.")));
            }
            let material = self.material(&key)?;
            let key_material_id = material.map(|material| material.key_material_id.clone());
            let key_material_id = key_material_id.filter(|_| admits_several(key.record.spec));
            let output = Output { key_id: arn.to_string(), key_material_id };
            let now = cx.kms.now();
            let Some(material) = material.filter(|material| is_deletable(&key.record, material)) else {
                return Ok((Change::new(now), None, (output, None, Vec::new())));
            };
            let name = key.record.object(material);
            let object = name.map(|name| Ok::<_, Error>((cx.kms.token_of(&key.record)?, name))).transpose()?;
            let record = without(&key.record, &[material.number], now);
            let intent = name.map(|name| cx.kms.intent(IntentKind::Destroy, name, &key.record, now));
            let details = json!({
                "phase": "begun",
                "keyMaterialId": material.key_material_id,
                "objects": name.iter().map(ObjectName::cka_label).collect::<Vec<_>>(),
            });
            let act = Act::about(Self::NAME, &key.record, details);
            let change = cx.kms.in_its_cluster(Change::new(now).update(&key, record.clone()), &key.record);
            let change = intent.into_iter().fold(change, Change::insert);
            let (change, acts) = forgotten_in_replicas(&cx.kms, change, (&key.record, &record), IntentKind::Destroy);
            Ok((change, Some(act), (output, object, acts)))
        })
        .await
    }

    /// The material that is meant: the current one if none is named.
    fn material<'k>(&self, key: &'k KeyRow) -> Result<Option<&'k Material>, Error> {
        let Some(named) = &self.key_material_id else { return Ok(key.record.current()) };
        let found = key.record.materials.iter().find(|material| material.key_material_id == *named);
        // AWS's wording is not known.
        let none = || Error::NotFound(format!("Key material '{named}' of {} does not exist", arn_of(&key.record)));
        found.map(Some).ok_or_else(none)
    }
}

/// Whether there is something of it to delete: its object or, since replicas may have one, that it waits for its rotation.
fn is_deletable(key: &KeyRecord, material: &Material) -> bool {
    material.imported().is_some() || (material.is_pending_rotation() && !key.is_replica())
}
