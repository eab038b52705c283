//! What a token's keys are asked to do: wrap seeds, sign, authenticate, agree, decapsulate and decrypt.

use std::time::Instant;

use zeroize::Zeroizing;

use super::Token;
use super::error::Error;
use super::iv::HostIv;
use super::kind::KeyKind;
use super::mechanism::{SEED_LEN, Scheme};
use super::private::{self, RsaDecryption, Task};
use super::probe::{self, Offer};
use super::sessions::{Answer, LaneName, Request};
use crate::crypto::{self, Message, PublicKey};
use crate::model::{EncryptionAlgorithm, HmacSpec, KeyPairSpec, ObjectName, Secret, SigningAlgorithm};

impl Token {
    /// Whether the padding of OAEP with SHA-256 is taken off on the host, because the token cannot.
    pub fn unpads_on_host(&self) -> bool {
        probe::decryption(self.shared(), EncryptionAlgorithm::RsaesOaepSha256) == RsaDecryption::Bare
    }

    /// Signs a message, or the digest of one, with the key `name`, whose kind is [`KeyKind::Sign`] of this spec: as AWS
    /// gives it, DER for ECDSA. It is not yet verified.
    ///
    /// Fails with [`Error::Unfit`] if such a key does not sign so, or the digest has another length, and with
    /// [`Error::NotOffered`] for Ed25519ph where the token does not do it, and for [`Message::Mu`]: PKCS#11 v3.2 has no
    /// mechanism that signs what represents a message.
    pub async fn sign(
        &self,
        name: &ObjectName,
        spec: KeyPairSpec,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let kind = KeyKind::Sign(spec);
        if let Message::Mu(_) = message {
            return Err(Error::NotOffered(algorithm, NO_MU.to_owned()));
        }
        if algorithm == SigningAlgorithm::Ed25519PhSha512
            && let Offer::No(reason) = self.prehashes(deadline).await?
        {
            return Err(Error::NotOffered(algorithm, reason));
        }
        let data = private::to_be_signed(spec, algorithm, message).ok_or(Error::Unfit(kind))?;
        self.bytes(name, kind, Task::Sign(algorithm, data), deadline).await
    }

    /// The HMAC of `message` with the key `name`, whose kind is [`KeyKind::Mac`] of this spec.
    pub async fn mac(
        &self,
        name: &ObjectName,
        spec: HmacSpec,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        self.bytes(name, KeyKind::Mac(spec), Task::Mac(message.to_vec()), deadline).await
    }

    /// The x coordinate, 32, 48 or 66 bytes, that the key `name`, whose kind is [`KeyKind::Agree`] of this spec, and
    /// whoever has `peer` agree on.
    ///
    /// Fails with [`Error::Unfit`] if the peer's key is of another spec. It is a point of the curve, or it would be no
    /// [`PublicKey`]: no other point reaches the token.
    pub async fn derive(
        &self,
        name: &ObjectName,
        spec: KeyPairSpec,
        peer: &PublicKey,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let kind = KeyKind::Agree(spec);
        let point = peer.point().filter(|_| kind.is_one() && peer.spec() == spec).ok_or(Error::Unfit(kind))?;
        self.secret(name, kind, Task::Agree(point.to_vec()), deadline).await
    }

    /// The secret, 32 bytes, that was encapsulated to the key `name`, whose kind is [`KeyKind::Decapsulate`] of this spec.
    /// What was not encapsulated to it, but is as long, gives another secret, which nobody can foretell.
    ///
    /// Fails with [`Error::BadData`] if the ciphertext has not the length of the spec.
    ///
    /// Source: FIPS 203 §7.3.
    pub async fn decapsulate(
        &self,
        name: &ObjectName,
        spec: KeyPairSpec,
        ciphertext: &[u8],
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let kind = KeyKind::Decapsulate(spec);
        let len = spec.encapsulated_len().ok_or(Error::Unfit(kind))?;
        if ciphertext.len() != len {
            return Err(Error::BadData);
        }
        self.secret(name, kind, Task::Decapsulate(ciphertext.to_vec()), deadline).await
    }

