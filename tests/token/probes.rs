//! What is tried at the start, and what is made of the answers.

use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectClass};
use hsm_kms::crypto::{Agreement, oaep_encrypt};
use hsm_kms::model::{EncryptionAlgorithm, HmacSpec, KeyPairSpec, ObjectName, Purpose, WrappingAlgorithm};
use hsm_kms::token::{Error, Import, KeyKind, Offer, Place, Settings, Token, init_token};

use super::kinds::later;
use super::process::*;
use super::shim::{self, Shim};

/// Else every forged ciphertext of a caller would cost a session, or with a code of a lost device all of them.
#[test]
fn rsa_is_not_offered_where_forged_ciphertexts_look_like_failures() {
    in_own_process("probes::rsa_is_not_offered_where_forged_ciphertexts_look_like_failures", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        let kind = KeyKind::Decrypt(KeyPairSpec::Rsa2048);
        for code in ["CKR_DEVICE_ERROR", "CKR_DATA_INVALID"] {
            shim.rules(&format!("bad_padding {code}"));
            let token = open_on_shim(dir, "");
            let Offer::No(why) = block_on(token.offers(kind, soon())).unwrap() else { panic!("{code}: it is offered") };
            assert!(why.contains("errors.auth_failure does not list"), "{why}");
            assert_eq!((token.counts().recoveries, token.counts().logins), (0, 1), "{code}");
        }
        {
            let token = open_on_shim(dir, "");
            let refused = block_on(token.generate_key(&name(1), kind, soon())).unwrap_err();
            assert!(matches!(refused, Error::Wrong(_)), "{refused}");
            assert!(!block_on(token.exists(&name(1), soon())).unwrap());
        }
        shim.rules("bad_padding CKR_DEVICE_ERROR");
        let token = open_on_shim(dir, "[errors]\nauth_failure = [\"GeneralError\", \"DeviceError\"]\n");
        assert_eq!(block_on(token.offers(kind, soon())).unwrap(), Offer::Yes);
    });
}

/// A failure that passes decides nothing: what the token unwraps by itself is not in the host's memory afterwards.
#[test]
fn a_failure_that_passes_sends_no_import_through_the_host() {
    in_own_process("probes::a_failure_that_passes_sends_no_import_through_the_host", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        let place = |token: &Token| {
            block_on(token.unwraps(KeyKind::Mac(HmacSpec::Hmac256), WrappingAlgorithm::RsaesOaepSha1, soon()))
        };
        for code in ["CKR_FUNCTION_FAILED", "CKR_DEVICE_MEMORY", "CKR_OBJECT_HANDLE_INVALID"] {
            shim.rules("");
            let token = open_on_shim(dir, UNWRAPPING);
            shim.rules(&format!("fail {code} C_UnwrapKey"));
            let refused = place(&token).unwrap_err();
            assert!(matches!(refused, Error::Unavailable(_) | Error::Full(_)), "{code}: {refused}");
            shim.rules("");
            assert_eq!(place(&token).unwrap(), Place::Token, "{code}");
        }

        // What the token does refuse goes through the host, until its sessions are opened anew.
        let token = open_on_shim(dir, UNWRAPPING);
        shim.rules("fail CKR_MECHANISM_INVALID C_UnwrapKey,C_GenerateKeyPair");
        let kind = KeyKind::Sign(KeyPairSpec::EccNistP256);
        assert!(matches!(block_on(token.offers(kind, soon())).unwrap(), Offer::No(_)));
        shim.rules("fail CKR_MECHANISM_INVALID C_UnwrapKey");
        assert_eq!(place(&token).unwrap(), Place::Host);
        shim.rules("");
        assert_eq!(place(&token).unwrap(), Place::Host);
        assert!(matches!(block_on(token.offers(kind, soon())).unwrap(), Offer::No(_)));
        shim.rules("close_sessions 1");
        until("it has recovered", || {
            let _ = block_on(token.exists(&name(1), soon()));
            token.counts().recoveries == 1 && token.status().is_ready()
        });
        assert_eq!(place(&token).unwrap(), Place::Token);
        assert_eq!(block_on(token.offers(kind, soon())).unwrap(), Offer::Yes);
    });
}

