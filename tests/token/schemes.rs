//! How seeds are wrapped: schemes, what a material remembers of them, and whose IV it is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use hsm_kms::token::{Error, Settings, Status, Token, init_token, tokens};
use secrecy::SecretString;

use super::process::*;
use super::shim::{self, Shim};

const HOST_GCM: u8 = 1;
const ZEROED: u8 = 2;
const PREPENDED: u8 = 3;
const CBC: u8 = 4;
const APPENDED: u8 = 5;

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
            for (scheme, len) in [(0, 60), (3, 60), (7, 40), (8, 60), (255, 60)] {
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
fn a_vendors_profile_on_another_token_is_refused_by_name() {
    in_own_process("schemes::a_vendors_profile_on_another_token_is_refused_by_name", |dir| {
        let user = pin("kms_user:password1");
        init_token(MODULE.as_ref(), LABEL, &pin("12345678"), &user).unwrap();
        let open = |profile: &str, pin: SecretString| {
            Token::open(&Settings { profile: Some(profile.into()), ..settings(dir) }, pin, || panic!("hopeless"))
        };
        let refused = open("aws-cloudhsm", user.clone()).unwrap_err().to_string();
        assert!(
            refused.starts_with("the token wraps seeds in no way that the profile aws-cloudhsm allows: "),
            "{refused}"
        );
        assert!(refused.contains("aes_gcm_zeroed_iv: it makes no IV of its own and left it at zeros"), "{refused}");
        assert!(refused.contains("name the profile of this token's vendor in `token.profile`"), "{refused}");
        assert_eq!(open("generic", user).unwrap().scheme(), HOST_GCM);

        // A PIN that is none of the vendor's is not tried.
        for (profile, wrong) in [("aws-cloudhsm", "password"), ("aws-cloudhsm", ":x"), ("yubihsm2", "x001password")] {
            let refused = open(profile, pin(wrong)).unwrap_err();
            assert!(matches!(refused, Error::PinShape { .. }), "{refused}");
            assert!(
                refused.to_string().starts_with(&format!("the PIN was not tried: with the profile {profile} it is"))
            );
        }
        let listed = tokens(MODULE.as_ref(), None).unwrap();
        assert!(!listed.iter().any(|token| token.flags.pin_count_low), "no wrong PIN reached the token");
        let refused = open("no-such-vendor", pin(PIN)).unwrap_err().to_string();
        assert!(refused.starts_with("the token profile no-such-vendor cannot be used: No such file"), "{refused}");
    });
}

#[test]
fn the_tokens_own_ivs_are_used_once_and_zeros_never() {
    in_own_process("schemes::the_tokens_own_ivs_are_used_once_and_zeros_never", |dir| {
        let shim = Shim::in_dir(dir);
        shim.rules(CLOUDHSM);
        let token = open_on_shim(dir, r#"["aes_gcm_zeroed_iv"]"#);
        assert_eq!(token.scheme(), ZEROED);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let wrapped = token.wrap_seed(&name(1), ZEROED, b"aad", &[7; 32], soon()).await.unwrap();
            let mut seen = HashSet::new();
            for _ in 0..50 {
                let wrapped = token.wrap_seed(&name(1), ZEROED, b"aad", &[7; 32], soon()).await.unwrap();
                assert_ne!(wrapped[..12], [0; 12]);
                assert!(seen.insert(wrapped[..12].to_vec()) && seen.insert(wrapped[12..].to_vec()));
            }
            opens_only_as_it_is(&token, ZEROED, &wrapped).await;

            // A token that ceases to make IVs: what it wrapped under zeros is given to nobody, and then it is left alone.
            shim.rules("");
            let wraps = async || token.wrap_seed(&name(1), ZEROED, b"aad", &[7; 32], soon()).await;
            let refused = wraps().await.unwrap_err();
            assert!(matches!(refused, Error::Wrong(_)), "{refused}");
            until("it is unavailable", || matches!(token.status(), Status::Unavailable(_)));
            let told = token.status().to_string();
            assert!(
                told.contains("in no way that the profile test allows: aes_gcm_zeroed_iv: it makes no IV"),
                "{told}"
            );
            for _ in 0..20 {
                let refused = wraps().await.unwrap_err();
                assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
            }

            shim.rules(CLOUDHSM);
            until("it is back", || token.status().is_ready());
            assert_ne!(wraps().await.unwrap()[..12], [0; 12]);
            assert_eq!(*token.unwrap_seed(&name(1), ZEROED, b"aad", &wrapped, soon()).await.unwrap(), [7; 32]);
        });
        assert_eq!(token.counts().logins, 1);
    });
}

