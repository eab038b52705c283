//! Finds out by doing what a token can do: lists of mechanisms promise what calls then refuse.

use std::time::{Duration, Instant};

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::{AttributeType, ObjectHandle};

use super::error::{Class, Error, Failure, class, reason};
use super::import::Place;
use super::iv::HostIv;
use super::kind::KeyKind;
use super::login::is_logged_in;
use super::mechanism::WrappingKey;
use super::private::RsaDecryption;
use super::profile::Unpadding;
use super::schemes::{Schemes, UNTOLD};
use super::session::Session;
use super::sessions::{Answer, LaneName, Request, Shared};
use super::{Token, import, mechanism, object, private, transfer};
use crate::crypto::{self, Agreement, InvalidPublicKey, Message, PublicKey};
use crate::model::{EncryptionAlgorithm, HmacSpec, KeyId, KeyPairSpec, ObjectName, Purpose, Secret, SigningAlgorithm};

/// One line of the self-test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRow {
    /// What was tried.
    pub what: String,
    /// Whether this service needs it; otherwise it only makes things faster.
    pub needed: bool,
    /// Nothing, or why it does not work.
    pub failure: Option<String>,
    /// Where imported material is unwrapped; nothing for all other rows, and if it does not work.
    pub place: Option<Place>,
}

/// Whether a token has what a kind of key needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was tried, and works.
    Yes,
    /// It does not work, for this reason.
    No(String),
}

/// Tries everything that symmetric keys need, and then one of every kind of keys, of imports and of multi-Region keys, on
/// session objects that are gone afterwards. RSA is tried with 2,048 bits, which takes seconds here.
///
/// Fails only if the token cannot be asked at all; what does not work is told in its row.
pub async fn self_test(token: &Token, deadline: Instant) -> Result<Vec<ProbeRow>, Error> {
    match token.shared().ask(LaneName::Making, Request::SelfTest, deadline).await? {
        Answer::SelfTest(rows) => Ok(rows),
        _ => Err(Error::mixed_up()),
    }
}

/// The self-test on a worker's session.
pub(super) fn run(shared: &Shared, session: &Session) -> Result<Vec<ProbeRow>, Failure> {
    refuse_to_pile_up(shared, session)?;
    let name = passing_name(Purpose::Kms);
    // Modifiable, as it is to be copied.
    let key = object::generate(&shared.profile, session, &name, KeyKind::Aes256, shared.passing(), true);
    let key = key.map(|(key, _)| key);
    let mut rows = vec![
        row("CKM_AES_KEY_GEN with 256 bits", true, key.as_ref().map(drop).map_err(reason)),
        row("C_GenerateRandom", true, random(session)),
    ];
    if let Ok(key) = key {
        rows.push(row("the key has the attributes that it was made with", true, proof(shared, session, key, &name)));
        rows.extend(scheme_rows(&shared.schemes()));
        rows.push(row("a forged ciphertext is told by a code of the profile", true, wrong_tag(shared, session, key)));
        rows.push(row("CKA_VALUE cannot be read", true, unreadable(session, key)));
        let needed = shared.profile.sessions.session_copies;
        rows.push(row("C_CopyObject to a session object", needed, copy(shared, session, key, &name)));
        session.destroy_object(key)?;
    }
    for (what, kind) in KINDS {
        let failure = match offer(shared, session, kind)? {
            Offer::Yes => None,
            Offer::No(why) => Some(why),
        };
        rows.push(ProbeRow { what: what.to_owned(), needed: false, failure, place: None });
    }
    let failure = match prehashes(shared, session)? {
        Offer::Yes => None,
        Offer::No(why) => Some(why),
    };
    rows.push(ProbeRow { what: "Ed25519ph".to_owned(), needed: false, failure, place: None });
    rows.extend(import_rows(shared, session)?);
    rows.extend(transfer_rows(shared, session)?);
    Ok(rows)
}

/// A row for each scheme, as it was tried when the sessions were opened.
fn scheme_rows(schemes: &Schemes) -> impl Iterator<Item = ProbeRow> {
    let of_new_materials = schemes.of_new_materials();
    schemes.tried().iter().map(move |tried| ProbeRow {
        what: format!("seeds wrapped by scheme {}, {}", tried.scheme.number(), tried.scheme),
        needed: Some(tried.scheme) == of_new_materials,
        failure: tried.way.as_ref().err().cloned(),
        place: None,
    })
}