/// One call that fails is tried again before anything is said of the material, or of what the token can do.
#[test]
fn good_material_is_not_refused_for_a_failure_of_a_moment() {
    in_own_process("probes::good_material_is_not_refused_for_a_failure_of_a_moment", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        let token = open_on_shim(dir, UNWRAPPING);
        let spec = KeyPairSpec::Rsa2048;
        let wrapping = ObjectName { purpose: Purpose::ImportWrapping, ..name(200) };
        let public = block_on(token.generate_key(&wrapping, KeyKind::ImportWrapping(spec), later())).unwrap().unwrap();
        let import = |number: u8, encrypted: Vec<u8>| Import {
            name: ObjectName { purpose: Purpose::Imported, ..name(number) },
            of_key: name(number).key_id,
            kind: KeyKind::Mac(HmacSpec::Hmac256),
            wrapping,
            wrapping_spec: spec,
            algorithm: WrappingAlgorithm::RsaesOaepSha1,
            encrypted,
            allow_host: false,
        };
        let wrapped = |material: &[u8]| oaep_encrypt(&public, EncryptionAlgorithm::RsaesOaepSha1, material).unwrap();
        let good = |number: u8| block_on(token.unwrap_key(&import(number, wrapped(&[7; 32])), soon()));
        // The trial of what the token unwraps by itself, of each kind of key with its own length first.
        shim.rules("fail CKR_GENERAL_ERROR C_UnwrapKey nth 1");
        assert_eq!(good(1).unwrap().place, Place::Token);
        for (number, code) in (2..).zip(["CKR_GENERAL_ERROR", "CKR_FUNCTION_REJECTED", "CKR_ENCRYPTED_DATA_INVALID"]) {
            shim.rules(&format!("fail {code} C_UnwrapKey nth 1"));
            assert_eq!(good(number).expect(code).place, Place::Token);
        }
        shim.rules("fail CKR_GENERAL_ERROR C_SignInit nth 1");
        assert_eq!(good(10).unwrap().place, Place::Token);
        shim.rules("fail CKR_GENERAL_ERROR C_UnwrapKey nth 1\nfail CKR_GENERAL_ERROR C_UnwrapKey nth 3");
        let refused = good(11).unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "it has failed others a moment ago: {refused}");

        // What is bad is bad all the same, once nothing else fails.
        shim.rules("");
        let mut forged = wrapped(&[7; 32]);
        forged[255] ^= 1;
        let bad = |encrypted: &[u8]| block_on(token.unwrap_key(&import(12, encrypted.to_vec()), soon())).unwrap_err();
        until("the trouble is over", || matches!(bad(&forged), Error::BadData));
        assert!(matches!(bad(&wrapped(&[7; 31])), Error::IncorrectMaterial(_)));
    });
}

/// The limit is what all sessions together take: one that is replaced makes room for its successor.
#[test]
fn a_session_is_replaced_where_there_is_no_room_for_one_more() {
    in_own_process("probes::a_session_is_replaced_where_there_is_no_room_for_one_more", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        shim.rules("sessions 5");
        let token = open_on_shim(dir, "");
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let before = token.counts();
            shim.rules("sessions 5\nfail CKR_FUNCTION_FAILED C_Encrypt nth 1");
            token.wrap_seed(&name(1), token.scheme(), b"", &[7; 32], soon()).await.expect("on a new session");
            let after = token.counts();
            assert_eq!((after.sessions, after.recoveries), (before.sessions + 1, 0));
        });
    });
}

