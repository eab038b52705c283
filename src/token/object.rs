//! Key objects: made, read, searched, proved, listed, destroyed.

use cryptoki::context::Function;
use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki_sys::CK_KEY_TYPE;

use super::error::{Class, Error, Failure, class, not_logged_in, reason};
use super::kind::{KEY_TYPE, KeyKind, OID_ED25519};
use super::login::is_logged_in;
use super::probe::{PASSING_PURPOSES, passing_name};
use super::profile::Profile;
use super::session::Session;
use super::sessions::Shared;
use super::{FoundObject, Objects};
use crate::crypto::PublicKey;
use crate::model::{KeyPairSpec, ObjectName};

/// Makes a key of this kind, which stays on the token (or in the session, if not `token`), and returns the public half
/// of a pair.
///
/// The public half is no token object where there are others: it is read once and kept by the caller, so that one `CKA_ID`
/// is one object, whenever this is interrupted. A YubiHSM has both halves as one object, and destroying the public one does
/// nothing there.
///
/// `modifiable` only where copies are wanted: SoftHSM makes none of an object that is not. Even then, PKCS#11 allows
/// nobody to make it extractable or not sensitive again.
pub(super) fn generate(
    profile: &Profile,
    session: &Session,
    name: &ObjectName,
    kind: KeyKind,
    token: bool,
    modifiable: bool,
) -> Result<(ObjectHandle, Option<PublicKey>), CryptokiError> {
    let mut template = template(profile, name, kind, token);
    template.push(Attribute::Modifiable(modifiable));
    generate_by(profile, session, kind, &profile.fit(template), !profile.objects.in_session)
}

/// As [`generate`], in the session alone, and extractable: sensitive, so that it leaves the token wrapped or not at all.
pub(super) fn generate_extractable(
    profile: &Profile,
    session: &Session,
    name: &ObjectName,
    kind: KeyKind,
) -> Result<(ObjectHandle, Option<PublicKey>), CryptokiError> {
    let mut template = template(profile, name, kind, false);
    template.retain(|attribute| !matches!(attribute, Attribute::Extractable(_)));
    template.extend([Attribute::Extractable(true), Attribute::Modifiable(true)]);
    generate_by(profile, session, kind, &profile.fit(template), false)
}

fn generate_by(
    profile: &Profile,
    session: &Session,
    kind: KeyKind,
    template: &[Attribute],
    public_on_token: bool,
) -> Result<(ObjectHandle, Option<PublicKey>), CryptokiError> {
    let generation = kind.generation(&profile.hmac)?;
    let Some(spec) = kind.pair() else {
        return Ok((session.generate_key(&generation, template)?, None));
    };
    let public_template = profile.fit_public(kind.public_template(public_on_token));
    let (public, private) = session.generate_key_pair(&generation, &public_template, template)?;
    let read = read_public(session, public, spec);
    session.destroy_object(public)?;
    match read {
        Ok(public) => Ok((private, Some(public))),
        Err(error) => {
            session.destroy_object(private)?;
            Err(error)
        }
    }
}

/// The public numbers of an RSA key, which its private object has, too.
pub(super) fn read_rsa(session: &Session, key: ObjectHandle, spec: KeyPairSpec) -> Result<PublicKey, CryptokiError> {
    let found = session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent])?;
    match <[Attribute; 2]>::try_from(found) {
        Ok([Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)]) => {
            PublicKey::from_rsa(spec, &modulus, &exponent).map_err(|_| CryptokiError::InvalidValue)
        }
        _ => Err(CryptokiError::InvalidValue),
    }
}

/// A token object that is a copy of a key in the session, and is not extractable.
pub(super) fn copy_to_token(
    session: &Session,
    key: ObjectHandle,
    modifiable: bool,
) -> Result<ObjectHandle, CryptokiError> {
    let mut changes = vec![Attribute::Token(true)];
    // SoftHSM refuses to say again what is so.
    if session.get_attributes(key, &[AttributeType::Extractable])? != [Attribute::Extractable(false)] {
        changes.push(Attribute::Extractable(false));
    }
    // The last: SoftHSM changes nothing more in a copy that is not modifiable.
    changes.push(Attribute::Modifiable(modifiable));
    session.copy_object(key, &changes)
}

/// Whether token objects of this kind are made modifiable, because they are copied to sessions. What is tried is made so,
/// too: a token may refuse one of both.
pub(super) fn modifiable(profile: &Profile, kind: KeyKind) -> bool {
    profile.sessions.session_copies && !kind.is_pair()
}

