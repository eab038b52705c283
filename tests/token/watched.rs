//! Calls that hang, calls that are slow, and what becomes of who is inside one.

use std::path::Path;
use std::time::{Duration, Instant};

use hsm_kms::crypto::PublicKey;
use hsm_kms::model::KeyPairSpec;
use hsm_kms::token::{Error, KeyKind, Settings, Status, Token, init_token};

use super::process::*;
use super::shim::{self, Shim};

/// The worker comes back after a new login, when its handles are other keys'.
#[test]
fn who_was_written_off_destroys_nothing_by_an_old_handle() {
    with_card("watched::who_was_written_off_destroys_nothing_by_an_old_handle", "renumber", HANGS_SOON, async |card| {
        let public = card.make_agreement_key().await;
        // What was agreed on is read, and destroyed.
        card.comes_back_late("renumber", card.agree(public)).await;
    });
}

#[test]
fn who_was_written_off_opens_no_session() {
    with_card("watched::who_was_written_off_opens_no_session", "renumber", HANGS_SOON, async |card| {
        let public = card.make_agreement_key().await;
        // A failure of this kind is mended by a new session.
        let rules = "renumber\nfail CKR_FUNCTION_FAILED C_GetAttributeValue nth 1";
        card.comes_back_late(rules, card.agree(public)).await;
    });
}

#[test]
fn who_was_written_off_closes_a_session_that_is_his_own_still() {
    with_card(
        "watched::who_was_written_off_closes_a_session_that_is_his_own_still",
        "renumber",
        HANGS_SOON,
        async |Card { shim, token }| {
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
        },
    );
}