/// A row for each kind of material and each algorithm that can wrap it.
fn import_rows(shared: &Shared, session: &Session) -> Result<Vec<ProbeRow>, Failure> {
    let on_token = import::unwrapped_on_token(shared, session)?;
    let name = passing_name(Purpose::ImportWrapping);
    let kind = KeyKind::ImportWrapping(KeyPairSpec::Rsa2048);
    let modifiable = object::modifiable(&shared.profile, kind);
    let made = object::generate(&shared.profile, session, &name, kind, shared.passing(), modifiable);
    let Ok((wrapping, Some(public))) = made else {
        return Ok(vec![row("import: a wrapping key", false, Err("the token does not make one".to_owned()))]);
    };
    let mut rows = Vec::new();
    for ((material, kind), algorithm) in import::trials() {
        let tried = import::try_import(shared, session, (wrapping, &public), &on_token, kind, algorithm);
        let (place, failure) = match tried {
            Ok(place) => (Some(place), None),
            Err(failure) => (None, Some(told(failure))),
        };
        rows.push(ProbeRow { what: format!("import of {material} by {algorithm}"), needed: false, failure, place });
    }
    session.destroy_object(wrapping)?;
    Ok(rows)
}

/// A row for each kind of multi-Region keys: whether the token can give such material to another one, and take it. One alone
/// if it has no key for which others would wrap it.
fn transfer_rows(shared: &Shared, session: &Session) -> Result<Vec<ProbeRow>, Failure> {
    let rows = transfer::with_trial_key(shared, session, |own| {
        let mut rows = vec![transfer_row("AES-256", transfer_offer(shared, session, own, KeyKind::Aes256)?)];
        for (what, kind) in KINDS {
            let offered = match offer(shared, session, kind)? {
                Offer::Yes => transfer_offer(shared, session, own, kind)?,
                no => no,
            };
            rows.push(transfer_row(what, offered));
        }
        Ok(rows)
    });
    match rows {
        Ok(rows) => Ok(rows),
        Err(failure) => Ok(vec![transfer_row("a replication key", judged(session, Err(failure))?.0)]),
    }
}

fn transfer_row(what: &str, offer: Offer) -> ProbeRow {
    let failure = match offer {
        Offer::Yes => None,
        Offer::No(why) => Some(why),
    };
    ProbeRow { what: format!("multi-Region keys: {what}"), needed: false, failure, place: None }
}

/// Whether the token makes such a key and does with it what it is for; found out once.
///
/// All sizes of RSA are tried with 2,048 bits, since the largest takes up to ten seconds to make. What a key pair is for
/// is tried again with every pair that is made to stay.
pub(super) fn offer(shared: &Shared, session: &Session, kind: KeyKind) -> Result<Offer, Failure> {
    if let Some(known) = known(shared, kind) {
        return Ok(known);
    }
    refuse_to_pile_up(shared, session)?;
    let kind = smallest(kind);
    let (offer, for_good) = judged(session, try_kind(shared, session, kind))?;
    if for_good {
        shared.offers().insert(kind, offer.clone());
    }
    Ok(offer)
}

/// Whether material of such keys can be transferred to and from the token; found out once, of RSA with 2,048 bits.
pub(super) fn offer_transfer(shared: &Shared, session: &Session, kind: KeyKind) -> Result<Offer, Failure> {
    if let Some(known) = known_transfer(shared, kind) {
        return Ok(known);
    }
    transfer::with_trial_key(shared, session, |own| transfer_offer(shared, session, own, kind)).or_else(|failure| {
        let (offer, for_good) = judged(session, Err(failure))?;
        Ok(keep_transfer(shared, smallest(kind), offer, for_good))
    })
}

/// As [`offer_transfer`], with a replication key that is there.
fn transfer_offer(
    shared: &Shared,
    session: &Session,
    own: (ObjectHandle, &PublicKey),
    kind: KeyKind,
) -> Result<Offer, Failure> {
    if let Some(known) = known_transfer(shared, kind) {
        return Ok(known);
    }
    let kind = smallest(kind);
    let (offer, for_good) = judged(session, transfer::try_kind(shared, session, own, kind))?;
    Ok(keep_transfer(shared, kind, offer, for_good))
}

fn keep_transfer(shared: &Shared, kind: KeyKind, offer: Offer, for_good: bool) -> Offer {
    if for_good {
        shared.transfers().insert(kind, offer.clone());
    }
    offer
}

/// What was found out about transfers of a kind before.
pub(super) fn known_transfer(shared: &Shared, kind: KeyKind) -> Option<Offer> {
    shared.transfers().get(&smallest(kind)).cloned()
}

