//! The socket file, who may come through it, and how long anybody may take.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{answer, written};
use crate::admin::{Desk, Error, Operator};

/// What a connection may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at a time. Default 8.
    pub max_connections: usize,
    /// Bytes of a request with its newline. Default 256 KiB.
    pub max_line: usize,
    /// From the connection to the end of the request. Default 5 s.
    pub line_time: Duration,
    /// For the client to take the answer. Default 5 s.
    pub answer_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs(5);
        Limits { max_connections: 8, max_line: 256 * 1024, line_time: seconds, answer_time: seconds }
    }
}

/// The socket `admin.sock` of a data folder, listening. The file goes when this is dropped.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Makes the socket in a data folder whose lock is held, in the place of one that an earlier run left. There is no
    /// moment at which its mode is wider than 0600.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        remove_stale(&path)?;
        let socket = UnixSocket::new_stream()?;
        // The file gets the mode of the socket (unix(7), Linux), less the umask.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        let short = Short::of(folder)?;
        socket.bind(&short.path)?;
        let mode = std::fs::symlink_metadata(&path)?.mode() & 0o777;
        if mode & 0o177 != 0 {
            remove_stale(&path)?;
            return Err(io::Error::other(format!("{} was made with mode {mode:03o}", path.display())));
        }
        Ok(Socket { listener: socket.listen(BACKLOG)?, path })
    }

    /// Serves until `stop` says so; then takes no more requests, and finishes those that it has.
    pub async fn serve(self, desk: Arc<Desk>, limits: Limits, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(limits.max_connections));
        let mut connections = JoinSet::new();
        loop {
            let slot = slots.clone().acquire_owned().await;
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let (desk, stop) = (desk.clone(), stop.clone());
                    connections.spawn(async move {
                        let _slot = slot;
                        serve_one(stream, &desk, limits, stop).await;
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept operators; trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone already; another one cannot be there, as the data folder is locked.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to the service of a data folder.
pub fn connect(folder: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    std::os::unix::net::UnixStream::connect(Short::of(folder)?.path)
}

async fn serve_one(mut stream: UnixStream, desk: &Desk, limits: Limits, mut stop: watch::Receiver<bool>) {
    let Some(operator) = operator(&stream, desk) else { return };
    let mut line = Vec::new();
    let read = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return,
        read = timeout(limits.line_time, read_line(&mut stream, &mut line, limits.max_line)) => read,
    };
    // From here on the client may go: what it asked for is done, and on record.
    let answer = match read {
        Ok(Ok(true)) => answer(desk, &operator, &line).await,
        Ok(Ok(false)) => {
            refusal(desk, &operator, format!("The request is longer than {} bytes.", limits.max_line)).await
        }
        Ok(Err(error)) if line.is_empty() => return tracing::debug!(%error, "an operator went without a request"),
        Ok(Err(_)) => refusal(desk, &operator, "The request ends before its newline.".into()).await,
        Err(_) => refusal(desk, &operator, "The request took too long to arrive.".into()).await,
    };
    // Whether the client takes the answer is his affair.
    let _ = timeout(limits.answer_time, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    })
    .await;
}

async fn refusal(desk: &Desk, operator: &Operator, why: String) -> Zeroizing<Vec<u8>> {
    let error: Error = desk.unreadable(operator, why).await;
    written(Err(error))
}

/// Whoever connected, if it is root or the service's own user.
fn operator(stream: &UnixStream, desk: &Desk) -> Option<Operator> {
    let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
    match uid {
        Some(uid) if uid == 0 || uid == rustix::process::geteuid().as_raw() => Some(Operator::of(uid)),
        _ => {
            tracing::warn!(uid, "a user who is neither root nor the service's own was turned away");
            desk.turned_away();
            None
        }
    }
}

/// Reads up to the newline, which is left out: false if it does not come within `max` bytes.
async fn read_line(stream: &mut UnixStream, line: &mut Vec<u8>, max: usize) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let part = &buffer[..count];
        let end = part.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&part[..end.unwrap_or(count)]);
        if line.len() >= max {
            return Ok(false);
        }
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::other(format!("{} is there and is no socket; move it away", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A path that fits a socket's address (107 bytes on Linux), whatever the folder's own is.
struct Short {
    path: PathBuf,
    _folder: Option<File>,
}

impl Short {
    fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().len() < MAX_ADDRESS {
            return Ok(Short { path, _folder: None });
        }
        let flags = i32::try_from((OFlags::PATH | OFlags::DIRECTORY).bits()).map_err(io::Error::other)?;
        let folder = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        Ok(Short { path, _folder: Some(folder) })
    }
}

const NAME: &str = "admin.sock";
/// Operators who wait for a slot.
const BACKLOG: u32 = 64;
/// `sun_path` with its final zero, see unix(7).
const MAX_ADDRESS: usize = 108;
