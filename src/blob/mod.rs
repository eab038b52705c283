//! The bytes of a ciphertext: what a caller keeps, and gives back to decrypt.
//!
//! Version 1, big endian: version `01` · scheme 1 · flags 1 (bit 0: the key's id is `mrk-`) · key UUID 16 · material
//! number 4 · wrapped-seed length 2 · wrapped seed · commitment 32 · nonce 12 · ciphertext ‖ tag 16. The first 23 bytes
//! are the [`Header`]. The token wraps a seed that only this blob has; everything else is derived from the seed here.

use crate::crypto::{self, KEY_LEN, NONCE_LEN, TAG_LEN, Unauthentic};
use crate::model::{EncryptionContext, KeyId, Secret};

/// Bytes of the longest blob: the model's `CiphertextType`.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>
pub const MAX_LEN: usize = 6144;
/// Bytes of the longest plaintext of `Encrypt`, which always fits; private keys of data key pairs are shorter.
pub const MAX_PLAINTEXT_LEN: usize = 4096;
/// Bytes of the longest wrapped seed with which the longest plaintext still fits.
pub const MAX_WRAPPED_SEED_LEN: usize = MAX_LEN - MAX_PLAINTEXT_LEN - FIXED_LEN;
/// Bytes of a seed.
pub const SEED_LEN: usize = 32;

/// Under which key material, and how, the seed of a blob is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the token wraps, as recorded with the material; both must agree.
    pub scheme: u8,
    /// The KMS key.
    pub key_id: KeyId,
    /// The number of the material in that key.
    pub material: u32,
}

/// A blob as parsed: well formed, and nothing known about who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    header: Header,
    wrapped_seed: &'a [u8],
    commitment: &'a [u8; COMMITMENT_LEN],
    nonce: &'a [u8; NONCE_LEN],
    sealed: &'a [u8],
    /// Everything before the nonce.
    associated: &'a [u8],
}

/// Why bytes are not a blob. For the log only: callers learn nothing but `InvalidCiphertextException`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`MAX_LEN`] bytes.
    #[error("{0} bytes are more than a blob has")]
    TooLong(usize),
    /// It ends before all its parts are there.
    #[error("the blob ends in its {0}")]
    Truncated(&'static str),
    /// The first byte is another version's.
    #[error("blob version {0} is unknown here")]
    UnknownVersion(u8),
    /// A flag is set that version 1 does not have.
    #[error("blob flags {0:#04x} are unknown here")]
    UnknownFlags(u8),
    /// There is no wrapped seed.
    #[error("the wrapped seed is empty")]
    NoWrappedSeed,
}

/// A wrapped seed or plaintext for which no blob exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealable {
    /// The token gave no wrapped seed.
    #[error("the token gave an empty wrapped seed: check the wrapping scheme in its profile")]
    NoWrappedSeed,
    /// The blob would be longer than [`MAX_LEN`].
    #[error("the blob would have {0} bytes, more than {MAX_LEN}: check the wrapping scheme in the token's profile")]
    TooLong(usize),
}

/// Reads a blob: exactly one, with nothing after it, of a version and with flags that are known.
pub fn parse(bytes: &[u8]) -> Result<Blob<'_>, Malformed> {
    if bytes.len() > MAX_LEN {
        return Err(Malformed::TooLong(bytes.len()));
    }
    let (&[version], rest) = split(bytes, "version")?;
    if version != VERSION {
        return Err(Malformed::UnknownVersion(version));
    }
    let (&[scheme], rest) = split(rest, "scheme")?;
    let (&[flags], rest) = split(rest, "flags")?;
    let (&uuid, rest) = split(rest, "key id")?;
    let key_id = match flags {
        0 => KeyId::from_bytes(uuid),
        MULTI_REGION => KeyId::multi_region_from_bytes(uuid),
        _ => return Err(Malformed::UnknownFlags(flags)),
    };
    let (&material, rest) = split(rest, "material number")?;
    let (&wrapped_len, rest) = split(rest, "wrapped-seed length")?;
    let wrapped_len = usize::from(u16::from_be_bytes(wrapped_len));
    let (wrapped_seed, rest) = rest.split_at_checked(wrapped_len).ok_or(Malformed::Truncated("wrapped seed"))?;
    if wrapped_seed.is_empty() {
        return Err(Malformed::NoWrappedSeed);
    }
    let (commitment, rest) = split(rest, "commitment")?;
    let associated = &bytes[..bytes.len() - rest.len()];
    let (nonce, sealed) = split(rest, "nonce")?;
    if sealed.len() < TAG_LEN {
        return Err(Malformed::Truncated("tag"));
    }
    let header = Header { scheme, key_id, material: u32::from_be_bytes(material) };
    Ok(Blob { header, wrapped_seed, commitment, nonce, sealed, associated })
}

