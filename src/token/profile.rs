//! What is particular about a vendor's token, as data.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cryptoki::error::RvError;
use cryptoki::object::{Attribute, AttributeType};
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_MECHANISM_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::FoundObject;
use super::error::Error;
use super::mechanism::Scheme;
use super::module::Lease;
use crate::crypto;
use crate::model::{HmacSpec, ObjectName};

/// How one vendor's tokens are used.
///
/// Built in are the profiles in `hsm-config/`; a file named in the settings replaces them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// The version of this format: 1.
    pub schema: u32,
    /// The vendor's folder in `hsm-config/`.
    pub name: String,
    /// How seeds are wrapped under new materials: the first of these that the token does.
    pub schemes: Vec<Scheme>,
    #[serde(rename = "match", default)]
    matching: Matching,
    /// Numbers of mechanisms on which vendors differ.
    #[serde(default)]
    pub mechanisms: Mechanisms,
    /// How the library is initialised, and what the PIN looks like.
    #[serde(default)]
    pub login: Login,
    /// What objects can be, and how they are called.
    #[serde(default)]
    pub objects: Objects,
    /// Worker threads and what they may do with keys.
    #[serde(default)]
    pub sessions: Sessions,
    /// What is particular about RSA.
    #[serde(default)]
    pub rsa: Rsa,
    /// What is particular about keys for HMAC.
    #[serde(default)]
    pub hmac: Hmac,
    /// What is particular about imports.
    #[serde(default)]
    pub imports: Imports,
    /// What return codes mean here.
    #[serde(default)]
    pub errors: Errors,
    /// What the token's files need.
    #[serde(default)]
    pub files: Files,
    /// How long a call may take.
    #[serde(default)]
    pub limits: Limits,
}

/// Numbers of mechanisms on which vendors differ.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mechanisms {
    /// The GCM that puts its IV before the ciphertext, for the scheme `aes_gcm_prepended_iv`.
    pub gcm_prepended_iv: CK_MECHANISM_TYPE,
    /// RFC 5649 by `C_Encrypt`, for the scheme `aes_kwp`.
    pub aes_kwp: CK_MECHANISM_TYPE,
}

/// How the library is initialised, and what the PIN looks like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Login {
    /// What `C_Initialize` gets in `pReserved`, if it is not empty.
    pub initialize: String,
    /// What a PIN looks like; one that does not is refused before the token sees it.
    pub pin: PinShape,
}

/// What a PIN looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PinShape {
    /// Anything.
    #[default]
    Any,
    /// `user:password`
    UserAndPassword,
    /// Four hexadecimal digits of an authentication key's id and its password, without anything between.
    HexIdAndPassword,
}

/// What objects can be, and how they are called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Objects {
    /// Whether there are session objects. Without them, keys that are tried are token objects for that long.
    pub in_session: bool,
    /// By what an object is found.
    pub found_by: Mark,
    /// Attributes that the token does not take in a template, without `CKA_` and in lower case; what a key is for is said all
    /// the same. They are not proved.
    #[serde(deserialize_with = "attribute_types")]
    pub omit: Vec<AttributeType>,
    /// Attributes that the token does not take in the template of a public key as they are meant: `private`, which is false,
    /// where the token has it true or nothing. A public key is read by who is logged in, and is a secret nowhere.
    #[serde(deserialize_with = "public_attribute_types")]
    pub omit_public: Vec<AttributeType>,
    /// Attributes that the vendor wants in the template of every key.
    pub add: Vec<VendorAttribute>,
}

/// By what an object is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// `CKA_ID` of 20 bytes.
    #[default]
    Id,
    /// `CKA_LABEL` of 40 bytes, where `CKA_ID` is too short for all keys: `hsm-kms/` and 32 characters of a hash.
    ShortLabel,
}

/// One attribute that only this vendor has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VendorAttribute {
    /// From 0x80000000.
    pub number: CK_ATTRIBUTE_TYPE,
    /// Its bytes, in hexadecimal digits.
    #[serde(deserialize_with = "hex_bytes")]
    pub value: Vec<u8>,
}

