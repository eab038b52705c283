//! Sessions, logins and calls that are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hsm_kms::model::WrappingAlgorithm;
use hsm_kms::token::{Error, KeyKind, Status, Token};

use super::process::*;

#[test]
fn closed_sessions_come_back_with_one_login() {
    in_own_process("faults::closed_sessions_come_back_with_one_login", |dir| {
        let token = new_token(dir);
        block_on(async {
            let wrapped = prepare(&token).await;
            // SoftHSM frees a session that it closes even while another thread is inside a call with it, so all are
            // closed while the workers are idle, and 64 requests meet dead sessions.
            let (_, slot) = other_context();
            close_all_sessions(slot.id());
            let users = Users::start(&token, &wrapped);
            users.see_it_recover(&token).await;
        });
        let counts = token.counts();
        assert_eq!((counts.logins, counts.recoveries, counts.sessions), (2, 1, 10));
    });
}

#[test]
fn a_logout_is_undone_with_one_login() {
    in_own_process("faults::a_logout_is_undone_with_one_login", |dir| {
        let token = new_token(dir);
        block_on(async {
            let wrapped = prepare(&token).await;
            let users = Users::start(&token, &wrapped);
            let served = token.counts().operations;
            until("requests are in flight", || token.counts().operations > served + 200);
            let (context, slot) = other_context();
            context.open_rw_session(slot).unwrap().logout().unwrap();
            users.see_it_recover(&token).await;
        });
        let counts = token.counts();
        assert_eq!((counts.logins, counts.recoveries, counts.sessions), (2, 1, 10));
    });
}

/// Makes a key, wraps a seed, and waits until no worker does anything.
async fn prepare(token: &Token) -> Arc<Vec<u8>> {
    token.generate(&name(1), soon()).await.unwrap();
    let wrapped = token.wrap_seed(&name(1), 1, b"aad", &[7; 32], soon()).await.unwrap();
    settle(token).await;
    Arc::new(wrapped)
}

/// Waits until what the token did at its start is over: the index, and the last of what is tried in the background.
async fn settle(token: &Token) {
    token.objects(soon()).await.unwrap();
    token.unwraps(KeyKind::Aes256, WrappingAlgorithm::RsaesOaepSha1, soon()).await.unwrap();
}

/// 64 requests that are always in flight.
struct Users {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<usize>>,
}

impl Users {
    fn start(token: &Token, wrapped: &Arc<Vec<u8>>) -> Users {
        let stop = Arc::new(AtomicBool::new(false));
        let user = || tokio::spawn(unwrap_until(token.clone(), Arc::clone(wrapped), Arc::clone(&stop)));
        Users { tasks: (0..64).map(|_| user()).collect(), stop }
    }

    /// Every request gets the right answer or an honest refusal, and in the end both lanes work.
    async fn see_it_recover(self, token: &Token) {
        until("it has recovered", || token.counts().recoveries == 1 && token.status() == Status::Ready);
        let served = token.counts().operations;
        until("requests are served again", || token.counts().operations > served + 200);
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            assert!(task.await.unwrap() > 0, "every user has had right answers");
        }
        assert!(token.exists(&name(1), soon()).await.unwrap());
    }
}

async fn unwrap_until(token: Token, wrapped: Arc<Vec<u8>>, stop: Arc<AtomicBool>) -> usize {
    let mut right = 0;
    while !stop.load(Ordering::Relaxed) {
        match token.unwrap_seed(&name(1), 1, b"aad", &wrapped, soon()).await {
            Ok(seed) => assert_eq!(*seed, [7; 32]),
            Err(Error::Unavailable(_) | Error::Throttled) => continue,
            Err(error) => panic!("{error}"),
        }
        right += 1;
    }
    right
}

#[test]
fn an_idle_token_recovers_at_its_next_request() {
    in_own_process("faults::an_idle_token_recovers_at_its_next_request", |dir| {
        let token = new_token(dir);
        block_on(async {
            prepare(&token).await;
            let (context, slot) = other_context();
            context.open_rw_session(slot).unwrap().logout().unwrap();
            // Without a login a search finds nothing. That is an outage, not an answer.
            assert!(token.exists(&name(1), soon()).await.unwrap());
            token.objects(soon()).await.unwrap();
            close_all_sessions(slot.id());
            token.destroy(&name(1), soon()).await.unwrap();
            assert!(!token.exists(&name(1), soon()).await.unwrap());
        });
        assert_eq!((token.counts().logins, token.counts().recoveries), (3, 2));
    });
}

#[test]
fn a_creation_is_never_tried_twice() {
    in_own_process("faults::a_creation_is_never_tried_twice", |dir| {
        let token = new_token(dir);
        block_on(settle(&token));
        let (_, slot) = other_context();
        close_all_sessions(slot.id());
        let refused = block_on(token.generate(&name(1), soon())).unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
        assert!(!block_on(token.exists(&name(1), soon())).unwrap());
        block_on(token.generate(&name(1), soon())).unwrap();
    });
}

