//! What the process gives up before it holds a secret.

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// No core dumps, no debugger of the same user, memory not swapped out where that is allowed.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
    if !may_lock_all() {
        tracing::info!("memory is not locked: allow it with LimitMEMLOCK=infinity, or keep swap encrypted");
        return;
    }
    // On fault: locking all at once would make whole thread stacks resident.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = rustix::mm::mlockall(flags) {
        tracing::warn!(%error, "memory could not be locked");
    }
}

/// Below a finite limit a later allocation could fail for being locked.
fn may_lock_all() -> bool {
    rustix::process::geteuid().is_root() || rustix::process::getrlimit(Resource::Memlock).current.is_none()
}
