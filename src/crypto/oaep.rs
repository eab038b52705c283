//! RSAES-OAEP: encryption to a public key, and the unpadding for tokens that only do the bare RSA operation.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::public_key::PublicKey;
use super::symmetric::sha256;
use crate::model::{EncryptionAlgorithm, Secret};

/// The ciphertext was not made by RSAES-OAEP under this key; it is not told why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("decryption failed")]
pub struct NotOaep;

const HASH_LEN: usize = 32;

/// Encrypts `plaintext` to an RSA key, without a label: as many bytes as the modulus. `None` if the plaintext is longer
/// than [`crate::model::KeyPairSpec::max_plaintext`], or the key and the algorithm do not fit.
///
/// Source: RFC 8017 §7.1.1.
pub fn oaep_encrypt(key: &PublicKey, algorithm: EncryptionAlgorithm, plaintext: &[u8]) -> Option<Vec<u8>> {
    let oaep = match algorithm {
        EncryptionAlgorithm::RsaesOaepSha1 => &OAEP_SHA1_MGF1SHA1,
        EncryptionAlgorithm::RsaesOaepSha256 => &OAEP_SHA256_MGF1SHA256,
        EncryptionAlgorithm::SymmetricDefault | EncryptionAlgorithm::Sm2Pke => return None,
    };
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(key.spki()).ok()?).ok()?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(oaep, plaintext, &mut ciphertext, None).ok()?;
    Some(ciphertext)
}

/// The message in the result of the bare RSA operation, by EME-OAEP decoding with SHA-256, MGF1 with SHA-256 and the
/// empty label. `encoded` has the length of the modulus, leading zeros and all.
///
/// Everything up to the one answer, which the caller learns anyway, takes a time that depends only on the length of the
/// modulus: which check fails, and where, shows nowhere (Manger's attack).
///
/// Source: RFC 8017 §7.1.2 step 3.
pub fn oaep_sha256_unpad(encoded: &Secret) -> Result<Secret, NotOaep> {
    // The length is the modulus's: public.
    if encoded.expose().len() < 2 * HASH_LEN + 2 {
        return Err(NotOaep);
    }
    let (first, masked) = encoded.expose().split_at(1);
    let (masked_seed, masked_block) = masked.split_at(HASH_LEN);
    let seed = unmasked(masked_seed, masked_block);
    let block = unmasked(masked_block, seed.expose());
    let (label_hash, padded) = block.expose().split_at(HASH_LEN);

    let (separated, start) = message_start(padded);
    let good = separated & first[0].ct_eq(&0) & label_hash.ct_eq(&sha256(&[]));
    // From here on only the answer matters: a padding error, or a message and its length.
    match (bool::from(good), usize::try_from(start)) {
        (true, Ok(start)) => Ok(Secret::new(padded[start..].to_vec())),
        _ => Err(NotOaep),
    }
}

/// Whether the bytes are zeros, a one and the message, and where the message starts; every byte is looked at alike.
fn message_start(padded: &[u8]) -> (Choice, u32) {
    let (mut good, mut looking, mut start) = (Choice::from(1), Choice::from(1), 0_u32);
    for (byte, next) in padded.iter().zip(1_u32..) {
        let one = byte.ct_eq(&1);
        good &= !looking | one | byte.ct_eq(&0);
        start.conditional_assign(&next, looking & one);
        looking &= !one;
    }
    (good & !looking, start)
}

/// `masked` XOR MGF1 with SHA-256 of `seed`.
///
/// Source: RFC 8017 §B.2.1.
fn unmasked(masked: &[u8], seed: &[u8]) -> Secret {
    let mut bytes = Secret::new(masked.to_vec());
    for (block, counter) in bytes.expose_mut().chunks_mut(HASH_LEN).zip(0_u32..) {
        let mask = Zeroizing::new(sha256(&[seed, &counter.to_be_bytes()]));
        block.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 256;

    /// EME-OAEP encoding of a block that may be wrong.
    fn encode(first: u8, label_hash: &[u8; 32], padded: &[u8]) -> Secret {
        let block = [label_hash.as_slice(), padded].concat();
        let seed = [0x5a; 32];
        let masked_block = unmasked(&block, &seed);
        let masked_seed = unmasked(&seed, masked_block.expose());
        Secret::new([&[first], masked_seed.expose(), masked_block.expose()].concat())
    }

    fn padded(message: &[u8]) -> Vec<u8> {
        let zeros = vec![0; LEN - 2 * HASH_LEN - 2 - message.len()];
        [&zeros[..], &[1], message].concat()
    }

    #[test]
    fn every_length_of_message_comes_back() {
        let hash = sha256(&[]);
        for len in 0..=LEN - 2 * HASH_LEN - 2 {
            let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert_eq!(oaep_sha256_unpad(&encode(0, &hash, &padded(&message))).unwrap().expose(), message, "{len}");
        }
    }

    #[test]
    fn each_wrong_byte_is_the_same_error() {
        let (hash, good) = (sha256(&[]), padded(b"message"));
        let refused = |encoded: &Secret| assert_eq!(oaep_sha256_unpad(encoded).unwrap_err(), NotOaep);
        for first in 1..=255 {
            refused(&encode(first, &hash, &good));
        }
        for at in 0..HASH_LEN {
            let mut hash = hash;
            hash[at] ^= 1;
            refused(&encode(0, &hash, &good));
        }
        for at in 0..good.len() - b"message".len() {
            let mut wrong = good.clone();
            wrong[at] ^= 2;
            refused(&encode(0, &hash, &wrong));
        }
        refused(&encode(0, &hash, &vec![0; good.len()]));
        refused(&encode(0, &hash, &vec![2; good.len()]));
    }

    #[test]
    fn what_is_too_short_for_any_message_is_refused() {
        for len in 0..2 * HASH_LEN + 2 {
            assert_eq!(oaep_sha256_unpad(&Secret::zeroed(len)).unwrap_err(), NotOaep);
        }
    }
}
