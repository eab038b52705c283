//! The rows of README.md's table of failures. In each, two tokens are under load, the first one fails for a while, and the
//! second one's callers must not notice.

use std::time::{Duration, Instant};

use crate::load::{Doctor, Load, Outcome};
use crate::process::until;
use crate::rig::Rig;
use crate::support::{Service, signal};

#[test]
fn sessions_lost() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one close_sessions", MOMENT).recovers().ends();
    assert_eq!((seen.exceptions("Encrypt"), seen.exceptions("Decrypt")), (vec![], vec![]), "tried once more, unseen");
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 1);
    assert!(seen.log.contains("the token's sessions are lost; recovering"));
}

#[test]
fn login_lost() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one logout", MOMENT).recovers().ends();
    assert_eq!((seen.exceptions("Encrypt"), seen.exceptions("Decrypt")), (vec![], vec![]), "tried once more, unseen");
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 1);
}

#[test]
fn gone_for_a_second() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one removed", Duration::from_secs(1)).says("unavailable").recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.exceptions("Encrypt") == [UNAVAILABLE], "{seen:?}");
    assert_eq!(seen.logins, 1);
    assert!(seen.log.contains("the token does not come back"));
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
    let asked = trial.one.asked(Instant::now() - Duration::from_millis(300), Instant::now());
    assert!(asked.iter().all(|outcome| outcome.took < Duration::from_millis(200)), "at once: {asked:?}");
    trial.ends_by_itself(Duration::from_secs(5), Some(0));
}

#[test]
fn slow_by_2_ms() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for("@one latency 2 *", MOMENT).recovers().ends();
    assert!(seen.only(&[]), "{seen:?}");
}

#[test]
fn slow_by_200_ms() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for(&format!("@one latency 200 {WORK}"), Duration::from_secs(1)).recovers().ends();
    assert!(seen.only(&[]) && seen.logins == 0, "late, within the deadline: {seen:?}");
}

#[test]
fn slow_by_5_s() {
    let trial = Trial::start(&[]);
    let seen = trial.fails_for(&format!("@one latency 5000 {WORK}"), Duration::from_secs(2)).recovers().ends();
    assert!(seen.only(&[TIMEOUT]) && seen.during.iter().any(|outcome| !outcome.is_success()), "{seen:?}");
    assert_eq!(seen.logins, 0, "slow is not lost");
    assert!(!seen.log.contains("does not return"), "and no worker is written off");
}

#[test]
fn a_call_hangs() {
    let trial = Trial::start_with(&[], SHORT_LIMITS);
    let trial = trial.fails_for("@one hang C_Encrypt,C_Decrypt nth 1", Duration::from_millis(1_500));
    assert!(trial.one.rate(Instant::now() - MOMENT, Instant::now()) > 0.0, "another worker is there");
    let seen = trial.recovers().ends();
    assert!(seen.only(&[TIMEOUT, UNAVAILABLE]), "{seen:?}");
    assert!(seen.log.contains("inside a call that does not return") && seen.logins == 0);
}

