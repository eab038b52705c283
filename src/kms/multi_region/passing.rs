//! Material of a multi-Region key: made so that it can go to other tokens, and brought there.

use std::time::Instant;

use super::TokenKey;
use crate::kms::{Error, Kms, arn_of, object_kind};
use crate::model::ObjectName;
use crate::store::{KeyRecord, Material, Transfer};
use crate::token::{KeyKind, Known, Offer, Replication, Transferable};

impl Kms {
    /// Makes new material of a multi-Region key on its own token; gives what its record keeps of it, too.
    pub(in crate::kms) async fn make_transferable(
        &self,
        key: &KeyRecord,
        name: &ObjectName,
        deadline: Instant,
    ) -> Result<(Transferable, Transfer), Error> {
        let TokenKey { token, own } = self.replication_key(&key.region, &key.account, deadline).await?;
        let made = token.generate_transferable(name, kind_of(key)?, key.key_id, &own, deadline).await;
        let made = self.disowned(name, made).await?;
        let kept = kept(&made, &own);
        Ok((made, kept))
    }

    /// Brings material that the key `from` has to the token of its relation `to`, where it becomes the object `name`; gives
    /// what the record there keeps of it.
    pub(in crate::kms) async fn pass(
        &self,
        (from, to): (&KeyRecord, &KeyRecord),
        name: &ObjectName,
        material: &Transferable,
        deadline: Instant,
    ) -> Result<Transfer, Error> {
        let source = self.replication_key(&from.region, &from.account, deadline).await?;
        let target = self.replication_key(&to.region, &to.account, deadline).await?;
        self.check_paired(&source, &target)?;
        let kind = kind_of(from)?;
        let wrapped = source.token.rewrap(kind, material, &source.own, &target.own.public_key, deadline).await?;
        let material = Transferable { known: material.known.clone(), wrapped };
        let accepted = target.token.accept(name, kind, &material, &target.own, deadline).await;
        self.disowned(name, accepted).await?;
        Ok(kept(&material, &target.own))
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
fn kept(material: &Transferable, own: &Replication) -> Transfer {
    Transfer {
        fingerprint: hex::encode(material.known.fingerprint),
        wrapped: hex::encode(&material.wrapped),
        replication_key: Some(own.name.key_id),
    }
}

/// Refuses a key with material that is kept wrapped for another replication key than its token has: one that took over the
/// objects of another one without that.
pub(super) fn check_kept_for(key: &KeyRecord, source: &TokenKey) -> Result<(), Error> {
    let own = source.own.name.key_id;
    let kept_for = |material: &Material| material.transfer.as_ref().and_then(|transfer| transfer.replication_key);
    match key.materials.iter().find(|material| kept_for(material).is_some_and(|other| other != own)) {
        None => Ok(()),
        Some(material) => Err(Error::UnsupportedOperation(format!(
            "Key material {} of {} can go to no other token: it is kept wrapped for a replication key that the token `{}` \
             has not taken over with the other objects of the token before it.",
            material.key_material_id,
            arn_of(key),
            source.token.identity().label
        ))),
    }
}

pub(super) fn kind_of(key: &KeyRecord) -> Result<KeyKind, Error> {
    object_kind(key.spec, key.usage).ok_or_else(|| Error::Internal(format!("{} is of no kind", arn_of(key))))
}
