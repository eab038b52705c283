//! GetParametersForImport: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html>

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::import_token::Content;
use super::{importable, still};
use crate::crash_point;
use crate::crypto;
use crate::kms::key::GENERATION_TIME;
use crate::kms::shape::{Member, required};
use crate::kms::usable::not_pending_deletion;
use crate::kms::{Blob, Context, Error, Facts, KeyRow, KeyStore, Kms, Operation, arn_of, epoch_seconds, shapes};
use crate::model::{KeyId, KeyPairSpec, Purpose, Timestamp, WrappingAlgorithm, WrappingKeySpec};
use crate::store::{Change, IntentKind, Row, Store, WrappingKeyRecord};
use crate::token::KeyKind;

/// Makes a wrapping key on the token, and gives its public half with a token that is good for one KMS key and a day.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetParametersForImport {
    key_id: String,
    wrapping_algorithm: WrappingAlgorithm,
    wrapping_key_spec: WrappingKeySpec,
}

/// What it takes to wrap and send key material.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    key_id: String,
    import_token: Blob,
    public_key: Blob,
    #[serde(serialize_with = "epoch_seconds")]
    parameters_valid_to: Timestamp,
}

impl Operation for GetParametersForImport {
    const NAME: &'static str = "GetParametersForImport";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        required("WrappingAlgorithm", &shapes::ALGORITHM_SPEC),
        required("WrappingKeySpec", &shapes::WRAPPING_KEY_SPEC),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let facts = Facts::default()
            .with("kms:wrappingalgorithm", Some(self.wrapping_algorithm.as_str()))
            .with("kms:wrappingkeyspec", Some(self.wrapping_key_spec.as_str()));
        let (key, record) = cx
            .prepare(|_| {
                let key = cx.authorize::<Self>(cx.key_without_alias(&self.key_id)?, &facts)?;
                let key = importable(&cx.kms, key)?;
                let spec = self.offered(&key)?;
                cx.kms.token_of(&key.record)?.check_available()?;
                check_room(&cx.kms, &key)?;
                let record = wrapping_key(&key, spec, cx.kms.now())?;
                let intent = cx.kms.intent(IntentKind::Create, record.object(), &key.record, record.created);
                // Whoever counts wrapping keys at the same time must count again.
                let all = cx.kms.first_account()?;
                let change = Change::new(record.created).touch(&all).expect(&key).insert(intent);
                Ok((cx.kms.in_its_cluster(change, &key.record), None, (key, record)))
            })
            .await?;
        crash_point::reached("wrapping-key-begun");
        let kind = KeyKind::ImportWrapping(record.spec);
        let deadline = cx.request.deadline.max(Instant::now() + GENERATION_TIME);
        let public_key = cx.kms.token_of(&key.record)?.generate_key(&record.object(), kind, deadline).await?;
        let public_key = public_key.ok_or_else(|| Error::Internal("a wrapping key has no public half".into()))?;
        crash_point::reached("wrapping-key-on-token");
        self.keep(cx, &key, &record).await?;
        let content = Content {
            region: record.region.clone(),
            account: record.account.clone(),
            key_id: record.key_id,
            wrapping_key_id: record.wrapping_key_id,
            algorithm: self.wrapping_algorithm,
            valid_to: record.expires,
        };
        Ok(Output {
            key_id: arn_of(&key.record).to_string(),
            import_token: cx.kms.imports.tokens.write(&content)?.into(),
            public_key: public_key.spki().to_vec().into(),
            parameters_valid_to: record.expires,
        })
    }
}

