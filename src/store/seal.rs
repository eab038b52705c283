//! One seal per record: AES-256-GCM under a key that belongs to this table, primary key, revision and salt alone.
//!
//! `01 ‖ salt 16 ‖ ciphertext ‖ tag 16`, under KBKDF(store key, label, table ‖ primary key ‖ revision ‖ salt), every part
//! of the context behind its length (4 bytes big endian). A key seals once, so the nonce is zero.

use zeroize::Zeroizing;

use crate::crypto::{self, KEY_LEN, NONCE_LEN};
use crate::model::Secret;

use super::Error;

/// What is sealed; each kind has its own label, so that none can stand in for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record of the complete set.
    Row,
    /// The root over all of them.
    Root,
    /// A row outside of the complete set.
    Loose,
}

/// Where a sealed value belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) key: &'a str,
    pub(super) revision: u64,
}

/// The sealed bytes are not what this store wrote at this place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forged;

/// The keys of one store, all derived from the one that the token unwraps.
pub(super) struct Keys {
    store: Secret,
    set: Secret,
}

impl Keys {
    /// Derives from the store key, which must have 32 bytes.
    pub(super) fn new(store_key: &Secret) -> Result<Self, Error> {
        let bytes = store_key.expose();
        if bytes.len() != KEY_LEN {
            return Err(Error::KeyLength(bytes.len()));
        }
        Ok(Keys { store: store_key.clone(), set: crypto::kbkdf(bytes, SET_LABEL, &[], KEY_LEN) })
    }

    /// Seals `plaintext` for `place` with a new salt.
    pub(super) fn seal(&self, kind: Kind, place: Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.seal_with_salt(kind, place, &crypto::random_array()?, plaintext))
    }

    /// Opens what [`Keys::seal`] made for the same kind and place.
    pub(super) fn open(&self, kind: Kind, place: Place<'_>, sealed: &[u8]) -> Result<Secret, Forged> {
        let (header, body) = sealed.split_first_chunk::<HEADER_LEN>().ok_or(Forged)?;
        let (format, salt) = header.split_first_chunk::<1>().ok_or(Forged)?;
        if *format != [FORMAT] {
            return Err(Forged);
        }
        crypto::open(&self.key_for(kind, place, salt), &NONCE, header, body).map_err(|_| Forged)
    }

    /// What a live row adds to the XOR in the root: HMAC(set key, table ‖ key ‖ revision ‖ SHA-256(sealed)).
    pub(super) fn member(&self, place: Place<'_>, digest: &[u8; 32]) -> [u8; 32] {
        crypto::hmac_sha256(self.set.expose(), &[&framed(place, digest)])
    }

    fn seal_with_salt(&self, kind: Kind, place: Place<'_>, salt: &[u8; SALT_LEN], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(salt);
        let body = crypto::seal(&self.key_for(kind, place, salt), &NONCE, &sealed, plaintext);
        sealed.extend_from_slice(&body);
        sealed
    }

    fn key_for(&self, kind: Kind, place: Place<'_>, salt: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        // Both sides have the length that was asked for.
        key.copy_from_slice(
            crypto::kbkdf(self.store.expose(), kind.label(), &[&framed(place, salt)], KEY_LEN).expose(),
        );
        key
    }
}

impl Kind {
    fn label(self) -> &'static [u8] {
        match self {
            Kind::Row => b"hsm-kms/v1/store/row",
            Kind::Root => b"hsm-kms/v1/store/root",
            Kind::Loose => b"hsm-kms/v1/store/loose",
        }
    }
}

fn framed(place: Place<'_>, last: &[u8]) -> Vec<u8> {
    let revision = place.revision.to_be_bytes();
    let mut bytes = Vec::with_capacity(64 + place.key.len());
    for part in [place.table.as_bytes(), place.key.as_bytes(), &revision, last] {
        // A part longer than 4 GiB does not fit into memory twice; saturating keeps the frame unambiguous below that.
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

const FORMAT: u8 = 1;
const SALT_LEN: usize = 16;
const HEADER_LEN: usize = 1 + SALT_LEN;
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];
const SET_LABEL: &[u8] = b"hsm-kms/v1/store/set";

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys under the store key `00 01 02 … 1f`, as in the golden vectors.
    pub(in crate::store) fn fixed_keys() -> Keys {
        Keys::new(&Secret::new((0..32).collect())).unwrap()
    }

    /// [`Keys::seal`] with the salt of the golden vectors.
    pub(in crate::store) fn seal_fixed(kind: Kind, place: Place<'_>, plaintext: &[u8]) -> Vec<u8> {
        fixed_keys().seal_with_salt(kind, place, &[0xa5; SALT_LEN], plaintext)
    }

    #[test]
    fn a_store_key_has_32_bytes() {
        assert!(matches!(Keys::new(&Secret::zeroed(31)), Err(Error::KeyLength(31))));
    }

    #[test]
    fn moving_a_character_between_table_and_key_gives_another_key() {
        let one = Place { table: "ab", key: "c", revision: 1 };
        let other = Place { table: "a", key: "bc", revision: 1 };
        let sealed = fixed_keys().seal(Kind::Row, one, b"x").unwrap();
        assert_eq!(fixed_keys().open(Kind::Row, other, &sealed).unwrap_err(), Forged);
        assert_ne!(fixed_keys().member(one, &[0; 32]), fixed_keys().member(other, &[0; 32]));
    }

    #[test]
    fn one_kind_does_not_open_as_another() {
        let place = Place { table: "t", key: "k", revision: 1 };
        let kinds = [Kind::Row, Kind::Root, Kind::Loose];
        for (sealed_as, opened_as) in kinds.into_iter().flat_map(|one| kinds.map(|other| (one, other))) {
            let sealed = fixed_keys().seal(sealed_as, place, b"x").unwrap();
            assert_eq!(fixed_keys().open(opened_as, place, &sealed).is_ok(), sealed_as == opened_as);
        }
    }

    #[test]
    fn nothing_shorter_than_a_seal_opens() {
        let place = Place { table: "t", key: "k", revision: 1 };
        let sealed = fixed_keys().seal(Kind::Row, place, b"").unwrap();
        for len in 0..sealed.len() {
            assert_eq!(fixed_keys().open(Kind::Row, place, &sealed[..len]).unwrap_err(), Forged, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn opens_what_was_sealed_at_its_own_place_only(
            table in "[a-z-]{0,12}", key in ".{0,40}", revision: u64, plaintext: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8
        ) {
            let keys = fixed_keys();
            let place = Place { table: &table, key: &key, revision };
            let sealed = keys.seal(Kind::Row, place, &plaintext).unwrap();
            let opened = keys.open(Kind::Row, place, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &plaintext[..]);

            let mut forged = sealed.clone();
            forged[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(keys.open(Kind::Row, place, &forged).is_err());
            let (more_table, more_key) = (format!("{table}x"), format!("{key}x"));
            for other in [
                Place { revision: revision.wrapping_add(1), ..place },
                Place { key: &more_key, ..place },
                Place { table: &more_table, ..place },
            ] {
                prop_assert!(keys.open(Kind::Row, other, &sealed).is_err());
            }
            prop_assert_ne!(keys.seal(Kind::Row, place, &plaintext).unwrap(), sealed, "a salt is used once");
        }
    }
}
