//! PairTokens, ours.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::{Context, Error, Operation, Plan};
use crate::audit::EventSource;
use crate::kms::Kms;
use crate::kms::multi_region::{TokenKey, fingerprint_of};
use crate::kms::shape::{Member, Shape, optional, required};
use crate::model::{AccountId, Region};
use crate::store::PairingRecord;

/// Tells the fingerprints of the replication keys of two tokens, and lets the material of multi-Region keys go between
/// them if both are confirmed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct PairTokens {
    /// What the settings call them; `token` is the first one.
    tokens: [String; 2],
    /// The fingerprints that somebody has compared, in the same order.
    confirm: Option<[String; 2]>,
}

/// Both tokens.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    tokens: [Entry; 2],
    /// Whether material may go between them now.
    paired: bool,
}

/// One of them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    label: String,
    serial: String,
    fingerprint: String,
}

impl Operation for PairTokens {
    const NAME: &'static str = "PairTokens";
    const MEMBERS: &'static [Member] = &[
        required("Tokens", &Shape::List { min: 2, max: 2, of: &NAME }),
        optional("Confirm", &Shape::List { min: 2, max: 2, of: &FINGERPRINT }),
    ];
    const READ_ONLY: bool = false;
    const SOURCE: EventSource = EventSource::Kms;
    type Output = Output;

    /// The token itself is asked for its key: what operators compare is what it has.
    async fn prepare(&self, kms: &Kms, account: &AccountId) -> Result<(), Error> {
        for name in &self.tokens {
            let region = region_of(kms, name)?;
            let deadline = std::time::Instant::now() + MAKING_TIME;
            let TokenKey { token, own } = kms.replication_key(&region, account, deadline).await?;
            let told = token.replication_public(&own.name, deadline).await.map_err(crate::kms::Error::from)?;
            if told.spki() != own.public_key.spki() {
                let why = format!("the token `{name}` has another replication key than the one that is on record");
                return Err(Error::ServiceFailure(why));
            }
        }
        Ok(())
    }

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let keys = [key_of(cx, &self.tokens[0])?, key_of(cx, &self.tokens[1])?];
        let sides = keys.each_ref().map(TokenKey::paired);
        if sides[0].serial == sides[1].serial {
            return Err(Error::ValidationError("A token needs no pairing with itself.".into()));
        }
        let tokens = [0, 1].map(|at| Entry::of(&self.tokens[at], &keys[at]));
        let row = cx.store().pairing([&sides[0].serial, &sides[1].serial]);
        let Some(confirmed) = self.confirm else {
            let paired = row.is_some_and(|row| row.record.is_of(&sides));
            return Ok(Plan::read(Output { tokens, paired }));
        };
        for (entry, confirmed) in tokens.iter().zip(&confirmed) {
            if entry.fingerprint != *confirmed {
                let Entry { name, fingerprint, .. } = entry;
                let why = format!("{confirmed} is not the fingerprint of the token `{name}`, which is {fingerprint}");
                return Err(Error::ValidationError(why));
            }
        }
        let response = json!({ "tokens": tokens, "paired": true });
        let record = PairingRecord::of(sides, cx.now);
        let change = match row {
            Some(row) => cx.change().update(&row, record),
            None => cx.change().insert(record),
        };
        Ok(Plan::change(change, Output { tokens, paired: true }, response))
    }
}

impl Entry {
    fn of(name: &str, TokenKey { token, own }: &TokenKey) -> Self {
        let identity = token.identity();
        Entry {
            name: name.to_owned(),
            label: identity.label.clone(),
            serial: identity.serial.clone(),
            fingerprint: fingerprint_of(&own.public_key),
        }
    }
}

fn key_of(cx: &Context<'_>, name: &str) -> Result<TokenKey, Error> {
    let known = cx.kms.known_replication_key(&region_of(cx.kms, name)?)?;
    known.ok_or_else(|| Error::ServiceFailure(format!("the token `{name}` has no replication key")))
}

/// A Region whose keys the token has.
fn region_of(kms: &Kms, name: &str) -> Result<Region, Error> {
    let none = || Error::NoSuchEntity(format!("The settings have no token `{name}` with a Region."));
    kms.region_of_token(name).cloned().ok_or_else(none)
}

const NAME: Shape = Shape::String { min: 1, max: 128, pattern: None };
const FINGERPRINT: Shape = Shape::String { min: 64, max: 64, pattern: None };
/// The making of two RSA keys.
const MAKING_TIME: std::time::Duration = std::time::Duration::from_secs(60);