/// What is refused leaves nobody logged in, although another token keeps the module going.
#[test]
fn a_profile_with_too_many_workers_leaves_nobody_logged_in() {
    in_own_process("probes::a_profile_with_too_many_workers_leaves_nobody_logged_in", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        init_token(&shim::module(), "other", &pin("12345678"), &pin(PIN)).unwrap();
        let settings =
            |label: &str, more: &str| Settings { label: Some(label.to_owned()), ..settings_on_shim(dir, more) };
        let _other = Token::open(&settings("other", ""), pin(PIN), || panic!("hopeless")).unwrap();
        shim.rules(&format!("@{LABEL} sessions 20"));
        let connect =
            |more: &str| Token::connect(&settings(LABEL, more), &pin(PIN), |_, _| Ok(()), || panic!("hopeless"));
        for _ in 0..2 {
            let refused = connect("[sessions]\nfast_workers = 40\n").unwrap_err();
            assert!(matches!(refused, Error::TooManyWorkers { wanted: 44, max: 20, .. }), "{refused}");
        }
        connect("").unwrap();
    });
}

/// A library that remembers a login which the token has forgotten, and one that must be started anew.
#[test]
fn a_new_login_and_then_a_restart_of_the_module_are_tried() {
    in_own_process("probes::a_new_login_and_then_a_restart_of_the_module_are_tried", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        let token = open_on_shim(dir, "[limits]\nhopeless_seconds = 5\n");
        block_on(token.generate(&name(1), soon())).unwrap();
        let wraps = || block_on(token.wrap_seed(&name(1), token.scheme(), b"", &[7; 32], soon()));
        let cases = [("CKR_USER_NOT_LOGGED_IN", "C_Login", 0), ("CKR_DEVICE_ERROR", "C_Finalize", 1)];
        for (code, function, restarts) in cases {
            let (before, finalised) = (shim.calls(function), shim.calls("C_Finalize"));
            shim.rules(&format!("fail {code} C_Encrypt,C_GenerateKey"));
            let refused = wraps().unwrap_err();
            assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
            until("it helps itself", || shim.calls(function) > before);
            assert_eq!(shim.calls("C_Finalize") - finalised, restarts);
            shim.rules("");
            until("it is back", || token.status().is_ready());
            wraps().unwrap();
        }
    });
}

/// A token that is lost between making a key and destroying it, again and again, keeps one key of that and no more; and none
/// once it is back.
#[test]
fn keys_that_are_tried_do_not_pile_up_where_they_are_token_objects() {
    in_own_process("probes::keys_that_are_tried_do_not_pile_up_where_they_are_token_objects", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        shim.rules(NO_SESSION_OBJECTS);
        let token = open_on_shim(dir, "[objects]\nin_session = false\n");
        let (lost, before) = ("fail CKR_DEVICE_ERROR C_DestroyObject", shim.calls("C_DestroyObject"));
        shim.rules(&format!("{NO_SESSION_OBJECTS}{lost}\nclose_sessions 1"));
        until("it was tried four times", || {
            // Whoever asks notices the loss.
            let _ = block_on(token.exists(&name(1), soon()));
            shim.calls("C_DestroyObject") >= before + 4
        });
        assert_eq!(objects(dir), 1);
        shim.rules(NO_SESSION_OBJECTS);
        until("it is back", || token.status().is_ready());
        assert_eq!(objects(dir), 0);
        drop(token);

        // A user who may make keys and not destroy them.
        shim.rules(&format!("{NO_SESSION_OBJECTS}fail CKR_FUNCTION_FAILED C_DestroyObject"));
        let refused: Vec<Error> =
            (0..12).map(|_| try_on_shim(dir, "[objects]\nin_session = false\n").unwrap_err()).collect();
        assert!(matches!(refused[0], Error::Unavailable(_)), "{}", refused[0]);
        assert!(matches!(refused[11], Error::Full(_)), "{}", refused[11]);
        assert_eq!(objects(dir), 8);
    });
}

