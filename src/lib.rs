//! hsm-kms: an AWS-KMS-compatible key service whose keys live in your own HSM.
//!
//! Rooms are modules and arrows point one way:
//! `main → cli → app → api → kms → auth, blob, audit, store, token → crypto → model`.
//! `tests/house.rs` scans the sources for arrows that go the wrong way.

#![deny(unsafe_code)]

pub mod audit;
pub mod blob;
pub mod crypto;
pub mod model;
