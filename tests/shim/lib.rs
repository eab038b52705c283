//! The quirk shim: a PKCS#11 module for tests that loads SoftHSM, passes every call through, and plays other vendors'
//! tokens and their failures by rules in a control file.
//!
//! `HSM_KMS_SHIM` names the control file. To change it, replace it whole (write another file and rename it), and then
//! write another number, 8 bytes, into the file beside it, `….generation`: every call looks at that. Without it, or with an empty one, the shim is SoftHSM. Every line is a rule;
//! one that begins with `@LABEL` is for the token with that label only. A line that is not understood ends the process, since
//! a test that tests nothing would pass.
//!
//! | rule | what happens |
//! |---|---|
//! | `hide MECHANISM…` | these are not listed, and no operation with them begins (`CKR_MECHANISM_INVALID`) |
//! | `alias NUMBER MECHANISM` | this vendor's number stands for that mechanism |
//! | `gcm_iv zeroed` | `CKM_AES_GCM` as CloudHSM: 12 zeros at `pIv` become a random IV when `C_Encrypt` succeeds; others are refused |
//! | `gcm_iv appended` | `CKM_AES_GCM` as Luna in FIPS mode: `pIv` is empty, and a random IV of 16 bytes is behind the tag; to decrypt, it is taken from there, or from `pIv` if it is given there |
//! | `vendor_gcm` | mechanism 0x80001087 as CloudHSM: `pIv` is NULL, and a random IV of 12 bytes is before the ciphertext |
//! | `bad_tag CODE` | `C_Decrypt` answers this where SoftHSM answers `CKR_GENERAL_ERROR` |
//! | `bad_padding CODE` | the same for RSA alone: ciphertexts of 256 bytes and more |
//! | `sessions N`, `sessions N unsaid` | one more is `CKR_SESSION_COUNT`; the token's information says so, or does not |
//! | `read_only refused` | a read-only session is `CKR_FUNCTION_FAILED` |
//! | `data N` | more bytes in one call, associated data included, are `CKR_DATA_LEN_RANGE` |
//! | `objects N` | with so many objects on the token, making one more is `CKR_DEVICE_MEMORY` |
//! | `id_max N` | making an object with a longer `CKA_ID` is `CKR_ATTRIBUTE_VALUE_INVALID` |
//! | `no_session_objects` | making an object without `CKA_TOKEN` true is `CKR_ATTRIBUTE_VALUE_INVALID`, but for what `C_DeriveKey` makes |
//! | `refuse_attribute N…` | making an object with one of these attributes is `CKR_ATTRIBUTE_TYPE_INVALID` |
//! | `refuse_false CODE N…` | making an object with one of these attributes, false, is this code |
//! | `refuse_key_type N…` | making a key of one of these types is `CKR_TEMPLATE_INCONSISTENT`, but by `C_DeriveKey` |
//! | `hmac_types`, `hmac_types lengths` | as YubiHSM: a key for HMAC has the type of its hash, does no other HMAC, and has no `CKA_VALUE_LEN`, neither given nor told (`CKR_ATTRIBUTE_TYPE_INVALID`); as nShield: the same with that length |
//! | `pairs_are_one` | as YubiHSM: a public half has the private one's label; destroying it does nothing; it goes with the private one |
//! | `blind` | a search finds nothing, at once: for making many keys, each of which is searched for before |
//! | `renumber` | objects' handles are small numbers that begin anew at every login, so that an old one is another's |
//! | `latency MS FUNCTIONS` | these calls take so many milliseconds longer; fractions are allowed |
//! | `hang FUNCTIONS [WHEN]` | these calls do not return until the rule is gone |
//! | `fail CODE FUNCTIONS [WHEN]` | these calls fail, and nothing happens |
//! | `fail_after CODE FUNCTIONS [WHEN]` | these calls fail, but what they do has happened |
//! | `removed [CODE]` | the token is gone while the rule is there: not listed, `CKR_TOKEN_NOT_PRESENT` by slot, and this code, `CKR_DEVICE_REMOVED` if none is given, by session. Its sessions and its login stay lost |
//! | `swapped LABEL` | the token with that label is in this one's place, under this one's label, while the rule is there; sessions are lost when it comes and when it goes |
//! | `logout [N]` | once, when the line appears: the login is lost, and sessions stay, public |
//! | `close_sessions [N]` | once, when the line appears: all sessions are lost, and with them the login |
//! | `pin wrong`, `pin locked`, `pin final` | `C_Login` is `CKR_PIN_INCORRECT`; it is `CKR_PIN_LOCKED`, and the token's flags say so; the flags say that one try is left |
//! | `library_manufacturer TEXT`, `library_description TEXT`, `library_version 5.17` | what `C_GetInfo` says |
//! | `token_manufacturer TEXT`, `token_model TEXT`, `token_serial TEXT`, `token_firmware 7.4` | what `C_GetTokenInfo` says |
//!
//! FUNCTIONS is `*` or names with commas and no blanks: `C_Encrypt,C_Decrypt`. WHEN is `nth N`: the Nth such call since
//! the rule is there, `from N`: that one and all later ones, or `chance P`: each with this probability. A number is decimal,
//! `0x…`, or the name of a return code. An operation that a rule has fail has ended, as PKCS#11 has it.
//!
//! How often each function was called for each token is in a file beside the control file, `….calls.PID`: rows of 64
//! bytes, several for the same, with the count in 8 bytes of this machine's order, the function in 24 and the label in 32.

