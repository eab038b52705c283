//! One PKCS#11 module, loaded and initialised once per process and shared by its tokens.
//!
//! `C_Initialize` and `C_Finalize` act on the whole process, so the list of modules is one of the very few things here
//! that belong to the process and not to a value. Each module has a lock of its own: one that hangs holds up no other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{Function, Info, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};

use super::error::{Error, reason};
use super::raw::{self, Raw};
use super::session::Handles;

/// A loaded and initialised module.
pub(super) struct Module {
    /// The file it was loaded from.
    pub path: PathBuf,
    /// The way in for everything that `cryptoki` does well.
    pub context: Pkcs11,
    /// The way in for the rest.
    pub raw: Raw,
    /// Whose is which session.
    pub sessions: Handles,
    /// What the vendor wants in `pReserved`.
    reserved: String,
}

/// One user's share in a module; the last one to be released finalises it.
pub(super) struct Lease {
    module: Arc<Module>,
    place: Arc<Place>,
    busy: bool,
}

impl Lease {
    /// Loads and initialises the module at `path`, or shares it if this process has it already. `reserved` is for
    /// `C_Initialize`, where the vendor wants a string.
    pub fn take(path: &Path, reserved: &str) -> Result<Lease, Error> {
        let place = Place::of(path);
        let mut users = place.users();
        let module = match &users.module {
            Some(module) => Arc::clone(module),
            None => Arc::new(Module::load(&place.path, reserved)?),
        };
        if !users.initialised {
            module.initialise()?;
            users.initialised = true;
        }
        users.module.get_or_insert_with(|| Arc::clone(&module));
        users.count += 1;
        drop(users);
        Ok(Lease { module, place, busy: false })
    }

    /// The module.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Runs `repair` between `C_Finalize` and `C_Initialize`, which makes the module read its files anew.
    ///
    /// Does nothing and returns false if others use the module, whose sessions would die, or if a thread is still inside it.
    pub fn restart_around(&self, repair: impl FnOnce() -> Result<(), Error>) -> Result<bool, Error> {
        let users = self.place.users();
        if users.count > 1 || users.busy {
            return Ok(false);
        }
        self.module.finalise();
        let repaired = repair();
        self.module.initialise()?;
        repaired.map(|()| true)
    }

    /// Gives the share back. The last one finalises the module, unless a thread is still `busy` inside a call: some
    /// modules crash if they are finalised then. Dropping a lease gives it back, too.
    pub fn release(mut self, busy: bool) {
        self.busy = busy;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut users = self.place.users();
        users.count -= 1;
        users.busy |= self.busy;
        if users.count == 0 && !users.busy {
            self.module.finalise();
            users.initialised = false;
        }
    }
}

impl Module {
    /// What the module says about itself.
    pub fn info(&self) -> Result<Info, Error> {
        self.context.get_library_info().map_err(|error| self.failed(&error))
    }

    /// Initialises the module with the operating system's locks; already done is success.
    pub fn initialise(&self) -> Result<(), Error> {
        match raw::initialise(&self.context, &self.reserved) {
            Ok(()) | Err(CryptokiError::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// An error of the module as a whole.
    pub fn failed(&self, error: &CryptokiError) -> Error {
        Error::Module { path: self.path.clone(), reason: reason(error) }
    }

    fn load(path: &Path, reserved: &str) -> Result<Module, Error> {
        let failed = |error: CryptokiError| Error::Module { path: path.to_owned(), reason: reason(&error) };
        let context = Pkcs11::new(path).map_err(failed)?;
        let raw = Raw::open(path).map_err(failed)?;
        let (path, reserved) = (path.to_owned(), reserved.to_owned());
        Ok(Module { path, context, raw, sessions: Handles::default(), reserved })
    }

    fn finalise(&self) {
        if let Err(error) = self.context.clone().finalize() {
            tracing::warn!(module = %self.path.display(), reason = reason(&error), "C_Finalize failed");
        }
    }
}

/// A file that modules are loaded from, and who uses the one that was.
pub(super) struct Place {
    path: PathBuf,
    /// Held by who takes the module to look after its tokens, if nobody else uses it.
    taking: Mutex<()>,
    /// Held across `C_Initialize` and `C_Finalize`, which wait for nobody but users of the same module.
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    module: Option<Arc<Module>>,
    count: usize,
    initialised: bool,
    /// A thread may be inside a call that never returns: the module is never finalised again.
    busy: bool,
}

impl Place {
    /// The one place of this file, by whatever name.
    pub fn of(path: &Path) -> Arc<Place> {
        // Two names of one file are one library in this process, which is finalised for all.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        // A panic while the list was held leaves it as it was: places are only added.
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.iter().find(|place| place.path == path) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place { path, taking: Mutex::default(), users: Mutex::default() });
        places.push(Arc::clone(&place));
        place
    }

    /// To be held by one user of the module after another.
    pub fn taking(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // They change in single steps.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never held across a call into a module.
static PLACES: Mutex<Vec<Arc<Place>>> = Mutex::new(Vec::new());