/// Whether the token signs by Ed25519ph; found out once.
pub(super) fn prehashes(shared: &Shared, session: &Session) -> Result<Offer, Failure> {
    if let Some(known) = shared.prehashes().clone() {
        return Ok(known);
    }
    refuse_to_pile_up(shared, session)?;
    let (offer, for_good) = judged(session, try_prehash(shared, session))?;
    if for_good {
        *shared.prehashes() = Some(offer.clone());
    }
    Ok(offer)
}

/// What a trial says of the token, and whether for good, which is until its sessions are lost; fails if it says nothing.
fn judged(session: &Session, tried: Result<(), Failure>) -> Result<(Offer, bool), Failure> {
    Ok(match tried {
        Ok(()) => (Offer::Yes, true),
        Err(Failure::Final(error @ (Error::Wrong(_) | Error::NotProven { .. }))) => {
            (Offer::No(error.to_string()), true)
        }
        Err(Failure::Final(error)) => return Err(error.into()),
        Err(Failure::Call(error)) => match class(&error) {
            Class::LoginLost | Class::DeviceGone | Class::Full => return Err(error.into()),
            _ if !is_logged_in(session) => return Err(error.into()),
            // Who asks next may hear better.
            Class::FreshSession | Class::HandleGone => (Offer::No(reason(&error)), false),
            Class::Refused | Class::BadData | Class::Bug => (Offer::No(reason(&error)), true),
        },
    })
}

/// SoftHSM takes the mechanism's prehash flag and signs as if it were not there.
fn try_prehash(shared: &Shared, session: &Session) -> Result<(), Failure> {
    let (spec, algorithm) = (KeyPairSpec::EccNistEdwards25519, SigningAlgorithm::Ed25519PhSha512);
    let (name, token) = (passing_name(Purpose::Kms), shared.passing());
    let (kind, modifiable) = (KeyKind::Sign(spec), object::modifiable(&shared.profile, KeyKind::Sign(spec)));
    let (key, public) = object::generate(&shared.profile, session, &name, kind, token, modifiable)?;
    let digest = crypto::digest(algorithm, ASSOCIATED).unwrap_or_default();
    let signature = private::sign(&shared.module, session, key, spec, algorithm, &digest);
    session.destroy_object(key)?;
    let signature = signature?;
    let verified = public.map(|public| public.verify(algorithm, Message::Digest(&digest), &signature));
    if verified == Some(Ok(())) { Ok(()) } else { Err(Error::Wrong("it signs, but not by Ed25519ph").into()) }
}

/// Has every kind that is not known yet be tried in the background: what takes longest at last.
pub(super) fn try_all(shared: &Shared) {
    let deadline = Instant::now() + TRYING_TIME;
    let (rsa, others): (Vec<_>, Vec<_>) = KINDS.into_iter().partition(|(_, kind)| kind.modulus_len().is_some());
    if shared.prehashes().is_none() {
        shared.tell(LaneName::Making, Request::Prehashes, deadline);
    }
    for (_, kind) in others.into_iter().chain(rsa).filter(|(_, kind)| known(shared, *kind).is_none()) {
        shared.tell(LaneName::Making, Request::Offers(kind), deadline);
    }
    if shared.unwraps().is_none() {
        shared.tell(LaneName::Making, Request::TryImports, deadline);
    }
}

/// Forgets what does not work, so that it is tried again: the token may have been out of order, or its mode was changed.
pub(super) fn forget_refusals(shared: &Shared) {
    let works = |offer: &Offer| *offer == Offer::Yes;
    shared.offers().retain(|_, offer| works(offer));
    shared.transfers().retain(|_, offer| works(offer));
    shared.prehashes().take_if(|offer| !works(offer));
    import::forget_refusals(shared);
}

/// What was found out about a kind before.
pub(super) fn known(shared: &Shared, kind: KeyKind) -> Option<Offer> {
    shared.offers().get(&smallest(kind)).cloned()
}

/// Tries what a new pair is for, and that the public half belongs to it, against the host's own cryptography.
pub(super) fn try_pair(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    kind: KeyKind,
    public: &PublicKey,
) -> Result<(), Failure> {
    match kind {
        KeyKind::Agree(spec) => try_agreement(shared, session, key, spec, public),
        KeyKind::Decrypt(spec) | KeyKind::ImportWrapping(spec) => try_decryption(shared, session, key, spec, public),
        KeyKind::Sign(spec) => try_signatures(shared, session, key, spec, public),
        KeyKind::Replication(_) => transfer::try_pair(shared, session, key, public),
        KeyKind::Decapsulate(_) => try_decapsulation(shared, session, key, public),
        KeyKind::Aes256 | KeyKind::Mac(_) => Ok(()),
    }
}

