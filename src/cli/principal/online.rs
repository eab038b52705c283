//! Asking the running service.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::api::admin;
use crate::cli::Failure;
use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, TimedOut, UnexpectedEof, WouldBlock};

/// The answer of the service of this data folder; none if no service runs.
pub fn ask(folder: &Path, line: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
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
    match answer.last() {
        Some(b'\n') => Ok(Some(answer)),
        Some(_) => Err(lost(read.err().unwrap_or_else(|| UnexpectedEof.into()))),
        None if read.as_ref().is_err_and(|error| error.kind() == WouldBlock) => Err(lost(TimedOut.into())),
        None => {
            sent.or_else(
                |error| if matches!(error.kind(), BrokenPipe | ConnectionReset) { Ok(()) } else { Err(error) },
            )
            .map_err(lost)?;
            Err(Failure::now(
                "the service closed without an answer: it serves root and its own user only; if it ended meanwhile, it may \
                 have done it or not",
            ))
        }
    }
}

/// Longer than any request takes.
const PATIENCE: Duration = Duration::from_secs(60);
