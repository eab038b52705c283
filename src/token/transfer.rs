//! Transfers: material of multi-Region keys on its way from token to token, wrapped for the one that it goes to.
//!
//! A token cannot wrap what it may not give out. So such material is made as a session object that may be, and within one
//! job it is wrapped for its own token's replication key and unwrapped from that into the object that stays, which is not
//! extractable. If any of that fails, the session is closed, and with it goes what may be left there. What was wrapped is
//! kept, and lets the token bring the material into a session once more, to wrap it for another token's replication key. The
//! host never sees it in the clear.
//!
//! Wrapped material is `01 ‖ length of the first part, 2 bytes ‖ a key of AES-256, wrapped by RSA-OAEP (SHA-1, no label) ‖
//! the material, wrapped under that by AES key wrapping`. What was wrapped tells who unwraps it nothing about who wrapped
//! it; so nobody unwraps what does not come out of the sealed store, and the result must be the material that is known.
//!
//! Source: RFC 8017 §7.1, RFC 3394; PKCS#11 v3.0 §2.1.8, §2.14.

use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};

use super::error::{Error, Failure};
use super::kind::KeyKind;
use super::probe::passing_name;
use super::session::Session;
use super::sessions::Shared;
use super::{import, object, private, probe};
use crate::crypto::{self, PublicKey};
use crate::model::{EncryptionAlgorithm, KeyId, KeyPairSpec, ObjectName, Purpose, Secret};

/// One step of a transfer, done by one worker without a pause.
pub(super) enum Step {
    /// Make the material, and keep it.
    Make { name: ObjectName, kind: KeyKind, of_key: KeyId, own: Replication },
    /// Wrap kept material for another token.
    Rewrap { kind: KeyKind, known: Known, own: Replication, wrapped: Vec<u8>, to: PublicKey },
    /// Keep material that was wrapped for this token.
    Accept { name: ObjectName, kind: KeyKind, known: Known, own: Replication, wrapped: Vec<u8> },
    /// Tell the public half of the replication key, which the token has.
    Tell { own: ObjectName },
}

/// The key pair of one token, for which material is wrapped that goes there.
#[derive(Clone, Debug)]
pub struct Replication {
    /// Its object, whose purpose is [`Purpose::Replication`].
    pub name: ObjectName,
    /// Its public half.
    pub public_key: PublicKey,
}

/// What is known of material without seeing it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The KMS key that it belongs to.
    pub of_key: KeyId,
    /// The same for the same material in the same KMS key, on every token.
    pub fingerprint: [u8; 32],
    /// The public half of a pair.
    pub public_key: Option<PublicKey>,
}

/// New material that can be transferred.
#[derive(Clone, Debug)]
pub struct Transferable {
    /// What is known of it.
    pub known: Known,
    /// The material, wrapped for the replication key of its own token.
    pub wrapped: Vec<u8>,
}

/// What such a step comes to.
pub(super) enum Done {
    Made(Transferable),
    Wrapped(Vec<u8>),
    Accepted,
    Told(PublicKey),
}

impl Step {
    /// Whether making a pair is part of it, which takes seconds.
    pub(super) fn makes_a_pair(&self) -> bool {
        matches!(self, Step::Make { kind, .. } if kind.is_pair())
    }

    /// The replication key that the step works with.
    pub(super) fn own(&self) -> &ObjectName {
        match self {
            Step::Make { own, .. } | Step::Rewrap { own, .. } | Step::Accept { own, .. } => &own.name,
            Step::Tell { own } => own,
        }
    }

    /// Fails with [`Error::Unfit`] for names and kinds that no transfer has.
    pub(super) fn check(&self) -> Result<(), Error> {
        let right = match self {
            Step::Make { name, kind, .. } | Step::Accept { name, kind, .. } => {
                name.purpose == Purpose::MultiRegion && is_material(*kind)
            }
            Step::Rewrap { kind, .. } => is_material(*kind),
            Step::Tell { .. } => true,
        };
        let unfit = || Error::Unfit(KeyKind::Replication(REPLICATION));
        if right && self.own().purpose == Purpose::Replication { Ok(()) } else { Err(unfit()) }
    }
}

