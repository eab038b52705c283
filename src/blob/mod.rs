//! stub
use crate::crypto;
use crate::model::{EncryptionContext, KeyId, Secret};
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub scheme: u8,
    pub key_id: KeyId,
    pub material: u32,
}
pub struct Blob<'a> {
    header: Header,
    bytes: &'a [u8],
    wrapped: &'a [u8],
}
#[derive(Debug)]
pub struct Malformed;
impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut b = vec![1, self.scheme, 0];
        b.extend_from_slice(self.key_id.as_bytes());
        b.extend_from_slice(&self.material.to_be_bytes());
        b
    }
}
impl<'a> Blob<'a> {
    pub fn header(&self) -> &Header {
        &self.header
    }
    pub fn wrapped_seed(&self) -> &'a [u8] {
        self.wrapped
    }
}
pub fn wrap_associated_data(header: &Header) -> Vec<u8> {
    [b"hsm-kms/wrap/v1".as_slice(), &header.bytes()].concat()
}
pub fn parse(bytes: &[u8]) -> Result<Blob<'_>, Malformed> {
    if bytes.len() < 25 + 60 + 32 + 12 + 16 || bytes[0] != 1 {
        return Err(Malformed);
    }
    let header = Header {
        scheme: bytes[1],
        key_id: KeyId::from_bytes(bytes[3..19].try_into().unwrap()),
        material: u32::from_be_bytes(bytes[19..23].try_into().unwrap()),
    };
    Ok(Blob { header, bytes, wrapped: &bytes[25..85] })
}
fn keys(header: &Header, seed: &[u8; 32], wrapped: &[u8], context: &EncryptionContext) -> Secret {
    crypto::kbkdf(seed, b"hsm-kms/v1/seal", &[&header.bytes(), wrapped, &crypto::sha256(&[&context.canonical()])], 64)
}
pub fn seal(
    header: &Header,
    seed: &[u8; 32],
    wrapped: &[u8],
    context: &EncryptionContext,
    plaintext: &[u8],
    nonce: [u8; 12],
) -> Vec<u8> {
    let keys = keys(header, seed, wrapped, context);
    let mut b = header.bytes();
    b.extend_from_slice(&(wrapped.len() as u16).to_be_bytes());
    b.extend_from_slice(wrapped);
    b.extend_from_slice(&keys.expose()[32..]);
    let ct = crypto::seal(keys.expose()[..32].try_into().unwrap(), &nonce, &b, plaintext);
    b.extend_from_slice(&nonce);
    b.extend_from_slice(&ct);
    b
}
pub fn open(blob: &Blob<'_>, seed: &[u8; 32], context: &EncryptionContext) -> Result<Secret, crypto::Unauthentic> {
    let keys = keys(&blob.header, seed, blob.wrapped, context);
    if !crypto::equal(&blob.bytes[85..117], &keys.expose()[32..]) {
        return Err(crypto::Unauthentic);
    }
    crypto::open(
        keys.expose()[..32].try_into().unwrap(),
        &blob.bytes[117..129].try_into().unwrap(),
        &blob.bytes[..117],
        &blob.bytes[129..],
    )
}
