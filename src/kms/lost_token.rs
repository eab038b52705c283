//! A token that is lost for good: an operator gives it up, and what was to be destroyed on it ends without it.
//!
//! Nothing else ends, and nobody is told that something was destroyed: the records say where the objects stay.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::import::over;
use super::janitor::{deadline, is_due, undoing};
use super::{Error, KeyStore, Kms, arn_of};
use crate::crash_point;
use crate::model::{ObjectName, Timestamp, key_arn};
use crate::store::{Change, IntentRecord, KeyRecord, WrappingKeyRecord};
use crate::token::{self, Status, Token};

/// A token that an operator gives up.
#[derive(Clone, Debug)]
pub struct LostToken {
    /// Its serial number.
    pub serial: String,
    /// Its label, as far as it is known.
    pub label: Option<String>,
    /// What has its objects there.
    pub key_stores: Vec<KeyStore>,
    /// Whose act that is, for the record.
    pub given_up_by: Value,
}

/// How a token can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is open, and works.
    Answers,
    /// It is not open, and its module lists it.
    Listed,
    /// It is open and cannot work, or no module lists it.
    Lost,
}

/// What becomes of the token objects of what ends.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// They are destroyed.
    Destroyed,
    /// They stay on a token that is lost.
    LeftOn(&'a LostToken),
}

/// Something that has its objects on a token, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Held {
    /// `Key`, `KeyMaterial` that is being destroyed, `WrappingKey`, or `Creation`, an object that was being made.
    pub kind: &'static str,
    /// The KMS key.
    pub key_arn: String,
    /// The labels of the objects.
    pub objects: Vec<String>,
    /// The state of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_state: Option<&'static str>,
    /// From when on a key or a wrapping key may be destroyed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// What came of giving a token up.
#[derive(Clone, Debug, Default)]
pub struct GivenUp {
    /// What has ended.
    pub finished: Vec<Held>,
    /// What has objects there yet.
    pub remaining: Vec<Held>,
    /// The serial numbers of the tokens that it was paired with, if these pairings have ended.
    pub pairings_ended: Vec<String>,
}

impl Kms {
    /// Whether it is the token with the store's root.
    pub fn is_first_token(&self, serial: &str) -> bool {
        self.key_stores.first_serial().is_some_and(|first| first == serial)
    }

    /// The Regions, served or not, and the custom key stores that have their objects on the token with this serial number.
    pub fn key_stores_on(&self, serial: &str) -> Vec<KeyStore> {
        let regions = self.store.region_tokens().into_iter().filter(|row| row.record.serial == serial);
        let regions = regions.map(|row| KeyStore::Region(row.record.region.clone()));
        let custom = self.store.custom_key_stores().into_iter();
        let custom = custom.filter(|row| row.record.serial.as_deref() == Some(serial));
        regions.chain(custom.map(|row| KeyStore::Custom(row.record.id.clone()))).collect()
    }

    /// The label that the token with this serial number had, or that the settings give it.
    pub fn label_of_token(&self, serial: &str) -> Option<String> {
        let region = self.store.region_tokens().into_iter().find(|row| row.record.serial == serial);
        let label = |row: &crate::store::RegionTokenRecord| row.label.clone();
        region.map(|row| label(&row.record)).or_else(|| {
            let custom = self.store.custom_key_stores();
            let row = custom.iter().find(|row| row.record.serial.as_deref() == Some(serial))?;
            self.custom_key_stores.cluster(&row.record.cluster)?.token.label.clone()
        })
    }

    /// How the token with this serial number can be reached. Asks the modules of the settings for their tokens, for some
    /// seconds at most.
    pub async fn whereabouts(&self, serial: &str) -> Whereabouts {
        match self.open_token(serial) {
            Some(token) if works(&token) => Whereabouts::Answers,
            Some(_) => Whereabouts::Lost,
            None if self.is_listed(serial).await => Whereabouts::Listed,
            None => Whereabouts::Lost,
        }
    }