/// Worker threads and what they may do with keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sessions {
    /// Sessions that may be open at once, if the token itself does not tell or tells more: 0 for no limit.
    pub max: u64,
    /// Threads for wrapping, unwrapping and random bytes: 1 or more.
    pub fast_workers: usize,
    /// Threads for what private keys do, which takes up to ten milliseconds: 1 or more.
    pub private_workers: usize,
    /// Threads for destroying, importing, listing, and generating secret keys: 1 or more.
    pub slow_workers: usize,
    /// Threads for generating key pairs and trying what the token can do, which takes seconds: 1 or more.
    pub making_workers: usize,
    /// Whether each fast worker uses a session copy of a key instead of the token object.
    pub session_copies: bool,
    /// Whether a key pair is made in the session and then copied to the token, so that others need not wait for it where
    /// `objects_one_at_a_time` is set.
    pub pairs_made_in_session: bool,
    /// Whether one thread at a time may search, make or destroy token objects.
    pub objects_one_at_a_time: bool,
}

/// What is particular about RSA.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rsa {
    /// Where the padding of OAEP with SHA-256 is taken off.
    pub oaep_sha256: Unpadding,
}

/// What is particular about keys for HMAC.
///
/// Source: PKCS#11 v3.0, current mechanisms §2.8, which allows either type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hmac {
    /// Whether their type is that of their hash, `CKK_SHA256_HMAC` and so on, as the token has no `CKK_GENERIC_SECRET` for
    /// HMAC.
    pub own_types: bool,
    /// The vendor's mechanisms that make them; `CKM_GENERIC_SECRET_KEY_GEN` if there are none.
    pub generation: Option<HmacGeneration>,
    /// Whether keys of their own types have `CKA_VALUE_LEN`.
    pub has_length: bool,
}

/// The vendor's mechanisms that make keys for HMAC: numbers from 0x80000000.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HmacGeneration {
    sha_224: CK_MECHANISM_TYPE,
    sha_256: CK_MECHANISM_TYPE,
    sha_384: CK_MECHANISM_TYPE,
    sha_512: CK_MECHANISM_TYPE,
}

/// What is particular about imports.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Imports {
    /// Whether it is tried that the token unwraps AES and HMAC keys by itself: into a session object, whose length is
    /// found without reading it, and which is then copied to the token. It needs `pairs_made_in_session`.
    pub unwrap_secrets: bool,
}

/// Where a padding is taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unpadding {
    /// On the token.
    #[default]
    Token,
    /// On the host, after `CKM_RSA_X_509` on the token: the padded plaintext is in the host's memory.
    Host,
}

/// What return codes mean here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Errors {
    /// The codes by which this token may tell a wrong tag, without `CKR_`: `GeneralError`, `FunctionFailed`,
    /// `EncryptedDataInvalid`, `EncryptedDataLenRange`, and where it is listed `DeviceError`. But for the two that say so,
    /// the key must do its work in the next call, or it was the token that failed.
    pub auth_failure: Vec<String>,
}

/// What the token's files need.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Files {
    /// Whether SoftHSM's files are synced after every change.
    pub sync_files: bool,
    /// Whether SoftHSM's `token.object` is copied before every login.
    pub keep_token_object_copy: bool,
}

/// How long a call may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Seconds in one call until its worker is written off: 1 or more, like all that follow.
    pub call_seconds: u64,
    /// Seconds in one key generation until its worker is written off.
    pub generation_seconds: u64,
    /// Seconds without a single worker until the process should end itself.
    pub hopeless_seconds: u64,
    /// Random bytes that one call gives.
    pub random_bytes: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Matching {
    /// How the library's manufacturer may begin; without any it matches none.
    manufacturer: Vec<String>,
    /// The library's versions, `major.minor`; empty matches all.
    library: Vec<String>,
}