/// Each call is in time, and all of a request's together are not.
#[test]
fn a_slow_token_is_not_one_that_hangs() {
    with_card(
        "watched::a_slow_token_is_not_one_that_hangs",
        "",
        "[limits]\ncall_seconds = 2\nhopeless_seconds = 1\n",
        async |Card { shim, token }| {
            token.generate(&name(1), soon()).await.unwrap();
            let (sessions, late) = (token.counts().sessions, || Instant::now() + Duration::from_secs(60));
            shim.rules(&format!("latency 400 {USING}"));
            wrap(token.clone(), late()).await.expect("searched, proved and used");
            assert_eq!(token.counts().sessions, sessions, "nobody is written off");

            shim.rules(&format!("latency 150 {OPENING}\nlogout"));
            let recovered = tokio::spawn(wrap(token.clone(), late()));
            while !recovered.is_finished() {
                assert!(matches!(token.status(), Status::Ready | Status::Recovering(_)), "{}", token.status());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            recovered.await.unwrap().expect("after a login");
            assert_eq!((token.counts().logins, token.counts().recoveries), (2, 1));
        },
    );
}

#[test]
fn a_recovery_waits_for_no_key_pair() {
    with_card("watched::a_recovery_waits_for_no_key_pair", "renumber", HANGS_SOON, async |Card { shim, token }| {
        token.generate(&name(1), soon()).await.unwrap();
        let calls = shim.calls("C_GenerateKeyPair");
        let hang = "renumber\nhang C_GenerateKeyPair";
        shim.rules(hang);
        let made = tokio::spawn(make_pair(token.clone(), 2));
        until("it is being made", || shim.calls("C_GenerateKeyPair") > calls);
        shim.rules(&format!("{hang}\nlogout"));
        wrap(token.clone(), soon()).await.expect("while it is");
        assert_eq!((token.counts().recoveries, token.counts().logins), (1, 2));
        shim.rules("renumber");
        assert!(matches!(made.await.unwrap(), Err(Error::Unavailable(_))), "it is not known whose it is now");
        make_pair(token.clone(), 3).await.expect("a replacement makes others");
    });
}

#[test]
fn a_deletion_waits_for_nobody_who_was_written_off() {
    with_card(
        "watched::a_deletion_waits_for_nobody_who_was_written_off",
        "renumber",
        HANGS_SOON,
        async |Card { shim, token }| {
            token.generate(&name(1), soon()).await.unwrap();
            token.generate(&name(2), soon()).await.unwrap();
            let calls = shim.calls("C_Encrypt");
            shim.rules("renumber\nhang C_Encrypt nth 1");
            let hung = tokio::spawn(wrap(token.clone(), soon()));
            until("it hangs", || shim.calls("C_Encrypt") > calls);
            let begun = Instant::now();
            let refused = token.destroy(&name(2), begun + Duration::from_secs(60)).await.unwrap_err();
            assert!(refused.to_string().contains("may still hold a copy"), "{refused}");
            assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
            shim.rules("renumber");
            hung.await.unwrap().expect("another one's answer");
            until("it has ended", || threads("token-fast") == 1);
            token.destroy(&name(2), soon()).await.expect("no session holds a copy");
        },
    );
}

/// A token that tells of no limit, or that others use, too.
#[test]
fn a_replacement_that_gets_no_session_takes_nothing_down() {
    with_card(
        "watched::a_replacement_that_gets_no_session_takes_nothing_down",
        "renumber",
        HANGS_SOON,
        async |Card { shim, token }| {
            token.generate(&name(1), soon()).await.unwrap();
            token.generate(&name(2), soon()).await.unwrap();
            let full = "renumber\nsessions 5 unsaid\nhang C_DestroyObject nth 1";
            let calls = shim.calls("C_DestroyObject");
            shim.rules(full);
            let hung = tokio::spawn(destroy(token.clone(), 2));
            until("it hangs", || shim.calls("C_DestroyObject") > calls);
            let mut told = Ok(());
            while !matches!(&told, Err(Error::Unavailable(why)) if why.contains("every session")) {
                told = destroy(token.clone(), 3).await;
                wrap(token.clone(), soon()).await.expect("another worker's");
            }
            assert_eq!((token.counts().recoveries, token.status()), (0, Status::Ready));

            shim.rules(&format!("{full}\nlogout"));
            wrap(token.clone(), soon()).await.expect("after a login");
            until("the recovery ends", || token.status() == Status::Ready);
            shim.rules("renumber");
            let _ = hung.await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while destroy(token.clone(), 2).await.is_err() {
                assert!(Instant::now() < deadline, "there is room again");
            }
            assert_eq!((token.counts().recoveries, token.counts().logins), (1, 2));
        },
    );
}

#[test]
fn the_turn_of_a_search_that_hangs_is_given_to_others() {
    let more = "[limits]\ncall_seconds = 2\n[sessions]\nobjects_one_at_a_time = true\n";
    with_card("watched::the_turn_of_a_search_that_hangs_is_given_to_others", "", more, async |Card { shim, token }| {
        token.generate(&name(1), soon()).await.unwrap();
        token.objects(soon()).await.unwrap();
        let sessions = token.counts().sessions;
        shim.rules("hang C_FindObjects nth 1");
        let hung = tokio::spawn(there(token.clone()));
        until("its worker is replaced", || token.counts().sessions > sessions);
        let begun = Instant::now();
        for _ in 0..5 {
            there(token.clone()).await.unwrap();
        }
        // Each would wait for a second.
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        shim.rules("");
        assert!(hung.await.unwrap().unwrap());
    });
}

#[test]
fn one_kind_of_work_that_hangs_leaves_the_others() {
    with_card(
        "watched::one_kind_of_work_that_hangs_leaves_the_others",
        "",
        "[limits]\ncall_seconds = 1\ngeneration_seconds = 1\nhopeless_seconds = 1\n",
        async |Card { shim, token }| {
            token.generate(&name(1), soon()).await.unwrap();
            shim.rules("hang C_GenerateKeyPair");
            let makers: Vec<_> = (2..8).map(|number| tokio::spawn(make_pair(token.clone(), number))).collect();
            for maker in makers {
                let refused = maker.await.unwrap().unwrap_err();
                assert!(matches!(refused, Error::Unavailable(_) | Error::DeadlineExceeded), "{refused}");
            }
            let (asked, mut took) = (Instant::now(), Vec::new());
            for _ in 0..5 {
                let begun = Instant::now();
                let refused = make_pair(token.clone(), 8).await.unwrap_err();
                assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
                took.push(begun.elapsed());
            }
            took.sort();
            assert!(took[2] < Duration::from_secs(1), "at once: {took:?}");
            while asked.elapsed() < Duration::from_secs(2) {
                wrap(token.clone(), soon()).await.expect("as before");
                assert_eq!(token.status(), Status::Ready);
            }
            shim.rules("");
            until("calls have returned", || threads("token-making") == 1);
            let deadline = Instant::now() + Duration::from_secs(10);
            while make_pair(token.clone(), 9).await.is_err() {
                assert!(Instant::now() < deadline, "key pairs are made again");
            }
        },
    );
}

/// Who waits for a place before a token that is out does not ask too often.
#[test]
fn a_queue_that_an_outage_fills_is_no_throttle() {
    in_own_process("watched::a_queue_that_an_outage_fills_is_no_throttle", |dir| {
        let shim = Shim::in_dir(dir);
        let token = open_with_queue(dir, "", 1);
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            let logins = shim.calls("C_Login");
            shim.rules("hang C_Login\nclose_sessions");
            let first = tokio::spawn(wrap(token.clone(), soon()));
            until("the keeper logs in", || shim.calls("C_Login") > logins);
            let second = tokio::spawn(wrap(token.clone(), soon()));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let refused = wrap(token.clone(), Instant::now() + Duration::from_millis(100)).await.unwrap_err();
            assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
            shim.rules("");
            for waited in [first, second] {
                waited.await.unwrap().expect("after the login");
            }
        });
        assert!(token.shutdown(Duration::from_secs(5)));
    });
}