// A C library by its nature: every function takes raw pointers, as the standard has it.
#![allow(non_snake_case, clippy::missing_safety_doc, clippy::too_many_arguments)]

mod call;
mod gcm;
mod hmac;
mod rules;
mod shared;
mod state;

use cryptoki_sys::*;

use call::Call;
use rules::Rules;
use state::{GATE, Session, label_of, real, state};

/// The one function that the module exports: everything else is in its list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    unsafe { *list = (&raw const LIST).cast_mut() };
    CKR_OK
}

/// Gives the code back to the caller if there is no call.
macro_rules! begin {
    ($call:expr) => {
        match $call {
            Ok(call) => call,
            Err(code) => return code,
        }
    };
}

/// Functions of a session that need nothing but what is done to every call.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => { $(
        unsafe extern "C" fn $name(session: CK_SESSION_HANDLE $(, $argument: $kind)*) -> CK_RV {
            let call = begin!(Call::on_session(stringify!($name), session));
            call.pass(|list| list.$name.map(|f| unsafe { f(session $(, $argument)*) }))
        }
    )* };
}

/// Functions that begin an operation with a key.
macro_rules! with_key {
    ($($name:ident;)*) => { $(
        unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            mechanism: *mut CK_MECHANISM,
            key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            let call = begin!(Call::on_session(stringify!($name), session));
            let mut mechanism = begin!(unsafe { shown(&call, mechanism) });
            let key = call.object(key);
            call.pass(|list| list.$name.map(|f| unsafe { f(session, &mut mechanism, key) }))
        }
    )* };
}

/// Functions that end an operation in one part.
macro_rules! in_one_part {
    ($($name:ident;)*) => { $(
        unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            input: *mut CK_BYTE,
            length: CK_ULONG,
            output: *mut CK_BYTE,
            room: *mut CK_ULONG,
        ) -> CK_RV {
            let call = begin!(Call::on_session(stringify!($name), session));
            unsafe { gcm::one_shot(&call, real().$name, (input, length), (output, room)) }
        }
    )* };
}