/// Makes material in the session that can be wrapped, with the public half of a pair.
pub(super) fn make(
    shared: &Shared,
    session: &Session,
    name: &ObjectName,
    kind: KeyKind,
) -> Result<(ObjectHandle, Option<PublicKey>), Failure> {
    let (made, public) = object::generate_extractable(&shared.profile, session, name, kind)?;
    if let Some(public) = &public {
        passing(session, made, |made| probe::try_pair(shared, session, made, kind, public))?;
    }
    Ok((made, public))
}

/// Wraps material in the session for a replication key, and destroys it there.
pub(super) fn wrap(
    shared: &Shared,
    session: &Session,
    material: ObjectHandle,
    kind: KeyKind,
    to: &PublicKey,
) -> Result<Vec<u8>, Failure> {
    let wrapped = with(session, material, |material| {
        let passing = object::generate_passing_key(session)?;
        with(session, passing, |passing| {
            let recipient = object::create_wrapping_public(&shared.profile, session, to)?;
            let mut first = vec![0; to.spec().modulus_len().unwrap_or_default()];
            let oaep = Mechanism::RsaPkcsOaep(private::oaep_parameters(EncryptionAlgorithm::RsaesOaepSha1)?);
            let len = with(session, recipient, |recipient| {
                Ok(shared.module.raw.wrap(session, &oaep, recipient, passing, &mut first)?)
            })?;
            first.truncate(len);
            let mut second = vec![0; MATERIAL_MAX];
            let len = shared.module.raw.wrap(session, &mechanism(kind), passing, material, &mut second)?;
            Ok([&first[..], &second[..len]].map(<[u8]>::to_vec))
        })
    })?;
    let [first, second] = wrapped;
    let len = u16::try_from(first.len()).map_err(CryptokiError::TryFromInt)?;
    Ok([&[VERSION], &len.to_be_bytes()[..], &first, &second].concat())
}

/// Unwraps material by the replication key into an object of this template.
pub(super) fn unwrap(
    session: &Session,
    replication: ObjectHandle,
    kind: KeyKind,
    wrapped: &[u8],
    template: &[Attribute],
) -> Result<ObjectHandle, Failure> {
    let (first, second) = parts(wrapped)?;
    let oaep = Mechanism::RsaPkcsOaep(private::oaep_parameters(EncryptionAlgorithm::RsaesOaepSha1)?);
    let passing = session.unwrap_key(&oaep, replication, first, &unwrapping_template())?;
    with(session, passing, |passing| Ok(session.unwrap_key(&mechanism(kind), passing, second, template)?))
}

/// Unwraps material into the session, from where it can be wrapped again.
pub(super) fn unwrap_to_session(
    shared: &Shared,
    session: &Session,
    replication: ObjectHandle,
    name: &ObjectName,
    kind: KeyKind,
    wrapped: &[u8],
) -> Result<ObjectHandle, Failure> {
    unwrap(session, replication, kind, wrapped, &template(shared, name, kind, false, true))
}

/// Proves a new token object: not extractable, and the material that is known.
pub(super) fn prove(
    shared: &Shared,
    session: &Session,
    made: ObjectHandle,
    (name, kind): (&ObjectName, KeyKind),
    known: &Known,
) -> Result<(), Failure> {
    passing(session, made, |made| {
        object::prove(shared, session, made, name, kind, true)?;
        is_known(shared, session, made, kind, known)
    })
}

/// Whether the object is the material that is known: a secret key answers alike, a pair fits its public half.
pub(super) fn is_known(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    kind: KeyKind,
    known: &Known,
) -> Result<(), Failure> {
    let public = known.public_key.as_ref();
    if let Some(public) = public {
        probe::try_pair(shared, session, key, kind, public)?;
    }
    let told = import::fingerprint(shared, session, key, &known.of_key, kind, public)?;
    let same = crypto::equal(&told, &known.fingerprint);
    if same { Ok(()) } else { Err(Error::Wrong("the material that came is not the one that was sent").into()) }
}

/// The template of what is unwrapped.
pub(super) fn template(
    shared: &Shared,
    name: &ObjectName,
    kind: KeyKind,
    token: bool,
    modifiable: bool,
) -> Vec<Attribute> {
    let mut template = object::import_template(&shared.profile, name, kind, token, true);
    template.push(Attribute::Modifiable(modifiable));
    shared.profile.fit(template)
}

