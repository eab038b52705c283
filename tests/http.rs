//! The accept loop against raw TCP: what a slow, greedy, rude or broken client gets, and that others get on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::routing::{get, post};
use hsm_kms::api::health::{self, Part, Readiness};
use hsm_kms::api::http::{Error, Limits, Listener, Peer, serve};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};

/// A server in its own runtime, with handlers that a test can hold up.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    handlers: Arc<Handlers>,
}

struct Handlers {
    /// How many requests have reached a handler.
    reached: AtomicUsize,
    /// A request to `/gate` takes one of these to be answered.
    gate: Semaphore,
}

impl Server {
    fn start(limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(Listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.address();
        let handlers = Arc::new(Handlers { reached: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let (stop, stopped) = oneshot::channel();
        let router = router(handlers.clone());
        let served =
            runtime.spawn(async move { serve(listener, router, limits, async { stopped.await.unwrap() }).await });
        Server { runtime, address, stop: Some(stop), served, handlers }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, read: Vec::new() }
    }

    fn reached(&self) -> usize {
        self.handlers.reached.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have reached a handler since the start.
    fn wait_for_reached(&self, count: usize) {
        wait_until(|| self.reached() >= count);
    }

    fn open_gate(&self, requests: usize) {
        self.handlers.gate.add_permits(requests);
    }

    fn begin_shutdown(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits for the end of `serve`, which must not have panicked.
    fn wait_for_end(self) {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.served).await.unwrap().unwrap() });
    }

    /// That a new client is served, at once and in full.
    fn assert_serves(&self) {
        let mut client = self.connect();
        client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
        assert_eq!(client.answer().body, b"hello");
    }
}

fn router(handlers: Arc<Handlers>) -> Router {
    let counted = handlers.clone();
    Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/peer", get(|Extension(Peer(address)): Extension<Peer>| async move { address.to_string() }))
        .route("/big", get(|| async { vec![b'x'; 32 << 20] }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route("/gate", get(move || async move { handlers.gate.acquire().await.unwrap().forget() }))
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
            counted.reached.fetch_add(1, Ordering::SeqCst);
            next.run(request)
        }))
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
    }

    fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more();
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).map_or(0, |l| l.lines().next().unwrap().parse().unwrap());
        while self.read.len() < length {
            self.read_more();
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: self.read.drain(..length).collect() }
    }

    fn read_more(&mut self) {
        let mut buffer = [0; 65536];
        let count = self.read_into(&mut buffer).expect("the server answers in time");
        assert_ne!(count, 0, "the server closed after {:?}", String::from_utf8_lossy(&self.read));
        self.read.extend_from_slice(&buffer[..count]);
    }

    /// As the stream, which gives up where the process is stopped meanwhile.
    fn read_into(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// That the server closes without another byte.
    fn assert_closed(&mut self) {
        match self.read_into(&mut [0; 64]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// That nothing comes for a while.
    fn assert_silent(&mut self) {
        self.stream.set_read_timeout(Some(SHORT)).unwrap();
        let error = self.read_into(&mut [0; 64]).expect_err("no byte and no end");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

// ---- ordinary requests ----

#[test]
fn serves_several_requests_on_one_connection_and_names_the_peer() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    for _ in 0..3 {
        client.get("/peer");
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, client.stream.local_addr().unwrap().to_string().into_bytes());
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let mut requests = b"GET /gate HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    for number in 0..20 {
        requests.extend_from_slice(
            format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{number:02}").as_bytes(),
        );
    }
    client.send(&requests);
    server.wait_for_reached(1);
    client.assert_silent();
    server.open_gate(1);
    assert!(client.answer().body.is_empty());
    for number in 0..20 {
        assert_eq!(client.answer().body, format!("{number:02}").into_bytes());
    }
}

#[test]
fn a_body_may_be_as_large_as_the_limit_in_both_framings() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let body = vec![b'b'; 128 * 1024];
    client.send(format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    client.send(&body);
    assert!(client.answer().body == body);
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in body.chunks(10_000) {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes());
        client.send(chunk);
        client.send(b"\r\n");
    }
    client.send(b"0\r\n\r\n");
    assert!(client.answer().body == body);
}

// ---- slow clients ----

#[test]
fn slow_headers_are_cut_however_they_trickle() {
    // Long enough for those who are not slow, on a busy machine.
    let time = 5 * SHORT;
    let server = Server::start(Limits { header_time: time, ..Limits::default() });
    let begun = Instant::now();
    let mut silent = server.connect();
    let mut stopped = server.connect();
    stopped.send(b"GET /peer HTTP/1.1\r\nhost: x");
    let mut second = server.connect();
    second.get("/peer");
    second.answer();
    second.send(b"GET /peer HTTP/1.1\r\n");
    let mut trickling = server.connect();
    while trickling.stream.write_all(b"a").is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the trickle is never cut");
        std::thread::sleep(SHORT / 20);
    }
    assert!(begun.elapsed() >= time);
    for client in [&mut silent, &mut stopped, &mut second] {
        client.assert_closed();
    }
    server.assert_serves();
    assert_eq!(server.reached(), 2);
}

