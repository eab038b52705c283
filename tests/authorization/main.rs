//! Who may do what: every operation for every kind of caller, every condition key, and attacks on the promises.

mod attacks;
mod conditions;
#[path = "../tamper/database.rs"]
#[allow(dead_code)]
mod database;
mod in_flight;
#[path = "../support/in_process.rs"]
mod in_process;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/people.rs"]
mod people;
#[path = "../token/process.rs"]
#[allow(dead_code)]
mod process;
mod race;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tampering;
