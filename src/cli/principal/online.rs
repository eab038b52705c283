//! Asking the running service.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::api::admin;
use crate::cli::Failure;

/// The answer of the service of this data folder; none if no service runs.
pub fn ask(folder: &Path, line: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match admin::connect(folder) {
        Ok(stream) => exchange(stream, line).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(Failure::now(format!("{}/admin.sock: {error}", folder.display()))),
    }
}

fn exchange(mut stream: UnixStream, line: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A request that is refused before it is read whole breaks the pipe, and its answer is there all the same.
    let sent = stream.write_all(line);
    let mut answer = Zeroizing::new(Vec::with_capacity(1 << 16));
    let read = stream.read_to_end(&mut answer);
    match (answer.last(), sent.and(read.map(drop))) {
        (Some(b'\n'), _) => Ok(answer),
        (_, Err(error)) if error.kind() == ErrorKind::WouldBlock => Err(unanswered("it took too long")),
        _ => Err(unanswered("it serves root and its own user only, and nobody while it ends")),
    }
}

fn unanswered(why: &str) -> Failure {
    Failure::now(format!("the service did not answer: {why}; look whether it was done before you try again"))
}

/// Longer than any request takes.
const PATIENCE: Duration = Duration::from_secs(60);
