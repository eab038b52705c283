//! Bytes that must not be seen.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: wiped when dropped, without a printable `Debug`.
///
/// Compare two of them with [`crate::crypto::equal`], which takes constant time.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// `len` zero bytes, to be filled by [`Secret::expose_mut`].
    pub fn zeroed(len: usize) -> Self {
        Secret::new(vec![0; len])
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes themselves, to write to.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_a_length_and_no_byte() {
        assert_eq!(format!("{:?}", Secret::new(vec![0x41; 3])), "Secret(3 bytes)");
    }
}
