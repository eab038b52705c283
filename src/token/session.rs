//! A session of which every call is watched.

use std::cell::Cell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::{Session as BareSession, SessionInfo, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use cryptoki_sys::CK_SESSION_HANDLE;

use super::busy::Busy;
use super::module::Module;

/// One session, used by one thread. There is no way to it but by calls that [`Busy`] watches, and dropping it makes none:
/// the handle of a lost session may be somebody else's.
pub(super) struct Session {
    bare: BareSession,
    busy: Arc<Busy>,
    module: Arc<Module>,
    /// Which one it is of those that have had its handle.
    number: u64,
    /// Whether an object was not destroyed that should have been: it may be one of the session.
    keeps_an_object: Cell<bool>,
}

/// Which session of a module has which handle: that of a lost one may be given to another one.
#[derive(Default)]
pub(super) struct Handles(Mutex<Owners>);

#[derive(Default)]
struct Owners {
    last: u64,
    by_handle: HashMap<CK_SESSION_HANDLE, u64>,
}

impl Handles {
    /// A session was opened that has this handle. Who had it before, has it no more.
    fn enter(&self, handle: CK_SESSION_HANDLE) -> u64 {
        let mut owners = self.owners();
        owners.last += 1;
        let number = owners.last;
        owners.by_handle.insert(handle, number);
        number
    }

    /// A session gives its handle up. False if it is another one's by now.
    fn leave(&self, handle: CK_SESSION_HANDLE, number: u64) -> bool {
        let mut owners = self.owners();
        let own = owners.by_handle.get(&handle) == Some(&number);
        if own {
            owners.by_handle.remove(&handle);
        }
        own
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        // A number that is given to nobody does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Opens one for the thread whose `busy` this is. Read-write for all: some tokens have no other kind.
    pub fn open(module: &Arc<Module>, slot: Slot, busy: &Arc<Busy>) -> Result<Session, CryptokiError> {
        let mut bare = None;
        let watched = busy.watch(|| module.context.open_rw_session_no_drop(slot).map(|opened| bare = Some(opened)));
        // One that was opened too late is there all the same, and to be closed by whoever may.
        let session = bare.map(|bare| {
            let number = module.sessions.enter(bare.handle());
            let (busy, module) = (Arc::clone(busy), Arc::clone(module));
            Session { bare, busy, module, number, keeps_an_object: Cell::new(false) }
        });
        session.map_or_else(|| watched.and(Err(CryptokiError::InvalidValue)), Ok)
    }

    /// One call that `cryptoki` does not have.
    pub fn call<T>(
        &self,
        call: impl FnOnce(CK_SESSION_HANDLE) -> Result<T, CryptokiError>,
    ) -> Result<T, CryptokiError> {
        self.busy.watch(|| call(self.bare.handle()))
    }

    /// `C_GetSessionInfo`
    pub fn get_session_info(&self) -> Result<SessionInfo, CryptokiError> {
        self.busy.watch(|| self.bare.get_session_info())
    }

    /// `C_Login`
    pub fn login(&self, user: UserType, pin: Option<&AuthPin>) -> Result<(), CryptokiError> {
        self.busy.watch(|| self.bare.login(user, pin))
    }

    /// `C_CloseSession`, if `C_GetSessionInfo` says that it is open, and no other session has its handle by now. A thread
    /// that is recalled closes it, too.
    pub fn close(self) -> Result<(), CryptokiError> {
        let Session { bare, busy, module, number, .. } = self;
        if !module.sessions.leave(bare.handle(), number) {
            return Ok(());
        }
        busy.watch_closing(|| bare.get_session_info())?;
        busy.watch_closing(|| bare.close())
    }

    /// `C_GenerateRandom`
    pub fn generate_random_slice(&self, bytes: &mut [u8]) -> Result<(), CryptokiError> {
        self.busy.watch(|| self.bare.generate_random_slice(bytes))
    }

    /// `C_GetAttributeValue`, once or twice
    pub fn get_attributes(
        &self,
        object: ObjectHandle,
        attributes: &[AttributeType],
    ) -> Result<Vec<Attribute>, CryptokiError> {
        self.busy.watch_two(|| self.bare.get_attributes(object, attributes))
    }

    /// `C_FindObjectsInit`, `C_FindObjects` as often as it takes, and `C_FindObjectsFinal`
    pub fn find_objects(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, CryptokiError> {
        let search = self.busy.watch(|| self.bare.iter_objects_with_cache_size(template, HANDLES_PER_CALL))?;
        // Dropping it is a call.
        let mut search = ManuallyDrop::new(search);
        let mut found = Vec::new();
        let searched = loop {
            match self.busy.watch(|| search.next().transpose()) {
                Ok(Some(handle)) => found.push(handle),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.busy.watch(|| {
            drop(ManuallyDrop::into_inner(search));
            Ok(())
        })?;
        searched.map(|()| found)
    }

    /// `C_CreateObject`
    pub fn create_object(&self, template: &[Attribute]) -> Result<ObjectHandle, CryptokiError> {
        self.busy.watch(|| self.bare.create_object(template))
    }

    /// `C_CopyObject`
    pub fn copy_object(&self, object: ObjectHandle, template: &[Attribute]) -> Result<ObjectHandle, CryptokiError> {
        self.busy.watch(|| self.bare.copy_object(object, template))
    }

    /// `C_DestroyObject`
    pub fn destroy_object(&self, object: ObjectHandle) -> Result<(), CryptokiError> {
        self.busy.watch(|| self.bare.destroy_object(object)).inspect_err(|_| self.keeps_an_object.set(true))
    }

    /// Whether a `C_DestroyObject` has failed on it: then it is to be closed, as its objects go with it.
    pub fn keeps_an_object(&self) -> bool {
        self.keeps_an_object.get()
    }

    /// `C_GenerateKey`
    pub fn generate_key(&self, mechanism: &Mechanism, template: &[Attribute]) -> Result<ObjectHandle, CryptokiError> {
        self.busy.watch(|| self.bare.generate_key(mechanism, template))
    }

    /// `C_GenerateKeyPair`, the one call that may take long
    pub fn generate_key_pair(
        &self,
        mechanism: &Mechanism,
        public: &[Attribute],
        private: &[Attribute],
    ) -> Result<(ObjectHandle, ObjectHandle), CryptokiError> {
        self.busy.watch_generation(|| self.bare.generate_key_pair(mechanism, public, private))
    }

    /// `C_DeriveKey`
    pub fn derive_key(
        &self,
        mechanism: &Mechanism,
        base: ObjectHandle,
        template: &[Attribute],
    ) -> Result<ObjectHandle, CryptokiError> {
        self.busy.watch(|| self.bare.derive_key(mechanism, base, template))
    }

    /// `C_DecapsulateKey`
    pub fn decapsulate_key(
        &self,
        mechanism: &Mechanism,
        key: ObjectHandle,
        template: &[Attribute],
        ciphertext: &[u8],
    ) -> Result<ObjectHandle, CryptokiError> {
        self.busy.watch(|| self.bare.decapsulate_key(mechanism, key, template, ciphertext))
    }

    /// `C_UnwrapKey`
    pub fn unwrap_key(
        &self,
        mechanism: &Mechanism,
        unwrapping: ObjectHandle,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, CryptokiError> {
        self.busy.watch(|| self.bare.unwrap_key(mechanism, unwrapping, wrapped, template))
    }
}

/// Handles that one `C_FindObjects` may bring: a round trip each on a network HSM.
const HANDLES_PER_CALL: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_lost_his_handle_to_another_one_has_nothing_to_close() {
        let handles = Handles::default();
        let (lost, other) = (handles.enter(7), handles.enter(8));
        let new = handles.enter(7);
        assert!(!handles.leave(7, lost), "a lost session's handle is the new one's");
        assert!(handles.leave(8, other) && handles.leave(7, new));
        assert!(!handles.leave(7, new), "once");
    }
}
