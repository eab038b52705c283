//! Import tokens: opaque, sealed, and each for one wrapping key and algorithm and one KMS key of one account in one
//! Region.
//!
//! `01 ‖ salt 16 ‖ ciphertext ‖ tag 16`, under KBKDF(key, label, salt). A key seals once, so the nonce is zero.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{self, KEY_LEN, NONCE_LEN};
use crate::model::{AccountId, KeyId, Region, Secret, Timestamp, WrappingAlgorithm};

/// Makes and opens import tokens under a key derived from the store's.
pub(super) struct ImportTokens {
    key: Secret,
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    /// The Region of the KMS key.
    pub region: Region,
    /// The account of the KMS key.
    pub account: AccountId,
    /// The KMS key.
    pub key_id: KeyId,
    /// The wrapping key.
    pub wrapping_key_id: KeyId,
    /// How the material is wrapped under it.
    pub algorithm: WrappingAlgorithm,
    /// From when on it is good for nothing.
    pub valid_to: Timestamp,
}

/// Not a token that was given out here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl ImportTokens {
    /// Tokens under this key.
    pub fn new(key: Secret) -> Self {
        ImportTokens { key }
    }

    /// A new token.
    pub fn write(&self, content: &Content) -> Result<Vec<u8>, crypto::NoRandom> {
        let salt: [u8; SALT_LEN] = crypto::random_array()?;
        let plaintext = serde_json::to_vec(content).expect("ids, words and numbers have JSON");
        let header = [&[VERSION], &salt[..]].concat();
        let sealed = crypto::seal(&self.key_for(&salt), &NONCE, &header, &plaintext);
        Ok([header, sealed].concat())
    }

    /// What a token says.
    pub fn open(&self, token: &[u8]) -> Result<Content, Unreadable> {
        let (header, sealed) = token.split_first_chunk::<{ 1 + SALT_LEN }>().ok_or(Unreadable)?;
        let (version, salt) = header.split_first_chunk::<1>().ok_or(Unreadable)?;
        if *version != [VERSION] {
            return Err(Unreadable);
        }
        let content = crypto::open(&self.key_for(salt), &NONCE, header, sealed).map_err(|_| Unreadable)?;
        serde_json::from_slice(content.expose()).map_err(|_| Unreadable)
    }

    fn key_for(&self, salt: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        // Both sides have the length that was asked for.
        key.copy_from_slice(crypto::kbkdf(self.key.expose(), LABEL, &[salt], KEY_LEN).expose());
        key
    }
}

const VERSION: u8 = 1;
const SALT_LEN: usize = 16;
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];
const LABEL: &[u8] = b"hsm-kms/v1/import-token";

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            region: "eu-west-1".parse().unwrap(),
            account: "111122223333".parse().unwrap(),
            key_id: KeyId::from_bytes([7; 16]),
            wrapping_key_id: KeyId::from_bytes([8; 16]),
            algorithm: WrappingAlgorithm::RsaesOaepSha256,
            valid_to: Timestamp::from_millis(1),
        }
    }

    #[test]
    fn a_token_says_what_it_was_made_for_and_is_always_new() {
        let tokens = ImportTokens::new(Secret::new(vec![1; 32]));
        let token = tokens.write(&content()).unwrap();
        assert_ne!(token, tokens.write(&content()).unwrap());
        assert_eq!(tokens.open(&token), Ok(content()));
        assert_eq!(ImportTokens::new(Secret::new(vec![2; 32])).open(&token), Err(Unreadable));
        assert!(token.len() < 1_024, "the model allows 6,144: {}", token.len());
    }

    #[test]
    fn a_token_with_any_bit_changed_or_cut_is_none() {
        let tokens = ImportTokens::new(Secret::new(vec![1; 32]));
        let token = tokens.write(&content()).unwrap();
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut forged = token.clone();
                forged[at] ^= 1 << bit;
                assert_eq!(tokens.open(&forged), Err(Unreadable), "{at} {bit}");
            }
            assert_eq!(tokens.open(&token[..at]), Err(Unreadable));
        }
        assert_eq!(tokens.open(&[&token[..], &[0]].concat()), Err(Unreadable));
    }
}
