//! Calls that hang, calls that are slow, and what becomes of who is inside one.

use std::path::Path;
use std::time::{Duration, Instant};

use hsm_kms::crypto::PublicKey;
use hsm_kms::model::KeyPairSpec;
use hsm_kms::token::{Error, KeyKind, Settings, Token, init_token};

use super::process::*;
use super::shim::{self, Shim};

/// The worker comes back after a new login, when its handles are other keys' and its session may be somebody else's.
#[test]
fn who_was_written_off_destroys_nothing_by_an_old_handle() {
    in_own_process("watched::who_was_written_off_destroys_nothing_by_an_old_handle", |dir| {
        let card = Card::new(dir);
        block_on(async {
            let public = card.make_agreement_key().await;
            // What was agreed on is read, and destroyed.
            card.comes_back_late("token-private", 1, "renumber", card.agree(public)).await;
        });
    });
}

#[test]
fn who_was_written_off_touches_no_session() {
    in_own_process("watched::who_was_written_off_touches_no_session", |dir| {
        let card = Card::new(dir);
        block_on(async {
            let public = card.make_agreement_key().await;
            // A failure of this kind is mended by a new session.
            let rules = "renumber\nfail CKR_FUNCTION_FAILED C_GetAttributeValue nth 1";
            card.comes_back_late("token-private", 1, rules, card.agree(public)).await;
        });
    });
}

#[test]
fn who_was_written_off_destroys_no_other_key_than_the_one_he_proved() {
    in_own_process("watched::who_was_written_off_destroys_no_other_key_than_the_one_he_proved", |dir| {
        let card = Card::new(dir);
        block_on(async {
            card.token.generate(&name(1), soon()).await.unwrap();
            card.token.generate(&name(2), soon()).await.unwrap();
            let token = card.token.clone();
            // The last of three reads that prove the name.
            card.comes_back_late("token-slow", 3, "renumber", async move { token.destroy(&name(1), soon()).await })
                .await;
            assert!(!card.token.exists(&name(1), soon()).await.unwrap(), "another one has destroyed it");
        });
    });
}

#[test]
fn who_was_written_off_closes_a_session_that_is_his_own_still() {
    in_own_process("watched::who_was_written_off_closes_a_session_that_is_his_own_still", |dir| {
        let Card { shim, token } = Card::new(dir);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let wrap = || wrap(token.clone(), soon());
            wrap().await.unwrap();
            let (closed, sessions) = (shim.calls("C_CloseSession"), token.counts().sessions);
            shim.rules("renumber\nhang C_Encrypt nth 1");
            let hung = tokio::spawn(wrap());
            until("its worker is replaced", || token.counts().sessions > sessions);
            shim.rules("renumber");
            hung.await.unwrap().expect("another one's answer");
            until("its session is closed", || shim.calls("C_CloseSession") == closed + 1);
            assert_eq!((token.counts().recoveries, token.counts().logins), (0, 1));
        });
        assert!(token.shutdown(Duration::from_secs(5)));
    });
}

/// A token on the shim, a call on which hangs after one second.
struct Card {
    shim: Shim,
    token: Token,
}

impl Card {
    fn new(dir: &Path) -> Card {
        let shim = Shim::in_dir(dir);
        shim.rules("renumber");
        let token = open_on_shim(dir, "[limits]\ncall_seconds = 1\n[sessions]\nprivate_workers = 1\n");
        Card { shim, token }
    }

    async fn make_agreement_key(&self) -> PublicKey {
        let public = self.token.generate_key(&name(1), KeyKind::Agree(CURVE), soon()).await.unwrap().unwrap();
        // The key is proved now.
        self.token.derive(&name(1), CURVE, &public, soon()).await.unwrap();
        public
    }

    fn agree(&self, peer: PublicKey) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let token = self.token.clone();
        async move { token.derive(&name(1), CURVE, &peer, soon()).await.map(drop) }
    }

    /// The worker that does this hangs in its `nth` read of attributes until after the next login, and comes back when these
    /// are the rules. Nothing is lost by that, and what it did is done by another one.
    async fn comes_back_late(
        &self,
        worker: &str,
        nth: usize,
        rules: &str,
        done: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let Card { shim, token } = self;
        token.objects(soon()).await.unwrap();
        let (sessions, hang) = (token.counts().sessions, format!("renumber\nhang C_GetAttributeValue nth {nth}"));
        shim.rules(&hang);
        let hung = tokio::spawn(done);
        until("its worker is replaced", || token.counts().sessions > sessions);
        shim.rules(&format!("{hang}\nlogout"));
        token.objects(soon()).await.expect("after the login that it finds to be needed");
        assert_eq!(token.counts().logins, 2, "handles have new numbers");
        for number in KEYS {
            token.generate(&name(number), soon()).await.unwrap();
        }
        assert_eq!(threads(worker), 2);
        let counts = || ["C_OpenSession", "C_CloseSession"].map(|call| shim.calls(call));
        let before = counts();
        shim.rules(rules);
        until("it has ended", || threads(worker) == 1);
        assert_eq!(counts(), before, "sessions are opened or closed by nobody");
        hung.await.unwrap().expect("another one's answer");
        for number in KEYS {
            assert!(token.exists(&name(number), soon()).await.unwrap(), "key {number}");
        }
        assert_eq!(token.counts().recoveries, 1);
    }
}

/// How many threads of this process have the name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

fn open_on_shim(dir: &Path, more: &str) -> Token {
    init_token(&shim::module(), LABEL, &pin("12345678"), &pin(PIN)).unwrap();
    let path = dir.join("profile.toml");
    std::fs::write(&path, format!("schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_host_iv\"]\n{more}")).unwrap();
    let settings = Settings { module: shim::module(), profile: Some(path), ..settings(dir) };
    Token::open(&settings, pin(PIN), || panic!("hopeless")).unwrap()
}

async fn wrap(token: Token, deadline: Instant) -> Result<Vec<u8>, Error> {
    token.wrap_seed(&name(1), 1, b"", &[7; 32], deadline).await
}

const CURVE: KeyPairSpec = KeyPairSpec::EccNistP256;
/// So many that their handles are those of the first login again.
const KEYS: std::ops::Range<u8> = 10..40;