#[test]
fn an_idle_connection_is_closed_by_its_own_time() {
    let server = Server::start(Limits { idle_time: SHORT, ..Limits::default() });
    let mut client = server.connect();
    let begun = Instant::now();
    client.get("/peer");
    client.answer();
    client.assert_closed();
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < Limits::default().header_time);
}

#[test]
fn a_slow_body_gets_408() {
    let server = Server::start(Limits { body_time: SHORT, ..Limits::default() });
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhell");
    let answer = client.answer();
    assert_eq!(answer.status, 408);
    assert!(answer.head.contains("connection: close"));
    client.assert_closed();
    assert_eq!(server.reached(), 0);
}

#[test]
fn a_client_that_never_reads_its_answer_loses_its_connection() {
    let server = Server::start(Limits { idle_time: SHORT, max_connections: 1, ..Limits::default() });
    let mut deaf = server.connect();
    deaf.get("/big");
    server.wait_for_reached(1);
    server.assert_serves();
}

// ---- greedy clients ----

#[test]
fn large_headers_get_431() {
    let server = Server::start(Limits::default());
    let mut fitting = server.connect();
    fitting.send(format!("GET /peer HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(16_000)).as_bytes());
    assert_eq!(fitting.answer().status, 200);
    for ending in ["\r\n\r\n", ""] {
        let mut client = server.connect();
        client.send(format!("GET /peer HTTP/1.1\r\nhost: x\r\nx: {}{ending}", "a".repeat(17_000)).as_bytes());
        assert_eq!(client.answer().status, 431);
        client.assert_closed();
    }
    let mut many = server.connect();
    many.send(format!("GET /peer HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200)).as_bytes());
    assert_eq!(many.answer().status, 431);
    assert_eq!(server.reached(), 1);
}

fn assert_too_large(mut client: Client) {
    let answer = client.answer();
    assert_eq!(answer.status, 413);
    assert!(answer.head.contains("content-type: application/x-amz-json-1.1"));
    assert!(answer.head.contains("connection: close"));
    assert_eq!(
        String::from_utf8(answer.body).unwrap(),
        r#"{"__type":"RequestEntityTooLargeException","message":"The request body is too large."}"#
    );
    client.assert_closed();
}

#[test]
fn a_large_content_length_gets_413_before_its_body() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 131073\r\n\r\n");
    assert_too_large(client);
    let mut expecting = server.connect();
    expecting.send(b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 131073\r\n\r\n");
    assert_too_large(expecting);
    assert_eq!(server.reached(), 0);
}

#[test]
fn the_413_reaches_a_client_that_sends_on() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 8388608\r\n\r\n");
    client.send(&vec![b'x'; 8 << 20]);
    assert_too_large(client);
}

#[test]
fn a_large_chunked_body_gets_413() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..9 {
        client.send(b"4000\r\n");
        client.send(&[b'x'; 0x4000]);
        client.send(b"\r\n");
    }
    assert_too_large(client);
    assert_eq!(server.reached(), 0);
}

#[test]
fn with_all_slots_taken_the_next_waits_its_turn() {
    let server = Server::start(Limits { max_connections: 2, ..Limits::default() });
    let mut busy = [server.connect(), server.connect()];
    busy.iter_mut().for_each(|client| client.get("/gate"));
    server.wait_for_reached(2);
    let mut waiting = server.connect();
    waiting.get("/peer");
    waiting.assert_silent();
    assert_eq!(server.reached(), 2);
    server.open_gate(2);
    assert_eq!(waiting.answer().status, 200);
    busy.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
}

#[test]
fn the_longest_idle_connection_makes_room() {
    let server = Server::start(Limits { max_connections: 2, ..Limits::default() });
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.get("/peer");
        client.answer();
    }
    let [mut first, mut second] = clients;
    // Both are idle only once the server has seen their answers off; another request each settles the order.
    second.get("/peer");
    second.answer();
    let mut newcomer = server.connect();
    newcomer.get("/peer");
    assert_eq!(newcomer.answer().status, 200);
    first.assert_closed();
    second.get("/peer");
    assert_eq!(second.answer().status, 200);
}

// ---- rude and broken clients ----

#[test]
fn what_is_not_http_gets_400_and_no_more() {
    let server = Server::start(Limits::default());
    for junk in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST /echo HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(junk);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(junk));
        client.assert_closed();
    }
    // HTTP/2 without TLS: an answer in HTTP/1.1 would mean nothing to that client.
    let mut http2 = server.connect();
    http2.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    http2.assert_closed();
    let mut broken_chunk = server.connect();
    broken_chunk.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(broken_chunk.answer().status, 400);
    broken_chunk.assert_closed();
    assert_eq!(server.reached(), 0);
    server.assert_serves();
}

