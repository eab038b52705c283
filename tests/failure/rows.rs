//! The rows of README.md's table of failures. In each, two tokens are under load, the first one fails for a while, and the
//! second one's callers must not notice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::{Doctor, Load, Outcome, PLAINTEXT, ask, refused};
use crate::noise::Noise;
use crate::process::until;
use crate::rig::Rig;
use crate::support::{Service, signal};

#[test]
fn sessions_lost() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one close_sessions", MOMENT).recovers().ends();
    seen.is_unseen_but_for_keys_in_the_making(SLACK);
}

#[test]
fn login_lost() {
    let trial = Trial::start(&[]);
    let rules = "@one logout\n@one latency 600 C_Login";
    let seen = trial.fails_for(rules, Duration::from_millis(200)).says("recovering").recovers().ends();
    // The login is slow for as long as the failure is there.
    seen.is_unseen_but_for_keys_in_the_making(seen.failing + SLACK);
}

#[test]
fn gone_for_a_second() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one removed", Duration::from_secs(1)).says("unavailable").recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.exceptions("Encrypt") == [UNAVAILABLE], "{seen:?}");
    assert_eq!(seen.logins, 1);
    assert!(seen.log.contains("the token does not come back") && seen.log.contains("the token is back"));
}

#[test]
fn gone_for_30_seconds() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one removed CKR_TOKEN_NOT_PRESENT", Duration::from_secs(30)).says("unavailable");
    let seen = trial.recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 1);
    assert_eq!(seen.log.matches("the token does not come back").count(), 1, "the log is no place to count seconds");
}

/// A login that was of no use is tried again later and later. A token that goes and comes back meanwhile need not wait.
#[test]
fn gone_while_a_login_waits() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one fail CKR_DEVICE_ERROR C_Login\n@one close_sessions", MOMENT);
    until("three logins, the next one four seconds later", || trial.logins() == 3);
    let trial = trial.fails_for("@one removed", Duration::from_millis(1_200)).says("unavailable");
    assert_eq!(trial.logins(), 3, "it is looked for without a login");
    let seen = trial.recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 4);
}

#[test]
fn gone_for_good() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one removed", Duration::from_secs(1)).says("unavailable");
    until("at once", || trial.one.median(Instant::now() - MOMENT, Instant::now()) < AT_ONCE);
    let asked = trial.one.asked(Instant::now() - Duration::from_millis(300), Instant::now());
    assert!(asked.iter().all(|outcome| outcome.is_within(AT_ONCE, &trial.doctor.noise)), "at once: {asked:?}");
    trial.ends_by_itself(Duration::from_secs(5), Some(0));
}

#[test]
fn slow_by_2_ms() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one latency 2 *", MOMENT).recovers().ends();
    assert!(seen.only(&[]) && seen.ready && seen.logins == 0, "{seen:?}");
    assert!(!seen.log.contains("WARN"), "{}", seen.log);
}

#[test]
fn slow_by_200_ms() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for(&format!("@one latency 200 {WORK}"), Duration::from_secs(1)).recovers().ends();
    assert!(seen.only(&[]) && seen.ready && seen.logins == 0, "late, within the deadline: {seen:?}");
    assert!(seen.slowest("Encrypt") >= Duration::from_millis(200) && !seen.log.contains("WARN"), "{seen:?}");
}

#[test]
fn slow_by_5_s() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for(&format!("@one latency 5000 {WORK}"), Duration::from_secs(2)).recovers();
    let seen = trial.fails_for("@one latency 5000 *", Duration::from_secs(2)).recovers().ends();
    assert!(seen.only(&[TIMEOUT]) && seen.during.iter().any(|outcome| !outcome.is_success()), "{seen:?}");
    assert!(seen.ready && seen.logins == 0, "slow is not lost: {seen:?}");
    assert!(!seen.log.contains("does not return"), "and no worker is written off");
    assert!(seen.log.contains("a request could not be served now"));
}

