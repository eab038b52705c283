//! The replication keys of tokens, and whether operators have paired two of them.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{PRIMARY, multi_region_key_type};
use crate::crash_point;
use crate::crypto::{self, PublicKey};
use crate::kms::janitor::deadline;
use crate::kms::{CommitError, Error, KeyRow, Kms};
use crate::model::{AccountId, KeyId, KeySpec, ObjectName, Purpose, Region};
use crate::store::{
    Change, IntentKind, IntentRecord, KeyRecord, PairedToken, PairingRecord, ReplicationKeyRecord, Row,
};
use crate::token::{self, REPLICATION, Replication, Token};

/// What lets material go between two tokens, as it is in the store.
type PairingRow = Arc<Row<PairingRecord>>;

/// A token with its replication key.
#[derive(Clone)]
pub struct TokenKey {
    /// The token.
    pub token: Token,
    /// The pair that it unwraps by.
    pub own: Replication,
}

impl TokenKey {
    /// What a pairing says of it.
    pub fn paired(&self) -> PairedToken {
        let serial = self.token.identity().serial.clone();
        PairedToken { serial, fingerprint: fingerprint_of(&self.own.public_key) }
    }
}

impl Kms {
    /// The token of a Region with its replication key, which is made if there is none.
    pub async fn replication_key(
        &self,
        region: &Region,
        account: &AccountId,
        deadline: Instant,
    ) -> Result<TokenKey, Error> {
        if self.known_replication_key(region)?.is_none() {
            self.make_replication_key(&self.token(region, None)?, region, account, deadline).await?;
        }
        let known = self.known_replication_key(region)?;
        known.ok_or_else(|| Error::Internal(format!("the token of {region} has no replication key")))
    }

    /// The token of a Region with its replication key, if it has one.
    pub fn known_replication_key(&self, region: &Region) -> Result<Option<TokenKey>, Error> {
        let token = self.token(region, None)?;
        let Some(row) = self.store.replication_key(&token.identity().serial) else { return Ok(None) };
        let spki = hex::decode(&row.record.public_key).ok();
        let public_key = spki.and_then(|spki| PublicKey::from_spki(REPLICATION, &spki).ok());
        let public_key = public_key.ok_or_else(|| Error::Internal("a replication key cannot be read".into()))?;
        Ok(Some(TokenKey { token, own: Replication { name: row.record.object(), public_key } }))
    }

