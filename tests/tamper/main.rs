//! Forged ciphertexts, an edited store, foreign objects on the token: at worst the service refuses.

mod at_rest;
mod blob;
mod database;
#[path = "../support/in_process.rs"]
mod in_process;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod running;
#[path = "../support/mod.rs"]
mod support;
mod token;
