//! Asking the running service.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::api::admin;
use crate::cli::Failure;

/// The answer of the service of this data folder; none if no service runs.
pub fn ask(folder: &Path, line: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    let mut stream = match admin::connect(folder) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ConnectionRefused | NotFound) => return Ok(None),
        Err(error) => return Err(Failure::now(format!("{}/admin.sock: {error}", folder.display()))),
    };
    let lost = |error| Failure::now(format!("the service did not answer, and may have done it or not: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).map_err(lost)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(lost)?;
    // A request that is refused before it is read whole breaks the pipe, and its answer is there all the same.
    let sent = stream.write_all(line);
    let mut answer = Zeroizing::new(Vec::with_capacity(1 << 16));
    let read = stream.read_to_end(&mut answer);
    if answer.last() != Some(&b'\n') {
        sent.and(read.map(drop)).map_err(lost)?;
        return Err(lost(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Some(answer))
}

/// Longer than any request takes.
const PATIENCE: Duration = Duration::from_secs(60);