    /// The replication key of the token with the serial number `before`, by its fingerprint, and the record by which `token`
    /// goes on with it, if it has it. None if there is nothing to go on with, or `token` has one of its own.
    pub async fn replication_key_after(
        &self,
        before: &str,
        token: &Token,
    ) -> Result<Option<(String, Option<ReplicationKeyRecord>)>, Error> {
        let identity = token.identity();
        let Some(known) = self.store.replication_key(before) else { return Ok(None) };
        if self.store.replication_key(&identity.serial).is_some() {
            return Ok(None);
        }
        let has_it = match token.replication_public(&known.record.object(), deadline()).await {
            Ok(public_key) => hex::encode(public_key.spki()) == known.record.public_key,
            Err(token::Error::NotFound(_) | token::Error::NotProven { .. } | token::Error::Ambiguous { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        let (serial, label) = (identity.serial.clone(), identity.label.clone());
        let record = has_it.then(|| ReplicationKeyRecord { serial, label, ..known.record.clone() });
        let spki = hex::decode(&known.record.public_key).unwrap_or_default();
        Ok(Some((crypto::hex(&crypto::sha256(&[&spki])), record)))
    }

    /// Refuses two tokens between which no material may go: an operator has to confirm the keys that both have now.
    pub(super) fn check_paired(&self, one: &TokenKey, other: &TokenKey) -> Result<(), Error> {
        self.pairing_of(one, other).map(drop)
    }

    /// The pairing that [`Kms::check_paired`] finds; a token needs none with itself.
    fn pairing_of(&self, one: &TokenKey, other: &TokenKey) -> Result<Option<PairingRow>, Error> {
        let tokens = [one.paired(), other.paired()];
        if tokens[0] == tokens[1] {
            return Ok(None);
        }
        let pairing = self.store.pairing([&tokens[0].serial, &tokens[1].serial]);
        if let Some(pairing) = pairing.filter(|row| row.record.is_of(&tokens)) {
            return Ok(Some(pairing));
        }
        let [one, other] = [one, other].map(|side| side.token.identity().label.clone());
        Err(Error::UnsupportedOperation(format!(
            "The tokens `{one}` and `{other}` are not paired: an operator has to confirm the fingerprints of their \
             replication keys with `hsm-kms token pair`."
        )))
    }

    /// Refuses a replica whose material came from a token that is not paired with its own any more. Gives the pairing, which
    /// the change that enters the replica touches: it must not be taken back meanwhile.
    pub(super) fn pairing_for(&self, primary: &KeyRecord, replica: &KeyRecord) -> Result<Option<PairingRow>, Error> {
        if !primary.origin.is_made_here() {
            return Ok(None);
        }
        let [one, other] = [primary, replica].map(|key| self.own_replication_key(&key.region));
        self.pairing_of(&one?, &other?)
    }

    /// Refuses a key whose new material could not go from its token to those of these relations. A token that is not open
    /// is not asked: which one it is shows when it is. Gives the pairings that it rests on.
    pub(in crate::kms) fn check_paired_with(
        &self,
        key: &KeyRecord,
        relations: &[KeyRow],
    ) -> Result<Vec<PairingRow>, Error> {
        let mut pairings = Vec::new();
        if !gets_new_material(key) {
            return Ok(pairings);
        }
        let serial = |region| Some(self.token(region, None).ok()?.identity().serial.clone());
        for relation in relations {
            let [one, other] = [&key.region, &relation.record.region].map(serial);
            if one.is_some() && one == other {
                // A token needs no pairing with itself, nor a replication key before it makes something to pass on.
                continue;
            }
            match [&key.region, &relation.record.region].map(|region| self.own_replication_key(region)) {
                [Ok(one), Ok(other)] => pairings.extend(self.pairing_of(&one, &other)?),
                [Err(Error::KeyUnavailable(_)), _] | [_, Err(Error::KeyUnavailable(_))] => {}
                [Err(error), _] | [_, Err(error)] => return Err(error),
            }
        }
        Ok(pairings)
    }

    /// The primary keys whose new material has to go between these tokens, by their serial numbers, because one has the
    /// primary key and the other a replica.
    pub fn keys_kept_by_pairing(&self, serials: [&str; 2]) -> Vec<KeyRow> {
        let [one, other] = serials;
        let mut keys = self.store.all_keys();
        keys.retain(|row| {
            let needs = multi_region_key_type(&row.record) == Some(PRIMARY) && gets_new_material(&row.record);
            let to = match self.token_serial(&row.record.region) {
                Some(serial) if needs && serial == one => other,
                Some(serial) if needs && serial == other => one,
                _ => return false,
            };
            let replicas = self.living_replicas_of(&row.record);
            replicas.iter().any(|replica| self.token_serial(&replica.record.region).as_deref() == Some(to))
        });
        keys
    }

    /// The serial number of the token that has the keys of a Region, whether it is open or not.
    pub fn token_serial(&self, region: &Region) -> Option<String> {
        let open = self.token(region, None).ok().map(|token| token.identity().serial.clone());
        open.or_else(|| Some(self.store.region_token(region)?.record.serial.clone()))
    }

    /// The tokens of two keys by their serial numbers, each with the fingerprint of its replication key, for the record.
    pub(super) fn passed_between(&self, from: &KeyRecord, to: &KeyRecord) -> Vec<Value> {
        let keys = [from, to].map(|key| self.known_replication_key(&key.region).ok().flatten());
        let sides = keys.into_iter().flatten().map(|key| key.paired());
        sides.map(|side| json!({ "serial": side.serial, "replicationKey": side.fingerprint })).collect()
    }

    fn own_replication_key(&self, region: &Region) -> Result<TokenKey, Error> {
        let none = || Error::UnsupportedOperation(format!("The token of {region} has no replication key."));
        self.known_replication_key(region)?.ok_or_else(none)
    }

    async fn make_replication_key(
        &self,
        token: &Token,
        region: &Region,
        account: &AccountId,
        deadline: Instant,
    ) -> Result<(), Error> {
        let key_id = KeyId::from_random(crypto::random_array()?);
        let name = ObjectName { purpose: Purpose::Replication, key_id, material: 1 };
        let created = self.now();
        token.check_available()?;
        let intent = IntentRecord {
            kind: IntentKind::Create,
            name,
            key_id: None,
            region: region.clone(),
            custom_key_store: None,
            account: account.clone(),
            owner: self.instance.clone(),
            started: created,
        };
        self.commit(Change::new(created).insert(intent)).await?;
        crash_point::reached("replication-key-begun");
        let public_key = token.generate_replication(&name, deadline).await?;
        crash_point::reached("replication-key-on-token");
        let identity = token.identity();
        let record = ReplicationKeyRecord {
            serial: identity.serial.clone(),
            label: identity.label.clone(),
            key_id,
            public_key: hex::encode(public_key.spki()),
            created,
        };
        let details = json!({
            "token": { "label": identity.label, "serial": identity.serial },
            "object": name.cka_label(),
            "fingerprint": fingerprint_of(&public_key),
        });
        let (event_id, event) = self.act("CreateReplicationKey", region, account, details);
        let change = Change::new(self.now()).insert(record).delete(&*self.creation(&name)?);
        match self.commit_and_copy(change, &event_id, event).await {
            Err(CommitError::Conflict) => {
                // Somebody else was first, and has the token's one replication key.
                self.take_back(token, &name).await;
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// Whether new material is made of such a key, by its rotation.
fn gets_new_material(key: &KeyRecord) -> bool {
    key.origin.is_made_here() && key.spec == KeySpec::SymmetricDefault
}

/// What operators compare: the SHA-256 of the public key's DER, 64 hex digits.
pub fn fingerprint_of(public_key: &PublicKey) -> String {
    crypto::hex(&crypto::sha256(&[public_key.spki()]))
}
