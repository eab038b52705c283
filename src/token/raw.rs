//! The only file with unsafe code: calls that the `cryptoki` crate makes in three steps or not at all.
//!
//! `cryptoki` asks for the output's length before every encryption and decryption, which is one more round trip on a
//! network HSM. Here the caller's buffer is long enough from the start.

#![allow(unsafe_code)]

use std::path::Path;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, Rv};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::{CK_BYTE, CK_FUNCTION_LIST, CK_GCM_PARAMS, CK_MECHANISM, CK_RV, CK_ULONG, CKM_AES_GCM};

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
    /// `output` must be 16 bytes longer than `plaintext`. Returns the length written.
    ///
    /// Source: PKCS#11 v3.0 §5.8.2, current mechanisms §2.12.3.
    pub fn encrypt_gcm(
        &self,
        session: &Session,
        key: ObjectHandle,
        iv: &[u8; NONCE_LEN],
        associated: &[u8],
        plaintext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let init = self.functions.C_EncryptInit.ok_or(CryptokiError::NullFunctionPointer)?;
        let encrypt = self.functions.C_Encrypt.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut iv = *iv;
        let mut parameters = gcm_parameters(&mut iv, associated)?;
        let mut mechanism = gcm_mechanism(&mut parameters);
        // SAFETY: `mechanism` points to `parameters`, which points to `iv` and `associated`; all of them outlive both
        // calls, as a module may keep the pointers until the operation ends. `session` is borrowed, and is not Sync,
        // so that no other thread uses it meanwhile. Modules do not write to the associated data.
        check(unsafe { init(session.handle(), &mut mechanism, key.handle()) }, Function::EncryptInit)?;
        let mut written = length(output.len())?;
        // SAFETY: `plaintext` and `output` are valid for the lengths given; the module reads the former and writes at
        // most `written` bytes to the latter.
        let code = unsafe {
            encrypt(
                session.handle(),
                plaintext.as_ptr().cast_mut(),
                length(plaintext.len())?,
                output.as_mut_ptr(),
                &mut written,
            )
        };
        check(code, Function::Encrypt)?;
        within(written, output)
    }

    /// One `C_DecryptInit` and one `C_Decrypt`, the reverse of [`Raw::encrypt_gcm`].
    ///
    /// `output` must be as long as `ciphertext`, tag included: some modules ask for that. Returns the length written.
    ///
    /// Source: PKCS#11 v3.0 §5.10.2, current mechanisms §2.12.3.
    pub fn decrypt_gcm(
        &self,
        session: &Session,
        key: ObjectHandle,
        iv: &[u8; NONCE_LEN],
        associated: &[u8],
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptokiError> {
        let init = self.functions.C_DecryptInit.ok_or(CryptokiError::NullFunctionPointer)?;
        let decrypt = self.functions.C_Decrypt.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut iv = *iv;
        let mut parameters = gcm_parameters(&mut iv, associated)?;
        let mut mechanism = gcm_mechanism(&mut parameters);
        // SAFETY: as in `encrypt_gcm`: every pointer outlives both calls, and the session is this thread's alone.
        check(unsafe { init(session.handle(), &mut mechanism, key.handle()) }, Function::DecryptInit)?;
        let mut written = length(output.len())?;
        // SAFETY: `ciphertext` and `output` are valid for the lengths given; the module reads the former and writes
        // at most `written` bytes to the latter.
        let code = unsafe {
            decrypt(
                session.handle(),
                ciphertext.as_ptr().cast_mut(),
                length(ciphertext.len())?,
                output.as_mut_ptr(),
                &mut written,
            )
        };
        check(code, Function::Decrypt)?;
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
        check(unsafe { init(session.handle(), &mut mechanism, key.handle()) }, Function::SignInit)?;
        let mut written = length(output.len())?;
        // SAFETY: `data` and `output` are valid for the lengths given; the module reads the former and writes at most
        // `written` bytes to the latter.
        let code = unsafe {
            sign(session.handle(), data.as_ptr().cast_mut(), length(data.len())?, output.as_mut_ptr(), &mut written)
        };
        check(code, Function::Sign)?;
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
        let code = unsafe {
            wrap(session.handle(), &mut mechanism, wrapping.handle(), key.handle(), output.as_mut_ptr(), &mut written)
        };
        check(code, Function::WrapKey)?;
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
        let init = self.functions.C_DecryptInit.ok_or(CryptokiError::NullFunctionPointer)?;
        let decrypt = self.functions.C_Decrypt.ok_or(CryptokiError::NullFunctionPointer)?;
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: as in `sign`: every pointer outlives both calls, and the session is this thread's alone.
        check(unsafe { init(session.handle(), &mut mechanism, key.handle()) }, Function::DecryptInit)?;
        let mut written = length(output.len())?;
        // SAFETY: `ciphertext` and `output` are valid for the lengths given; the module reads the former and writes
        // at most `written` bytes to the latter.
        let code = unsafe {
            decrypt(
                session.handle(),
                ciphertext.as_ptr().cast_mut(),
                length(ciphertext.len())?,
                output.as_mut_ptr(),
                &mut written,
            )
        };
        check(code, Function::Decrypt)?;
        within(written, output)
    }
}

fn gcm_parameters(iv: &mut [u8; NONCE_LEN], associated: &[u8]) -> Result<CK_GCM_PARAMS, CryptokiError> {
    Ok(CK_GCM_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: length(NONCE_LEN)?,
        ulIvBits: length(NONCE_LEN * 8)?,
        pAAD: associated.as_ptr().cast::<CK_BYTE>().cast_mut(),
        ulAADLen: length(associated.len())?,
        ulTagBits: length(TAG_LEN * 8)?,
    })
}

fn gcm_mechanism(parameters: &mut CK_GCM_PARAMS) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: std::ptr::from_mut(parameters).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    }
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