#[test]
fn many_that_hang_at_once_are_replaced() {
    let more = format!("[limits]\ncall_seconds = 1\n[sessions]\nfast_workers = {MANY}\n");
    with_card("watched::many_that_hang_at_once_are_replaced", "", &more, async |Card { shim, token }| {
        token.generate(&name(1), soon()).await.unwrap();
        let sessions = token.counts().sessions;
        let rules: Vec<String> = (1..=MANY).map(|nth| format!("hang C_Encrypt nth {nth}")).collect();
        shim.rules(&rules.join("\n"));
        let hung: Vec<_> = (0..MANY).map(|_| tokio::spawn(wrap(token.clone(), soon()))).collect();
        until("all are replaced", || token.counts().sessions == sessions + MANY);
        wrap(token.clone(), soon()).await.unwrap();
        assert_eq!(token.status(), Status::Ready);
        shim.rules("");
        for hung in hung {
            hung.await.unwrap().expect("another one's answer");
        }
    });
}

/// A token on the shim.
struct Card {
    shim: Shim,
    token: Token,
}

/// Runs `body` in a process of its own, on a new token with these rules and these lines in its profile. In the end every
/// worker comes back. Nobody is told that the token is hopeless.
fn with_card(test: &str, rules: &str, more: &str, body: impl AsyncFnOnce(&Card)) {
    in_own_process(test, |dir| {
        let shim = Shim::in_dir(dir);
        shim.rules(rules);
        let card = Card { token: open_on_shim(dir, more), shim };
        block_on(body(&card));
        assert!(card.token.shutdown(Duration::from_secs(10)));
    });
}

impl Card {
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

    /// The worker that does this hangs when it reads what was made until after the next login, and comes back when these
    /// are the rules. Nothing is lost by that, and what it did is done by another one.
    async fn comes_back_late(&self, rules: &str, done: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let Card { shim, token } = self;
        token.objects(soon()).await.unwrap();
        let (sessions, hang) = (token.counts().sessions, "renumber\nhang C_GetAttributeValue nth 1");
        shim.rules(hang);
        let hung = tokio::spawn(done);
        until("its worker is replaced", || token.counts().sessions > sessions);
        shim.rules(&format!("{hang}\nlogout"));
        token.objects(soon()).await.expect("after the login that it finds to be needed");
        assert_eq!(token.counts().logins, 2, "handles have new numbers");
        for number in KEYS {
            token.generate(&name(number), soon()).await.unwrap();
        }
        assert_eq!(threads("token-private"), 2);
        let counts = || ["C_OpenSession", "C_CloseSession"].map(|call| shim.calls(call));
        let before = counts();
        shim.rules(rules);
        until("it has ended", || threads("token-private") == 1);
        assert_eq!(counts(), [before[0], before[1] + 1], "its own session does not stay open, and nobody opens one");
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
    open_with_queue(dir, more, 1024)
}

fn open_with_queue(dir: &Path, more: &str, queue: usize) -> Token {
    init_token(&shim::module(), LABEL, &pin("12345678"), &pin(PIN)).unwrap();
    let path = dir.join("profile.toml");
    std::fs::write(&path, format!("schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_host_iv\"]\n{more}")).unwrap();
    let settings = Settings { module: shim::module(), profile: Some(path), queue, ..settings(dir) };
    // A panic would end the watchdog alone.
    Token::open(&settings, pin(PIN), || std::process::abort()).unwrap()
}

async fn wrap(token: Token, deadline: Instant) -> Result<Vec<u8>, Error> {
    token.wrap_seed(&name(1), 1, b"", &[7; 32], deadline).await
}

async fn make_pair(token: Token, number: u8) -> Result<(), Error> {
    token.generate_key(&name(number), KeyKind::Sign(CURVE), soon()).await.map(drop)
}

async fn destroy(token: Token, number: u8) -> Result<(), Error> {
    token.destroy(&name(number), soon()).await
}

async fn there(token: Token) -> Result<bool, Error> {
    token.exists(&name(1), soon()).await
}

/// A call hangs after one second.
const HANGS_SOON: &str = "[limits]\ncall_seconds = 1\n[sessions]\nprivate_workers = 1\n";
const CURVE: KeyPairSpec = KeyPairSpec::EccNistP256;
/// So many that their handles are those of the first login again.
const KEYS: std::ops::Range<u8> = 10..40;
/// More workers than have one replacement after the other.
const MANY: u64 = 6;
/// What a key is found and used by.
const USING: &str = "C_FindObjectsInit,C_FindObjects,C_FindObjectsFinal,C_GetAttributeValue,C_EncryptInit,C_Encrypt";
/// What a token is found and opened by.
const OPENING: &str = "C_GetSlotList,C_GetTokenInfo,C_OpenSession,C_CloseSession,C_GetSessionInfo,C_Login";