#[test]
fn every_call_hangs() {
    let trial = Trial::start_with(&[], SHORT_LIMITS);
    let trial = trial.fails_for("@one hang C_Encrypt,C_Decrypt,C_GenerateKey", Duration::from_secs(6));
    let seen = trial.says("unavailable").recovers().ends();
    assert!(seen.only(&[TIMEOUT, UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 0);
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
    assert_eq!(seen.logins, 0);
}

#[test]
fn general_error() {
    let trial = Trial::start(&[]);
    let seen =
        trial.fails_for(&format!("@one fail CKR_GENERAL_ERROR {WORK}"), Duration::from_secs(1)).recovers().ends();
    assert!(seen.only(&[UNAVAILABLE]) && seen.exceptions("Decrypt") == [UNAVAILABLE], "{seen:?}");
    assert_eq!(seen.logins, 0);
}

/// Failures of a moment and for long, by the code that this token has for a wrong tag.
#[test]
fn no_outage_is_a_bad_ciphertext() {
    let trial = Trial::start(&[]);
    let nth = |number: u64| format!("@one fail CKR_GENERAL_ERROR C_Decrypt nth {number}\n");
    // The first sign of trouble, and the only one: nobody notices.
    let before = trial.rig.shim.calls_of("one", "C_Decrypt");
    let trial = trial.fails_for(&nth(3), MOMENT);
    let during = trial.one.asked(trial.broken, trial.mended);
    assert!(trial.rig.shim.calls_of("one", "C_Decrypt") - before > 5, "the call, a probe, and the call again");
    assert!(during.iter().all(Outcome::is_success), "{during:?}");
    // A call and the probe after it; a call and its second try, but not the probe between them.
    let rules = [2, 3, 10, 12].map(nth).concat();
    let trial = trial.fails_for(&rules, Duration::from_millis(800));
    let told: Vec<_> = trial.one.asked(trial.broken, trial.mended);
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
    assert_eq!(seen.logins, 0);
}

#[test]
fn the_pin_is_refused() {
    let trial = Trial::start(&[]);
    let trial = trial.fails_for("@one pin wrong\n@one logout", Duration::from_secs(1)).says("PIN refused");
    trial.rig.shim.rules("");
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(trial.doctor.readiness("").1["parts"][2]["reason"], "PIN refused", "the same PIN is never tried again");
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
    assert!(seen.only(&[UNAVAILABLE]), "{seen:?}");
    assert_eq!(seen.logins, 1);
}

#[test]
fn a_wrong_or_locked_pin_at_start_ends_with_78() {
    for (rule, wanted, logins) in [("pin wrong", "refused the PIN", 1), ("pin locked", "is locked", 0)] {
        let rig = Rig::new(&["one"]);
        let before = rig.shim.calls("C_Login");
        rig.shim.rules(rule);
        let Err(failed) = rig.try_serve() else { panic!("it serves") };
        assert_eq!(failed.status.code(), Some(78), "{failed:?}");
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
const TESTED: [(&str, &[&str]); 14] = [
    ("sessions lost", &["sessions_lost"]),
    ("login lost", &["login_lost"]),
    ("token gone", &["gone_for_a_second", "gone_for_30_seconds", "gone_while_a_login_waits", "gone_for_good"]),
    ("slow: milliseconds", &["slow_by_2_ms", "slow_by_200_ms"]),
    ("slow: longer", &["slow_by_5_s"]),
    ("a call hangs", &["a_call_hangs"]),
    ("every call hangs", &["every_call_hangs", "a_service_with_a_hung_token_ends_when_told"]),
    ("busy", &["busy"]),
    ("general error", &["general_error", "no_outage_is_a_bad_ciphertext"]),
    ("out of sessions", &["out_of_sessions"]),
    ("out of object slots", &["out_of_object_slots"]),
    ("PIN wrong", &["the_pin_is_refused", "a_wrong_or_locked_pin_at_start_ends_with_78"]),
    ("PIN locked", &["the_pin_is_locked", "a_wrong_or_locked_pin_at_start_ends_with_78"]),
    ("another token", &["the_token_is_swapped"]),
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
        let service = rig.serve();
        let (one, two) = (Load::start(&service, "us-east-1"), Load::start(&service, "eu-west-1"));
        let doctor = Doctor::start(&service);
        let begun = Instant::now();
        let rate = |load: &Load| load.rate(Instant::now() - MOMENT, Instant::now());
        until("both are under load", || begun.elapsed() > MOMENT && rate(&one) > 50.0 && rate(&two) > 50.0);
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
        assert!(self.mended.elapsed() < RECOVERY, "{:?}", self.mended.elapsed());
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
        self.doctor.discharge();
        let during = self.one.stop(&self.service);
        for outcome in &during {
            assert!(outcome.took < DEADLINE + SLACK, "not by its deadline: {outcome:?}");
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
        Seen { during: during.into_iter().filter(|outcome| outcome.begun >= self.broken).collect(), logins, log }
    }

    /// Told to end while the token fails, the service ends within this time.
    fn ends_by_itself(self, time: Duration, code: Option<i32>) {
        let told = Instant::now();
        signal(self.service.pid(), "TERM");
        let (status, _) = self.service.ended();
        assert!(told.elapsed() < time, "{:?}", told.elapsed());
        assert_eq!(status.code(), code, "{status:?}");
        self.one.give_up();
        self.two.give_up();
        self.doctor.discharge();
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
const UNAVAILABLE: &str = "KeyUnavailableException";
const TIMEOUT: &str = "DependencyTimeoutException";
const DEADLINE: Duration = Duration::from_millis(1_500);
/// From the end of a failure to the end of a moment at full throughput.
const RECOVERY: Duration = Duration::from_secs(2);
/// Of the throughput before the failure: what is full, as far as it can be counted in a moment.
const FULL: f64 = 0.9;
/// Beyond the deadline, for the way there and back on a busy machine.
const SLACK: Duration = Duration::from_millis(500);
/// Whoever waits for the other token waits longer than this.
const NOT_SLOWED: Duration = Duration::from_millis(100);
const MOMENT: Duration = Duration::from_millis(400);
const PROFILE: &str = include_str!("../../hsm-config/softhsm2/profile.toml");
/// A call is hung after one second.
const SHORT_LIMITS: &str = "[limits]\ncall_seconds = 1\n";