    /// Decrypts what was encrypted without a label to the key `name`, whose kind is [`KeyKind::Decrypt`] of this spec.
    ///
    /// Fails with [`Error::BadData`] for anything else, and says no more, which costs at most one more call than success;
    /// with [`Error::Unfit`] for an algorithm that the spec does not have.
    pub async fn rsa_decrypt(
        &self,
        name: &ObjectName,
        spec: KeyPairSpec,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let kind = KeyKind::Decrypt(spec);
        if !spec.encryption_algorithms().contains(&algorithm) {
            return Err(Error::Unfit(kind));
        }
        if Some(ciphertext.len()) != spec.modulus_len() {
            return Err(Error::BadData);
        }
        let how = probe::decryption(self.shared(), algorithm);
        let plaintext = self.secret(name, kind, Task::Decrypt(how, ciphertext.to_vec()), deadline).await?;
        match how {
            RsaDecryption::Oaep(_) => Ok(plaintext),
            RsaDecryption::Bare => crypto::oaep_sha256_unpad(&plaintext).map_err(|_| Error::BadData),
        }
    }

    /// Wraps a seed under the key `name` by `scheme`, with `associated` authenticated where the scheme does that.
    ///
    /// Fails with [`Error::Scheme`] if the token does not do it.
    pub async fn wrap_seed(
        &self,
        name: &ObjectName,
        scheme: u8,
        associated: &[u8],
        seed: &[u8; SEED_LEN],
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let scheme = self.known_scheme(scheme)?;
        let (name, iv, seed) = (*name, HostIv::random()?, Secret::new(seed.to_vec()));
        let request = Request::Wrap { name, scheme, iv, associated: associated.to_vec(), seed };
        match self.fast(request, deadline).await? {
            Answer::Bytes(wrapped) => Ok(wrapped),
            _ => Err(Error::mixed_up()),
        }
    }

    /// How many IVs were used up under the key `name` since this was asked last, beside one for each [`Token::wrap_seed`]:
    /// whoever counts those has to count these, too.
    pub fn take_extra_ivs(&self, name: &ObjectName) -> u64 {
        self.shared().extra_ivs.take(name)
    }

    /// Unwraps what [`Token::wrap_seed`] made by `scheme` with the same key and the same `associated`.
    ///
    /// Fails with [`Error::BadData`] if any of it differs, as far as the scheme notices, which costs at most one more call
    /// than success; with [`Error::Scheme`] if the token does not do it.
    pub async fn unwrap_seed(
        &self,
        name: &ObjectName,
        scheme: u8,
        associated: &[u8],
        wrapped: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<[u8; SEED_LEN]>, Error> {
        let scheme = self.known_scheme(scheme)?;
        if wrapped.len() != scheme.wrapped_len() {
            return Err(Error::BadData);
        }
        let (name, associated, wrapped) = (*name, associated.to_vec(), wrapped.to_vec());
        let request = Request::Unwrap { name, scheme, associated, wrapped };
        match self.fast(request, deadline).await? {
            Answer::Secret(seed) => exactly(&seed),
            _ => Err(Error::mixed_up()),
        }
    }

    fn known_scheme(&self, number: u8) -> Result<Scheme, Error> {
        Scheme::of_number(number).ok_or_else(|| self.shared().schemes().not_done(number))
    }

    async fn bytes(&self, name: &ObjectName, kind: KeyKind, task: Task, deadline: Instant) -> Result<Vec<u8>, Error> {
        match self.use_key(name, kind, task, deadline).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(Error::mixed_up()),
        }
    }

    async fn secret(&self, name: &ObjectName, kind: KeyKind, task: Task, deadline: Instant) -> Result<Secret, Error> {
        match self.use_key(name, kind, task, deadline).await? {
            Answer::Secret(secret) => Ok(secret),
            _ => Err(Error::mixed_up()),
        }
    }

    async fn use_key(&self, name: &ObjectName, kind: KeyKind, task: Task, deadline: Instant) -> Result<Answer, Error> {
        let lane = if kind.is_pair() { LaneName::Private } else { LaneName::Fast };
        self.shared().ask(lane, Request::Use { name: *name, kind, task }, deadline).await
    }
}

fn exactly(seed: &Secret) -> Result<Zeroizing<[u8; SEED_LEN]>, Error> {
    let mut bytes = Zeroizing::new([0; SEED_LEN]);
    if seed.expose().len() != SEED_LEN {
        return Err(Error::mixed_up());
    }
    bytes.copy_from_slice(seed.expose());
    Ok(bytes)
}

const NO_MU: &str = "PKCS#11 has no mechanism that signs what represents a message";
