//! The client: one thread, raw sockets, requests that were signed before.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::process::Usage;

/// So many connections, each with one request in flight.
pub struct Load {
    /// `host:port`
    pub address: String,
    /// Whole requests, sent in turns.
    pub requests: Vec<Vec<u8>>,
    /// Connections.
    pub in_flight: usize,
}

/// What happened while it was measured.
pub struct Outcome {
    /// Of every request that began and ended in the time measured, sorted.
    pub latencies: Vec<Duration>,
    /// The time measured.
    pub elapsed: Duration,
    /// Processor time of the server in it.
    pub cpu: Duration,
    /// The server at the end.
    pub usage: Usage,
}

/// What all connections share.
struct Shared {
    requests: Vec<Vec<u8>>,
    next: Cell<usize>,
    since: Instant,
    until: Instant,
    latencies: RefCell<Vec<Duration>>,
}

impl Load {
    /// Loads the server for a third of `time` to warm up, and then for `time`. Every answer must be 200.
    pub fn run(self, time: Duration, usage: impl Fn() -> Usage) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, self.drive(time, usage))
    }

    async fn drive(self, time: Duration, usage: impl Fn() -> Usage) -> Outcome {
        let since = Instant::now() + time / 3;
        let shared = Rc::new(Shared {
            requests: self.requests,
            next: Cell::new(0),
            since,
            until: since + time,
            latencies: RefCell::new(Vec::with_capacity(1 << 20)),
        });
        let mut connections = Vec::new();
        for _ in 0..self.in_flight {
            let stream = TcpStream::connect(&self.address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option of the socket");
            connections.push(tokio::task::spawn_local(converse(stream, shared.clone())));
        }
        let pace = tokio::task::spawn_local(pace());
        tokio::time::sleep_until(shared.since.into()).await;
        let (begun, before) = (Instant::now(), usage());
        tokio::time::sleep_until(shared.until.into()).await;
        let (elapsed, after) = (begun.elapsed(), usage());
        for connection in connections {
            connection.await.expect("every answer is 200");
        }
        pace.abort();
        let mut latencies = shared.latencies.take();
        latencies.sort_unstable();
        Outcome { latencies, elapsed, cpu: after.cpu - before.cpu, usage: after }
    }
}

impl Shared {
    fn next(&self) -> &[u8] {
        let index = self.next.get();
        self.next.set((index + 1) % self.requests.len());
        &self.requests[index]
    }
}

async fn converse(stream: TcpStream, shared: Rc<Shared>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let begun = Instant::now();
        if begun >= shared.until {
            return;
        }
        send(&stream, shared.next()).await.expect("the request is sent");
        receive(&stream, &mut buffer).await.expect("an answer");
        let ended = Instant::now();
        if begun >= shared.since && ended <= shared.until {
            shared.latencies.borrow_mut().push(ended - begun);
        }
    }
}

/// Has the client look at its connections from time to time, and at all of them at once, so that it takes less of the
/// processors that it shares with the server. Latencies are longer by up to this time.
async fn pace() {
    loop {
        std::thread::sleep(PACE);
        tokio::task::yield_now().await;
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one answer, which must be 200 and fit the buffer.
async fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    while !is_whole(&buffer[..read]) {
        stream.readable().await?;
        match stream.try_read(&mut buffer[read..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).expect("headers are text");
    assert!(head.starts_with("HTTP/1.1 200 "), "not 200: {}", String::from_utf8_lossy(answer));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).expect("a content-length");
    answer.len() >= end + 4 + length
}

const PACE: Duration = Duration::from_micros(200);
