//! AES-GCM with an IV that the token makes, as CloudHSM and Luna have it, on a SoftHSM that never makes one.

use cryptoki_sys::*;

use crate::call::Call;
use crate::state::{real, state};

/// What becomes of an operation whose IV is not the caller's.
#[derive(Clone)]
pub enum Sealing {
    /// The IV is written to the caller's buffer, at this address, with the ciphertext.
    Back { iv: Vec<u8>, to: usize },
    /// The IV is given out with the ciphertext: before it or behind it.
    Beside { iv: Vec<u8>, first: bool },
    /// The IV comes with the ciphertext, and the operation begins only then.
    Opening { length: usize, first: bool, key: CK_OBJECT_HANDLE, associated: Vec<u8>, tag_bits: CK_ULONG },
}

/// Who makes the IV.
enum Owner {
    Caller,
    /// CloudHSM's `CKM_AES_GCM`: the caller's buffer must be zeros.
    Zeroed,
    /// `length` bytes go with the ciphertext, and the caller gives none.
    Beside {
        length: usize,
        first: bool,
    },
}

fn owner(call: &Call, mechanism: CK_MECHANISM_TYPE) -> Owner {
    let style = call.rules.text(&call.label, "gcm_iv").unwrap_or_default();
    match (mechanism, style.as_str()) {
        (VENDOR_GCM, _) if call.rules.has(&call.label, "vendor_gcm", "") => Owner::Beside { length: 12, first: true },
        (CKM_AES_GCM, "zeroed") => Owner::Zeroed,
        (CKM_AES_GCM, "appended") => Owner::Beside { length: 16, first: false },
        _ => Owner::Caller,
    }
}

/// `C_EncryptInit`
///
/// # Safety
/// The pointers are as PKCS#11 wants them.
pub unsafe fn encrypt_init(call: &Call, mechanism: &CK_MECHANISM, key: CK_OBJECT_HANDLE) -> CK_RV {
    unsafe {
        let plain = |mechanism: &CK_MECHANISM| {
            let mut mechanism = call.translated(mechanism);
            call.pass(|list| list.C_EncryptInit.map(|f| f(call.session, &mut mechanism, key)))
        };
        let owner = owner(call, mechanism.mechanism);
        if matches!(owner, Owner::Caller) {
            note(call, mechanism, None);
            return plain(mechanism);
        }
        let Some(given) = parameters(mechanism) else { return CKR_MECHANISM_PARAM_INVALID };
        let sealing = match owner {
            Owner::Zeroed => {
                let all_zero = !given.pIv.is_null() && bytes(given.pIv, given.ulIvLen).iter().all(|byte| *byte == 0);
                if !all_zero || given.ulIvLen != 12 {
                    return CKR_MECHANISM_PARAM_INVALID;
                }
                Sealing::Back { iv: random(call, 12), to: given.pIv as usize }
            }
            Owner::Beside { .. } if !given.pIv.is_null() && given.ulIvLen > 0 => return CKR_MECHANISM_PARAM_INVALID,
            Owner::Beside { length, first } => Sealing::Beside { iv: random(call, length), first },
            Owner::Caller => return CKR_GENERAL_ERROR,
        };
        let (Sealing::Back { iv, .. } | Sealing::Beside { iv, .. }) = &sealing else { return CKR_GENERAL_ERROR };
        let mut iv = iv.clone();
        let mut own = with_iv(given, &mut iv);
        let code = plain(&gcm(&mut own));
        if code == CKR_OK {
            note(call, mechanism, Some(sealing));
        }
        code
    }
}

