//! Imports: wrapped material becomes a key of the token, by the token itself if it can, else through the host.

use std::collections::HashSet;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use cryptoki_sys::CKM_AES_ECB;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::error::{Class, Error, Failure, class, reason};
use super::iv::HostIv;
use super::kind::KeyKind;
use super::mechanism::{Scheme, WrappingKey};
use super::private::{self, RsaDecryption};
use super::probe::{self, passing_name};
use super::profile::Profile;
use super::session::Session;
use super::sessions::Shared;
use super::{mechanism, object};
use crate::crypto::{self, PrivateKey, PublicKey};
use crate::model::{EncryptionAlgorithm, HmacSpec, KeyId, KeyPairSpec, ObjectName, Purpose, Secret, WrappingAlgorithm};

/// Material that is to become the key `name`.
#[derive(Clone, Debug)]
pub struct Import {
    /// The new object, whose purpose is [`Purpose::Imported`].
    pub name: ObjectName,
    /// The KMS key that it belongs to, for which its fingerprint is.
    pub of_key: KeyId,
    /// What the material must be, and is then for.
    pub kind: KeyKind,
    /// The key that the material was wrapped for, whose purpose is [`Purpose::ImportWrapping`].
    pub wrapping: ObjectName,
    /// The spec of that key, which is RSA.
    pub wrapping_spec: KeyPairSpec,
    /// How the material was wrapped.
    pub algorithm: WrappingAlgorithm,
    /// The wrapped material.
    pub encrypted: Vec<u8>,
    /// Whether the material may be in this host's memory, in the clear, if the token cannot unwrap it: the setting
    /// `import.host_unwrap`.
    pub allow_host: bool,
}

/// Where material was unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the token: this host never saw it.
    Token,
    /// In this host's memory, which is wiped.
    Host,
}

/// What became of an import.
#[derive(Clone, Debug)]
pub struct Unwrapped {
    /// Where the material was in the clear.
    pub place: Place,
    /// The public half of a pair, which follows from the private one and was tried with it.
    pub public_key: Option<PublicKey>,
    /// The same for the same material in the same KMS key, whatever the number, wrapping and place; compare two with
    /// [`crate::crypto::equal`].
    pub fingerprint: [u8; 32],
}

/// What is known of a new object before it stays.
pub(super) type Known = (Option<PublicKey>, [u8; 32]);

impl Import {
    /// Fails with [`Error::Unfit`] for what no token does, and with [`Error::BadData`] for a length that nothing has.
    pub(super) fn check(&self) -> Result<(), Error> {
        let rsa_by_rsa = self.kind.modulus_len().is_some() && !self.algorithm.has_aes_key();
        let material = self.kind.is_one() && self.kind.serves(Purpose::Imported);
        let purposes = (self.name.purpose, self.wrapping.purpose) == (Purpose::Imported, Purpose::ImportWrapping);
        let wrapping = self.wrapping_spec.modulus_len().is_some() && self.algorithm.encryption().is_some();
        if !(material && purposes && wrapping) || rsa_by_rsa {
            return Err(Error::Unfit(self.kind));
        }
        self.parts().map(drop)
    }

    /// The part that RSA encrypted, and what follows it.
    fn parts(&self) -> Result<(&[u8], &[u8]), Error> {
        let modulus_len = self.wrapping_spec.modulus_len().unwrap_or_default();
        let (rsa, rest) = self.encrypted.split_at_checked(modulus_len).ok_or(Error::BadData)?;
        let right = if self.algorithm.has_aes_key() {
            rest.len() >= KWP_MIN && rest.len().is_multiple_of(8)
        } else {
            rest.is_empty()
        };
        if right { Ok((rsa, rest)) } else { Err(Error::BadData) }
    }

    fn encryption(&self) -> Result<EncryptionAlgorithm, Error> {
        self.algorithm.encryption().ok_or(Error::Unfit(self.kind))
    }
}

/// Attributes with secret values, which are wiped.
struct Template(Vec<Attribute>);

impl Drop for Template {
    fn drop(&mut self) {
        use Attribute::*;
        for attribute in &mut self.0 {
            if let Value(number)
            | PrivateExponent(number)
            | Prime1(number)
            | Prime2(number)
            | Exponent1(number)
            | Exponent2(number)
            | Coefficient(number) = attribute
            {
                number.zeroize();
            }
        }
    }
}

