<<<<<<< HEAD
//! Who asks, and may they: signatures, identities, decisions.

mod authorize;
mod identity;
pub mod policy;

pub use authorize::{Authorized, Denied, authorize};
pub use identity::Caller;
=======
//! Who is asking, and may they.

pub mod sigv4;
>>>>>>> room-sigv4
