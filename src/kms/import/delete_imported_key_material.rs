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
use crate::store::{Change, IntentKind, Material};
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
        let (output, object) = self.begin(cx).await?;
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

impl DeleteImportedKeyMaterial {
    /// From here on nothing uses the material, and its object, if there is one, will be destroyed whatever happens.
    async fn begin(&self, cx: &Context) -> Result<(Output, Option<(Token, ObjectName)>), Error> {
        let begun = cx.prepare(|_| {
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
            let object = material.and_then(|material| Some((material, key.record.object(material)?)));
            let now = cx.kms.now();
            let Some((material, name)) = object else {
                return Ok((Change::new(now), None, (output, None, Vec::new())));
            };
            let token = cx.kms.token_of(&key.record)?;
            let record = without(&key.record, &[material.number], now);
            let intent = cx.kms.intent(IntentKind::Destroy, name, &key.record, now);
            let details = json!({
                "phase": "begun",
                "keyMaterialId": material.key_material_id,
                "objects": [name.cka_label()],
            });
            let act = Act::about(Self::NAME, &key.record, details);
            let change = Change::new(now).update(&key, record.clone()).insert(intent);
            let of_replicas = forgotten_in_replicas(&cx.kms, change, (&key.record, &record), IntentKind::Destroy);
            let (change, acts) = cx.kms.with_acts(of_replicas.0, of_replicas.1);
            Ok((change, Some(act), (output, Some((token, name)), acts)))
        });
        let (output, object, acts) = begun.await?;
        cx.kms.copy_acts(acts).await;
        Ok((output, object))
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