fn try_kind(shared: &Shared, session: &Session, kind: KeyKind) -> Result<(), Failure> {
    let name = passing_name(match kind {
        KeyKind::ImportWrapping(_) => Purpose::ImportWrapping,
        KeyKind::Replication(_) => Purpose::Replication,
        _ => Purpose::Kms,
    });
    let (token, modifiable) = (shared.passing(), object::modifiable(&shared.profile, kind));
    let (key, public) = object::generate(&shared.profile, session, &name, kind, token, modifiable)?;
    let tried = object::prove(shared, session, key, &name, kind, token).and_then(|()| match (kind, &public) {
        // A token that is served has a scheme.
        (KeyKind::Aes256, _) => Ok(()),
        (KeyKind::Mac(spec), _) => try_mac(shared, session, key, spec),
        (_, Some(public)) => try_pair(shared, session, key, kind, public),
        (_, None) => Ok(()),
    });
    session.destroy_object(key)?;
    tried
}

fn try_signatures(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    spec: KeyPairSpec,
    public: &PublicKey,
) -> Result<(), Failure> {
    // Whether a token has Ed25519ph is told apart from whether it has Ed25519.
    let plain = spec.signing_algorithms().iter().filter(|algorithm| **algorithm != SigningAlgorithm::Ed25519PhSha512);
    for algorithm in plain {
        let digest = crypto::digest(*algorithm, ASSOCIATED);
        let (data, message) = match &digest {
            Some(digest) => (&digest[..], Message::Digest(digest)),
            None => (ASSOCIATED, Message::Raw(ASSOCIATED)),
        };
        let signature = private::sign(&shared.module, session, key, spec, *algorithm, data)?;
        let verified = public.verify(*algorithm, message, &signature);
        verified.map_err(|_| Error::Wrong("a signature does not verify"))?;
    }
    Ok(())
}

fn try_decryption(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    spec: KeyPairSpec,
    public: &PublicKey,
) -> Result<(), Failure> {
    let wrong = || Error::Wrong("a ciphertext does not decrypt to what was encrypted");
    for algorithm in spec.encryption_algorithms() {
        let ciphertext = crypto::oaep_encrypt(public, *algorithm, ASSOCIATED).ok_or_else(wrong)?;
        let how = decryption(shared, *algorithm);
        // Before the good one, which then shows that the token and the session have come to no harm.
        let forgery = try_forgery(shared, session, key, how, &ciphertext);
        let mut plaintext = private::decrypt(&shared.module, session, key, how, &ciphertext)?;
        if how == RsaDecryption::Bare {
            plaintext = crypto::oaep_sha256_unpad(&plaintext).map_err(|_| wrong())?;
        }
        if plaintext.expose() != ASSOCIATED {
            return Err(wrong().into());
        }
        forgery?;
    }
    Ok(())
}

/// Whoever may decrypt can send forged ciphertexts, and each must be told from a failure of the token: that costs a session,
/// or all of them. One answer by another code may have been such a failure.
///
/// Without the padding, every ciphertext decrypts to something.
fn try_forgery(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    how: RsaDecryption,
    ciphertext: &[u8],
) -> Result<(), Error> {
    if how == RsaDecryption::Bare {
        return Ok(());
    }
    let mut forged = ciphertext.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    for _ in 0..FORGERIES {
        match private::decrypt(&shared.module, session, key, how, &forged) {
            Ok(_) => return Err(Error::Wrong("a forged ciphertext is opened")),
            Err(CryptokiError::Pkcs11(code, _)) if shared.profile.tells_bad_tag(code) => return Ok(()),
            Err(_) => {}
        }
    }
    Err(Error::Wrong(UNTOLD))
}

fn try_agreement(
    shared: &Shared,
    session: &Session,
    key: ObjectHandle,
    spec: KeyPairSpec,
    public: &PublicKey,
) -> Result<(), Failure> {
    let wrong = |_| Error::Wrong("the two sides of a key agreement do not agree");
    let peer = Agreement::new(spec).map_err(wrong)?;
    let (width, point) =
        spec.coordinate_len().zip(peer.public_key.point()).ok_or(Error::Unfit(KeyKind::Agree(spec)))?;
    let secret = private::agree(&shared.module, session, key, width, point)?;
    let same = crypto::equal(secret.expose(), peer.agree(public).map_err(wrong)?.expose());
    if same { Ok(()) } else { Err(wrong(InvalidPublicKey(spec)).into()) }
}