#[test]
fn a_call_hangs() {
    let trial = Trial::start_with(&[], SHORT_LIMITS);
    let trial = trial.fails_for("@one hang C_Encrypt,C_Decrypt nth 1", Duration::from_millis(1_500));
    until("another worker is there", || trial.one.rate(Instant::now() - MOMENT, Instant::now()) > 0.0);
    let late = trial.doctor.noise.has_passed(Duration::from_secs(3), trial.broken);
    assert!(!late, "{:?}", trial.broken.elapsed());
    let seen = trial.recovers().ends();
    assert!(seen.only(&[TIMEOUT]) && seen.ready, "{seen:?}");
    assert_eq!((seen.log.matches("inside a call that does not return").count(), seen.logins), (1, 0), "{seen:?}");
}

#[test]
fn one_kind_of_work_hangs() {
    let trial = Trial::start_with(&[], SHORT_LIMITS);
    let trial = trial.fails_for("@one hang C_GenerateKey", MOMENT);
    let refused = |outcome: &Outcome| outcome.operation == "CreateKey" && outcome.exception == UNAVAILABLE;
    until("all who make keys are inside a call", || trial.service.log().contains("no session is left"));
    until("it is told", || trial.one.asked(trial.broken, Instant::now()).iter().any(refused));
    let seen = trial.says("ready").recovers().ends();
    assert!(seen.exceptions("Encrypt").is_empty() && seen.exceptions("Decrypt").is_empty(), "{seen:?}");
    assert!(seen.only(&[TIMEOUT, UNAVAILABLE]) && seen.exceptions("CreateKey").contains(&UNAVAILABLE), "{seen:?}");
    assert!(seen.log.contains("no session is left for this kind of work") && seen.logins == 0, "{seen:?}");
}

#[test]
fn every_call_hangs() {
    let trial = Trial::start_with(&[], SHORT_LIMITS);
    let trial = trial.fails_for("@one hang C_Encrypt,C_Decrypt,C_GenerateKey", MOMENT).says("unavailable");
    until("at once, now", || trial.one.median(Instant::now() - MOMENT, Instant::now()) < AT_ONCE);
    let seen = trial.recovers().ends();
    assert!(seen.only(&[TIMEOUT, UNAVAILABLE]), "{seen:?}");
    let written_off = seen.log.matches("inside a call that does not return\",\"lane\":\"Fast\"").count();
    assert_eq!((written_off, seen.logins), (4, 0), "the worker, and three: {seen:?}");
}

/// For its supervisor to start it again; a further token is no reason to end what serves the first.
#[test]
fn calls_that_hang_for_good_end_the_process() {
    let trial = Trial::start_with(&[], HOPELESS);
    trial.rig.shim.rules("@two hang *\n@two close_sessions");
    until("the further token is given up", || trial.service.log().contains("no session of the token has come back"));
    until("the first one serves", || trial.one.rate(Instant::now() - MOMENT, Instant::now()) > trial.quiet.0 / 2.0);
    trial.rig.shim.rules("hang *\n@one close_sessions");
    until("it is time to end", || trial.service.log().contains("every call into the token hangs"));
    let (status, _) = trial.service.ended();
    assert_eq!(status.code(), None, "{status:?}");
    trial.one.give_up();
    trial.two.give_up();
    trial.doctor.bury();
}

#[test]
fn a_service_with_a_hung_token_ends_when_told() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one hang *", Duration::from_millis(300));
    // The call into the token may still be there: the process ends without exit handlers, by its own signal.
    trial.ends_by_itself(Duration::from_secs(15), None);
}

#[test]
fn busy() {
    let trial = Trial::start(&[]);
    let rules = format!("@one fail CKR_FUNCTION_FAILED {WORK} chance 0.3");
    let seen = trial.fails_for(&rules, Duration::from_secs(1)).recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    let (asked, failed) = (seen.during.len(), seen.during.iter().filter(|outcome| !outcome.is_success()).count());
    assert!(failed * 4 < asked, "most had their second try: {failed} of {asked}");
    assert!(seen.ready && seen.logins == 0, "{seen:?}");
    assert_eq!(seen.log.matches("a request could not be served now").count(), failed);
}

