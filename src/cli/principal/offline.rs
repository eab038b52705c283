//! Doing it in this process, where no service runs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::api::admin;
use crate::app::{self, Accepted, App};
use crate::cli::{Failure, serve};
use crate::model::SystemClock;
use crate::settings::Settings;

/// Refuses a folder without a store, which this command must not make, and one whose files would be another user's.
pub fn check(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    if !folder.join("store.db").is_file() {
        return Err(Failure::for_good(format!(
            "{shown} has no store; start `hsm-kms dev` or `serve` once, or name its folder by --data or --config"
        )));
    }
    let owner = std::fs::metadata(folder).map_err(|error| Failure::now(format!("{shown}: {error}")))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Failure::for_good(format!(
            "no service runs on {shown}, and its files belong to another user; run this as that one: sudo -u '#{owner}'"
        )));
    }
    Ok(())
}

/// Opens the service, hands the answer to `then`, and closes it.
pub fn ask(settings: Settings, line: &[u8], then: impl FnOnce(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let pin = settings.pin()?;
    serve::run("error", async {
        let untold = |_: &_| Err(io::Error::other("start `hsm-kms serve` once"));
        let app = App::open(settings, pin, Arc::new(SystemClock), Accepted::default(), untold).await;
        let app = app.map_err(in_use)?;
        let answer = admin::answer_here(app.desk(), line).await;
        let told = then(&answer);
        Ok((app.close(std::time::Duration::from_secs(10)).await, told))
    })?
}

/// Says what to do if another process holds the folder; other errors as they are.
pub fn in_use(error: app::Error) -> Failure {
    match error {
        app::Error::Locked(folder) => Failure::now(format!(
            "{} is in use, and no service answers there; if one is starting, try again in a moment, else stop the \
             process that holds it",
            folder.display()
        )),
        other => other.into(),
    }
}
