//! Operations of AWS STS that are served on the same port.

mod get_caller_identity;

pub use get_caller_identity::GetCallerIdentity;