#[test]
fn general_error() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for(&format!("@one fail CKR_GENERAL_ERROR {WORK}"), Duration::from_secs(1));
    until("at once", || trial.one.median(Instant::now() - MOMENT, Instant::now()) < AT_ONCE);
    let seen = trial.recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.exceptions("Decrypt") == [UNAVAILABLE], "{seen:?}");
    assert!(seen.ready && seen.logins == 0 && seen.is_within("Encrypt", SLACK), "at once: {seen:?}");
}

/// Failures of a moment and for long, by the code that this token has for a wrong tag.
#[test]
fn no_outage_is_a_bad_ciphertext() {
    let trial = Trial::start(&[]);
    let nth = |number: u64| format!("@one fail CKR_GENERAL_ERROR C_Decrypt nth {number}\n");
    // The first sign of trouble, and the only one: nobody notices.
    let before = trial.rig.shim.calls_of("one", "C_Decrypt");
    let trial = trial.fails_for(&nth(3), MOMENT);
    until("the call, a probe, and the call again", || trial.rig.shim.calls_of("one", "C_Decrypt") > before + 5);
    let during = trial.one.asked(trial.broken, Instant::now());
    assert!(during.iter().all(Outcome::is_success), "{during:?}");
    // A call and the probe after it; a call and its second try, but not the probe between them.
    let (rules, before) = ([2, 3, 10, 12].map(nth).concat(), trial.rig.shim.calls_of("one", "C_Decrypt"));
    let trial = trial.fails_for(&rules, Duration::from_millis(800));
    until("each of them is met", || trial.rig.shim.calls_of("one", "C_Decrypt") > before + 13);
    let told: Vec<_> = trial.one.asked(trial.broken, Instant::now());
    assert!(told.iter().all(|told| told.is_success() || told.exception == UNAVAILABLE), "{told:?}");
    let seen = trial.fails_for("@one fail CKR_GENERAL_ERROR C_Decrypt", Duration::from_secs(1)).recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.exceptions("Decrypt") == [UNAVAILABLE], "{seen:?}");
    assert_eq!((seen.exceptions("Encrypt"), seen.logins), (vec![], 0), "{seen:?}");
}

#[test]
fn out_of_sessions() {
    let trial = Trial::start(&[]);
    let rules = "@one sessions 3\n@one close_sessions";
    let seen = trial.fails_for(rules, Duration::from_secs(1)).says("unavailable").recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 1, "the one session that is needed to be logged in");
    assert!(seen.log.contains("SessionCount"));
}

#[test]
fn out_of_object_slots() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one objects 0", Duration::from_secs(1)).says("ready").recovers().ends();
    assert!(seen.only(&["LimitExceededException"]) && seen.exceptions("Encrypt").is_empty(), "{seen:?}");
    assert_eq!(seen.exceptions("CreateKey"), ["LimitExceededException"]);
    assert!(seen.ready && seen.logins == 0 && !seen.log.contains("WARN"), "{seen:?}");
}

#[test]
fn the_pin_is_refused() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one pin wrong\n@one logout", Duration::from_secs(1)).says("PIN refused");
    trial.rig.shim.rules("");
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(trial.doctor.readiness("").1["parts"][2]["reason"], "PIN refused", "the same PIN is never tried again");
    assert!(trial.service.log().contains("the token refused the PIN"));
    let (logins, rig) = (trial.logins(), trial.abandon());
    assert_eq!(logins, 1);
    let service = rig.serve();
    assert_eq!(Doctor::start(&service).readiness("/us-east-1").0, 200, "a restart tries it");
}