#[test]
fn an_iv_beside_the_ciphertext_comes_back_with_it() {
    in_own_process("schemes::an_iv_beside_the_ciphertext_comes_back_with_it", |dir| {
        let shim = Shim::in_dir(dir);
        shim.rules(&format!("@{LABEL} {}\n@{LABEL} vendor_gcm\n", CLOUDHSM.trim_end()));
        let token = open_on_shim(dir, r#"["aes_gcm_prepended_iv", "aes_gcm_zeroed_iv"]"#);
        assert_eq!(token.scheme(), PREPENDED);
        let wrapped = block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let wrapped = token.wrap_seed(&name(1), PREPENDED, b"aad", &[7; 32], soon()).await.unwrap();
            opens_only_as_it_is(&token, PREPENDED, &wrapped).await;
            // A key of another scheme of the same token goes on as it was made.
            let other = token.wrap_seed(&name(1), ZEROED, b"aad", &[7; 32], soon()).await.unwrap();
            opens_only_as_it_is(&token, ZEROED, &other).await;
            wrapped
        });
        drop(token);

        // Out of FIPS mode, the other vendor's HSM makes no IV; what it wrapped in that mode it still opens.
        shim.rules("gcm_iv appended");
        let schemes = r#"["aes_gcm_appended_iv_96", "aes_gcm_appended_iv_128", "aes_gcm_host_iv"]"#;
        let token = open_schemes_with(dir, schemes, shim::module()).unwrap();
        assert_eq!(token.scheme(), APPENDED);
        let appended = block_on(async {
            token.generate(&name(2), soon()).await.unwrap();
            let appended = token.wrap_seed(&name(2), APPENDED, b"aad", &[7; 32], soon()).await.unwrap();
            assert_eq!(appended.len(), 64);
            assert_ne!(appended[48..], [0; 16]);
            token.destroy(&name(1), soon()).await.unwrap();
            let renamed = token.unwrap_seed(&name(2), PREPENDED, b"aad", &wrapped, soon()).await.unwrap_err();
            assert!(matches!(renamed, Error::Scheme { asked: PREPENDED, .. }), "{renamed}");
            appended
        });
        drop(token);
        shim.rules("");
        let token = open_schemes_with(dir, schemes, shim::module()).unwrap();
        assert_eq!(token.scheme(), HOST_GCM);
        block_on(async {
            let unwrap = async |wrapped: &[u8]| token.unwrap_seed(&name(2), APPENDED, b"aad", wrapped, soon()).await;
            assert_eq!(*unwrap(&appended).await.unwrap(), [7; 32]);
            for index in [0, 40, 63] {
                let mut forged = appended.clone();
                forged[index] ^= 1;
                assert!(matches!(unwrap(&forged).await, Err(Error::BadData)), "byte {index}");
            }
            let refused = token.wrap_seed(&name(2), APPENDED, b"aad", &[7; 32], soon()).await.unwrap_err();
            assert!(matches!(refused, Error::Scheme { asked: APPENDED, .. }), "{refused}");
        });
    });
}