    /// Whether anything in these key stores waits for nothing but the time.
    pub fn is_due_in(&self, key_stores: &[KeyStore], now: Timestamp) -> bool {
        let mut keys = key_stores.iter().flat_map(|key_store| self.keys_in(key_store));
        keys.any(|key| is_due(&key.record, now) || !over(&key.record, now).is_empty())
    }

    /// Ends what is due on a lost token and nothing else: creations, destructions that were begun, wrapping keys that are
    /// over, and, by a time that is trusted, keys whose deletion date has come and imported material that is over. If nothing
    /// has objects there afterwards, its pairings with other tokens end.
    ///
    /// What fails is logged and remains, and can be done by the next call, as after a crash. Fails if the store or the record
    /// cannot be written.
    pub async fn give_up(&self, lost: &LostToken, now: Option<Timestamp>) -> Result<GivenUp, Error> {
        let end = End::LeftOn(lost);
        for key_store in &lost.key_stores {
            if let Some(now) = now {
                self.begin_due_destructions(key_store, now).await?;
                self.begin_expiries(key_store, now).await?;
            }
        }
        let before = self.held_in(&lost.key_stores);
        for key_store in &lost.key_stores {
            self.undo(key_store, |_| true, end).await;
            self.finish_destructions(key_store, end).await;
            self.finish_removals(key_store, end).await;
            self.destroy_expired_wrapping_keys(key_store, end).await;
        }
        let pairings_ended = self.end_pairings(lost).await?;
        self.store.guard()?;
        drop(self.audit.begin()?);
        let remaining = self.held_in(&lost.key_stores);
        let has_ended = |held: &Held| !remaining.iter().any(|other| other.is_same(held));
        let finished = before.into_iter().filter(has_ended).collect();
        Ok(GivenUp { finished, remaining, pairings_ended })
    }

    /// Ends the token objects of something, and gives what is told of that.
    pub(super) async fn end_objects(
        &self,
        end: End<'_>,
        token: Result<Token, Error>,
        names: &[ObjectName],
    ) -> Result<Value, Error> {
        match end {
            End::Destroyed => {
                let token = token?;
                for name in names {
                    token.destroy(name, deadline()).await?;
                }
                Ok(json!({ "destroyed": labels(names), "objectsFoundAfterwards": 0 }))
            }
            // Then they are destroyed there.
            End::LeftOn(lost) if self.open_token(&lost.serial).is_some_and(|token| works(&token)) => {
                Err(Error::KeyUnavailable(format!("the token with serial number {} is back", lost.serial)))
            }
            End::LeftOn(lost) => {
                crash_point::reached("object-given-up");
                Ok(lost.told_of(names))
            }
        }
    }

    /// A token that is open, for a Region or a custom key store.
    fn open_token(&self, serial: &str) -> Option<Token> {
        let custom = self.store.custom_key_stores().into_iter().filter_map(|row| self.custom_token(&row.record.id));
        self.tokens().into_iter().chain(custom).find(|token| token.identity().serial == serial)
    }

    /// Whether a module of the settings has a token with this serial number. One that does not answer has none.
    async fn is_listed(&self, serial: &str) -> bool {
        let ask = |(module, profile): super::key_stores::Module| {
            let (tell, told) = tokio::sync::oneshot::channel();
            // A thread of its own: nothing waits for one whose call never returns.
            std::thread::spawn(move || tell.send(token::tokens(&module, profile.as_deref()).unwrap_or_default()));
            told
        };
        let until = tokio::time::Instant::now() + LISTING_TIME;
        let asked: Vec<_> = self.key_stores.modules.iter().cloned().map(ask).collect();
        let mut listed = Vec::new();
        for told in asked {
            listed.extend(tokio::time::timeout_at(until, told).await.ok().and_then(Result::ok).unwrap_or_default());
        }
        listed.iter().any(|entry| entry.flags.initialized && entry.serial == serial)
    }