passed_on! {
    C_InitPIN(pin: *mut CK_UTF8CHAR, length: CK_ULONG);
    C_SetPIN(old: *mut CK_UTF8CHAR, old_length: CK_ULONG, new: *mut CK_UTF8CHAR, new_length: CK_ULONG);
    C_GetOperationState(state: *mut CK_BYTE, length: *mut CK_ULONG);
    C_SetOperationState(state: *mut CK_BYTE, length: CK_ULONG, one: CK_OBJECT_HANDLE, other: CK_OBJECT_HANDLE);
    C_Logout();
    C_EncryptUpdate(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_EncryptFinal(output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DecryptUpdate(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DecryptFinal(output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DigestInit(mechanism: *mut CK_MECHANISM);
    C_DigestUpdate(input: *mut CK_BYTE, length: CK_ULONG);
    C_DigestKey(key: CK_OBJECT_HANDLE);
    C_DigestFinal(output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_SignUpdate(input: *mut CK_BYTE, length: CK_ULONG);
    C_SignFinal(output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_SignRecover(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_Verify(input: *mut CK_BYTE, length: CK_ULONG, signature: *mut CK_BYTE, signature_length: CK_ULONG);
    C_VerifyUpdate(input: *mut CK_BYTE, length: CK_ULONG);
    C_VerifyFinal(signature: *mut CK_BYTE, length: CK_ULONG);
    C_VerifyRecover(signature: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DigestEncryptUpdate(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DecryptDigestUpdate(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_SignEncryptUpdate(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_DecryptVerifyUpdate(input: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, room: *mut CK_ULONG);
    C_SeedRandom(seed: *mut CK_BYTE, length: CK_ULONG);
    C_GenerateRandom(output: *mut CK_BYTE, length: CK_ULONG);
    C_GetFunctionStatus();
    C_CancelFunction();
}

with_key! {
    C_SignInit;
    C_SignRecoverInit;
    C_VerifyInit;
    C_VerifyRecoverInit;
}

in_one_part! {
    C_Encrypt;
    C_Decrypt;
    C_Digest;
    C_Sign;
}

unsafe extern "C" fn C_EncryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_EncryptInit", session));
    let given = begin!(unsafe { visible(&call, mechanism) });
    unsafe { gcm::encrypt_init(&call, &given, call.object(key)) }
}

unsafe extern "C" fn C_DecryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_DecryptInit", session));
    let given = begin!(unsafe { visible(&call, mechanism) });
    unsafe { gcm::decrypt_init(&call, &given, call.object(key)) }
}

unsafe extern "C" fn C_Initialize(arguments: *mut std::ffi::c_void) -> CK_RV {
    let call = begin!(Call::on_module("C_Initialize"));
    call.pass(|list| list.C_Initialize.map(|f| unsafe { f(arguments) }))
}

unsafe extern "C" fn C_Finalize(reserved: *mut std::ffi::c_void) -> CK_RV {
    let call = begin!(Call::on_module("C_Finalize"));
    let code = call.pass(|list| list.C_Finalize.map(|f| unsafe { f(reserved) }));
    if code == CKR_OK {
        *state() = state::State::default();
    }
    code
}

unsafe extern "C" fn C_GetInfo(info: *mut CK_INFO) -> CK_RV {
    let call = begin!(Call::on_module("C_GetInfo"));
    let code = call.pass(|list| list.C_GetInfo.map(|f| unsafe { f(info) }));
    if code == CKR_OK {
        let info = unsafe { &mut *info };
        replace(&call.rules, "", "library_manufacturer", &mut info.manufacturerID);
        replace(&call.rules, "", "library_description", &mut info.libraryDescription);
        replace_version(&call.rules, "", "library_version", &mut info.libraryVersion);
    }
    code
}

unsafe extern "C" fn C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    let call = begin!(Call::on_module("C_GetSlotList"));
    let mut listed = Vec::new();
    let code = call.pass(|list| list.C_GetSlotList.map(|f| unsafe { f(present, std::ptr::null_mut(), count) }));
    if code != CKR_OK {
        return code;
    }
    for slot in state::all_slots() {
        let label = label_of(slot);
        let there = present != CK_TRUE || !call.rules.has(&label, "removed", "");
        let stands_in = state::all_slots().into_iter().any(|other| {
            other != slot && call.rules.text(&label_of(other), "swapped").is_some_and(|other| other == label)
        });
        if there && !stands_in {
            listed.push(slot);
        }
    }
    unsafe { give(&listed, slots, count) }
}

unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    let label = label_of(slot);
    let call = begin!(Call::on_module("C_GetSlotInfo"));
    let code = call.pass(|list| list.C_GetSlotInfo.map(|f| unsafe { f(slot, info) }));
    if code == CKR_OK && call.rules.has(&label, "removed", "") {
        unsafe { (*info).flags &= !CKF_TOKEN_PRESENT };
    }
    code
}

unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let call = begin!(Call::on_slot("C_GetTokenInfo", slot));
    let code = call.pass(|list| list.C_GetTokenInfo.map(|f| unsafe { f(call.behind, info) }));
    if code == CKR_OK {
        describe(&call, unsafe { &mut *info });
    }
    code
}

fn describe(call: &Call, info: &mut CK_TOKEN_INFO) {
    let (rules, label) = (&call.rules, call.label.as_str());
    set(&mut info.label, label);
    replace(rules, label, "token_manufacturer", &mut info.manufacturerID);
    replace(rules, label, "token_model", &mut info.model);
    replace(rules, label, "token_serial", &mut info.serialNumber);
    replace_version(rules, label, "token_firmware", &mut info.firmwareVersion);
    if let Some(limit) = rules.of(label, "sessions").find(|rule| rule.arguments.len() == 1) {
        let most = rules::number(&limit.arguments[0]);
        (info.ulMaxSessionCount, info.ulMaxRwSessionCount) = (most, most);
    }
    for (word, flag) in [("locked", CKF_USER_PIN_LOCKED), ("final", CKF_USER_PIN_FINAL_TRY)] {
        if rules.has(label, "pin", word) {
            info.flags |= flag;
        }
    }
}

unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    mechanisms: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_slot("C_GetMechanismList", slot));
    let mut all = vec![0; 1024];
    let mut length = all.len() as CK_ULONG;
    let code =
        call.pass(|list| list.C_GetMechanismList.map(|f| unsafe { f(call.behind, all.as_mut_ptr(), &mut length) }));
    if code != CKR_OK {
        return code;
    }
    all.truncate(length as usize);
    all.extend(call.rules.of(&call.label, "alias").map(|rule| rules::number(&rule.arguments[0])));
    if call.rules.has(&call.label, "vendor_gcm", "") {
        all.push(gcm::VENDOR_GCM);
    }
    all.retain(|mechanism| !call.rules.hides(&call.label, *mechanism));
    unsafe { give(&all, mechanisms, count) }
}

unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    let call = begin!(Call::on_slot("C_GetMechanismInfo", slot));
    if call.rules.hides(&call.label, mechanism) {
        return CKR_MECHANISM_INVALID;
    }
    let asked = CK_MECHANISM { mechanism, pParameter: std::ptr::null_mut(), ulParameterLen: 0 };
    let vendors = mechanism == gcm::VENDOR_GCM && call.rules.has(&call.label, "vendor_gcm", "");
    let mechanism = if vendors { CKM_AES_GCM } else { call.translated(&asked).mechanism };
    call.pass(|list| list.C_GetMechanismInfo.map(|f| unsafe { f(call.behind, mechanism, info) }))
}

unsafe extern "C" fn C_InitToken(
    slot: CK_SLOT_ID,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
    label: *mut CK_UTF8CHAR,
) -> CK_RV {
    let call = begin!(Call::on_slot("C_InitToken", slot));
    call.pass(|list| list.C_InitToken.map(|f| unsafe { f(call.behind, pin, length, label) }))
}

unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut std::ffi::c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_slot("C_OpenSession", slot));
    if flags & CKF_RW_SESSION == 0 && call.rules.has(&call.label, "read_only", "refused") {
        return CKR_FUNCTION_FAILED;
    }
    let most = call.rules.number(&call.label, "sessions");
    if most.is_some_and(|most| state().open_sessions(slot) as CK_ULONG >= most) {
        return CKR_SESSION_COUNT;
    }
    let code =
        call.pass(|list| list.C_OpenSession.map(|f| unsafe { f(call.behind, flags, application, notify, session) }));
    if code == CKR_OK {
        let opened =
            Session { slot, behind: call.behind, label: call.label, lost: false, sealing: None, associated: 0 };
        state().sessions.insert(unsafe { *session }, opened);
    }
    code
}

unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    let call = begin!(Call::on_session("C_CloseSession", session));
    let code = call.pass(|list| list.C_CloseSession.map(|f| unsafe { f(session) }));
    if code == CKR_OK {
        state().sessions.remove(&session);
    }
    code
}

unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    let call = begin!(Call::on_slot("C_CloseAllSessions", slot));
    state().sessions.retain(|_, session| session.slot != slot);
    call.pass(|list| list.C_CloseAllSessions.map(|f| unsafe { f(call.behind) }))
}

unsafe extern "C" fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    let call = begin!(Call::on_session("C_GetSessionInfo", session));
    let code = call.pass(|list| list.C_GetSessionInfo.map(|f| unsafe { f(session, info) }));
    if code == CKR_OK {
        unsafe { (*info).slotID = call.slot };
    }
    code
}

unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_Login", session));
    for (word, code) in [("wrong", CKR_PIN_INCORRECT), ("locked", CKR_PIN_LOCKED)] {
        if call.rules.has(&call.label, "pin", word) {
            return code;
        }
    }
    let code = call.pass(|list| list.C_Login.map(|f| unsafe { f(session, user, pin, length) }));
    if code == CKR_OK {
        state().renumber(call.slot);
    }
    code
}

unsafe extern "C" fn C_CreateObject(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_CreateObject", session));
    begin!(unsafe { room_for(&call, template, count) });
    let mut template = begin!(unsafe { hmac::beneath(&call, template, count) });
    let (template, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
    let code = call.pass(|list| list.C_CreateObject.map(|f| unsafe { f(session, template, count, object) }));
    unsafe { numbered(&call, code, &[object]) }
}

unsafe extern "C" fn C_CopyObject(
    session: CK_SESSION_HANDLE,
    from: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_CopyObject", session));
    if let Some(code) = call.fails_before() {
        return code;
    }
    begin!(unsafe { room_for(&call, template, count) });
    let from = call.object(from);
    let code = call.pass(|list| list.C_CopyObject.map(|f| unsafe { f(session, from, template, count, object) }));
    unsafe { numbered(&call, code, &[object]) }
}

unsafe extern "C" fn C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    let call = begin!(Call::on_session("C_DestroyObject", session));
    let object = call.object(object);
    if call.rules.has(&call.label, "pairs_are_one", "") {
        return unsafe { destroy_with_its_half(&call, object) };
    }
    call.pass(|list| list.C_DestroyObject.map(|f| unsafe { f(session, object) }))
}

