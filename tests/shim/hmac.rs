//! Keys for HMAC whose type is that of their hash, as YubiHSM and nShield have them. Beneath, SoftHSM has a generic secret, and
//! `CKA_ALLOWED_MECHANISMS` allows it the hash's mechanism alone: that is where the type is remembered.

use cryptoki_sys::*;

use crate::call::Call;
use crate::state::real;

/// A type of its own, and what stands for it.
struct OwnType {
    key_type: CK_KEY_TYPE,
    mechanism: CK_MECHANISM_TYPE,
    length: CK_ULONG,
}

/// The template that SoftHSM gets.
pub unsafe fn beneath(call: &Call, template: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Result<Vec<CK_ATTRIBUTE>, CK_RV> {
    let mut beneath = unsafe { crate::attributes(template, count) }.to_vec();
    let given = beneath.iter_mut().find(|attribute| attribute.type_ == CKA_KEY_TYPE);
    let own = given.and_then(|given| {
        let key_type = unsafe { *given.pValue.cast::<CK_KEY_TYPE>() };
        let own = OWN_TYPES.iter().find(|own| own.key_type == key_type && plays(call))?;
        given.pValue = pointer(&GENERIC);
        Some(own)
    });
    let Some(own) = own else { return Ok(beneath) };
    let length_is_given = beneath.iter().any(|attribute| attribute.type_ == CKA_VALUE_LEN);
    if length_is_given && !has_lengths(call) {
        return Err(CKR_ATTRIBUTE_TYPE_INVALID);
    }
    beneath.push(number(CKA_ALLOWED_MECHANISMS, &own.mechanism));
    if call.function == "C_GenerateKey" && !length_is_given {
        beneath.push(number(CKA_VALUE_LEN, &own.length));
    }
    Ok(beneath)
}

/// What is told of a key instead of what SoftHSM tells, and with which code.
pub unsafe fn tell(call: &Call, object: CK_OBJECT_HANDLE, code: CK_RV, told: &mut [CK_ATTRIBUTE]) -> CK_RV {
    if !plays(call) || !told.iter().any(|attribute| [CKA_KEY_TYPE, CKA_VALUE_LEN].contains(&attribute.type_)) {
        return code;
    }
    let Some(own) = (unsafe { own_type(call, object) }) else { return code };
    let mut code = code;
    for attribute in told {
        if attribute.type_ == CKA_KEY_TYPE && !attribute.pValue.is_null() && code == CKR_OK {
            unsafe { *attribute.pValue.cast() = own.key_type };
        }
        if attribute.type_ == CKA_VALUE_LEN && !has_lengths(call) {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            code = CKR_ATTRIBUTE_TYPE_INVALID;
        }
    }
    code
}

unsafe fn own_type(call: &Call, object: CK_OBJECT_HANDLE) -> Option<&'static OwnType> {
    let mut allowed: [CK_MECHANISM_TYPE; 2] = [0; 2];
    let length = size_of_val(&allowed) as CK_ULONG;
    let mut attribute =
        CK_ATTRIBUTE { type_: CKA_ALLOWED_MECHANISMS, pValue: allowed.as_mut_ptr().cast(), ulValueLen: length };
    let read = real().C_GetAttributeValue.expect("C_GetAttributeValue");
    call.pass_anyway(|| unsafe { read(call.session, object, &mut attribute, 1) });
    OWN_TYPES.iter().find(|own| own.mechanism == allowed[0])
}

fn plays(call: &Call) -> bool {
    call.rules.has(&call.label, "hmac_types", "")
}

fn has_lengths(call: &Call) -> bool {
    call.rules.has(&call.label, "hmac_types", "lengths")
}

fn number(type_: CK_ATTRIBUTE_TYPE, value: &'static CK_ULONG) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_, pValue: pointer(value), ulValueLen: size_of::<CK_ULONG>() as CK_ULONG }
}

fn pointer(value: &'static CK_ULONG) -> *mut std::ffi::c_void {
    std::ptr::from_ref(value).cast_mut().cast()
}

static GENERIC: CK_KEY_TYPE = CKK_GENERIC_SECRET;
static OWN_TYPES: [OwnType; 4] = [
    OwnType { key_type: CKK_SHA224_HMAC, mechanism: CKM_SHA224_HMAC, length: 28 },
    OwnType { key_type: CKK_SHA256_HMAC, mechanism: CKM_SHA256_HMAC, length: 32 },
    OwnType { key_type: CKK_SHA384_HMAC, mechanism: CKM_SHA384_HMAC, length: 48 },
    OwnType { key_type: CKK_SHA512_HMAC, mechanism: CKM_SHA512_HMAC, length: 64 },
];
