//! Key objects: made, searched, proved, listed, destroyed.

use std::num::NonZeroUsize;

use cryptoki::context::Function;
use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::error::{Error, Failure, not_logged_in};
use super::login::is_logged_in;
use super::sessions::Busy;
use super::{FoundObject, Objects};
use crate::crypto::KEY_LEN;
use crate::model::ObjectName;

/// Makes an AES-256 key for wrapping seeds and nothing else, which stays on the token.
///
/// `modifiable` only where session copies are wanted: SoftHSM makes none of an object that is not. Even then, PKCS#11
/// allows nobody to make it extractable or not sensitive again.
pub(super) fn generate(session: &Session, name: &ObjectName, modifiable: bool) -> Result<ObjectHandle, CryptokiError> {
    let mut template = template(name, true);
    template.push(Attribute::Modifiable(modifiable));
    session.generate_key(&Mechanism::AesKeyGen, &template)
}

/// A session copy of a token key: as secret as the key, gone with the session, and on SoftHSM twice as fast.
pub(super) fn copy_to_session(session: &Session, key: ObjectHandle) -> Result<ObjectHandle, CryptokiError> {
    session.copy_object(key, &[Attribute::Token(false)])
}

/// The token object with the `CKA_ID` of `name`, not yet proved; `None` only if the session was logged in throughout.
pub(super) fn find(session: &Session, name: &ObjectName) -> Result<Option<ObjectHandle>, Failure> {
    // Session copies have the same CKA_ID; the class is left to the proof, so that an intruder of another class shows.
    let found = session.find_objects(&[Attribute::Token(true), Attribute::Id(name.cka_id().to_vec())])?;
    match found[..] {
        [object] => Ok(Some(object)),
        [] => require_login(session).map(|()| None),
        _ => Err(Error::Ambiguous { name: *name, count: found.len() }.into()),
    }
}

/// Proves that `object` is the key that `name` stands for, made here, secret, and for wrapping seeds only.
///
/// Fails with [`Error::NotProven`], which says which attribute is wrong.
pub(super) fn prove(session: &Session, object: ObjectHandle, name: &ObjectName, token: bool) -> Result<(), Failure> {
    let wanted = proof(name, token);
    let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    let found = session.get_attributes(object, &types)?;
    match first_difference(name, &wanted, &found) {
        None => Ok(()),
        // A session that lost its login sees no attributes: that is an outage and proves nothing.
        Some(error) => require_login(session).and(Err(error.into())),
    }
}

/// Proves only what makes an object safe to destroy: that it is the secret key called `name`.
pub(super) fn prove_name(session: &Session, object: ObjectHandle, name: &ObjectName) -> Result<(), Failure> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Label(name.cka_label().into_bytes()),
        Attribute::Id(name.cka_id().to_vec()),
    ];
    let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    let found = session.get_attributes(object, &types)?;
    match first_difference(name, &wanted, &found) {
        None => Ok(()),
        Some(error) => require_login(session).and(Err(error.into())),
    }
}

/// All token objects whose label is ours, and how many others there are.
pub(super) fn list(session: &Session, busy: &Busy) -> Result<Objects, Failure> {
    let (ours, foreign): (Vec<_>, Vec<_>) = scan(session, busy)?
        .into_iter()
        .map(|(_, found)| found)
        .partition(|found| found.label.starts_with(LABEL_PREFIX));
    Ok(Objects { ours, foreign: foreign.len() })
}

/// All token objects; complete only because the session was logged in throughout.
pub(super) fn scan(session: &Session, busy: &Busy) -> Result<Vec<(ObjectHandle, FoundObject)>, Failure> {
    let mut found = Vec::new();
    for handle in session.iter_objects_with_cache_size(&[Attribute::Token(true)], HANDLES_PER_CALL)? {
        busy.renew();
        found.push(handle?);
    }
    let describe = |handle| {
        busy.renew();
        Ok((handle, describe(session, handle)?))
    };
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

/// The template of a key; `token` is false for the self-test's session objects.
pub(super) fn template(name: &ObjectName, token: bool) -> Vec<Attribute> {
    let len = u32::try_from(KEY_LEN).unwrap_or(0);
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(u64::from(len).into()),
        Attribute::Id(name.cka_id().to_vec()),
        Attribute::Label(name.cka_label().into_bytes()),
        Attribute::Token(token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Copyable(true),
        Attribute::Destroyable(true),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
    ]
}

/// What a key made here must show before its first use.
fn proof(name: &ObjectName, token: bool) -> Vec<Attribute> {
    // Whether an object may be copied or destroyed says nothing about its secrecy, and some tokens do not tell.
    let tells_secrecy =
        |attribute: &Attribute| !matches!(attribute, Attribute::Copyable(_) | Attribute::Destroyable(_));
    let made = [Attribute::Local(true), Attribute::NeverExtractable(true), Attribute::AlwaysSensitive(true)];
    template(name, token).into_iter().filter(tells_secrecy).chain(made).collect()
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
        | Attribute::Sign(yes)
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
        AttributeType::Sign => "CKA_SIGN",
        AttributeType::Verify => "CKA_VERIFY",
        AttributeType::Local => "CKA_LOCAL",
        AttributeType::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
        AttributeType::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
        _ => "attribute",
    }
}

const LABEL_PREFIX: &str = "hsm-kms/";
/// Handles that one `C_FindObjects` may bring: a round trip each on a network HSM.
const HANDLES_PER_CALL: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