/// The template of a key whose value is not made by the token. `extractable` is for session objects alone.
pub(super) fn import_template(
    profile: &Profile,
    name: &ObjectName,
    kind: KeyKind,
    token: bool,
    extractable: bool,
) -> Vec<Attribute> {
    let mut template = template(profile, name, kind, token);
    // The value has its length.
    template.retain(|attribute| !matches!(attribute, Attribute::ValueLen(_) | Attribute::Extractable(_)));
    template.push(Attribute::Extractable(extractable && !token));
    template
}

/// An AES key in the session that wraps other keys, whose wrapped form nobody can unwrap again.
pub(super) fn generate_passing_wrapper(session: &Session) -> Result<ObjectHandle, CryptokiError> {
    generate_wrapper(session, false)
}

/// An AES key in the session that wraps other keys, and is itself to be wrapped.
pub(super) fn generate_passing_key(session: &Session) -> Result<ObjectHandle, CryptokiError> {
    generate_wrapper(session, true)
}

/// The public half of a replication key, in the session, for wrapping alone.
pub(super) fn create_wrapping_public(
    profile: &Profile,
    session: &Session,
    public: &PublicKey,
) -> Result<ObjectHandle, CryptokiError> {
    let (modulus, exponent) = public.rsa_numbers().ok_or(CryptokiError::InvalidValue)?;
    session.create_object(&profile.fit_public(vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Modulus(modulus.to_vec()),
        Attribute::PublicExponent(exponent.to_vec()),
        Attribute::Wrap(true),
        Attribute::Encrypt(false),
        Attribute::Verify(false),
    ]))
}

fn generate_wrapper(session: &Session, extractable: bool) -> Result<ObjectHandle, CryptokiError> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Wrap(true),
        Attribute::Unwrap(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template)
}

/// A session copy of a token key: as secret as the key, gone with the session, and on SoftHSM twice as fast.
pub(super) fn copy_to_session(session: &Session, key: ObjectHandle) -> Result<ObjectHandle, CryptokiError> {
    session.copy_object(key, &[Attribute::Token(false)])
}

/// The token object with the mark of `name`, not yet proved; `None` only if the session was logged in throughout.
pub(super) fn find(profile: &Profile, session: &Session, name: &ObjectName) -> Result<Option<ObjectHandle>, Failure> {
    // Session copies have the same mark; the class is left to the proof, so that an intruder of another class shows.
    let mut found = session.find_objects(&[Attribute::Token(true), profile.mark(name)])?;
    if found.len() > 1 && !profile.objects.in_session {
        found = without_public_halves(session, found)?;
    }
    match found[..] {
        [object] => Ok(Some(object)),
        [] => require_login(session).map(|()| None),
        _ => Err(Error::Ambiguous { name: *name, count: found.len() }.into()),
    }
}

/// A pair that is one object has the same mark twice.
fn without_public_halves(session: &Session, found: Vec<ObjectHandle>) -> Result<Vec<ObjectHandle>, CryptokiError> {
    let mut others = Vec::new();
    for object in found {
        if session.get_attributes(object, &[AttributeType::Class])? != [Attribute::Class(ObjectClass::PUBLIC_KEY)] {
            others.push(object);
        }
    }
    Ok(others)
}

/// Token objects that were made to be tried, because there are no session objects, and outlived that: the process was killed
/// before it destroyed them, or the connection was lost, or the user may not.
pub(super) fn find_passing(profile: &Profile, session: &Session) -> Result<Vec<ObjectHandle>, Failure> {
    let mut found = Vec::new();
    if profile.objects.in_session {
        return Ok(found);
    }
    for purpose in PASSING_PURPOSES {
        let label = Attribute::Label(profile.label(&passing_name(purpose)).into_bytes());
        found.extend(session.find_objects(&[Attribute::Token(true), label])?);
    }
    Ok(without_public_halves(session, found)?)
}

/// Destroys what was made to be tried and has stayed. Fails with [`Error::Full`] if too much of it cannot be destroyed.
pub(super) fn clear_passing(profile: &Profile, session: &Session) -> Result<(), Failure> {
    let mut left = 0;
    for object in find_passing(profile, session)? {
        match session.destroy_object(object) {
            Ok(()) => {}
            Err(error) if matches!(class(&error), Class::LoginLost | Class::DeviceGone) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(reason = reason(&error), "a key that was made to be tried cannot be destroyed");
                left += 1;
            }
        }
    }
    refuse_to_pile_up(left)
}

