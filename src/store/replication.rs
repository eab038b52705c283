//! What lets material of multi-Region keys go from token to token: a replication key for each token, and which tokens
//! operators have paired.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::model::{KeyId, ObjectName, Purpose, Timestamp};

/// The replication key of one token: an RSA pair, for whose public half material is wrapped that goes to the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationKeyRecord {
    /// The serial number of the token.
    pub serial: String,
    /// The label of the token when it was made.
    pub label: String,
    /// Its own id.
    pub key_id: KeyId,
    /// Its public half, DER SubjectPublicKeyInfo in hex.
    pub public_key: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Two tokens between which material may go: an operator has compared the fingerprints of both replication keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairingRecord {
    /// The one whose serial number is the lesser.
    pub one: PairedToken,
    /// The other one.
    pub other: PairedToken,
    /// When that was.
    pub confirmed: Timestamp,
}

/// One of two paired tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedToken {
    /// Its serial number.
    pub serial: String,
    /// The SHA-256 of the public half of its replication key, 64 hex digits.
    pub fingerprint: String,
}

impl ReplicationKeyRecord {
    /// Its token object.
    pub fn object(&self) -> ObjectName {
        ObjectName { purpose: Purpose::Replication, key_id: self.key_id, material: 1 }
    }
}

impl PairingRecord {
    /// Says that two tokens are paired, in whichever order they are named.
    pub fn of(tokens: [PairedToken; 2], confirmed: Timestamp) -> Self {
        let [one, other] = tokens;
        let (one, other) = if one <= other { (one, other) } else { (other, one) };
        PairingRecord { one, other, confirmed }
    }

    /// Whether these are the tokens, with the same replication keys as then.
    pub fn is_of(&self, tokens: &[PairedToken; 2]) -> bool {
        let [one, other] = tokens;
        (one, other) == (&self.one, &self.other) || (other, one) == (&self.one, &self.other)
    }
}

impl Record for ReplicationKeyRecord {
    const TABLE: &'static str = "replication-keys";

    fn primary_key(&self) -> String {
        self.serial.clone()
    }
}

impl Record for PairingRecord {
    const TABLE: &'static str = "token-pairings";

    fn primary_key(&self) -> String {
        pairing_row([&self.one.serial, &self.other.serial])
    }
}

/// The primary key of the [`PairingRecord`] of two tokens, by their serial numbers in whichever order.
pub(super) fn pairing_row(serials: [&str; 2]) -> String {
    let [one, other] = serials;
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    format!("{one}/{other}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[test]
    fn a_pairing_is_the_same_in_either_order_and_for_the_same_keys_alone() {
        let token = |serial: &str, digit: &str| PairedToken { serial: serial.into(), fingerprint: digit.repeat(64) };
        let (one, other) = (token("01", "a"), token("02", "b"));
        let pairing = PairingRecord::of([other.clone(), one.clone()], samples::now());
        assert_eq!(pairing, PairingRecord::of([one.clone(), other.clone()], samples::now()));
        assert_eq!((pairing.primary_key(), pairing_row(["02", "01"])), ("01/02".into(), "01/02".into()));
        assert!(pairing.is_of(&[one.clone(), other.clone()]) && pairing.is_of(&[other.clone(), one.clone()]));
        for wrong in [[token("01", "c"), other.clone()], [one.clone(), token("02", "c")], [one, token("03", "b")]] {
            assert!(!pairing.is_of(&wrong), "{wrong:?}");
        }
    }
}