/// `C_DecryptInit`
///
/// # Safety
/// The pointers are as PKCS#11 wants them.
pub unsafe fn decrypt_init(call: &Call, mechanism: &CK_MECHANISM, key: CK_OBJECT_HANDLE) -> CK_RV {
    unsafe {
        if let Owner::Beside { length, first } = owner(call, mechanism.mechanism) {
            let Some(given) = parameters(mechanism) else { return CKR_MECHANISM_PARAM_INVALID };
            if given.pIv.is_null() || given.ulIvLen == 0 {
                let associated = bytes(given.pAAD, given.ulAADLen).to_vec();
                let opening = Sealing::Opening { length, first, key, associated, tag_bits: given.ulTagBits };
                note(call, mechanism, Some(opening));
                return call.pass(|_| Some(CKR_OK));
            }
        }
        note(call, mechanism, None);
        let mut mechanism = call.translated(mechanism);
        call.pass(|list| list.C_DecryptInit.map(|f| f(call.session, &mut mechanism, key)))
    }
}

/// What `C_Encrypt`, `C_Decrypt`, `C_Sign` and `C_Digest` have in common.
pub type OneShot =
    unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;

/// The end of an operation in one part.
///
/// # Safety
/// The pointers are as PKCS#11 wants them.
pub unsafe fn one_shot(
    call: &Call,
    real: Option<OneShot>,
    (input, input_length): (*mut CK_BYTE, CK_ULONG),
    (output, room): (*mut CK_BYTE, *mut CK_ULONG),
) -> CK_RV {
    unsafe {
        let Some(real) = real else { return CKR_FUNCTION_NOT_SUPPORTED };
        let (sealing, associated) = match state().sessions.get(&call.session) {
            Some(session) => (session.sealing.clone(), session.associated),
            None => return CKR_SESSION_HANDLE_INVALID,
        };
        let limit = call.rules.number(&call.label, "data");
        let too_long = limit.is_some_and(|limit| input_length + associated > limit).then_some(CKR_DATA_LEN_RANGE);
        let before = call.fails_before().or(too_long);
        if let Some(code) = before {
            // An operation that fails has ended, and SoftHSM must know that, too.
            let mut scratch = vec![0; input_length as usize + 4096];
            let mut length = scratch.len() as CK_ULONG;
            if !matches!(sealing, Some(Sealing::Opening { .. })) {
                call.pass_anyway(|| real(call.session, input, input_length, scratch.as_mut_ptr(), &mut length));
            }
            forget(call);
            return code;
        }
        let code = match sealing {
            None => call.pass(|_| Some(real(call.session, input, input_length, output, room))),
            Some(Sealing::Back { iv, to }) => {
                let code = call.pass(|_| Some(real(call.session, input, input_length, output, room)));
                if code == CKR_OK && !output.is_null() {
                    // The caller's buffer is good until the operation ends, which is now.
                    std::ptr::copy_nonoverlapping(iv.as_ptr(), to as *mut u8, iv.len());
                }
                code
            }
            Some(Sealing::Beside { iv, first }) => {
                seal_beside(call, real, (input, input_length), (output, room), &iv, first)
            }
            Some(opening) => open(call, &opening, (input, input_length), (output, room)),
        };
        if !output.is_null() && code != CKR_BUFFER_TOO_SMALL {
            forget(call);
        }
        let of_rsa = call.rules.number(&call.label, "bad_padding").filter(|_| input_length >= 256);
        match of_rsa.or(call.rules.number(&call.label, "bad_tag")) {
            Some(vendors) if code == CKR_GENERAL_ERROR && call.function == "C_Decrypt" => vendors,
            _ => code,
        }
    }
}

unsafe fn seal_beside(
    call: &Call,
    real: OneShot,
    (input, input_length): (*mut CK_BYTE, CK_ULONG),
    (output, room): (*mut CK_BYTE, *mut CK_ULONG),
    iv: &[u8],
    first: bool,
) -> CK_RV {
    unsafe {
        let sealed = input_length + TAG;
        let needed = sealed + iv.len() as CK_ULONG;
        if output.is_null() || *room < needed {
            let code = if output.is_null() { CKR_OK } else { CKR_BUFFER_TOO_SMALL };
            *room = needed;
            return call.pass(|_| Some(code));
        }
        let (iv_at, text_at) = if first { (0, iv.len()) } else { (sealed as usize, 0) };
        let mut length = sealed;
        let code = call.pass(|_| Some(real(call.session, input, input_length, output.add(text_at), &mut length)));
        if code == CKR_OK {
            std::ptr::copy_nonoverlapping(iv.as_ptr(), output.add(iv_at), iv.len());
            *room = needed;
        }
        code
    }
}

