//! The accept loop: HTTP/1.1 with limits before anything is read, and a drain at the end.
//!
//! `axum::serve` has no limits. Here a connection is always in one [`Phase`], and every phase but a handler's own time
//! has a deadline. A handler sees only requests whose body has been read whole; handlers bound their own time.
//!
//! With every slot taken, one more connection is accepted and waits with nothing read; it takes the place of the
//! connection that has been idle longest, or else of the next that ends. The rest wait in the kernel's backlog: a
//! client that is slow to be served beats one that is turned away and retries.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tower::ServiceExt;

/// How much one client may take. The defaults are those of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at a time; at least 1. Default 1,024.
    pub max_connections: usize,
    /// From the first byte of a request (for the first one: from the connection) to the end of its headers. Default 5 s.
    pub header_time: Duration,
    /// Request line and headers together; above it the answer is 431. Default 16 KiB.
    pub max_header_bytes: usize,
    /// From the end of the headers to the end of the body; after it the answer is 408. Default 5 s.
    pub body_time: Duration,
    /// The body; above it the answer is 413. Default 128 KiB.
    pub max_body_bytes: usize,
    /// From a handler's answer to the next request's first byte, the sending of the answer included. Default 60 s.
    pub idle_time: Duration,
    /// How long requests in flight may go on after the shutdown. Default 15 s.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 1024,
            header_time: Duration::from_secs(5),
            max_header_bytes: 16 * 1024,
            body_time: Duration::from_secs(5),
            max_body_bytes: 128 * 1024,
            idle_time: Duration::from_secs(60),
            drain_time: Duration::from_secs(15),
        }
    }
}

/// Why nothing can be served on an address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program has the port.
    #[error("cannot listen on {0}: the port is in use; stop the program that has it, or choose another port")]
    InUse(SocketAddr),
    /// Without TLS a signed request can be read on the way and sent again inside its five minutes.
    #[error(
        "will not listen on {0} without TLS, where signed requests could be read and sent again; listen on a loopback address such as 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// The operating system refuses for another reason.
    #[error("cannot listen on {address}: {source}; choose an address of this machine and a port it may use")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The address of the client, in a request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A bound port on which nothing is served yet.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds a loopback address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().to_canonical().is_loopback() {
            return Err(Error::NotLoopback(address));
        }
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::InUse(address),
            _ => Error::Refused { address, source },
        };
        let inner = TcpListener::bind(address).await.map_err(refused)?;
        let address = inner.local_addr().map_err(refused)?;
        Ok(Listener { inner, address })
    }

    /// The address that was bound, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `router` until `shutdown` completes; then accepts no more, lets requests in flight finish for
/// [`Limits::drain_time`], and closes what is left.
///
/// A panic in a handler closes its connection, and no other.
pub async fn serve(listener: Listener, router: Router, limits: Limits, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let slots = Arc::new(Semaphore::new(limits.max_connections.max(1)));
    let crowded = Arc::new(Notify::new());
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, slot) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener.inner, &slots, &crowded) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let seat = Seat { peer, _slot: slot };
        let connection = Connection { router: router.clone(), limits, peer, phase: watch::Sender::new(Phase::head()) };
        let (crowded, stopping) = (crowded.clone(), stopping.clone());
        connections.spawn(async move {
            let _seat = seat;
            connection.run(stream, &crowded, stopping).await;
        });
    }
    // Nobody listens if there is no connection, and then there is nobody to tell. Told before the port is given up, so
    // that whoever is refused there knows that every answer from now on ends its connection.
    let _ = stop.send(true);
    drop(listener);
    drain(connections, limits.drain_time).await;
}

async fn drain(mut connections: JoinSet<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while let Ok(Some(_)) = timeout_at(deadline, connections.join_next()).await {}
    if !connections.is_empty() {
        tracing::warn!(connections = connections.len(), "closed connections whose requests did not finish in time");
    }
    connections.shutdown().await;
}

/// The next connection and a slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    crowded: &Notify,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot(slots, crowded).await),
            Err(error) => after_refused_accept(error).await,
        }
    }
}

async fn slot(slots: &Arc<Semaphore>, crowded: &Notify) -> OwnedSemaphorePermit {
    if let Ok(slot) = slots.clone().try_acquire_owned() {
        return slot;
    }
    // Wakes the connection that has waited longest for this, or the first that will.
    crowded.notify_one();
    slots.clone().acquire_owned().await.expect("this semaphore is never closed")
}

/// A client that has gone costs nothing; a machine without file descriptors needs a moment, not a busy loop.
async fn after_refused_accept(error: io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections; trying again");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// A connection's slot, given back when its task ends in whatever way.
struct Seat {
    peer: SocketAddr,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(peer = %self.peer, "a handler panicked; its connection is closed");
        }
    }
}

/// What a connection is waiting for, and since when.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The rest of a request's headers.
    Head(Instant),
    /// Its body, or its handler.
    Busy,
    /// Another request.
    Idle(Instant),
    /// The refusal of a request to be sent, its body unread.
    Refused(Instant),
}

