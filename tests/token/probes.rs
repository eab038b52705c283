//! What is tried at the start, and what is made of the answers.

use std::path::Path;

use hsm_kms::model::KeyPairSpec;
use hsm_kms::token::{Error, KeyKind, Offer, Settings, Token, init_token};

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

fn make_token_on_shim() {
    init_token(&shim::module(), LABEL, &pin("12345678"), &pin(PIN)).unwrap();
}

fn open_on_shim(dir: &Path, more: &str) -> Token {
    try_on_shim(dir, more).unwrap()
}

fn try_on_shim(dir: &Path, more: &str) -> Result<Token, Error> {
    let path = dir.join("profile.toml");
    let host = "[rsa]\noaep_sha256 = \"host\"\n";
    let text = format!("schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_host_iv\"]\n{host}{more}");
    std::fs::write(&path, text).unwrap();
    let settings = Settings { module: shim::module(), profile: Some(path), ..settings(dir) };
    Token::open(&settings, pin(PIN), || panic!("hopeless"))
}
