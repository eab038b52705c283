//! Material of a multi-Region key: made so that it can go to other tokens, and brought there.

use std::time::Instant;

use super::TokenKey;
use crate::kms::{Error, Kms, arn_of, object_kind};
use crate::model::ObjectName;
use crate::store::{KeyRecord, Material, Transfer};
use crate::token::{KeyKind, Known, Offer, Transferable};

impl Kms {
    /// Makes new material of a multi-Region key on its own token.
    pub(in crate::kms) async fn make_transferable(
        &self,
        key: &KeyRecord,
        name: &ObjectName,
        deadline: Instant,
    ) -> Result<Transferable, Error> {
        let TokenKey { token, own } = self.replication_key(&key.region, &key.account, deadline).await?;
        let made = token.generate_transferable(name, kind_of(key)?, key.key_id, &own, deadline).await;
        Ok(self.disowned(name, made).await?)
    }

    /// Brings material that the key `from` has to the token of its relation `to`, where it becomes the object `name`.
    pub(in crate::kms) async fn pass(
        &self,
        (from, to): (&KeyRecord, &KeyRecord),
        name: &ObjectName,
        material: &Transferable,
        deadline: Instant,
    ) -> Result<Transferable, Error> {
        let source = self.replication_key(&from.region, &from.account, deadline).await?;
        let target = self.replication_key(&to.region, &to.account, deadline).await?;
        self.check_paired(&source, &target)?;
        let kind = kind_of(from)?;
        let wrapped = source.token.rewrap(kind, material, &source.own, &target.own.public_key, deadline).await?;
        let material = Transferable { known: material.known.clone(), wrapped };
        let accepted = target.token.accept(name, kind, &material, &target.own, deadline).await;
        self.disowned(name, accepted).await?;
        Ok(material)
    }

    /// Refuses a multi-Region key whose material could not go to other tokens from this one, by the token's self-test.
    /// Makes the token's replication key if it has none.
    pub(in crate::kms) async fn check_transfers(&self, key: &KeyRecord, deadline: Instant) -> Result<TokenKey, Error> {
        let token = self.token_of(key)?;
        token.check_available()?;
        match token.transfers(kind_of(key)?, deadline).await? {
            Offer::Yes => self.replication_key(&key.region, &key.account, deadline).await,
            Offer::No(reason) => Err(Error::UnsupportedOperation(format!(
                "Multi-Region keys of the KeySpec {} are not offered by the token of {}: {reason}",
                key.spec, key.region
            ))),
        }
    }
}

/// What is known of a material, as the token is told it.
pub(in crate::kms) fn transferable(key: &KeyRecord, material: &Material) -> Result<Transferable, Error> {
    let unreadable = || Error::Internal(format!("material {} of {} cannot be passed on", material.number, arn_of(key)));
    let transfer = material.transfer.as_ref().ok_or_else(unreadable)?;
    let bytes = |text: &str| hex::decode(text).map_err(|_| unreadable());
    let fingerprint = bytes(&transfer.fingerprint)?.try_into().map_err(|_| unreadable())?;
    let public_key = match (&key.public_key, key.spec.key_pair()) {
        (Some(spki), Some(spec)) => {
            Some(crate::crypto::PublicKey::from_spki(spec, &bytes(spki)?).map_err(|_| unreadable())?)
        }
        _ => None,
    };
    let known = Known { of_key: key.key_id, fingerprint, public_key };
    Ok(Transferable { known, wrapped: bytes(&transfer.wrapped)? })
}

/// What the record of a material keeps.
pub(in crate::kms) fn kept(material: &Transferable) -> Transfer {
    Transfer { fingerprint: hex::encode(material.known.fingerprint), wrapped: hex::encode(&material.wrapped) }
}

fn kind_of(key: &KeyRecord) -> Result<KeyKind, Error> {
    object_kind(key.spec, key.usage).ok_or_else(|| Error::Internal(format!("{} is of no kind", arn_of(key))))
}
