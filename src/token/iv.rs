//! Whose IV it is: one of ours is random by construction, and a token is left to make one only after it has shown that it
//! does.
//!
//! SoftHSM takes a zeroed or missing IV as it is and says `CKR_OK`: two seeds under it would have one keystream.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::object::ObjectHandle;

use super::error::{Error, Failure};
use super::kind::KeyKind;
use super::mechanism::{self, OwnIv, SEED_LEN};
use super::profile::Profile;
use super::raw::Raw;
use super::session::Session;
use super::{object, probe};
use crate::crypto::{self, NONCE_LEN, NoRandom};
use crate::model::{ObjectName, Purpose};

/// An IV of ours. There is none that is not random.
pub(super) struct HostIv([u8; BLOCK]);

impl HostIv {
    /// A new one, for one use.
    pub fn random() -> Result<HostIv, NoRandom> {
        crypto::random_array().map(HostIv)
    }

    /// 96 bits, for AES-GCM (SP 800-38D §8.2.2).
    pub fn nonce(&self) -> &[u8; NONCE_LEN] {
        // A block is longer.
        self.0.first_chunk().expect("12 of 16 bytes")
    }

    /// 128 bits, for AES-CBC (SP 800-38A, appendix C).
    pub fn block(&self) -> &[u8; BLOCK] {
        &self.0
    }
}

/// An AES key under which the token may be left to make the IV in this way: one to be thrown away, or any once the token
/// has shown that it makes IVs.
pub(super) struct OwnIvKey {
    handle: ObjectHandle,
    how: OwnIv,
}

impl OwnIvKey {
    /// The key's handle.
    pub fn handle(&self) -> ObjectHandle {
        self.handle
    }

    /// How the token gives its IV.
    pub fn how(&self) -> OwnIv {
        self.how
    }
}

/// A token has made two IVs of its own in this way, since its sessions were opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct MakesIvs(OwnIv);

impl MakesIvs {
    /// The key, with the token's permission to make the IV.
    pub fn key(self, handle: ObjectHandle) -> OwnIvKey {
        OwnIvKey { handle, how: self.0 }
    }

    /// Has the token wrap the same seed twice under a key that protects nothing, and looks at what it took for IVs.
    ///
    /// Fails with [`Error::Wrong`] if an IV is zeros, or both are the same, or so are the ciphertexts, or the output has
    /// not the length that goes with an IV; with the token's own error if it refuses the call.
    pub fn prove(raw: &Raw, session: &Session, key: &ThrowAwayKey, how: OwnIv) -> Result<MakesIvs, Failure> {
        let wrap = || mechanism::wrap_own_iv(raw, session, &OwnIvKey { handle: key.handle(), how }, ASSOCIATED, &SEED);
        let (first, second) = (wrap()?, wrap()?);
        let (ivs, sealed): (Vec<_>, Vec<_>) = [&first, &second].map(|wrapped| how.split(wrapped)).into_iter().unzip();
        if ivs[0] == ivs[1] || sealed[0] == sealed[1] {
            return Err(Error::Wrong(REPEATS).into());
        }
        Ok(MakesIvs(how))
    }
}

/// An AES key that protects nothing, and is destroyed by whoever made it.
pub(super) struct ThrowAwayKey(ObjectHandle);

impl ThrowAwayKey {
    /// Makes one, in the session where the token has such objects.
    pub fn generate(profile: &Profile, session: &Session) -> Result<ThrowAwayKey, Failure> {
        let name = probe::passing_name(Purpose::Kms);
        let token = !profile.objects.in_session;
        let modifiable = object::modifiable(profile, KeyKind::Aes256);
        let (handle, _) = object::generate(profile, session, &name, KeyKind::Aes256, token, modifiable)?;
        Ok(ThrowAwayKey(handle))
    }

    /// The key's handle.
    pub fn handle(&self) -> ObjectHandle {
        self.0
    }

    /// Destroys it.
    pub fn destroy(self, session: &Session) -> Result<(), Failure> {
        Ok(session.destroy_object(self.0)?)
    }
}

/// The IVs that were used up under each key beside those that callers have counted: by probes, and where the token makes
/// the IV by every second try.
#[derive(Default)]
pub(super) struct ExtraIvs(Mutex<HashMap<ObjectName, u64>>);

impl ExtraIvs {
    /// Takes note of one more, before it is used.
    pub fn add(&self, name: &ObjectName) {
        *self.lock().entry(*name).or_default() += 1;
    }

    /// How many there are, which the caller counts now.
    pub fn take(&self, name: &ObjectName) -> u64 {
        self.lock().remove(name).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectName, u64>> {
        // Changes in single steps, so that a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes in a block of AES.
pub(super) const BLOCK: usize = 16;
const ASSOCIATED: &[u8] = b"hsm-kms/self-test";
const SEED: [u8; SEED_LEN] = [0x5e; SEED_LEN];
const REPEATS: &str = "it used the same IV twice";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ivs_of_ours_are_random() {
        let (one, other) = (HostIv::random().unwrap(), HostIv::random().unwrap());
        assert_ne!(one.block(), other.block());
        assert_eq!(one.nonce(), &one.block()[..12]);
        assert_ne!(one.nonce(), &[0; 12]);
    }
}
