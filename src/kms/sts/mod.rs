//! Operations of AWS STS that are served on the same port.

mod assume_role;
mod credentials;
mod get_caller_identity;
mod get_session_token;
mod session_tags;
pub mod shapes;

pub use assume_role::AssumeRole;
pub use get_caller_identity::GetCallerIdentity;
pub use get_session_token::GetSessionToken;

use super::Error;

/// Refuses the parameters of a multi-factor authentication: there are no such devices here, and passing over a code
/// would be to take it for good.
fn check_no_mfa(serial_number: Option<&String>, token_code: Option<&String>) -> Result<(), Error> {
    if serial_number.is_none() && token_code.is_none() {
        return Ok(());
    }
    let message = "MultiFactorAuthentication failed, unable to validate MFA code. There are no MFA devices here.";
    Err(Error::AccessDenied(message.into()))
}
