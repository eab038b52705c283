//! Signing keys: derived from a secret access key for one day, region and service, and kept for the next request.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use zeroize::Zeroizing;

use super::authorization::TERMINATOR;
use crate::crypto;
use crate::model::Secret;

/// The key that signs one access key's requests of one day to one service in one region.
#[derive(Clone, Debug)]
pub struct SigningKey(Secret);

impl SigningKey {
    /// Derives the key by four HMAC-SHA-256.
    ///
    /// Source: IAM User Guide, "Signature Version 4 for API requests", step 4.
    pub fn derive(secret: &Secret, date: &str, region: &str, service: &str) -> Self {
        let seed = Zeroizing::new([b"AWS4", secret.expose()].concat());
        let mut key = Zeroizing::new(crypto::hmac_sha256(&seed, &[date.as_bytes()]));
        for part in [region, service, TERMINATOR] {
            key = Zeroizing::new(crypto::hmac_sha256(key.as_ref(), &[part.as_bytes()]));
        }
        SigningKey(Secret::new(key.to_vec()))
    }

    /// The signature of a string to sign: 64 lower-case hexadecimal digits.
    pub fn sign(&self, string_to_sign: &str) -> String {
        crypto::hex(&crypto::hmac_sha256(self.0.expose(), &[string_to_sign.as_bytes()]))
    }
}

/// Signing keys that have verified a request, at most [`SigningKeys::CAPACITY`] of them; wiped when dropped.
///
/// Only a good signature puts a key here, so nobody without a secret can fill it or push out others' keys. A full cache
/// is emptied: keys of past days go, and deriving again costs some three microseconds.
#[derive(Debug, Default)]
pub struct SigningKeys(RwLock<HashMap<String, Kept>>);

/// A key under the fingerprint of the secret it came from, so that a changed secret is never verified by its old key.
#[derive(Debug)]
struct Kept {
    fingerprint: [u8; 32],
    key: SigningKey,
}

impl SigningKeys {
    /// How many keys are kept.
    pub const CAPACITY: usize = 4096;

    /// How many keys are here now.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no key is here now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key kept for a credential (`access key id/date/region/service`), if it came from this secret.
    pub(super) fn find(&self, credential: &str, secret: &Secret) -> Option<SigningKey> {
        let fingerprint = crypto::sha256(&[secret.expose()]);
        // No write to the map can stop half-way and leave a wrong key, so a poisoned lock's map is as good as any.
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(credential).filter(|kept| crypto::equal(&kept.fingerprint, &fingerprint)).map(|kept| kept.key.clone())
    }

    /// Keeps a key that has verified a request.
    pub(super) fn keep(&self, credential: &str, secret: &Secret, key: SigningKey) {
        let fingerprint = crypto::sha256(&[secret.expose()]);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= Self::CAPACITY && !kept.contains_key(credential) {
            kept.clear();
        }
        kept.insert(credential.to_owned(), Kept { fingerprint, key });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn derives_as_the_documentation_does() {
        // AWS General Reference, "Examples of how to derive a signing key for Signature Version 4".
        let key =
            SigningKey::derive(&secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "20120215", "us-east-1", "iam");
        assert_eq!(hex::encode(key.0.expose()), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn keeps_a_key_for_one_credential_and_one_secret() {
        let keys = SigningKeys::default();
        keys.keep("a", &secret("one"), SigningKey(secret("key")));
        assert_eq!(keys.find("a", &secret("one")).unwrap().0.expose(), b"key");
        assert!(keys.find("a", &secret("two")).is_none());
        assert!(keys.find("b", &secret("one")).is_none());
        keys.keep("a", &secret("two"), SigningKey(secret("other")));
        assert!(keys.find("a", &secret("one")).is_none());
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn is_bounded_under_many_threads() {
        let keys = SigningKeys::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let keys = &keys;
                scope.spawn(move || {
                    for number in 0..SigningKeys::CAPACITY {
                        let name = format!("{thread}/{number}");
                        keys.keep(&name, &secret(&name), SigningKey(secret(&name)));
                        let found = keys.find(&name, &secret(&name));
                        assert!(found.is_none_or(|key| key.0.expose() == name.as_bytes()));
                        assert!(keys.len() <= SigningKeys::CAPACITY);
                    }
                });
            }
        });
        assert!(!keys.is_empty());
    }
}
