//! What the operations of AWS KMS mean; one file an operation, in folders by family.

mod access_key;
pub mod alias;
mod caller;
mod conditions;
mod context;
pub mod cryptography;
pub mod custom_key_store;
mod envelope;
mod error;
pub mod grant;
mod identity;
pub mod import;
mod input;
pub mod janitor;
pub mod key;
mod key_pairs;
mod key_stores;
mod lost_token;
pub mod mac;
mod marker;
pub mod multi_region;
mod numbers;
pub mod policy;
mod private_key;
pub mod rotation;
mod service;
mod session;
pub mod shape;
pub mod shapes;
pub mod signature;
pub mod sts;
pub mod tag;
mod trusted_time;
mod usable;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::model::Document;
pub use access_key::{new_access_key, new_unique_id};
pub use caller::{NoSigner, Signer};
pub use conditions::Facts;
pub use context::{Context, Failure, KeyRow, Request, Target, arn_of};
pub use error::Error;
pub use grant::GrantTokens;
pub use identity::identity_of;
pub use import::Imports;
pub use input::{Blob, EpochSeconds, epoch_seconds, iso_8601};
pub use key_pairs::KeyPairs;
pub use key_stores::{KeyStore, KeyStores, Seat};
pub use lost_token::{End, GivenUp, Held, LostToken, Whereabouts};
pub use marker::Markers;
pub use service::{CommitError, Kms, Parts};
pub use session::Sessions;
pub use trusted_time::{TrustedTime, Verdict};
pub use usable::UsableKey;

use private_key::{object_kind, public_key_of};

/// One operation: the type that implements it is its request.
pub trait Operation: DeserializeOwned + Send + Sync + 'static {
    /// Wire target, policy action and audit word, for example `Encrypt`.
    const NAME: &'static str;
    /// What the request may and must have.
    const MEMBERS: &'static [shape::Member];
    /// Whether it changes nothing, as CloudTrail counts it: true for Encrypt and Decrypt too.
    const READ_ONLY: bool;
    /// Whether it can be done to another account's key.
    const CROSS_ACCOUNT: bool = false;
    /// The answer.
    type Output: Serialize + Send + 'static;

    /// Serves the request, whose members are known to keep their constraints.
    fn run(self, cx: &Context) -> impl Future<Output = Result<Self::Output, Error>> + Send;
}

/// How many items a page has: what the request asks for, or `default`. The model's `LimitType` admits 1,000; the
/// operations that admit fewer say so in their documentation.
fn page_limit(limit: Option<usize>, default: usize, max: usize) -> Result<usize, Error> {
    let limit = limit.unwrap_or(default);
    if limit <= max {
        return Ok(limit);
    }
    Err(Error::Validation(format!(
        "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value \
         less than or equal to {max}"
    )))
}
