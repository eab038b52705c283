//! The only file with unsafe code: calls that the `cryptoki` crate makes in three steps or not at all.
//!
//! `cryptoki` asks for the output's length before every encryption and decryption, which is one more round trip on a
//! network HSM. Here the caller's buffer is long enough from the start.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, Rv};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;

use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_FUNCTION_LIST, CK_GCM_PARAMS, CK_KEY_TYPE, CK_MECHANISM, CK_MECHANISM_TYPE, CK_RV,
    CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CKA_KEY_TYPE, CKA_VALUE, CKM_AES_CBC, CKM_AES_GCM,
};

use super::iv::{BLOCK, HostIv, OwnIvKey};
use super::mechanism::OwnIv;
use super::session::Session;
use crate::crypto::{NONCE_LEN, TAG_LEN};

/// The function list of a module that `cryptoki` has loaded, too.
pub(super) struct Raw {
    functions: CK_FUNCTION_LIST,
    /// Keeps the module mapped for as long as `functions` points into it.
    _library: cryptoki_sys::Pkcs11,
}

/// Sets an environment variable that a PKCS#11 module reads when it is loaded, such as `SOFTHSM2_CONF`.
///
/// Call it at the start of `main` only, before any thread exists: another thread that reads the environment at the
/// same time would see freed memory.
pub fn set_module_environment(key: &str, value: &std::ffi::OsStr) {
    // SAFETY: the caller has started no thread yet, as this function's contract says, so that nobody reads the
    // environment while it changes.
    unsafe { std::env::set_var(key, value) }
}

/// `C_Initialize` with the operating system's locks and, if it is not empty, a vendor's string in `pReserved`.
///
/// Source: PKCS#11 v3.0 §5.4.1.
pub(super) fn initialise(context: &Pkcs11, reserved: &str) -> Result<(), CryptokiError> {
    let mut text = CString::new(reserved)?.into_bytes_with_nul();
    let args = if reserved.is_empty() {
        CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)
    } else {
        // SAFETY: the pointer is to a string that ends with a zero and outlives the call, as vendors that document the
        // member want it.
        unsafe {
            CInitializeArgs::new_with_reserved(CInitializeFlags::OS_LOCKING_OK, NonNull::from(&mut text[..]).cast())
        }
    };
    context.initialize(args)
}

impl Raw {
    /// Opens the module at `path` once more; the loader gives the same copy that `cryptoki` uses.
    pub fn open(path: &Path) -> Result<Raw, CryptokiError> {
        // SAFETY: loading runs the module's initialisers. The operator chose this file as his PKCS#11 module, and
        // `cryptoki` has loaded the same file just before, so nothing runs that has not run already.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }.map_err(CryptokiError::LibraryLoading)?;
        let entry =
            *library.C_GetFunctionList.as_ref().map_err(|_| CryptokiError::MissingSymbol("C_GetFunctionList"))?;
        let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
        // SAFETY: `entry` is C_GetFunctionList of the library that is open; it writes one pointer to `list`.
        check(unsafe { entry(&mut list) }, Function::GetFunctionList)?;
        if list.is_null() {
            return Err(CryptokiError::NullFunctionPointer);
        }
        // SAFETY: the list is not null, the module returned CKR_OK, and PKCS#11 §5.4 keeps it valid while the
        // module is loaded; it is copied by an unaligned read because some modules pack their structures.
        let functions = unsafe { list.read_unaligned() };
        Ok(Raw { functions, _library: library })
    }