impl Profile {
    /// The profile in the file `path`, or the built-in one of that name.
    pub fn read(path: &Path) -> Result<Profile, Error> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| path == Path::new(name)) {
            return Profile::parse(text, name);
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Profile { origin: path.display().to_string(), reason: error.to_string() })?;
        Profile::parse(&text, &path.display().to_string())
    }

    /// The built-in profile for a library, else the cautious `generic` one.
    pub fn matching(manufacturer: &str, library: &str) -> Result<Profile, Error> {
        for (name, text) in BUILT_IN {
            let profile = Profile::parse(text, name)?;
            if profile.matching.fits(manufacturer, library) {
                return Ok(profile);
            }
        }
        Profile::read(Path::new("generic"))
    }

    /// Loads the module at `path`, and reads the profile that is named or else matches it.
    pub fn take_module(path: &Path, named: Option<&Path>) -> Result<(Lease, Profile), Error> {
        let named = named.map(Profile::read).transpose()?;
        let reserved = named.as_ref().map_or("", |profile| &profile.login.initialize);
        let lease = Lease::take(path, reserved)?;
        let profile = match named {
            Some(profile) => profile,
            None => {
                let info = lease.module().info()?;
                Profile::matching(info.manufacturer_id(), &info.library_version().to_string())?
            }
        };
        Ok((lease, profile))
    }

    /// Sessions that may be open at once; `told` is what the token says.
    pub fn max_sessions(&self, told: Option<u64>) -> Option<u64> {
        let own = Some(self.sessions.max).filter(|max| *max > 0);
        own.into_iter().chain(told).min()
    }

    /// Sessions that are open when all is well: of the login and of each worker. Finding out about schemes takes two, while
    /// no worker has one.
    pub fn sessions_wanted(&self) -> u64 {
        let Sessions { fast_workers, private_workers, slow_workers, making_workers, .. } = self.sessions;
        1 + (fast_workers + private_workers + slow_workers + making_workers) as u64
    }

    /// Refuses more workers than there are sessions for.
    pub fn check_sessions(&self, told: Option<u64>) -> Result<(), Error> {
        let wanted = self.sessions_wanted();
        match self.max_sessions(told) {
            Some(max) if max < wanted => Err(Error::TooManyWorkers { profile: self.name.clone(), wanted, max }),
            _ => Ok(()),
        }
    }

    /// All schemes that are tried at the start: those of new materials first, then those that older materials may have and
    /// that need no proof of the token.
    pub fn schemes_to_try(&self) -> Vec<Scheme> {
        let others = [Scheme::AesGcmHostIv, Scheme::AesCbcHostIv, Scheme::AesKwp];
        let others = others.into_iter().filter(|scheme| !self.schemes.contains(scheme));
        self.schemes.iter().copied().chain(others).collect()
    }

    /// The attributes that say whose object it is: its label, and an id where that is long enough.
    pub fn marks(&self, name: &ObjectName) -> Vec<Attribute> {
        let label = Attribute::Label(self.label(name).into_bytes());
        match self.objects.found_by {
            Mark::Id => vec![Attribute::Id(name.cka_id().to_vec()), label],
            Mark::ShortLabel => vec![label],
        }
    }

    /// As [`Profile::mark`], of an object that was listed.
    pub fn mark_found(&self, found: FoundObject) -> Vec<u8> {
        match self.objects.found_by {
            Mark::Id => found.cka_id,
            Mark::ShortLabel => found.label.into_bytes(),
        }
    }

    /// As [`Profile::mark`], without the attribute's type.
    pub fn mark_bytes(&self, name: &ObjectName) -> Vec<u8> {
        match self.objects.found_by {
            Mark::Id => name.cka_id().to_vec(),
            Mark::ShortLabel => self.label(name).into_bytes(),
        }
    }

    /// What an object is found by.
    pub fn mark(&self, name: &ObjectName) -> Attribute {
        self.marks(name).swap_remove(0)
    }

    /// `CKA_LABEL`: short, it is `hsm-kms/` and 192 bits of a hash of the long one.
    pub fn label(&self, name: &ObjectName) -> String {
        let long = name.cka_label();
        match self.objects.found_by {
            Mark::Id => long,
            Mark::ShortLabel => {
                let hash = crypto::sha256(&[long.as_bytes()]);
                format!("hsm-kms/{}", URL_SAFE_NO_PAD.encode(&hash[..24]))
            }
        }
    }

    /// A template as this vendor takes it. What a key is for stays in it.
    pub fn fit(&self, mut template: Vec<Attribute>) -> Vec<Attribute> {
        template.retain(|attribute| !self.omits(attribute.attribute_type()) || is_use(attribute));
        let added = |added: &VendorAttribute| {
            Attribute::VendorDefined((AttributeType::VendorDefined(added.number), added.value.clone()))
        };
        template.extend(self.objects.add.iter().map(added));
        template
    }

    /// As [`Profile::fit`], the template of a public key.
    pub fn fit_public(&self, mut template: Vec<Attribute>) -> Vec<Attribute> {
        template.retain(|attribute| !self.objects.omit_public.contains(&attribute.attribute_type()));
        template
    }

    /// Whether templates go without this attribute.
    pub fn omits(&self, kind: AttributeType) -> bool {
        self.objects.omit.contains(&kind)
    }

    /// Refuses a PIN that cannot be one, so that the token does not count it as a try.
    pub fn check_pin(&self, pin: &SecretString) -> Result<(), Error> {
        let pin = pin.expose_secret();
        let (good, wanted) = match self.login.pin {
            PinShape::Any => (true, ""),
            PinShape::UserAndPassword => {
                (pin.split_once(':').is_some_and(|(user, password)| !user.is_empty() && !password.is_empty()), USER_PIN)
            }
            PinShape::HexIdAndPassword => {
                let id = pin.as_bytes().split_at_checked(4);
                (id.is_some_and(|(id, rest)| id.iter().all(u8::is_ascii_hexdigit) && rest.len() >= 8), HEX_PIN)
            }
        };
        if good { Ok(()) } else { Err(Error::PinShape { profile: self.name.clone(), wanted }) }
    }

    /// Whether `code` may mean a wrong tag here.
    pub fn tells_bad_tag(&self, code: RvError) -> bool {
        let name = match code {
            RvError::GeneralError => "GeneralError",
            RvError::FunctionFailed => "FunctionFailed",
            RvError::EncryptedDataInvalid => "EncryptedDataInvalid",
            RvError::EncryptedDataLenRange => "EncryptedDataLenRange",
            RvError::DeviceError => "DeviceError",
            _ => return false,
        };
        self.errors.auth_failure.iter().any(|known| known == name)
    }

    /// The PIN that the password of a custom key store is. AWS's passwords are those of the user `kmsuser`.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/keystore-cloudhsm.html>
    pub fn pin(&self, password: &SecretString) -> SecretString {
        match self.login.pin {
            PinShape::Any | PinShape::HexIdAndPassword => password.clone(),
            PinShape::UserAndPassword => SecretString::from(format!("kmsuser:{}", password.expose_secret())),
        }
    }

    fn parse(text: &str, origin: &str) -> Result<Profile, Error> {
        let refuse = |reason: String| Error::Profile { origin: origin.to_owned(), reason };
        let profile: Profile = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if profile.schema != 1 {
            return Err(refuse(format!("schema is {}, and this version reads schema 1", profile.schema)));
        }
        if profile.schemes.is_empty() {
            return Err(refuse(format!("schemes is empty; name some of {}", names(Scheme::ALL))));
        }
        if let Some(twice) =
            (1..profile.schemes.len()).find(|at| profile.schemes[..*at].contains(&profile.schemes[*at]))
        {
            return Err(refuse(format!("schemes names {} twice", profile.schemes[twice])));
        }
        if let Some(wrong) = profile.objects.add.iter().find(|attribute| attribute.number < VENDOR_DEFINED) {
            return Err(refuse(format!(
                "objects.add: {:#x} is not a vendor's, which begin at 0x80000000",
                wrong.number
            )));
        }
        if let Some(wrong) = profile.hmac.generation.and_then(|numbers| numbers.no_vendors()) {
            return Err(refuse(format!("hmac.generation: {wrong:#x} is not a vendor's, which begin at 0x80000000")));
        }
        if profile.limits.has_a_zero() {
            let all = "limits.call_seconds, generation_seconds, hopeless_seconds and random_bytes";
            return Err(refuse(format!("{all} must be at least 1")));
        }
        let Sessions { fast_workers, private_workers, slow_workers, making_workers, .. } = profile.sessions;
        let workers = [fast_workers, private_workers, slow_workers, making_workers];
        if workers.iter().any(|workers| !(1..=WORKERS_MAX).contains(workers)) {
            return Err(refuse(format!(
                "fast_workers, private_workers, slow_workers and making_workers in [sessions] must be at least 1, and at \
                 most {WORKERS_MAX}"
            )));
        }
        if let Some(word) = profile.errors.auth_failure.iter().find(|word| !AUTH_FAILURES.contains(&word.as_str())) {
            return Err(refuse(format!("errors.auth_failure: `{word}` is none of {}", AUTH_FAILURES.join(", "))));
        }
        Ok(profile)
    }
}

