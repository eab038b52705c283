//! AES-KWP, by which the second half of an import is wrapped.

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};

use crate::model::Secret;

/// What was wrapped under the AES key, by AES key wrap with padding.
///
/// `None` if anything is wrong, without a word about what: the key has neither 16 nor 32 bytes, or the wrapped bytes are
/// not of this key.
///
/// Source: RFC 5649 §4.2.
pub fn aes_unwrap(key: &Secret, wrapped: &[u8]) -> Option<Secret> {
    let mut output = Secret::zeroed(wrapped.len());
    let len = kek(key)?.unwrap_with_padding(wrapped, output.expose_mut()).ok()?.len();
    // Copied, so that what lies behind is wiped with the longer one.
    Some(Secret::new(output.expose()[..len].to_vec()))
}

/// Wraps what [`aes_unwrap`] unwraps: to try tokens with.
///
/// Source: RFC 5649 §4.1.
pub fn aes_wrap(key: &Secret, plaintext: &Secret) -> Option<Vec<u8>> {
    let mut output = vec![0; plaintext.expose().len() + 15];
    let len = kek(key)?.wrap_with_padding(plaintext.expose(), &mut output).ok()?.len();
    output.truncate(len);
    Some(output)
}

fn kek(key: &Secret) -> Option<AesKek> {
    let cipher = if key.expose().len() == AES_128_LEN { &AES_128 } else { &AES_256 };
    AesKek::new(cipher, key.expose()).ok()
}

const AES_128_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_what_was_wrapped_and_nothing_else() {
        let key = Secret::new((0..32).collect());
        for len in [1, 7, 8, 9, 31, 32, 33, 1217] {
            let plaintext = Secret::new(vec![0x5a; len]);
            let wrapped = aes_wrap(&key, &plaintext).unwrap();
            assert_eq!(wrapped.len(), len.div_ceil(8) * 8 + 8);
            assert_eq!(aes_unwrap(&key, &wrapped).unwrap().expose(), plaintext.expose());
            for index in 0..wrapped.len() {
                let mut forged = wrapped.clone();
                forged[index] ^= 1;
                assert!(aes_unwrap(&key, &forged).is_none(), "byte {index} of {len}");
            }
            assert!(aes_unwrap(&key, &wrapped[..wrapped.len() - 8]).is_none());
            assert!(aes_unwrap(&key, &wrapped[..wrapped.len() - 1]).is_none());
        }
        for len in [0, 8, 15, 17, 24, 31, 33] {
            assert!(aes_unwrap(&Secret::zeroed(len), &[0; 40]).is_none(), "a key of {len} bytes");
        }
    }
}