    /// All that has objects in these key stores, or may get some.
    fn held_in(&self, key_stores: &[KeyStore]) -> Vec<Held> {
        let mut held = Vec::new();
        for key_store in key_stores {
            held.extend(self.keys_in(key_store).iter().map(|row| Held::key(&row.record)));
            held.extend(self.intents_in(key_store).iter().map(|row| Held::intent(&row.record)));
            held.extend(self.wrapping_keys_in(key_store).iter().map(|row| Held::wrapping_key(&row.record)));
        }
        held
    }

    /// Forgets the replication key of a token on which nothing is left, and its pairings; gives whom it was paired with.
    async fn end_pairings(&self, lost: &LostToken) -> Result<Vec<String>, Error> {
        let is_used = lost.key_stores.iter().any(|key_store| self.has_objects(key_store));
        let Some(key) = self.store.replication_key(&lost.serial).filter(|_| !is_used) else { return Ok(Vec::new()) };
        let mut change = Change::new(self.now()).delete(&key);
        let mut others = Vec::new();
        for row in self.store.pairings() {
            let sides = [&row.record.one.serial, &row.record.other.serial];
            if let Some(side) = sides.iter().position(|serial| **serial == lost.serial) {
                others.push(sides[1 - side].clone());
                change = change.delete(&row);
            }
        }
        let mut details = lost.told_of(&[key.record.object()]);
        details["pairingsEnded"] = json!(others);
        let account = self.first_account()?.record.account.clone();
        self.commit_act(change, "ForgetReplicationKey", &account, details).await?;
        Ok(others)
    }
}

impl LostToken {
    /// What is told of something that has these objects on it.
    fn told_of(&self, names: &[ObjectName]) -> Value {
        let mut left = json!({ "serial": self.serial, "objects": labels(names) });
        if let Some(label) = &self.label {
            left["label"] = json!(label);
        }
        json!({ "destroyed": [], "objectsLeftOn": left, "givenUpBy": self.given_up_by })
    }
}

impl End<'_> {
    /// What became of the objects, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            End::Destroyed => "is destroyed",
            End::LeftOn(_) => "is left on a token that was given up",
        }
    }
}

impl Held {
    fn key(key: &KeyRecord) -> Self {
        Held {
            kind: "Key",
            key_arn: arn_of(key).to_string(),
            objects: labels(&key.objects()),
            key_state: Some(key.state.wire()),
            date: key.deletion_date.map(|date| date.to_string()),
        }
    }

    fn intent(intent: &IntentRecord) -> Self {
        Held {
            kind: if undoing(intent).is_some() { "Creation" } else { "KeyMaterial" },
            key_arn: key_arn(&intent.region, &intent.account, &intent.key_id()).to_string(),
            objects: labels(&[intent.name]),
            key_state: None,
            date: None,
        }
    }

    fn wrapping_key(key: &WrappingKeyRecord) -> Self {
        Held {
            kind: "WrappingKey",
            key_arn: key_arn(&key.region, &key.account, &key.key_id).to_string(),
            objects: labels(&[key.object()]),
            key_state: None,
            date: Some(key.expires.to_string()),
        }
    }

    /// Whether it is the same thing, however it has changed.
    fn is_same(&self, other: &Held) -> bool {
        let is_key = self.kind == "Key";
        self.kind == other.kind && self.key_arn == other.key_arn && (is_key || self.objects == other.objects)
    }
}

/// A token that recovers is back in a moment.
fn works(token: &Token) -> bool {
    matches!(token.status(), Status::Ready | Status::Recovering(_))
}

fn labels(names: &[ObjectName]) -> Vec<String> {
    names.iter().map(ObjectName::cka_label).collect()
}

/// How long modules have for listing their tokens.
const LISTING_TIME: Duration = Duration::from_secs(10);