/// The material as this host unwraps it, `decrypt` being the wrapping key's operation on the token.
///
/// Fails with [`Error::BadData`] if it does not unwrap, whichever half is wrong.
pub(super) fn unwrap_on_host(
    shared: &Shared,
    import: &Import,
    decrypt: impl FnOnce(RsaDecryption, &[u8]) -> Result<Secret, Failure>,
) -> Result<Secret, Failure> {
    let (rsa, rest) = import.parts()?;
    let how = probe::decryption(shared, import.encryption()?);
    let mut opened = decrypt(how, rsa)?;
    if how == RsaDecryption::Bare {
        opened = crypto::oaep_sha256_unpad(&opened).map_err(|_| Error::BadData)?;
    }
    if import.algorithm.has_aes_key() {
        opened = crypto::aes_unwrap(&opened, rest).ok_or(Error::BadData)?;
    }
    Ok(opened)
}

/// Makes an object of material in the clear, on the token or in the session, and proves and tries it.
///
/// Fails with [`Error::IncorrectMaterial`] unless the material is a key of exactly this kind.
pub(super) fn create(
    shared: &Shared,
    session: &Session,
    (name, of_key): (&ObjectName, &KeyId),
    kind: KeyKind,
    material: &Secret,
    token: bool,
) -> Result<(ObjectHandle, Known), Failure> {
    let (numbers, public) = numbers(kind, material)?;
    let mut template = object::import_template(&shared.profile, name, kind, token, false);
    template.extend(kind.curve_attribute());
    template.push(Attribute::Modifiable(!token || object::modifiable(&shared.profile, kind)));
    let mut template = Template(shared.profile.fit(template));
    // In one step, without a copy that a growing vector would leave behind.
    template.0.reserve_exact(numbers.0.len());
    let mut numbers = numbers;
    template.0.append(&mut numbers.0);
    let key = session.create_object(&template.0)?;
    let tried = object::prove(shared, session, key, name, kind, token)
        .and_then(|()| try_material(shared, session, key, kind, public.as_ref()))
        .and_then(|()| fingerprint(shared, session, key, of_key, kind, public.as_ref()));
    match tried {
        Ok(fingerprint) => Ok((key, (public, fingerprint))),
        Err(failure) => {
            // If this fails as well, the session is closed, or the key's intent names it.
            let _ = session.destroy_object(key);
            Err(failure)
        }
    }
}

/// Has the token unwrap a secret key into the session, where it can still be copied.
pub(super) fn unwrap_on_token(
    shared: &Shared,
    session: &Session,
    wrapping: ObjectHandle,
    import: &Import,
) -> Result<(ObjectHandle, Known), Failure> {
    let key = unwrap_secret(shared, session, wrapping, import)?;
    let known = has_length(shared, session, key, import.kind).and_then(|right| match right {
        true => fingerprint(shared, session, key, &import.of_key, import.kind, None),
        false => Err(Error::IncorrectMaterial(import.kind).into()),
    });
    match known {
        Ok(fingerprint) => Ok((key, (None, fingerprint))),
        Err(failure) => {
            let _ = session.destroy_object(key);
            Err(failure)
        }
    }
}

/// Which secret keys this token unwraps by itself, by which algorithm: it must also notice every wrong length.
pub(super) fn unwrapped_on_token(
    shared: &Shared,
    session: &Session,
) -> Result<HashSet<(KeyKind, EncryptionAlgorithm)>, Failure> {
    let mut found = HashSet::new();
    if !tries_to_unwrap(&shared.profile) {
        return Ok(found);
    }
    let name = passing_name(Purpose::ImportWrapping);
    let kind = KeyKind::ImportWrapping(TRIED);
    let modifiable = object::modifiable(&shared.profile, kind);
    let (wrapping, public) = object::generate(&shared.profile, session, &name, kind, false, modifiable)?;
    let public = public.ok_or(CryptokiError::InvalidValue)?;
    for (kind, algorithm, oaep) in tried(shared) {
        if unwraps(shared, session, (wrapping, &public), kind, algorithm)? {
            found.insert((kind, oaep));
        }
    }
    session.destroy_object(wrapping)?;
    Ok(found)
}