#[test]
fn the_pin_is_locked() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one pin locked\n@one logout", Duration::from_secs(1)).says("PIN locked");
    assert_eq!(trial.logins(), 0, "it is not tried");
    let seen = trial.recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.log.contains("the PIN of the token is locked"), "{seen:?}");
    assert_eq!(seen.logins, 1);
}

#[test]
fn what_cannot_work_at_start_ends_it_at_once() {
    let rows = [
        ("pin wrong", "refused the PIN", 78, 1),
        ("pin locked", "is locked", 78, 0),
        ("sessions 3", "sessions, and the token has 3", 78, 1),
        ("fail CKR_SESSION_COUNT C_OpenSession from 4", "SessionCount", 1, 1),
    ];
    for (rule, wanted, code, logins) in rows {
        let rig = Rig::new(&["one"]);
        let before = rig.shim.calls("C_Login");
        rig.shim.rules(rule);
        let Err(failed) = rig.try_serve() else { panic!("it serves") };
        assert_eq!(failed.status.code(), Some(code), "{failed:?}");
        assert!(failed.log.contains(wanted), "{failed:?}");
        assert_eq!(rig.shim.calls("C_Login") - before, logins, "{rule}");
    }
}

#[test]
fn the_token_is_swapped() {
    let trial = Trial::start(&["stranger"]);
    let trial = trial.fails_for("@one swapped stranger", Duration::from_secs(1)).says("unavailable");
    assert_eq!(trial.logins(), 0, "no other token gets the PIN");
    let seen = trial.recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert!(seen.log.contains("another token, serial"), "{}", seen.log);
}

/// A multi-Region key whose replica is on the token that is gone: it works, and waits with its rotation.
#[test]
fn the_token_of_a_replica_is_gone() {
    let mut rig = Rig::new(&["one", "two"]);
    // A Region's share of it is 128, and at 96 the key is to rotate.
    rig.more = "[kms]\nnonce_budget = 8192\n".to_owned();
    let trial = Trial::on(rig);
    trial.rig.pair("token", "two");
    let made = ask(&trial.service, PRIMARY, "CreateKey", json!({ "MultiRegion": true }));
    let key = json!({ "KeyId": made["KeyMetadata"]["KeyId"] });
    let replicate = json!({ "KeyId": key["KeyId"], "ReplicaRegion": "us-east-1" });
    ask(&trial.service, PRIMARY, "ReplicateKey", replicate);
    let seal = |service: &Service| {
        let body = json!({ "KeyId": key["KeyId"], "Plaintext": PLAINTEXT });
        ask(service, PRIMARY, "Encrypt", body)["CiphertextBlob"].clone()
    };
    let opens = |service: &Service, blob: &Value| {
        let opened = ask(service, "us-east-1", "Decrypt", json!({ "CiphertextBlob": blob }));
        assert_eq!(opened["Plaintext"], PLAINTEXT);
    };
    let rotations = |service: &Service| {
        let listed = ask(service, PRIMARY, "ListKeyRotations", key.clone());
        listed["Rotations"].as_array().unwrap().iter().map(|one| one["RotationType"].clone()).collect::<Vec<_>>()
    };

    let trial = trial.fails_for("@one removed", MOMENT).says("unavailable");
    assert_eq!(refused(&trial.service, PRIMARY, "RotateKeyOnDemand", key.clone()), UNAVAILABLE);
    let meanwhile: Vec<Value> = (0..100).map(|_| seal(&trial.service)).collect();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(rotations(&trial.service), Vec::<Value>::new(), "it is due, and waits");
    let trial = trial.recovers();
    opens(&trial.service, &meanwhile[99]);
    until("it rotates by itself", || rotations(&trial.service) == ["AUTOMATIC"]);
    ask(&trial.service, PRIMARY, "RotateKeyOnDemand", key.clone());
    opens(&trial.service, &seal(&trial.service));
    opens(&trial.service, &meanwhile[0]);
    let seen = trial.ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.logins == 1, "{seen:?}");
}

