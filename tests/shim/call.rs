//! What happens to every call: it is counted, it waits, it fails by a rule, or it is passed on.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::rules::{self, Rules, number};
use crate::shared;
use crate::state::{self, GATE, real, state};

/// A call on its way.
pub struct Call {
    pub function: &'static str,
    /// 0 for calls on a slot.
    pub session: CK_SESSION_HANDLE,
    /// The slot, as the caller knows it.
    pub slot: CK_SLOT_ID,
    /// SoftHSM's slot behind it.
    pub behind: CK_SLOT_ID,
    /// The token's label.
    pub label: String,
    pub rules: Arc<Rules>,
    failure: Option<Failure>,
}

#[derive(Clone, Copy)]
enum Failure {
    Before(CK_RV),
    After(CK_RV),
}

impl Call {
    /// A call on a session.
    pub fn on_session(function: &'static str, session: CK_SESSION_HANDLE) -> Result<Call, CK_RV> {
        let known = state().sessions.get(&session).cloned().ok_or(CKR_SESSION_HANDLE_INVALID)?;
        let rules = wait(&known.label, function);
        refuse_if_removed(&rules, &known.label)?;
        if state().sessions.get(&session).is_none_or(|session| session.lost) {
            return Err(CKR_SESSION_HANDLE_INVALID);
        }
        Ok(Call::begun(function, session, (known.slot, known.behind), known.label, rules))
    }

    /// A call on a slot.
    pub fn on_slot(function: &'static str, slot: CK_SLOT_ID) -> Result<Call, CK_RV> {
        let label = state::label_of(slot);
        let rules = wait(&label, function);
        if refuse_if_removed(&rules, &label).is_err() {
            return Err(CKR_TOKEN_NOT_PRESENT);
        }
        let behind = state::behind(&rules, slot);
        let call = Call::begun(function, 0, (slot, behind), label, rules);
        call.fails_before().map_or(Ok(call), Err)
    }

    /// A call on the whole module.
    pub fn on_module(function: &'static str) -> Result<Call, CK_RV> {
        let rules = wait("", function);
        let call = Call::begun(function, 0, (0, 0), String::new(), rules);
        call.fails_before().map_or(Ok(call), Err)
    }

    fn begun(
        function: &'static str,
        session: CK_SESSION_HANDLE,
        (slot, behind): (CK_SLOT_ID, CK_SLOT_ID),
        label: String,
        rules: Arc<Rules>,
    ) -> Call {
        // Every rule counts its calls, whether another one has the call fail or not.
        let code = |word| {
            let fails: Vec<_> = rules.of(&label, word).filter(|rule| rule.is_for(function, 1)).collect();
            fails.first().map(|rule| number(&rule.arguments[0]))
        };
        let (before, after) = (code("fail"), code("fail_after"));
        let failure = before.map(Failure::Before).or(after.map(Failure::After));
        Call { function, session, slot, behind, label, rules, failure }
    }

    /// The code with which the call fails before SoftHSM hears of it.
    pub fn fails_before(&self) -> Option<CK_RV> {
        match self.failure {
            Some(Failure::Before(code)) => Some(code),
            _ => None,
        }
    }

    /// Calls SoftHSM, or fails as the rules have it.
    pub fn pass(&self, call: impl FnOnce(&CK_FUNCTION_LIST) -> Option<CK_RV>) -> CK_RV {
        let _gate = GATE.read().unwrap_or_else(PoisonError::into_inner);
        if self.session != 0 && state().sessions.get(&self.session).is_none_or(|session| session.lost) {
            return CKR_SESSION_HANDLE_INVALID;
        }
        if let Some(code) = self.fails_before() {
            return code;
        }
        let code = call(real()).unwrap_or(CKR_FUNCTION_NOT_SUPPORTED);
        match self.failure {
            Some(Failure::After(after)) => after,
            _ => code,
        }
    }

    /// Calls SoftHSM whatever the rules say, if the session is there.
    pub fn pass_anyway(&self, call: impl FnOnce() -> CK_RV) {
        let _gate = GATE.read().unwrap_or_else(PoisonError::into_inner);
        if state().sessions.get(&self.session).is_some_and(|session| !session.lost) {
            call();
        }
    }

    /// The mechanism by SoftHSM's number.
    pub fn translated(&self, mechanism: &CK_MECHANISM) -> CK_MECHANISM {
        let alias = self.rules.of(&self.label, "alias").find(|rule| number(&rule.arguments[0]) == mechanism.mechanism);
        let mechanism_number = alias.map_or(mechanism.mechanism, |rule| number(&rule.arguments[1]));
        CK_MECHANISM { mechanism: mechanism_number, ..*mechanism }
    }

    /// SoftHSM's handle of an object.
    pub fn object(&self, handle: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
        if self.renumbers() { state().object(self.slot, handle) } else { handle }
    }

    /// The caller's handle of an object.
    pub fn number(&self, object: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
        if self.renumbers() { state().number(self.slot, object) } else { object }
    }

    fn renumbers(&self) -> bool {
        self.rules.has(&self.label, "renumber", "")
    }
}

/// Counts the call, and waits for as long as the rules say. Returns the rules as they are then.
fn wait(label: &str, function: &'static str) -> Arc<Rules> {
    shared::count(label, function);
    let rules = rules::current();
    for rule in rules.of(label, "latency").filter(|rule| rule.is_for(function, 1)) {
        let until = Instant::now() + Duration::from_secs_f64(rule.arguments[0].parse::<f64>().expect("ms") / 1000.0);
        // A token that is fast again ends its slow calls, too.
        while Instant::now() < until && (until - Instant::now() < LATENCY_TICK || rules::current().still_has(rule)) {
            std::thread::sleep(LATENCY_TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }
    let hung: Vec<_> = rules.of(label, "hang").filter(|rule| rule.is_for(function, 0)).collect();
    while hung.iter().any(|rule| rules::current().still_has(rule)) {
        std::thread::sleep(TICK);
    }
    rules::current()
}

fn refuse_if_removed(rules: &Rules, label: &str) -> Result<(), CK_RV> {
    match rules.of(label, "removed").next() {
        Some(rule) => Err(rule.arguments.first().map_or(CKR_DEVICE_REMOVED, |code| number(code))),
        None => Ok(()),
    }
}

/// How soon a slow call notices that its rule is gone.
const LATENCY_TICK: Duration = Duration::from_millis(50);
/// How soon a hung call notices that its rule is gone.
const TICK: Duration = Duration::from_millis(5);