/// Tries a replication key: what the host wraps for its public half, it unwraps.
pub(super) fn try_pair(shared: &Shared, session: &Session, own: ObjectHandle, to: &PublicKey) -> Result<(), Failure> {
    let mut secret = Secret::zeroed(crypto::KEY_LEN);
    crypto::random(secret.expose_mut()).map_err(Error::from)?;
    let wrong = || Error::Wrong("what is wrapped for a replication key does not unwrap to what it was");
    let oaep = EncryptionAlgorithm::RsaesOaepSha1;
    let wrapped = crypto::oaep_encrypt(to, oaep, secret.expose()).ok_or_else(wrong)?;
    let mechanism = Mechanism::RsaPkcsOaep(private::oaep_parameters(oaep)?);
    let name = passing_name(Purpose::MultiRegion);
    let template = template(shared, &name, KeyKind::Aes256, false, true);
    let back = session.unwrap_key(&mechanism, own, &wrapped, &template)?;
    let same = with(session, back, |back| import::is_material(shared, session, back, KeyKind::Aes256, &secret))?;
    if same { Ok(()) } else { Err(wrong().into()) }
}

/// Makes a replication key in the session, for trials, and destroys it.
pub(super) fn with_trial_key<T>(
    shared: &Shared,
    session: &Session,
    then: impl FnOnce((ObjectHandle, &PublicKey)) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (name, kind) = (passing_name(Purpose::Replication), KeyKind::Replication(KeyPairSpec::Rsa2048));
    let modifiable = object::modifiable(&shared.profile, kind);
    let (own, to) = object::generate(&shared.profile, session, &name, kind, false, modifiable)?;
    with(session, own, |own| then((own, &to.ok_or(CryptokiError::InvalidValue)?)))
}

/// Tries a transfer of such a key there and back, on session objects.
pub(super) fn try_kind(
    shared: &Shared,
    session: &Session,
    (own, to): (ObjectHandle, &PublicKey),
    kind: KeyKind,
) -> Result<(), Failure> {
    let name = passing_name(Purpose::MultiRegion);
    let (made, public_key) = make(shared, session, &name, kind)?;
    let fingerprint = import::fingerprint(shared, session, made, &name.key_id, kind, public_key.as_ref())?;
    let known = Known { of_key: name.key_id, fingerprint, public_key };
    let wrapped = wrap(shared, session, made, kind, to)?;
    let back = unwrap_to_session(shared, session, own, &name, kind, &wrapped)?;
    with(session, back, |back| is_known(shared, session, back, kind, &known))
}

/// Uses a session object and destroys it, whatever came of it.
fn with<T>(
    session: &Session,
    key: ObjectHandle,
    then: impl FnOnce(ObjectHandle) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let done = then(key);
    let destroyed = session.destroy_object(key);
    let done = done?;
    destroyed?;
    Ok(done)
}

/// Uses a new object, which is destroyed only if that fails.
fn passing(
    session: &Session,
    key: ObjectHandle,
    then: impl FnOnce(ObjectHandle) -> Result<(), Failure>,
) -> Result<(), Failure> {
    then(key).inspect_err(|_| {
        // If this fails as well, the session is closed, or the key's intent names it.
        let _ = session.destroy_object(key);
    })
}

/// How material of this kind is wrapped: secret keys have whole blocks, private keys are padded to them.
///
/// SoftHSM pads secret keys of other lengths with zeros, and so lengthens them: one of HMAC is the same key for that
/// (RFC 2104 §2), and there are no others.
fn mechanism(kind: KeyKind) -> Mechanism<'static> {
    if kind.is_pair() { Mechanism::AesKeyWrapPad } else { Mechanism::AesKeyWrap }
}

fn unwrapping_template() -> [Attribute; 9] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Unwrap(true),
        Attribute::Wrap(false),
        Attribute::Decrypt(false),
    ]
}

fn parts(wrapped: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    match wrapped {
        [VERSION, high, low, rest @ ..] => {
            rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))).ok_or(Error::BadData)
        }
        _ => Err(Error::BadData),
    }
}

fn is_material(kind: KeyKind) -> bool {
    kind.is_one() && kind.serves(Purpose::MultiRegion)
}

/// The spec of replication keys: 128 bits of strength, as AES-256 material with 2³² uses under it needs no more (SP 800-57
/// part 1 §5.6.1).
pub const REPLICATION: KeyPairSpec = KeyPairSpec::Rsa3072;
const VERSION: u8 = 1;
/// More than any wrapped RSA_4096 key: 2.4 kB.
const MATERIAL_MAX: usize = 4096;