/// Every row of the table in README.md has its test here.
#[test]
fn every_row_of_the_table_is_tested() {
    let (_, text) = README.split_once("## When a token fails\n").unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), TESTED.len());
    for (row, (begins, tests)) in rows.into_iter().zip(TESTED) {
        assert!(row.starts_with(&format!("| {begins}")), "{row}");
        for test in tests {
            assert!(include_str!("rows.rs").contains(&format!("#[test]\nfn {test}()")), "{test}");
        }
    }
}

/// How a row begins, and the tests of what it says.
const TESTED: [(&str, &[&str]); 16] = [
    ("sessions lost", &["sessions_lost"]),
    ("login lost", &["login_lost"]),
    ("token gone", &["gone_for_a_second", "gone_for_30_seconds", "gone_while_a_login_waits", "gone_for_good"]),
    ("slow: milliseconds", &["slow_by_2_ms", "slow_by_200_ms"]),
    ("slow: longer", &["slow_by_5_s"]),
    ("a call hangs", &["a_call_hangs"]),
    ("every call of one kind", &["one_kind_of_work_hangs"]),
    (
        "every call hangs",
        &["every_call_hangs", "calls_that_hang_for_good_end_the_process", "a_service_with_a_hung_token_ends_when_told"],
    ),
    ("busy", &["busy"]),
    ("general error", &["general_error", "no_outage_is_a_bad_ciphertext"]),
    ("out of sessions", &["out_of_sessions", "what_cannot_work_at_start_ends_it_at_once"]),
    ("out of object slots", &["out_of_object_slots"]),
    ("PIN wrong", &["the_pin_is_refused", "what_cannot_work_at_start_ends_it_at_once"]),
    ("PIN locked", &["the_pin_is_locked", "what_cannot_work_at_start_ends_it_at_once"]),
    ("another token", &["the_token_is_swapped"]),
    ("the token of a replica", &["the_token_of_a_replica_is_gone"]),
];
const README: &str = include_str!("../../README.md");

/// A service on two tokens under load.
struct Trial {
    rig: Rig,
    service: Service,
    one: Load,
    two: Load,
    doctor: Doctor,
    /// Successes a second while all is well, and how long half of the other token's answers take then.
    quiet: (f64, Duration),
    logins_before: u64,
    broken: Instant,
    mended: Instant,
}

/// What was seen, from the failure to the recovery.
struct Seen {
    during: Vec<Outcome>,
    noise: Noise,
    /// For how long the failure was there.
    failing: Duration,
    /// Whether `/readyz` was 200 all the while for the clients of the failing token's Region.
    ready: bool,
    logins: u64,
    log: String,
}

impl Trial {
    /// With these tokens besides.
    fn start(others: &[&str]) -> Trial {
        Trial::start_with(others, "")
    }

    /// And with these lines at the end of the tokens' profile.
    fn start_with(others: &[&str], limits: &str) -> Trial {
        let mut rig = Rig::new(&["one", "two"]);
        others.iter().for_each(|label| rig.make_token(label));
        rig.more = format!("[kms]\ndeadline_millis = {}\n", DEADLINE.as_millis());
        rig.profile = (!limits.is_empty()).then(|| format!("{PROFILE}\n{limits}"));
        Trial::on(rig)
    }

    fn on(rig: Rig) -> Trial {
        let service = rig.serve();
        let (one, two) = (Load::start(&service, "us-east-1"), Load::start(&service, "eu-west-1"));
        let doctor = Doctor::start(&service);
        let begun = Instant::now();
        let rate = |load: &Load| load.rate(Instant::now() - MOMENT, Instant::now());
        until("both are under load", || begun.elapsed() > MOMENT && rate(&one) > LOAD && rate(&two) > LOAD);
        let now = Instant::now();
        let quiet = (rate(&one), two.median(begun, now));
        let logins_before = rig.shim.calls_of("one", "C_Login");
        Trial { rig, service, one, two, doctor, quiet, logins_before, broken: now, mended: now }
    }