/// What is tried is made as what stays: a token that refuses that says so at once, and not when the first key is made.
#[test]
fn keys_that_are_tried_are_modifiable_as_those_that_stay() {
    in_own_process("probes::keys_that_are_tried_are_modifiable_as_those_that_stay", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        shim.rules("refuse_false CKR_ATTRIBUTE_VALUE_INVALID 0x170");
        let refused = try_on_shim(dir, "").unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        let token = open_on_shim(dir, "[objects]\nomit = [\"modifiable\"]\n");
        block_on(token.generate(&name(1), soon())).unwrap();
        drop(token);
        shim.rules("");
        let (token, kind) = (open_on_shim(dir, ""), KeyKind::Sign(KeyPairSpec::EccNistP256));
        shim.rules("refuse_false CKR_ATTRIBUTE_VALUE_INVALID 0x170");
        let offer = block_on(token.offers(kind, soon())).unwrap();
        assert!(matches!(&offer, Offer::No(why) if why.contains("AttributeValueInvalid")), "{offer:?}");
    });
}

/// What was agreed on is read by one call, into memory that is wiped; and if it cannot be destroyed, its session is closed.
#[test]
fn a_secret_that_was_agreed_on_stays_nowhere() {
    in_own_process("probes::a_secret_that_was_agreed_on_stays_nowhere", |dir| {
        let shim = Shim::in_dir(dir);
        make_token_on_shim();
        let (token, spec) = (open_on_shim(dir, ""), KeyPairSpec::EccNistP384);
        let peer = Agreement::new(spec).unwrap();
        let public = block_on(token.generate_key(&name(1), KeyKind::Agree(spec), soon())).unwrap().unwrap();
        let agreed = peer.agree(&public).unwrap();
        let agree = || block_on(token.derive(&name(1), spec, &peer.public_key, soon())).unwrap();
        assert_eq!(agree().expose(), agreed.expose());
        let (reads, sessions) = (shim.calls("C_GetAttributeValue"), token.counts().sessions);
        assert_eq!(agree().expose(), agreed.expose());
        assert_eq!((shim.calls("C_GetAttributeValue") - reads, token.counts().sessions), (1, sessions));

        shim.rules("fail CKR_FUNCTION_REJECTED C_DestroyObject nth 1");
        assert_eq!(agree().expose(), agreed.expose(), "by the second try");
        let context = Pkcs11::new(shim::module()).unwrap();
        let slot = context.get_slots_with_initialized_token().unwrap()[0];
        let session = context.open_ro_session(slot).unwrap();
        let left = [Attribute::Token(false), Attribute::Class(ObjectClass::SECRET_KEY)];
        assert_eq!(session.find_objects(&left).unwrap(), []);
        assert_eq!((token.counts().sessions, token.counts().recoveries), (sessions + 1, 0));
    });
}

/// Token objects, by their files.
fn objects(dir: &Path) -> usize {
    let files = std::fs::read_dir(folder(dir)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "object")).count() - 1
}

const NO_SESSION_OBJECTS: &str = "no_session_objects\n";
const UNWRAPPING: &str = "[sessions]\npairs_made_in_session = true\n[imports]\nunwrap_secrets = true\n";

fn make_token_on_shim() {
    init_token(&shim::module(), LABEL, &pin("12345678"), &pin(PIN)).unwrap();
}

fn open_on_shim(dir: &Path, more: &str) -> Token {
    try_on_shim(dir, more).unwrap()
}

fn try_on_shim(dir: &Path, more: &str) -> Result<Token, Error> {
    Token::open(&settings_on_shim(dir, more), pin(PIN), || panic!("hopeless"))
}

/// The settings with a profile that has these lines, too.
fn settings_on_shim(dir: &Path, more: &str) -> Settings {
    let path = dir.join("profile.toml");
    let host = "[rsa]\noaep_sha256 = \"host\"\n";
    let text = format!("schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_host_iv\"]\n{host}{more}");
    std::fs::write(&path, text).unwrap();
    Settings { module: shim::module(), profile: Some(path), ..settings(dir) }
}
