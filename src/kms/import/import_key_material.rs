//! ImportKeyMaterial: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html>

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::import_token::Content;
use super::placing::{Incoming, NEW, Placed, admits_several};
use super::replicas::expected_in_replicas;
use super::{gone, importable, still};
use crate::crash_point;
use crate::kms::key::GENERATION_TIME;
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::usable::not_pending_deletion;
use crate::kms::{Blob, Context, EpochSeconds, Error, Facts, KeyRow, Operation, arn_of, object_kind, shapes};
use crate::model::{KeyPairSpec, ObjectName, Timestamp};
use crate::store::{Change, ImportedObject, IntentKind, KeyRecord, Row, WrappingKeyRecord};
use crate::token::{self, Import, Place, Unwrapped};

/// Brings key material into a key that was made without any, or brings it again.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImportKeyMaterial {
    key_id: String,
    import_token: Blob,
    encrypted_key_material: Blob,
    valid_to: Option<EpochSeconds>,
    expiration_model: Option<String>,
    import_type: Option<String>,
    key_material_description: Option<String>,
    key_material_id: Option<String>,
}

/// The key, and which material it is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for ImportKeyMaterial {
    const NAME: &'static str = "ImportKeyMaterial";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("ImportToken", &shapes::CIPHERTEXT),
        required("EncryptedKeyMaterial", &shapes::CIPHERTEXT),
        optional("ValidTo", &shapes::DATE),
        defaulted("ExpirationModel", &shapes::EXPIRATION_MODEL, EXPIRES),
        optional("ImportType", &shapes::IMPORT_TYPE),
        optional("KeyMaterialDescription", &shapes::KEY_MATERIAL_DESCRIPTION),
        optional("KeyMaterialId", &shapes::BACKING_KEY_ID),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        self.check_expiration(cx.kms.now())?;
        let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &self.facts())?;
        let key = importable(&cx.kms, key)?;
        self.check_several(&key.record)?;
        let (content, wrapping_key) = self.parameters(cx, &key)?;
        self.check_len(&content, wrapping_key.record.spec)?;
        cx.kms.token_of(&key.record)?.check_available()?;
        let name = allot(cx, &key).await?;
        crash_point::reached("import-begun");
        let kind = object_kind(key.record.spec, key.record.usage);
        let import = Import {
            name,
            of_key: key.record.key_id,
            kind: kind.ok_or_else(|| Error::Internal(format!("{} is of no kind", arn_of(&key.record))))?,
            wrapping: wrapping_key.record.object(),
            wrapping_spec: wrapping_key.record.spec,
            algorithm: content.algorithm,
            encrypted: self.encrypted_key_material.expose().to_vec(),
            allow_host: cx.kms.imports.allow_host,
        };
        // Behind it may be others whose keys take long to make.
        let deadline = cx.request.deadline.max(Instant::now() + GENERATION_TIME);
        let unwrapped = cx.kms.token_of(&key.record)?.unwrap_key(&import, deadline).await;
        let unwrapped = match cx.kms.disowned(&name, unwrapped).await {
            Ok(unwrapped) => unwrapped,
            Err(error) => return Err(self.refused(cx, &key, &import, error).await),
        };
        crash_point::reached("import-on-token");
        let placed = self.install(cx, &key, name, &unwrapped).await;
        // After any other error it is not known here whether the store names the object.
        if let Err(
            Error::IncorrectKeyMaterial(_)
            | Error::InvalidState(_)
            | Error::NotFound(_)
            | Error::UnsupportedOperation(_),
        ) = &placed
        {
            cx.kms.withdraw(&name, &key.record).await;
        }
        let placed = placed?;
        if let Some(replaced) = &placed.replaced {
            crash_point::reached("import-replaces");
            cx.kms.finish_removal_soon(replaced).await;
        }
        let key_material_id = Some(placed.key_material_id).filter(|_| admits_several(key.record.spec));
        Ok(Output { key_id: arn_of(&key.record).to_string(), key_material_id })
    }
}