#[test]
fn a_pin_changed_meanwhile_is_not_tried_again() {
    in_own_process("faults::a_pin_changed_meanwhile_is_not_tried_again", |dir| {
        let token = new_token(dir);
        block_on(settle(&token));
        let (context, slot) = other_context();
        context.open_rw_session(slot).unwrap().set_pin(&pin(PIN), &pin("4321")).unwrap();
        close_all_sessions(slot.id());
        block_on(async {
            let refused = token.exists(&name(1), soon()).await.unwrap_err();
            assert!(matches!(refused, Error::PinIncorrect | Error::Unavailable(_)), "{refused}");
            assert_eq!(token.status(), Status::PinRefused);
            let refused = token.exists(&name(1), soon()).await.unwrap_err();
            assert!(matches!(refused, Error::PinIncorrect), "{refused}");
        });
        assert_eq!(token.counts().logins, 2, "the first, and one try with the old PIN");
        let refused = Token::open(&settings(dir), pin(PIN), || {}).unwrap_err();
        assert!(matches!(refused, Error::PinIncorrect), "{refused}");
        assert!(token.shutdown(Duration::from_secs(5)));
    });
}

#[test]
fn a_full_queue_throttles_and_late_jobs_are_not_begun() {
    let test = "faults::a_full_queue_throttles_and_late_jobs_are_not_begun";
    in_own_process(test, |dir| {
        if role() == "lock" {
            return Locker::run(dir);
        }
        make_token(LABEL);
        let token = open_with(dir, "[limits]\ncall_seconds = 60\n", 1, || panic!("hopeless"));
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap();
            let before = token.counts().operations;
            let locker = Locker::start(test, dir);
            let inside = tokio::spawn(wrap(token.clone(), Duration::from_secs(30)));
            while token.counts().operations == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // In this order, the second while the first has the only place.
            let short = || wrap(token.clone(), Duration::from_millis(200));
            let (queued, refused) = tokio::join!(biased; short(), short());
            assert!(matches!(queued, Err(Error::DeadlineExceeded)), "{queued:?}");
            assert!(matches!(refused, Err(Error::Throttled)), "{refused:?}");
            drop(locker);
            inside.await.unwrap().expect("the first was only slow");
            wrap(token.clone(), Duration::from_secs(5)).await.unwrap();
            assert_eq!(token.counts().operations - before, 2, "neither of the others reached the token");
        });
        assert!(token.shutdown(Duration::from_secs(5)));
    });
}

#[test]
fn a_call_that_hangs_is_written_off() {
    let test = "faults::a_call_that_hangs_is_written_off";
    in_own_process(test, |dir| {
        if role() == "lock" {
            return Locker::run(dir);
        }
        make_token(LABEL);
        let hopeless = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&hopeless);
        let token = open_with(dir, "[limits]\ncall_seconds = 1\nhopeless_seconds = 1\n", 1024, move || {
            told.store(true, Ordering::Relaxed);
        });
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap();
            let locker = Locker::start(test, dir);
            // Each request takes one more worker with it, until no replacement is hired any more.
            let requests: Vec<_> = (0..8).map(|_| tokio::spawn(wrap(token.clone(), Duration::from_secs(30)))).collect();
            until("it is unavailable", || matches!(token.status(), Status::Unavailable(_)));
            let mut took = Vec::new();
            for _ in 0..5 {
                let asked = Instant::now();
                let refused = wrap(token.clone(), Duration::from_secs(30)).await.unwrap_err();
                assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
                took.push(asked.elapsed());
            }
            took.sort();
            assert!(took[2] < Duration::from_secs(1), "at once: {took:?}");
            until("it is told to be hopeless", || hopeless.load(Ordering::Relaxed));
            assert!(!token.shutdown(Duration::from_millis(100)), "sessions are inside calls");
            drop(locker);
            let mut refused = 0;
            for request in requests {
                refused += usize::from(request.await.unwrap().is_err());
            }
            assert!(refused >= 4, "those that waited were told so: {refused}");
        });
    });
}

#[test]
fn a_call_that_comes_back_brings_the_token_back() {
    let test = "faults::a_call_that_comes_back_brings_the_token_back";
    in_own_process(test, |dir| {
        if role() == "lock" {
            return Locker::run(dir);
        }
        make_token(LABEL);
        let token = open_with(dir, "[limits]\ncall_seconds = 1\n", 1024, || panic!("hopeless"));
        block_on(async {
            token.generate(&name(1), soon()).await.unwrap();
            token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap();
            let locker = Locker::start(test, dir);
            let request = tokio::spawn(wrap(token.clone(), Duration::from_secs(30)));
            until("its worker is replaced", || token.counts().sessions == 4);
            assert_eq!(token.status(), Status::Ready);
            drop(locker);
            request.await.unwrap().expect("late, but right");
            wrap(token.clone(), Duration::from_secs(5)).await.unwrap();
        });
        assert!(token.shutdown(Duration::from_secs(5)));
    });
}

async fn wrap(token: Token, patience: Duration) -> Result<Vec<u8>, Error> {
    token.wrap_seed(&name(1), 1, b"", &[7; 32], Instant::now() + patience).await
}
