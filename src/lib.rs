//! hsm-kms: an AWS-KMS-compatible key service whose keys live in your own HSM.
//!
//! Rooms are modules and arrows point one way:
//! `main → cli → app → api → admin → kms → auth, blob, audit, store, token → crypto → model`.
//! `tests/house.rs` scans the sources for arrows that go the wrong way.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod blob;
pub mod cli;
pub mod crash_point;
pub mod crypto;
pub mod kms;
pub mod model;
pub mod settings;
pub mod store;
pub mod token;