unsafe extern "C" fn C_GetObjectSize(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    size: *mut CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_GetObjectSize", session));
    let object = call.object(object);
    call.pass(|list| list.C_GetObjectSize.map(|f| unsafe { f(session, object, size) }))
}

unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_GetAttributeValue", session));
    let object = call.object(object);
    let code = call.pass(|list| list.C_GetAttributeValue.map(|f| unsafe { f(session, object, template, count) }));
    let told =
        if template.is_null() { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(template, count as usize) } };
    unsafe { hmac::tell(&call, object, code, told) }
}

unsafe extern "C" fn C_SetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_SetAttributeValue", session));
    let object = call.object(object);
    call.pass(|list| list.C_SetAttributeValue.map(|f| unsafe { f(session, object, template, count) }))
}

unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_FindObjectsInit", session));
    if call.rules.has(&call.label, "blind", "") {
        return call.pass(|_| Some(CKR_OK));
    }
    call.pass(|list| list.C_FindObjectsInit.map(|f| unsafe { f(session, template, count) }))
}

unsafe extern "C" fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) -> CK_RV {
    let call = begin!(Call::on_session("C_FindObjectsFinal", session));
    if call.rules.has(&call.label, "blind", "") {
        return call.pass(|_| Some(CKR_OK));
    }
    call.pass(|list| list.C_FindObjectsFinal.map(|f| unsafe { f(session) }))
}

unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_FindObjects", session));
    if call.rules.has(&call.label, "blind", "") {
        unsafe { *count = 0 };
        return call.pass(|_| Some(CKR_OK));
    }
    let code = call.pass(|list| list.C_FindObjects.map(|f| unsafe { f(session, objects, most, count) }));
    if code == CKR_OK {
        for object in unsafe { std::slice::from_raw_parts_mut(objects, *count as usize) } {
            *object = call.number(*object);
        }
    }
    code
}

unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_GenerateKey", session));
    let mut mechanism = begin!(unsafe { shown(&call, mechanism) });
    begin!(unsafe { room_for(&call, template, count) });
    let mut template = begin!(unsafe { hmac::beneath(&call, template, count) });
    let (template, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
    let code =
        call.pass(|list| list.C_GenerateKey.map(|f| unsafe { f(session, &mut mechanism, template, count, key) }));
    unsafe { numbered(&call, code, &[key]) }
}

unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_GenerateKeyPair", session));
    let mut mechanism = begin!(unsafe { shown(&call, mechanism) });
    begin!(unsafe { room_for(&call, public, public_count) });
    begin!(unsafe { room_for(&call, private, private_count) });
    let mut public = unsafe { attributes(public, public_count) }.to_vec();
    if call.rules.has(&call.label, "pairs_are_one", "") {
        let private = unsafe { attributes(private, private_count) };
        public.extend(private.iter().find(|attribute| attribute.type_ == CKA_LABEL));
    }
    let (public, public_count) = (public.as_mut_ptr(), public.len() as CK_ULONG);
    let code = call.pass(|list| {
        list.C_GenerateKeyPair.map(|f| unsafe {
            f(session, &mut mechanism, public, public_count, private, private_count, public_key, private_key)
        })
    });
    unsafe { numbered(&call, code, &[public_key, private_key]) }
}

unsafe extern "C" fn C_WrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    wrapping: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    output: *mut CK_BYTE,
    room: *mut CK_ULONG,
) -> CK_RV {
    let call = begin!(Call::on_session("C_WrapKey", session));
    let mut mechanism = begin!(unsafe { shown(&call, mechanism) });
    let (wrapping, key) = (call.object(wrapping), call.object(key));
    call.pass(|list| list.C_WrapKey.map(|f| unsafe { f(session, &mut mechanism, wrapping, key, output, room) }))
}

unsafe extern "C" fn C_UnwrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    unwrapping: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    length: CK_ULONG,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_UnwrapKey", session));
    let mut mechanism = begin!(unsafe { shown(&call, mechanism) });
    begin!(unsafe { room_for(&call, template, count) });
    let mut template = begin!(unsafe { hmac::beneath(&call, template, count) });
    let (template, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
    let unwrapping = call.object(unwrapping);
    let code = call.pass(|list| {
        list.C_UnwrapKey
            .map(|f| unsafe { f(session, &mut mechanism, unwrapping, wrapped, length, template, count, key) })
    });
    unsafe { numbered(&call, code, &[key]) }
}

unsafe extern "C" fn C_DeriveKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    base: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = begin!(Call::on_session("C_DeriveKey", session));
    let mut mechanism = begin!(unsafe { shown(&call, mechanism) });
    begin!(unsafe { room_for(&call, template, count) });
    let base = call.object(base);
    let code =
        call.pass(|list| list.C_DeriveKey.map(|f| unsafe { f(session, &mut mechanism, base, template, count, key) }));
    unsafe { numbered(&call, code, &[key]) }
}

unsafe extern "C" fn C_WaitForSlotEvent(
    flags: CK_FLAGS,
    slot: *mut CK_SLOT_ID,
    reserved: *mut std::ffi::c_void,
) -> CK_RV {
    let call = begin!(Call::on_module("C_WaitForSlotEvent"));
    call.pass(|list| list.C_WaitForSlotEvent.map(|f| unsafe { f(flags, slot, reserved) }))
}

/// The mechanism that the caller asks for, unless it is hidden.
unsafe fn visible(call: &Call, mechanism: *mut CK_MECHANISM) -> Result<CK_MECHANISM, CK_RV> {
    let mechanism = unsafe { mechanism.as_ref() }.ok_or(CKR_ARGUMENTS_BAD)?;
    if call.rules.hides(&call.label, mechanism.mechanism) { Err(CKR_MECHANISM_INVALID) } else { Ok(*mechanism) }
}

/// As [`visible`], by SoftHSM's number.
unsafe fn shown(call: &Call, mechanism: *mut CK_MECHANISM) -> Result<CK_MECHANISM, CK_RV> {
    unsafe { visible(call, mechanism) }.map(|mechanism| call.translated(&mechanism))
}