impl Matching {
    fn fits(&self, manufacturer: &str, library: &str) -> bool {
        self.manufacturer.iter().any(|beginning| manufacturer.starts_with(beginning))
            && (self.library.is_empty() || self.library.iter().any(|version| version == library))
    }
}

impl HmacGeneration {
    /// The number for this spec.
    pub fn of(&self, spec: HmacSpec) -> CK_MECHANISM_TYPE {
        match spec {
            HmacSpec::Hmac224 => self.sha_224,
            HmacSpec::Hmac256 => self.sha_256,
            HmacSpec::Hmac384 => self.sha_384,
            HmacSpec::Hmac512 => self.sha_512,
        }
    }

    fn no_vendors(self) -> Option<CK_MECHANISM_TYPE> {
        [self.sha_224, self.sha_256, self.sha_384, self.sha_512].into_iter().find(|number| *number < VENDOR_DEFINED)
    }
}

impl Limits {
    /// Whether every call would hang, or give nothing.
    fn has_a_zero(&self) -> bool {
        [self.call_seconds, self.generation_seconds, self.hopeless_seconds].contains(&0) || self.random_bytes == 0
    }

    /// The limit for one call.
    pub fn call(&self) -> Duration {
        Duration::from_secs(self.call_seconds)
    }

    /// The limit for one key generation.
    pub fn generation(&self) -> Duration {
        Duration::from_secs(self.generation_seconds)
    }