/// A scheme that was done is not given up for a failure that passes: its keys would be unavailable until the next loss, and
/// new ones would get a lesser one.
#[test]
fn a_failure_during_a_recovery_costs_no_scheme() {
    in_own_process("schemes::a_failure_during_a_recovery_costs_no_scheme", |dir| {
        let shim = Shim::in_dir(dir);
        let token = open_on_shim(dir, r#"["aes_gcm_host_iv", "aes_cbc_host_iv"]"#);
        block_on(token.generate(&name(1), soon())).unwrap();
        let wrapped = block_on(token.wrap_seed(&name(1), HOST_GCM, b"", &[7; 32], soon())).unwrap();
        let twice = |code: &str, nth: [u64; 2]| {
            nth.map(|nth| format!("fail {code} C_EncryptInit nth {nth}\n")).concat() + &format!("close_sessions {code}")
        };
        // Of both tries of a forged ciphertext, in both tries of the scheme.
        let forged = [2, 3, 5, 6].map(|nth| format!("fail CKR_DATA_INVALID C_Decrypt nth {nth}\n")).concat();
        let cases =
            [twice("CKR_FUNCTION_FAILED", [1, 2]), twice("CKR_DEVICE_MEMORY", [1, 2]), forged + "close_sessions"];
        for (recoveries, rules) in (1..).zip(cases) {
            shim.rules(&rules);
            until("it has recovered", || {
                // Whoever asks notices the loss.
                let _ = block_on(token.exists(&name(1), soon()));
                token.counts().recoveries == recoveries && token.status().is_ready()
            });
            assert_eq!(token.scheme(), HOST_GCM, "{rules}");
            let seed = block_on(token.unwrap_seed(&name(1), HOST_GCM, b"", &wrapped, soon())).unwrap();
            assert_eq!(*seed, [7; 32], "{rules}");
        }
    });
}

/// A second try with an IV of the token's own uses up one more, and so does a probe that finds nothing to unwrap.
#[test]
fn ivs_that_nobody_has_asked_for_are_counted() {
    in_own_process("schemes::ivs_that_nobody_has_asked_for_are_counted", |dir| {
        let shim = Shim::in_dir(dir);
        let count = |scheme: u8, schemes: &str, quirk: &str| {
            shim.rules(quirk);
            let token = open_schemes_with(dir, schemes, shim::module()).unwrap();
            let key = name(scheme);
            let wrap = || block_on(token.wrap_seed(&key, scheme, b"", &[7; 32], soon())).unwrap();
            block_on(token.generate(&key, soon())).unwrap();
            let mut forged = wrap();
            forged[20] ^= 1;
            assert_eq!(token.take_extra_ivs(&key), 0);
            shim.rules(&format!("{quirk}fail CKR_FUNCTION_FAILED C_Encrypt nth 1"));
            wrap();
            let retried = token.take_extra_ivs(&key);
            // A new session knows nothing of the key.
            shim.rules(&format!("{quirk}close_sessions"));
            assert!(!block_on(token.exists(&name(9), soon())).unwrap());
            until("the trouble is over", || {
                let refused = block_on(token.unwrap_seed(&key, scheme, b"", &forged, soon()));
                matches!(refused, Err(Error::BadData))
            });
            (retried, token.take_extra_ivs(&key), token.take_extra_ivs(&key))
        };
        init_token(&shim::module(), LABEL, &pin("12345678"), &pin(PIN)).unwrap();
        assert_eq!(count(ZEROED, r#"["aes_gcm_zeroed_iv"]"#, "gcm_iv zeroed\n"), (1, 1, 0));
        assert_eq!(count(HOST_GCM, r#"["aes_gcm_host_iv"]"#, ""), (0, 1, 0), "ours is the same in both tries");
    });
}

/// What may pass is tried again, at the latest by a supervisor.
#[test]
fn at_the_start_a_failure_that_may_pass_is_no_verdict() {
    in_own_process("schemes::at_the_start_a_failure_that_may_pass_is_no_verdict", |dir| {
        let shim = Shim::in_dir(dir);
        drop(open_on_shim(dir, r#"["aes_gcm_host_iv"]"#));
        let open = |rules: &str| {
            shim.rules(rules);
            open_schemes_with(dir, r#"["aes_gcm_host_iv"]"#, shim::module())
        };
        // The first C_Decrypt is of what was wrapped, and the second one of a forgery.
        open("fail CKR_DATA_INVALID C_Decrypt nth 2").expect("a forgery that is told right at its second try");
        let verdicts = [
            ("fail CKR_FUNCTION_FAILED C_EncryptInit", false),
            ("fail CKR_DEVICE_MEMORY C_Decrypt", false),
            ("hide 0x1087", true),
            ("bad_tag CKR_DATA_INVALID", true),
        ];
        for (rules, verdict) in verdicts {
            let refused = open(rules).unwrap_err();
            assert!(matches!(refused, Error::NoScheme { for_good, .. } if for_good == verdict), "{rules}: {refused:?}");
        }
        open("").unwrap();
    });
}

/// Every flipped byte, and other associated data, is bad data at the cost of one call more.
async fn opens_only_as_it_is(token: &Token, scheme: u8, wrapped: &[u8]) {
    let unwrap = async |associated: &[u8], wrapped: &[u8]| {
        token.unwrap_seed(&name(1), scheme, associated, wrapped, soon()).await
    };
    assert_eq!(*unwrap(b"aad", wrapped).await.unwrap(), [7; 32]);
    let (before, mut cost) = (token.counts(), Cost::begin(1));
    for index in 0..wrapped.len() {
        let mut forged = wrapped.to_vec();
        forged[index] ^= 0x40;
        let operations = token.counts().operations;
        let refused = unwrap(b"aad", &forged).await.unwrap_err();
        assert!(matches!(refused, Error::BadData), "byte {index}: {refused}");
        cost.add(token.counts().operations - operations);
    }
    let refused = unwrap(b"AAD", wrapped).await.unwrap_err();
    assert!(matches!(refused, Error::BadData), "{refused}");
    for len in [0, 12, wrapped.len() - 1, wrapped.len() + 1] {
        let mut cut = wrapped.to_vec();
        cut.resize(len, 0);
        assert!(matches!(unwrap(b"aad", &cut).await, Err(Error::BadData)), "{len} bytes");
    }
    let after = token.counts();
    assert_eq!((after.sessions, after.recoveries), (before.sessions, before.recoveries));
    assert_eq!(*unwrap(b"aad", wrapped).await.unwrap(), [7; 32]);
}

/// Makes a token on the shim and opens it with these schemes.
fn open_on_shim(dir: &Path, schemes: &str) -> Token {
    init_token(&shim::module(), LABEL, &pin("12345678"), &pin(PIN)).unwrap();
    open_schemes_with(dir, schemes, shim::module()).unwrap()
}

fn open_schemes(dir: &Path, schemes: &str) -> Result<Token, Error> {
    open_schemes_with(dir, schemes, MODULE.into())
}

fn open_schemes_with(dir: &Path, schemes: &str, module: PathBuf) -> Result<Token, Error> {
    let path = dir.join("schemes.toml");
    std::fs::write(&path, format!("schema = 1\nname = \"test\"\nschemes = {schemes}\n")).unwrap();
    let settings = Settings { module, profile: Some(path), ..settings(dir) };
    Token::open(&settings, pin(PIN), || panic!("hopeless"))
}

/// As CloudHSM has `CKM_AES_GCM`.
const CLOUDHSM: &str = "gcm_iv zeroed\n";
