//! Who asks, and may they: signatures, identities, decisions.

mod authorize;
mod identity;
pub mod policy;
pub mod sigv4;

pub use authorize::{Authorized, Denied, authorize};
pub use identity::Caller;