    /// The first token fails so, for this long; the rules are there still.
    fn fails_for(mut self, rules: &str, time: Duration) -> Self {
        self.broken = Instant::now();
        self.rig.shim.rules(rules);
        std::thread::sleep(time);
        self.mended = Instant::now();
        self
    }

    /// `/readyz` says this of the first token, and the second one is ready; the same it says to each Region's clients.
    fn says(self, word: &str) -> Self {
        until(word, || {
            let (status, body) = self.doctor.readiness("");
            let parts = &body["parts"];
            assert!(status == 200 && parts[3]["ready"] == true, "{body}");
            if word == "ready" { parts[2]["ready"] == true } else { parts[2]["reason"] == word }
        });
        let of_region = |region| self.doctor.readiness(region).0;
        assert_eq!(of_region("/us-east-1"), if word == "ready" { 200 } else { 503 });
        assert_eq!(of_region("/eu-west-1"), 200);
        self
    }

    /// The failure is over, and soon everything is as fast as before.
    fn recovers(mut self) -> Self {
        self.mended = Instant::now();
        self.rig.shim.rules("");
        until("full throughput", || {
            let now = Instant::now();
            // The other token's callers are held up by this machine as much as these, and by nothing else.
            let full = self.quiet.0.min(self.two.rate(now - MOMENT, now)) * FULL;
            now - self.mended > MOMENT && self.one.rate(now - MOMENT, now) > full
        });
        assert!(!self.doctor.noise.has_passed(RECOVERY, self.mended), "{:?}", self.mended.elapsed());
        self
    }

    /// Logins since the failure began.
    fn logins(&self) -> u64 {
        self.rig.shim.calls_of("one", "C_Login") - self.logins_before
    }

    /// The end of a recovery: nothing that was acknowledged is lost, every answer came in time, others noticed nothing, and
    /// the record has every refusal.
    fn ends(self) -> Seen {
        assert_eq!(self.doctor.readiness("/us-east-1").0, 200);
        let (logins, log) = (self.logins(), self.service.log());
        let (slowed, quiet) = (self.two.median(self.broken, self.mended), self.quiet.1);
        assert!(slowed < NOT_SLOWED.max(quiet * 5), "the other token's callers: {slowed:?}, before {quiet:?}");
        let (beats, noise) = self.doctor.discharge();
        let ready = beats.iter().filter(|beat| beat.begun >= self.broken).all(|beat| beat.ready);
        let during = self.one.stop(&self.service);
        for outcome in &during {
            assert!(outcome.is_within(DEADLINE + SLACK, &noise), "not by its deadline: {outcome:?}");
        }
        let others = self.two.stop(&self.service);
        let refused: Vec<_> = others.iter().filter(|outcome| !outcome.is_success()).collect();
        assert!(refused.is_empty(), "{refused:?}");
        let audit = self.service.audit();
        let recorded = |code: &str| audit.iter().filter(|line| line["event"]["errorCode"] == code).count();
        for code in [UNAVAILABLE, TIMEOUT] {
            let told = during.iter().filter(|outcome| outcome.exception == code).count();
            assert!(recorded(code) >= told, "{code}: {told} told, {} in the record", recorded(code));
        }
        // One that was under way when the failure began may have met it.
        let during = during.into_iter().filter(|outcome| outcome.begun + outcome.took >= self.broken).collect();
        Seen { during, noise, failing: self.mended - self.broken, ready, logins, log }
    }

    /// Told to end while the token fails, the service ends within this time.
    fn ends_by_itself(self, time: Duration, code: Option<i32>) {
        let told = Instant::now();
        signal(self.service.pid(), "TERM");
        let (status, _) = self.service.ended();
        assert!(!self.doctor.noise.has_passed(time, told), "{:?}", told.elapsed());
        assert_eq!(status.code(), code, "{status:?}");
        self.one.give_up();
        self.two.give_up();
        self.doctor.bury();
    }