    /// One `C_EncryptInit` and one `C_Encrypt` with `CKM_AES_GCM`, a 96-bit IV of ours and a 128-bit tag.
    ///
    /// `output` must be 16 bytes longer than `plaintext`. Returns the length written. Fails with
    /// [`CryptokiError::InvalidValue`] if the token changed the IV: then it made one of its own.
    ///
    /// Source: PKCS#11 v3.0 §5.8.2, current mechanisms §2.12.3.
    pub fn encrypt_gcm(
        &self,
        session: &Session,
        key: ObjectHandle,
        iv: &HostIv,
        associated: &[u8],
        plaintext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut given = *iv.nonce();
        let mut parameters = gcm_parameters(Some(&mut given), NONCE_LEN * 8, associated)?;
        let mut mechanism = with_parameters(CKM_AES_GCM, &mut parameters);
        // SAFETY: `mechanism` points to `parameters`, which points to `given` and `associated`; all of them outlive the
        // call. Modules do not write to the associated data.
        let written = unsafe { self.encrypt_by(session, &mut mechanism, key, plaintext, output) }?;
        if given == *iv.nonce() { Ok(written) } else { Err(CryptokiError::InvalidValue) }
    }

    /// As [`Raw::encrypt_gcm`], but with an IV that the token makes: under a key with which it may.
    ///
    /// An IV that comes with the ciphertext needs room in `output`. Returns the length written, and what is in the
    /// parameter afterwards, which is the IV where the token writes it there.
    ///
    /// Source: AWS CloudHSM, Client SDK 5, PKCS#11 mechanisms; Thales Luna 7, `CKM_AES_GCM`.
    pub fn encrypt_gcm_own_iv(
        &self,
        session: &Session,
        key: &OwnIvKey,
        associated: &[u8],
        plaintext: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, [u8; NONCE_LEN]), CryptokiError> {
        let mut iv = [0; NONCE_LEN];
        let (number, mut parameters) = match key.how() {
            OwnIv::Written => (CKM_AES_GCM, gcm_parameters(Some(&mut iv), 0, associated)?),
            OwnIv::Prepended(number) => (number, gcm_parameters(None, 0, associated)?),
            OwnIv::Appended(len) => (CKM_AES_GCM, gcm_parameters(None, len * 8, associated)?),
        };
        let mut mechanism = with_parameters(number, &mut parameters);
        // SAFETY: as in `encrypt_gcm`; a module that writes its IV has room for 12 bytes, as the parameters say.
        let written = unsafe { self.encrypt_by(session, &mut mechanism, key.handle(), plaintext, output) }?;
        Ok((written, iv))
    }

    /// One `C_DecryptInit` and one `C_Decrypt` with AES-GCM and a 128-bit tag.
    ///
    /// `output` must be as long as `ciphertext`, tag included: some modules ask for that. Returns the length written.
    ///
    /// Source: PKCS#11 v3.0 §5.10.2, current mechanisms §2.12.3.
    pub fn decrypt_gcm(
        &self,
        session: &Session,
        key: ObjectHandle,
        iv: GcmIv<'_>,
        associated: &[u8],
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut given = match iv {
            GcmIv::Given(iv) => iv.to_vec(),
            GcmIv::Prepended(_) => Vec::new(),
        };
        let (number, mut parameters) = match iv {
            GcmIv::Given(iv) => (CKM_AES_GCM, gcm_parameters(Some(&mut given), iv.len() * 8, associated)?),
            GcmIv::Prepended(number) => (number, gcm_parameters(None, 0, associated)?),
        };
        let mut mechanism = with_parameters(number, &mut parameters);
        // SAFETY: as in `encrypt_gcm`: `given`, `parameters` and `associated` outlive the call.
        unsafe { self.decrypt_by(session, &mut mechanism, key, ciphertext, output) }
    }

    /// One `C_EncryptInit` and one `C_Encrypt` with `CKM_AES_CBC` and an IV of ours: whole blocks, without padding.
    ///
    /// Source: PKCS#11 v3.0, current mechanisms §2.11.3.
    pub fn encrypt_cbc(
        &self,
        session: &Session,
        key: ObjectHandle,
        iv: &HostIv,
        plaintext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut given = *iv.block();
        let mut mechanism = with_parameters(CKM_AES_CBC, &mut given);
        // SAFETY: `mechanism` points to `given`, 16 bytes that outlive the call.
        let written = unsafe { self.encrypt_by(session, &mut mechanism, key, plaintext, output) }?;
        if given == *iv.block() { Ok(written) } else { Err(CryptokiError::InvalidValue) }
    }

