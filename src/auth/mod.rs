//! Who asks, and may they: signatures, identities, decisions.

mod authorize;
mod identity;
pub mod policy;
pub mod session;
pub mod sigv4;

pub use authorize::{Authorized, Denied, Named, Permission, Question, authorize, authorize_by_grant};
pub use identity::{Caller, Identity, Permissions, Session};