unsafe fn open(
    call: &Call,
    opening: &Sealing,
    (input, input_length): (*mut CK_BYTE, CK_ULONG),
    (output, room): (*mut CK_BYTE, *mut CK_ULONG),
) -> CK_RV {
    unsafe {
        let Sealing::Opening { length, first, key, associated, tag_bits } = opening else { return CKR_GENERAL_ERROR };
        if output.is_null() {
            *room = input_length;
            return call.pass(|_| Some(CKR_OK));
        }
        let Some(rest) = (input_length as usize).checked_sub(*length) else {
            return CKR_ENCRYPTED_DATA_LEN_RANGE;
        };
        let (iv_at, text_at) = if *first { (0, *length) } else { (rest, 0) };
        let mut iv = std::slice::from_raw_parts(input.add(iv_at), *length).to_vec();
        let mut associated = associated.clone();
        let given = CK_GCM_PARAMS {
            pAAD: associated.as_mut_ptr(),
            ulAADLen: associated.len() as CK_ULONG,
            ulTagBits: *tag_bits,
            ..Default::default()
        };
        let mut own = with_iv(given, &mut iv);
        let mut mechanism = gcm(&mut own);
        let begun = call.pass(|list| list.C_DecryptInit.map(|f| f(call.session, &mut mechanism, *key)));
        if begun != CKR_OK {
            return begun;
        }
        call.pass(|list| list.C_Decrypt.map(|f| f(call.session, input.add(text_at), rest as CK_ULONG, output, room)))
    }
}

/// Takes note of the operation that begins.
unsafe fn note(call: &Call, mechanism: &CK_MECHANISM, sealing: Option<Sealing>) {
    let is_gcm = [CKM_AES_GCM, VENDOR_GCM].contains(&mechanism.mechanism);
    // SAFETY: as for the caller.
    let given = if is_gcm { unsafe { parameters(mechanism) } } else { None };
    if let Some(session) = state().sessions.get_mut(&call.session) {
        session.sealing = sealing;
        session.associated = given.map_or(0, |given| given.ulAADLen);
    }
}

fn forget(call: &Call) {
    if let Some(session) = state().sessions.get_mut(&call.session) {
        (session.sealing, session.associated) = (None, 0);
    }
}

fn random(call: &Call, length: usize) -> Vec<u8> {
    let mut iv = vec![0; length];
    // SAFETY: the buffer has that length.
    call.pass_anyway(|| unsafe {
        real().C_GenerateRandom.expect("C_GenerateRandom")(call.session, iv.as_mut_ptr(), length as CK_ULONG)
    });
    iv
}

unsafe fn parameters(mechanism: &CK_MECHANISM) -> Option<CK_GCM_PARAMS> {
    let whole = mechanism.ulParameterLen == size_of::<CK_GCM_PARAMS>() as CK_ULONG && !mechanism.pParameter.is_null();
    // SAFETY: there are as many bytes as the structure has.
    whole.then(|| unsafe { *mechanism.pParameter.cast::<CK_GCM_PARAMS>() })
}

unsafe fn bytes<'a>(from: *const CK_BYTE, length: CK_ULONG) -> &'a [u8] {
    // SAFETY: the caller says so.
    if from.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(from, length as usize) } }
}

fn with_iv(given: CK_GCM_PARAMS, iv: &mut [u8]) -> CK_GCM_PARAMS {
    CK_GCM_PARAMS { pIv: iv.as_mut_ptr(), ulIvLen: iv.len() as CK_ULONG, ulIvBits: iv.len() as CK_ULONG * 8, ..given }
}

fn gcm(parameters: &mut CK_GCM_PARAMS) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: std::ptr::from_mut(parameters).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    }
}

/// `CKM_CLOUDHSM_AES_GCM`
pub const VENDOR_GCM: CK_MECHANISM_TYPE = 0x8000_1087;
const TAG: CK_ULONG = 16;