    /// The reverse of [`Raw::encrypt_cbc`].
    pub fn decrypt_cbc(
        &self,
        session: &Session,
        key: ObjectHandle,
        iv: &[u8; BLOCK],
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut given = *iv;
        let mut mechanism = with_parameters(CKM_AES_CBC, &mut given);
        // SAFETY: as in `encrypt_cbc`.
        unsafe { self.decrypt_by(session, &mut mechanism, key, ciphertext, output) }
    }

    /// One `C_EncryptInit` and one `C_Encrypt` by a mechanism without parameters.
    pub fn encrypt_plain(
        &self,
        session: &Session,
        key: ObjectHandle,
        number: CK_MECHANISM_TYPE,
        plaintext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut mechanism = without_parameters(number);
        // SAFETY: `mechanism` points to nothing.
        unsafe { self.encrypt_by(session, &mut mechanism, key, plaintext, output) }
    }

    /// The reverse of [`Raw::encrypt_plain`].
    pub fn decrypt_plain(
        &self,
        session: &Session,
        key: ObjectHandle,
        number: CK_MECHANISM_TYPE,
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut mechanism = without_parameters(number);
        // SAFETY: `mechanism` points to nothing.
        unsafe { self.decrypt_by(session, &mut mechanism, key, ciphertext, output) }
    }

    /// # Safety
    ///
    /// Whatever `mechanism` points to must outlive the call, and have the lengths that it says.
    unsafe fn encrypt_by(
        &self,
        session: &Session,
        mechanism: &mut CK_MECHANISM,
        key: ObjectHandle,
        plaintext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let init = self.functions.C_EncryptInit.ok_or(CryptokiError::NullFunctionPointer)?;
        let encrypt = self.functions.C_Encrypt.ok_or(CryptokiError::NullFunctionPointer)?;
        // SAFETY: the caller keeps what `mechanism` points to, until the operation ends below. `session` is borrowed, and
        // is not Sync, so that no other thread uses it meanwhile.
        session.call(|session| check(unsafe { init(session, mechanism, key.handle()) }, Function::EncryptInit))?;
        let mut written = length(output.len())?;
        // SAFETY: `plaintext` and `output` are valid for the lengths given; the module reads the former and writes at
        // most `written` bytes to the latter.
        let (from, len) = (plaintext.as_ptr().cast_mut(), length(plaintext.len())?);
        session.call(|session| {
            let code = unsafe { encrypt(session, from, len, output.as_mut_ptr(), &mut written) };
            check(code, Function::Encrypt)
        })?;
        within(written, output)
    }

    /// # Safety
    ///
    /// As for `encrypt_by`.
    unsafe fn decrypt_by(
        &self,
        session: &Session,
        mechanism: &mut CK_MECHANISM,
        key: ObjectHandle,
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let init = self.functions.C_DecryptInit.ok_or(CryptokiError::NullFunctionPointer)?;
        let decrypt = self.functions.C_Decrypt.ok_or(CryptokiError::NullFunctionPointer)?;
        // SAFETY: as in `encrypt_by`: every pointer outlives both calls, and the session is this thread's alone.
        session.call(|session| check(unsafe { init(session, mechanism, key.handle()) }, Function::DecryptInit))?;
        let mut written = length(output.len())?;
        // SAFETY: `ciphertext` and `output` are valid for the lengths given; the module reads the former and writes
        // at most `written` bytes to the latter.
        let (from, len) = (ciphertext.as_ptr().cast_mut(), length(ciphertext.len())?);
        session.call(|session| {
            let code = unsafe { decrypt(session, from, len, output.as_mut_ptr(), &mut written) };
            check(code, Function::Decrypt)
        })?;
        within(written, output)
    }