/// Whether an object with this template may be made.
unsafe fn room_for(call: &Call, template: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Result<(), CK_RV> {
    let template = unsafe { attributes(template, count) };
    let attribute = |kind| template.iter().find(|attribute| attribute.type_ == kind);
    let id = attribute(CKA_ID).map_or(0, |attribute| attribute.ulValueLen);
    if call.rules.number(&call.label, "id_max").is_some_and(|most| id > most) {
        return Err(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    let stays =
        attribute(CKA_TOKEN).is_some_and(|attribute| unsafe { *attribute.pValue.cast::<CK_BBOOL>() } == CK_TRUE);
    if template.iter().any(|attribute| call.rules.lists(&call.label, "refuse_attribute", attribute.type_)) {
        return Err(CKR_ATTRIBUTE_TYPE_INVALID);
    }
    let is_false = |attribute: &CK_ATTRIBUTE| unsafe { *attribute.pValue.cast::<CK_BBOOL>() } == CK_FALSE;
    for rule in call.rules.of(&call.label, "refuse_false") {
        let (code, refused) = rule.arguments.split_first().expect("two arguments");
        let named = |attribute: &&CK_ATTRIBUTE| refused.iter().any(|refused| rules::number(refused) == attribute.type_);
        if template.iter().filter(named).any(is_false) {
            return Err(rules::number(code));
        }
    }
    let derived = call.function == "C_DeriveKey";
    let key_type = attribute(CKA_KEY_TYPE).map(|attribute| unsafe { *attribute.pValue.cast::<CK_ULONG>() });
    if !derived && key_type.is_some_and(|key_type| call.rules.lists(&call.label, "refuse_key_type", key_type)) {
        return Err(CKR_TEMPLATE_INCONSISTENT);
    }
    if !derived && !stays && call.rules.has(&call.label, "no_session_objects", "") {
        return Err(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    match call.rules.number(&call.label, "objects") {
        Some(most) if stays && unsafe { objects_on_token(call) } >= most => Err(CKR_DEVICE_MEMORY),
        _ => Ok(()),
    }
}

/// A template as it is given; empty if there is none.
unsafe fn attributes<'a>(template: *mut CK_ATTRIBUTE, count: CK_ULONG) -> &'a [CK_ATTRIBUTE] {
    if template.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(template, count as usize) } }
}

/// How many objects the token has.
unsafe fn objects_on_token(call: &Call) -> CK_ULONG {
    let _gate = GATE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    unsafe { search(call, &mut [attribute(CKA_TOKEN, &mut CK_TRUE.to_ne_bytes())]) }.len() as CK_ULONG
}

/// Destroys a key; a private one with its public half, and that alone not at all.
unsafe fn destroy_with_its_half(call: &Call, object: CK_OBJECT_HANDLE) -> CK_RV {
    let (mut class, mut label) = (CKO_SECRET_KEY.to_ne_bytes(), [0; 256]);
    let mut template = [attribute(CKA_CLASS, &mut class), attribute(CKA_LABEL, &mut label)];
    let read = real().C_GetAttributeValue.expect("C_GetAttributeValue");
    call.pass_anyway(|| unsafe { read(call.session, object, template.as_mut_ptr(), 2) });
    let length = template[1].ulValueLen as usize;
    let class = CK_OBJECT_CLASS::from_ne_bytes(class);
    call.pass(|list| {
        let destroy = list.C_DestroyObject?;
        if class == CKO_PUBLIC_KEY {
            return Some(CKR_OK);
        }
        let code = unsafe { destroy(call.session, object) };
        if class == CKO_PRIVATE_KEY && code == CKR_OK {
            let mut public = CKO_PUBLIC_KEY.to_ne_bytes();
            let mut half = [attribute(CKA_CLASS, &mut public), attribute(CKA_LABEL, &mut label[..length])];
            for half in unsafe { search(call, &mut half) } {
                unsafe { destroy(call.session, half) };
            }
        }
        Some(code)
    })
}

fn attribute(type_: CK_ATTRIBUTE_TYPE, value: &mut [u8]) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_, pValue: value.as_mut_ptr().cast(), ulValueLen: value.len() as CK_ULONG }
}

/// SoftHSM's objects that fit, found on a session that is gone afterwards.
unsafe fn search(call: &Call, template: &mut [CK_ATTRIBUTE]) -> Vec<CK_OBJECT_HANDLE> {
    let (list, mut session, mut found) = (real(), 0, 0);
    let mut handles = vec![0; 100_000];
    let open = list.C_OpenSession.expect("C_OpenSession");
    unsafe {
        open(call.behind, CKF_SERIAL_SESSION, std::ptr::null_mut(), None, &mut session);
        let count = template.len() as CK_ULONG;
        list.C_FindObjectsInit.expect("C_FindObjectsInit")(session, template.as_mut_ptr(), count);
        let most = handles.len() as CK_ULONG;
        list.C_FindObjects.expect("C_FindObjects")(session, handles.as_mut_ptr(), most, &mut found);
        list.C_CloseSession.expect("C_CloseSession")(session);
    }
    handles.truncate(found as usize);
    handles
}

/// Gives new objects their numbers.
unsafe fn numbered(call: &Call, code: CK_RV, objects: &[*mut CK_OBJECT_HANDLE]) -> CK_RV {
    if code == CKR_OK {
        for object in objects {
            unsafe { **object = call.number(**object) };
        }
    }
    code
}

/// A list as PKCS#11 gives it: its length if there is no room.
unsafe fn give(all: &[CK_ULONG], to: *mut CK_ULONG, count: *mut CK_ULONG) -> CK_RV {
    unsafe {
        let room = *count;
        *count = all.len() as CK_ULONG;
        if to.is_null() {
            return CKR_OK;
        }
        if room < *count {
            return CKR_BUFFER_TOO_SMALL;
        }
        std::ptr::copy_nonoverlapping(all.as_ptr(), to, all.len());
    }
    CKR_OK
}

fn replace(rules: &Rules, label: &str, word: &str, field: &mut [u8]) {
    if let Some(text) = rules.text(label, word) {
        set(field, &text);
    }
}

fn set(field: &mut [u8], text: &str) {
    field.fill(b' ');
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn replace_version(rules: &Rules, label: &str, word: &str, version: &mut CK_VERSION) {
    if let Some((major, minor)) = rules.text(label, word).as_deref().and_then(|text| text.split_once('.')) {
        *version = CK_VERSION { major: major.parse().expect("a number"), minor: minor.parse().expect("a number") };
    }
}

/// The list that callers get, and the names of the functions in it.
macro_rules! list {
    ($($name:ident),* $(,)?) => {
        static LIST: CK_FUNCTION_LIST =
            CK_FUNCTION_LIST { version: CK_VERSION { major: 2, minor: 40 }, $($name: Some($name)),* };
        /// All functions, for rules that name some.
        pub const FUNCTIONS: &[&str] = &[$(stringify!($name)),*];
    };
}

#[rustfmt::skip]
list!(
    C_Initialize, C_Finalize, C_GetInfo, C_GetFunctionList, C_GetSlotList, C_GetSlotInfo, C_GetTokenInfo,
    C_GetMechanismList, C_GetMechanismInfo, C_InitToken, C_InitPIN, C_SetPIN, C_OpenSession, C_CloseSession,
    C_CloseAllSessions, C_GetSessionInfo, C_GetOperationState, C_SetOperationState, C_Login, C_Logout, C_CreateObject,
    C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue, C_SetAttributeValue, C_FindObjectsInit,
    C_FindObjects, C_FindObjectsFinal, C_EncryptInit, C_Encrypt, C_EncryptUpdate, C_EncryptFinal, C_DecryptInit,
    C_Decrypt, C_DecryptUpdate, C_DecryptFinal, C_DigestInit, C_Digest, C_DigestUpdate, C_DigestKey, C_DigestFinal,
    C_SignInit, C_Sign, C_SignUpdate, C_SignFinal, C_SignRecoverInit, C_SignRecover, C_VerifyInit, C_Verify,
    C_VerifyUpdate, C_VerifyFinal, C_VerifyRecoverInit, C_VerifyRecover, C_DigestEncryptUpdate, C_DecryptDigestUpdate,
    C_SignEncryptUpdate, C_DecryptVerifyUpdate, C_GenerateKey, C_GenerateKeyPair, C_WrapKey, C_UnwrapKey, C_DeriveKey,
    C_SeedRandom, C_GenerateRandom, C_GetFunctionStatus, C_CancelFunction, C_WaitForSlotEvent,
);