/// What the host encapsulated comes out, and what it did not comes out as something else.
fn try_decapsulation(shared: &Shared, session: &Session, key: ObjectHandle, public: &PublicKey) -> Result<(), Failure> {
    let wrong = Error::Wrong("a decapsulated secret is not the one that was encapsulated");
    let Ok(mut made) = crypto::encapsulate(public) else { return Err(wrong.into()) };
    let same = private::decapsulate(&shared.module, session, key, &made.ciphertext)?;
    if let Some(byte) = made.ciphertext.first_mut() {
        *byte ^= 1;
    }
    let other = private::decapsulate(&shared.module, session, key, &made.ciphertext)?;
    let right = |secret: &Secret| crypto::equal(secret.expose(), made.secret.expose());
    if right(&same) && !right(&other) { Ok(()) } else { Err(wrong.into()) }
}

/// HMAC has no public half to compare with: twice the same, different for other messages, and not that of an empty key.
fn try_mac(shared: &Shared, session: &Session, key: ObjectHandle, spec: HmacSpec) -> Result<(), Failure> {
    let mac = |message: &[u8]| private::mac(&shared.module, session, key, spec, message);
    let (one, again, other) = (mac(ASSOCIATED)?, mac(ASSOCIATED)?, mac(b"other")?);
    let good = one == again && one != other && !crypto::verify_hmac(spec.algorithm(), &[], ASSOCIATED, &one);
    if good { Ok(()) } else { Err(Error::Wrong("a MAC is not one").into()) }
}

/// How this token decrypts what was encrypted by this algorithm.
pub(super) fn decryption(shared: &Shared, algorithm: EncryptionAlgorithm) -> RsaDecryption {
    match (algorithm, shared.profile.rsa.oaep_sha256) {
        (EncryptionAlgorithm::RsaesOaepSha256, Unpadding::Host) => RsaDecryption::Bare,
        _ => RsaDecryption::Oaep(algorithm),
    }
}

fn smallest(kind: KeyKind) -> KeyKind {
    match kind {
        KeyKind::Sign(spec) if spec.modulus_len().is_some() => KeyKind::Sign(KeyPairSpec::Rsa2048),
        KeyKind::Decrypt(_) => KeyKind::Decrypt(KeyPairSpec::Rsa2048),
        KeyKind::ImportWrapping(_) => KeyKind::ImportWrapping(KeyPairSpec::Rsa2048),
        KeyKind::Replication(_) => KeyKind::Replication(KeyPairSpec::Rsa2048),
        other => other,
    }
}

/// The name of keys that are gone soon: always the same, so that those that outlive their trial are known.
pub(super) fn passing_name(purpose: Purpose) -> ObjectName {
    ObjectName { purpose, key_id: KeyId::from_bytes(PASSING_ID), material: 0 }
}

/// Refuses to try one more key where keys that were tried stay.
fn refuse_to_pile_up(shared: &Shared, session: &Session) -> Result<(), Failure> {
    object::refuse_to_pile_up(object::find_passing(&shared.profile, session)?.len())
}

fn row(what: &'static str, needed: bool, result: Result<(), String>) -> ProbeRow {
    ProbeRow { what: what.to_owned(), needed, failure: result.err(), place: None }
}

fn random(session: &Session) -> Result<(), String> {
    let draw = || {
        let mut bytes = [0; 32];
        session.generate_random_slice(&mut bytes).map(|()| bytes).map_err(|error| reason(&error))
    };
    let (one, other) = (draw()?, draw()?);
    if one == other || one == [0; 32] { Err("the bytes repeat".to_owned()) } else { Ok(()) }
}

fn proof(shared: &Shared, session: &Session, key: ObjectHandle, name: &ObjectName) -> Result<(), String> {
    object::prove(shared, session, key, name, KeyKind::Aes256, shared.passing()).map_err(told)
}