    /// The limit for having no worker.
    pub fn hopeless(&self) -> Duration {
        Duration::from_secs(self.hopeless_seconds)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            max: 0,
            fast_workers: 1,
            private_workers: 1,
            slow_workers: 1,
            making_workers: 1,
            session_copies: false,
            pairs_made_in_session: false,
            objects_one_at_a_time: false,
        }
    }
}

impl Default for Mechanisms {
    fn default() -> Self {
        // CKM_CLOUDHSM_AES_GCM; CKM_AES_KEY_WRAP_KWP.
        Mechanisms { gcm_prepended_iv: VENDOR_DEFINED | 0x1087, aes_kwp: 0x210b }
    }
}

impl Default for Objects {
    fn default() -> Self {
        Objects { in_session: true, found_by: Mark::Id, omit: Vec::new(), omit_public: Vec::new(), add: Vec::new() }
    }
}

impl Default for Hmac {
    fn default() -> Self {
        Hmac { own_types: false, generation: None, has_length: true }
    }
}

impl Default for Errors {
    fn default() -> Self {
        Errors { auth_failure: AUTH_FAILURES[..4].iter().copied().map(str::to_owned).collect() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { call_seconds: 10, generation_seconds: 120, hopeless_seconds: 60, random_bytes: 32 * 1024 }
    }
}

/// The last one is believed only where a profile lists it.
const AUTH_FAILURES: [&str; 5] =
    ["GeneralError", "EncryptedDataInvalid", "EncryptedDataLenRange", "FunctionFailed", "DeviceError"];

const BUILT_IN: &[(&str, &str)] = &[
    ("softhsm2", include_str!("../../hsm-config/softhsm2/profile.toml")),
    ("kryoptic", include_str!("../../hsm-config/kryoptic/profile.toml")),
    ("opencryptoki", include_str!("../../hsm-config/opencryptoki/profile.toml")),
    ("aws-cloudhsm", include_str!("../../hsm-config/aws-cloudhsm/profile.toml")),
    ("luna", include_str!("../../hsm-config/luna/profile.toml")),
    ("nshield", include_str!("../../hsm-config/nshield/profile.toml")),
    ("yubihsm2", include_str!("../../hsm-config/yubihsm2/profile.toml")),
    // For a library that no profile knows; it matches none by itself.
    ("generic", include_str!("../../hsm-config/generic/profile.toml")),
];

/// Attributes that a template can go without: none that makes a key secret, or says whose it is.
const OMITTABLE: [(&str, AttributeType); 11] = [
    ("copyable", AttributeType::Copyable),
    ("destroyable", AttributeType::Destroyable),
    ("modifiable", AttributeType::Modifiable),
    ("encrypt", AttributeType::Encrypt),
    ("decrypt", AttributeType::Decrypt),
    ("sign", AttributeType::Sign),
    ("sign_recover", AttributeType::SignRecover),
    ("verify", AttributeType::Verify),
    ("wrap", AttributeType::Wrap),
    ("unwrap", AttributeType::Unwrap),
    ("derive", AttributeType::Derive),
];

/// The same of a public key's.
const OMITTABLE_PUBLIC: [(&str, AttributeType); 1] = [("private", AttributeType::Private)];

fn attribute_types<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<AttributeType>, D::Error> {
    some_of(&OMITTABLE, from)
}

fn public_attribute_types<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<AttributeType>, D::Error> {
    some_of(&OMITTABLE_PUBLIC, from)
}

fn some_of<'de, D: Deserializer<'de>>(
    omittable: &[(&str, AttributeType)],
    from: D,
) -> Result<Vec<AttributeType>, D::Error> {
    let known = |word: &String| omittable.iter().find(|(name, _)| name == word).map(|(_, kind)| *kind);
    let unknown = |word: &String| {
        let names = names(omittable.iter().map(|(name, _)| name));
        serde::de::Error::custom(format!("`{word}` is none of the attributes that can be left out: {names}"))
    };
    Vec::<String>::deserialize(from)?.iter().map(|word| known(word).ok_or_else(|| unknown(word))).collect()
}

fn hex_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn names<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// Whether the attribute says what a key is for.
fn is_use(attribute: &Attribute) -> bool {
    use Attribute::*;
    matches!(attribute, Encrypt(true) | Decrypt(true) | Sign(true) | Unwrap(true) | Derive(true))
}

/// More threads than any HSM gains from.
const WORKERS_MAX: usize = 256;
const VENDOR_DEFINED: CK_ATTRIBUTE_TYPE = 0x8000_0000;
const USER_PIN: &str = "a user's name, a colon and his password: `user:password`";
const HEX_PIN: &str = "the authentication key's id as four hexadecimal digits and its password of at least 8 characters, \
                       with nothing between: `0001password`";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{KeyId, Purpose};