/// Seals `plaintext` into a blob whose key is derived from `seed`. Use a seed once, and never without its wrapping.
///
/// Fails only if the wrapped seed is empty or too long for the plaintext; never for [`MAX_PLAINTEXT_LEN`] bytes with
/// [`MAX_WRAPPED_SEED_LEN`].
pub fn seal(
    header: &Header,
    seed: &[u8; SEED_LEN],
    wrapped_seed: &[u8],
    context: &EncryptionContext,
    plaintext: &[u8],
    nonce: [u8; NONCE_LEN],
) -> Result<Vec<u8>, Unsealable> {
    if wrapped_seed.is_empty() {
        return Err(Unsealable::NoWrappedSeed);
    }
    let len = FIXED_LEN.saturating_add(wrapped_seed.len()).saturating_add(plaintext.len());
    if len > MAX_LEN {
        return Err(Unsealable::TooLong(len));
    }
    let derived = derive(header, seed, wrapped_seed, context);
    let mut blob = Vec::with_capacity(len);
    blob.extend_from_slice(&header.bytes());
    // At most MAX_LEN, which is below 2^16.
    blob.extend_from_slice(&(wrapped_seed.len() as u16).to_be_bytes());
    blob.extend_from_slice(wrapped_seed);
    blob.extend_from_slice(derived.commitment());
    let sealed = crypto::seal(derived.key(), &nonce, &blob, plaintext);
    blob.extend_from_slice(&nonce);
    blob.extend_from_slice(&sealed);
    Ok(blob)
}

/// Opens a blob with the seed that the token unwrapped; fails if any byte of the blob, the seed or the encryption
/// context is not what was sealed, and does not say which.
pub fn open(blob: &Blob<'_>, seed: &[u8; SEED_LEN], context: &EncryptionContext) -> Result<Secret, Unauthentic> {
    let derived = derive(&blob.header, seed, blob.wrapped_seed, context);
    // AES-GCM alone does not bind its key: without this, one blob could open to two plaintexts under two seeds.
    if !crypto::equal(derived.commitment(), blob.commitment) {
        return Err(Unauthentic);
    }
    crypto::open(derived.key(), blob.nonce, blob.associated, blob.sealed)
}

/// What the token authenticates with the seed, where its scheme takes associated data.
pub fn wrap_associated_data(header: &Header) -> Vec<u8> {
    [WRAP_LABEL, &header.bytes()].concat()
}

impl Header {
    /// The first 23 bytes of a blob.
    pub fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.scheme;
        bytes[2] = if self.key_id.is_multi_region() { MULTI_REGION } else { 0 };
        bytes[3..19].copy_from_slice(self.key_id.as_bytes());
        bytes[19..].copy_from_slice(&self.material.to_be_bytes());
        bytes
    }
}

impl<'a> Blob<'a> {
    /// Under which key material, and how, the seed is wrapped.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the token unwraps to the seed.
    pub fn wrapped_seed(&self) -> &'a [u8] {
        self.wrapped_seed
    }

    /// The bytes that were parsed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Blob { header, wrapped_seed, commitment, nonce, sealed, associated: _ } = self;
        let wrapped_len = (wrapped_seed.len() as u16).to_be_bytes();
        [&header.bytes()[..], &wrapped_len, wrapped_seed, *commitment, *nonce, sealed].concat()
    }
}

/// The key and the commitment of one blob.
struct Derived(Secret);

impl Derived {
    fn key(&self) -> &[u8; KEY_LEN] {
        // Derived with exactly both lengths.
        self.0.expose().first_chunk().expect("a key and a commitment")
    }

    fn commitment(&self) -> &[u8] {
        &self.0.expose()[KEY_LEN..]
    }
}

/// Over the wrapped bytes, so that any change to them gives an unrelated key, whatever the token's scheme checks.
fn derive(header: &Header, seed: &[u8; SEED_LEN], wrapped_seed: &[u8], context: &EncryptionContext) -> Derived {
    let context = crypto::sha256(&[&context.canonical()]);
    Derived(crypto::kbkdf(seed, SEAL_LABEL, &[&header.bytes(), wrapped_seed, &context], KEY_LEN + COMMITMENT_LEN))
}

fn split<'a, const N: usize>(bytes: &'a [u8], part: &'static str) -> Result<(&'a [u8; N], &'a [u8]), Malformed> {
    bytes.split_first_chunk().ok_or(Malformed::Truncated(part))
}

const VERSION: u8 = 1;
const MULTI_REGION: u8 = 1;
const HEADER_LEN: usize = 23;
const COMMITMENT_LEN: usize = 32;
/// Everything but the wrapped seed and the plaintext.
const FIXED_LEN: usize = HEADER_LEN + 2 + COMMITMENT_LEN + NONCE_LEN + TAG_LEN;
const WRAP_LABEL: &[u8] = b"hsm-kms/wrap/v1";
const SEAL_LABEL: &[u8] = b"hsm-kms/v1/seal";
