//! Operations that use a key for message authentication codes.

mod generate_mac;
mod verify_mac;

pub use generate_mac::GenerateMac;
pub use verify_mac::VerifyMac;

use super::{Error, Facts, UsableKey};
use crate::model::{HmacSpec, MacAlgorithm};

/// What policies and grants can ask of a request about a code.
fn facts(algorithm: MacAlgorithm, grant_tokens: Option<&[String]>) -> Facts<'_> {
    let facts = Facts { grant_tokens: grant_tokens.unwrap_or_default(), ..Facts::default() };
    facts.with("kms:macalgorithm", Some(algorithm.as_str()))
}

/// The key's spec, if the algorithm is the one that it has.
fn spec(key: &UsableKey, algorithm: MacAlgorithm) -> Result<HmacSpec, Error> {
    let spec = key.record().spec;
    let fitting = spec.hmac().filter(|hmac| hmac.algorithm() == algorithm);
    let unfit = || Error::InvalidKeyUsage(format!("Algorithm {algorithm} is incompatible with key spec {spec}."));
    fitting.ok_or_else(unfit)
}