    /// One `C_SignInit` and one `C_Sign`: a signature or a MAC. Returns the length written to `output`.
    ///
    /// Source: PKCS#11 v3.0 §5.13.
    pub fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let init = self.functions.C_SignInit.ok_or(CryptokiError::NullFunctionPointer)?;
        let sign = self.functions.C_Sign.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: `mechanism` points into the caller's `Mechanism`, which outlives both calls. `session` is borrowed, and
        // is not Sync, so that no other thread uses it meanwhile.
        session.call(|session| check(unsafe { init(session, &mut mechanism, key.handle()) }, Function::SignInit))?;
        let mut written = length(output.len())?;
        // SAFETY: `data` and `output` are valid for the lengths given; the module reads the former and writes at most
        // `written` bytes to the latter.
        let (from, len) = (data.as_ptr().cast_mut(), length(data.len())?);
        session.call(|session| {
            let code = unsafe { sign(session, from, len, output.as_mut_ptr(), &mut written) };
            check(code, Function::Sign)
        })?;
        within(written, output)
    }

    /// One `C_WrapKey`. Returns the length written to `output`, or fails with `CKR_BUFFER_TOO_SMALL`.
    ///
    /// Source: PKCS#11 v3.0 §5.18.3.
    pub fn wrap(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        wrapping: ObjectHandle,
        key: ObjectHandle,
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let wrap = self.functions.C_WrapKey.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut mechanism = CK_MECHANISM::from(mechanism);
        let mut written = length(output.len())?;
        // SAFETY: `mechanism` points into the caller's `Mechanism`, which outlives the call; `output` is valid for the
        // length given, and the module writes at most that. `session` is this thread's alone.
        session.call(|session| {
            let (wrapping, key) = (wrapping.handle(), key.handle());
            let code = unsafe { wrap(session, &mut mechanism, wrapping, key, output.as_mut_ptr(), &mut written) };
            check(code, Function::WrapKey)
        })?;
        within(written, output)
    }

    /// One `C_DecryptInit` and one `C_Decrypt` with a private key. Returns the length written to `output`.
    ///
    /// `output` must be as long as the modulus, whatever comes out: some modules ask for that.
    ///
    /// Source: PKCS#11 v3.0 §5.10.
    pub fn decrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: `mechanism` points into the caller's `Mechanism`, which outlives the call.
        unsafe { self.decrypt_by(session, &mut mechanism, key, ciphertext, output) }
    }

    /// `CKA_KEY_TYPE` of a key: `cryptoki` 0.12.1 gives every type of HMAC as `CKK_SHA256_HMAC`.
    ///
    /// Source: PKCS#11 v3.0 §5.7.5.
    pub fn key_type(&self, session: &Session, object: ObjectHandle) -> Result<CK_KEY_TYPE, CryptokiError> {
        let get = self.functions.C_GetAttributeValue.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut found: CK_KEY_TYPE = 0;
        let mut attribute = CK_ATTRIBUTE {
            type_: CKA_KEY_TYPE,
            pValue: std::ptr::from_mut(&mut found).cast(),
            ulValueLen: size_of::<CK_KEY_TYPE>() as CK_ULONG,
        };
        // SAFETY: `attribute` points to `found`, which has the length that it says, and both outlive the call.
        session.call(|session| {
            check(unsafe { get(session, object.handle(), &mut attribute, 1) }, Function::GetAttributeValue)
        })?;
        let whole = attribute.ulValueLen == size_of::<CK_KEY_TYPE>() as CK_ULONG;
        if whole { Ok(found) } else { Err(CryptokiError::InvalidValue) }
    }

    /// One `C_GetAttributeValue` for the `CKA_VALUE` of an object whose value may be read. Returns the length written to
    /// `output`.
    ///
    /// Source: PKCS#11 v3.0 §5.7.5.
    pub fn value(&self, session: &Session, object: ObjectHandle, output: &mut [u8]) -> Result<usize, CryptokiError> {
        let get = self.functions.C_GetAttributeValue.ok_or(CryptokiError::NullFunctionPointer)?;
        let (value, room) = (output.as_mut_ptr().cast(), length(output.len())?);
        let mut attribute = CK_ATTRIBUTE { type_: CKA_VALUE, pValue: value, ulValueLen: room };
        // SAFETY: `attribute` is one CK_ATTRIBUTE, whose buffer is valid for the length given and outlives the call; the
        // module writes at most that. `session` is this thread's alone.
        session.call(|session| {
            check(unsafe { get(session, object.handle(), &mut attribute, 1) }, Function::GetAttributeValue)
        })?;
        within(attribute.ulValueLen, output)
    }

    /// What a slot says about its token, as it is: `cryptoki` gives up on all of it for a clock that is no clock.
    ///
    /// Source: PKCS#11 v3.0 §5.5.6.
    pub fn token_info(&self, slot: Slot) -> Result<CK_TOKEN_INFO, CryptokiError> {
        let get = self.functions.C_GetTokenInfo.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: `info` is one CK_TOKEN_INFO, which the module fills.
        check(unsafe { get(slot.id() as CK_SLOT_ID, &mut info) }, Function::GetTokenInfo)?;
        Ok(info)
    }

    /// The numbers of the mechanisms that a slot lists, the unknown ones as well.
    ///
    /// Source: PKCS#11 v3.0 §5.5.7.
    pub fn mechanisms(&self, slot: Slot) -> Result<Vec<CK_MECHANISM_TYPE>, CryptokiError> {
        let get = self.functions.C_GetMechanismList.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut count = 0;
        // SAFETY: without a buffer the module only writes the count.
        let code = unsafe { get(slot.id() as CK_SLOT_ID, std::ptr::null_mut(), &mut count) };
        check(code, Function::GetMechanismList)?;
        // A module is not believed to have more.
        count = count.min(MAX_MECHANISMS);
        let mut numbers: Vec<CK_MECHANISM_TYPE> = vec![0; count.try_into()?];
        // SAFETY: the buffer has room for `count` numbers, and the module writes at most as many.
        let code = unsafe { get(slot.id() as CK_SLOT_ID, numbers.as_mut_ptr(), &mut count) };
        check(code, Function::GetMechanismList)?;
        numbers.truncate(count.try_into()?);
        Ok(numbers)
    }
}

