//! GiveUpToken, ours.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::{Context, Error, Operation, Plan};
use crate::audit::EventSource;
use crate::kms::shape::{Member, Shape, required};
use crate::kms::{Held, KeyStore, Kms, LostToken, Verdict, Whereabouts};
use crate::model::{AccountId, CustomKeyStoreId, Region, Timestamp};

/// Ends what is due on a token that is lost for good, without asking the token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct GiveUpToken {
    serial: String,
}

/// What has ended, and what has not.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    token: Named,
    key_stores: Vec<Place>,
    finished: Vec<Held>,
    remaining: Vec<Held>,
    /// The serial numbers of tokens that it was paired with, and is no more.
    pairings_ended: Vec<String>,
}

/// The token.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    serial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

/// What has its objects there.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
enum Place {
    Region(Region),
    CustomKeyStoreId(CustomKeyStoreId),
}

impl Operation for GiveUpToken {
    const NAME: &'static str = "GiveUpToken";
    const MEMBERS: &'static [Member] = &[required("Serial", &SERIAL)];
    const READ_ONLY: bool = false;
    const SOURCE: EventSource = EventSource::Kms;
    type Output = Output;

    /// Looks for the token.
    async fn prepare(&self, kms: &Kms, _account: &AccountId) -> Result<(), Error> {
        self.key_stores(kms)?;
        let refused = |how: &str| Err(Error::DeleteConflict(format!("The token {} {how}", self.serial)));
        match kms.whereabouts(&self.serial).await {
            Whereabouts::Lost => Ok(()),
            Whereabouts::Answers => refused(
                "is there and answers: its keys are destroyed on it when their deletion dates come, without this command.",
            ),
            Whereabouts::Listed => refused(
                "is listed by its module, and this service has not opened it: have it opened (name it in the settings, or \
                 connect its custom key store), and its keys are destroyed on it in the ordinary way. If it is beyond that, \
                 take it out of the module's configuration first.",
            ),
        }
    }

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let key_stores = self.key_stores(cx.kms)?;
        let trusted = trusted_time(cx.kms, &key_stores)?;
        let label = cx.kms.label_of_token(&self.serial);
        let places: Vec<Place> = key_stores.iter().cloned().map(Place::from).collect();
        let token = Named { serial: self.serial.clone(), label: label.clone() };
        let response = json!({ "token": token, "keyStores": places });
        Ok(Plan::work(response, move |kms, act| async move {
            let lost = LostToken { serial: self.serial, label, key_stores, given_up_by: json!(act) };
            let given_up = kms.give_up(&lost, trusted).await?;
            let (finished, remaining) = (given_up.finished, given_up.remaining);
            let pairings_ended = given_up.pairings_ended;
            Ok(Output { token, key_stores: places, finished, remaining, pairings_ended })
        }))
    }
}

impl GiveUpToken {
    /// What has its objects on the token, which is not the one without which nothing opens.
    fn key_stores(&self, kms: &Kms) -> Result<Vec<KeyStore>, Error> {
        let serial = &self.serial;
        if kms.is_first_token(serial) {
            return Err(Error::InvalidInput(format!(
                "The token {serial} has the store's root, without which nothing opens: it cannot be given up."
            )));
        }
        let key_stores = kms.key_stores_on(serial);
        if key_stores.is_empty() {
            return Err(Error::NoSuchEntity(format!(
                "No Region and no custom key store has its keys on a token with the serial number {serial}; the message of \
                 the failure in the log, and the last AssignToken in the audit log, name that of a Region."
            )));
        }
        Ok(key_stores)
    }
}

impl From<KeyStore> for Place {
    fn from(key_store: KeyStore) -> Self {
        match key_store {
            KeyStore::Region(region) => Place::Region(region),
            KeyStore::Custom(id) => Place::CustomKeyStoreId(id),
        }
    }
}

/// The time of day, if it is trusted. Refused if it is not, and something there waits for nothing else.
fn trusted_time(kms: &Kms, key_stores: &[KeyStore]) -> Result<Option<Timestamp>, Error> {
    if let Verdict::Trusted(now) = kms.observe_time() {
        return Ok(Some(now));
    }
    match kms.is_due_in(key_stores, kms.clock().now()) {
        true => Err(Error::DeleteConflict(
            "A deletion date has come by a time of day that is not trusted yet: wait for a day of steady time, or start the \
             service once with --accept-clock, and give this command while it runs."
                .into(),
        )),
        false => Ok(None),
    }
}

const SERIAL: Shape = Shape::String { min: 1, max: 128, pattern: None };