#[test]
fn a_client_that_hangs_up_in_its_body_gives_its_slot_back() {
    let server = Server::start(Limits { max_connections: 1, ..Limits::default() });
    for _ in 0..5 {
        let mut client = server.connect();
        client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf of");
    }
    server.assert_serves();
    assert_eq!(server.reached(), 1);
}

#[test]
fn a_client_that_hangs_up_on_its_handler_gives_its_slot_back() {
    let server = Server::start(Limits { max_connections: 1, ..Limits::default() });
    let mut client = server.connect();
    client.get("/gate");
    server.wait_for_reached(1);
    drop(client);
    server.assert_serves();
}

#[test]
fn a_panic_closes_only_its_own_connection() {
    let server = Server::start(Limits { max_connections: 2, ..Limits::default() });
    let mut other = server.connect();
    other.get("/peer");
    other.answer();
    let mut panicking = server.connect();
    panicking.get("/panic");
    panicking.assert_closed();
    other.get("/peer");
    assert_eq!(other.answer().status, 200);
    server.assert_serves();
}

// ---- the end ----

#[test]
fn a_drain_finishes_requests_in_flight_and_takes_no_new_ones() {
    let mut server = Server::start(Limits::default());
    let mut idle = server.connect();
    idle.get("/peer");
    idle.answer();
    let mut in_flight = server.connect();
    in_flight.get("/gate");
    server.wait_for_reached(2);
    server.begin_shutdown();
    idle.assert_closed();
    let address = server.address;
    wait_until(|| TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
    assert!(!server.served.is_finished());
    server.open_gate(1);
    let answer = in_flight.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("connection: close"));
    in_flight.assert_closed();
    server.wait_for_end();
}

#[test]
fn a_drain_ends_with_its_patience() {
    let mut server = Server::start(Limits { drain_time: SHORT, ..Limits::default() });
    let mut stuck = server.connect();
    stuck.get("/gate");
    server.wait_for_reached(1);
    let begun = Instant::now();
    server.begin_shutdown();
    stuck.assert_closed();
    assert!(begun.elapsed() >= SHORT);
    server.wait_for_end();
}

// ---- binding ----

#[test]
fn binding_says_what_is_wrong_and_what_to_do() {
    let server = Server::start(Limits::default());
    let bind = |address: SocketAddr| server.runtime.block_on(Listener::bind(address));
    let error = bind(server.address).unwrap_err();
    assert!(matches!(error, Error::InUse(address) if address == server.address), "{error:?}");
    assert!(error.to_string().contains(&server.address.to_string()));
    assert!(error.to_string().contains("choose another port"));
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let error = bind(open.parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::NotLoopback(_)), "{open}");
        assert!(error.to_string().contains("127.0.0.1"));
    }
    assert_ne!(bind("127.0.0.2:0".parse().unwrap()).unwrap().address().port(), 0);
}

// ---- health ----

fn ask_health(parts: Vec<Part>) -> [Answer; 4] {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(Listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let stream = TcpStream::connect(listener.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let routes = health::routes(move |region: Option<&str>| {
        let ready = !parts.is_empty() && parts.iter().all(|part| part.ready);
        region.is_none_or(|region| region == "eu-west-1").then(|| Readiness { ready, parts: parts.clone() })
    });
    runtime.spawn(serve(listener, routes, Limits::default(), std::future::pending()));
    let mut client = Client { stream, read: Vec::new() };
    ["/healthz", "/readyz", "/readyz/eu-west-1", "/readyz/eu-west-2"].map(|path| {
        client.get(path);
        client.answer()
    })
}

#[test]
fn health_says_alive_and_ready_apart() {
    let token = Part { name: "token".into(), ready: true, reason: None };
    let store = Part { name: "store".into(), ready: false, reason: Some("read-only") };

    let [alive, ready, of_region, of_another] = ask_health(vec![token.clone()]);
    assert_eq!((of_region.status, &of_region.body, of_another.status), (200, &ready.body, 404));
    assert_eq!((alive.status, alive.body), (200, b"ok".to_vec()));
    assert_eq!(ready.status, 200);
    assert!(ready.head.contains("content-type: application/json"));
    assert_eq!(String::from_utf8(ready.body).unwrap(), r#"{"parts":[{"name":"token","ready":true}],"ready":true}"#);

    let [alive, ready, of_region, of_another] = ask_health(vec![token, store]);
    assert_eq!((of_region.status, of_another.status), (503, 404));
    assert_eq!((alive.status, ready.status), (200, 503));
    let body: serde_json::Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!(body["ready"], false);
    assert_eq!(body["parts"][1], serde_json::json!({ "name": "store", "ready": false, "reason": "read-only" }));

    let [alive, ready, ..] = ask_health(vec![]);
    assert_eq!((alive.status, ready.status), (200, 503));
}

/// For a limit that a test wants to see at work.
const SHORT: Duration = Duration::from_millis(200);
/// For what must happen, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);
