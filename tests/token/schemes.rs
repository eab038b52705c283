//! How seeds are wrapped: schemes, what a material remembers of them, and whose IV it is.

use std::collections::HashSet;
use std::path::Path;

use hsm_kms::token::{Error, Settings, Token};

use super::process::*;

const HOST_GCM: u8 = 1;
const CBC: u8 = 4;

#[test]
fn a_scheme_without_an_aead_wraps_and_leaves_forgeries_to_the_blob() {
    in_own_process("schemes::a_scheme_without_an_aead_wraps_and_leaves_forgeries_to_the_blob", |dir| {
        make_token(LABEL);
        let token = open_schemes(dir, r#"["aes_cbc_host_iv"]"#).unwrap();
        assert_eq!(token.scheme(), CBC);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let mut seen = HashSet::new();
            for _ in 0..50 {
                let wrapped = token.wrap_seed(&name(1), CBC, b"aad", &[7; 32], soon()).await.unwrap();
                assert_eq!(wrapped.len(), 48);
                assert!(seen.insert(wrapped[..16].to_vec()), "an IV is used once");
                assert!(seen.insert(wrapped[16..32].to_vec()) && seen.insert(wrapped[32..].to_vec()));
            }
            let wrapped = token.wrap_seed(&name(1), CBC, b"aad", &[7; 32], soon()).await.unwrap();
            assert_eq!(*token.unwrap_seed(&name(1), CBC, b"aad", &wrapped, soon()).await.unwrap(), [7; 32]);
            let before = token.counts().operations;
            for index in 0..48 {
                let mut forged = wrapped.clone();
                forged[index] ^= 1;
                let seed = token.unwrap_seed(&name(1), CBC, b"aad", &forged, soon()).await.unwrap();
                assert_ne!(*seed, [7; 32], "byte {index}");
            }
            assert_eq!(token.counts().operations - before, 48, "one call each");
            for len in [0, 16, 32, 47, 49, 60, 64] {
                let mut cut = wrapped.clone();
                cut.resize(len, 0);
                let refused = token.unwrap_seed(&name(1), CBC, b"aad", &cut, soon()).await.unwrap_err();
                assert!(matches!(refused, Error::BadData), "{len} bytes: {refused}");
            }
            assert_eq!(token.counts().operations - before, 48, "a wrong length does not reach the token");
        });
    });
}

#[test]
fn a_key_remembers_its_scheme_whatever_the_profile_says_now() {
    in_own_process("schemes::a_key_remembers_its_scheme_whatever_the_profile_says_now", |dir| {
        make_token(LABEL);
        let token = open_schemes(dir, r#"["aes_cbc_host_iv", "aes_gcm_host_iv"]"#).unwrap();
        assert_eq!(token.scheme(), CBC, "the first that works");
        let wrapped = block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.wrap_seed(&name(1), CBC, b"", &[7; 32], soon()).await.unwrap()
        });
        drop(token);
        let token = open_schemes(dir, r#"["aes_kwp", "aes_gcm_host_iv"]"#).unwrap();
        assert_eq!(token.scheme(), HOST_GCM, "SoftHSM has no CKM_AES_KEY_WRAP_KWP");
        block_on(async {
            assert_eq!(*token.unwrap_seed(&name(1), CBC, b"", &wrapped, soon()).await.unwrap(), [7; 32]);
            let again = token.wrap_seed(&name(1), CBC, b"", &[8; 32], soon()).await.unwrap();
            assert_eq!(*token.unwrap_seed(&name(1), CBC, b"", &again, soon()).await.unwrap(), [8; 32]);
            // What it does not do is no matter of the ciphertext.
            for (scheme, len) in [(0, 60), (2, 60), (3, 60), (5, 64), (6, 60), (7, 40), (8, 60), (255, 60)] {
                let refused = [
                    token.wrap_seed(&name(1), scheme, b"", &[7; 32], soon()).await.map(drop),
                    token.unwrap_seed(&name(1), scheme, b"", &vec![1; len], soon()).await.map(drop),
                ];
                for refused in refused.map(Result::unwrap_err) {
                    assert_eq!(
                        refused.to_string(),
                        format!(
                            "the key's seeds are wrapped by scheme {scheme}, which this token does not do; it does \
                             1 (aes_gcm_host_iv), 4 (aes_cbc_host_iv)"
                        )
                    );
                }
            }
        });
    });
}

#[test]
fn a_token_that_makes_no_iv_is_never_left_to_make_one() {
    in_own_process("schemes::a_token_that_makes_no_iv_is_never_left_to_make_one", |dir| {
        make_token(LABEL);
        let refusal = |schemes: &str| open_schemes(dir, schemes).unwrap_err().to_string();
        let zeroed = refusal(r#"["aes_gcm_zeroed_iv"]"#);
        assert_eq!(
            zeroed,
            "the token wraps seeds in no way that the profile test allows: aes_gcm_zeroed_iv: it makes no IV of its own \
             and left it at zeros, which would be the IV of every seed; name the profile of this token's vendor in \
             `token.profile`, or schemes that it does: see `hsm-kms token probe`"
        );
        for (scheme, why) in [
            ("aes_gcm_prepended_iv", "C_EncryptInit answered MechanismInvalid"),
            ("aes_gcm_appended_iv_128", "its output has another length"),
            ("aes_gcm_appended_iv_96", "its output has another length"),
            ("aes_kwp", "C_EncryptInit answered MechanismInvalid"),
        ] {
            let told = refusal(&format!("[\"{scheme}\"]"));
            assert!(told.contains(&format!("{scheme}: {why}")), "{told}");
        }
        // The next one of the list is taken.
        let token =
            open_schemes(dir, r#"["aes_gcm_zeroed_iv", "aes_gcm_appended_iv_128", "aes_cbc_host_iv"]"#).unwrap();
        assert_eq!(token.scheme(), CBC);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let refused = token.wrap_seed(&name(1), 2, b"", &[7; 32], soon()).await.unwrap_err();
            assert!(matches!(refused, Error::Scheme { asked: 2, .. }), "{refused}");
        });
    });
}

#[test]
fn a_known_vendors_profile_on_another_token_is_refused() {
    in_own_process("schemes::a_known_vendors_profile_on_another_token_is_refused", |dir| {
        make_token(LABEL);
        let profile = Some("generic".into());
        let token = Token::open(&Settings { profile, ..settings(dir) }, pin(PIN), || panic!("hopeless")).unwrap();
        assert_eq!(token.scheme(), HOST_GCM);
    });
}

fn open_schemes(dir: &Path, schemes: &str) -> Result<Token, Error> {
    let path = dir.join("schemes.toml");
    std::fs::write(&path, format!("schema = 1\nname = \"test\"\nschemes = {schemes}\n")).unwrap();
    Token::open(&Settings { profile: Some(path), ..settings(dir) }, pin(PIN), || panic!("hopeless"))
}
