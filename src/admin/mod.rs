//! The administration of principals: accounts, users, roles, the policies that they share, and access keys; one file an
//! operation, in folders by family, named as AWS IAM names them. And what operators say of tokens.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html>

pub mod access_key;
pub mod account;
mod context;
mod desk;
mod error;
mod operations;
mod operator;
pub mod policy;
mod principal;
pub mod role;
mod rules;
mod shapes;
pub mod token;
pub mod user;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::EventSource;
use crate::kms::Kms;
use crate::kms::shape::Member;
use crate::model::AccountId;

pub use context::{Act, Context, Plan};
pub use desk::Desk;
pub use error::Error;
pub use operations::{OPERATIONS, Route};
pub use operator::Operator;

/// One operation: the type that implements it is its request. Every request may name its account besides, as
/// `AccountId`.
pub trait Operation: DeserializeOwned + Send + Sync + 'static {
    /// Its name, for example `CreateUser`.
    const NAME: &'static str;
    /// What the request may and must have.
    const MEMBERS: &'static [Member];
    /// Whether it changes nothing.
    const READ_ONLY: bool;
    /// The service that its records name.
    const SOURCE: EventSource = EventSource::Iam;
    /// Whether the account must be there.
    const IN_ACCOUNT: bool = true;
    /// The answer.
    type Output: Serialize + Send + 'static;

    /// Does what has to be there before it is decided, and asks the tokens.
    fn prepare(&self, _kms: &Kms, _account: &AccountId) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Decides on what the store says now; decided again if another change comes first.
    fn plan(self, cx: &Context<'_>) -> Result<Plan<Self::Output>, Error>;
}

/// The answer of an operation that has nothing to say.
#[derive(Serialize)]
pub struct Nothing {}