    #[test]
    fn softhsm_is_known_and_a_stranger_gets_the_cautious_profile() {
        let known = Profile::matching("SoftHSM", "2.6").unwrap();
        assert_eq!(known.name, "softhsm2");
        assert_eq!((known.sessions.private_workers, known.rsa.oaep_sha256), (2, Unpadding::Host));
        assert!(known.sessions.session_copies && known.files.sync_files && known.files.keep_token_object_copy);
        assert_eq!(known.schemes, [Scheme::AesGcmHostIv]);
        assert!(known.tells_bad_tag(RvError::GeneralError));
        assert!(!known.tells_bad_tag(RvError::DeviceError));
        for (manufacturer, version) in [("SoftHSM", "9.9"), ("Else", "2.6"), ("", "")] {
            let other = Profile::matching(manufacturer, version).unwrap();
            assert_eq!(other.name, "generic");
            assert!(!other.sessions.session_copies);
        }
    }

    #[test]
    fn a_profile_with_a_mistake_is_refused_by_name() {
        const LEAST: &str = "schema = 1\nname = \"test\"\nschemes = [\"aes_kwp\"]\n";
        let with = |line: &str| Profile::parse(&format!("{LEAST}{line}\n"), "test").unwrap_err().to_string();
        assert!(Profile::parse(LEAST, "test").is_ok());
        assert!(with("sesions = 1").contains("sesions"));
        assert!(with("[sessions]\nfast_workers = 0").contains("at least 1"));
        assert!(with("[errors]\nauth_failure = [\"GenralError\"]").contains("GenralError"));
        assert!(with("[objects]\nomit = [\"sensitive\"]").contains("`sensitive` is none of"));
        assert!(with("[objects]\nomit = [\"private\"]").contains("`private` is none of"), "of a key that is secret");
        assert!(with("[objects]\nomit_public = [\"class\"]").contains("`class` is none of"));
        assert!(with("[objects]\nadd = [{ number = 1, value = \"00\" }]").contains("0x1 is not a vendor's"));
        assert!(with("[objects]\nadd = [{ number = 0x80000001, value = \"0\" }]").contains("Odd number of digits"));
        let numbers =
            "generation = { sha_224 = 0x80000001, sha_256 = 592, sha_384 = 0x80000003, sha_512 = 0x80000004 }";
        assert!(with(&format!("[hmac]\n{numbers}")).contains("0x250 is not a vendor's"));
        assert!(with("[hmac]\ngeneration = { sha_256 = 0x80000002 }").contains("sha_224"));
        for limit in ["call_seconds", "generation_seconds", "hopeless_seconds", "random_bytes"] {
            assert!(with(&format!("[limits]\n{limit} = 0")).contains("must be at least 1"));
        }
        let schemes =
            |list: &str| Profile::parse(&LEAST.replace("[\"aes_kwp\"]", list), "test").unwrap_err().to_string();
        assert!(schemes("[]").contains("aes_gcm_host_iv, aes_gcm_zeroed_iv"));
        assert!(schemes("[\"aes_ecb\"]").contains("aes_ecb"));
        assert!(Profile::parse(&LEAST.replace("= 1", "= 2"), "test").unwrap_err().to_string().contains("schema 1"));
    }