fn tries_to_unwrap(Profile { imports, sessions, objects, .. }: &Profile) -> bool {
    imports.unwrap_secrets && sessions.pairs_made_in_session && objects.in_session
}

/// What the token may unwrap by itself: all that is not unpadded on the host.
fn tried(shared: &Shared) -> impl Iterator<Item = (KeyKind, WrappingAlgorithm, EncryptionAlgorithm)> {
    let oaep = |algorithm: WrappingAlgorithm| {
        algorithm.encryption().filter(|oaep| probe::decryption(shared, *oaep) != RsaDecryption::Bare)
    };
    secrets().filter_map(move |(kind, algorithm)| Some((kind, algorithm, oaep(algorithm)?)))
}

/// Forgets what the token unwraps by itself, if it did not unwrap everything: it may have been out of order.
pub(super) fn forget_refusals(shared: &Shared) {
    let mut known = shared.unwraps();
    if let Some(found) = &*known
        && tries_to_unwrap(&shared.profile)
        && !tried(shared).all(|(kind, _, oaep)| found.contains(&(kind, oaep)))
    {
        *known = None;
    }
}

/// Whether the token refused the call, for good, and was not just out of order.
fn is_verdict(error: &CryptokiError) -> bool {
    matches!(class(error), Class::Refused | Class::BadData | Class::Bug)
}