impl ImportKeyMaterial {
    fn expires(&self) -> bool {
        self.expiration_model.as_deref().unwrap_or(EXPIRES) == EXPIRES
    }

    fn check_expiration(&self, now: Timestamp) -> Result<(), Error> {
        let invalid = |message: &str| Err(Error::Validation(message.into()));
        match (self.expires(), self.valid_to) {
            (true, None) => invalid("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"),
            (false, Some(_)) => invalid(
                "The parameter ValidTo cannot be specified for a key with an expiration model of \
                 KEY_MATERIAL_DOES_NOT_EXPIRE",
            ),
            (true, Some(EpochSeconds(valid_to))) if valid_to <= now => invalid("ValidTo must be in the future"),
            (true, Some(EpochSeconds(valid_to))) if valid_to > now.plus(MAX_VALIDITY) => {
                invalid("ValidTo must be within 365 days from now")
            }
            _ => Ok(()),
        }
    }

    /// What only a key with several materials knows.
    fn check_several(&self, key: &KeyRecord) -> Result<(), Error> {
        let invalid = |message: String| Err(Error::Validation(message));
        let given = [
            ("ImportType", self.import_type.is_some()),
            ("KeyMaterialDescription", self.key_material_description.is_some()),
            ("KeyMaterialId", self.key_material_id.is_some()),
        ];
        if let Some((name, _)) = given.iter().find(|(_, given)| *given && !admits_several(key.spec)) {
            return invalid(format!("{name} is only supported for symmetric encryption keys."));
        }
        if self.import_type.as_deref() == Some(NEW) && self.key_material_id.is_some() {
            return invalid(format!("KeyMaterialId cannot be specified if the ImportType is {NEW}"));
        }
        Ok(())
    }

