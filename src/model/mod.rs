//! Values and their rules: no I/O, no time of day, no await.

mod account;
mod algorithm;
mod alias_name;
mod arn;
mod clock;
mod custom_key_store;
mod custom_key_store_id;
mod document;
mod encryption_context;
mod grant_operation;
mod iam;
mod key;
mod key_id;
mod key_specs;
mod object_name;
mod region;
mod secret;
mod token_uri;
mod words;
mod wrapping;

pub use account::AccountId;
pub use algorithm::{
    EncapsulationAlgorithm, EncryptionAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, MessageType, SigningAlgorithm,
};
pub use alias_name::{AliasName, InvalidAliasName};
pub use arn::{Arn, KeyRef, KeyRefError, key_arn};
pub use clock::{Clock, SystemClock, Timestamp};
pub use custom_key_store::{ClusterId, ConnectionError, ConnectionState};
pub use custom_key_store_id::CustomKeyStoreId;
pub use document::Document;
pub use encryption_context::EncryptionContext;
pub use grant_operation::{GrantOperation, GrantOperations};
pub use iam::{FriendlyName, IamPath, folded};
pub use key::{KeyManager, KeySpec, KeyState, KeyUsage, Origin, RotationType};
pub use key_id::{InvalidKeyId, KeyId};
pub use key_specs::{HmacSpec, KeyPairSpec};
pub use object_name::{ObjectName, Purpose};
pub use region::{InvalidRegion, Region};
pub use secret::Secret;
pub use token_uri::{InvalidTokenUri, TokenUri};
pub use wrapping::{WrappingAlgorithm, WrappingKeySpec};
