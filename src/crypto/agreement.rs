//! The host's side of a key agreement.

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};

use super::public_key::{InvalidPublicKey, PublicKey};
use crate::model::{KeyPairSpec, Secret};

/// A key pair on a NIST curve that lives as long as this value.
pub struct Agreement {
    key: PrivateKey,
    /// The half that the other side gets.
    pub public_key: PublicKey,
}

impl Agreement {
    /// Makes a pair; fails for a spec without key agreement.
    pub fn new(spec: KeyPairSpec) -> Result<Agreement, InvalidPublicKey> {
        let invalid = |_| InvalidPublicKey(spec);
        let key = PrivateKey::generate(algorithm(spec)?).map_err(invalid)?;
        let point = key.compute_public_key().map_err(invalid)?;
        Ok(Agreement { key, public_key: PublicKey::from_point(spec, point.as_ref())? })
    }

    /// The x coordinate that both sides come to; fails for a key of another curve.
    ///
    /// Source: SP 800-56A r3 §5.7.1.2.
    pub fn agree(&self, peer: &PublicKey) -> Result<Secret, InvalidPublicKey> {
        let spec = self.public_key.spec();
        let point = peer.point().filter(|_| peer.spec() == spec).ok_or(InvalidPublicKey(spec))?;
        let peer = UnparsedPublicKey::new(algorithm(spec)?, point);
        agreement::agree(&self.key, peer, InvalidPublicKey(spec), |secret| Ok(Secret::new(secret.to_vec())))
    }
}

fn algorithm(spec: KeyPairSpec) -> Result<&'static Algorithm, InvalidPublicKey> {
    match spec {
        KeyPairSpec::EccNistP256 => Ok(&agreement::ECDH_P256),
        KeyPairSpec::EccNistP384 => Ok(&agreement::ECDH_P384),
        KeyPairSpec::EccNistP521 => Ok(&agreement::ECDH_P521),
        _ => Err(InvalidPublicKey(spec)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_one_curve_only() {
        let specs = [KeyPairSpec::EccNistP256, KeyPairSpec::EccNistP384, KeyPairSpec::EccNistP521];
        for spec in specs {
            let (one, other) = (Agreement::new(spec).unwrap(), Agreement::new(spec).unwrap());
            let agreed = one.agree(&other.public_key).unwrap();
            assert_eq!(agreed.expose(), other.agree(&one.public_key).unwrap().expose());
            assert_eq!(agreed.expose().len(), spec.coordinate_len().unwrap());
            for stranger in specs.into_iter().filter(|stranger| *stranger != spec) {
                assert!(one.agree(&Agreement::new(stranger).unwrap().public_key).is_err());
            }
        }
        assert!(Agreement::new(KeyPairSpec::EccSecgP256k1).is_err());
    }
}