    /// Stops everything but the tokens.
    fn abandon(self) -> Rig {
        self.one.give_up();
        self.two.give_up();
        self.doctor.discharge();
        self.service.terminate();
        self.rig
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let refused = self.during.iter().filter(|outcome| !outcome.is_success());
        let told: std::collections::BTreeSet<_> = refused.map(|told| (told.operation, &told.exception)).collect();
        write!(f, "{told:?} of {} requests, {} logins, {}", self.during.len(), self.logins, self.log)
    }
}

impl Seen {
    /// Whether nothing else than these was ever refused.
    fn only(&self, exceptions: &[&str]) -> bool {
        self.during.iter().all(|outcome| outcome.is_success() || exceptions.contains(&outcome.exception.as_str()))
    }

    /// How long the slowest answer to an operation took.
    fn slowest(&self, operation: &str) -> Duration {
        let of = self.during.iter().filter(|outcome| outcome.operation == operation);
        of.map(|outcome| outcome.took).max().unwrap_or_default()
    }

    /// Whether every answer to an operation came within this time, not counting that for which the machine did other things.
    fn is_within(&self, operation: &str, time: Duration) -> bool {
        let mut of = self.during.iter().filter(|outcome| outcome.operation == operation);
        of.all(|outcome| outcome.is_within(time, &self.noise))
    }

    /// What was lost was opened again by one login, and the callers' requests were made once more, unseen.
    fn is_unseen_but_for_keys_in_the_making(&self, soon: Duration) {
        assert_eq!((self.exceptions("Encrypt"), self.exceptions("Decrypt")), (vec![], vec![]), "{self:?}");
        assert!(self.only(&[UNAVAILABLE]) && self.is_within("Encrypt", soon), "{self:?}");
        assert_eq!(self.logins, 1);
        let told = ["the token's sessions are lost; recovering", "the token is back"];
        assert!(told.iter().all(|told| self.log.contains(told)), "{}", self.log);
    }

    /// What callers of an operation were told, besides success.
    fn exceptions(&self, operation: &str) -> Vec<&str> {
        let of = self.during.iter().filter(|outcome| outcome.operation == operation && !outcome.is_success());
        let mut told: Vec<&str> = of.map(|outcome| outcome.exception.as_str()).collect();
        told.sort_unstable();
        told.dedup();
        told
    }
}

/// What a token does for requests.
const WORK: &str = "C_Encrypt,C_Decrypt,C_GenerateKey";
/// Where the primary key is, on the token that is always well.
const PRIMARY: &str = "eu-west-1";
const UNAVAILABLE: &str = "KeyUnavailableException";
const TIMEOUT: &str = "DependencyTimeoutException";
/// Successes a second of callers who are there, of at most 70.
const LOAD: f64 = 25.0;
const DEADLINE: Duration = Duration::from_millis(1_500);
/// From the end of a failure to the end of a moment at full throughput.
const RECOVERY: Duration = Duration::from_secs(2);
/// Of the throughput before the failure: what is full, as far as it can be counted in a moment.
const FULL: f64 = 0.9;
/// Beyond the deadline, for the way there and back on a busy machine.
const SLACK: Duration = Duration::from_millis(500);
const AT_ONCE: Duration = Duration::from_millis(200);
/// Whoever waits for the other token waits longer than this.
const NOT_SLOWED: Duration = Duration::from_millis(100);
const MOMENT: Duration = Duration::from_millis(400);
const PROFILE: &str = include_str!("../../hsm-config/softhsm2/profile.toml");
/// A call is hung after one second.
const SHORT_LIMITS: &str = "[limits]\ncall_seconds = 1\n";
/// And the token is given up after one more.
const HOPELESS: &str = "[limits]\ncall_seconds = 1\nhopeless_seconds = 1\n";