/// Fails with [`Error::Full`] if so many keys that were tried are left on the token.
pub(super) fn refuse_to_pile_up(left: usize) -> Result<(), Failure> {
    if left < PASSING_MAX {
        return Ok(());
    }
    Err(Error::Full(format!("{left} keys that were made to be tried are left on it, and cannot be destroyed")).into())
}

/// Proves that `object` is the key that `name` stands for, of this kind and for nothing else, made here, and secret.
///
/// Fails with [`Error::NotProven`], which says which attribute is wrong.
pub(super) fn prove(
    shared: &Shared,
    session: &Session,
    object: ObjectHandle,
    name: &ObjectName,
    kind: KeyKind,
    token: bool,
) -> Result<(), Failure> {
    let profile = &shared.profile;
    let mut wanted = proof(profile, name, kind, token);
    wanted.retain(|attribute| !profile.omits(attribute.attribute_type()) && attribute.attribute_type() != KEY_TYPE);
    require(session, object, name, &wanted)?;
    if let Some(wanted) = kind.own_type(&profile.hmac) {
        prove_type(shared, session, object, name, wanted)?;
    }
    match (kind.modulus_len(), kind.secret_len()) {
        (Some(len), _) => prove_modulus(session, object, name, len),
        (None, Some(len)) if !name.purpose.is_made_in_place() => prove_length(session, object, name, len),
        _ => Ok(()),
    }
}

/// The type of a key for HMAC where that is its hash's own.
fn prove_type(
    shared: &Shared,
    session: &Session,
    object: ObjectHandle,
    name: &ObjectName,
    wanted: CK_KEY_TYPE,
) -> Result<(), Failure> {
    let found = shared.module.raw.key_type(session, object)?;
    if found == wanted {
        return Ok(());
    }
    let (wanted, found) = (format!("number {wanted}"), format!("number {found}"));
    Err(Error::NotProven { name: *name, attribute: "CKA_KEY_TYPE", wanted, found }.into())
}

/// The length of a key that was unwrapped, where the token tells it: SoftHSM tells 0 after `C_UnwrapKey`, and the length was
/// proved then, or follows from what was wrapped.
fn prove_length(session: &Session, object: ObjectHandle, name: &ObjectName, len: usize) -> Result<(), Failure> {
    let told = match session.get_attributes(object, &[AttributeType::ValueLen])?.pop() {
        Some(Attribute::ValueLen(told)) => usize::try_from(*told).unwrap_or(usize::MAX),
        _ => 0,
    };
    if told == 0 || told == len {
        return Ok(());
    }
    let (wanted, found) = (len.to_string(), told.to_string());
    Err(Error::NotProven { name: *name, attribute: "CKA_VALUE_LEN", wanted, found }.into())
}

