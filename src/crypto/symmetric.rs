//! Hashes, codes, key derivation, authenticated encryption and random bytes.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use aws_lc_rs::{constant_time, digest, hmac};

use crate::model::{MacAlgorithm, Secret};

/// Bytes in an AES-256 key.
pub const KEY_LEN: usize = 32;
/// Bytes in the nonce of AES-GCM (SP 800-38D §8.2).
pub const NONCE_LEN: usize = 12;
/// Bytes in the tag of AES-GCM.
pub const TAG_LEN: usize = 16;

/// A ciphertext or its associated data is not what was sealed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Unauthentic;

/// The operating system has no random bytes for us.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed: {0}")]
pub struct NoRandom(rustix::io::Errno);

/// SHA-256 (FIPS 180-4) of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    copy(context.finish().as_ref())
}

/// SHA-256 or a code as 64 lower-case hexadecimal digits.
pub fn hex(digest: &[u8; 32]) -> String {
    let mut digits = vec![0; 64];
    // Two digits a byte, and all of them ASCII. `hex::encode` grows its text digit by digit.
    hex::encode_to_slice(digest, &mut digits).expect("64 digits");
    String::from_utf8(digits).expect("digits are ASCII")
}

/// HMAC-SHA-256 (FIPS 198-1) of the parts, one after the other.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    copy(context.sign().as_ref())
}

/// Whether `mac` is the HMAC (FIPS 198-1) of the message under the key, whole and not cut short; compared in a time that
/// depends only on its length.
pub fn verify_hmac(algorithm: MacAlgorithm, key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    let algorithm = match algorithm {
        MacAlgorithm::HmacSha224 => hmac::HMAC_SHA224,
        MacAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
        MacAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
        MacAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
    };
    hmac::verify(&hmac::Key::new(algorithm, key), message, mac).is_ok()
}

/// `len` bytes by KBKDF in counter mode with HMAC-SHA-256: `HMAC(key, i ‖ label ‖ 00 ‖ context ‖ L)` with a
/// 32-bit counter from 1 and the output length in bits as 32 bits, all big endian.
///
/// Source: SP 800-108r1 §4.1.
pub fn kbkdf(key: &[u8], label: &[u8], context: &[&[u8]], len: usize) -> Secret {
    let mut output = Secret::zeroed(len);
    let bits = u32::try_from(len * 8).unwrap_or(u32::MAX).to_be_bytes();
    for (counter, block) in (1_u32..).zip(output.expose_mut().chunks_mut(32)) {
        let counter = counter.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&counter, label, &[0]];
        parts.extend_from_slice(context);
        parts.push(&bits);
        let mut mac = zeroize::Zeroizing::new(hmac_sha256(key, &parts));
        block.copy_from_slice(&mac.as_mut()[..block.len()]);
    }
    output
}

/// Seals `plaintext` by AES-256-GCM (SP 800-38D): the ciphertext with its tag behind it. Use a key and nonce once.
pub fn seal(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plaintext.len() + TAG_LEN);
    sealed.extend_from_slice(plaintext);
    let tag = cipher(key)
        .encrypt_inout_detached(&Nonce::from(*nonce), associated, sealed.as_mut_slice().into())
        // AES-GCM takes 2^36 - 32 bytes; every caller is bounded far below that.
        .expect("the plaintext is shorter than 64 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] made; fails if the key, the nonce, the associated data or any byte differs.
pub fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Secret, Unauthentic> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Unauthentic)?;
    let mut plaintext = Secret::new(ciphertext.to_vec());
    cipher(key)
        .decrypt_inout_detached(&Nonce::from(*nonce), associated, plaintext.expose_mut().into(), &Tag::from(*tag))
        .map_err(|_| Unauthentic)?;
    Ok(plaintext)
}

/// Whether two byte strings are equal, in a time that depends only on their lengths.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Fills `bytes` from the operating system (`getrandom`).
pub fn random(bytes: &mut [u8]) -> Result<(), NoRandom> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(NoRandom(error)),
        }
    }
    Ok(())
}

/// `N` random bytes from the operating system, for what is not secret: ids, salts, nonces.
pub fn random_array<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(bytes)
}

fn cipher(key: &[u8; KEY_LEN]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

fn copy(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_was_sealed_and_nothing_else() {
        let (key, nonce) = ([7; 32], [9; 12]);
        let sealed = seal(&key, &nonce, b"aad", b"plaintext");
        assert_eq!(open(&key, &nonce, b"aad", &sealed).unwrap().expose(), b"plaintext");
        assert_eq!(open(&key, &nonce, b"AAD", &sealed).unwrap_err(), Unauthentic);
        for index in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[index] ^= 1;
            assert!(open(&key, &nonce, b"aad", &forged).is_err(), "byte {index}");
        }
        assert!(open(&key, &nonce, b"aad", &sealed[..15]).is_err());
    }

    #[test]
    fn kbkdf_agrees_with_the_openssl_command() {
        // openssl kdf -keylen 40 -kdfopt mac:HMAC -kdfopt digest:SHA256 -kdfopt mode:COUNTER
        //   -kdfopt key:secret -kdfopt salt:label -kdfopt info:context KBKDF
        let derived = kbkdf(b"secret", b"label", &[b"con", b"text"], 40);
        assert_eq!(hex::encode(derived.expose()), KBKDF_40);
    }

    const KBKDF_40: &str = "b941bcd0fac3c09f21048ac7b29dd8ed834b4bbe944f0443e2a492e3d826497307d70668b568a89a";
}