    fn facts(&self) -> Facts<'_> {
        let model = self.expiration_model.as_deref().unwrap_or(EXPIRES);
        let valid_to = self.valid_to.map(|EpochSeconds(time)| time.as_epoch_seconds().to_string());
        Facts::default().with("kms:expirationmodel", Some(model)).with("kms:validto", valid_to)
    }

    /// What the import token is good for, and the wrapping key that it names.
    fn parameters(&self, cx: &Context, key: &KeyRow) -> Result<(Content, Arc<Row<WrappingKeyRecord>>), Error> {
        let content = cx.kms.imports.tokens.open(self.import_token.expose()).map_err(|_| Error::InvalidImportToken)?;
        let KeyRecord { region, account, key_id, .. } = &key.record;
        if (&content.region, &content.account, &content.key_id) != (region, account, key_id) {
            return Err(Error::InvalidImportToken);
        }
        let wrapping_key = cx.kms.store.wrapping_key(region, key_id, &content.wrapping_key_id);
        let now = cx.kms.now();
        let live = wrapping_key.filter(|row| content.valid_to > now && row.record.expires > now);
        live.map(|row| (content, row)).ok_or(Error::ExpiredImportToken)
    }

    fn check_len(&self, content: &Content, wrapping_key: KeyPairSpec) -> Result<(), Error> {
        let modulus_len = wrapping_key.modulus_len().unwrap_or(0);
        let fits = match self.encrypted_key_material.expose().len().checked_sub(modulus_len) {
            Some(rest) if content.algorithm.has_aes_key() => rest > 0,
            Some(rest) => rest == 0,
            None => false,
        };
        if fits { Ok(()) } else { Err(Error::Validation("Invalid encrypted key size.".into())) }
    }

    /// What the caller is told when the token did not unwrap. Where it answered, nothing stays behind; where it did not,
    /// its call may still be on the way, and the creation is undone later.
    async fn refused(&self, cx: &Context, key: &KeyRow, import: &Import, error: token::Error) -> Error {
        let answered = matches!(
            error,
            token::Error::BadData
                | token::Error::IncorrectMaterial(_)
                | token::Error::HostUnwrapRefused
                | token::Error::Unfit(_)
        );
        if answered {
            cx.kms.withdraw(&import.name, &key.record).await;
        }
        match error {
            // It was destroyed while the request was on its way: it is over.
            token::Error::NotFound(name) if name == import.wrapping => Error::ExpiredImportToken,
            token::Error::IncorrectMaterial(_) => {
                Error::IncorrectKeyMaterial("The key material does not fit the key spec of the KMS key.".into())
            }
            token::Error::HostUnwrapRefused => Error::UnsupportedOperation(format!(
                "The token cannot unwrap {} by itself, and the setting import.host_unwrap does not allow the host to.",
                import.algorithm
            )),
            other => other.into(),
        }
    }

    /// Records the material, or refuses it.
    async fn install(
        &self,
        cx: &Context,
        key: &KeyRow,
        name: ObjectName,
        unwrapped: &Unwrapped,
    ) -> Result<Placed, Error> {
        let scheme = if admits_several(key.record.spec) { cx.kms.token_of(&key.record)?.scheme() } else { 0 };
        let (placed, acts) = cx
            .change(|_| {
                let now = cx.kms.now();
                let key = still(&cx.kms, key)?;
                not_pending_deletion(&key)?;
                let incoming = Incoming {
                    fingerprint: unwrapped.fingerprint,
                    object: ImportedObject {
                        number: name.material,
                        imported: now,
                        valid_to: self.valid_to.map(|EpochSeconds(time)| time),
                        unwrapped_on_host: unwrapped.place == Place::Host,
                    },
                    scheme,
                    public_key: unwrapped.public_key.as_ref().map(|public_key| hex::encode(public_key.spki())),
                    import_type: self.import_type.as_deref(),
                    key_material_id: self.key_material_id.as_deref(),
                    description: self.key_material_description.as_deref(),
                };
                let placed = incoming.place(&key.record)?;
                let change = Change::new(now).delete(&*cx.kms.creation(&name)?);
                let change = change.update(&key, placed.record.clone());
                let (change, acts) = expected_in_replicas(&cx.kms, change, &key.record, &placed.record);
                let change = match placed.replaced {
                    Some(old) => change.insert(cx.kms.intent(IntentKind::DestroyReplaced, old, &key.record, now)),
                    None => change,
                };
                self.note(cx, &key.record, &placed, unwrapped.place);
                Ok((change, (placed, acts)))
            })
            .await?;
        cx.kms.copy_acts(acts).await;
        Ok(placed)
    }

    fn note(&self, cx: &Context, key: &KeyRecord, placed: &Placed, place: Place) {
        let arn = arn_of(key).to_string();
        cx.note_response(json!({ "keyId": arn, "keyMaterialId": placed.key_material_id }));
        cx.note_detail("unwrappedOn", json!(place));
        if let Some(replaced) = &placed.replaced {
            cx.note_detail("replaced", json!(replaced.cka_label()));
        }
    }
}

/// Takes a number for the object, which no other object of the key ever has, and says that it is being made.
async fn allot(cx: &Context, key: &KeyRow) -> Result<ObjectName, Error> {
    let KeyRecord { region, key_id, .. } = &key.record;
    // As it is in the store: this changes no state.
    let stored = || cx.kms.store.key(region, key_id).ok_or_else(|| gone(key));
    loop {
        let number = cx.kms.free_number(&stored()?.record, cx.request.deadline).await?;
        let allotted = cx.prepare(|_| {
            let (now, key) = (cx.kms.now(), stored()?);
            not_pending_deletion(&key)?;
            // Another import was first, and used it up.
            let Some(record) = number.used_by(&key.record) else { return Ok((Change::new(now), None, None)) };
            let name = key.record.imported_object(number.get());
            let intent = cx.kms.intent(IntentKind::Create, name, &key.record, now);
            let change = Change::new(now).update(&key, record).insert(intent);
            Ok((cx.kms.in_its_cluster(change, &key.record), None, Some(name)))
        });
        if let Some(name) = allotted.await? {
            return Ok(name);
        }
    }
}

/// The model's word for material that expires.
const EXPIRES: &str = "KEY_MATERIAL_EXPIRES";
/// How far ahead an expiration may be.
const MAX_VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