/// More mechanisms than any token lists.
const MAX_MECHANISMS: CK_ULONG = 65_536;

/// Where the IV of a ciphertext is.
#[derive(Clone, Copy)]
pub(super) enum GcmIv<'a> {
    /// Here.
    Given(&'a [u8]),
    /// Before the ciphertext, for the vendor's mechanism with this number.
    Prepended(CK_MECHANISM_TYPE),
}

/// `iv` may be left out, and its bits are said as the token wants it, not as they are.
fn gcm_parameters(iv: Option<&mut [u8]>, bits: usize, associated: &[u8]) -> Result<CK_GCM_PARAMS, CryptokiError> {
    let (pointer, len) = iv.map_or((std::ptr::null_mut(), 0), |iv| (iv.as_mut_ptr(), iv.len()));
    Ok(CK_GCM_PARAMS {
        pIv: pointer,
        ulIvLen: length(len)?,
        ulIvBits: length(bits)?,
        pAAD: associated.as_ptr().cast::<CK_BYTE>().cast_mut(),
        ulAADLen: length(associated.len())?,
        ulTagBits: length(TAG_LEN * 8)?,
    })
}

fn with_parameters<T>(number: CK_MECHANISM_TYPE, parameters: &mut T) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: number,
        pParameter: std::ptr::from_mut(parameters).cast(),
        ulParameterLen: size_of::<T>() as CK_ULONG,
    }
}

fn without_parameters(number: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: number, pParameter: std::ptr::null_mut(), ulParameterLen: 0 }
}

fn check(code: CK_RV, function: Function) -> Result<(), CryptokiError> {
    Rv::from(code).into_result(function)
}

fn length(bytes: usize) -> Result<CK_ULONG, CryptokiError> {
    Ok(bytes.try_into()?)
}

/// A module that claims to have written more than there was room for is not believed.
fn within(written: CK_ULONG, output: &[u8]) -> Result<usize, CryptokiError> {
    let written = usize::try_from(written)?;
    if written <= output.len() { Ok(written) } else { Err(CryptokiError::InvalidValue) }
}