/// Proves only what makes an object safe to destroy: that it is the secret or private key called `name`.
pub(super) fn prove_name(
    profile: &Profile,
    session: &Session,
    object: ObjectHandle,
    name: &ObjectName,
) -> Result<(), Failure> {
    let private =
        session.get_attributes(object, &[AttributeType::Class])? == [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let mut wanted = profile.marks(name);
    wanted.push(Attribute::Class(if private { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY }));
    require(session, object, name, &wanted)
}

fn require(session: &Session, object: ObjectHandle, name: &ObjectName, wanted: &[Attribute]) -> Result<(), Failure> {
    let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    let found: Vec<Attribute> = session.get_attributes(object, &types)?.into_iter().map(in_standard_form).collect();
    match first_difference(name, wanted, &found) {
        None => Ok(()),
        // A session that lost its login sees no attributes: that is an outage and proves nothing.
        Some(error) => require_login(session).and(Err(error.into())),
    }
}

/// SoftHSM names the curve of an Ed25519 key by a word, however it was named to it (PKCS#11 v3.0 §2.3.10 has both).
fn in_standard_form(attribute: Attribute) -> Attribute {
    match attribute {
        Attribute::EcParams(params) if params == ED25519_WORD => Attribute::EcParams(OID_ED25519.to_vec()),
        other => other,
    }
}

fn prove_modulus(session: &Session, object: ObjectHandle, name: &ObjectName, len: usize) -> Result<(), Failure> {
    let bits = match session.get_attributes(object, &[AttributeType::Modulus])?.pop() {
        Some(Attribute::Modulus(modulus)) => bits(&modulus),
        _ => 0,
    };
    if bits == len * 8 {
        return Ok(());
    }
    let (wanted, found) = (format!("{} bits long", len * 8), format!("{bits} bits long"));
    require_login(session).and(Err(Error::NotProven { name: *name, attribute: "CKA_MODULUS", wanted, found }.into()))
}

/// Bits in a number, big endian; leading zeros are none.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].first().map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// The public half of a new pair, from its object.
fn read_public(session: &Session, public: ObjectHandle, spec: KeyPairSpec) -> Result<PublicKey, CryptokiError> {
    if spec.modulus_len().is_some() {
        return read_rsa(session, public, spec);
    }
    if spec.is_lattice() {
        return match session.get_attributes(public, &[AttributeType::Value])?.pop() {
            Some(Attribute::Value(raw)) => PublicKey::from_lattice(spec, &raw).map_err(|_| CryptokiError::InvalidValue),
            _ => Err(CryptokiError::InvalidValue),
        };
    }
    let len = spec.coordinate_len().map_or(ED25519_POINT_LEN, |width| 1 + 2 * width);
    let point = read_point(session, public, len)?;
    PublicKey::from_point(spec, &point).map_err(|_| CryptokiError::InvalidValue)
}

/// `CKA_EC_POINT`: the standard wants a DER OCTET STRING, and some tokens give the bare point.
fn read_point(session: &Session, public: ObjectHandle, len: usize) -> Result<Vec<u8>, CryptokiError> {
    let Some(Attribute::EcPoint(told)) = session.get_attributes(public, &[AttributeType::EcPoint])?.pop() else {
        return Err(CryptokiError::InvalidValue);
    };
    let point = match told.len().checked_sub(len) {
        Some(0) => Some(&told[..]),
        Some(2) => told.strip_prefix(&[OCTET_STRING, len.to_le_bytes()[0]]),
        // A length from 128 on has one more byte before it.
        Some(3) => told.strip_prefix(&[OCTET_STRING, 0x81, len.to_le_bytes()[0]]),
        _ => None,
    };
    point.map(<[u8]>::to_vec).ok_or(CryptokiError::InvalidValue)
}

/// All token objects whose label is ours, and how many others there are.
pub(super) fn list(profile: &Profile, session: &Session) -> Result<Objects, Failure> {
    let (ours, foreign): (Vec<_>, Vec<_>) = scan(profile, session)?
        .into_iter()
        .map(|(_, found)| found)
        .partition(|found| found.label.starts_with(LABEL_PREFIX));
    Ok(Objects { ours, foreign: foreign.len() })
}

/// All token objects; complete only because the session was logged in throughout.
pub(super) fn scan(profile: &Profile, session: &Session) -> Result<Vec<(ObjectHandle, FoundObject)>, Failure> {
    let mut found = session.find_objects(&[Attribute::Token(true)])?;
    if !profile.objects.in_session {
        found = without_public_halves(session, found)?;
    }
    let describe = |handle| Ok((handle, describe(session, handle)?));
    let found = found.into_iter().map(describe).collect::<Result<_, Failure>>()?;
    require_login(session)?;
    Ok(found)
}

/// Fails as a lost login does, unless the session is logged in now.
///
/// A session that has lost its login answers searches with "nothing there", and that must never be taken for a fact.
pub(super) fn require_login(session: &Session) -> Result<(), Failure> {
    if is_logged_in(session) { Ok(()) } else { Err(not_logged_in(Function::FindObjects).into()) }
}

/// The template of a secret or private key; `token` is false for session objects.
fn template(profile: &Profile, name: &ObjectName, kind: KeyKind, token: bool) -> Vec<Attribute> {
    let mut template = kind.type_attributes(&profile.hmac);
    template.extend(profile.marks(name));
    template.extend([
        Attribute::Token(token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Copyable(true),
        Attribute::Destroyable(true),
    ]);
    template.extend(kind.use_attributes());
    template
}

/// What a key must show before its first use. One that was made here was never anywhere else; one that was imported, or is
/// of a multi-Region key, says that it was, and is otherwise the same.
fn proof(profile: &Profile, name: &ObjectName, kind: KeyKind, token: bool) -> Vec<Attribute> {
    // Whether an object may be copied or destroyed says nothing about its secrecy, and some tokens do not tell.
    let tells_secrecy =
        |attribute: &Attribute| !matches!(attribute, Attribute::Copyable(_) | Attribute::Destroyable(_));
    let here = name.purpose.is_made_in_place();
    // Of what was made elsewhere, openCryptoki says that it was never extractable; nothing hangs on that.
    let made = match here {
        true => vec![Attribute::Local(true), Attribute::NeverExtractable(true), Attribute::AlwaysSensitive(true)],
        false => vec![Attribute::Local(false)],
    };
    let has_length = |attribute: &Attribute| here || !matches!(attribute, Attribute::ValueLen(_));
    let template = template(profile, name, kind, token).into_iter().filter(tells_secrecy).filter(has_length);
    template.chain(kind.curve_attribute()).chain(made).collect()
}

fn first_difference(name: &ObjectName, wanted: &[Attribute], found: &[Attribute]) -> Option<Error> {
    let found_of = |kind| found.iter().find(|attribute| attribute.attribute_type() == kind);
    let wrong = wanted.iter().find(|wanted| found_of(wanted.attribute_type()) != Some(wanted))?;
    Some(Error::NotProven {
        name: *name,
        attribute: pkcs11_name(wrong.attribute_type()),
        wanted: plainly(wrong),
        found: found_of(wrong.attribute_type()).map_or_else(|| "not told".to_owned(), plainly),
    })
}

fn describe(session: &Session, object: ObjectHandle) -> Result<FoundObject, Failure> {
    let attributes = session.get_attributes(object, &[AttributeType::Label, AttributeType::Id])?;
    let mut found = FoundObject { cka_id: Vec::new(), label: String::new() };
    for attribute in attributes {
        match attribute {
            Attribute::Label(label) => found.label = String::from_utf8_lossy(&label).into_owned(),
            Attribute::Id(id) => found.cka_id = id,
            _ => {}
        }
    }
    Ok(found)
}

fn plainly(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Class(class) => class.to_string(),
        Attribute::KeyType(kind) => kind.to_string(),
        Attribute::ValueLen(len) => len.to_string(),
        Attribute::Id(id) => hex::encode(id),
        Attribute::EcParams(params) => hex::encode(params),
        Attribute::ParameterSet(set) => format!("number {}", u64::from(**set)),
        Attribute::Label(label) => format!("`{}`", String::from_utf8_lossy(label).escape_debug()),
        Attribute::Token(yes)
        | Attribute::Private(yes)
        | Attribute::Sensitive(yes)
        | Attribute::Extractable(yes)
        | Attribute::Encrypt(yes)
        | Attribute::Decrypt(yes)
        | Attribute::Wrap(yes)
        | Attribute::Unwrap(yes)
        | Attribute::Derive(yes)
        | Attribute::Decapsulate(yes)
        | Attribute::Sign(yes)
        | Attribute::SignRecover(yes)
        | Attribute::Verify(yes)
        | Attribute::Local(yes)
        | Attribute::NeverExtractable(yes)
        | Attribute::AlwaysSensitive(yes) => yes.to_string(),
        _ => "something else".to_owned(),
    }
}

fn pkcs11_name(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::Class => "CKA_CLASS",
        AttributeType::KeyType => "CKA_KEY_TYPE",
        AttributeType::ValueLen => "CKA_VALUE_LEN",
        AttributeType::Id => "CKA_ID",
        AttributeType::Label => "CKA_LABEL",
        AttributeType::Token => "CKA_TOKEN",
        AttributeType::Private => "CKA_PRIVATE",
        AttributeType::Sensitive => "CKA_SENSITIVE",
        AttributeType::Extractable => "CKA_EXTRACTABLE",
        AttributeType::Encrypt => "CKA_ENCRYPT",
        AttributeType::Decrypt => "CKA_DECRYPT",
        AttributeType::Wrap => "CKA_WRAP",
        AttributeType::Unwrap => "CKA_UNWRAP",
        AttributeType::Derive => "CKA_DERIVE",
        AttributeType::Decapsulate => "CKA_DECAPSULATE",
        AttributeType::EcParams => "CKA_EC_PARAMS",
        AttributeType::ParameterSet => "CKA_PARAMETER_SET",
        AttributeType::Sign => "CKA_SIGN",
        AttributeType::SignRecover => "CKA_SIGN_RECOVER",
        AttributeType::Verify => "CKA_VERIFY",
        AttributeType::Local => "CKA_LOCAL",
        AttributeType::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
        AttributeType::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
        _ => "attribute",
    }
}

/// The tag of a DER OCTET STRING (X.690 §8.7).
const OCTET_STRING: u8 = 0x04;
/// `edwards25519` as a DER PrintableString.
const ED25519_WORD: &[u8] = b"\x13\x0cedwards25519";
/// RFC 8032 §5.1.5
const ED25519_POINT_LEN: usize = 32;
const LABEL_PREFIX: &str = "hsm-kms/";
/// Keys that may be left of trials: more workers than one may be trying some.
const PASSING_MAX: usize = 8;