impl Phase {
    fn head() -> Self {
        Phase::Head(Instant::now())
    }

    fn deadline(self, limits: &Limits) -> Option<Instant> {
        match self {
            Phase::Busy => None,
            Phase::Head(since) | Phase::Refused(since) => Some(since + limits.header_time),
            Phase::Idle(since) => Some(since + limits.idle_time),
        }
    }
}

#[derive(Clone)]
struct Connection {
    router: Router,
    limits: Limits,
    peer: SocketAddr,
    phase: watch::Sender<Phase>,
}

impl Connection {
    async fn run(self, stream: TcpStream, crowded: &Notify, mut stopping: watch::Receiver<bool>) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Watched { stream, phase: self.phase.clone() });
        let mut phases = self.phase.subscribe();
        // A task, begun as soon as the headers are there: hyper drops the future of a client that hangs up behind its
        // request before it was ever polled, and the request, though it came whole, would leave no record.
        let service = service_fn(|request| {
            // Here and not in the task: what came in time is not given up because its task begins late.
            self.phase.send_replace(Phase::Busy);
            Box::pin(finished(tokio::spawn(self.clone().serve(request))))
        });
        let mut connection = self.builder().serve_connection(io, service);
        let result = loop {
            let phase = *phases.borrow_and_update();
            let deadline = phase.deadline(&self.limits);
            tokio::select! {
                biased;
                Ok(()) = stopping.changed() => Pin::new(&mut connection).graceful_shutdown(),
                result = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => break result,
                Ok(()) = phases.changed() => {}
                () = crowded.notified(), if matches!(phase, Phase::Idle(_)) => {
                    Pin::new(&mut connection).graceful_shutdown();
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
            }
        };
        if result.is_err() || matches!(*phases.borrow(), Phase::Refused(_)) {
            linger(connection.into_parts().io.into_inner().stream).await;
        }
    }

    fn builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .max_header_size(self.limits.max_header_bytes)
            .max_buf_size((2 * self.limits.max_header_bytes).max(MIN_BUFFER_BYTES))
            // Our own deadlines tell a slow request from an idle connection; hyper's knows one time for both.
            .header_read_timeout(None);
        builder
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let (mut parts, body) = request.into_parts();
        match read_body(body, &self.limits).await {
            Ok(bytes) => {
                parts.extensions.insert(Peer(self.peer));
                let answer = self.router.oneshot(Request::from_parts(parts, Body::from(bytes))).await;
                self.phase.send_replace(Phase::Idle(Instant::now()));
                answer
            }
            Err(refusal) => {
                self.phase.send_replace(Phase::Refused(Instant::now()));
                Ok(refusal.into_response())
            }
        }
    }
}

/// What a task made of its request; a panic in it goes on here.
async fn finished<T>(task: JoinHandle<T>) -> T {
    match task.await.map_err(JoinError::try_into_panic) {
        Ok(made) => made,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is ending, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// A body that is not handed to any handler.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    TooLarge,
    TooSlow,
    Broken,
}

async fn read_body(body: Incoming, limits: &Limits) -> Result<Bytes, Refusal> {
    // With a content-length this is all of it, and refused before any of it is read.
    if body.size_hint().lower() > limits.max_body_bytes as u64 {
        return Err(Refusal::TooLarge);
    }
    match timeout(limits.body_time, Limited::new(body, limits.max_body_bytes).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::Broken),
        Err(_) => Err(Refusal::TooSlow),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Refusal::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", "The request body is too large.")
            }
            Refusal::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException", "The request body took too long to arrive.")
            }
            Refusal::Broken => {
                (StatusCode::BAD_REQUEST, "SerializationException", "The request body could not be read.")
            }
        };
        let body = serde_json::json!({ "__type": code, "message": message }).to_string();
        let headers = [(header::CONTENT_TYPE, "application/x-amz-json-1.1"), (header::CONNECTION, "close")];
        // No record has this id: it only keeps clients from showing none.
        let id = [("x-amzn-RequestId", uuid::Uuid::new_v4().to_string())];
        (status, headers, id, body).into_response()
    }
}

/// Ends our side and reads on for a moment: closing with bytes unread would make the kernel reset the connection, and
/// the client would lose the answer that says why.
async fn linger(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let drained = async {
        std::future::poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await?;
        loop {
            stream.readable().await?;
            match stream.try_read(&mut buffer) {
                Ok(0) => return io::Result::Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    };
    // Whether the client took the answer is his affair.
    let _ = timeout(LINGER, drained).await;
}

/// A stream that notes when a new request begins to arrive.
struct Watched {
    stream: TcpStream,
    phase: watch::Sender<Phase>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before && matches!(*self.phase.borrow(), Phase::Idle(_)) {
            self.phase.send_replace(Phase::head());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How long to wait when the operating system has no file descriptor for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a refused client's unread bytes are taken.
const LINGER: Duration = Duration::from_secs(1);
/// hyper takes no smaller buffer.
const MIN_BUFFER_BYTES: usize = 8192;
