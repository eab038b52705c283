//! All cryptography on the host, in one place, so that a FIPS build changes one folder and no byte.

mod agreement;
mod ecdsa;
mod key_pair;
mod key_wrap;
mod lattice;
mod oaep;
mod private_key;
mod public_key;
mod symmetric;

pub use agreement::Agreement;
pub use ecdsa::{MalformedSignature, ecdsa_der, ecdsa_raw};
pub use key_pair::{KeyPair, NoKeyPair};
pub use key_wrap::{aes_unwrap, aes_wrap};
pub use lattice::{Encapsulated, NotEncapsulated, encapsulate};
pub use oaep::{NotOaep, oaep_encrypt, oaep_sha256_unpad};
pub use private_key::{InvalidPrivateKey, PrivateKey};
pub use public_key::{InvalidPublicKey, Message, NotVerified, PublicKey, digest};
pub use symmetric::*;