/// Whether material of the right length is unwrapped to what it is, and none of any other length.
fn unwraps(
    shared: &Shared,
    session: &Session,
    (wrapping, public): (ObjectHandle, &PublicKey),
    kind: KeyKind,
    algorithm: WrappingAlgorithm,
) -> Result<bool, Failure> {
    let Some(len) = kind.secret_len() else { return Ok(false) };
    for tried in [len, len - 1, len + 1, len - 8, len + 8] {
        let material = Secret::new(crypto::random_array::<128>().map_err(Error::from)?[..tried].to_vec());
        let Some(import) = trial(kind, algorithm, public, &material)? else { return Ok(false) };
        let right = match unwrap_secret(shared, session, wrapping, &import) {
            Ok(key) => {
                let right =
                    has_length(shared, session, key, kind)? && is_material(shared, session, key, kind, &material)?;
                session.destroy_object(key)?;
                right
            }
            Err(Failure::Call(error)) if is_verdict(&error) => false,
            Err(Failure::Final(Error::BadData | Error::IncorrectMaterial(_) | Error::Wrong(_))) => false,
            Err(failure) => return Err(failure),
        };
        if right != (tried == len) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the key computes what the host computes with the material. An AES key shows that by `CKM_AES_GCM` alone.
pub(super) fn is_material(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    kind: KeyKind,
    material: &Secret,
) -> Result<bool, Failure> {
    if let KeyKind::Mac(spec) = kind {
        let mac = private::mac(&shared.module, session, key, spec, LABEL)?;
        return Ok(crypto::verify_hmac(spec.algorithm(), material.expose(), LABEL, &mac));
    }
    let schemes = shared.schemes();
    let Ok(way) = schemes.way(Scheme::AesGcmHostIv) else { return Ok(false) };
    let key = WrappingKey { raw: &shared.module.raw, numbers: &shared.profile.mechanisms, session, handle: key };
    let (iv, seed) = (HostIv::random().map_err(Error::from)?, [9; mechanism::SEED_LEN]);
    let wrapped = mechanism::wrap(&key, way, &iv, LABEL, &seed)?;
    let opened = <[u8; crypto::KEY_LEN]>::try_from(material.expose())
        .ok()
        .and_then(|key| crypto::open(&key, iv.nonce(), LABEL, &wrapped[crypto::NONCE_LEN..]).ok());
    Ok(opened.is_some_and(|opened| opened.expose() == seed))
}

/// Tries one import of the kind on the token as it would be done, and says where it took place.
pub(super) fn try_import(
    shared: &Shared,
    session: &Session,
    wrapping: (ObjectHandle, &PublicKey),
    on_token: &HashSet<(KeyKind, EncryptionAlgorithm)>,
    kind: KeyKind,
    algorithm: WrappingAlgorithm,
) -> Result<Place, Failure> {
    let oaep = algorithm.encryption().ok_or(Error::Unfit(kind))?;
    if !algorithm.has_aes_key() && on_token.contains(&(kind, oaep)) {
        return Ok(Place::Token);
    }
    let material = match kind.pair() {
        Some(spec) => crypto::KeyPair::generate(spec).map_err(|_| Error::Unfit(kind))?.private_key,
        None => Secret::zeroed(kind.secret_len().unwrap_or_default()),
    };
    let import = trial(kind, algorithm, wrapping.1, &material)?.ok_or(Error::Unfit(kind))?;
    let decrypt = |how, rsa: &[u8]| Ok(private::decrypt(&shared.module, session, wrapping.0, how, rsa)?);
    let unwrapped = unwrap_on_host(shared, &import, decrypt)?;
    let (key, _) = create(shared, session, (&import.name, &import.of_key), kind, &unwrapped, shared.passing())?;
    session.destroy_object(key)?;
    Ok(Place::Host)
}

/// The kinds of material that are told apart when it is tried where they are unwrapped, with their names.
const MATERIALS: [(&str, KeyKind); 8] = [
    ("AES_256", KeyKind::Aes256),
    ("HMAC_224", KeyKind::Mac(HmacSpec::Hmac224)),
    ("HMAC_256", KeyKind::Mac(HmacSpec::Hmac256)),
    ("HMAC_384", KeyKind::Mac(HmacSpec::Hmac384)),
    ("HMAC_512", KeyKind::Mac(HmacSpec::Hmac512)),
    ("elliptic curve keys", KeyKind::Sign(KeyPairSpec::EccNistP256)),
    ("ECC_NIST_EDWARDS25519", KeyKind::Sign(KeyPairSpec::EccNistEdwards25519)),
    ("RSA keys", KeyKind::Sign(TRIED)),
];

/// Every material with every algorithm that can wrap it.
pub(super) fn trials() -> impl Iterator<Item = ((&'static str, KeyKind), WrappingAlgorithm)> {
    let fits = |kind: KeyKind, algorithm: WrappingAlgorithm| kind.modulus_len().is_none() || algorithm.has_aes_key();
    MATERIALS.into_iter().flat_map(move |material| {
        algorithms().filter(move |algorithm| fits(material.1, *algorithm)).map(move |algorithm| (material, algorithm))
    })
}

/// The algorithms that this service has.
fn algorithms() -> impl Iterator<Item = WrappingAlgorithm> {
    WrappingAlgorithm::ALL.iter().copied().filter(|algorithm| algorithm.encryption().is_some())
}

/// Every secret material with every algorithm that encrypts it as it is.
fn secrets() -> impl Iterator<Item = (KeyKind, WrappingAlgorithm)> {
    let secret = |(kind, algorithm): &(KeyKind, WrappingAlgorithm)| !kind.is_pair() && !algorithm.has_aes_key();
    trials().map(|((_, kind), algorithm)| (kind, algorithm)).filter(secret)
}

/// An import of `material` that the host has wrapped; `None` if that is too much for the algorithm.
fn trial(
    kind: KeyKind,
    algorithm: WrappingAlgorithm,
    public: &PublicKey,
    material: &Secret,
) -> Result<Option<Import>, Failure> {
    let Some(oaep) = algorithm.encryption() else { return Ok(None) };
    let mut aes_key = Secret::zeroed(crypto::KEY_LEN);
    crypto::random(aes_key.expose_mut()).map_err(Error::from)?;
    let encrypted = if algorithm.has_aes_key() {
        let parts = [crypto::oaep_encrypt(public, oaep, aes_key.expose()), crypto::aes_wrap(&aes_key, material)];
        parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat())
    } else {
        crypto::oaep_encrypt(public, oaep, material.expose())
    };
    let (name, wrapping) = (passing_name(Purpose::Imported), passing_name(Purpose::ImportWrapping));
    Ok(encrypted.map(|encrypted| Import {
        name,
        of_key: name.key_id,
        kind,
        wrapping,
        wrapping_spec: public.spec(),
        algorithm,
        encrypted,
        allow_host: true,
    }))
}

/// What the material is as attributes, with the public half of a pair.
fn numbers(kind: KeyKind, material: &Secret) -> Result<(Template, Option<PublicKey>), Error> {
    let Some(spec) = kind.pair() else {
        return match kind.secret_len() == Some(material.expose().len()) {
            true => Ok((Template(vec![Attribute::Value(material.expose().to_vec())]), None)),
            false => Err(Error::IncorrectMaterial(kind)),
        };
    };
    let (private, public) = PrivateKey::from_pkcs8(spec, material).map_err(|_| Error::IncorrectMaterial(kind))?;
    let attributes = match &private {
        PrivateKey::Scalar(scalar) => vec![Attribute::Value(scalar.expose().to_vec())],
        PrivateKey::Rsa(numbers) => {
            let [n, e, d, p, q, dp, dq, qinv] = numbers.each_ref().map(|number| number.expose().to_vec());
            vec![
                Attribute::Modulus(n),
                Attribute::PublicExponent(e),
                Attribute::PrivateExponent(d),
                Attribute::Prime1(p),
                Attribute::Prime2(q),
                Attribute::Exponent1(dp),
                Attribute::Exponent2(dq),
                Attribute::Coefficient(qinv),
            ]
        }
    };
    Ok((Template(attributes), Some(public)))
}

/// Uses the new key once; a pair whose halves do not work together was no such pair.
fn try_material(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    kind: KeyKind,
    public: Option<&PublicKey>,
) -> Result<(), Failure> {
    match public.map(|public| probe::try_pair(shared, session, key, kind, public)) {
        Some(Err(Failure::Final(Error::Wrong(_)))) => Err(Error::IncorrectMaterial(kind).into()),
        Some(tried) => tried,
        None => Ok(()),
    }
}

/// One `C_UnwrapKey` into the session: sensitive, and extractable so that its length can be found.
///
/// Fails with [`Error::BadData`] if it fails again after the same call went well with something that was wrapped right, while
/// nothing else fails: which costs two more.
fn unwrap_secret(
    shared: &Shared,
    session: &Session,
    wrapping: ObjectHandle,
    import: &Import,
) -> Result<ObjectHandle, Failure> {
    let oaep = import.encryption()?;
    let mechanism = Mechanism::RsaPkcsOaep(private::oaep_parameters(oaep)?);
    let mut template = object::import_template(&shared.profile, &import.name, import.kind, false, true);
    template.push(Attribute::Modifiable(true));
    let template = shared.profile.fit(template);
    let unwrap = |wrapped: &[u8]| session.unwrap_key(&mechanism, wrapping, wrapped, &template);
    match unwrap(&import.encrypted) {
        Err(error) if !is_lost(&error) => {
            let public = object::read_rsa(session, wrapping, import.wrapping_spec)?;
            let zeros = vec![0; import.kind.secret_len().unwrap_or_default()];
            let good = crypto::oaep_encrypt(&public, oaep, &zeros).ok_or(CryptokiError::InvalidValue)?;
            session.destroy_object(unwrap(&good)?)?;
            once_more(shared, session, || unwrap(&import.encrypted), Error::BadData)
        }
        unwrapped => Ok(unwrapped?),
    }
}

/// The second try of a call that failed, which only then says something about the material, namely `verdict`: unless its code
/// is one of the token's own failures, and other calls have failed a moment ago.
fn once_more<T>(
    shared: &Shared,
    session: &Session,
    again: impl FnOnce() -> Result<T, CryptokiError>,
    verdict: Error,
) -> Result<T, Failure> {
    match again() {
        Ok(done) => {
            // It was no fault of the material, then.
            shared.note_trouble();
            Ok(done)
        }
        Err(error) if is_lost(&error) => Err(error.into()),
        Err(error) if shared.is_in_trouble() && !is_verdict(&error) => Err(Error::Unavailable(reason(&error)).into()),
        Err(_) => object::require_login(session).and(Err(verdict.into())),
    }
}

fn is_lost(error: &CryptokiError) -> bool {
    matches!(class(error), Class::LoginLost | Class::DeviceGone)
}

/// Whether a secret key in the session, which is extractable, has the length of its kind.
///
/// A token that does not tell (SoftHSM after `C_UnwrapKey`) wraps it under a passing key, which shows the length up to the
/// next multiple of 8, and uses it, which it refuses for a key that is shorter. Whether a token does refuse that is tried
/// before this is relied on ([`unwrapped_on_token`]).
fn has_length(shared: &Shared, session: &Session, key: ObjectHandle, kind: KeyKind) -> Result<bool, Failure> {
    let Some(len) = kind.secret_len() else { return Ok(false) };
    match session.get_attributes(key, &[AttributeType::ValueLen])?.pop() {
        Some(Attribute::ValueLen(told)) if *told != 0 => Ok(usize::try_from(*told).ok() == Some(len)),
        _ => Ok(wraps_to(shared, session, key, len.next_multiple_of(8) + 8)? && is_usable(shared, session, key, kind)?),
    }
}

/// Whether the key, wrapped by `CKM_AES_KEY_WRAP`, has this length.
fn wraps_to(shared: &Shared, session: &Session, key: ObjectHandle, len: usize) -> Result<bool, Failure> {
    let passing = object::generate_passing_wrapper(session)?;
    let mut wrapped = vec![0; len];
    let result = shared.module.raw.wrap(session, &Mechanism::AesKeyWrap, passing, key, &mut wrapped);
    session.destroy_object(passing)?;
    match result {
        Ok(written) => Ok(written == len),
        Err(CryptokiError::Pkcs11(RvError::BufferTooSmall | RvError::KeySizeRange | RvError::DataLenRange, _)) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the token uses the key for what it is for; an outage says nothing about the key.
fn is_usable(shared: &Shared, session: &Session, key: ObjectHandle, kind: KeyKind) -> Result<bool, Failure> {
    let used = || match kind {
        KeyKind::Mac(spec) => private::mac(&shared.module, session, key, spec, LABEL),
        _ => encrypt_blocks(shared, session, key),
    };
    let tried = match used() {
        Err(CryptokiError::Pkcs11(_, Function::SignInit | Function::EncryptInit))
            if super::login::is_logged_in(session) =>
        {
            once_more(shared, session, used, Error::IncorrectMaterial(kind))
        }
        used => used.map_err(Failure::from),
    };
    match tried {
        Ok(_) => Ok(true),
        Err(Failure::Final(Error::IncorrectMaterial(_))) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// What tells whether two materials of a KMS key are the same.
///
/// Only its hash leaves this function. A secret key answers for a block (AES in ECB) or a message (HMAC) that is always the
/// same; a pair has its public half. The AES blocks end in counters near 2³², and a seed's wrapping never gets beyond the
/// third block: they are neither a counter block of AES-GCM with a 96-bit IV nor the zero block of its hash, so that no
/// keystream, tag or hash key of the envelope can be had from them (SP 800-38D §7.1). A caller's own HMAC of the label
/// tells him nothing: the hash is not secret.
pub(super) fn fingerprint(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    of_key: &KeyId,
    kind: KeyKind,
    public: Option<&PublicKey>,
) -> Result<[u8; 32], Failure> {
    let told = match (kind, public) {
        (_, Some(public)) => public.spki().to_vec(),
        (KeyKind::Mac(spec), None) => private::mac(&shared.module, session, key, spec, LABEL)?,
        (_, None) => encrypt_blocks(shared, session, key)?,
    };
    let told = Secret::new(told);
    Ok(crypto::sha256(&[LABEL, of_key.as_bytes(), told.expose()]))
}

/// Two blocks in AES-ECB, which are always the same.
fn encrypt_blocks(shared: &Shared, session: &Session, key: ObjectHandle) -> Result<Vec<u8>, CryptokiError> {
    let mut blocks = vec![0; BLOCKS.len()];
    let written = shared.module.raw.encrypt_plain(session, key, CKM_AES_ECB, &BLOCKS, &mut blocks)?;
    if written == blocks.len() { Ok(blocks) } else { Err(CryptokiError::InvalidValue) }
}

const LABEL: &[u8] = b"hsm-kms/fingerprint/v1";
/// Two AES blocks: 12 bytes of text and a counter, both times.
const BLOCKS: [u8; 32] = *b"hsm-kms/fp/1\xff\xff\xff\xfehsm-kms/fp/1\xff\xff\xff\xff";
/// The least that RFC 5649 wraps to: a block of 8 bytes and the integrity check.
const KWP_MIN: usize = 16;
/// The size that RSA is tried with, as larger keys take long to make.
const TRIED: KeyPairSpec = KeyPairSpec::Rsa2048;