fn wrong_tag(shared: &Shared, session: &Session, key: ObjectHandle) -> Result<(), String> {
    let schemes = shared.schemes();
    let Some(scheme) = schemes.of_new_materials().filter(|scheme| scheme.authenticates()) else { return Ok(()) };
    let way = schemes.way(scheme).map_err(|error| error.to_string())?;
    let (raw, numbers) = (&shared.module.raw, &shared.profile.mechanisms);
    let key = WrappingKey { raw, numbers, session, handle: key };
    let iv = HostIv::random().map_err(|error| error.to_string())?;
    let mut forged = mechanism::wrap(&key, way, &iv, ASSOCIATED, &SEED).map_err(told)?;
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    match mechanism::unwrap(&key, scheme, ASSOCIATED, &forged) {
        Ok(_) => Err("a forged ciphertext was opened".to_owned()),
        Err(CryptokiError::Pkcs11(code, _)) if shared.profile.tells_bad_tag(code) => Ok(()),
        Err(error) => Err(format!("{}, which the profile does not know for it", reason(&error))),
    }
}

fn unreadable(session: &Session, key: ObjectHandle) -> Result<(), String> {
    match session.get_attributes(key, &[AttributeType::Value]) {
        Ok(attributes) if !attributes.is_empty() => Err("the key's value was read".to_owned()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn copy(shared: &Shared, session: &Session, key: ObjectHandle, name: &ObjectName) -> Result<(), String> {
    let copy = object::copy_to_session(session, key).map_err(|error| reason(&error))?;
    let proved = object::prove(shared, session, copy, name, KeyKind::Aes256, false).map_err(told);
    session.destroy_object(copy).map_err(|error| reason(&error))?;
    proved
}

fn told(failure: Failure) -> String {
    match failure {
        Failure::Final(error) => error.to_string(),
        Failure::Call(error) => reason(&error),
    }
}

/// Every kind of keys but for the sizes of RSA and the one that the rows before have tried.
const KINDS: [(&str, KeyKind); 20] = [
    ("RSA signatures, PKCS #1 v1.5 and PSS, SHA-256 to 512", KeyKind::Sign(KeyPairSpec::Rsa2048)),
    ("RSA decryption, OAEP with SHA-1 and SHA-256", KeyKind::Decrypt(KeyPairSpec::Rsa2048)),
    ("ECDSA with P-256", KeyKind::Sign(KeyPairSpec::EccNistP256)),
    ("ECDSA with P-384", KeyKind::Sign(KeyPairSpec::EccNistP384)),
    ("ECDSA with P-521", KeyKind::Sign(KeyPairSpec::EccNistP521)),
    ("ECDSA with secp256k1", KeyKind::Sign(KeyPairSpec::EccSecgP256k1)),
    ("ECDH with P-256", KeyKind::Agree(KeyPairSpec::EccNistP256)),
    ("ECDH with P-384", KeyKind::Agree(KeyPairSpec::EccNistP384)),
    ("ECDH with P-521", KeyKind::Agree(KeyPairSpec::EccNistP521)),
    ("Ed25519", KeyKind::Sign(KeyPairSpec::EccNistEdwards25519)),
    ("ML-DSA-44", KeyKind::Sign(KeyPairSpec::MlDsa44)),
    ("ML-DSA-65", KeyKind::Sign(KeyPairSpec::MlDsa65)),
    ("ML-DSA-87", KeyKind::Sign(KeyPairSpec::MlDsa87)),
    ("ML-KEM-512", KeyKind::Decapsulate(KeyPairSpec::MlKem512)),
    ("ML-KEM-768", KeyKind::Decapsulate(KeyPairSpec::MlKem768)),
    ("ML-KEM-1024", KeyKind::Decapsulate(KeyPairSpec::MlKem1024)),
    ("HMAC with SHA-224", KeyKind::Mac(HmacSpec::Hmac224)),
    ("HMAC with SHA-256", KeyKind::Mac(HmacSpec::Hmac256)),
    ("HMAC with SHA-384", KeyKind::Mac(HmacSpec::Hmac384)),
    ("HMAC with SHA-512", KeyKind::Mac(HmacSpec::Hmac512)),
];
/// What keys that are tried on the token itself are for.
pub(super) const PASSING_PURPOSES: [Purpose; 4] =
    [Purpose::Kms, Purpose::Imported, Purpose::ImportWrapping, Purpose::Replication];
/// An id that no key gets: nearly all of them are random.
const PASSING_ID: [u8; 16] = *b"hsm-kms/passing/";
/// How long trying in the background may wait for its turn.
const TRYING_TIME: Duration = Duration::from_secs(600);
/// How often a forged ciphertext is tried that is told by an unknown code.
const FORGERIES: usize = 2;
const ASSOCIATED: &[u8] = b"hsm-kms/self-test";
const SEED: [u8; mechanism::SEED_LEN] = [0x5e; mechanism::SEED_LEN];
