//! What the shim remembers: SoftHSM's functions, the open sessions, and renumbered handles.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use cryptoki_sys::*;

use crate::gcm::Sealing;
use crate::rules::Rules;

/// Everything that changes.
#[derive(Default)]
pub struct State {
    pub sessions: HashMap<CK_SESSION_HANDLE, Session>,
    /// Under `renumber`: SoftHSM's handles of the objects of a token; theirs are the places in this list, from 1.
    objects: HashMap<CK_SLOT_ID, Vec<CK_OBJECT_HANDLE>>,
}

/// An open session.
#[derive(Clone)]
pub struct Session {
    /// The slot, as the caller knows it.
    pub slot: CK_SLOT_ID,
    /// SoftHSM's slot behind it.
    pub behind: CK_SLOT_ID,
    /// The token's label.
    pub label: String,
    /// Lost by an event: its handle is not good any more.
    pub lost: bool,
    /// What the GCM operation under way is to come to, if the IV is not the caller's.
    pub sealing: Option<Sealing>,
    /// The length of the associated data of the operation under way.
    pub associated: CK_ULONG,
}

impl State {
    /// The handle for the caller of an object.
    pub fn number(&mut self, slot: CK_SLOT_ID, object: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
        let objects = self.objects.entry(slot).or_default();
        let place = objects.iter().position(|known| *known == object).unwrap_or_else(|| {
            objects.push(object);
            objects.len() - 1
        });
        place as CK_OBJECT_HANDLE + 1
    }

    /// SoftHSM's handle of the object that the caller calls so.
    pub fn object(&self, slot: CK_SLOT_ID, number: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
        let place = usize::try_from(number).unwrap_or(0).wrapping_sub(1);
        self.objects.get(&slot).and_then(|objects| objects.get(place)).copied().unwrap_or(0)
    }

    /// After a login the numbers begin anew.
    pub fn renumber(&mut self, slot: CK_SLOT_ID) {
        self.objects.remove(&slot);
    }

    /// How many sessions a token has.
    pub fn open_sessions(&self, slot: CK_SLOT_ID) -> usize {
        self.sessions.values().filter(|session| session.slot == slot && !session.lost).count()
    }
}

/// The state, locked; never across a call into SoftHSM.
pub fn state() -> MutexGuard<'static, State> {
    STATE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// SoftHSM's functions.
pub fn real() -> &'static CK_FUNCTION_LIST {
    &REAL
        .get_or_init(|| {
            // SAFETY: loading runs SoftHSM's initialisers, as it would without the shim.
            let library = unsafe { Pkcs11::new(MODULE) }.expect("SoftHSM's module");
            let entry = *library.C_GetFunctionList.as_ref().expect("C_GetFunctionList");
            let mut list = std::ptr::null_mut();
            // SAFETY: the function writes one pointer, which stays valid while the library is loaded: for ever.
            let functions = unsafe {
                assert_eq!(entry(&mut list), CKR_OK);
                *list
            };
            Loaded { functions, _library: library }
        })
        .functions
}

/// Held for reading inside SoftHSM, and for writing while an event closes what others use: SoftHSM frees a session even
/// while a thread is inside a call with it.
pub static GATE: RwLock<()> = RwLock::new(());

/// The user of these tokens is logged out.
pub fn log_out(label: Option<&str>) {
    let _gate = GATE.write().unwrap_or_else(PoisonError::into_inner);
    for (_, session) in one_session_per_slot(label) {
        // SAFETY: no pointers; a session that is closed is refused.
        unsafe { real().C_Logout.expect("C_Logout")(session) };
    }
}

/// All sessions of these tokens are closed, which logs out, too.
pub fn lose_sessions(label: Option<&str>) {
    let _gate = GATE.write().unwrap_or_else(PoisonError::into_inner);
    let slots: Vec<CK_SLOT_ID> = one_session_per_slot(label).into_keys().collect();
    for slot in slots {
        // SAFETY: no pointers.
        unsafe { real().C_CloseAllSessions.expect("C_CloseAllSessions")(slot) };
    }
    for session in state().sessions.values_mut().filter(|session| label.is_none_or(|label| session.label == label)) {
        session.lost = true;
        session.sealing = None;
    }
}

fn one_session_per_slot(label: Option<&str>) -> HashMap<CK_SLOT_ID, CK_SESSION_HANDLE> {
    let state = state();
    let open = state.sessions.iter().filter(|(_, session)| !session.lost);
    open.filter(|(_, session)| label.is_none_or(|label| session.label == label))
        .map(|(handle, session)| (session.behind, *handle))
        .collect()
}

/// The label of the token in a slot; empty if it has none.
pub fn label_of(slot: CK_SLOT_ID) -> String {
    info_of(slot).map(|info| trimmed(&info.label)).unwrap_or_default()
}

/// The slot that stands behind `slot`: another one's while the token is swapped.
pub fn behind(rules: &Rules, slot: CK_SLOT_ID) -> CK_SLOT_ID {
    let Some(other) = rules.text(&label_of(slot), "swapped") else { return slot };
    all_slots().into_iter().find(|slot| label_of(*slot) == other).unwrap_or(slot)
}

/// SoftHSM's slots.
pub fn all_slots() -> Vec<CK_SLOT_ID> {
    let list = real().C_GetSlotList.expect("C_GetSlotList");
    let mut count: CK_ULONG = 0;
    // SAFETY: the first call gives the count, the second writes at most so many.
    unsafe {
        list(CK_FALSE, std::ptr::null_mut(), &mut count);
        let mut slots = vec![0; count as usize];
        list(CK_FALSE, slots.as_mut_ptr(), &mut count);
        slots.truncate(count as usize);
        slots
    }
}

/// What SoftHSM says about the token in a slot.
pub fn info_of(slot: CK_SLOT_ID) -> Option<CK_TOKEN_INFO> {
    let mut info = CK_TOKEN_INFO::default();
    // SAFETY: it writes one structure.
    let code = unsafe { real().C_GetTokenInfo.expect("C_GetTokenInfo")(slot, &mut info) };
    (code == CKR_OK).then_some(info)
}

fn trimmed(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim_end_matches([' ', '\0']).to_owned()
}

struct Loaded {
    functions: CK_FUNCTION_LIST,
    _library: Pkcs11,
}

static REAL: OnceLock<Loaded> = OnceLock::new();
static STATE: OnceLock<Mutex<State>> = OnceLock::new();
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
