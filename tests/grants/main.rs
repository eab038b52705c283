//! Grants: what they permit, whom, for how long; and what cannot be had from them.

mod attacks;
mod constraints;
#[path = "../support/in_process.rs"]
mod in_process;
mod life;
mod listing;
mod many;
mod outside;
mod people;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod requests;
mod retiring;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use people::People;
use process::in_own_process;

/// Runs a test with a service in a process of its own; `test` is its own full name.
fn with_people<F: Future<Output = ()>>(test: &str, body: impl FnOnce(People) -> F) {
    in_own_process(test, |dir: &Path| {
        block_on(async { body(People::start(dir).await).await });
    });
}

/// With sockets, which [`process::block_on`] does not have.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

const DENIED: &str = "AccessDeniedException";
