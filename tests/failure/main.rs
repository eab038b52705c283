//! What callers, operators and readiness see when a token fails, and how the service recovers: a row of README.md's table
//! each, under load. The token is SoftHSM behind the quirk shim.

#[allow(dead_code)]
#[path = "../token/process.rs"]
mod process;
mod quirks;
#[path = "../support/shim.rs"]
mod shim;