impl GetParametersForImport {
    /// The type of the wrapping key, if this service has it and the algorithm fits the key.
    fn offered(&self, key: &KeyRow) -> Result<KeyPairSpec, Error> {
        let (algorithm, wrapping_key) = (self.wrapping_algorithm, self.wrapping_key_spec);
        let unsupported = |what: String| Error::UnsupportedOperation(what);
        if algorithm.encryption().is_none() {
            return Err(unsupported(format!("WrappingAlgorithm {algorithm} is not supported.")));
        }
        let none = || unsupported(format!("WrappingKeySpec {wrapping_key} is not supported."));
        let wrapping_key = wrapping_key.pair().ok_or_else(none)?;
        match key.record.spec.key_pair().filter(|pair| !wraps(algorithm, wrapping_key, *pair)) {
            None => Ok(wrapping_key),
            Some(pair) => Err(unsupported(format!(
                "WrappingAlgorithm {algorithm} with WrappingKeySpec {wrapping_key} is not supported for KeySpec {pair}."
            ))),
        }
    }

    /// Records the wrapping key, and ends the oldest ones where a key has too many.
    async fn keep(&self, cx: &Context, key: &KeyRow, record: &WrappingKeyRecord) -> Result<(), Error> {
        cx.change(|store| {
            let now = cx.kms.now();
            not_pending_deletion(&still(&cx.kms, key)?)?;
            let intent = cx.kms.creation(&record.object())?;
            let change = Change::new(now).delete(&intent).insert(record.clone());
            let change = too_many(store, record, now).iter().fold(change, |change, row| {
                change.update(row, WrappingKeyRecord { expires: now, ..row.record.clone() })
            });
            Ok((change, ()))
        })
        .await
    }
}

/// Whether the algorithm may wrap the private keys of a spec under a wrapping key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html>
fn wraps(algorithm: WrappingAlgorithm, wrapping_key: KeyPairSpec, pair: KeyPairSpec) -> bool {
    let too_long = pair == KeyPairSpec::EccNistP521 && wrapping_key == KeyPairSpec::Rsa2048;
    algorithm.has_aes_key() || (pair.modulus_len().is_none() && !too_long)
}

/// Throttles where a key store has as many wrapping keys as it may have, begun ones too, or where so many of
/// the account are being made that there would be no room for those of others.
fn check_room(kms: &Kms, key: &KeyRow) -> Result<(), Error> {
    // Each by itself: who has a custom key store full of them may keep it disconnected.
    let own = KeyStore::of(&key.record.region, key.record.custom_key_store.as_ref());
    // In this order: one that comes to its end meanwhile is counted twice rather than not at all.
    let mut begun = kms.intents_in(&own);
    begun.retain(|row| row.record.name.purpose == Purpose::ImportWrapping);
    let there = kms.wrapping_keys_in(&own).len();
    let of_account = begun.iter().filter(|row| row.record.account == key.record.account).count();
    let room = there + begun.len() < kms.imports.max_wrapping_keys && of_account < MAX_BEGUN;
    if room { Ok(()) } else { Err(Error::Throttling) }
}

fn wrapping_key(key: &KeyRow, spec: KeyPairSpec, now: Timestamp) -> Result<WrappingKeyRecord, Error> {
    Ok(WrappingKeyRecord {
        region: key.record.region.clone(),
        custom_key_store: key.record.custom_key_store.clone(),
        account: key.record.account.clone(),
        key_id: key.record.key_id,
        wrapping_key_id: KeyId::from_random(crypto::random_array()?),
        spec,
        created: now,
        expires: now.plus(LIFETIME),
    })
}

/// The oldest wrapping keys of a KMS key that has no room for one more.
fn too_many(store: &Store, new: &WrappingKeyRecord, now: Timestamp) -> Vec<Arc<Row<WrappingKeyRecord>>> {
    let mut live = store.wrapping_keys_of(&new.region, &new.key_id);
    live.retain(|row| row.record.expires > now);
    live.sort_by_key(|row| (row.record.created, row.revision));
    live.truncate((live.len() + 1).saturating_sub(MAX_PER_KEY));
    live
}

/// How long a wrapping key and its token are good.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html>
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Wrapping keys of one account that are being made at a time. One whose making had no answer counts for three minutes.
const MAX_BEGUN: usize = 32;
/// Wrapping keys for one KMS key at a time; the oldest makes place for one more.
const MAX_PER_KEY: usize = 8;
