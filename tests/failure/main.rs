//! What callers, operators and readiness see when a token fails, and how the service recovers: a row of README.md's table
//! each, under load. The token is SoftHSM behind the quirk shim.

#[path = "../support/in_process.rs"]
mod in_process;
mod load;
mod lost;
#[path = "../support/noise.rs"]
mod noise;
mod nonces;
mod pins;
#[allow(dead_code)]
#[path = "../token/process.rs"]
mod process;
mod quirks;
#[path = "../support/rig.rs"]
mod rig;
mod rows;
#[path = "../support/shim.rs"]
mod shim;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