    #[test]
    fn every_built_in_profile_is_one_and_named_like_its_folder() {
        for (name, text) in BUILT_IN {
            let profile = Profile::parse(text, name).unwrap();
            assert_eq!(profile.name, *name);
            assert_eq!(Profile::read(Path::new(name)).unwrap().name, *name);
            profile.check_sessions(None).unwrap();
        }
        for (manufacturer, name) in [
            ("SafeNet", "luna"),
            ("nCipher Corp. Ltd", "nshield"),
            ("Yubico (www.yubico.com)", "yubihsm2"),
            ("Utimaco IS GmbH", "generic"),
        ] {
            assert_eq!(Profile::matching(manufacturer, "1.0").unwrap().name, name);
        }
        assert!(Profile::read(Path::new("generic")).unwrap().check_sessions(Some(4)).is_err());
    }

    #[test]
    fn a_short_label_tells_objects_apart_and_fits() {
        let profile = Profile::read(Path::new("yubihsm2")).unwrap();
        let name = |purpose, material| ObjectName { purpose, key_id: KeyId::from_bytes([7; 16]), material };
        let labels =
            [name(Purpose::Kms, 1), name(Purpose::Kms, 2), name(Purpose::Imported, 1)].map(|n| profile.label(&n));
        assert_eq!(labels[0], "hsm-kms/VGHxHtYAHs4NhlOUP71mduzHu7RQ-PbT");
        assert!(labels.iter().all(|label| label.len() == 40));
        assert!(labels[0] != labels[1] && labels[0] != labels[2] && labels[1] != labels[2]);
    }

    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            (0..3_i64).prop_map(|n| n.to_string()),
            any::<bool>().prop_map(|b| b.to_string()),
            "\"[a-z_]{0,12}\""
        ]
    }

    proptest! {
        /// A profile that is accepted has workers, schemes and bytes, whatever else it says.
        #[test]
        fn any_profile_is_refused_or_usable(
            lines in proptest::collection::vec((0..KEYS.len(), any_value()), 0..6),
            schemes in proptest::collection::vec(0..8_usize, 0..4),
        ) {
            let names: Vec<String> = schemes
                .iter()
                .map(|index| Scheme::ALL.get(*index).map_or("none".to_owned(), Scheme::to_string))
                .map(|name| format!("\"{name}\""))
                .collect();
            let mut text = format!("schema = 1\nname = \"x\"\nschemes = [{}]\n", names.join(", "));
            for (key, value) in lines {
                text.push_str(&format!("{} = {value}\n", KEYS[key]));
            }
            if let Ok(profile) = Profile::parse(&text, "test") {
                let Sessions { fast_workers, private_workers, slow_workers, making_workers, .. } = profile.sessions;
                prop_assert!(![fast_workers, private_workers, slow_workers, making_workers].contains(&0));
                prop_assert!(profile.sessions_wanted() <= 1 + 4 * 1024);
                let Limits { call_seconds, generation_seconds, hopeless_seconds, .. } = profile.limits;
                prop_assert!(![call_seconds, generation_seconds, hopeless_seconds].contains(&0));
                prop_assert!(!profile.schemes.is_empty() && profile.limits.random_bytes > 0);
                let tried = profile.schemes_to_try();
                prop_assert_eq!(tried.iter().collect::<std::collections::HashSet<_>>().len(), tried.len());
            }
        }
    }

    const KEYS: [&str; 11] = [
        "sessions.fast_workers",
        "sessions.max",
        "sessions.nothing",
        "login.pin",
        "objects.found_by",
        "limits.random_bytes",
        "limits.call_seconds",
        "limits.generation_seconds",
        "limits.hopeless_seconds",
        "mechanisms.aes_kwp",
        "rsa.oaep_sha256",
    ];
}
